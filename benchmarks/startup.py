"""How long `biocl --help` takes against a bare interpreter.

    python benchmarks/startup.py

Prints the median of each and their ratio; the aim is under half a second.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 9


def seconds(*arguments: str) -> float:
    """Wall time of one interpreter."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Alternate the two, so that a change of the machine's speed meets both."""
    pairs = [(seconds("-c", "pass"), seconds("-m", "biocl.cli", "--help")) for _ in range(RUNS)]
    bare, help_ = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"python -c pass {bare:.3f} s, biocl --help {help_:.3f} s, ratio {help_ / bare:.1f} (median of {RUNS})")


if __name__ == "__main__":
    main()
