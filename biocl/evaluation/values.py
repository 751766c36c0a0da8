"""Forecasts, numbers and labels: what a head says of windows, how far it is off, and which weights are the best."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from biocl.errors import UsageError
from biocl.evaluation.several_labels import macro_auroc
from biocl.objectives.head_spec import ForecastingTerm, MultiLabelTerm, RegressionTerm, StepRegressionTerm
from biocl.objectives.heads import ForecastingHead, MultiLabelHead, RegressionHead, StepRegressionHead
from biocl.objectives.model import Model
from biocl.training.averaging import Weights
from biocl.training.data import Windows
from biocl.training.fitting import pieces

TRACES_AT_ONCE = 1024
ValueTerm = ForecastingTerm | RegressionTerm | StepRegressionTerm | MultiLabelTerm
ValueHead = ForecastingHead | RegressionHead | StepRegressionHead | MultiLabelHead


@torch.no_grad()
def predict_values(
    model: Model,
    windows: Windows,
    rows: np.ndarray,
    *,
    device: torch.device,
    title: str | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """What a head for forecasts, numbers or labels says of table rows, in evaluation mode; nothing wanted is read.

    Parameters
    ----------
    model : Model
    windows : Windows
    rows : ndarray of int
        Table rows.
    device : torch.device
    title : str, optional
        Of the head, where the model has several.
    batch_size : int
        Windows at once; no prediction depends on it.

    Returns
    -------
    ndarray of float32
        (n, n_chans, horizon) in the units of ``data.input_scale``, (n,) or (n, n_times) in the target's units, or
        (n, n_labels).
    """
    head = value_head(model, title)
    out = np.empty((len(rows), *shape_of(head, windows)), dtype=np.float32)
    was_training = model.training
    model.eval()
    try:
        done = 0
        for piece in pieces(rows, batch_size):
            batch = windows.batch(piece, device, ahead=False)
            said = head.predict(model.read(batch.x, batch.valid, batch.present), batch)
            out[done : done + len(piece)] = said.float().cpu().numpy()
            done += len(piece)
    finally:
        model.train(was_training)
    return out


def shape_of(head: ValueHead, windows: Windows) -> tuple[int, ...]:
    """What a head says of one window, by its shape."""
    match head:
        case ForecastingHead():
            return (windows.n_chans, windows.table.horizon)
        case StepRegressionHead():
            return (windows.n_times,)
        case MultiLabelHead():
            return (len(windows.table.label_names),)
    return ()


def value_head(model: Model, title: str | None = None) -> ValueHead:
    """The head for forecasts, numbers or labels of a title, or the only one there is.

    Raises
    ------
    UsageError
        There is none, or there are several and none is named.
    """
    found = {name: head for name, head in model.heads.items() if isinstance(head, ValueHead)}
    if title is None and len(found) == 1:
        return next(iter(found.values()))
    if title is None or title not in found:
        raise UsageError(
            f"This model has {'the heads ' + ', '.join(found) if found else 'no head'} for forecasts, numbers, labels",
            "terms",
            "Name one of its heads"
            if found
            else "Give it a term with head: forecasting, regression, step-regression or multi-label",
        )
    return found[title]


def value_errors(
    model: Model,
    windows: Windows,
    rows: np.ndarray,
    *,
    device: torch.device,
    title: str | None = None,
    batch_size: int = 256,
) -> dict[str, float]:
    """Mean squared and mean absolute error of a head's predictions, in their units; of labels the area under the curve.

    Over windows, or steps, whose number or label is known; over all channels and steps of forecasts. NaN where there is
    none.

    Returns
    -------
    dict
        ``mse`` and ``mae``, or ``macro_auroc``.
    """
    if isinstance(value_head(model, title), MultiLabelHead):
        assert windows.table.labels is not None
        said = predict_values(model, windows, rows, device=device, title=title, batch_size=batch_size)
        return {"macro_auroc": macro_auroc(windows.table.labels[rows], said)}
    forecasts = isinstance(value_head(model, title), ForecastingHead)
    wanted = windows.future if forecasts else partial(numbers, windows)
    squares = sizes = count = 0.0
    for piece in pieces(rows, batch_size):
        said = predict_values(model, windows, piece, device=device, title=title, batch_size=batch_size)
        truth = wanted(piece)
        off = (said.astype(np.float64) - truth)[np.isfinite(truth)]
        squares, sizes, count = squares + float((off**2).sum()), sizes + float(np.abs(off).sum()), count + off.size
    return {"mse": squares / count if count else float("nan"), "mae": sizes / count if count else float("nan")}


def numbers(windows: Windows, rows: np.ndarray) -> np.ndarray:
    """The numbers of table rows, NaN where unknown: (n,), or (n, n_times) of a target at every time step.

    Raises
    ------
    UsageError
        The configuration asks for none.
    """
    return targets(windows)[rows] if windows.target_column is None else windows.trace(rows)


def are_known(windows: Windows, rows: np.ndarray) -> np.ndarray:
    """Which table rows have a number, or one at any time step, bool (n,)."""
    if windows.target_column is None:
        return np.asarray(np.isfinite(targets(windows)[rows]))
    if not windows.table.has_gaps:  # a window without gaps is signal, as far as it is no padding
        return np.ones(len(rows), np.bool_)
    found = [np.isfinite(windows.trace(piece)).any(axis=1) for piece in pieces(rows, TRACES_AT_ONCE)]
    return np.concatenate([np.empty(0, np.bool_), *found])


def targets(windows: Windows) -> np.ndarray:
    """The numbers of all windows, NaN where unknown.

    Raises
    ------
    UsageError
        The configuration asks for none.
    """
    if windows.table.target is None:
        raise UsageError(
            "A head predicts a number, and the windows have none",
            "data.target",
            "Say which number it is, such as data.target: {kind: heart-rate}",
        )
    return windows.table.target


def score_of(term: ValueTerm, errors: dict[str, float]) -> float:
    """By what weights are chosen on validation patients, more is better: the error of the loss, or the area."""
    if isinstance(term, MultiLabelTerm):
        return errors["macro_auroc"]
    return -errors["mse" if term.loss == "mse" else "mae"]


@dataclass
class Best:
    """The best weights so far, by a score of which more is better; of equal ones the first."""

    score: float = -float("inf")
    weights: Weights = field(default_factory=dict)

    def offer(self, score: float, weights: Weights) -> None:
        """Keep these weights if they are better."""
        if score > self.score:
            self.score = score
            self.weights = {name: value.detach().clone() for name, value in weights.items()}


@contextmanager
def wearing(model: Model, weights: Weights) -> Iterator[None]:
    """The model with other weights and in evaluation mode, for a while."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    was_training = model.training
    model.load_state_dict(weights)
    model.eval()
    try:
        yield
    finally:
        model.load_state_dict(own)
        model.train(was_training)
