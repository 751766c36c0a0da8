"""Check the installation, and say in a line how to mend each fault."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass

from biocl.files import home
from biocl.training.run import PACKAGES, version_of


@dataclass(frozen=True)
class Check:
    """One finding: `state` is ok, note or fault."""

    name: str
    state: str
    text: str


def diagnose() -> list[Check]:
    """All checks, cheap ones first."""
    return [
        python_version(),
        *packages(),
        accelerator(),
        vision_library(),
        extra("tsai"),
        extra("braindecode"),
        data_home(),
    ]


def python_version() -> Check:
    """Python 3.11 or newer."""
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Check("python", "ok" if good else "fault", version if good else f"{version}: biocl needs 3.11 or newer")


def packages() -> list[Check]:
    """Core dependencies import."""
    found = []
    for package in PACKAGES:
        module = {"scikit-learn": "sklearn"}.get(package, package)
        try:
            importlib.import_module(module)
            found.append(Check(package, "ok", str(version_of(package))))
        except Exception as error:
            found.append(
                Check(
                    package,
                    "fault",
                    f"{type(error).__name__}: {error}. Mend with `pip install --force-reinstall {package}`",
                )
            )
    return found


def accelerator() -> Check:
    """What training would run on."""
    import torch

    if torch.cuda.is_available():
        return Check(
            "device",
            "ok",
            f"{torch.cuda.get_device_name()}, bf16 {'yes' if torch.cuda.is_bf16_supported() else 'no'}",
        )
    build = "a CUDA build without a usable GPU" if torch.version.cuda else "a CPU build"
    return Check(
        "device",
        "note",
        f"no GPU; torch is {build}; {torch.get_num_threads()} threads of {os.cpu_count()} cores",
    )


def vision_library() -> Check:
    """torchvision must match torch: the usual reason why tsai fails to import."""
    if version_of("torchvision") is None:
        return Check("torchvision", "note", "absent (only tsai needs it)")
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        return Check(
            "torchvision",
            "fault",
            f"does not load with torch {version_of('torch')} ({error}). Install the pair that belongs together: "
            "`pip install --force-reinstall torch torchvision`, or leave the tsai extra out",
        )
    return Check("torchvision", "ok", str(version_of("torchvision")))


def extra(name: str) -> Check:
    """An optional package is installed or not; it is imported only when an encoder of it is asked for."""
    version = version_of(name)
    return (
        Check(name, "ok", version)
        if version
        else Check(name, "note", f'absent: `pip install "biocl[{name}]"` for its encoders')
    )


def data_home() -> Check:
    """Where stores go, and the room there."""
    folder = home()
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(nearest).free / 2**30
    writable = os.access(nearest, os.W_OK)
    text = f"{folder}, {free:.0f} GiB free"
    return Check(
        "BIOCL_HOME",
        "ok" if writable else "fault",
        text if writable else f"{folder} cannot be written to: set BIOCL_HOME",
    )


def print_diagnosis(checks: list[Check], *, as_json: bool) -> None:
    """Print the checks; exit code 1 if one is a fault."""
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        for check in checks:
            print(f"{check.state:<6}{check.name:<14}{check.text}")
    if any(check.state == "fault" for check in checks):
        raise SystemExit(1)
