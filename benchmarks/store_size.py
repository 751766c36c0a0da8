"""Disk that overlapping windows take: a store of 50 % overlapped windows against its signals alone.

    python benchmarks/store_size.py [FOLDER OF THE RECORDS]

mitdb at its own rate and at 125 Hz, with windows of 2.5 s and of 10 s, half of each shared with the next; "copied" is
what the windows would take if each were stored. Bytes are those that the file system has given. A part of what is
above the signals is mitdb's 112,647 events, said beside it.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from many_records import default_folder

from biocl.datasets.mitdb import MITDB
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store


def bytes_on_disk(folder: Path) -> int:
    """What a folder takes."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", nargs="?", default=default_folder())
    raw = Path(parser.parse_args().raw)
    for resample_hz in (None, 125.0):
        for length_s in (2.5, 10.0):
            windows = {"kind": "sliding", "length_s": length_s, "step_s": length_s / 2}
            trials = {"kind": "neighbours", "n_samples": 10}
            dataset = replace(MITDB, defaults={"windows": windows, "trials": trials, "classes": []})
            with tempfile.TemporaryDirectory() as folder:
                store = build_store(dataset, raw, Path(folder) / "store", ConditioningSpec(resample_hz=resample_hz))
                total, signals = bytes_on_disk(store.path), store.signals.nbytes
                events = store.events.nbytes
                table = store.windows
                copied = len(table) * table.n_times * store.signals.shape[1] * store.signals.itemsize
                print(
                    f"{store.sfreq:g} Hz, {len(table)} windows of {length_s:g} s: store {total / 2**20:.2f} MiB, "
                    f"signals {signals / 2**20:.2f} MiB, ratio {total / signals:.3f}   (at most 1.05), "
                    f"without the events {(total - events) / signals:.3f}; copied {copied / signals:.2f}"
                )


if __name__ == "__main__":
    main()
