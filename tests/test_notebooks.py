"""Every notebook runs, in short form, reads like a methods section, and is the same in both of its files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
SCRIPTS = sorted(FOLDER.glob("[0-9]*.py"))
NAMES = [path.stem for path in SCRIPTS]
# Those that show real recordings where they are at hand.
REAL = [path for path in SCRIPTS if "at_hand(" in path.read_text(encoding="utf-8")]


def test_there_are_notebooks() -> None:
    assert [name[:2] for name in NAMES] == ["01", "02", "03", "04", "05", "06"]
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


def run_in_short_form(script: Path, folder: Path, test_data: str) -> str:
    """Run a notebook in `folder`, with a home of its own and the real recordings of `test_data`; what it printed."""
    short = {"BIOCL_SHORT": "1", "MPLBACKEND": "Agg", "BIOCL_HOME": str(folder / "home"), "TMPDIR": str(folder)}
    env = os.environ | short | {"BIOCL_TEST_DATA": test_data}
    done = subprocess.run([sys.executable, str(script)], cwd=folder, env=env, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert any((folder / "runs").iterdir())
    return done.stdout.decode()


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_a_notebook_runs(script: Path, tmp_path: Path) -> None:
    said = run_in_short_form(script, tmp_path, test_data="")
    assert "real." not in said
    assert ("synthetic." in said) == (script in REAL)


@pytest.mark.parametrize("script", REAL, ids=[path.stem for path in REAL])
def test_a_notebook_runs_on_real_recordings(script: Path, test_data: Path, tmp_path: Path) -> None:
    said = run_in_short_form(script, tmp_path, test_data=str(test_data))
    assert "real." in said
    assert "synthetic." not in said


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_both_files_of_a_notebook_are_the_same(script: Path) -> None:
    one, other = jupytext.read(script), nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    both = [[(cell.cell_type, cell.source) for cell in notebook.cells] for notebook in (one, other)]
    assert both[0] == both[1], "run `jupytext --sync notebooks/*.py`"
    assert one.metadata.jupytext.formats == other.metadata.jupytext.formats == "ipynb,py:percent"
    code = [cell for cell in other.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_a_notebook_reads_like_a_methods_section(script: Path) -> None:
    cells = jupytext.read(script).cells
    words = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    places = [words.find(word) for word in ("**Question.**", "**Data.**", "## Protocol", "## Result", "## Caveat")]
    assert -1 not in places
    assert places == sorted(places)
    # Whether the recordings are real is said before anything is computed.
    assert cells[0].cell_type == "markdown"
    assert "**synthetic**" in cells[0].source or "**real**" in cells[0].source
    assert any("plt.show()" in cell.source for cell in cells)
