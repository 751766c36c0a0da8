"""Floors: what simple features and the same linear probe reach on the same windows, labels and patients.

A floor turns windows into a few numbers each. Most are pure functions of them; some are first fitted on the training
part's windows, without labels. A result that does not clear its floors has learned nothing that a clinician needs, so
they stand beside every result.

======== ==================================================================================
all      ``majority`` (class shares of the labelled rows, no features), ``raw`` (the window itself)
ECG      ``amplitude``, ``shape`` (one beat's form), ``rr`` (intervals to the neighbours), ``rr-shape``,
         ``rhythm`` (what a beat detector says of windows of several beats)
EEG      ``amplitude``, ``log-variance`` (each channel), ``band-power`` (each channel and band),
         ``tangent-space`` (fitted: covariances seen from their mean), ``minirocket`` (fitted)
IMU      ``means`` (of the axes), ``statistics`` (mean, standard deviation, spectral energy), ``minirocket``
======== ==================================================================================

ECG tables have no ``minirocket``: one classifier of MIT-BIH's beats would take many minutes (earlier it reached .433
macro-F1 of 4 classes and .529 of 3, below every floor of beat shapes). It is left out, too, of sets of more than
`MOST_MINIROCKET_WINDOWS` windows.

What they reach on known recordings stands in `biocl.evaluation.floors_ecg` and `biocl.evaluation.floors_eeg`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biocl.evaluation.floors_common import Features, Floats, Windows, amplitude, log_variance, raw
from biocl.evaluation.floors_ecg import holds_beat, holds_beats, rhythm, rr_intervals, rr_shape, shape
from biocl.evaluation.floors_eeg import band_power, fit_tangent_space
from biocl.evaluation.floors_imu import means, statistics
from biocl.evaluation.minirocket import fit_minirocket
from biocl.evaluation.probe import Classifier
from biocl.evaluation.protocol import PER_RECORDING
from biocl.training.spec import InputScale

__all__ = ["FLOORS", "Floor", "FloorArm", "Windows", "floors_for", "majority_proba"]

NAMES_BY_MODALITY = {
    "ecg": ("majority", "amplitude", "raw", "rhythm", "shape", "rr", "rr-shape"),
    "eeg": ("majority", "amplitude", "log-variance", "band-power", "tangent-space", "minirocket", "raw"),
    "imu": ("majority", "means", "statistics", "minirocket", "raw"),
}

SCALE_WORDS: dict[InputScale, str] = {
    "none": "raw input",
    "window": "z-scored windows",
    "trial": "z-scored trials",
    "recording": "z-scored recordings",
    "train": "z-scored by the training part",
    "kind": "by the size of its kind",
}

MOST_TANGENT_CHANNELS = 128
MOST_MINIROCKET_WINDOWS = 5_000
"""Choosing MiniRocket's penalty takes the cube of the rows: about 20 s for 3,000 on one core, minutes beyond."""


@dataclass(frozen=True)
class Floor:
    """A named floor.

    Attributes
    ----------
    name : str
    title : str
    features : callable, optional
        From windows to ``(n, n_features)``.
    fit : callable, optional
        From the training part's windows and a seed to such a function. A floor with neither is ``majority``.
    classifier : str
        What reads the features.
    scaling : str
        What it owes to the scaling of windows: ``any`` other numbers; ``level``, nothing is left of it where each
        channel of each window has mean 0 and variance 1; ``none``, it does not look at the signal.
    """

    name: str
    title: str
    features: Features | None = None
    fit: Callable[[Windows, int], Features] | None = None
    classifier: Classifier = "logistic"
    scaling: Literal["any", "level", "none"] = "any"

    @property
    def has_features(self) -> bool:
        """False for ``majority``, which looks at labels alone."""
        return self.features is not None or self.fit is not None

    def compute(self, windows: Windows, train: NDArray[np.bool_], seed: int) -> Floats:
        """Features of all windows; what is fitted is fitted on those of `train` alone."""
        features = self.fit(windows.take(train), seed) if self.fit is not None else self.features
        assert features is not None
        return features(windows)


