"""Not a benchmark: mitdb with every record listed several times, for the benchmarks that need a long data set."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.mitdb import MITDB
from biocl.signals.recording import Recording


def default_folder() -> str:
    """Where the tests find the records."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return str(Path(os.environ.get("BIOCL_TEST_DATA", beside)) / "ecg" / "mitdb")


def entries(times: int, raw: Path) -> list[Entry]:
    """Every record `times` times, each copy with a patient of its own."""
    return [
        replace(entry, name=f"{entry.name}.{copy}", patient=f"{entry.patient}.{copy}")
        for copy in range(times)
        for entry in MITDB.entries(raw)
    ]


def read(entry: Entry) -> Recording:
    """The record behind a copy."""
    name, patient = (text.rpartition(".")[0] for text in (entry.name, entry.patient))
    return replace(MITDB.read(replace(entry, name=name, patient=patient)), name=entry.name, patient=entry.patient)


def many_records(times: int) -> Dataset:
    """A throwaway data set."""
    return replace(MITDB, name=f"mitdb-{times}", entries=partial(entries, times), read=read, splits={})
