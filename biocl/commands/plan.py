"""What a configuration will do, before it does it."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from biocl.commands.arms import study_arms, trained_folds
from biocl.commands.inspect import number_in_words
from biocl.commands.setup import Cohort, build_model, check_judged, epoch_plan, open_cohort
from biocl.commands.study import Fold, classifier_of, draw_for, floor_arms, linear_probe, tuned_model
from biocl.encoders.devices import DeviceEncoder
from biocl.errors import BioclError
from biocl.evaluation.finetuning import Labelled, evenly
from biocl.evaluation.intervals import bootstrap_metrics
from biocl.evaluation.protocol import FLOOR_MODE, UNTRAINED, Cell, cells
from biocl.experiment import Experiment
from biocl.objectives.batch import Batch
from biocl.objectives.by_target import partners
from biocl.objectives.comparisons import Comparison
from biocl.objectives.contradictions import contradictions
from biocl.objectives.criterion_spec import AtOnce, CroSSL, Focal, InfoNCE, has_negatives
from biocl.objectives.model import Model
from biocl.objectives.pairs import pairs_of_sides
from biocl.objectives.spec import ContrastTerm, Term
from biocl.objectives.terms import acting, encoded_views, key_views, make_views
from biocl.objectives.weight_spec import weight_in_words
from biocl.randomness import integer_seed
from biocl.sampling.composition import composition, spread
from biocl.store.several_labels import describe_labels
from biocl.store.spec import ChannelTarget
from biocl.store.targets import describe_target
from biocl.training.data import embed
from biocl.training.loop import Task, fit, total_steps
from biocl.training.optimisation import resolve_device, resolve_precision
from biocl.views.view import View

TIMED_STEPS = 6
LOOKED_AT = 20


def make_plan(experiment: Experiment, *, device: str = "auto") -> dict[str, Any]:
    """Resolve every ``auto``, describe the batches, and time a few real steps of each kind.

    Parameters
    ----------
    experiment : Experiment
    device : str

    Returns
    -------
    dict
        ``resolved``, ``data``, ``batch``, ``terms``, ``contradictions``, ``pretrain`` and ``evaluate`` with
        ``seconds``, ``memory_gib`` (the largest this process held while it planned).
    """
    cohort = open_cohort(experiment).for_fold(0)
    target = resolve_device(device)
    parts = cohort.parts()
    plan = epoch_plan(experiment.batch, cohort.windows, parts["train"], experiment.seed)
    batches = plan(0)[:LOOKED_AT]
    batch = cohort.windows.batch(batches[0], target)
    rows = cohort.windows.table.rows
    model = build_model(experiment, cohort.windows)
    return {
        "resolved": {
            "device": str(target),
            "threads": torch.get_num_threads(),
            "precision": resolve_precision(experiment.train.precision, target),
            "store": str(cohort.windows.store.path),
        },
        "data": {
            "window": f"{cohort.windows.n_times} samples x {cohort.windows.n_chans} channels",
            "sfreq": cohort.windows.table.sfreq,
            "dropped": dict(cohort.windows.table.dropped),
            **described_target(experiment, cohort),
            **({} if cohort.windows.table.labels is None else {"labels": describe_labels(cohort.windows.table)}),
            "read": described_reading(cohort),
            **described_devices(model, cohort),
            "split": f"{cohort.splits[0].stamp}, {len(cohort.splits)} fold(s)",
            "windows": {name: len(part) for name, part in parts.items()},
            "patients": {name: len(np.unique(rows["patient"][part])) for name, part in parts.items()},
        },
        "batch": {
            **composition(batches, rows["patient"], rows["trial"]),
            **({} if cohort.windows.table.target is None else spread(batches, cohort.windows.table.target)),
        },
        "passes": passes(experiment.terms),
        **describe_terms(experiment, cohort, batch, model),
        "pretrain": (pretraining := time_pretraining(experiment, cohort, parts, target)),
        "evaluate": evaluation_or_reason(experiment, cohort, parts, target, pretraining["seconds"]),
        "memory_gib": round(peak_memory(target), 2),
    }


def passes(terms: Sequence[Term]) -> dict[str, list[str]]:
    """Which views are encoded at every step, and by what."""
    copied = key_views(terms)
    return {
        "views encoded a step": encoded_views(terms),
        **({"by the momentum copy": copied} if copied else {}),
    }


def described_reading(cohort: Cohort) -> str:
    """How windows are scaled and aligned, with what their tables will be marked by."""
    align = cohort.windows.align
    words = [f"input_scale {cohort.windows.scale}"]
    if align is not None:
        words.append(f"{align.kind} alignment, {align.mode}, per {align.per}")
    return "; ".join([*words, *(f"MARKED: {mark}" for mark in cohort.marks)])


def described_target(experiment: Experiment, cohort: Cohort) -> dict[str, str]:
    """What the numbers beside the windows are like."""
    target = experiment.data.target
    if target is None:
        return {}
    if isinstance(target, ChannelTarget):
        return {"target": f"{cohort.windows.target_name}, a number of every time step; it is no input"}
    facts = describe_target(cohort.windows.store, cohort.windows.table, target)
    return {"target": f"{facts.pop('name')}: {number_in_words(facts)}"}


def described_devices(model: Model, cohort: Cohort) -> dict[str, str]:
    """The devices that an encoder reads apart, with their rates and samples."""
    if not isinstance(model.encoder, DeviceEncoder):
        return {}
    words = [
        f"{device.name} {cohort.windows.table.sfreq / device.every:g} Hz x {device.n_times(cohort.windows.n_times)}"
        for device in model.encoder.devices
    ]
    return {"devices": ", ".join(words)}


def describe_terms(experiment: Experiment, cohort: Cohort, batch: Batch, model: Model) -> dict[str, Any]:
    """Every contrastive term with its pairs in a batch, and the pairs on which two of them disagree."""
    terms = [term for term in acting(experiment.terms) if isinstance(term, ContrastTerm)]
    views = make_views(
        batch,
        experiment.views,
        terms,
        hidden_dim=model.hidden_dim,
        generator=torch.Generator(device=batch.x.device),
        seed_of=partial(integer_seed, experiment.seed, "plan"),
        signal=cohort.windows.signal,
    )
    branches, devices = list(model.branch_dims), list(model.device_dims)
    n_steps = model.encoder.n_steps(cohort.windows.n_times)
    return {
        "terms": [
            describe_term(term, batch, [views[name] for name in term.views], model.comparisons(term), n_steps)
            for term in terms
        ],
        "contradictions": [
            f"{share:.0%} of the pairs that {pulling} pulls together, {pushing} pushes apart"
            for pulling, pushing, share in contradictions(terms, batch, branches, views, devices)
        ],
    }


def describe_term(
    term: ContrastTerm, batch: Batch, views: Sequence[View], compared: Sequence[Comparison], n_steps: int
) -> dict[str, Any]:
    """Weight, and how many positives and negatives an anchor has in a batch whose sequences have `n_steps`."""
    found = [pairs_of_sides(term, sides, batch, views)[0] for sides in compared]
    head = {"term": term.title, "criterion": term.criterion.name, "weight": weight_in_words(term.weight)}
    if term.relation == "near-target":
        target = batch.ids.repeated(len(compared[0][0])).target
        assert target is not None
        return {**head, **partners(term.criterion, found[0], target)}
    negatives = mean_count([pairs.negative for pairs in found]) if has_negatives(term.criterion) else 0.0
    match term.relation:
        case _ if isinstance(term.criterion, CroSSL):
            per_anchor = (1.0, negatives)  # the other mask's
        case _ if isinstance(term.criterion, Focal):
            per_anchor = (
                len(compared[0]) / 2,
                negatives,
            )  # other devices, its other view
        case _ if isinstance(term.criterion, AtOnce):
            per_anchor = (float(len(compared[0]) - 1), negatives)
        case "same-time-step":
            per_anchor = (1.0, float(2 * n_steps - 2))
        case "same-sample" if isinstance(term.criterion, InfoNCE):
            # A full queue adds the share of its keys that are negatives in the batch, so far as one batch tells.
            kept = float(term.queue.size) if term.queue is not None else 0.0
            kept *= negatives / max(1, len(batch.label) - 1)
            estranged = float(torch.cat([pairs.estranged for pairs in found]).float().mean())
            per_anchor = (1 - estranged, negatives + kept)
        case "same-sample":
            per_anchor = (1 - float(torch.cat([pairs.estranged for pairs in found]).float().mean()), 2 * negatives)
        case _:
            per_anchor = (mean_count([pairs.positive for pairs in found]), negatives)
    named = dict(zip(("positives", "negatives"), per_anchor, strict=True))
    return {**head, **named}


def mean_count(masks: Sequence[torch.Tensor]) -> float:
    """How many columns a row has on average, over several masks (N, N)."""
    return float(torch.stack([mask.sum(dim=1).float().mean() for mask in masks]).mean())


def time_pretraining(
    experiment: Experiment, cohort: Cohort, parts: dict[str, np.ndarray], device: torch.device
) -> dict[str, float]:
    """Seconds of all steps, from a few real ones."""
    model = build_model(experiment, cohort.windows).to(device)
    plan = epoch_plan(experiment.batch, cohort.windows, parts["train"], experiment.seed)
    task = Task(
        experiment.terms,
        experiment.views,
        plan,
        lambda rows: cohort.windows.batch(rows, device),
        signal=cohort.windows.signal,
    )
    ends: list[float] = []

    def on_step(step: int) -> None:
        synchronise(device)
        ends.append(time.perf_counter())

    spec = experiment.train.model_copy(update={"steps": TIMED_STEPS, "epochs": None, "validate_every": None})
    fit(model, task, spec, seed=experiment.seed, device=device, on_step=on_step)
    step_s = float(np.median(np.diff(ends)))
    n_steps = total_steps(experiment.train, plan)
    return {"steps": n_steps, "step_s": step_s, "seconds": n_steps * step_s}


def evaluation_or_reason(
    experiment: Experiment, cohort: Cohort, parts: dict[str, np.ndarray], device: torch.device, pretraining_s: float
) -> dict[str, Any]:
    """The study's time, or why it could not run: recordings without labels can be pretrained on all the same."""
    if experiment.judged != "classification":
        return time_trainings(experiment, len(cohort.splits), pretraining_s)
    try:
        return time_evaluation(experiment, cohort, parts, device, pretraining_s)
    except BioclError as error:
        return {"not possible": error.paragraph()}


