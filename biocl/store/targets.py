"""A number beside every window, or at every step of it (a channel), to be predicted; NaN where it is unknown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError, UsageError
from biocl.signals.recording import Channel
from biocl.store.gaps import events_of_kind
from biocl.store.intervals import intervals_after
from biocl.store.names import did_you_mean
from biocl.store.spec import ChannelTarget, ElapsedTarget, HeartRateTarget, LabelTarget, NeighbourTrials
from biocl.store.store import Store
from biocl.store.table import WindowTable
from biocl.store.windows import Trials, label_codes, trial_stretches

Target = HeartRateTarget | LabelTarget | ElapsedTarget
Values = NDArray[np.float32]

MOST_TEXTS = 5


def with_target(store: Store, table: WindowTable, target: Target, trials: Trials) -> WindowTable:
    """The table with a number beside every window.

    Parameters
    ----------
    store : Store
    table : WindowTable
        Of this store.
    target : HeartRateTarget, LabelTarget or ElapsedTarget
    trials : NeighbourTrials, EventTrials, RecordingTrials or StretchTrials
        What the table's trials are.

    Returns
    -------
    WindowTable
        As many windows as before; `target` is NaN where the number is unknown.

    Raises
    ------
    UsageError
        The store has no such events or labels, or its trials have no length of their own.
    DataError
        The target is unknown of every window.
    """
    match target:
        case HeartRateTarget():
            values = heart_rate(store, table, target.events)
        case LabelTarget():
            values = label_numbers(store, target)[table.recording]
        case ElapsedTarget():
            values = elapsed(store, table, trials)
    if not np.isfinite(values).any():
        why = {
            "heart-rate": "Windows need three beats at least: make them longer (data.windows)",
            "label": "Name a label that is a number, and check data.target.range",
            "elapsed": "Check data.trials",
        }[target.kind]
        raise DataError(f"The target {target.title} is unknown of all {len(values)} windows", store.path, why)
    return replace(table, target=values, target_name=target.title)


def heart_rate(store: Store, table: WindowTable, kind: str = "beat") -> Values:
    """Beats per minute: 60 over the mean interval between consecutive beats inside each window.

    An interval across a gap does not count, padding holds no beats, and a beat at the first time step is inside.
    Fewer than two intervals, which take three beats, say nothing: NaN.

    Parameters
    ----------
    store : Store
    table : WindowTable
    kind : str
        The kind of events that are beats, whatever their labels.

    Returns
    -------
    ndarray of float32, shape (n_windows,)

    Raises
    ------
    UsageError
        The store holds no events of this kind.
    """
    if kind not in store.event_kinds:
        fix = did_you_mean(kind, store.event_kinds) or "It holds no events at all"
        raise UsageError(f"The store holds no events of kind {kind!r}", "data.target.events", fix)
    events = store.events[events_of_kind(store, kind)]
    at = np.rint(events["onset_s"] * store.sfreq).astype(np.int64)
    inside = (at >= 0) & (at < store.numbers["n_times"][events["recording"]])
    events, at = events[inside], at[inside]
    interval, exists = intervals_after(store, events["recording"], events["onset_s"])
    total = np.concatenate([[0.0], np.cumsum(np.where(exists, interval, 0.0))])
    number = np.concatenate([[0], np.cumsum(exists)])
    at += store.offsets[events["recording"]]
    begin = store.offsets[table.recording] + table.start + table.rows["valid_start"]
    first = np.searchsorted(at, begin, side="left")
    last = np.maximum(np.searchsorted(at, begin + table.rows["valid_length"], side="left") - 1, first)
    n_intervals, seconds = number[last] - number[first], total[last] - total[first]
    known = n_intervals >= 2
    return np.where(known, 60 * n_intervals / np.where(known, seconds, 1), np.nan).astype(np.float32)


def label_numbers(store: Store, target: LabelTarget) -> Values:
    """One of the recordings' own labels as a number, shape (n_recordings,); NaN where it is none or out of range.

    Raises
    ------
    UsageError
        No recording has such a label.
    """
    known = store.meta["recordings"]["labels"]
    if target.name not in known:
        fix = did_you_mean(target.name, known) or "The recordings have no labels at all"
        raise UsageError(f"No recording has a label {target.name!r}", "data.target.name", fix)
    values = np.array([number_in(text) for text in store.recording_labels(target.name)], np.float64)
    if target.range is not None:
        least, largest = target.range
        values[~((values >= least) & (values <= largest))] = np.nan
    return values.astype(np.float32)


def number_in(text: str | None) -> float:
    """The number that a text is, NaN if it is none: ``>89`` is not a number, nor is ``inf``."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def elapsed(store: Store, table: WindowTable, trials: Trials) -> Values:
    """Where the middle of each window lies in its trial, from 0 (start) to 1 (end), shape (n_windows,).

    Trials that events mark may overlap: the one that began last counts, of those that hold the middle.

    Raises
    ------
    UsageError
        Trials of neighbours, which are as long as their windows make them.
    """
    if isinstance(trials, NeighbourTrials):
        raise UsageError(
            "How much of a trial has passed needs trials that exist before the windows do",
            "data.target",
            "Use trials of kind event, recording or stretch",
        )
    stretches = trial_stretches(store, trials, label_codes(store, "label"), "label")
    begin = store.offsets[table.recording] + table.start + table.rows["valid_start"]
    middle = begin + table.rows["valid_length"] / 2
    order = np.argsort(stretches.start, kind="stable")
    start, stop = stretches.start[order], stretches.stop[order]
    at = np.searchsorted(start, middle, side="right") - 1
    while bool((over := (at >= 0) & (stop[at] < middle)).any()):  # it ended already: the one that began before it
        at[over] -= 1
    length = np.maximum(stop[at] - start[at], 1)
    return np.where(at >= 0, (middle - start[at]) / length, np.nan).astype(np.float32)


