"""Windows in memory: a store of them for as long as they are looked at, and the way back to their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from biocl.commands.prepare import window_table
from biocl.datasets.arrays import array_dataset
from biocl.experiment import DataSpec
from biocl.signals.recording import Channel
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.store import Store
from biocl.training.data import Windows
from biocl.training.fitted import Fitted


def array_store(
    x: ArrayLike,
    patients: ArrayLike,
    path: Path,
    *,
    sfreq: float,
    channels: Sequence[Channel],
    y: ArrayLike | None = None,
    modality: str = "other",
) -> Store:
    """A store of windows in memory, each a trial of its own, as they are: nothing is filtered or resampled.

    Parameters
    ----------
    x : array_like, shape (n_windows, n_chans, n_times)
    patients : array_like, shape (n_windows,)
    path : Path
        Where the store goes.
    sfreq : float
    channels : sequence of Channel
    y : array_like, shape (n_windows,), optional
        Labels; without them all windows are unlabelled.
    modality : str

    Raises
    ------
    DataError
        See `biocl.datasets.arrays.array_dataset`.
    """
    values = np.asarray(x)
    labels = np.full(len(values), "") if y is None else y
    dataset = array_dataset(values, labels, patients, sfreq=sfreq, channels=channels, modality=modality)
    # A window in which a channel does not move is a recording's short piece, and no fault of the recording.
    return build_store(dataset, None, path, ConditioningSpec(flat="keep"))


def array_windows(store: Store, patients: ArrayLike, data: DataSpec, fitted: Fitted) -> tuple[Windows, np.ndarray]:
    """The windows of an `array_store`, read as an encoder was trained to read them, and the row of each.

    Parameters
    ----------
    store : Store
    patients : array_like, shape (n_windows,)
        As the store was made with.
    data : DataSpec
        Its scaling, alignment and normalisation count; how windows are cut does not.
    fitted : Fitted
        Scaler and alignment of the training windows.

    Returns
    -------
    windows : Windows
    rows : ndarray of int, shape (n_windows,)
        Table row of each window, in the order in which they were given.
    """
    table = window_table(store, DataSpec(store=str(store.path)))
    windows = Windows(store, table, data.input_scale, data.align, fitted=fitted, normalise=data.normalise)
    return windows, rows_of(np.array(table.names["patient"])[table.patient], patients)


def rows_of(stored: ArrayLike, patients: ArrayLike) -> np.ndarray:
    """The table row of every window, where a table has each patient's windows in the order in which they were given.

    Parameters
    ----------
    stored : array_like of str, shape (n_windows,)
        Patient of each table row.
    patients : array_like, shape (n_windows,)
        Patient of each window.
    """
    names = np.asarray(patients).astype(np.str_)
    rows = np.empty(len(names), np.int64)
    rows[np.argsort(names, kind="stable")] = np.argsort(np.asarray(stored), kind="stable")
    return rows


def trained_channels(state: Mapping[str, Any]) -> list[Channel]:
    """The channels that a checkpoint was trained on; of an older one their names alone are known."""
    unknown = [{"name": name, "kind": "other", "unit": "NU"} for name in state["channels"]]
    return [Channel(**facts) for facts in state.get("channel_facts", unknown)]
