"""Peak memory of preparing mitdb, and of preparing it with every record listed eight times.

    python benchmarks/prepare_memory.py [FOLDER OF THE RECORDS] [--times 8] [--repeats 2]

Each figure is the least of several child processes, one process each; the peak of a child that only imports and
opens one record is taken from it. "Signals" are 125 Hz as the data set's default says, "no windows" leaves out the
default window table, which is one row a beat.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from many_records import default_folder, many_records


def run(times: int, windows: bool, raw: Path) -> dict[str, float]:
    """Prepare in this process; 0 times only imports what preparing needs."""
    import scipy.signal  # noqa: F401  # the resampler's, loaded on first use

    from biocl.signals.spec import ConditioningSpec
    from biocl.store.build import build_store
    from biocl.store.windows import derive_windows  # noqa: F401

    size = 0.0
    if times:
        dataset = many_records(times)
        if not windows:
            kept = {key: value for key, value in dataset.defaults.items() if key != "windows"}
            dataset = replace(dataset, defaults=kept)
        with tempfile.TemporaryDirectory() as folder:
            store = build_store(dataset, raw, Path(folder) / "store", ConditioningSpec(resample_hz=125.0))
            size = store.signals.nbytes / 2**20
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "signals": size}


def measure(times: int, windows: bool, raw: Path) -> dict[str, float]:
    """One preparation in a child process with one thread."""
    output = subprocess.run(
        [sys.executable, __file__, str(raw), "--child", str(times), *(["--windows"] if windows else [])],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", nargs="?", default=default_folder())
    parser.add_argument("--times", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--windows", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    raw = Path(arguments.raw)
    if arguments.child is not None:
        print(json.dumps(run(arguments.child, arguments.windows, raw)))
        return
    tasks = [(0, True), *((times, windows) for windows in (False, True) for times in (1, arguments.times))]
    rounds = [{task: measure(*task, raw) for task in tasks} for _ in range(arguments.repeats)]
    peak = {task: min(r[task]["peak"] for r in rounds) for task in tasks}
    own = {task: peak[task] - peak[0, True] for task in tasks}
    print(f"imports alone: {peak[0, True]:.0f} MiB")
    for windows in (False, True):
        one, many = own[1, windows], own[arguments.times, windows]
        print(f"{'with the default window table' if windows else 'no windows'}, MiB above the imports")
        for times in (1, arguments.times):
            signals = rounds[0][times, windows]["signals"]
            print(f"  {48 * times:4d} recordings, {signals:6.0f} MiB of signals: {own[times, windows]:6.1f}")
        growth = (many - one) / (48 * (arguments.times - 1))
        print(f"  ratio {many / one:.2f}; growth {growth * 1024:.0f} KiB a recording, of 1,693 KiB of signal")


if __name__ == "__main__":
    main()
