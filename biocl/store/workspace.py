"""A hidden folder that one builder at a time may fill, and that becomes the store in one step."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from biocl.errors import DataError
from biocl.files import disk_errors, parents_of, sync_folder, sync_path


@contextmanager
def workspace(final: Path) -> Iterator[Path]:
    """Fill a folder that appears as `final` only when complete.

    ::

        .NAME.partial/lock      held while a builder lives, freed by the system when it dies in any way
        .NAME.partial/store/    what the body fills; renamed to NAME at the end

    What a killed builder left is removed by the next one. If the body raises, nothing is left.

    Yields
    ------
    Path
        An empty folder.

    Raises
    ------
    DataError
        If another living process builds the same store, or the disk is full or read-only.
    """
    partial = final.parent / f".{final.name}.partial"
    with disk_errors(final), parents_of(final):
        lock = acquire(partial)
        try:
            for remains in partial.iterdir():
                if remains.is_dir():
                    shutil.rmtree(remains)
            inside = partial / "store"
            inside.mkdir()
            yield inside
            sync_folder(inside)
            os.rename(inside, final)
            sync_path(final.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            os.close(lock)


def acquire(partial: Path) -> int:
    """Lock the folder; returns the descriptor that holds the lock."""
    while True:
        partial.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(partial / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue  # the builder before us has just removed the folder
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise DataError(
                "Another process is preparing this store", partial, "Wait until it is done, or stop it first"
            ) from error
        if still_there(partial / "lock", descriptor):
            return descriptor
        os.close(descriptor)  # it was removed between opening and locking


def still_there(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one at this path."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def remove_remains(final: Path) -> None:
    """Remove the hidden folder of a builder that died after its store was complete."""
    partial = final.parent / f".{final.name}.partial"
    if partial.exists():
        try:
            lock = acquire(partial)
        except DataError:
            return
        shutil.rmtree(partial, ignore_errors=True)
        os.close(lock)