@dataclass(frozen=True)
class FloorArm:
    """A row of a table: a floor, of which input, taken how.

    Attributes
    ----------
    floor : Floor
    scale : str or None
        Scaling of the windows; None as the encoder sees them.
    per_recording : bool
        Whether features are relative to their recording's median.
    """

    floor: Floor
    scale: InputScale | None = None
    per_recording: bool = False

    @property
    def name(self) -> str:
        """``band-power``, ``band-power (raw input)``, ``band-power (raw input), per recording``."""
        scale = "" if self.scale is None else f" ({SCALE_WORDS[self.scale]})"
        return self.floor.name + scale + PER_RECORDING * self.per_recording

    @classmethod
    def parse(cls, arm: str) -> FloorArm | None:
        """What `name` gave; None for an encoder's arm."""
        scaled = arm.removesuffix(PER_RECORDING)
        scales: dict[str, InputScale | None] = {f" ({words})": scale for scale, words in SCALE_WORDS.items()}
        words = next((words for words in scales if scaled.endswith(words)), "")
        floor = FLOORS.get(scaled.removesuffix(words))
        return None if floor is None else cls(floor, scales.get(words), scaled != arm)


def floors_for(modality: str, windows: Windows) -> tuple[Floor, ...]:
    """The floors that can be computed for this modality and these windows.

    Parameters
    ----------
    modality : str
        ``ecg``, ``eeg`` or ``imu``; any other gets ``majority``, ``amplitude`` and ``raw``.
    windows : Windows
        ``shape`` needs an event with the beat around it, ``rhythm`` windows of several beats, ``rr`` RR intervals,
        ``tangent-space`` at most `MOST_TANGENT_CHANNELS` channels and two at least, ``minirocket`` at most
        `MOST_MINIROCKET_WINDOWS` windows.
    """
    lacking = ["rr"] * (windows.rr is None) + ["shape"] * (not holds_beat(windows))
    lacking += ["rhythm"] * (not holds_beats(windows))
    lacking += ["tangent-space"] * (not 2 <= windows.x.shape[1] <= MOST_TANGENT_CHANNELS)
    lacking += ["minirocket"] * (len(windows.x) > MOST_MINIROCKET_WINDOWS)
    names = NAMES_BY_MODALITY.get(modality, ("majority", "amplitude", "raw"))
    return tuple(FLOORS[name] for name in names if not any(part in name for part in lacking))


def floor_rows(floors: Sequence[Floor], scales: Sequence[InputScale] | None, *, per_recording: bool) -> list[FloorArm]:
    """Every row that floors have in a table, those of one scaling together.

    Parameters
    ----------
    floors : sequence of Floor
    scales : sequence of str, optional
        Scalings of the windows; None as the encoder sees them. ``majority`` and ``rr`` do not look at the signal
        and are there once; in z-scored windows nothing is left to a floor of levels, which is left out.
    per_recording : bool
        Add rows relative to the recording for floors of several features.
    """
    shown = [
        FloorArm(floor, None if floor.scaling == "none" else scale)
        for scale in ([None] if scales is None else scales)
        for floor in floors
        if not (floor.scaling == "level" and scale == "window")
    ]
    rows = list(dict.fromkeys(shown))
    if per_recording:
        single = ("majority", "amplitude", "raw")
        rows += [replace(row, per_recording=True) for row in rows if row.floor.name not in single]
    return rows


def majority_proba(y: ArrayLike, n: int, n_classes: int) -> NDArray[np.float64]:
    """The class shares of the training labels, for every one of `n` windows: ``(n, n_classes)``."""
    counts = np.bincount(np.asarray(y, dtype=np.int64), minlength=n_classes)
    return np.tile(counts / counts.sum(), (n, 1))


FLOORS: dict[str, Floor] = {
    floor.name: floor
    for floor in (
        Floor("majority", "majority class", scaling="none"),
        Floor("amplitude", "amplitude, one number + LR", amplitude, scaling="level"),
        Floor("raw", "raw window + LR", raw),
        Floor("shape", "beat shape + LR", shape),
        Floor("rhythm", "detected beats + LR", rhythm),
        Floor("rr", "RR intervals + LR", rr_intervals, scaling="none"),
        Floor("rr-shape", "RR intervals and beat shape + LR", rr_shape),
        Floor("log-variance", "log variance per channel + LR", log_variance, scaling="level"),
        Floor("band-power", "band power + LR", band_power),
        Floor("tangent-space", "tangent space (OAS, Riemannian mean) + LR", fit=fit_tangent_space),
        Floor("minirocket", "MiniRocket + ridge", fit=fit_minirocket, classifier="ridge"),
        Floor("means", "means of the axes + LR", means, scaling="level"),
        Floor("statistics", "mean, std, FFT energy + LR", statistics, scaling="level"),
    )
}
