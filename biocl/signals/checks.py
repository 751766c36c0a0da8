"""Is a signal plausible? Statistics over its blocks: what they say about gaps, flat channels and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.ranges import Spread, doubts, implausible
from biocl.signals.recording import Recording
from biocl.signals.spec import ConditioningSpec

MOST_GAPS = 1000
Problem = Literal["nan", "flat", "range"]


@dataclass(frozen=True)
class Finding:
    """One implausible thing in one channel, with the sentence that says so."""

    problem: Problem
    channel: str
    message: str


@dataclass
class RunningStatistics:
    """Count, mean, spread, extremes and gaps of each channel, gathered block by block in float64.

    Equal blocks in equal order give equal bits. Gaps (NaN or infinite values) count in no statistic.
    """

    n_chans: int
    n_times: int = 0
    count: NDArray[np.int64] = field(init=False)
    mean: NDArray[np.float64] = field(init=False)
    squares: NDArray[np.float64] = field(init=False)
    minimum: NDArray[np.float64] = field(init=False)
    maximum: NDArray[np.float64] = field(init=False)
    gaps: list[tuple[int, int, int]] = field(default_factory=list)
    """Gaps as (channel, start, stop) in time steps; the first `MOST_GAPS` of them."""

    def __post_init__(self) -> None:
        self.count = np.zeros(self.n_chans, dtype=np.int64)
        self.mean = np.zeros(self.n_chans)
        self.squares = np.zeros(self.n_chans)
        self.minimum = np.full(self.n_chans, np.inf)
        self.maximum = np.full(self.n_chans, -np.inf)

    def update(self, block: NDArray[np.float32]) -> None:
        """Add the next block, shape (n, n_chans)."""
        columns = np.ascontiguousarray(block.T)  # sums along contiguous memory are several times faster
        for channel, column in enumerate(columns):
            total = float(column.sum(dtype=np.float64))
            if not np.isfinite(total):
                present = np.isfinite(column)
                self.note_gaps(channel, ~present)
                column = column[present]
                total = float(column.sum(dtype=np.float64))
            if len(column):
                self.merge(channel, column, total)
        self.n_times += len(block)

    def merge(self, channel: int, column: NDArray[np.float32], total: float) -> None:
        """Combine with the statistics of a block without gaps (Chan, Golub & LeVeque 1979)."""
        size, old = len(column), int(self.count[channel])
        mean = total / size
        centred = column - np.float32(mean)
        rest = float(centred.sum(dtype=np.float64))  # of rounding the mean to float32
        np.square(centred, out=centred)  # not np.dot: its sum depends on the number of threads
        squares = float(centred.sum(dtype=np.float64)) - rest * rest / size
        shift = mean - self.mean[channel]
        self.mean[channel] += shift * size / (old + size)
        self.squares[channel] += squares + shift * shift * old * size / (old + size)
        self.count[channel] += size
        self.minimum[channel] = min(self.minimum[channel], float(column.min()))
        self.maximum[channel] = max(self.maximum[channel], float(column.max()))

    def note_gaps(self, channel: int, missing: NDArray[np.bool_]) -> None:
        """Remember where samples are missing; a gap that continues the last one of its channel joins it."""
        edges = np.flatnonzero(np.diff(missing, prepend=False, append=False)) + self.n_times
        for start, stop in edges.reshape(-1, 2).tolist():
            before = next((i for i in range(len(self.gaps) - 1, -1, -1) if self.gaps[i][0] == channel), None)
            if before is not None and self.gaps[before][2] == start:
                self.gaps[before] = (channel, self.gaps[before][1], stop)
            elif len(self.gaps) < MOST_GAPS:
                self.gaps.append((channel, start, stop))

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of each channel (divisor n); NaN for a channel without samples."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(np.maximum(self.squares, 0) / self.count)


def statistics(recording: Recording, block_s: float = 600.0) -> RunningStatistics:
    """Statistics of a whole recording, read in blocks."""
    running = RunningStatistics(len(recording.channels))
    for _, block in recording.blocks(block_s):
        running.update(block)
    return running


def check_recording(
    recording: Recording, running: RunningStatistics, stated: Mapping[str, str] | None = None
) -> list[Finding]:
    """What is implausible about a recording, given the statistics of its signal.

    Parameters
    ----------
    recording : Recording
    running : RunningStatistics
        Of the whole signal.
    stated : mapping of str to str, optional
        The file's units by channel name, where the values have been converted since; sentences name these.
    """
    findings = []
    ranges = implausible(recording.channels, spread_of(running), stated or {})
    for index, channel in enumerate(recording.channels):
        holes = [(start, stop) for column, start, stop in running.gaps if column == index]
        missing = running.n_times - int(running.count[index])
        if missing:
            start, stop = holes[0] if holes else (0, missing)
            many = f"in {len(holes)} stretches, the first " if len(holes) > 1 else ""
            findings.append(
                Finding(
                    "nan",
                    channel.name,
                    f"Channel {channel.name} has {missing / recording.sfreq:.4g} s without values (NaN or infinite), "
                    f"{many}from {start / recording.sfreq:.3f} s to {stop / recording.sfreq:.3f} s",
                )
            )
        if running.count[index] > 1 and running.minimum[index] == running.maximum[index]:
            findings.append(
                Finding(
                    "flat",
                    channel.name,
                    f"Channel {channel.name} is flat: {running.minimum[index]:.6g} {channel.unit} from "
                    f"0 s to {recording.duration_s:.3f} s",
                )
            )
        if index in ranges:
            findings.append(Finding("range", channel.name, ranges[index]))
    return findings


def spread_of(running: RunningStatistics) -> Spread:
    """The statistics that ranges are judged by; of a channel without samples, NaN."""
    mean = np.where(running.count > 0, running.mean, np.nan)
    return Spread(mean, running.std, running.minimum, running.maximum)


def unit_doubts(
    recording: Recording, running: RunningStatistics, stated: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """What is odd about a recording's units but no reason to stop, as sentences for its notes."""
    return doubts(recording.channels, spread_of(running), stated or {})


def refuse(recording: Recording, findings: Sequence[Finding], spec: ConditioningSpec) -> None:
    """Raise `DataError` for the first finding that the conditioning does not allow."""
    for finding in findings:
        if getattr(spec, finding.problem) == "error":
            what_to_do = "Correct the file's unit" if finding.problem == "range" else "Leave the recording out"
            raise DataError(
                f"Recording {recording.name}: {finding.message}",
                recording.where,
                f"{what_to_do}, or name a configuration with --config that chooses other channels (data.channels) "
                f"or accepts it (data.{finding.problem}: keep)",
            )
