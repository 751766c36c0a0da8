"""Fetch a PhysioNet data set: verified against its SHA-256 sums, resumed after an interruption."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath

from biocl.errors import DataError
from biocl.files import disk_errors, write_bytes

PHYSIONET = "https://physionet.org/files/"
SUMS = "SHA256SUMS.txt"
TIMEOUT_S = 60.0
CHUNK_BYTES = 1 << 20


def download_physionet(project: str, folder: Path, base_url: str | None = None) -> None:
    """Fetch every file that a project's ``SHA256SUMS.txt`` lists at its top level.

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

    Raises
    ------
    DataError
        If the server cannot be reached, or a file does not match its sum.
    """
    base = base_url or os.environ.get("BIOCL_PHYSIONET") or PHYSIONET
    root = f"{base.rstrip('/')}/{project.strip('/')}/"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sums = fetch_text(root + SUMS)
        for name, expected in parse_sums(sums, root).items():
            fetch_file(root + name, folder / name, expected)
    write_bytes(folder / SUMS, sums.encode())


def parse_sums(text: str, root: str) -> dict[str, str]:
    """File name to SHA-256, for plain file names only: a listed path must not leave the folder."""
    sums: dict[str, str] = {}
    for line in text.splitlines():
        parts = line.split(maxsplit=1)
        if len(parts) == 2 and len(parts[0]) == 64:
            name = parts[1].strip().lstrip("*")
            if PurePosixPath(name).name == name and name not in (".", ".."):
                sums[name] = parts[0].lower()
    if not sums:
        raise DataError("The server's list of files is empty or not a list", root + SUMS, "Try again later")
    return sums


def fetch_text(url: str) -> str:
    """A small text file."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            text: str = answer.read().decode("utf-8")
            return text
    except (urllib.error.URLError, OSError) as error:
        raise unreachable(url, error) from error


def fetch_file(url: str, path: Path, expected: str) -> None:
    """Fetch one file under a temporary name, continue what is there, verify, then give it its name."""
    if path.is_file() and file_sum(path) == expected:
        return
    part = path.with_name(f"{path.name}.part")
    for attempt in ("continued", "from the start"):
        if attempt == "from the start":
            part.unlink(missing_ok=True)
        append(url, part)
        if file_sum(part) == expected:
            part.replace(path)
            return
    part.unlink(missing_ok=True)
    raise DataError(
        "A downloaded file does not match its SHA-256 sum, twice",
        url,
        "Try again later; nothing wrong was kept",
    )


def append(url: str, part: Path) -> None:
    """Write the rest of a file behind what `part` already holds; start over if the server cannot continue."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with (
            urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer,
            part.open("ab" if answer.status == 206 else "wb") as file,
        ):
            shutil.copyfileobj(answer, file, CHUNK_BYTES)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # there is nothing behind what we have; the sum decides whether it is right
            return
        raise unreachable(url, error) from error
    except urllib.error.URLError as error:
        raise unreachable(url, error) from error


def file_sum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unreachable(url: str, error: Exception) -> DataError:
    """The error for a server that does not answer as it should."""
    return DataError(
        f"The download failed ({error})",
        url,
        "Check the connection and start it again: what is complete is kept and the rest continues",
    )
