"""Quality of the windows of a table: computed in pieces, remembered beside the signals, held against thresholds."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.errors import BioclError, DataError, UsageError
from biocl.files import digest, write_bytes
from biocl.signals.quality import INDICES, USUAL, Context, beyond, quality_indices
from biocl.store.gather import gather, in_window
from biocl.store.spec import QualitySpec
from biocl.store.store import Store
from biocl.store.table import WindowTable

Values = dict[str, NDArray[np.float32]]

VERSION = 1
"""Changes when an index is computed otherwise, so that what is remembered is not believed."""
PIECE_VALUES = 2**20
SAMPLE_VALUES, SAMPLE_WINDOWS = 2**25, 4000
TEMPLATE_WINDOWS = 100
STILL_SHARE = 1e-3  # of the recording's standard deviation


def window_quality(
    store: Store,
    table: WindowTable,
    indices: NDArray[Any] | None = None,
    *,
    aligned: bool,
    names: Sequence[str] = INDICES,
) -> Values:
    """Quality indices of windows, computed in pieces of bounded memory; the pieces leave no trace in the result.

    Parameters
    ----------
    store : Store
    table : WindowTable
        Of this store.
    indices : ndarray of int, shape (n,), optional
        Rows of the table; default: all.
    aligned : bool
        Whether the windows are cut around heart beats (event windows), so that they have a median beat.
    names : sequence of str
        Which of `biocl.signals.quality.INDICES`.

    Returns
    -------
    dict of str to ndarray of float32, shape (n, n_chans)
        NaN where an index is not applicable. A window's values depend on its recording and on the windows of
        that recording in the table, not on `indices`.
    """
    indices = np.arange(len(table)) if indices is None else np.asarray(indices)
    kinds = [channel.kind for channel in store.channels]
    found = {name: np.empty((len(indices), len(kinds)), np.float32) for name in INDICES if name in names}
    low, high = extremes(store, np.unique(table.recording[indices])) if "saturation" in found else (None, None)
    templates: dict[int, NDArray[np.float32]] = {}
    for start, rows in pieces_of(indices, max(1, PIECE_VALUES // max(1, table.n_times * len(kinds)))):
        recording = table.recording[rows]
        std = store.numbers["std"][recording]
        if aligned and "template" in found and "ecg" in kinds:
            mine = np.unique(recording)
            templates = {int(r): templates[r] if r in templates else median_beat(store, table, int(r)) for r in mine}
            beats = np.stack([templates[int(r)] for r in mine])[np.searchsorted(mine, recording)]
        else:
            beats = None
        context = Context(
            tolerance=STILL_SHARE * np.nan_to_num(std),
            low=np.zeros(std.shape) if low is None else low[recording],
            high=np.zeros(std.shape) if high is None else high[recording],
            template=beats,
        )
        values = quality_indices(
            raw_windows(store, table, rows),
            store.sfreq,
            kinds,
            context=context,
            valid=in_window(table.rows[rows]),
            names=names,
        )
        for name, column in found.items():
            column[start : start + len(rows)] = values[name]
    return found


def pieces_of(indices: NDArray[Any], size: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Consecutive runs of at most `size` indices, with their place."""
    for start in range(0, len(indices), size):
        yield start, indices[start : start + size]


def raw_windows(store: Store, table: WindowTable, rows: NDArray[Any]) -> NDArray[np.float32]:
    """Windows in the store's units, (n, n_times, n_chans), with NaN in gaps and anything on padding."""
    return gather(store, replace(table, has_gaps=False), rows, "none")


