"""Converting recordings one after the other here, or side by side in worker processes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import BinaryIO

from biocl.datasets.dataset import Dataset, Entry
from biocl.errors import DataError
from biocl.signals.spec import ConditioningSpec
from biocl.store.convert import Converted, convert


def convert_here(
    dataset: Dataset, entries: Sequence[Entry], conditioning: ConditioningSpec, file: BinaryIO
) -> Generator[Converted, None, None]:
    """Append all recordings to a file, in this process."""
    for entry in entries:
        yield convert(dataset, entry, conditioning, file)


def convert_side_by_side(
    dataset: Dataset,
    entries: Sequence[Entry],
    conditioning: ConditioningSpec,
    file: BinaryIO,
    *,
    n_jobs: int,
    scratch: Path,
) -> Generator[Converted, None, None]:
    """The same by workers, each recording into a part file that is appended when its turn comes.

    Nothing needs to be known of a recording before it is opened, and none is opened twice.
    """
    pool = ProcessPoolExecutor(
        n_jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=begin_worker,
        initargs=(dataset, conditioning),
    )
    try:
        parts = [scratch / f"part-{number}" for number in range(len(entries))]
        pending = [pool.submit(convert_part, entry, part) for entry, part in zip(entries, parts, strict=True)]
        for future, part in zip(pending, parts, strict=True):
            converted = future.result()
            with open(part, "rb") as source:
                shutil.copyfileobj(source, file, 2**20)
            part.unlink()
            yield converted
    except BrokenProcessPool as error:
        raise DataError(
            "A worker process died, probably for lack of memory", None, "Prepare the data with fewer jobs"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# Set once in each worker process, so that a data set is sent to it once and not with every recording.
_given: tuple[Dataset, ConditioningSpec]


def begin_worker(dataset: Dataset, conditioning: ConditioningSpec) -> None:
    """Receive what all recordings share, and end with the parent even if that is killed."""
    global _given
    _given = dataset, conditioning
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def convert_part(entry: Entry, part: Path) -> Converted:
    """In a worker: one recording into a file of its own."""
    with open(part, "wb") as file:
        return convert(_given[0], entry, _given[1], file)
