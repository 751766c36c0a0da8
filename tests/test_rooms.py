"""The picture in the README holds: rooms import only rooms above them, and specs import nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "biocl"
FOUNDATION = {"errors", "files", "randomness", "spec"}
ORDER = [
    "signals",
    "datasets",
    "store",
    "splits",
    "sampling",
    "views",
    "encoders",
    "objectives",
    "training",
    "evaluation",
    "sweeps",
    "reports",
    "experiment",
    "config",
    "commands",
    "api",
    "estimators",
    "cli",
]
TORCH_FREE = {"signals", "datasets", "store", "splits", "sampling"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    room = room_of(path)
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "torch":
            assert room not in TORCH_FREE, f"{path} imports torch"
        if parts[0] != "biocl" or len(parts) < 2 or parts[1] in FOUNDATION or parts[1].startswith("__"):
            continue
        if room in FOUNDATION:
            pytest.fail(f"{path} is foundation and imports {name}")
        assert ORDER.index(parts[1]) <= ORDER.index(room), f"{path} imports {name}, which is below it"


def test_no_file_holds_two_ideas() -> None:
    long = {str(path): n for path in FILES if (n := len(path.read_text().splitlines())) > 400}
    assert not long


@pytest.mark.parametrize("arguments", [["--help"], ["pretrain", "--help"], ["data", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from biocl.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mne', 'wfdb', 'sklearn', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "sys.stderr.write(','.join(sorted(heavy)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr == ""


def test_reading_a_configuration_does_not_import_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from biocl.config import load_experiment\n"
        "load_experiment(Path('demo'))\n"
        "sys.stderr.write(','.join(sorted({'torch', 'mne', 'wfdb', 'sklearn'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