def extremes(store: Store, recordings: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest value of each channel, shape (n_recordings, n_chans); 0 for other recordings."""
    low, high = (np.zeros((len(store), len(store.channels)), np.float32) for _ in range(2))
    step = max(1, PIECE_VALUES // len(store.channels))
    for number in recordings.tolist():
        signal = store.signal(number)
        low[number], high[number] = np.inf, -np.inf
        for start in range(0, len(signal), step):
            columns = np.ascontiguousarray(signal[start : start + step].T)
            low[number] = np.fmin(low[number], np.fmin.reduce(columns, axis=1))
            high[number] = np.fmax(high[number], np.fmax.reduce(columns, axis=1))
    return low, high


def median_beat(store: Store, table: WindowTable, recording: int) -> NDArray[np.float32]:
    """The median over (at most 100, evenly spaced) windows of a recording, shape (n_times, n_chans)."""
    rows = np.flatnonzero(table.recording == recording)
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), TEMPLATE_WINDOWS)).round().astype(np.int64)]
    windows = raw_windows(store, table, chosen)
    present = np.isfinite(windows).any(axis=0)
    windows[:, ~present] = 0.0
    return np.asarray(np.nanmedian(windows, axis=0), np.float32)


def sampled(table: WindowTable, n_chans: int, seed: int = 0) -> NDArray[np.int64]:
    """Rows of a table that are enough to show its quality: at most 4000, fewer of large windows; ascending."""
    most = min(SAMPLE_WINDOWS, max(100, SAMPLE_VALUES // max(1, table.n_times * n_chans)))
    if len(table) <= most:
        return np.arange(len(table))
    return np.sort(np.random.default_rng(seed).choice(len(table), most, replace=False))


def remembered_quality(store: Store, table: WindowTable, *, aligned: bool, names: Sequence[str] = INDICES) -> Values:
    """`window_quality` of the whole table, kept in ``STORE/quality/`` under the table's digest.

    A store that cannot be written to is read all the same; what is remembered is used only if it is whole.
    """
    key = digest([VERSION, store.content_hash, table.digest(), aligned])[:24]
    places = {name: store.path / "quality" / f"{key}-{name}.npy" for name in INDICES if name in names}
    shape = (len(table), len(store.channels))
    found = {name: values for name, place in places.items() if (values := recalled(place, shape)) is not None}
    if missing := [name for name in places if name not in found]:
        fresh = window_quality(store, table, aligned=aligned, names=missing)
        for name, values in fresh.items():
            keep(places[name], values)
        found |= fresh
    return {name: found[name] for name in places}


def recalled(place: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """The array at a place, if it is one of this shape."""
    try:
        values = np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return values if values.shape == shape and values.dtype == np.float32 else None


def keep(place: Path, values: NDArray[np.float32]) -> None:
    """Write an array in one step, or not at all."""
    data = io.BytesIO()
    np.save(data, values)
    with suppress(BioclError, OSError):
        write_bytes(place, data.getvalue())


def within_thresholds(store: Store, table: WindowTable, spec: QualitySpec, *, aligned: bool) -> WindowTable:
    """The windows that no threshold leaves out; the others are counted by the first reason that does.

    Trials keep their windows that remain; none is filled up from its neighbour.

    Raises
    ------
    UsageError
        If an index with a threshold applies to no window.
    DataError
        If no window remains.
    """
    if not spec.bounds:
        return table
    values = remembered_quality(store, table, aligned=aligned, names=list(spec.bounds))
    left = np.ones(len(table), np.bool_)
    dropped: dict[str, int] = {}
    for name, (least, most) in spec.bounds.items():
        if np.isnan(values[name]).all():
            raise UsageError(
                f"The quality index {name} applies to no window of this store, so its threshold would do nothing",
                f"data.quality.{name}",
                "Leave it out; `biocl.signals.quality` says what each index needs of channels, rate and length",
            )
        outside = beyond(values, name, least, most) & left
        limit = " or ".join(
            f"{word} {bound:g}" for word, bound in (("below", least), ("above", most)) if bound is not None
        )
        if outside.any():
            dropped[f"{name} {limit}"] = int(outside.sum())
        left &= ~outside
    if left.all():
        return table
    if not left.any():
        reasons = "; ".join(f"{reason}: {n}" for reason, n in dropped.items())
        raise DataError(
            f"No window of {len(table)} is within data.quality ({reasons})",
            store.path,
            f"Loosen data.quality; `biocl data inspect {store.path}` shows how its indices are distributed",
        )
    kept = table.take(left)
    rows = kept.rows.copy()
    rows["trial"] = np.unique(rows["trial"], return_inverse=True)[1]
    return replace(kept, rows=rows, dropped={**table.dropped, **dropped})


def summarise(values: Mapping[str, NDArray[np.floating]], kinds: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What to print of each index: median, 5 and 95 %, and how many windows a usual threshold would leave out.

    Over all windows and channels to which an index applies; where it applies to none, only ``applicable: False``.

    Returns
    -------
    dict
        By index: ``applicable, median, low, high`` (5 and 95 %) and, where there is a usual threshold for these
        channels, ``threshold`` (in words), ``beyond`` (windows) and ``source``.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, array in values.items():
        present = array[np.isfinite(array)].astype(np.float64)
        if not len(present):
            found[name] = {"applicable": False}
            continue
        low, median, high = (round(float(q), 6) for q in np.percentile(present, [5, 50, 95]))
        found[name] = {"applicable": True, "median": median, "low": low, "high": high}
        usual = USUAL[name]
        columns = [i for i, kind in enumerate(kinds) if not usual.kinds or kind in usual.kinds]
        if columns:
            outside = beyond({name: array[:, columns]}, name, usual.least, usual.most)
            limit = f"at least {usual.least:g}" if usual.least is not None else f"at most {usual.most:g}"
            found[name] |= {"threshold": limit, "beyond": int(outside.sum()), "source": usual.source}
    return found
