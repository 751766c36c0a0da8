"""Writing that never leaves a half-written file or folder behind."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from biocl.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A file that may not grow any further counts as a full disk: the same is to be done about it.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_ENTRY = (
    *(errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
)


def home() -> Path:
    """Where prepared stores and downloads live: ``$BIOCL_HOME`` or ``~/.biocl``."""
    return Path(os.environ.get("BIOCL_HOME", "~/.biocl")).expanduser()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value, independent of key order."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


SCRATCH = "biocl-scratch-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is gone at the end; writing into it does not wait for the disk."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def in_scratch(path: Path) -> bool:
    """Whether a path is inside a `scratch_folder`."""
    return any(part.startswith(SCRATCH) for part in path.parts)


@contextmanager
def parents_of(path: Path) -> Iterator[None]:
    """Make the folders above `path`; if the body fails, those that were made for it are gone again."""
    made = [folder for folder in path.parents if not folder.exists()]  # the nearest comes first
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):  # someone else's files are in it by now
                folder.rmdir()
        raise


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn a full disk, a place that cannot be written and any other refusal of the system into `DataError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in NO_ROOM:
            raise DataError(
                "The disk is full, so this was not written",
                where,
                "Free some space and repeat the command (a run with --resume), or choose another place; "
                "what was there before is untouched",
            ) from error
        if error.errno in NO_ENTRY:
            raise DataError(
                f"This place cannot be written to ({reason})", where, "Choose another output folder"
            ) from error
        raise DataError(
            f"Reading or writing failed ({reason})", error.filename or where, "Check the disk, or choose another place"
        ) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step: a reader sees the old file or the new one."""
    with disk_errors(path), parents_of(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                if not in_scratch(path):
                    os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by indented JSON in one step; a number that is not finite becomes null, as JSON has none."""
    write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """The same JSON value with null for NaN and infinities."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a new ``.npy`` file.

    `numpy.save` to a real file writes past Python, and a disk that fills up on the way then gives an error
    without its reason, or none at all and a file cut short.
    """
    import numpy as np

    with path.open("wb") as file:
        np.save(SimpleNamespace(write=file.write), array)


def read_json(path: Path) -> Any:
    """Read JSON, or say in one paragraph why that is not possible."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError("This file does not exist", path, "Check the path") from error
    except OSError as error:
        raise DataError(f"This file cannot be read ({error.strerror})", path, "Check the path") from error
    except ValueError as error:
        raise DataError(f"This file is not valid JSON: {error}", path, "Repair it or make it again") from error


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Fill a hidden folder beside `final`, which appears under its name only when complete.

    What a killed attempt at the same folder left is removed; a folder has one writer at a time.

    Yields
    ------
    Path
        The folder to write into. If the body raises, it is removed and `final` never appears.
    """
    with disk_errors(final), parents_of(final):
        prefix = f".{final.name}.partial-"
        for remains in final.parent.glob(f"{glob.escape(prefix)}*"):
            shutil.rmtree(remains, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=prefix))
        try:
            yield partial
            os.chmod(partial, 0o755)
            sync_folder(partial)
            os.rename(partial, final)
            sync_path(final.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def sync_folder(folder: Path) -> None:
    """Force every file of a folder to disk, so that a rename after it is safe against power loss."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sync_path(path)


def sync_path(path: Path) -> None:
    """fsync one file or folder; nothing in a scratch folder is meant to outlive the process."""
    if in_scratch(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
