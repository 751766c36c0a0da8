"""A folder whose paths say whose each file is: rows from a template such as ``sub-{patient}/{trial}_{label}.edf``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from biocl.datasets.folder_table import Row
from biocl.errors import DataError, UsageError
from biocl.signals.readers.formats import is_readable

FIELDS = ("patient", "session", "trial", "label", "recording", "device")
EXAMPLE = "Give a path below the folder such as 'sub-{patient}/ses-{session}/{trial}_{label}.edf'"


def rows_from_files(folder: Path, template: str) -> tuple[list[Row], list[Path]]:
    """Rows for the files whose paths fit a template, sorted by patient and path.

    Parameters
    ----------
    folder : Path
        Searched with all its subfolders; hidden files and folders are left out, linked folders not entered.
    template : str
        A path below the folder. ``{patient}``, ``{session}``, ``{trial}``, ``{label}``, ``{recording}`` and
        ``{device}`` each stand for text without a slash, the earliest as short as possible; ``*`` stands for text
        that says nothing; a name that comes twice means the same text. ``{patient}`` is required. With
        ``{device}``, files that agree in everything else are devices of one recording.

    Returns
    -------
    rows : list of Row
    left_out : list of Path
        Files of a readable format that do not fit.

    Raises
    ------
    UsageError
        If the template makes no sense or leads out of the folder.
    DataError
        If nothing fits, or a file that fits lies outside the folder (through a link).
    """
    pattern = compiled(template)
    if not folder.is_dir():
        raise DataError("This folder does not exist", folder, "Check the path")
    root = folder.resolve()
    rows, left_out = [], []
    for name in sorted(files_below(folder)):
        found = pattern.fullmatch(name)
        if found is None:
            if is_readable(folder / name):
                left_out.append(folder / name)
            continue
        if not (folder / name).resolve().is_relative_to(root):
            raise DataError(
                "This file is a link that leaves its folder", folder / name, "Copy the file into the folder"
            )
        rows.append(row_of(name, found.groupdict(), str(folder / name)))
    if not rows:
        near = f"; one of the {len(left_out)} readable files is {left_out[0].relative_to(folder)}" if left_out else ""
        raise DataError(f"No file below this folder fits {template!r}{near}", folder, EXAMPLE)
    return sorted(rows, key=lambda row: (row.patient, row.path)), left_out


def compiled(template: str) -> re.Pattern[str]:
    """The template as a pattern of relative paths."""
    where = f"--files {template!r}"
    parts = template.split("/")
    if os.path.isabs(template) or ".." in parts or "" in parts or "\\" in template:
        raise UsageError("The template must stay below the folder", where, EXAMPLE)
    names = re.findall(r"\{([^{}]*)\}", template)
    if unknown := [name for name in names if name not in FIELDS]:
        raise UsageError(
            f"{{{unknown[0]}}} is not known", where, f"Use {', '.join(FIELDS)}; {EXAMPLE[:1].lower()}{EXAMPLE[1:]}"
        )
    if "patient" not in names:
        raise UsageError("The template does not say whose a file is: {patient} is missing", where, EXAMPLE)
    pattern, seen = "", set()
    for piece in re.split(r"(\{[^{}]*\}|\*)", template):
        if piece == "*":
            pattern += "[^/]*?"
        elif piece.startswith("{"):
            name = piece[1:-1]
            pattern += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)"
            seen.add(name)
        else:
            pattern += re.escape(piece)
    return re.compile(pattern)


def files_below(folder: Path) -> list[str]:
    """Paths of all files below a folder, relative to it, with slashes; a folder ``.mff`` counts as a file."""
    found = []
    for here, folders, files in os.walk(folder):
        recordings = [name for name in folders if name.lower().endswith(".mff")]
        folders[:] = [name for name in folders if name not in recordings and not name.startswith(".")]
        below = Path(here).relative_to(folder)
        found += [(below / name).as_posix() for name in (*files, *recordings) if not name.startswith(".")]
    return found


def row_of(path: str, found: dict[str, str | None], where: str) -> Row:
    """What a path says."""
    said = {name: text or "" for name, text in found.items()}
    recording = ""
    if "device" in said or "recording" in said:
        recording = "/".join(text for name, text in said.items() if name != "device")
    return Row(where=where, line=path, path=path, **{**said, "recording": recording})  # type: ignore[arg-type]
