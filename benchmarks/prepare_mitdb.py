"""Time and memory of ``prepare mitdb`` against only reading the same records with wfdb.

python benchmarks/prepare_mitdb.py [FOLDER OF THE RECORDS] [--repeats 3]

Each figure is the least of several child processes, taken in turn, one process each; imports are not counted.
Peak memory is that of the child; "imports" is a child that only imports.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TASKS = ("imports", "wfdb", "native", "128 Hz", "native, 6 records")


def run(task: str, raw: Path) -> dict[str, float]:
    """One task in this process."""
    import scipy.signal  # noqa: F401  # the resampler's, loaded on first use
    import wfdb

    from biocl.datasets.mitdb import MITDB
    from biocl.signals.spec import ConditioningSpec
    from biocl.store.build import build_store

    entries = MITDB.entries(raw)
    start = time.perf_counter()
    if task == "wfdb":
        for entry in entries:
            wfdb.rdrecord(entry.source)
            wfdb.rdann(entry.source, "atr")
        seconds = time.perf_counter() - start
    elif task == "imports":
        seconds = 0.0
    else:
        some = entries[:6] if "6 records" in task else entries
        spec = ConditioningSpec(resample_hz=128.0 if task == "128 Hz" else None)
        with tempfile.TemporaryDirectory() as folder:
            build_store(MITDB, some, Path(folder) / "store", spec)
            seconds = time.perf_counter() - start
    return {"seconds": seconds, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measure(task: str, raw: Path) -> dict[str, float]:
    """One task in a child process with one thread."""
    output = subprocess.run(
        [sys.executable, __file__, str(raw), "--task", task],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return json.loads(output.splitlines()[-1])


def default_folder() -> str:
    """Where the tests find the records."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return str(Path(os.environ.get("BIOCL_TEST_DATA", beside)) / "ecg" / "mitdb")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", nargs="?", default=default_folder())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    raw = Path(arguments.raw)
    if arguments.task:
        print(json.dumps(run(arguments.task, raw)))
        return
    rounds = [{task: measure(task, raw) for task in TASKS} for _ in range(arguments.repeats)]
    seconds = {task: min(r[task]["seconds"] for r in rounds) for task in TASKS}
    mib = {task: min(r[task]["mib"] for r in rounds) for task in TASKS}
    for task in TASKS:
        print(f"{task:20s} {seconds[task]:7.2f} s   peak {mib[task]:6.0f} MiB")
    own = {task: mib[task] - mib["imports"] for task in TASKS}
    print(f"prepare / wfdb, native rate   {seconds['native'] / seconds['wfdb']:.2f}   (at most 1.3)")
    print(f"prepare / wfdb, 128 Hz        {seconds['128 Hz'] / seconds['wfdb']:.2f}   (at most 2)")
    few = own["native, 6 records"]
    print(f"peak memory less imports      {own['native']:.0f} MiB for 48 records, {few:.0f} MiB for 6")
    print(f"growth per record             {(own['native'] - few) / 42:.2f} MiB, of 4.96 MiB of signal")


if __name__ == "__main__":
    main()
