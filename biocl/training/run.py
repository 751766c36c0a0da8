"""The run folder: everything needed to reproduce a run, and nothing outside it."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from biocl import __version__
from biocl.errors import UsageError
from biocl.files import disk_errors, parents_of, read_json, write_json, write_text

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "mne", "wfdb", "optuna", "pydantic", "safetensors")


def default_run(name: str) -> Path:
    """``runs/NAME-TIME`` beside the caller."""
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def start_run(out: Path, *, config: str, split: Mapping[str, Any], kind: str, resume: bool = False) -> Path:
    """Make the run folder, or open it again.

    Parameters
    ----------
    out : Path
        A folder that exists and is not empty is refused, unless `resume`.
    config : str
        The resolved configuration as YAML.
    split : mapping
        Patients per part, with a digest.
    kind : str
        ``pretrain``, ``finetune``, ``evaluate`` or ``sweep``.
    resume : bool
        Continue what is there, or start if there is nothing yet, so that a job that may be killed can
        always be given the same command.

    Raises
    ------
    UsageError
        The folder exists, or a resume meets another configuration or split.
    """
    if out.is_file():
        raise UsageError("A run needs a folder, and this is a file", out, "Choose another --out")
    is_new = not out.exists()
    if not is_new and any(out.iterdir()):
        if not resume:
            raise UsageError(
                "This run folder exists, and a run never overwrites another",
                out,
                "Choose another --out, or continue it with --resume",
            )
        if (out / "run.json").is_file():
            check_same(out, config=config, split=split, kind=kind)
            return out
        if not (out / "config.yaml").is_file():
            raise UsageError("This folder is not a biocl run", out, "Choose another --out")
    with disk_errors(out), parents_of(out / "run.json"):
        try:
            write_text(out / "config.yaml", config)
            write_text(out / "command.txt", redacted(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])) + "\n")
            write_json(out / "environment.json", environment())
            write_json(out / "split.json", dict(split))
            # Last, so that a folder with this file has all the others.
            write_json(out / "run.json", {"kind": kind, "biocl": __version__})
        except BaseException:
            if is_new:
                shutil.rmtree(out, ignore_errors=True)
            raise
    return out


def redacted(text: str) -> str:
    """A text without the passwords of URLs in it: ``postgresql://user:***@host``."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]+@", r"\1:***@", text)


def check_same(out: Path, *, config: str, split: Mapping[str, Any], kind: str) -> None:
    """A resume continues the same run: same kind, configuration and split."""
    if read_json(out / "run.json")["kind"] != kind:
        raise UsageError(f"This folder holds no `{kind}` run", out, "Choose another --out")
    if (out / "config.yaml").read_text(encoding="utf-8") != config:
        raise UsageError(
            "The configuration differs from the one this run was started with",
            out / "config.yaml",
            "Resume with the same file and overrides, or start a new run",
        )
    if read_json(out / "split.json") != json.loads(json.dumps(dict(split))):
        raise UsageError(
            "The split differs from the one this run was started with", out / "split.json", "Start a new run"
        )


def environment() -> dict[str, Any]:
    """Versions and hardware, for the record."""
    return {
        "biocl": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "packages": {name: version_of(name) for name in PACKAGES},
    }


def version_of(package: str) -> str | None:
    """Installed version, None where it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


class MetricsLog:
    """Append-only ``metrics.jsonl``; one JSON object a line, each with its `step`."""

    def __init__(self, path: Path, *, keep_until_step: int | None = None) -> None:
        """Open the log; a resume keeps the lines up to its checkpoint's step and drops later ones."""
        self.path = path
        if path.exists():
            lines = [] if keep_until_step is None else kept_lines(path, keep_until_step)
            write_text(path, "".join(lines))

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append one line."""
        with disk_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


def kept_lines(path: Path, last_step: int) -> list[str]:
    """Lines of a JSONL log up to `last_step`; a half-written last line is dropped."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["step"] <= last_step:
            kept.append(line + "\n")
    return kept


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines of a ``metrics.jsonl``."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextmanager
def progress(title: str, total: int, *, shown: bool = True) -> Iterator[Any]:
    """A bar on a terminal, a plain line every tenth of the way elsewhere; yields ``advance(n, note)``."""
    if not shown:
        yield lambda n=1, note="": None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True)) as bar:
            task = bar.add_task(title, total=total, note="")
            yield lambda n=1, note="": bar.update(task, advance=n, note=note)
        return
    done, said, start = 0, 0, time.monotonic()

    def advance(n: int = 1, note: str = "") -> None:
        nonlocal done, said
        done += n
        tenth = 10 * done // max(1, total)
        if tenth > said:
            said = tenth
            print(
                f"{title}: {done}/{total} after {time.monotonic() - start:.0f} s {note}".rstrip(),
                file=sys.stderr,
                flush=True,
            )

    yield advance
