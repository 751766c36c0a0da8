"""The user's own recordings from the command line: a CSV that lists them, or a folder and a template of its paths."""

from __future__ import annotations

import sys
from pathlib import Path

from biocl.datasets.dataset import Dataset
from biocl.datasets.folder import files_dataset, folder_dataset
from biocl.errors import DataError, UsageError
from biocl.signals.readers.formats import ARCHIVES
from biocl.signals.readers.layout import load_layout


def own_dataset(
    source: Path,
    *,
    files: str | None = None,
    sfreq: float | None = None,
    modality: str = "other",
    layout: Path | None = None,
) -> Dataset:
    """A data set of what the user points at; files that do not fit the template are counted on stderr.

    Parameters
    ----------
    source : Path
        A CSV, or a folder if `files` is given.
    files : str, optional
        A template of the paths below the folder.
    sfreq, modality
        As in `folder_dataset`.
    layout : Path, optional
        A YAML file that describes tables.

    Raises
    ------
    DataError
        If it is an archive, or as in `folder_dataset` and `files_dataset`.
    UsageError
        If a folder comes without a template or a template without a folder, or the layout is wrong.
    """
    if source.name.lower().endswith(ARCHIVES):
        raise DataError(
            "An archive is not read, since its members may lie outside its folder",
            source,
            "Unpack it, and give the folder with --files, or a CSV that lists the recordings",
        )
    described = load_layout(layout) if layout is not None else None
    if files is None:
        if source.suffix.lower() != ".csv":
            raise UsageError(
                "Nothing says whose recordings these are",
                source,
                "Give a template of the paths, --files 'sub-{patient}/{trial}_{label}.edf', or a CSV with the columns "
                "path and patient",
            )
        return folder_dataset(source, sfreq=sfreq, modality=modality, layout=described)
    if source.exists() and not source.is_dir():
        raise UsageError("A template of paths goes with a folder", source, "Give the folder, or leave --files out")
    dataset, left_out = files_dataset(source, files, sfreq=sfreq, modality=modality, layout=described)
    if left_out:
        count = f"{len(left_out)} readable file{'s' if len(left_out) > 1 else ''}"
        print(f"note: {count} below {source} did not fit --files, first {left_out[0]}", file=sys.stderr)
    return dataset
