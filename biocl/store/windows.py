"""Window tables by arithmetic: from recordings and events to rows, without touching a signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from biocl.errors import DataError, UsageError
from biocl.store.gaps import events_of_kind, gap_position, steps_in_gaps
from biocl.store.intervals import rr_intervals
from biocl.store.names import did_you_mean
from biocl.store.parts import in_parts, joined
from biocl.store.spec import (
    EventTrials,
    EventWindows,
    NeighbourTrials,
    RecordingTrials,
    SlidingWindows,
    StretchTrials,
    TrialsSpec,
    TrialWindows,
    WindowsSpec,
)
from biocl.store.store import Store
from biocl.store.table import ROW, WindowTable

Ints = NDArray[np.int64]
Windows = EventWindows | SlidingWindows | TrialWindows
Trials = NeighbourTrials | EventTrials | RecordingTrials | StretchTrials


@dataclass(frozen=True)
class Stretches:
    """Where windows may lie: pieces of recordings, in time steps on the axis of the store's signals."""

    recording: Ints
    start: Ints
    stop: Ints
    label: Ints  # codes; see `label_names`


@dataclass(frozen=True)
class Candidates:
    """Windows before any is left out, on the same axis."""

    stretch: Ints  # -1: in none
    start: Ints
    valid_length: Ints
    label: Ints
    event: Ints  # row in the store's events, -1: none

    def where(self, rows: NDArray[Any]) -> Candidates:
        """The candidates at `rows`: a mask, or row numbers."""
        return Candidates(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def derive_windows(
    store: Store,
    windows: Windows,
    trials: Trials,
    classes: Sequence[str] | None = None,
    aux: Literal["rr-intervals"] | None = None,
    most_missing: float | None = None,
) -> WindowTable:
    """The window table that a configuration asks for.

    ::

        recording   |-----------------------------------------------------------|
        event         [--x--] [--x--]  [--x--]  around each event; what crosses an end is dropped
        sliding     [-----][-----][-----] …     in each trial (for neighbours: in each recording)
        …  horizon  [-----]>>>[-----]>>>        each (of both) with the steps behind it, its future
        trial       [-------]   |  [-------] |  at the start of each trial
        neighbours  (  trial 0  )(  trial 1  )  n_samples consecutive windows, on one side of every gap

    A window that touches a gap is dropped, unless `most_missing` says otherwise. A label comes from the event
    (event windows), from the event that marks the trial, or from the recording's own labels, in this order.

    Parameters
    ----------
    store : Store
    windows : EventWindows, SlidingWindows or TrialWindows
    trials : NeighbourTrials, EventTrials, RecordingTrials or StretchTrials
        Trials of kind ``neighbours`` are made of the windows that remain; the last ones of a recording, fewer
        than `n_samples`, are kept as a trial of their own, so that no window is lost.
    classes : sequence of str, optional
        Labels to keep, in the order of their numbers; default: all that the data set names. Where there are
        no classes at all, every window is kept with label -1.
    aux : {"rr-intervals"}, optional
        Scalars beside every window; see `biocl.store.intervals.rr_intervals`.
    most_missing : float, optional
        Keep windows of which at most this share lies in gaps. A trial still ends at a gap: such windows are
        the last of theirs.

    Returns
    -------
    WindowTable
        Sorted by recording and time; `dropped` counts what was left out, by reason.

    Raises
    ------
    UsageError
        If the keys do not go together, or a class or event kind does not exist in the store.
    DataError
        If no window remains.
    """
    check_together(store, windows, trials, aux)
    chosen = tuple(store.classes if classes is None else classes)
    check_classes(chosen, label_codes(store, windows.label), store)
    # Windows as long as the longest trial, and scalars that are sums over all recordings, need the whole.
    together = aux is not None or (isinstance(windows, TrialWindows) and windows.length_s is None)
    parts = [store] if together else in_parts(store)
    table = joined((derive_part(part, windows, trials, chosen, aux, most_missing) for part in parts), store)
    if not len(table):
        raise nothing_remains(store, windows, table.dropped)
    return table


def derive_part(
    store: Store,
    windows: Windows,
    trials: Trials,
    chosen: tuple[str, ...],
    aux: Literal["rr-intervals"] | None,
    most_missing: float | None,
) -> WindowTable:
    """`derive_windows` of some recordings; there may be no window in them."""
    label_names = label_codes(store, windows.label)
    stretches = trial_stretches(store, trials, label_names, windows.label)
    dropped: dict[str, int] = {}
    horizon = steps_ahead(store, windows)
    found, length = candidates(store, windows, stretches, label_names, dropped)

    inside = found.stretch >= 0
    before_gap, touches = gap_position(store, found.start, found.start + found.valid_length)
    reason, too_empty = "touches a gap", touches
    if most_missing is not None and touches.any():
        missing = steps_in_gaps(store, found.start + found.valid_length) - steps_in_gaps(store, found.start)
        reason, too_empty = f"more than {most_missing:g} of it in gaps", missing > most_missing * found.valid_length
    keep = inside & ~too_empty
    count(dropped, "outside every trial", ~inside)
    count(dropped, reason, inside & too_empty)
    if horizon:
        behind = found.start + length
        unknown = keep & gap_position(store, behind, behind + horizon)[1]
        count(dropped, "its future touches a gap", unknown)
        keep &= ~unknown
    number_of = {name: number for number, name in enumerate(chosen)}
    label = np.array([number_of.get(name, -1) for name in label_names], np.int64)[found.label]
    if chosen and not windows.keep_unlabelled:
        count(dropped, "without a label", keep & (found.label == 0))
        count(dropped, "label is none of the classes", keep & (found.label > 0) & (label < 0))
        keep &= label >= 0

    kept = np.flatnonzero(keep)
    kept = kept[np.argsort(found.start[kept], kind="stable")]
    found, label, before_gap = found.where(kept), label[kept], before_gap[kept]
    recording = stretches.recording[found.stretch]
    rows = np.zeros(len(label), ROW)
    rows["recording"] = recording
    rows["patient"] = store.numbers["patient"][recording]
    rows["session"] = store.numbers["session"][recording]
    rows["start"] = found.start - store.numbers["offset"][recording]
    rows["length"] = length
    rows["valid_length"] = found.valid_length
    rows["label"] = label
    rows["trial"] = trial_ids(trials, found.stretch, before_gap)
    table = WindowTable(
        rows,
        {
            "recording": store.recording_names,
            "patient": store.patient_names,
            "session": store.session_names,
            "label": chosen,
        },
        store.sfreq,
        np.empty((len(rows), 0), np.float32),
        dropped={reason: n for reason, n in dropped.items() if n},
        has_gaps=bool(touches[kept].any()),
        horizon=horizon,
    )
    if aux is None or not isinstance(windows, EventWindows):
        return table
    values, names = rr_intervals(store, windows.events)
    return replace(table, aux=values[found.event], aux_names=names)


def default_windows(store: Store) -> WindowTable:
    """The table that the data set's own defaults describe."""
    defaults = store.defaults
    if "windows" not in defaults:
        raise DataError(
            f"Data set {store.meta['dataset']} has no default windows", store.path, "Say them in data.windows"
        )
    trials = defaults.get("trials", {"kind": "recording"})
    return derive_windows(
        store,
        TypeAdapter(WindowsSpec).validate_python(defaults["windows"]),
        TypeAdapter(TrialsSpec).validate_python(trials),
        defaults.get("classes"),
        defaults.get("aux"),
    )


def check_together(store: Store, windows: Windows, trials: Trials, aux: str | None) -> None:
    """Keys that need each other are there."""
    if isinstance(windows, TrialWindows) and isinstance(trials, NeighbourTrials):
        raise UsageError(
            "Windows of kind trial need trials that exist before the windows do",
            "data.trials",
            "Use trials of kind event, recording or stretch",
        )
    if aux is not None and not isinstance(windows, EventWindows):
        raise UsageError(f"{aux} are scalars of events", "data.aux", "Use windows of kind event, or leave it out")
    for key, spec in (("windows", windows), ("trials", trials)):
        kind = getattr(spec, "events", None)
        if kind is not None and kind not in store.event_kinds:
            fix = did_you_mean(kind, store.event_kinds) or "It holds no events at all"
            raise UsageError(f"The store holds no events of kind {kind!r}", f"data.{key}.events", fix)


def label_codes(store: Store, key: str) -> list[str]:
    """Names of all label codes: 0 is none, then those of events and of the recordings."""
    own = {name for name in store.recording_labels(key) if name}
    return ["", *sorted({name for name in store.event_labels if name} | own)]


def check_classes(classes: Sequence[str], label_names: Sequence[str], store: Store) -> None:
    """Classes are unique and known to the data set."""
    known = [name for name in (*store.classes, *label_names) if name]
    for name in classes:
        if name not in known:
            raise UsageError(f"No label is named {name!r}", "data.classes", did_you_mean(name, known))
    if len(set(classes)) < len(classes):
        raise UsageError("A class is listed twice", "data.classes", "Remove one")


def trial_stretches(store: Store, trials: Trials, label_names: Sequence[str], key: str) -> Stretches:
    """Where windows may lie; for neighbours, whole recordings."""
    code = {name: number for number, name in enumerate(label_names)}
    own = np.array([code[name or ""] for name in store.recording_labels(key)], np.int64)
    offset, n_times = store.numbers["offset"], store.numbers["n_times"]
    if isinstance(trials, EventTrials):
        rows = events_of_kind(store, trials.events)
        events = store.events[rows]
        recording = events["recording"].astype(np.int64)
        start = np.rint(events["onset_s"] * store.sfreq).astype(np.int64)
        stop = np.rint((events["onset_s"] + events["duration_s"]) * store.sfreq).astype(np.int64)
        start, stop = (np.clip(x, 0, n_times[recording]) + offset[recording] for x in (start, stop))
        label = np.array([code[name] for name in store.event_labels], np.int64)[events["label"]]
        return Stretches(recording, start, stop, np.where(label > 0, label, own[recording]))
    if isinstance(trials, StretchTrials):
        length = max(1, round(trials.length_s * store.sfreq))
        per_recording = -(-n_times // length)
        recording = np.repeat(np.arange(len(store)), per_recording)
        begin = counted(per_recording) * length
        stop = np.minimum(begin + length, n_times[recording])
        return Stretches(recording, begin + offset[recording], stop + offset[recording], own[recording])
    return Stretches(np.arange(len(store)), offset, offset + n_times, own)


def counted(sizes: NDArray[Any]) -> Ints:
    """``[2, 3] -> [0, 1, 0, 1, 2]``."""
    total = np.cumsum(sizes)
    return np.arange(int(total[-1]) if len(total) else 0) - np.repeat(total - sizes, sizes)


def candidates(
    store: Store, windows: Windows, stretches: Stretches, label_names: Sequence[str], dropped: dict[str, int]
) -> tuple[Candidates, int]:
    """All windows of a kind and their common length in time steps."""
    match windows:
        case EventWindows():
            return around_events(store, windows, stretches, label_names, dropped)
        case SlidingWindows():
            length, step = (max(1, round(s * store.sfreq)) for s in (windows.length_s, windows.step_s))
            room = stretches.stop - stretches.start - steps_ahead(store, windows)
            per_stretch = np.where(room >= length, (room - length) // step + 1, 0)
        case TrialWindows():
            room = stretches.stop - stretches.start
            longest = int(room.max()) if len(room) else 0
            length = max(1, longest if windows.length_s is None else round(windows.length_s * store.sfreq))
            step, per_stretch = length, (room >= length).astype(np.int64)
    short = room < length
    if windows.short == "pad":
        per_stretch = np.where(short & (room > 0), 1, per_stretch)
        short = room <= 0
    count(dropped, "shorter than a window", short)
    stretch = np.repeat(np.arange(len(room)), per_stretch)
    start = stretches.start[stretch] + counted(per_stretch) * step
    valid = np.minimum(length, stretches.stop[stretch] - start)
    return Candidates(stretch, start, valid, stretches.label[stretch], np.full(len(stretch), -1)), length


def steps_ahead(store: Store, windows: Windows) -> int:
    """Time steps behind each window that are its future."""
    horizon_s = getattr(windows, "horizon_s", None)
    return 0 if horizon_s is None else max(1, round(horizon_s * store.sfreq))


def around_events(
    store: Store,
    windows: EventWindows,
    stretches: Stretches,
    label_names: Sequence[str],
    dropped: dict[str, int],
) -> tuple[Candidates, int]:
    """One window around each event that has room for it in its recording."""
    rows = events_of_kind(store, windows.events)
    events = store.events[rows]
    recording = events["recording"]
    offset, n_times = store.numbers["offset"][recording], store.numbers["n_times"][recording]
    length = max(1, round((windows.before_s + windows.after_s) * store.sfreq))
    at = np.rint(events["onset_s"] * store.sfreq).astype(np.int64)
    start = at - round(windows.before_s * store.sfreq)
    inside = (start >= 0) & (start + length <= n_times)
    fits = inside & (start + length + steps_ahead(store, windows) <= n_times)
    count(dropped, "crosses an end of its recording", ~inside)
    count(dropped, "its future crosses an end of its recording", inside & ~fits)
    code = {name: number for number, name in enumerate(label_names)}
    label = np.array([code[name] for name in store.event_labels], np.int64)[events["label"]]

    # The trial of an event is the last stretch that begins before it and has not ended yet.
    order = np.argsort(stretches.start, kind="stable")
    last = np.searchsorted(stretches.start[order], at + offset, side="right") - 1
    stretch = order[np.maximum(last, 0)] if len(order) else np.full(len(at), -1)
    holds = (last >= 0) & (at + offset < stretches.stop[stretch]) if len(order) else last >= 0
    own = np.where(holds, stretches.label[stretch] if len(order) else 0, 0)
    found = Candidates(
        np.where(holds, stretch, -1),
        start + offset,
        np.full(len(rows), length),
        np.where(label > 0, label, own),
        rows,
    )
    return found.where(fits), length


def trial_ids(trials: Trials, stretch: Ints, before_gap: Ints) -> Ints:
    """Trial numbers, unique over the table and ascending in time; windows come sorted by time."""
    if isinstance(trials, EventTrials | RecordingTrials):
        return np.unique(stretch, return_inverse=True)[1].astype(np.int64)
    piece = np.cumsum(changed(stretch) | changed(before_gap))
    if isinstance(trials, StretchTrials) or not len(piece):
        return piece
    sizes = np.bincount(piece)
    group = counted(sizes) // trials.n_samples
    return np.cumsum(changed(piece) | changed(group))


def changed(ids: Ints) -> Ints:
    """1 where a value differs from the one before it, else 0; 0 at the first."""
    return (np.diff(ids, prepend=ids[:1]) != 0).astype(np.int64)


def count(dropped: dict[str, int], reason: str, mask: NDArray[np.bool_]) -> None:
    """Note how many windows a reason leaves out."""
    dropped[reason] = dropped.get(reason, 0) + int(mask.sum())


def nothing_remains(store: Store, windows: Windows, dropped: Mapping[str, int]) -> DataError:
    """The error for a table without rows, with the reasons."""
    reasons = "; ".join(f"{reason}: {n}" for reason, n in dropped.items() if n) or "there is nothing to cut"
    what = f"No window remains of {len(store)} recordings ({reasons})"
    fix = "Check data.windows, data.trials and data.classes: shorter windows, 'short: pad' or 'keep_unlabelled: true'"
    longest_s = float(store.numbers["n_times"].max(initial=0)) / store.sfreq
    length_s = windows.before_s + windows.after_s if isinstance(windows, EventWindows) else windows.length_s
    ahead_s = getattr(windows, "horizon_s", None) or 0.0
    if length_s is not None and longest_s < length_s + ahead_s:
        future = f" with {ahead_s:g} s behind it" if ahead_s else ""
        what += f": the longest recording lasts {longest_s:.3g} s, and a window is {length_s:g} s{future}"
        fix = f"Check the unit of time and the sampling rate that the recordings were read with. {fix}"
    return DataError(what, store.path, fix)
