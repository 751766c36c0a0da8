"""Trials of UCI's EEG Database (``.rd.NNN``, usually ``.gz``): one second of 64 channels as text, to recordings."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.recording import Channel, ChannelKind, Events, Recording

MOST_BYTES = 2**26  # a trial is half a megabyte
COPY_AGAIN = "Copy or download the file again"
EOG, REFERENCE = ("X", "Y"), "nd"
STIMULI = {"S1 obj": "S1", "S2 match": "S2 match", "S2 nomatch": "S2 no match"}
SUBJECT = re.compile(r"# (co\d[ac]\d{7})\.rd\s*")
SHAPE = re.compile(r"# \d+ trials, (\d+) chans, (\d+) samples.*")
RATE = re.compile(r"# (\d+(?:\.\d*)?) msecs uV\s*")
TRIAL = re.compile(r"# (S1 obj|S2 match|S2 nomatch) ?(err)? ?, trial +(\d+)\s*")
CHANNEL = re.compile(r"# (\w+) chan (\d+)\s*")


def read_smni(
    path: str | Path,
    *,
    name: str,
    patient: str,
    session: str = "1",
    labels: Mapping[str, str] | None = None,
) -> Recording:
    """Read one trial; small enough to be held in memory whole.

    Parameters
    ----------
    path : str or Path
        ``co2a0000364.rd.000.gz``, or the same without ``.gz``.
    name, patient, session : str
        The recording's name, the person, the visit.
    labels : mapping, optional
        What is known of the trial beside what the file says.

    Returns
    -------
    Recording
        In uV: the EEG channels, X and Y (EOG) and nd (the reference), in the file's order. One event of kind
        ``stimulus`` over the whole trial. Labels: ``subject``, ``stimulus`` (S1, S2 match, S2 no match), ``trial``
        and ``response`` (ok, err).

    Raises
    ------
    DataError
        If the file cannot be unpacked, is cut short, or a line is not what it should be.
    """
    path = Path(path)
    head, body = lines_of(path)
    subject, shape, rate, trial = (
        parsed(path, head, number, pattern) for number, pattern in enumerate((SUBJECT, SHAPE, RATE, TRIAL))
    )
    sfreq = sampling_rate(path, float(rate[1]))
    names, signal = channels(path, body, int(shape[1]), int(shape[2]), int(trial[3]))
    stimulus = STIMULI[trial[1]]
    found = {"subject": subject[1], "stimulus": stimulus, "trial": trial[3], "response": trial[2] or "ok"}
    return Recording.from_array(
        name,
        patient,
        sfreq,
        signal,
        [Channel(channel, kind_of(channel), "uV") for channel in names],
        session=session,
        events=Events.of("stimulus", [0.0], len(signal) / sfreq, stimulus),
        labels={**(labels or {}), **found},
        source=str(path),
    )


def lines_of(path: Path) -> tuple[list[str], list[str]]:
    """The four lines that describe the trial, and the others."""
    if not path.is_file():
        raise DataError("This file does not exist", path, "Check the path")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"This file cannot be unpacked ({error})", path, COPY_AGAIN) from error
    if not content:
        raise DataError("This file is empty", path, COPY_AGAIN)
    if len(content) > MOST_BYTES:
        raise DataError(f"This file holds more than {MOST_BYTES} bytes, and a trial is far smaller", path, COPY_AGAIN)
    lines = content.decode("latin-1").splitlines()
    return lines[:4], lines[4:]


def parsed(path: Path, head: list[str], number: int, pattern: re.Pattern[str]) -> re.Match[str]:
    """One of the first lines, taken apart."""
    match = pattern.fullmatch(head[number]) if number < len(head) else None
    if match is None:
        line = repr(head[number][:60]) if number < len(head) else "not there"
        raise DataError(f"Line {number + 1} of this trial is not what it should be: {line}", path, COPY_AGAIN)
    return match


def sampling_rate(path: Path, step_ms: float) -> float:
    """Samples a second; 3.906 ms is a rounded 1/256 s."""
    if not 0.01 <= step_ms <= 1000:
        raise DataError(f"Steps of {step_ms:g} ms make no EEG", path, COPY_AGAIN)
    rate = 1000 / step_ms
    return float(round(rate)) if abs(rate - round(rate)) < 1e-4 * rate else rate


def kind_of(channel: str) -> ChannelKind:
    """EOG, the reference, or EEG."""
    return "eog" if channel in EOG else "other" if channel == REFERENCE else "eeg"


def channels(
    path: Path, body: list[str], n_chans: int, most_samples: int, trial: int
) -> tuple[list[str], NDArray[np.float32]]:
    """Channel names and the signal, shape (n_times, n_chans)."""
    starts = [number for number, line in enumerate(body) if line.startswith("#")]
    matches = [CHANNEL.fullmatch(body[start]) for start in starts]
    names = [match[1] if match else "" for match in matches]
    if [int(match[2]) if match else -1 for match in matches] != list(range(n_chans)) or (starts and starts[0]):
        raise DataError(f"This trial announces {n_chans} channels and describes {len(starts)}", path, COPY_AGAIN)
    if len(set(names)) < n_chans or not n_chans:
        raise DataError("Two channels of this trial have one name, or there is none", path, COPY_AGAIN)
    columns = [
        column(path, body[start + 1 : stop], trial, name)
        for name, start, stop in zip(names, starts, [*starts[1:], len(body)], strict=True)
    ]
    lengths = sorted({len(values) for values in columns})
    if len(lengths) > 1 or not 0 < lengths[0] <= most_samples:
        raise DataError(f"The channels of this trial have {lengths} samples", path, COPY_AGAIN)
    return names, np.column_stack(columns)


def column(path: Path, lines: list[str], trial: int, name: str) -> NDArray[np.float32]:
    """The samples of one channel, each line of which says: trial, channel, number, value."""
    words = " ".join(lines).split()
    n = len(words) // 4
    try:
        values = np.array(words[3::4], dtype=np.float64)
        ordered = len(words) == 4 * n == 4 * len(lines) and words[2::4] == [str(number) for number in range(n)]
        right = ordered and set(words[0::4]) <= {str(trial)} and set(words[1::4]) <= {name}
    except ValueError:
        right, values = False, np.empty(0)
    if not right or not (np.abs(values) < 1e9).all():
        raise DataError(f"A line of channel {name} is cut short, out of order or not a number", path, COPY_AGAIN)
    return values.astype(np.float32)
