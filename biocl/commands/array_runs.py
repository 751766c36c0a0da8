"""A method on windows in memory: from a configuration to a pretrained encoder and a classifier, in a scratch folder.

The trainer, the probe and fine-tuning are those of every other verb; what is made here is the store of the arrays, and
a split in which all of them train.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from biocl.commands.arrays import array_store
from biocl.commands.pretrain import pretrain
from biocl.commands.pretrained import load_pretrained
from biocl.commands.setup import build_model, open_cohort
from biocl.commands.study import Fold, draw_for, linear_probe, tuned_model
from biocl.config import Source, apply_override, read_config, validated
from biocl.errors import UsageError
from biocl.evaluation.finetuning import Labelled, finetuned_term, predict
from biocl.evaluation.probe import Probe
from biocl.evaluation.protocol import PRETRAINED, Cell
from biocl.experiment import Experiment
from biocl.objectives.head_spec import HeadTerm
from biocl.sampling.spec import HierarchicalBatch, RandomBatch
from biocl.signals.recording import Channel
from biocl.splits.file import write_splits
from biocl.splits.split import Split
from biocl.training.averaging import Weights
from biocl.training.data import Windows
from biocl.training.optimisation import resolve_device

METHOD = ("name", "batch", "views", "encoder", "projectors", "terms", "train", "finetune")
PER_WINDOW = ("none", "window", "train", "kind")


def method_of(
    config: Source, overrides: Mapping[str, Any] | None, *, input_scale: str, steps: int | None, seed: int
) -> dict[str, Any]:
    """The keys of a configuration that say how is learned; whose data it is about does not count.

    Parameters
    ----------
    config : path, str, mapping or Experiment
        A mapping needs neither ``data`` nor ``split``.
    overrides : mapping, optional
    input_scale : str
        ``none``, ``window``, ``train`` or ``kind``: what a window becomes may not depend on who stands beside it.
    steps : int, optional
        In place of ``train.steps``.
    seed : int

    Raises
    ------
    UsageError
        The configuration is wrong, or its method needs what arrays do not have.
    """
    tree, path = read_config(config)
    tree = {"data": {"dataset": "arrays"}, "split": {"kind": "random"}, **tree}
    apply_override(tree, overrides or {})
    given = validated(tree, path)
    if given.data.align is not None and given.data.align.mode != "inductive":
        raise UsageError(
            f"data.align: {given.data.align.mode} looks at the other windows of a patient, and an estimator's window "
            "stands for itself",
            path,
            "Use mode: inductive, or override data.align with None",
        )
    if input_scale not in PER_WINDOW:
        raise UsageError(
            f"An estimator cannot scale by {input_scale!r}: which windows belong together is not known when new ones "
            "are transformed",
            "input_scale",
            f"Use one of {', '.join(PER_WINDOW)}",
        )
    method = given.model_dump(mode="json", include=set(METHOD), exclude_unset=True)
    method["evaluate"] = {"probe": given.evaluate.probe.model_dump(mode="json")}
    if steps is not None:
        train = {key: value for key, value in method.get("train", {}).items() if key != "epochs"}
        method["train"] = {**train, "steps": steps}
    read = {"input_scale": input_scale, "align": given.data.align and given.data.align.model_dump(mode="json")}
    return {**method, "seed": seed, "data": {**read, "normalise": given.data.normalise}}


def array_experiment(
    method: Mapping[str, Any],
    x: ArrayLike,
    groups: ArrayLike | None,
    folder: Path,
    *,
    sfreq: float,
    channels: Sequence[Channel],
    modality: str,
    y: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
) -> Experiment:
    """The experiment of a method on arrays, all of whose windows train; store and split are written into a folder.

    Parameters
    ----------
    method : mapping
        As `method_of` gives it.
    x : array_like, shape (n_windows, n_chans, n_times)
    groups : array_like, shape (n_windows,), optional
        Whose window each is. Without it each is a patient of its own, and batches are drawn at random, since one of
        patients would hold a window of each.
    folder : Path
    sfreq, channels, modality
        What the arrays are.
    y : array_like of str, shape (n_windows,), optional
    classes : sequence of str, optional
        The order of the labels.

    Raises
    ------
    UsageError
        The method trains a head on labels, and there are none.
    """
    n_windows = len(np.asarray(x))
    patients = np.arange(n_windows) if groups is None else np.asarray(groups)
    store = array_store(x, patients, folder / "store", sfreq=sfreq, channels=channels, y=y, modality=modality)
    split = Split("all", "patient", {"train": store.patient_names, "validation": (), "test": ()})
    write_splits([split], folder / "split.json")
    data = {**method["data"], "store": str(store.path), **({"classes": list(classes)} if classes else {})}
    tree = {**method, "data": data, "split": {"file": str(folder / "split.json")}}
    experiment = validated(tree, Path("config"))
    heads = [term.title for term in experiment.terms if isinstance(term, HeadTerm)]
    if heads and y is None:
        raise UsageError(
            f"The term {heads[0]} of this configuration is trained on labels, and an encoder is fitted without",
            "config",
            "Leave the term out, or use BiosignalClassifier",
        )
    return experiment.model_copy(update={"batch": fitting_batch(experiment.batch, n_windows, groups is not None)})


def fitting_batch(spec: Any, n_windows: int, grouped: bool) -> Any:
    """The same number of windows in a batch, at random where nobody is anybody's neighbour; none is left alone."""
    if isinstance(spec, RandomBatch) or (isinstance(spec, HierarchicalBatch) and not grouped):
        n_batches = math.ceil(n_windows / spec.batch_size)
        return RandomBatch(kind="random", size=math.ceil(n_windows / n_batches))
    return spec


def pretrained_fold(experiment: Experiment, folder: Path, *, device: str, show_progress: bool) -> Fold:
    """Pretrain in a folder, and give the fold with the weights, ready for labels."""
    cohort = open_cohort(experiment)
    run = pretrain(experiment, folder / "run", device=device, cohort=cohort, show_progress=show_progress)
    fold = Fold(experiment, cohort, 0, cohort.parts(), None, resolve_device(device))
    load_pretrained(fold, run)
    return fold


def fit_classifier(fold: Fold, classes: Sequence[str], mode: str) -> Probe | Weights:
    """A probe of the frozen encoder, or the weights of encoder and head after fine-tuning.

    Parameters
    ----------
    fold : Fold
        As `pretrained_fold` gives it.
    classes : sequence of str
    mode : str
        ``linear``, ``partial`` or ``full``.
    """
    data = Labelled.make(fold.windows, list(classes))
    rows, _ = draw_for(fold, data, "all", 0)
    if mode == "linear":
        return linear_probe(fold, data, rows, fold.features(PRETRAINED), 0)
    tuned = tuned_model(fold, data, rows, Cell(tuple(classes), "all", 0, mode, PRETRAINED))
    return {name: value.detach().cpu().clone() for name, value in tuned.state_dict().items()}


def predict_tuned(
    experiment: Experiment, weights: Weights, windows: Windows, rows: np.ndarray, n_classes: int, *, device: str
) -> np.ndarray:
    """Class probabilities (n, n_classes) of table rows by a fine-tuned model."""
    model = build_model(experiment, windows, [finetuned_term(experiment.finetune, None)], n_outputs=n_classes)
    model.load_state_dict(weights)
    target: torch.device = resolve_device(device)
    unlabelled = Labelled(windows, tuple(map(str, range(n_classes))), np.empty(0, np.int64))
    return predict(model.to(target), unlabelled, rows, device=target)
