"""Checks of what estimators are given: windows, labels, patients, channels; and what differs between versions."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from biocl.errors import DataError
from biocl.signals.channels import infer_kind
from biocl.signals.recording import Channel, ChannelKind

try:
    from sklearn.utils.validation import validate_data as validate_data
except ImportError:  # scikit-learn 1.5

    def validate_data(estimator: Any, *arrays: Any, **checks: Any) -> Any:
        """The method that became this function."""
        return estimator._validate_data(*arrays, **checks)


# Values that are not finite are told here by window and channel; the key that leaves that to us was renamed in 1.6.
FINITE = "ensure_all_finite" if "ensure_all_finite" in signature(check_array).parameters else "force_all_finite"
UNIT = "a.u."  # arbitrary: values are taken as they are, and no range is expected of them
VOLTAGES: dict[str, ChannelKind] = {"ecg": "ecg", "eeg": "eeg"}


class InputError(DataError, ValueError):
    """Arrays that do not fit; a `ValueError`, as scikit-learn's tools expect."""


def dimensions(X: Any) -> int:
    """Number of axes of what may be an array, a table or nested lists."""
    return int(X.ndim) if hasattr(X, "ndim") else np.asarray(X).ndim


def windows_in(X: ArrayLike) -> np.ndarray:
    """Windows (n_windows, n_chans, n_times) of which every value is finite; of two axes the channel is one.

    Raises
    ------
    InputError
    """
    x = np.asarray(X)
    x = x[:, None, :] if x.ndim == 2 else x
    if x.ndim != 3 or 0 in x.shape:
        raise InputError(
            f"X has shape {x.shape}", "X", "Give (n_windows, n_chans, n_times), or (n_windows, n_times) of one channel"
        )
    if x.shape[2] < 2:
        raise InputError(
            "Windows of one sample (n_features = 1) hold no signal", "X", "Give (n_windows, n_chans, n_times)"
        )
    finite = np.isfinite(x)
    if not finite.all():
        window, channel, step = np.argwhere(~finite)[0]
        what = "NaN" if np.isnan(x[window, channel, step]) else "inf"
        raise InputError(
            f"X holds {what} in {int((~finite).any(axis=(1, 2)).sum())} of {len(x)} windows, first at [{window}, "
            f"{channel}, {step}] (window, channel, sample); in float32 nothing beyond 3.4e38 is finite",
            "X",
            "Leave these windows out, or fill them in a way that you can defend",
        )
    return x


def patients_of(groups: ArrayLike, n_windows: int) -> np.ndarray:
    """Whose window each is.

    Raises
    ------
    InputError
    """
    patients = np.asarray(groups)
    if patients.shape != (n_windows,):
        raise InputError(
            f"groups has shape {patients.shape}, and X has {n_windows} windows", "groups", "Give a patient a window"
        )
    return patients


def labels_of(y: Any, n_windows: int) -> np.ndarray:
    """Labels of classes, one a window.

    Raises
    ------
    InputError
    """
    if y is None:
        raise InputError(
            "This estimator requires y to be passed, but the target y is None", "y", "Give a label a window"
        )
    labels = column_or_1d(y, warn=True)
    assert_all_finite(labels, input_name="y")
    if len(labels) != n_windows:
        raise InputError(f"y has {len(labels)} labels, and X has {n_windows} windows", "y", "Give a label a window")
    check_classification_targets(labels)
    return labels


def class_names(classes: np.ndarray) -> list[str]:
    """The classes as text, or numbered where their text does not tell them apart."""
    names = [str(name) for name in classes]
    told = all(names) and len(set(names)) == len(names)
    return names if told else [f"class-{number}" for number in range(len(names))]


def known_channels(channels: Sequence[str | Channel] | None, modality: str, n_chans: int) -> tuple[Channel, ...]:
    """What each channel is.

    Raises
    ------
    InputError
        There are more or fewer names than channels.
    """
    given = [f"channel-{number + 1}" for number in range(n_chans)] if channels is None else list(channels)
    if len(given) != n_chans:
        raise InputError(f"{len(given)} channels are named, and X has {n_chans}", "channels", "Name every channel")
    return tuple(one if isinstance(one, Channel) else named_channel(str(one), modality) for one in given)


def named_channel(name: str, modality: str) -> Channel:
    """A channel by name, of the kind that the name or the modality says, in any unit."""
    kind = infer_kind(name, UNIT)
    return Channel(name, VOLTAGES.get(modality, kind) if kind == "other" else kind, UNIT)
