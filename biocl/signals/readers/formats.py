"""Which reader opens which file: one table, from which the README's table is printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from biocl.errors import DataError
from biocl.signals.readers.layout import TableLayout
from biocl.signals.readers.table import Table
from biocl.signals.recording import Recording

PACKED = (".gz", ".xz", ".bz2")
COMPANIONS = {".eeg": ".vhdr", ".vmrk": ".vhdr", ".avg": ".vhdr", ".fdt": ".set", ".head": ".data", ".atr": ".hea"}
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".7z", ".rar")


@dataclass(frozen=True)
class Format:
    """A family of files with one reader.

    Attributes
    ----------
    what : str
        Its name.
    suffixes : tuple of str
        Lower case, with the dot.
    content : tuple of str
        Which contents (names of `SIGNATURES`) such a file may begin with; empty: any of no known kind.
    reader : str
        ``module:function``; for a table also ``module:loader``, which leaves time stamps to the caller.
    loader : str
        Of a table of numbers: ``module:function (path, layout, device) -> Table``. Only these take a layout and a
        sampling rate.
    extra : str
        What must be installed besides biocl's core.
    tested : str
        On which files the tests read it.
    packed : bool
        Whether ``.gz``, ``.xz`` and ``.bz2`` of it are read.
    """

    what: str
    suffixes: tuple[str, ...]
    content: tuple[str, ...]
    reader: str
    tested: str
    loader: str = ""
    extra: str = ""
    packed: bool = False


MNE = "biocl.signals.readers.mne_reader:read_mne"
TEXT = "biocl.signals.readers.text_reader:read_text", "biocl.signals.readers.text_reader:load_text"
ARRAY = "biocl.signals.readers.array_reader:read_array", "biocl.signals.readers.array_reader:load_array"

WRITTEN = "files that the tests write; damaged at random"

FORMATS: dict[str, Format] = {
    "edf": Format("EDF, EDF+", (".edf", ".rec"), ("edf",), MNE, "public recordings; files written by edfio"),
    "bdf": Format("BDF, BDF+", (".bdf",), ("bdf",), MNE, "public recordings"),
    "gdf": Format("GDF 1 and 2", (".gdf",), ("gdf",), MNE, "files that the tests write; no public recording"),
    "brainvision": Format("BrainVision", (".vhdr", ".ahdr"), ("brainvision",), MNE, "public recordings"),
    "fif": Format("FIF", (".fif", ".fif.gz"), ("fif", "gz"), MNE, "public recordings"),
    "eeglab": Format(
        "EEGLAB",
        (".set",),
        ("mat", "mat7.3", "hdf5"),
        MNE,
        "files written by mne's exporter; no public recording",
        extra="formats",
    ),
    "egi": Format(
        "EGI",
        (".mff", ".raw", ".egi"),
        (),
        MNE,
        "public recordings (.raw); an .mff folder is not tested",
        extra="formats (.mff)",
    ),
    "nicolet": Format("Nicolet", (".data",), (), MNE, "public recordings"),
    "wfdb": Format(
        "WFDB (.dat, .mat or FLAC signals; annotations .atr)",
        (".hea",),
        (),
        "biocl.signals.readers.formats:read_record",
        "public recordings, one for each signal format",
    ),
    "text": Format(
        "comma-, tab-, semicolon- or whitespace-separated text, fixed width",
        (".csv", ".tsv", ".txt", ".tab", ".dat"),
        (),
        TEXT[0],
        "public recordings; damaged at random",
        TEXT[1],
        packed=True,
    ),
    "numpy": Format("NumPy", (".npy",), ("npy",), ARRAY[0], WRITTEN, ARRAY[1], packed=True),
    "numpy-archive": Format("NumPy archive", (".npz",), ("zip",), ARRAY[0], WRITTEN, ARRAY[1], packed=True),
    "matlab": Format(
        "MATLAB 4 to 7.3",
        (".mat",),
        ("mat", "mat7.3", "hdf5", ""),
        ARRAY[0],
        WRITTEN,
        ARRAY[1],
        extra="formats (7.3)",
        packed=True,
    ),
    "parquet": Format(
        "Parquet",
        (".parquet",),
        ("parquet",),
        ARRAY[0],
        WRITTEN,
        ARRAY[1],
        extra="formats",
        packed=True,
    ),
}

# content -> the bytes that a file of it begins with, and the suffix it should have
SIGNATURES: dict[str, tuple[tuple[bytes, ...], str]] = {
    "edf": ((b"0       ",), ".edf"),
    "bdf": ((b"\xffBIOSEMI",), ".bdf"),
    "gdf": ((b"GDF ",), ".gdf"),
    "brainvision": ((b"Brain Vision Data Exchange Header", b"BrainVision Data Exchange Header"), ".vhdr"),
    "fif": ((b"\x00\x00\x00\x64\x00\x00\x00\x1f",), ".fif"),
    "npy": ((b"\x93NUMPY",), ".npy"),
    "mat7.3": ((b"MATLAB 7.3 MAT-file",), ".mat"),
    "mat": ((b"MATLAB 5.0 MAT-file",), ".mat"),
    "hdf5": ((b"\x89HDF\r\n\x1a\n",), ".mat, if MATLAB wrote it"),
    "parquet": ((b"PAR1",), ".parquet"),
    "zip": ((b"PK\x03\x04",), ".npz or .xlsx"),
    "gz": ((b"\x1f\x8b",), ".gz"),
    "xz": ((b"\xfd7zXZ\x00",), ".xz"),
    "bz2": ((b"BZh",), ".bz2"),
}


def open_recording(
    path: str | Path,
    *,
    name: str,
    patient: str,
    session: str = "1",
    labels: Mapping[str, str] | None = None,
    sfreq: float | None = None,
    layout: TableLayout | None = None,
) -> Recording:
    """Open a file of any format of `FORMATS`, chosen by its suffix.

    Parameters
    ----------
    path : str or Path
        A file; a WFDB record also without suffix or by its ``.dat`` or ``.mat`` file.
    name, patient, session, labels
        Of the recording.
    sfreq : float, optional
        Samples per second of a table without time stamps.
    layout : TableLayout, optional
        How to read a table.

    Returns
    -------
    Recording
        Annotations that lie in the file, or beside it (``.atr``, ``.vmrk``), are its events.

    Raises
    ------
    DataError
        If the file is missing, empty, of an unknown kind, or holds something else than its suffix says; if its
        reader refuses it.
    """
    path = resolve(Path(path), layout)
    kind = format_of(path, layout)
    check_content(path, kind)
    module, function = kind.reader.split(":")
    own = {"sfreq": sfreq, "layout": layout} if kind.loader else {}
    read = getattr(import_module(module), function)
    recording: Recording = read(path, name=name, patient=patient, session=session, labels=labels, **own)
    return recording


def open_table(path: Path, layout: TableLayout, device: str | None = None) -> Table:
    """A table of numbers with its time stamps, for devices of one recording."""
    kind = format_of(path, layout)
    check_content(path, kind)
    module, function = kind.loader.split(":")
    table: Table = getattr(import_module(module), function)(path, layout, device)
    return table


def is_table(path: Path, layout: TableLayout | None = None) -> bool:
    """Whether a file holds a plain table of numbers, so that it needs a rate or time stamps."""
    return bool(format_of(resolve(path, layout), layout).loader)


def read_record(
    path: str | Path, *, name: str, patient: str, session: str, labels: Mapping[str, str] | None
) -> Recording:
    """A WFDB record, with its reference annotations if ``.atr`` lies beside it."""
    from biocl.signals.readers.wfdb_reader import read_wfdb

    path = Path(path)
    annotator = "atr" if path.with_suffix(".atr").is_file() else None
    return read_wfdb(path, annotator, name=name, patient=patient, session=session, labels=labels)


def resolve(path: Path, layout: TableLayout | None = None) -> Path:
    """The file to open: a WFDB record's header where the record's name or its signal file was given."""
    header = path.with_name(f"{path.name}.hea")
    if header.is_file() and not path.is_file():
        return header
    if path.suffix.lower() in (".dat", ".mat") and layout is None and path.with_suffix(".hea").is_file():
        return path.with_suffix(".hea")
    return path


def suffix_of(path: Path) -> tuple[str, bool]:
    """The suffix that tells the format, in lower case, and whether the file is packed."""
    name = path.name.lower()
    for suffix in (".fif.gz", *ARCHIVES):
        if name.endswith(suffix):
            return suffix, False
    if name.endswith(PACKED):
        return Path(name.rpartition(".")[0]).suffix, True
    return Path(name).suffix, False


def format_of(path: Path, layout: TableLayout | None = None) -> Format:
    """The format of a file by its suffix.

    Raises
    ------
    DataError
        If no reader knows it.
    """
    suffix, packed = suffix_of(path)
    if suffix in ARCHIVES:
        raise DataError(
            "An archive is not read, since its members may lie outside its folder", path, "Unpack it, give the folder"
        )
    if suffix == ".dat" and layout is None:
        raise DataError(
            "This record's header is missing",
            path.with_suffix(".hea"),
            "Put it beside the .dat file; if that is a table of text, describe it in a layout (--layout)",
        )
    for kind in FORMATS.values():
        if suffix in kind.suffixes:
            if packed and not kind.packed:
                raise DataError(f"A packed {suffix} file is not read", path, "Unpack it first")
            return kind
    if suffix in COMPANIONS:
        raise DataError(
            f"A {suffix} file is read by way of the {COMPANIONS[suffix]} file beside it", path, "Give that one"
        )
    if not suffix:
        raise DataError("This record's header is missing", f"{path}.hea", "Check the path; a record needs its .hea")
    raise DataError(f"Files like {path.name} cannot be read", path, f"Use one of {', '.join(known_suffixes())}")


def known_suffixes() -> list[str]:
    """Every suffix that a reader knows."""
    return [suffix for kind in FORMATS.values() for suffix in kind.suffixes]


def is_readable(path: Path) -> bool:
    """Whether the suffix is a reader's (a ``.dat`` file belongs to its record's header)."""
    suffix, packed = suffix_of(path)
    return suffix != ".dat" and any(suffix in k.suffixes and (k.packed or not packed) for k in FORMATS.values())


def check_content(path: Path, kind: Format) -> None:
    """Refuse a missing or empty file, and one whose first bytes say that it is something else."""
    if path.is_dir():
        if path.suffix.lower() == ".mff":
            return
        raise DataError("This is a folder, not a recording", path, "Give a file")
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except FileNotFoundError as error:
        raise DataError("This file does not exist", path, "Check the path") from error
    except OSError as error:
        raise DataError(f"This file cannot be read ({error.strerror})", path, "Check the path") from error
    if not head:
        raise DataError("This file is empty", path, "Copy or download it again")
    found = content_of(head)
    allowed = {name for name in kind.content if name}
    if suffix_of(path)[1]:
        allowed = {path.suffix.lower()[1:]}
    if found in allowed or (not found and (not allowed or "" in kind.content)):
        return
    if found:
        raise DataError(
            f"This file is named {path.suffix}, and begins like a file named {SIGNATURES[found][1]}",
            path,
            "Give it the name that fits its content, or the right file",
        )
    if not suffix_of(path)[1] and kind.loader == "":
        return  # what lies inside is for its own reader to judge
    raise DataError(f"This is no {path.suffix} file: it does not begin like one", path, "Copy it again, or rename it")


def content_of(head: bytes) -> str:
    """The name of `SIGNATURES` that a file's first bytes show; empty if none."""
    found = next((name for name, (starts, _) in SIGNATURES.items() if head.startswith(starts)), "")
    return "" if found == "edf" and b"\n" in head else found  # text of fixed width may begin like an EDF header


def formats_markdown() -> str:
    """The table of readers, as Markdown."""
    lines = ["| format | files | packed | needs | tested on |", "|---|---|---|---|---|"]
    for kind in FORMATS.values():
        files = " ".join(f"`{suffix}`" for suffix in kind.suffixes)
        packed = ".gz .xz .bz2" if kind.packed else ""
        lines.append(f"| {kind.what} | {files} | {packed} | {kind.extra or 'core'} | {kind.tested} |")
    return "\n".join(lines)


def renamed(recording: Recording, device: str) -> Recording:
    """The same recording with all channels on one device."""
    return replace(recording, channels=tuple(replace(channel, device=device) for channel in recording.channels))
