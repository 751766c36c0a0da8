"""One loop for pretraining and fine-tuning."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biocl.errors import DataError, Interrupted, UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.memories import Keys
from biocl.objectives.model import Model
from biocl.objectives.spec import Term
from biocl.objectives.terms import make_views, step_loss
from biocl.randomness import integer_seed
from biocl.training.averaging import Weights, start_average, update_average
from biocl.training.checkpoint import Checkpoint, save_checkpoint
from biocl.training.fitted import Fitted
from biocl.training.optimisation import autocast, learning_rate, make_optimiser
from biocl.training.spec import TrainSpec
from biocl.views.signal import SignalInfo
from biocl.views.spec import ViewSpec

EpochPlan = Callable[[int], list[np.ndarray]]
Metrics = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What is learned: the terms, the views they read, and which windows meet.

    Attributes
    ----------
    terms : sequence of terms
    views : mapping of str to list of view steps
    plan : callable
        Epoch number to the batches of that epoch, as arrays of table rows; a pure function, so that
        the place in it is all the state a resume needs.
    load : callable
        Table rows to a `Batch` on the training device.
    class_weights : Tensor, optional
    signal : SignalInfo, optional
        What the channels are, for views that need to know.
    """

    terms: Sequence[Term]
    views: Mapping[str, ViewSpec]
    plan: EpochPlan
    load: Callable[[np.ndarray], Batch]
    class_weights: torch.Tensor | None = None
    signal: SignalInfo | None = None


@dataclass
class Progress:
    """Where training stands; all of it goes into a checkpoint."""

    step: int = 0
    epoch: int = 0
    position: int = 0
    n_averaged: int = 0
    average: Weights = field(default_factory=dict)
    loss_sum: float = 0.0
    loss_count: int = 0


def total_steps(spec: TrainSpec, plan: EpochPlan) -> int:
    """Optimiser steps of the whole training."""
    if spec.steps is not None:
        return spec.steps
    assert spec.epochs is not None
    return math.ceil(spec.epochs * len(plan(0)) / spec.accumulate)


def fit(
    model: Model,
    task: Task,
    spec: TrainSpec,
    *,
    seed: int,
    device: torch.device,
    checkpoints: Path | None = None,
    resume: Checkpoint | None = None,
    sidecar: Mapping[str, Any] | None = None,
    fitted: Fitted | None = None,
    on_log: Callable[[int, Metrics], None] = lambda step, values: None,
    on_step: Callable[[int], None] = lambda step: None,
    validate: Callable[[Weights, int], Metrics] | None = None,
) -> Progress:
    """Train `model` in place.

    Every random draw comes from a stream named by the seed, its purpose and the step, so a resumed run
    draws what the uninterrupted one would have drawn; on a processor, with the same number of threads,
    its losses are bit-equal.

    Parameters
    ----------
    model : Model
        On `device`, its parameters marked as training or frozen.
    task : Task
    spec : TrainSpec
    seed : int
    device : torch.device
    checkpoints : Path, optional
        Folder for checkpoints; none are written without it.
    resume : Checkpoint, optional
        Continue from here.
    sidecar : mapping, optional
        Facts for the checkpoint's JSON (data set, patients' hashes, configuration).
    fitted : Fitted, optional
        Scaler and alignment of the windows, for the checkpoint.
    on_log, on_step : callable
        Called with the step and its metrics every ``spec.log_every`` steps, and after every step.
    validate : callable, optional
        Called with the weights to be judged (the average where there is one) and the step, every
        ``spec.validate_every`` steps and after the last; what it returns is logged.

    Returns
    -------
    Progress
        With the weight average.

    Raises
    ------
    Interrupted
        On SIGINT or SIGTERM, after saving a checkpoint.
    DataError
        The loss is not finite.
    UsageError
        No term reaches a weight that trains.
    """
    model.train()
    optimiser = make_optimiser(model.parameters(), spec)
    n_steps = total_steps(spec, task.plan)
    at = begin(model, spec, optimiser, resume)

    def save() -> None:
        if checkpoints is not None:
            save_checkpoint(
                checkpoints,
                weights=model.state_dict(),
                average=at.average,
                optimiser=optimiser.state_dict(),
                state={**counters(at), **(sidecar or {})},
                fitted=fitted,
            )

    # Seeds are set at every step; forking keeps the caller's own random state as it was.
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), stop_requests() as stop_requested:
        batches = batches_from(task.plan, at)
        while at.step < n_steps:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(spec, at.step, n_steps)
            done = at.step / n_steps
            metrics = train_step(model, task, spec, optimiser, batches, at, seed=seed, device=device, done=done)
            at.step += 1
            at.n_averaged = update_average(
                spec.average, at.average, at.n_averaged, model.state_dict(), at.step, model.FOLLOWING
            )
            if at.step % spec.log_every == 0 or at.step == n_steps:
                mean_loss = at.loss_sum / at.loss_count
                on_log(
                    at.step,
                    {
                        **metrics,
                        "mean_loss": mean_loss,
                        "epoch": at.epoch,
                        "lr": learning_rate(spec, at.step - 1, n_steps),
                    },
                )
                at.loss_sum, at.loss_count = 0.0, 0
            if validate is not None and due(at.step, spec.validate_every, n_steps):
                on_log(at.step, validate(at.average or model.state_dict(), at.step))
            on_step(at.step)
            stopping = bool(stop_requested)
            if stopping or due(at.step, spec.checkpoint_every, n_steps):
                save()
            if stopping and at.step < n_steps:
                saved = "a checkpoint is saved" if checkpoints is not None else "what was finished before is kept"
                raise Interrupted(
                    f"Stopped on request after step {at.step} of {n_steps}; {saved}",
                    checkpoints,
                    "The same command with --resume goes on from there",
                )
    return at


