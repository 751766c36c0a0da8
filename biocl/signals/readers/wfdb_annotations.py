"""WFDB annotation files (MIT format) to events, decoded with array operations.

The format: 16-bit little-endian words; the upper six bits are a code, the lower ten a value. Codes 1-49 mark
something `value` samples after the previous mark; 59 adds a 32-bit interval; 60, 61 and 62 are further
fields of a mark; 63 is followed by `value` bytes of text that belong to the mark before it; a zero word ends
the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.recording import Events

SKIP, AUX, NOTE, LAST_MARK = 59, 63, 22, 49
SYMBOLS = dict(
    zip(
        (*range(1, 15), 16, *range(18, 42)),
        'NLRaVFJASEj/Q~|sT*D"=pB^t+u?![]en@xf()r',
        strict=True,
    )
)
BEATS = frozenset("NLRBAaJSVrFejnE/fQ?")
RHYTHM, QUALITY = "+", "~"
MOST_AFTER_S = 1.0  # a last mark may lie a little behind the last sample


@dataclass(frozen=True)
class Marks:
    """The marks of one annotation file: sample numbers, symbols, texts, and samples per second if stated."""

    sample: NDArray[np.int64]
    symbol: NDArray[np.str_]
    text: NDArray[np.str_]
    sfreq: float | None


def read_events(path: Path, sfreq: float, duration_s: float) -> Events:
    """Events of an annotation file.

    Parameters
    ----------
    path : Path
        The annotation file, extension included (``100.atr``).
    sfreq, duration_s : float
        Of the record.

    Returns
    -------
    Events
        Beats (kind ``beat``, labelled by their symbol), rhythm marks (``rhythm``, labelled ``AFIB`` and the
        like, lasting until the next one or the end), signal quality (``quality``), and every other mark
        (``note``, labelled by its symbol).

    Raises
    ------
    DataError
        If the file is missing or ends in the middle, or marks a time outside the record.
    """
    marks = read_marks(path)
    onset = marks.sample / (marks.sfreq or sfreq)
    outside = (onset < 0) | (onset > duration_s + MOST_AFTER_S)
    if outside.any():
        raise DataError(
            f"An annotation file marks {onset[outside][0]:.6g} s, and its record lasts {duration_s:.6g} s",
            path,
            "It is damaged or belongs to another record: copy or download it again",
        )
    kind = np.full(len(onset), "note", dtype="<U7")
    kind[np.isin(marks.symbol, list(BEATS))] = "beat"
    label = marks.symbol.astype("<U32")
    for symbol, name in ((RHYTHM, "rhythm"), (QUALITY, "quality")):
        chosen = marks.symbol == symbol
        kind[chosen] = name
        label[chosen] = np.char.lstrip(marks.text[chosen], "(")
    duration = np.zeros(len(onset))
    rhythm = np.flatnonzero(kind == "rhythm")
    duration[rhythm] = np.diff(onset[rhythm], append=max(duration_s, onset[-1] if len(onset) else 0.0))
    return Events.of(kind, onset, duration, label)


def read_marks(path: Path) -> Marks:
    """Decode an annotation file.

    Raises
    ------
    DataError
        If the file is missing or ends in the middle.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            "An annotation file is missing", path, "Copy it beside the record, or read without annotations"
        ) from error
    except OSError as error:
        raise DataError(f"An annotation file cannot be read ({error.strerror})", path, "Check the file") from error
    if len(data) % 2:
        raise cut_short(path)
    words = np.frombuffer(data, dtype="<u2").astype(np.int64)
    codes, values = words >> 10, words & 1023

    payload = np.zeros(len(words), dtype=bool)
    advance = np.where(codes <= LAST_MARK, values, 0)
    texts: list[tuple[int, str]] = []
    free = 0
    for position in np.flatnonzero((codes == SKIP) | (codes == AUX)).tolist():
        if position < free:  # text or an interval that looks like a code
            continue
        if not words[free:position].all():  # the end mark came first; what follows it is not ours
            break
        size = 2 if codes[position] == SKIP else (int(values[position]) + 1) // 2
        free = position + 1 + size
        if free > len(words):
            raise cut_short(path)
        payload[position + 1 : free] = True
        if codes[position] == SKIP:
            interval = (words[position + 1] << 16) | words[position + 2]
            advance[position] = interval - (1 << 32) * (interval >> 31)
        else:
            start = 2 * position + 2
            raw = data[start : start + int(values[position])]
            texts.append((position, raw.decode("latin-1").strip("\0 ")))

    ends = np.flatnonzero((words == 0) & ~payload)
    if not len(ends):
        raise cut_short(path)
    advance[payload] = 0
    is_mark = (codes > 0) & (codes <= LAST_MARK) & ~payload
    is_mark[ends[0] :] = False
    positions = np.flatnonzero(is_mark)
    text = np.full(len(positions), "", dtype=f"<U{max([1, *(len(value) for _, value in texts)])}")
    for position, value in texts:
        owner = int(np.searchsorted(positions, position)) - 1
        if owner >= 0:
            text[owner] = value
    return interpret(np.cumsum(advance)[positions], codes[positions], text)


def interpret(sample: NDArray[np.int64], code: NDArray[np.int64], text: NDArray[np.str_]) -> Marks:
    """Codes to symbols, after taking out the notes that describe the file itself (``## …`` at sample 0)."""
    symbols, sfreq = dict(SYMBOLS), None
    own = np.ones(len(sample), dtype=bool)
    defining = False
    for index in np.flatnonzero((code == NOTE) & (sample == 0)).tolist():
        value = str(text[index])
        if resolution := re.match(r"## time resolution: (\d+\.?\d*)", value):
            sfreq = float(resolution[1]) or None
        elif value == "## annotation type definitions":
            defining = True
        elif value == "## end of definitions":
            defining = False
        elif defining and (definition := re.match(r"(\d+) (\S+)", value)):
            symbols[int(definition[1])] = definition[2]
        else:
            continue
        own[index] = False
    names = np.array([symbols.get(number, "") for number in range(LAST_MARK + 1)], dtype="<U8")
    return Marks(sample[own], names[code[own]], text[own], sfreq)


def cut_short(path: Path) -> DataError:
    """The error for an annotation file without its end."""
    return DataError("An annotation file ends in the middle", path, "Copy or download it again")
