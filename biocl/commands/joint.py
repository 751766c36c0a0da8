"""Training of encoder and head together, by some of the labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from biocl.commands.setup import epoch_plan
from biocl.evaluation.finetuning import Labelled
from biocl.experiment import Experiment
from biocl.objectives.batch import Batch
from biocl.objectives.heads import balanced_class_weights
from biocl.objectives.model import Model
from biocl.objectives.spec import HeadTerm
from biocl.training.loop import Task, fit


def train_jointly(
    model: Model,
    experiment: Experiment,
    data: Labelled,
    train: np.ndarray,
    labelled: np.ndarray,
    *,
    device: torch.device,
) -> None:
    """Train a model in place as ``terms:`` and ``train:`` say; what is judged is the average or the last weights.

    Parameters
    ----------
    model : Model
        With a head for ``data.classes``.
    experiment : Experiment
    data : Labelled
    train : ndarray of int
        Table rows that are trained on.
    labelled : ndarray of int
        Those of them whose labels are read.
    device : torch.device
    """
    known = np.zeros(len(data.windows.table), np.bool_)
    known[labelled] = True

    def load(indices: np.ndarray) -> Batch:
        batch = data.batch(indices, device)
        hidden = torch.from_numpy(~known[indices]).to(device)
        return replace(batch, label=batch.label.masked_fill(hidden, -1))

    if data.windows.n_aux:
        model.fit_aux(torch.from_numpy(data.windows.table.aux[train]))
    plan = epoch_plan(experiment.batch, data.windows, train, experiment.seed)
    weights = class_weights(experiment, data.labels(labelled), len(data.classes), device)
    task = Task(experiment.terms, experiment.views, plan, load, weights, data.signal)
    spec = experiment.train.model_copy(update={"compile": False})
    at = fit(model, task, spec, seed=experiment.seed, device=device)
    if at.average:
        model.load_state_dict(at.average)


def class_weights(
    experiment: Experiment, labels: np.ndarray, n_outputs: int, device: torch.device
) -> torch.Tensor | None:
    """Balanced class weights of labels (n,) where a head asks for them."""
    asked = [t for t in experiment.terms if isinstance(t, HeadTerm) and t.network.class_weights == "balanced"]
    return balanced_class_weights(torch.from_numpy(labels.astype(np.int64)), n_outputs).to(device) if asked else None
