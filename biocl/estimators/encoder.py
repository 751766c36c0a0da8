"""Pretraining as a transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from biocl.estimators.base import ArrayEstimator
from biocl.files import scratch_folder


class BiosignalEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ArrayEstimator):
    """Contrastive pretraining on unlabelled windows as a transformer: `fit` pretrains, `transform` embeds.

    Parameters
    ----------
    config : str, path, mapping or Experiment
        Whose method is used: a shipped configuration (``biocl config list``), a file, or a mapping of its keys
        ``encoder``, ``terms``, ``views``, ``projectors``, ``batch``, ``train``, ``finetune``. Of what it says of data,
        ``align`` and ``normalise`` count; split and study do not.
    overrides : mapping, optional
        Keys to replace, such as ``{"encoder.depth": 4}``.
    sfreq : float
        Samples per second; matters where the method speaks of seconds or hertz.
    channels : sequence of str or Channel, optional
        Names of the channels, or what they are in full; needed by views and encoders that know electrodes or devices.
    modality : {"other", "ecg", "eeg", "imu"}
        What the channels measure, where their names do not tell. Values are taken as they are, in any unit.
    input_scale : {"train", "window", "kind", "none"}
        How windows are scaled: ``train`` is a z-score of each channel fitted on the training windows, ``window`` one of
        each window, ``kind`` one divisor for all channels of a kind. What depends on the windows beside it (recording,
        trial) is not offered.
    steps : int, optional
        Optimiser steps, in place of the configuration's.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    random_state : int, RandomState instance or None
        An int is the seed of a run.
    verbose : bool
        Say on the error stream how far pretraining is.

    Attributes
    ----------
    n_chans_, n_times_ : int
        Shape of a window.
    n_features_in_ : int
        Values in a window; of two-dimensional X its columns.
    channels_ : tuple of Channel
    experiment_ : Experiment
        The method as it was run.
    checkpoint_ : biocl.training.checkpoint.Checkpoint
        Weights, their average, and the fitted scaler.

    Notes
    -----
    ``groups`` of `fit` are the patients: terms that compare patients read them, and batches hold several windows of
    each. Without groups every window counts as a patient of its own, so that two windows of one person are pushed apart
    as any others. Each window is a trial of its own.

    Give groups in a pipeline as ``pipeline.fit(X, y, biosignalencoder__groups=groups)``; in cross-validation either as
    ``cross_val_score(…, cv=LeaveOneGroupOut(), groups=groups, params={"biosignalencoder__groups": groups})``, or,
    under ``sklearn.set_config(enable_metadata_routing=True)``, once as ``params={"groups": groups}``: splitter and
    encoder both ask for them. The encoder is fitted inside each fold, on its training windows alone.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> encoder = BiosignalEncoder("comet", sfreq=128, steps=200, random_state=0)
    >>> pipeline = make_pipeline(encoder, StandardScaler(), LogisticRegression())
    >>> pipeline.fit(X, y, biosignalencoder__groups=patients)  # doctest: +SKIP
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # embeddings are float32
        return tags

    def fit(self, X: ArrayLike, y: Any = None, groups: ArrayLike | None = None) -> BiosignalEncoder:
        """Pretrain on windows.

        Parameters
        ----------
        X : array_like, shape (n_windows, n_chans, n_times) or (n_windows, n_times)
            Two dimensions mean one channel. In order of time within each patient.
        y : ignored
        groups : array_like, shape (n_windows,), optional
            Patient of each window.

        Raises
        ------
        InputError
            The arrays do not fit together, or hold values that are not finite; a `ValueError`.
        UsageError
            The configuration is wrong.
        """
        x = self._new_windows(X)
        with scratch_folder() as folder:
            self._pretrain(x, groups, folder)
        self._n_features_out = self._vectors(x[:1]).shape[1]
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Embed windows.

        Parameters
        ----------
        X : array_like, shape (n_windows, n_chans, n_times) or (n_windows, n_times)

        Returns
        -------
        numpy.ndarray of float32, shape (n_windows, D)
            Each row depends on its own window alone.
        """
        check_is_fitted(self)
        return self._vectors(self._more_windows(X))
