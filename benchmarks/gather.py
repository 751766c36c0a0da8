"""Speed of gathering random batches from a store, and of opening a large one.

python benchmarks/gather.py [--store STORE]

Without a store, one of random signals is made, two channels and 128 MiB. Batches are random windows of all of
it, so their bytes come from memory; "copy" lets NumPy copy as many bytes in one piece from a random place
of the same store. "In cache" repeats both with the same windows, where the fixed cost of a call shows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biocl.datasets.dataset import Dataset, Entry
from biocl.signals.recording import Channel, Events, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.gather import gather
from biocl.store.spec import NeighbourTrials, SlidingWindows
from biocl.store.store import Store
from biocl.store.windows import derive_windows

SFREQ = 128.0


def random_store(folder: Path, n_recordings: int, n_times: int, n_chans: int, n_events: int) -> Store:
    """A store of noise."""
    channels = tuple(Channel(f"c{i}", "other", "NU") for i in range(n_chans))
    events = Events.of("beat", np.arange(n_events) * (n_times / SFREQ / max(n_events, 1)))

    def read(entry: Entry) -> Recording:
        rng = np.random.default_rng(int(entry.name))
        signal = rng.standard_normal((n_times, n_chans), dtype=np.float32)
        return Recording.from_array(entry.name, entry.patient, SFREQ, signal, channels, events=events)

    entries = [Entry(f"{i:05d}", f"{i % 50}") for i in range(n_recordings)]
    dataset = Dataset("noise", "other", "1", lambda raw: entries, read, ())
    return build_store(dataset, None, folder / f"noise-{n_recordings}", ConditioningSpec(range="keep"))


def median_s(action: Callable[[], object], repeats: int = 200) -> float:
    """The median time of an action in seconds, after a warm-up."""
    times = []
    for _ in range(repeats + 10):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return float(np.median(times[10:]))


def report(what: str, gathering: float, copying: float) -> None:
    """Print two times and the ratio of speeds."""
    print(
        f"{what}: gather {gathering * 1e6:.0f} us, copy {copying * 1e6:.0f} us, speed of gather / copy "
        f"{copying / gathering:.2f}   (at least 0.5)"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--batch-size", type=int, default=256)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(arguments.store) if arguments.store else random_store(Path(folder), 48, 349_525, 2, 0)
        rng = np.random.default_rng(0)
        for length_s in (0.8, 2.5, 10.0):
            spec = SlidingWindows(kind="sliding", length_s=length_s, step_s=length_s / 2)
            table = derive_windows(store, spec, NeighbourTrials(kind="neighbours"), [])
            np.asarray(store.signals).sum()  # every page is in memory
            draws = iter([rng.integers(0, len(table), arguments.batch_size) for _ in range(1000)])
            indices = next(draws)
            batch = gather(store, table, indices)
            rows = batch.size // batch.shape[2]
            places = iter(rng.integers(0, len(store.signals) - rows, 1000).tolist())

            def copy_from_store(places: Iterator[int] = places, rows: int = rows) -> NDArray[np.float32]:
                place = next(places)
                return np.array(store.signals[place : place + rows])

            print(f"{arguments.batch_size} windows of {length_s} s, {batch.nbytes / 2**20:.2f} MiB")
            report(
                "  random windows",
                median_s(partial(lambda t, d: gather(store, t, next(d)), table, draws)),
                median_s(copy_from_store),
            )
            report("  in cache", median_s(partial(gather, store, table, indices)), median_s(batch.copy))
            for scale in ("recording", "window"):
                seconds = median_s(partial(gather, store, table, indices, scale))
                print(f"  in cache, scale {scale}: {seconds * 1e6:.0f} us")
        large = random_store(Path(folder), 10_000, 20, 2, 10)
        opening = median_s(lambda: Store.open(large.path), 20)
        print(f"opening 10,000 recordings with 100,000 events: {opening * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