def time_trainings(experiment: Experiment, n_folds: int, pretraining_s: float) -> dict[str, Any]:
    """Seconds of the trainings of a study of forecasts or numbers, if each took as long as this configuration's.

    Fine-tuning, ridges and tables come on top of that.
    """
    n = n_folds * (1 + len(experiment.variants))
    if experiment.judged == "forecasting":
        n *= experiment.evaluate.seeds * max(1, sum(span.run for span in experiment.evaluate.spans or []))
    return {"judged": experiment.judged, "trainings": n, "seconds": n * pretraining_s}


def time_evaluation(
    experiment: Experiment, cohort: Cohort, parts: dict[str, np.ndarray], device: torch.device, pretraining_s: float
) -> dict[str, Any]:
    """Seconds of the study: one cell of each label size and mode is run on an untrained encoder, or a part of it.

    Pretraining is part of it where it is not done before: of every fold if there are several, of every variant, and
    of every subset of devices that needs an encoder of its own.
    """
    n_folds = len(cohort.splits)
    fold = Fold(experiment, cohort, 0, parts, None, device)
    arms = study_arms(experiment, [fold])
    others = [one for one in trained_folds(arms) if one is not fold]
    inside = [time_pretraining(one.experiment, one.cohort.for_fold(0), parts, device)["seconds"] for one in others]
    inside += [pretraining_s] if n_folds > 1 and len(others) < len(trained_folds(arms)) else []
    class_sets = [tuple(names) for names in experiment.evaluate.class_sets or [list(cohort.windows.table.classes)]]
    for classes in class_sets:
        every = [cohort.parts(number) for number in range(len(cohort.splits))]
        check_judged(every, cohort.windows, classes, experiment.evaluate.part)
    model = build_model(experiment, cohort.windows, terms=[]).to(device)
    some = evenly(fold.used, 2048)
    embed_s = seconds(lambda: embed(model, fold.windows, some, device=device)) / len(some)
    heads = {name: own[0].experiment.has_head for (_, name), own in arms.items() if name}
    of_devices = {devices: floor_arms(own[0]) for (devices, name), own in arms.items() if not name}
    planned = list(cells(experiment.evaluate, class_sets, of_devices, n_folds, heads))
    floors = {(cell.devices, cell.arm) for cell in planned if cell.mode == FLOOR_MODE and cell.arm != "majority"}
    floors_s = n_folds * sum(seconds(partial(arms[on, ""][0].features, floor)) for on, floor in sorted(floors))
    timed: dict[tuple[str, str, str], float] = {}
    for cell in planned:
        arm = cell.arm if cell.mode == FLOOR_MODE else UNTRAINED
        key = (cell.labels, cell.mode, arm)
        if key not in timed:
            timed[key] = (
                embed_s * len(fold.judged) + (0 if cell.labels == "all" else pretraining_s)
                if cell.mode == "joint"
                else time_cell(arms[cell.devices, ""][0], Cell(cell.classes, cell.labels, 0, cell.mode, arm), embed_s)
            )
    probed = {(cell.devices, cell.arm) for cell in planned if cell.mode == "linear"}
    embedding = len(probed) * embed_s * len(fold.used) * n_folds
    total = (
        embedding
        + floors_s
        + sum(timed[cell.labels, cell.mode, cell.arm if cell.mode == FLOOR_MODE else UNTRAINED] for cell in planned)
    )
    tables = time_tables(fold, planned, experiment.evaluate.bootstrap_draws)
    return {
        "cells": len(planned),
        "pretraining_s": n_folds * sum(inside),
        "embedding_s": embedding,
        "tables_s": tables,
        "seconds": n_folds * sum(inside) + total + tables,
    }


