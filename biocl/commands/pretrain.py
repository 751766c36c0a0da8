"""Pretrain an encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biocl.commands.joint import class_weights
from biocl.commands.setup import Cohort, build_model, epoch_plan, open_cohort, split_record
from biocl.config import to_yaml
from biocl.errors import DataError
from biocl.evaluation.finetuning import evenly, fit_heads_on
from biocl.evaluation.values import ValueTerm, value_errors, wearing
from biocl.experiment import Experiment
from biocl.files import write_json
from biocl.objectives.alignment import alignment
from biocl.objectives.batch import Batch
from biocl.objectives.model import Model
from biocl.objectives.spec import ContrastTerm
from biocl.objectives.terms import acting, make_views
from biocl.randomness import integer_seed
from biocl.splits.file import write_splits
from biocl.training.averaging import Weights
from biocl.training.checkpoint import digests_of, load_checkpoint, patient_hashes
from biocl.training.loop import Metrics, Task, fit, total_steps
from biocl.training.optimisation import resolve_device
from biocl.training.run import MetricsLog, progress, start_run

VALIDATION_BATCHES = 4


def pretrain(
    experiment: Experiment,
    out: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    fold: int = 0,
    cohort: Cohort | None = None,
    show_progress: bool = True,
) -> Path:
    """Pretrain on the training patients of one fold and leave a run folder.

    Parameters
    ----------
    experiment : Experiment
    out : Path
        The run folder; refused if it exists, unless `resume`.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    resume : bool
        Continue from the newest checkpoint; the result is that of an uninterrupted run.
    fold : int
        Which fold of the split.
    cohort : Cohort, optional
        Opened before.
    show_progress : bool
        Say on the error stream how far it is.

    Returns
    -------
    Path
        `out`, holding ``checkpoints/`` with the final weights and their average.

    Raises
    ------
    UsageError, DataError, LeakageError, Interrupted
        See the exit codes in the README.
    """
    cohort = (cohort or open_cohort(experiment)).for_fold(fold)
    split, parts = cohort.splits[fold], cohort.parts(fold)
    if len(parts["train"]) == 0:
        raise DataError("The training part has no windows", "split", "Check the patients in the split file")
    target = resolve_device(device)
    checkpoint_folder = out / "checkpoints"
    checkpoint = None
    if resume and any(checkpoint_folder.glob("step-*")):
        checkpoint = load_checkpoint(checkpoint_folder, target)
        cohort = cohort.for_fold(fold, checkpoint.fitted)
    windows = cohort.windows
    fitted = windows.known
    model = build_model(experiment, windows).to(target)
    fit_heads_on(model, windows, parts["train"])
    if experiment.train.compile:
        model.encoder.compile()
    plan = epoch_plan(experiment.batch, windows, parts["train"], experiment.seed)
    n_steps = total_steps(experiment.train, plan)
    # Nothing is written before all that may be refused has been looked at.
    run = start_run(
        out,
        config=to_yaml(experiment),
        split={"fold": fold, **split_record(split, windows, parts)},
        kind="pretrain",
        resume=resume,
    )

    write_splits(cohort.splits, run / "split_file.json")

    def load(indices: np.ndarray) -> Batch:
        return windows.batch(indices, target)

    labels = windows.table.rows["label"][parts["train"]]
    weights = class_weights(experiment, labels, len(windows.table.classes), target)
    task = Task(experiment.terms, experiment.views, plan, load, weights, windows.signal)
    log = MetricsLog(run / "metrics.jsonl", keep_until_step=checkpoint.state["step"] if checkpoint else -1)
    if checkpoint is None:
        log.write(0, {"initial_state": digests_of(model.state_dict())})
    trained_on = split_record(split, windows, parts)["patients"]["train"]
    with progress("pretrain", n_steps, shown=show_progress) as advance:
        if checkpoint:
            advance(checkpoint.state["step"])
        last: dict[str, str] = {"note": ""}

        def on_log(step: int, values: Metrics) -> None:
            log.write(step, values)
            if "mean_loss" in values:
                last["note"] = f"loss {values['mean_loss']:.4f}"

        at = fit(
            model,
            task,
            experiment.train,
            seed=experiment.seed,
            device=target,
            checkpoints=checkpoint_folder,
            resume=checkpoint,
            sidecar={
                "encoder": experiment.encoder.model_dump(mode="json"),
                "n_chans": windows.n_chans,
                "n_times": windows.n_times,
                "sfreq": windows.table.sfreq,
                "channels": [channel.name for channel in windows.channels],
                "channel_facts": [asdict(channel) for channel in windows.channels],
                "classes": list(windows.table.classes),
                "trains_head": experiment.has_head,
                "input_scale": windows.scale,
                "align": windows.align.model_dump() if windows.align else None,
                "dataset": windows.store.meta["dataset"],
                "patients": patient_hashes(windows.store.meta["dataset"], windows.store.meta["version"], trained_on),
                "pretraining_digest": experiment.pretraining_digest,
            },
            fitted=fitted,
            on_log=on_log,
            on_step=lambda step: advance(1, last["note"]),
            validate=validation(experiment, cohort, parts, target, model),
        )
    write_json(
        run / "results.json",
        {"steps": at.step, "epochs": at.epoch + (at.position > 0), "split": split.name, "scope": split.scope},
    )
    return run


def validation(
    experiment: Experiment, cohort: Cohort, parts: dict[str, np.ndarray], device: torch.device, model: Model
) -> Callable[[Weights, int], Metrics] | None:
    """A look at the validation patients.

    The alignment of contrastive terms, on fixed batches and views, and the errors of forecasts, numbers and labels, on
    evenly spaced windows.
    """
    terms = [term for term in acting(experiment.terms) if isinstance(term, ContrastTerm)]
    valued = [term for term in acting(experiment.terms) if isinstance(term, ValueTerm)]
    if len(parts["validation"]) == 0 or not (terms or valued):
        return None
    rows = evenly(parts["validation"], experiment.finetune.validation_windows)
    plan = epoch_plan(experiment.batch, cohort.windows, parts["validation"], experiment.seed)
    batches = plan(0)[:VALIDATION_BATCHES] if terms else []

    @torch.no_grad()
    def look(weights: Weights, step: int) -> Metrics:
        values: dict[str, list[tuple[float, float]]] = {term.title: [] for term in terms}
        errors: dict[str, dict[str, float]] = {}
        with wearing(model, weights):
            for number, indices in enumerate(batches):
                batch = cohort.windows.batch(indices, device)
                views = make_views(
                    batch,
                    experiment.views,
                    terms,
                    hidden_dim=model.hidden_dim,
                    generator=torch.Generator(device=device),
                    seed_of=partial(integer_seed, experiment.seed, "validation", number),
                    signal=cohort.windows.signal,
                )
                latents = {name: model.latents(model.trunk(view), view) for name, view in views.items()}
                for term in terms:
                    values[term.title].append(
                        alignment(
                            term,
                            [latents[name] for name in term.views],
                            batch,
                            model.projector_of(term),
                            [views[name] for name in term.views],
                        )
                    )
            for title in (term.title for term in valued):
                errors[title] = value_errors(model, cohort.windows, rows, device=device, title=title)
        alignments = {
            f"validation/{name}/{sign}": mean(pairs, i)
            for name, pairs in values.items()
            for i, sign in enumerate(("positive", "negative"))
        }
        return alignments | {
            f"validation/{name}/{kind}": None if error != error else error
            for name, own in errors.items()
            for kind, error in own.items()
        }

    return look


def mean(pairs: list[tuple[float, float]], which: int) -> float | None:
    """Mean over batches of one side, None where there was no such pair."""
    numbers = [pair[which] for pair in pairs if pair[which] == pair[which]]
    return sum(numbers) / len(numbers) if numbers else None


def summary(run: Path, log: list[dict[str, Any]]) -> str:
    """One line on how pretraining ended."""
    losses = [line["mean_loss"] for line in log if "mean_loss" in line]
    return f"pretrained: loss {losses[0]:.4f} -> {losses[-1]:.4f}; run folder {run}" if losses else f"run folder {run}"