def channel_columns(channels: Sequence[Channel], name: str) -> list[int]:
    """Columns of the channels that a name means: ``CHANNEL``, or ``DEVICE/CHANNEL``."""
    return [i for i, channel in enumerate(channels) if name in (channel.name, f"{channel.device}/{channel.name}")]


def target_column(store: Store, target: ChannelTarget) -> int:
    """The column of the store's signals that is predicted.

    Raises
    ------
    UsageError
        No channel is called so, or several are; there is no other one to predict it from; or it is part of the others
        already, by the reference against which they were stored.
    """
    columns, names = channel_columns(store.channels, target.name), [channel.name for channel in store.channels]
    if len(columns) != 1:
        every = names if not columns else [f"{c.device}/{c.name}" for c in (store.channels[i] for i in columns)]
        raise UsageError(
            f"The store has {'several channels' if columns else 'no channel'} called {target.name!r}",
            "data.target.name",
            f"Name one of {', '.join(every)}" if columns else did_you_mean(target.name, every),
        )
    if len(names) == 1:
        raise UsageError(
            f"{target.name!r} is the only channel, so there is nothing to predict it from",
            "data.target.name",
            "Predict a channel that others were recorded beside",
        )
    channel, reference = store.channels[columns[0]], store.meta["conditioning"].get("reference")
    if channel.kind == "eeg" and reference is not None and (reference == "average" or channel.name in reference):
        raise UsageError(
            f"{target.name!r} is part of the reference that was subtracted from every EEG channel (data.reference), so "
            "the input would hold what is to be predicted",
            "data.target.name",
            "Use another data.reference, or predict a channel that is no part of it",
        )
    return columns[0]


def channel_title(channel: Channel) -> str:
    """How a channel is called in tables: with its unit."""
    return f"{channel.name} [{channel.unit}]"


def describe_target(store: Store, table: WindowTable, target: Target) -> dict[str, Any]:
    """What a table's target is like: its name, then of the known values mean, standard deviation, least, largest.

    ``unknown`` counts the windows without; of a label, ``no_numbers`` says which texts are none and in how many
    windows they stand (the commonest five).
    """
    assert table.target is not None
    facts: dict[str, Any] = {"name": table.target_name, **summary(table.target)}
    if isinstance(target, LabelTarget):
        texts = store.recording_labels(target.name)
        facts["no_numbers"] = texts_without_number([texts[recording] for recording in table.recording.tolist()])
    return facts


def summary(values: NDArray[Any]) -> dict[str, Any]:
    """``mean, std, least, largest`` of the known values, and how many are ``known`` and ``unknown``."""
    known = values[np.isfinite(values)].astype(np.float64)
    counts = {"known": len(known), "unknown": len(values) - len(known)}
    if not len(known):
        return counts
    numbers = {"mean": known.mean(), "std": known.std(), "least": known.min(), "largest": known.max()}
    return {**{name: round(float(value), 3) for name, value in numbers.items()}, **counts}


def texts_without_number(texts: list[str | None]) -> dict[str, int]:
    """The commonest texts that are no numbers, with their counts."""
    found = Counter(text for text in texts if text is not None and math.isnan(number_in(text)))
    return dict(found.most_common(MOST_TEXTS))


def numeric_labels(store: Store) -> dict[str, dict[str, Any]]:
    """`summary` over recordings of each label that may be a target: half of its texts are numbers, three differ."""
    found = {}
    for name in store.meta["recordings"]["labels"]:
        texts = store.recording_labels(name)
        values = np.array([number_in(text) for text in texts], np.float64)
        known = values[np.isfinite(values)]
        if len(np.unique(known)) >= 3 and 2 * len(known) >= sum(text is not None for text in texts):
            no_numbers = texts_without_number(texts)
            found[name] = {**summary(values), **({"no_numbers": no_numbers} if no_numbers else {})}
    return found
