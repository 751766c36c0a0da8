"""Say what a store holds, how good its signals are, and show some of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from biocl.errors import BioclError, UsageError
from biocl.files import write_bytes
from biocl.signals.recording import Channel
from biocl.store.describe import describe
from biocl.store.quality import Values, remembered_quality, sampled, summarise, window_quality
from biocl.store.spec import RecordingTrials, SlidingWindows
from biocl.store.store import Store
from biocl.store.table import ROW, WindowTable
from biocl.store.targets import heart_rate, numeric_labels, summary
from biocl.store.windows import derive_windows

LOOK_S, LOOK_STEPS = 10.0, 200
PICTURES = (".png", ".pdf", ".svg")
MOST_NOTES, MOST_NAMES = 20, 12
APART = ("devices", "notes", "quality", "event_labels", "numbers")


def describe_store(store: Store) -> dict[str, Any]:
    """Counts of a store under its default windows; without such windows, a note says so."""
    try:
        return describe(store)
    except BioclError as error:
        return {**describe(store, windowless(store)), "note": error.paragraph()}


def windowless(store: Store) -> WindowTable:
    """A table without windows, for a store whose data set has none by default."""
    names = {
        "recording": store.recording_names,
        "patient": store.patient_names,
        "session": store.session_names,
        "label": store.classes,
    }
    return WindowTable(np.empty(0, ROW), names, store.sfreq, np.empty((0, 0), np.float32))


def require_windows(store: Store) -> None:
    """Refuse a store whose data set says how windows are cut, and in which there is none.

    Raises
    ------
    DataError
        With the reasons. The store stays, for other windows.
    """
    if "windows" in store.defaults:
        try:
            len(store.windows)
        except UsageError:
            return  # the keys do not suit this store: `data.windows` must be given, and the note says so


def inspect_store(store: Store, *, every: bool = False, picture: Path | None = None) -> dict[str, Any]:
    """All that can be said of a store: `describe_store` with devices, notes and quality; and its picture.

    Parameters
    ----------
    store : Store
    every : bool
        Look at the quality of every window (kept beside the store for the next time), not of a sample.
    picture : Path, optional
        Where a picture of examples goes; its name ends in ``.png``, ``.pdf`` or ``.svg``.

    Raises
    ------
    UsageError
        If the picture has another ending.
    DataError
        If the picture cannot be written.
    """
    if picture is not None and picture.suffix.lower() not in PICTURES:
        raise UsageError("A picture is a .png, .pdf or .svg file", picture, "Give the file such an ending")
    facts = describe_store(store)
    table, aligned = looked_at(store)
    if every:
        rows = np.arange(len(table))
        values = remembered_quality(store, table, aligned=aligned)
    else:
        rows = sampled(table, len(store.channels))
        values = window_quality(store, table, rows, aligned=aligned)
    facts |= {
        "devices": devices_of(store.channels),
        "notes": counted_notes(store),
        "numbers": numbers_of(store),
        "quality": quality_of(store, table, rows, values),
    }
    if picture is not None:
        from biocl.reports.pictures import picture_of_store

        write_bytes(picture, picture_of_store(store, table, values, form=picture.suffix.lower()[1:]))
        facts["picture"] = str(picture)
    return facts


def looked_at(store: Store) -> tuple[WindowTable, bool]:
    """The windows whose quality is shown, and whether they are cut around beats.

    The store's own; for a store that has none, pieces of its recordings of 10 s (at least 200 time steps).
    """
    try:
        return store.windows, store.defaults["windows"]["kind"] == "event"
    except BioclError:
        length_s = max(LOOK_S, LOOK_STEPS / store.sfreq)
        windows = SlidingWindows(kind="sliding", length_s=length_s, step_s=length_s, short="pad", keep_unlabelled=True)
        return derive_windows(store, windows, RecordingTrials(kind="recording"), classes=(), most_missing=1.0), False


def numbers_of(store: Store) -> dict[str, dict[str, Any]]:
    """What may be a target (``data.target``): labels that are numbers, and the heart rate in windows of 10 s."""
    found = {f"label {name} (recordings)": facts for name, facts in numeric_labels(store).items()}
    if "beat" in store.event_kinds:
        windows = SlidingWindows(kind="sliding", length_s=LOOK_S, step_s=LOOK_S, keep_unlabelled=True)
        try:
            table = derive_windows(store, windows, RecordingTrials(kind="recording"), classes=())
        except BioclError:
            return found  # no recording lasts so long
        found[f"heart-rate (windows of {LOOK_S:g} s)"] = summary(heart_rate(store, table))
    return found


def devices_of(channels: tuple[Channel, ...]) -> dict[str, list[dict[str, str]]]:
    """Name, kind and unit of every channel, by device."""
    found: dict[str, list[dict[str, str]]] = {}
    for channel in channels:
        found.setdefault(channel.device, []).append({"name": channel.name, "kind": channel.kind, "unit": channel.unit})
    return found


def counted_notes(store: Store) -> dict[str, int]:
    """What the readers noted, with the number of recordings; sentences that differ in numbers only count as one."""
    first: dict[str, str] = {}
    number: Counter[str] = Counter()
    for sentences in store.notes:
        for pattern, sentence in {re.sub(r"[\d.,]+", "#", sentence): sentence for sentence in sentences}.items():
            number[first.setdefault(pattern, sentence)] += 1
    return dict(number.most_common())


def quality_of(store: Store, table: WindowTable, rows: np.ndarray, values: Values) -> dict[str, Any]:
    """Which windows were looked at, and what was found."""
    kinds = [channel.kind for channel in store.channels]
    return {
        "windows": len(rows),
        "of": len(table),
        "window_s": table.n_times / table.sfreq,
        "indices": summarise(values, kinds),
    }


def print_store(facts: dict[str, Any], *, as_json: bool) -> None:
    """Print the facts."""
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for key, value in facts.items():
        if key in APART:
            continue
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{key:<14}{', '.join(map(str, shown)) if isinstance(shown, list) else shown}")
    for kind, labels in facts.get("event_labels", {}).items():
        print(f"{'labels':<14}{kind}: {', '.join(f'{name} {n}' for name, n in labels.items())}")
    for name, found in facts.get("numbers", {}).items():
        print(f"{'number':<14}{name}: {number_in_words(found)}")
    for device, channels in facts.get("devices", {}).items():
        print(f"{'device':<14}{device}: {'; '.join(channels_in_words(channels))}")
    notes = facts.get("notes", {})
    for sentence, number in list(notes.items())[:MOST_NOTES]:
        many = ("s, one of them" if re.search(r"\d", sentence) else "s") if number > 1 else ""
        print(f"{'note':<14}{number} recording{many}: {sentence}")
    if len(notes) > MOST_NOTES:
        print(f"{'note':<14}and {len(notes) - MOST_NOTES} other notes (--json shows all)")
    if "quality" in facts:
        print_quality(facts["quality"])


def channels_in_words(channels: list[dict[str, str]]) -> list[str]:
    """``ecg [mV] lead-1, lead-2``: channels of one kind and unit together."""
    groups: dict[str, list[str]] = {}
    for channel in channels:
        groups.setdefault(f"{channel['kind']} [{channel['unit']}]", []).append(channel["name"])
    return [
        f"{group} {', '.join(names[:MOST_NAMES])}{f' … {len(names)} in all' if len(names) > MOST_NAMES else ''}"
        for group, names in groups.items()
    ]


def number_in_words(found: dict[str, Any]) -> str:
    """``mean 62.1 (sd 17.3), 3 to 89, unknown 12 of 400 (>89: 10)``."""
    counts = f"unknown {found['unknown']} of {found['known'] + found['unknown']}"
    texts = ", ".join(f"{text}: {n}" for text, n in found.get("no_numbers", {}).items())
    counts += f" ({texts})" if texts else ""
    if not found["known"]:
        return counts
    mean, std, least, largest = (f"{found[name]:.4g}" for name in ("mean", "std", "least", "largest"))
    return f"mean {mean} (sd {std}), {least} to {largest}, {counts}"


def print_quality(quality: dict[str, Any]) -> None:
    """A table of the indices."""
    whole = quality["windows"] == quality["of"]
    which = "all" if whole else f"a sample of {quality['windows']} (seed 0; --all looks at every one) of"
    print(f"{'quality':<14}{which} {quality['of']} windows of {duration(quality['window_s'])}")
    print(f"  {'index':<12}{'median':>9}{'5 %':>9}{'95 %':>9}  {'usual':<15}{'windows beyond':<16}according to")
    for name, found in quality["indices"].items():
        if not found["applicable"]:
            print(f"  {name:<12}{'not applicable':>27}")
            continue
        numbers = "".join(f"{found[key]:>9.3g}" for key in ("median", "low", "high"))
        beyond = f"{found['beyond']} ({found['beyond'] / max(1, quality['windows']):.1%})" if "beyond" in found else "-"
        print(f"  {name:<12}{numbers}  {found.get('threshold', '-'):<15}{beyond:<16}{found.get('source', '')}".rstrip())


def duration(seconds: float) -> str:
    """A length in seconds, or in hours or days where that many seconds say little."""
    if seconds > 172_800:
        return f"{seconds / 86_400:g} days"
    return f"{seconds / 3600:g} hours" if seconds > 7200 else f"{seconds:g} s"
