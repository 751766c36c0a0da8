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


def test_there_are_notebooks() -> None:
    assert {"01-quick-start", "06-your-own-data"} <= set(NAMES)
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_a_notebook_runs(script: Path, tmp_path: Path) -> None:
    short = {"BIOCL_SHORT": "1", "MPLBACKEND": "Agg", "BIOCL_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=os.environ | short, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert any((tmp_path / "runs").iterdir())


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
