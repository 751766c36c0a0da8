"""What both estimators share: parameters, checks of the input, pretraining, and reading new windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from biocl.config import Source
from biocl.estimators.checks import (
    FINITE,
    InputError,
    dimensions,
    known_channels,
    patients_of,
    validate_data,
    windows_in,
)
from biocl.files import scratch_folder
from biocl.signals.recording import Channel

UNSEEN = "not seen in fit"


class ArrayEstimator(BaseEstimator):
    """What both estimators share: parameters, checks of the input, pretraining.

    Parameters and attributes are those of `BiosignalEncoder`.
    """

    __metadata_request__fit = {"groups": True}

    def __init__(
        self,
        config: Source = "comet",
        *,
        overrides: Mapping[str, Any] | None = None,
        sfreq: float = 1.0,
        channels: Sequence[str | Channel] | None = None,
        modality: str = "other",
        input_scale: str = "train",
        steps: int | None = None,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.config = config
        self.overrides = overrides
        self.sfreq = sfreq
        self.channels = channels
        self.modality = modality
        self.input_scale = input_scale
        self.steps = steps
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _more_tags(self) -> dict[str, Any]:
        # The same for scikit-learn 1.5.
        return {"X_types": ["2darray", "3darray"], "preserves_dtype": []}

    def _new_windows(self, X: ArrayLike) -> np.ndarray:
        """Check what fit is given, as windows (n_windows, n_chans, n_times), and remember its shape."""
        least = {"dtype": np.float32, "ensure_min_samples": 2, FINITE: False}
        if dimensions(X) > 2:
            self.__dict__.pop("feature_names_in_", None)  # of an earlier fit on a table
            x = windows_in(check_array(X, allow_nd=True, estimator=self, input_name="X", **least))
        else:
            x = windows_in(validate_data(self, X, **least))
        self.n_chans_, self.n_times_ = x.shape[1:]
        self.n_features_in_ = self.n_chans_ * self.n_times_
        return x

    def _more_windows(self, X: ArrayLike) -> np.ndarray:
        """Check windows that are to be encoded against those of fit."""
        check_is_fitted(self)
        if dimensions(X) > 2:
            X = check_array(X, dtype=np.float32, allow_nd=True, estimator=self, input_name="X", **{FINITE: False})
        elif self.n_chans_ == 1:
            X = validate_data(self, X, dtype=np.float32, reset=False, **{FINITE: False})
        else:
            X = check_array(X, dtype=np.float32, estimator=self, input_name="X", **{FINITE: False})
        x = windows_in(X)
        if x.shape[1:] != (self.n_chans_, self.n_times_):
            raise InputError(
                f"X has windows of {x.shape[1]} channels and {x.shape[2]} samples, and {type(self).__name__} was "
                f"fitted on windows of {self.n_chans_} channels and {self.n_times_} samples",
                "X",
                f"Give (n_windows, {self.n_chans_}, {self.n_times_})",
            )
        return x

    def _seed(self) -> int:
        """The seed: `random_state` itself where it is a number."""
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _pretrain(
        self,
        x: np.ndarray,
        groups: Any,
        folder: Path,
        y: np.ndarray | None = None,
        classes: Sequence[str] | None = None,
    ) -> Any:
        """Pretrain in a folder and keep what later windows need; the fold is for labels."""
        from biocl.commands.array_runs import array_experiment, method_of, pretrained_fold
        from biocl.training.checkpoint import load_checkpoint

        patients = None if groups is None else patients_of(groups, len(x))
        method = method_of(
            self.config, self.overrides, input_scale=self.input_scale, steps=self.steps, seed=self._seed()
        )
        self.channels_ = known_channels(self.channels, self.modality, x.shape[1])
        self.experiment_ = array_experiment(
            *(method, x, patients, folder),
            sfreq=float(self.sfreq),
            channels=self.channels_,
            modality=self.modality,
            y=y,
            classes=classes,
        )
        fold = pretrained_fold(self.experiment_, folder, device=self.device, show_progress=self.verbose)
        self.checkpoint_ = load_checkpoint(folder / "run" / "checkpoints")
        self.checkpoint_.optimiser.clear()
        return fold

    def _read(self, x: np.ndarray, look: Callable[[Any, np.ndarray], np.ndarray]) -> np.ndarray:
        """What `look` says of windows (n_windows, n_chans, n_times), given them and their rows."""
        from biocl.commands.arrays import array_store, array_windows

        patients = np.full(len(x), UNSEEN)
        with scratch_folder() as folder:
            store = array_store(x, patients, folder / "store", sfreq=float(self.sfreq), channels=self.channels_)
            return look(*array_windows(store, patients, self.experiment_.data, self.checkpoint_.fitted))

    def _vectors(self, x: np.ndarray) -> np.ndarray:
        """Embeddings (n_windows, D) float32."""
        from biocl.commands.embed import encoded

        def look(windows: Any, rows: np.ndarray) -> np.ndarray:
            return encoded(self.experiment_, self.checkpoint_, windows, rows, device=self.device)

        return self._read(x, look)
