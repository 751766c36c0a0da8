"""How long `biocl --help` and `import biocl` take against a bare interpreter.

    python benchmarks/startup.py

Prints the median of each and its ratio to the first; the aim is under half a second.
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
    """Alternate the three, so that a change of the machine's speed meets all."""
    commands = (["-c", "pass"], ["-m", "biocl.cli", "--help"], ["-c", "import biocl"])
    times = [[seconds(*command) for command in commands] for _ in range(RUNS)]
    bare, help_, imported = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"python -c pass {bare:.3f} s (median of {RUNS})")
    print(f"biocl --help {help_:.3f} s, ratio {help_ / bare:.1f}")
    print(f"import biocl {imported:.3f} s, ratio {imported / bare:.1f}")


if __name__ == "__main__":
    main()
