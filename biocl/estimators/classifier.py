"""Pretraining and a classifier in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from biocl.config import Source
from biocl.estimators.base import ArrayEstimator
from biocl.estimators.checks import InputError, class_names, labels_of
from biocl.files import scratch_folder
from biocl.signals.recording import Channel

MODES = ("linear", "partial", "full")


class BiosignalClassifier(ClassifierMixin, ArrayEstimator):
    """Contrastive pretraining and a classifier of windows: `fit` pretrains on all of X, then learns y.

    Parameters
    ----------
    config, overrides, sfreq, channels, modality, input_scale, steps, device, random_state, verbose
        As in `BiosignalEncoder`. A term that trains a head on labels is trained on y.
    mode : {"linear", "partial", "full"}
        ``linear`` is a logistic regression on the frozen encoder, whose regularisation is chosen between patients;
        ``partial`` and ``full`` fine-tune by the configuration's ``finetune`` keys for its ``max_steps``, with nobody
        held out, so that the last weights are kept.

    Attributes
    ----------
    classes_ : numpy.ndarray
        The labels, sorted.
    classifier_ : Probe or dict of str to Tensor
        The probe, or the weights of encoder and head.
    n_chans_, n_times_, n_features_in_, channels_, experiment_, checkpoint_
        As in `BiosignalEncoder`.

    Examples
    --------
    >>> from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
    >>> classifier = BiosignalClassifier("comet", sfreq=128, steps=200, random_state=0)
    >>> cross_val_score(
    ...     classifier, X, y, cv=LeaveOneGroupOut(), groups=patients, params={"groups": patients}
    ... )  # doctest: +SKIP
    """

    def __init__(
        self,
        config: Source = "comet",
        *,
        mode: str = "linear",
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
        super().__init__(
            config,
            overrides=overrides,
            sfreq=sfreq,
            channels=channels,
            modality=modality,
            input_scale=input_scale,
            steps=steps,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.mode = mode

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> BiosignalClassifier:
        """Pretrain on windows, then learn their labels.

        Parameters
        ----------
        X : array_like, shape (n_windows, n_chans, n_times) or (n_windows, n_times)
            Two dimensions mean one channel. In order of time within each patient.
        y : array_like, shape (n_windows,)
        groups : array_like, shape (n_windows,), optional
            Patient of each window.

        Raises
        ------
        InputError
            The arrays do not fit together, or hold values that are not finite; a `ValueError`.
        UsageError
            The configuration is wrong.
        """
        from biocl.commands.array_runs import fit_classifier

        if self.mode not in MODES:
            raise InputError(f"There is no mode {self.mode!r}", "mode", f"Use one of {', '.join(MODES)}")
        x = self._new_windows(X)
        self.classes_, codes = np.unique(labels_of(y, len(x)), return_inverse=True)
        names = class_names(self.classes_)
        with scratch_folder() as folder:
            fold = self._pretrain(x, groups, folder, np.array(names)[codes], names)
            self.classifier_ = fit_classifier(fold, names, self.mode)
        return self

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Class probabilities.

        Parameters
        ----------
        X : array_like, shape (n_windows, n_chans, n_times) or (n_windows, n_times)

        Returns
        -------
        numpy.ndarray, shape (n_windows, n_classes)
            Columns in the order of ``classes_``.
        """
        from biocl.commands.array_runs import predict_tuned

        check_is_fitted(self)
        x = self._more_windows(X)
        if not isinstance(self.classifier_, dict):
            return self.classifier_.predict_proba(self._vectors(x))
        weights = self.classifier_

        def look(windows: Any, rows: np.ndarray) -> np.ndarray:
            return predict_tuned(*(self.experiment_, weights, windows, rows, len(self.classes_)), device=self.device)

        return self._read(x, look)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The likeliest class of each window, shape (n_windows,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]
