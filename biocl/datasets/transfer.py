"""One file over HTTP: TLS verified, continued after an interruption, kept only when it is whole."""

from __future__ import annotations

import http.client
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from biocl.errors import DataError

TIMEOUT_S = 60.0
CHUNK_BYTES = 1 << 20
LIST_BYTES = 64 << 20
ATTEMPTS = 4
LOCAL = ("localhost", "127.0.0.1", "::1")
HEADERS = {"User-Agent": "biocl", "Accept-Encoding": "identity"}


def check_url(url: str, *, local: bool = True) -> None:
    """Only TLS, except to this machine itself where `local` is set.

    Raises
    ------
    DataError
        For any other scheme or host.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (local and parts.scheme == "http" and parts.hostname in LOCAL):
        raise DataError(
            "This address is not https, so neither its owner nor its content could be checked",
            url,
            "Use the https address of the source",
        )


class Guarded(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to an address that `check_url` accepts."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """As the base class, after the check; from TLS there is no way back."""
        check_url(newurl, local=urlsplit(req.full_url).scheme == "http")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def opened(url: str, extra: dict[str, str]) -> Iterator[Any]:
    """The answer of a server.

    The certificate is checked by Python's default context, against the system's authorities.
    """
    check_url(url)
    opener = urllib.request.build_opener(Guarded)
    with opener.open(urllib.request.Request(url, headers={**HEADERS, **extra}), timeout=TIMEOUT_S) as answer:
        yield answer


def fetch_text(url: str) -> str:
    """A small text file.

    Raises
    ------
    DataError
        If it cannot be fetched or is not UTF-8.
    """
    try:
        with opened(url, {}) as answer:
            data: bytes = answer.read(LIST_BYTES)
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError("The server's list of files is not text", url, "Try again later") from error
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(url, error) from error


def receive(url: str, path: Path, label: str, finished: Callable[[Path], bool] | None) -> None:
    """Fetch a file under a temporary name, going on where it broke off, and name it when it is whole.

    Parameters
    ----------
    url : str
    path : Path
        Its name once it is whole; until then it is `path` with ``.part`` behind.
    label : str
        What stands in the progress line.
    finished : callable (part) -> bool, or None
        Whether the part is the right file, which decides. None where no sum is known: then the server's
        length does, and a part is continued only while the server vouches that the file is still the same.

    Raises
    ------
    DataError
        If the server does not answer, or what it gives is wrong twice.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    tag = path.with_name(f"{path.name}.part.tag")
    wrong = 0
    for attempt in range(ATTEMPTS):
        try:
            whole = append(url, part, tag, label, trusted=finished is not None)
        except WriteError as error:
            raise error.reason from None
        except (http.client.HTTPException, OSError) as error:
            if attempt + 1 < ATTEMPTS and not isinstance(error, urllib.error.HTTPError) and part.is_file():
                continue
            raise unreachable(url, error) from error
        if not whole:
            continue
        if finished is None or finished(part):
            part.replace(path)
            tag.unlink(missing_ok=True)
            return
        part.unlink(missing_ok=True)
        wrong += 1
        if wrong == 2:
            raise DataError(
                "A downloaded file does not match its SHA-256 sum, twice",
                url,
                "Try again later; nothing wrong was kept",
            )
    raise unreachable(url, ConnectionError(f"the connection broke off {ATTEMPTS} times"))


class WriteError(Exception):
    """A refusal of this machine's disk, to be told from one of the network."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


@contextmanager
def writing() -> Iterator[None]:
    """Tell a refusal of the disk from one of the network."""
    try:
        yield
    except OSError as error:
        raise WriteError(error) from error


def append(url: str, part: Path, tag: Path, label: str, *, trusted: bool) -> bool:
    """Write the rest of a file behind what `part` holds, or all of it if the server cannot continue.

    Returns
    -------
    bool
        Whether as much has come as the server promised (True if it promised nothing).
    """
    have = part.stat().st_size if part.is_file() else 0
    headers = {}
    if have:
        known = tag.read_text() if tag.is_file() else ""
        if trusted or known:
            headers["Range"] = f"bytes={have}-"
            if not trusted:
                headers["If-Range"] = known
        else:
            have = 0
    try:
        with opened(url, headers) as answer:
            goes_on = answer.status == 206 and str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")
            if answer.status == 206 and not goes_on:
                raise http.client.HTTPException("the server sent another piece than the one that was asked for")
            validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            if not trusted and validator and not validator.startswith("W/"):
                with writing():
                    tag.write_text(validator)
            length = answer.headers.get("Content-Length")
            start = have if goes_on else 0
            total = start + int(length) if length and length.isdigit() else None
            with writing():
                file = part.open("ab" if goes_on else "wb")
            with file:
                got = start + copy(answer, file, label, start, total)
            return total is None or got >= total
    except urllib.error.HTTPError as error:
        if error.code == 416 and trusted:  # nothing is behind what we have; the sum decides whether it is right
            return True
        if error.code == 416:
            part.unlink(missing_ok=True)
            return False
        raise


def copy(answer: Any, file: IO[bytes], label: str, start: int, total: int | None) -> int:
    """Copy what comes; returns the number of bytes."""
    done = 0
    shown = progress(label)
    try:
        while chunk := answer.read(CHUNK_BYTES):
            with writing():
                file.write(chunk)
                file.flush()
            done += len(chunk)
            shown(start + done, total)
    finally:
        shown(-1, total)
    return done


def progress(label: str) -> Callable[[int, int | None], None]:
    """A line that is written over itself on a terminal, and nothing elsewhere; a negative count ends it."""
    if not sys.stderr.isatty():
        return lambda done, total: None

    def show(done: int, total: int | None) -> None:
        if done < 0:
            print(file=sys.stderr, flush=True)
            return
        of = f" of {total / 1e6:.1f}" if total else ""
        print(f"\r{label}: {done / 1e6:.1f}{of} MB\033[K", end="", file=sys.stderr, flush=True)

    return show


def unreachable(url: str, error: Exception) -> DataError:
    """The error for a server that does not answer as it should."""
    return DataError(
        f"The download failed ({error})",
        url,
        "Check the connection and start it again: what is complete is kept and the rest continues",
    )