def train_step(
    model: Model,
    task: Task,
    spec: TrainSpec,
    optimiser: torch.optim.Optimizer,
    batches: Iterator[np.ndarray],
    at: Progress,
    *,
    seed: int,
    device: torch.device,
    done: float = 0.0,
) -> Metrics:
    """One optimiser step over ``spec.accumulate`` micro-batches; negatives stay inside a micro-batch."""
    optimiser.zero_grad(set_to_none=True)
    sums: dict[str, float] = {}
    keys: list[dict[str, Keys]] = []
    total = 0.0
    generator = torch.Generator(device=device)
    for micro in range(spec.accumulate):
        batch = task.load(next(batches))
        views = make_views(
            batch,
            task.views,
            task.terms,
            hidden_dim=model.hidden_dim,
            generator=generator,
            seed_of=partial(integer_seed, seed, "views", at.step, micro),
            signal=task.signal,
        )

        def seed_dropout(name: str, micro: int = micro) -> None:
            torch.manual_seed(integer_seed(seed, "dropout", at.step, micro, name))

        with autocast(spec.precision, device):
            loss = step_loss(
                model,
                batch,
                views,
                task.terms,
                class_weights=task.class_weights,
                seed_dropout=seed_dropout,
                signal=task.signal,
                done=done,
            )
        if not loss.total.requires_grad:
            raise UsageError(
                "No term reaches a weight to train: this encoder has none, and nothing stands behind it",
                "encoder",
                "Add a projector or a head to a term, or choose another encoder",
            )
        value = float(loss.total.detach())
        if not math.isfinite(value):
            raise DataError(
                f"The loss is {value} at step {at.step + 1} ({loss.terms})",
                "train",
                "Lower train.lr, set train.clip_norm, or look for extreme values with `biocl data inspect`; "
                "the last checkpoint is untouched",
            )
        (loss.total / spec.accumulate).backward()
        total += value / spec.accumulate
        keys.append(loss.keys)
        for name, number in (loss.terms | loss.counts | loss.weights).items():
            sums[name] = sums.get(name, 0.0) + number / spec.accumulate
    metrics: Metrics = {"loss": total, **sums}
    if spec.clip_norm is not None:
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), spec.clip_norm)
        metrics["grad_norm"] = float(norm)
    optimiser.step()
    model.follow(keys)
    at.loss_sum += total
    at.loss_count += 1
    return metrics


def begin(model: Model, spec: TrainSpec, optimiser: torch.optim.Optimizer, resume: Checkpoint | None) -> Progress:
    """Progress at the start, or where `resume` stopped, with model and optimiser loaded."""
    if resume is None:
        model.start_following()
        average, counted = start_average(spec.average, model.state_dict())
        return Progress(n_averaged=counted, average=average)
    model.load_state_dict(resume.weights)
    # Read on the processor: this moves the moments to the weights and leaves the step counters where they belong.
    optimiser.load_state_dict(resume.optimiser)
    known = {name: resume.state[name] for name in counters(Progress())}
    return Progress(**known, average=resume.average)


def counters(at: Progress) -> dict[str, Any]:
    """The numbers of `at` that a checkpoint's sidecar holds."""
    names = ("step", "epoch", "position", "n_averaged", "loss_sum", "loss_count")
    return {name: getattr(at, name) for name in names}


def batches_from(plan: EpochPlan, at: Progress) -> Iterator[np.ndarray]:
    """Batches from the place `at` on, without end; `at` is moved along."""
    while True:
        batches = plan(at.epoch)
        if not batches:
            raise DataError(
                "An epoch has no batch, so there is nothing to train on",
                "batch",
                "Label more windows, or make batches smaller",
            )
        while at.position < len(batches):
            batch = batches[at.position]
            at.position += 1
            yield batch
        at.epoch, at.position = at.epoch + 1, 0


def due(step: int, every: int | None, last: int) -> bool:
    """Every so many steps, and after the last."""
    return step == last or (every is not None and step % every == 0)


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM, so that a step is finished and saved before stopping."""
    seen: list[int] = []
    previous: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, lambda n, frame: seen.append(n))
    except ValueError:
        pass  # Only the main thread may set handlers; elsewhere the caller stops the process.
    try:
        yield seen
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
