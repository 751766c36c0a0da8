"""Training of encoder and head together, by some of the labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from biocl.commands.setup import epoch_plan
from biocl.evaluation.finetuning import Labelled, evenly, fit_heads_on, look_at
from biocl.evaluation.values import Best, ValueTerm, wearing
from biocl.experiment import Experiment
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import ClassificationTerm
from biocl.objectives.heads import balanced_class_weights
from biocl.objectives.model import Model
from biocl.objectives.terms import acting
from biocl.training.averaging import Weights
from biocl.training.data import Windows
from biocl.training.loop import Metrics, Task, fit


def train_jointly(
    model: Model,
    experiment: Experiment,
    data: Labelled | Windows,
    train: np.ndarray,
    labelled: np.ndarray,
    *,
    device: torch.device,
    validation: np.ndarray | None = None,
    on_log: Callable[[int, Metrics], None] = lambda step, values: None,
    on_look: Callable[[Weights, int], Metrics] | None = None,
) -> None:
    """Train a model in place as ``terms:`` and ``train:`` say.

    What is kept is the average or the last weights; with `validation` those of them that were best there, at one of the
    looks every ``train.validate_every`` steps, by the first head that is no reconstruction.

    Parameters
    ----------
    model : Model
        With a head for ``data.classes``.
    experiment : Experiment
    data : Labelled or Windows
        The latter where no head is a classifier.
    train : ndarray of int
        Table rows that are trained on.
    labelled : ndarray of int
        Those of them whose labels and numbers are read; what follows a window is always known.
    device : torch.device
    validation : ndarray of int, optional
        Table rows by which weights are chosen.
    on_log : callable
    on_look : callable, optional
        Without `validation`: given the weights to be judged and the step, every ``train.validate_every`` steps and
        after the last.
    """
    windows = data.windows if isinstance(data, Labelled) else data
    known = np.zeros(len(windows.table), np.bool_)
    known[labelled] = True

    def load(indices: np.ndarray) -> Batch:
        batch = data.batch(indices, device)
        hidden = torch.from_numpy(~known[indices]).to(device)
        target = None if batch.target is None else batch.target.masked_fill(hidden, float("nan"))
        several = None if batch.labels is None else batch.labels.masked_fill(hidden[:, None], -1)
        trace = None if batch.trace is None else batch.trace.masked_fill(hidden[:, None], float("nan"))
        return replace(batch, label=batch.label.masked_fill(hidden, -1), target=target, labels=several, trace=trace)

    fit_heads_on(model, windows, train, labelled)
    plan = epoch_plan(experiment.batch, windows, train, experiment.seed)
    weights = None
    if isinstance(data, Labelled):
        weights = class_weights(experiment, data.labels(labelled), len(data.classes), device)
    task = Task(experiment.terms, experiment.views, plan, load, weights, data.signal)
    spec = experiment.train.model_copy(update={"compile": False})
    best = Best()
    rows = np.empty(0, np.int64) if validation is None else validation
    looked_at = evenly(rows, experiment.finetune.validation_windows)
    judge = judging_term(experiment)

    def look(now: Weights, step: int) -> Metrics:
        with wearing(model, now):
            metrics, score = look_at(model, data, looked_at, device=device, term=judge)
        best.offer(score, now)
        return metrics

    at = fit(
        model,
        task,
        spec,
        seed=experiment.seed,
        device=device,
        on_log=on_log,
        validate=look if len(looked_at) else on_look,
    )
    if best.weights or at.average:
        model.load_state_dict(best.weights or at.average)


def judging_term(experiment: Experiment) -> ValueTerm | None:
    """The head by which weights are chosen; None for a classifier, where one stands before all others."""
    for term in acting(experiment.terms):
        if isinstance(term, ClassificationTerm):
            return None
        if isinstance(term, ValueTerm):
            return term
    return None


def class_weights(
    experiment: Experiment, labels: np.ndarray, n_outputs: int, device: torch.device
) -> torch.Tensor | None:
    """Balanced class weights of labels (n,) where a head asks for them."""
    asked = [t for t in experiment.terms if isinstance(t, ClassificationTerm) and t.network.class_weights == "balanced"]
    return balanced_class_weights(torch.from_numpy(labels.astype(np.int64)), n_outputs).to(device) if asked else None
