"""Fetch the native files of a data set: over TLS, verified where the source says what is right, resumed."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from biocl.datasets.transfer import fetch_text, receive
from biocl.datasets.unpack import safe_path, still_unpacked, unpack
from biocl.errors import DataError
from biocl.files import disk_errors, write_bytes

PHYSIONET = "https://physionet.org/files/"
SUMS = "SHA256SUMS.txt"
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Remote:
    """A file of a source that has no list of sums, or none that is fetched.

    Attributes
    ----------
    url : str
        ``https://…``.
    sha256 : str, optional
        What the file's sum must be; None where nobody who is trusted has said, and then the file is shown as
        unverified.
    name : str
        Path below the folder; default the last component of the URL.
    unpack : tuple of str
        For an archive: patterns of the members that are wanted, ``("*",)`` for all. Empty for a plain file.
    inside : str
        A folder of the archive whose content is placed as if it lay at the top.
    """

    url: str
    sha256: str | None = None
    name: str = ""
    unpack: tuple[str, ...] = ()
    inside: str = ""

    @property
    def place(self) -> str:
        """The file's path below the folder."""
        return safe_path(self.name or unquote(PurePosixPath(urlsplit(self.url).path).name), self.url)


def download_physionet(
    project: str, folder: Path, base_url: str | None = None, *, only: Sequence[str] = ("*",)
) -> None:
    """Fetch the files that a project's ``SHA256SUMS.txt`` lists, subfolders included.

    A file that is there and right is kept; a partial one (``.part``) is continued. Calling it again after an
    interruption loses nothing.

    Parameters
    ----------
    project : str
        ``mitdb/1.0.0``.
    folder : Path
        Where the files go; made if absent.
    base_url : str, optional
        Another server with the same layout; default ``$BIOCL_PHYSIONET``, else PhysioNet.
    only : sequence of str
        Patterns of the paths that are wanted (``records100/*``); ``*`` also matches ``/``.

    Raises
    ------
    DataError
        If the server cannot be reached, a file does not match its sum, the list names a place outside the
        folder, or the disk is full.
    """
    base = base_url or os.environ.get("BIOCL_PHYSIONET") or PHYSIONET
    root = f"{base.rstrip('/')}/{project.strip('/')}/"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        text = fetch_text(root + SUMS)
        sums = parse_sums(text, root + SUMS)
        wanted = {path: sums[path] for path in sums if any(fnmatchcase(path, pattern) for pattern in only)}
        if not wanted:
            raise DataError(
                f"None of the {len(sums)} files that the server lists is one that this data set needs",
                root + SUMS,
                "The source has changed: fetch its files by hand and give their folder with --raw",
            )
        for number, (path, expected) in enumerate(wanted.items(), 1):
            label = f"{path} ({number} of {len(wanted)})"
            fetch_verified(root + quote(path), folder / path, expected, label)
    write_bytes(folder / SUMS, text.encode())
    say(f"{project}: {len(wanted)} files, each as its source's {SUMS} says")


def download_files(remotes: Sequence[Remote], folder: Path) -> None:
    """Fetch single files, and unpack those that are archives.

    A plain file that is there is kept if it has the right sum, or if nobody says what the right sum is. An
    archive is deleted once its members are in place; a note beside them (``.unpacked``) says which they are, so
    that it is not fetched again while they are there.

    Parameters
    ----------
    remotes : sequence of Remote
    folder : Path
        Where the files go; made if absent.

    Raises
    ------
    DataError
        As in `download_physionet`; also if an archive is damaged, holds a link or a path that leaves the
        folder, or grows beyond what `unpack` allows.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number, remote in enumerate(remotes, 1):
            path = folder / remote.place
            if remote.unpack and still_unpacked(path):
                continue
            label = f"{remote.place} ({number} of {len(remotes)})"
            if remote.sha256 is not None:
                fetch_verified(remote.url, path, remote.sha256, label)
            elif not path.is_file():
                receive(remote.url, path, label, finished=None)
            found = remote.sha256 or file_sum(path)
            state = "verified" if remote.sha256 else "unverified, its source states no sum"
            say(f"{remote.place}: {state}; SHA-256 {found}")
            if remote.unpack:
                origin = {"url": remote.url, "sha256": found, "verified": remote.sha256 is not None}
                unpack(path, remote.unpack, origin, inside=remote.inside)


def fetch_verified(url: str, path: Path, expected: str, label: str) -> None:
    """Fetch one file unless it is there and right."""
    if path.is_file() and file_sum(path) == expected:
        return
    receive(url, path, label, finished=lambda part: file_sum(part) == expected)


def parse_sums(text: str, where: str) -> dict[str, str]:
    """Path below the folder to SHA-256, from lines ``SUM  PATH``.

    Raises
    ------
    DataError
        If a path would leave the folder, or no line is one of a list.
    """
    sums: dict[str, str] = {}
    for line in text.splitlines():
        parts = line.split(maxsplit=1)
        if len(parts) == 2 and SHA256.fullmatch(parts[0].lower()):
            path = safe_path(parts[1].strip().removeprefix("*").removeprefix("./"), where)
            if path != SUMS:
                sums[path] = parts[0].lower()
    if not sums:
        raise DataError("The server's list of files is empty or not a list", where, "Try again later")
    return sums


def file_sum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def say(text: str) -> None:
    """A line for whoever waits, apart from the output proper."""
    print(text, file=sys.stderr, flush=True)


def uci(number: int, slug: str, *, only: Sequence[str] = ("*",), inside: str = "") -> Remote:
    """The archive of a data set of the UCI repository, which states no sums; `only` are members' patterns."""
    return Remote(f"https://archive.ics.uci.edu/static/public/{number}/{slug}.zip", unpack=tuple(only), inside=inside)
