"""Take the members of an archive out of it, none of them outside its folder."""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

from biocl.errors import DataError
from biocl.files import read_json, write_json

# The largest set that is downloaded here has a tenth of either.
MOST_BYTES = 64 << 30
MOST_MEMBERS = 1_000_000
DEEPEST = 3
CHUNK_BYTES = 1 << 20
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
REFUSED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """One file in an archive; `content` opens it."""

    path: str
    link: bool
    content: Any


def safe_path(path: str, where: str | Path) -> str:
    """The path, if it stays below a folder whatever the system makes of its characters.

    Raises
    ------
    DataError
        If it is absolute, or a component is empty, ``.``, ``..`` or holds a character that is none of a name.
    """
    for component in path.split("/"):
        if component in ("", ".", "..") or re.search(r"[\\:\x00-\x1f]", component):
            raise DataError(
                f"The source names the file {path!r}, which is not a plain path below a folder",
                where,
                "Nothing was written there; tell the owners of the source, and do not use this copy",
            )
    return path


def note_of(archive: Path) -> Path:
    """Where it is said what an archive held."""
    return archive.with_name(f"{archive.name}.unpacked")


def still_unpacked(archive: Path) -> bool:
    """Whether an earlier `unpack` of this archive is complete, and all of its files are still there."""
    if not note_of(archive).is_file():
        return False
    note = read_json(note_of(archive))
    files = note.get("files") if isinstance(note, dict) else None
    if not isinstance(files, dict) or not files:
        return False
    places = ((archive.parent / path, size) for path, size in files.items())
    return all(place.is_file() and place.stat().st_size == size for place, size in places)


def unpack(
    archive: Path,
    patterns: Sequence[str] = ("*",),
    origin: Mapping[str, Any] | None = None,
    *,
    inside: str = "",
    most_bytes: int = MOST_BYTES,
    most_members: int = MOST_MEMBERS,
) -> list[str]:
    """Unpack an archive beside itself, archives in it included, then delete it.

    Only regular files are taken. What macOS adds (``__MACOSX``) is left out. A file appears under its name when
    it is complete.

    Parameters
    ----------
    archive : Path
        ``.zip``, ``.tar`` or a compressed tar.
    patterns : sequence of str
        Members that are wanted, by their path in the outer archive; ``*`` also matches ``/``.
    origin : mapping, optional
        Where the archive is from, for the note that is left in its place.
    inside : str
        A folder of the outer archive whose content is placed as if it lay at the top.
    most_bytes, most_members : int
        Refuse to write more than this, all archives together: 64 GiB and a million files by default.

    Returns
    -------
    list of str
        Paths of the files, below the archive's folder.

    Raises
    ------
    DataError
        If it is damaged or not an archive, if a member is a link or would leave the folder, or if it holds
        more than is allowed.
    """
    budget = Budget(most_bytes, most_members)
    root = archive.parent
    files: dict[str, int] = {}
    waiting = [(archive, 0)]
    while waiting:
        current, depth = waiting.pop()
        for place in extracted(current, patterns if depth == 0 else ("*",), inside if depth == 0 else "", budget):
            if depth + 1 < DEEPEST and place.name.lower().endswith(ARCHIVES):
                waiting.append((place, depth + 1))
            else:
                files[place.relative_to(root).as_posix()] = place.stat().st_size
        if depth:
            current.unlink()
    if not files:
        raise DataError(
            "The archive holds none of the files that this data set needs",
            archive,
            "The source has changed: fetch its files by hand and give their folder with --raw",
        )
    write_json(note_of(archive), {**(origin or {}), "files": dict(sorted(files.items()))})
    archive.unlink()
    return sorted(files)


@dataclass
class Budget:
    """How much may still be written."""

    n_bytes: int
    n_members: int

    def spend(self, n_bytes: int, n_members: int, archive: Path) -> None:
        """Take from it, or refuse."""
        self.n_bytes -= n_bytes
        self.n_members -= n_members
        if self.n_bytes < 0 or self.n_members < 0:
            raise DataError(
                "The archive unpacks to more than biocl allows a download",
                archive,
                "Look at it before you trust it; unpack it by hand and give the folder with --raw",
            )


def extracted(archive: Path, patterns: Sequence[str], inside: str, budget: Budget) -> list[Path]:
    """Write the wanted members beside the archive, those in the folder `inside` without it."""
    with listed(archive) as members:
        # Every name is looked at before anything is written.
        wanted: list[Member] = []
        for member in members:
            budget.spend(0, 1, archive)
            path = safe_path(member.path.removeprefix("./"), archive)
            if path.startswith("__MACOSX/") or not any(fnmatchcase(path, pattern) for pattern in patterns):
                continue
            if member.link:
                raise DataError(
                    f"The archive holds a link, {path!r}, which could lead anywhere",
                    archive,
                    "Look at it before you trust it; unpack it by hand and give the folder with --raw",
                )
            shorter = path.removeprefix(f"{inside}/") if inside else path
            wanted.append(Member(shorter, False, member.content))
        return [write_member(member, archive, budget) for member in wanted]


def write_member(member: Member, archive: Path, budget: Budget) -> Path:
    """Write one member under a temporary name, then give it its own."""
    root = archive.parent
    place = root / member.path
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.parent.resolve().is_relative_to(root.resolve()):
        raise DataError(
            f"The folder of {member.path!r} is a link that leads out of the data set's folder",
            place.parent,
            "Remove the link, or unpack the archive by hand",
        )
    part = place.with_name(f"{place.name}.part")
    try:
        with member.content() as source, part.open("wb") as target:
            while chunk := source.read(CHUNK_BYTES):
                budget.spend(len(chunk), 0, archive)
                target.write(chunk)
        part.replace(place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return place


@contextmanager
def listed(archive: Path) -> Iterator[Iterator[Member]]:
    """The members of an archive that are not folders.

    Raises
    ------
    DataError
        If it is damaged, encrypted or not an archive; also while its members are read.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                yield (zip_member(zipped, info) for info in zipped.infolist() if not info.is_dir())
        else:
            with tarfile.open(archive) as tarred:
                yield (tar_member(tarred, info) for info in tarred if not info.isdir())
    except REFUSED as error:
        raise DataError(
            f"This archive is damaged, encrypted or not an archive ({error})",
            archive,
            "Delete it and start the download again",
        ) from error


def zip_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    """A member of a zip file; the upper half of its attributes is the mode that Unix gave it."""
    kind = info.external_attr >> 16 & 0o170000
    return Member(info.filename, kind not in (0, 0o100000), lambda: zipped.open(info))


def tar_member(tarred: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    """A member of a tar file; anything but a regular file counts as a link."""

    def content() -> IO[bytes]:
        found = tarred.extractfile(info)
        if found is None:
            raise tarfile.TarError(f"{info.name} has no content")
        return found

    return Member(info.name, not info.isreg(), content)
