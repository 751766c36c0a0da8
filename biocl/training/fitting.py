"""Fitting of scaler and alignment on training windows, a bounded number of windows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from biocl.errors import DataError
from biocl.store.coverage import fresh_steps
from biocl.store.store import Store
from biocl.training.checkpoint import patient_hashes
from biocl.training.euclidean import Groups, covariances, mean_covariance
from biocl.training.fitted import Fitted, mean_and_std

if TYPE_CHECKING:
    from biocl.training.data import Windows

BLOCK_VALUES = 2**21
FITTED_SCALES = ("train", "kind")


def fit_windows(windows: Windows) -> Fitted:
    """Fit scaler and alignment on ``windows.train``, in the order of the table; float64, the same bits every time."""
    if windows.train is None or not len(windows.train):
        raise DataError(
            "There are no training windows on which data.input_scale: train or data.align could be fitted",
            windows.store.path,
            "Check the patients in the split",
        )
    rows = np.unique(windows.train)
    fitted = Fitted()
    if windows.scale in FITTED_SCALES:
        plain = replace(windows, scale="none", align=None)
        mean, std = mean_and_std_by_device(plain, rows)
        if windows.scale == "kind":
            mean, std = (
                np.zeros_like(mean),
                rms_of_kinds(mean, std, [channel.kind for channel in windows.channels]),
            )
        fitted = replace(fitted, mean=mean, std=std)
    if windows.align is None:
        return fitted
    scaled = replace(windows, fitted=fitted)
    groups = Groups.of(windows.table, windows.align.per)
    number = groups.number[rows]
    inside = np.unique(number)
    hashes = group_hashes(windows.store, [groups.names[group] for group in inside])
    parts = [rows[number == group] for group in inside]
    references = np.stack([mean_covariance(covariances_of(scaled, part), windows.n_chans) for part in parts])
    share = np.array([len(part) for part in parts]) / len(rows)
    overall = (references * share[:, None, None]).sum(axis=0)
    return replace(fitted, groups=tuple(hashes), references=references, overall=overall)


def mean_and_std_by_device(windows: Windows, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`mean_and_std` of every channel, each over the steps that its own device has."""
    if len(windows.device_columns) < 2 and windows.missing is None:
        return mean_and_std(steps_once(windows, rows))
    mean, std = np.zeros(windows.n_chans), np.zeros(windows.n_chans)
    for name in windows.device_columns:
        mine = [i for i, channel in enumerate(windows.channels) if channel.device == name]
        own_mean, own_std = mean_and_std(steps_once(replace(windows, devices=(name,)), rows))
        if len(own_mean):  # else no training window has the device
            mean[mine], std[mine] = own_mean, own_std
    return mean, std


def rms_of_kinds(mean: np.ndarray, std: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """The root mean square of each channel's kind, (n_chans,), from every channel's mean and standard deviation."""
    squares = mean**2 + std**2
    out = np.empty_like(squares)
    for kind in set(kinds):
        mine = np.array([one == kind for one in kinds])
        out[mine] = np.sqrt(squares[mine].mean())
    return out


def group_hashes(store: Store, names: Sequence[str]) -> list[str]:
    """Keyed hashes that tell the same patient, session or recording again, in another store of the data set too."""
    return [patient_hashes(store.meta["dataset"], store.meta["version"], [name])[0] for name in names]


def blocks_of(windows: Windows, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Scaled windows (n, n_times, n_chans) of table rows with their valid steps, a bounded number at a time."""
    for piece in pieces(rows, max(1, BLOCK_VALUES // (windows.n_times * windows.n_chans))):
        yield windows.scaled(piece), windows.valid_steps(piece)


def steps_once(windows: Windows, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """`blocks_of` windows and their futures, with the steps that no window before has shown: each sample once."""
    whole = replace(windows, table=windows.table.with_futures)
    here = whole.table.rows[rows]
    first = here["valid_start"].astype(np.int64)
    picked, fresh = fresh_steps(here["recording"], here["start"] + first, here["valid_length"])
    fresh += first[picked]
    done = 0
    for x, valid in blocks_of(whole, rows[picked]):
        shown = np.arange(whole.n_times) >= fresh[done : done + len(x), None]
        done += len(x)
        yield x, shown if valid is None else shown & valid


def covariances_of(windows: Windows, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Covariance matrices (n, n_chans, n_chans) of scaled windows, in blocks."""
    for x, valid in blocks_of(windows, rows):
        yield covariances(x, valid)


def pieces(indices: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive runs of at most `size` indices."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]