def time_tables(fold: Fold, planned: list[Cell], n_draws: int) -> float:
    """Seconds of all bootstraps, from one over random predictions: each cell is resampled once."""
    per_task: dict[tuple[str, ...], float] = {}
    for cell in planned:
        if cell.classes not in per_task:
            data = Labelled.make(fold.windows, list(cell.classes))
            test = data.among(fold.judged)
            proba = np.random.default_rng(0).random((len(test), len(cell.classes)))
            per_task[cell.classes] = seconds(
                partial(bootstrap_metrics, data.labels(test), proba, data.patients(test), cell.classes, n_draws=n_draws)
            )
    return sum(per_task[cell.classes] for cell in planned)


def time_cell(fold: Fold, cell: Cell, embed_s: float) -> float:
    """Seconds of one classifier: probes are fitted, of fine-tuning a few steps are."""
    if cell.arm == "majority":
        return 0.0
    data = Labelled.make(fold.windows, list(cell.classes))
    rows, _ = draw_for(fold, data, cell.labels, cell.draw)
    test = data.among(fold.judged)
    if cell.mode in ("linear", FLOOR_MODE):
        features = fold.features(cell.arm)
        fit = partial(linear_probe, fold, data, rows, features, cell.draw, classifier_of(cell.arm))
        return seconds(lambda: fit().predict_proba(features[test]))
    spec = fold.experiment.finetune
    short = spec.model_copy(update={"max_steps": TIMED_STEPS, "validate_every": TIMED_STEPS, "validation_windows": 1})
    shortened = Fold(
        fold.experiment.model_copy(update={"finetune": short}), fold.cohort, 0, fold.parts, None, fold.device
    )
    step_s = seconds(lambda: tuned_model(shortened, data, rows, cell)) / (TIMED_STEPS + 1)
    looks = -(-spec.max_steps // spec.validate_every)
    validated = min(spec.validation_windows, len(fold.parts["validation"]))
    return spec.max_steps * step_s + (looks * validated + len(test)) * embed_s


def seconds(run: Any) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait for a GPU, so that times are times."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> float:
    """GiB: of the GPU where there is one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def print_plan(plan: dict[str, Any], *, as_json: bool) -> None:
    """Print the plan."""
    if as_json:
        print(json.dumps(plan, indent=2))
        return
    for section, content in plan.items():
        if isinstance(content, dict):
            print(f"{section}:")
            for key, value in content.items():
                print(f"  {key}: {shown(key, value)}")
        elif isinstance(content, list):
            print(f"{section}:" + (" none" if not content else ""))
            for item in content:
                text = ", ".join(f"{k} {shown(k, v)}" for k, v in item.items()) if isinstance(item, dict) else item
                print(f"  - {text}")
        else:
            print(f"{section}: {content}")


def shown(key: str, value: Any) -> str:
    """Seconds as minutes, floats with three digits."""
    if key == "seconds":
        return f"{value:.0f} s ({value / 60:.1f} min)"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
