"""Speed-up of preparing with two processes, against that of reading with two.

    python benchmarks/prepare_parallel.py [FOLDER OF THE RECORDS] [--times 8] [--repeats 3] [--jobs 2]

mitdb is prepared with every record listed eight times, so that starting the workers does not decide. The bare
readers open the same list of records with wfdb, signals and beats, and keep nothing: one process all of it, or two
halves of it, started and fed like the workers. All four are timed in turn, each in a fresh process, from their start
to their end, imports of that process apart; a figure is the least of the repeats.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from many_records import default_folder, many_records


def bare_read(source: str) -> int:
    """Read one record as wfdb does, and forget it."""
    import wfdb

    record = wfdb.rdrecord(source)
    wfdb.rdann(source, "atr")
    return int(record.sig_len)


def run(task: str, times: int, n_jobs: int, raw: Path) -> float:
    """Seconds of one task in this process and its workers."""
    import scipy.signal  # noqa: F401  # the resampler's, loaded on first use
    import wfdb  # noqa: F401

    from biocl.signals.spec import ConditioningSpec
    from biocl.store.build import build_store

    dataset = many_records(times)
    sources = [entry.source for entry in dataset.entries(raw)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        if task == "prepare":
            build_store(dataset, raw, Path(folder) / "store", ConditioningSpec(resample_hz=125.0), n_jobs=n_jobs)
        elif n_jobs == 1:
            for source in sources:
                bare_read(source)
        else:
            with ProcessPoolExecutor(n_jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
                sum(pool.map(bare_read, sources))
        return time.perf_counter() - start


def measure(task: str, times: int, n_jobs: int, raw: Path) -> float:
    """One task in a child process, whose numerical libraries use one thread."""
    output = subprocess.run(
        [sys.executable, __file__, str(raw), "--times", str(times), "--jobs", str(n_jobs), "--task", task],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return float(json.loads(output.splitlines()[-1]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", nargs="?", default=default_folder())
    parser.add_argument("--times", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--task", choices=("prepare", "read"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    raw = Path(arguments.raw)
    if arguments.task:
        print(json.dumps(run(arguments.task, arguments.times, arguments.jobs, raw)))
        return
    tasks = [(task, n_jobs) for task in ("read", "prepare") for n_jobs in (1, arguments.jobs)]
    rounds = [{t: measure(t[0], arguments.times, t[1], raw) for t in tasks} for _ in range(arguments.repeats)]
    best = {t: min(r[t] for r in rounds) for t in tasks}
    speed_up = {}
    for task in ("read", "prepare"):
        one, many = best[task, 1], best[task, arguments.jobs]
        speed_up[task] = one / many
        print(
            f"{task:8s} {48 * arguments.times} records: {one:6.2f} s with one process, {many:6.2f} s with "
            f"{arguments.jobs}, speed-up {one / many:.2f}"
        )
    print(f"speed-up of prepare / of bare readers: {speed_up['prepare'] / speed_up['read']:.2f}   (at least 0.85)")


if __name__ == "__main__":
    main()
