"""One fine-tuning: some labels, one mode, judged once."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from biocl.commands.evaluate import label_marks, protocol_name
from biocl.commands.pretrained import choosing_marks, pretrain_inside, remember_encoders, take_pretrained
from biocl.commands.setup import check_judged, open_cohort, split_record
from biocl.commands.study import Fold, draw_for, linear_probe, tuned_model
from biocl.config import to_yaml
from biocl.errors import UsageError
from biocl.evaluation.finetuning import Labelled, predict
from biocl.evaluation.intervals import bootstrap_mean, bootstrap_metrics, units_to_resample
from biocl.evaluation.metrics import METRICS, metrics_by_level, metrics_by_unit
from biocl.evaluation.probe import Probe
from biocl.evaluation.protocol import PRETRAINED, Cell
from biocl.evaluation.spec import EvaluateSpec
from biocl.evaluation.tables import markdown, with_interval
from biocl.experiment import Experiment
from biocl.files import new_folder, write_json, write_text
from biocl.training.checkpoint import save_fitted, save_tensors
from biocl.training.fitted import Fitted
from biocl.training.optimisation import resolve_device
from biocl.training.run import MetricsLog, start_run


def finetune(
    experiment: Experiment, from_run: Path | None, out: Path, *, device: str = "auto", resume: bool = False
) -> str:
    """Fine-tune as ``finetune:`` says and leave a run folder with the classifier and its predictions.

    Parameters
    ----------
    experiment : Experiment
    from_run : Path, optional
        Run folder of a pretraining; without it see `biocl.commands.evaluate.evaluate`.
    out : Path
        ``classifier/`` holds the fitted model, ``predictions.csv`` one line per test window and per
        test patient, ``labels.json`` which windows were labelled.
    device : str
    resume : bool
        Start again in a folder that an interrupted fine-tuning left.

    Returns
    -------
    str
        A table, ready to print.
    """
    if experiment.judged != "classification":
        raise UsageError(
            f"This configuration is judged by {experiment.judged}, and `biocl finetune` makes classifiers",
            "evaluate.task",
            "Use `biocl evaluate` with evaluate.modes: [partial] or [full], or set evaluate.task: classification",
        )
    cohort = open_cohort(experiment)
    parts = cohort.parts()
    fold = Fold(experiment, cohort, 0, parts, None, resolve_device(device))
    spec = experiment.finetune
    classes = list(cohort.windows.table.classes)
    check_judged([parts], cohort.windows, classes, experiment.evaluate.part)
    rows, drawn = draw_for(fold, Labelled.make(fold.windows, classes), spec.labels, spec.draw)
    take_pretrained(fold, from_run, out.parent, one_fold=True)
    # Nothing is written before all that may be refused has been looked at.
    run = start_run(
        out,
        config=to_yaml(experiment),
        split={"fold": 0, **split_record(cohort.splits[0], cohort.windows, parts)},
        kind="finetune",
        resume=resume,
    )
    if fold.pretrained is None:
        pretrain_inside(fold, run)
    remember_encoders([fold], run)
    data = Labelled.make(fold.windows, classes)  # which are read by the pretraining's scaler and alignment from here on
    part = experiment.evaluate.part
    told = label_marks({"": experiment}, EvaluateSpec(labels=[spec.labels], modes=[spec.mode]))
    marks = [*cohort.splits[0].marks, *cohort.marks, *choosing_marks(part, [spec.mode]), *told, *fold.marks]
    write_json(run / "labels.json", drawn.to_json())
    test = data.among(fold.judged)
    log = MetricsLog(run / "metrics.jsonl", keep_until_step=-1)
    if spec.mode == "linear":
        features = fold.features(PRETRAINED)
        probe = linear_probe(fold, data, rows, features, spec.draw)
        proba = probe.predict_proba(features[test])
        save_linear(run / "classifier", probe, fold.windows.known)
    else:
        cell = Cell(data.classes, spec.labels, spec.draw, spec.mode, PRETRAINED)
        model = tuned_model(fold, data, rows, cell, on_log=log.write)
        proba = predict(model, data, test, device=fold.device)
        save_tuned(run / "classifier", model.state_dict(), fold.windows.known)
    # The classifier is chosen and saved; only now are predictions held against labels.
    return judge(run, experiment, fold, data, test, proba, [*marks, *([drawn.mark()] if drawn.mark() else [])])


def save_linear(folder: Path, probe: Probe, fitted: Fitted) -> None:
    """Scaler and logistic regression as arrays (see `biocl.evaluation.probe.Probe.arrays`); how windows are read."""
    if folder.exists():
        return
    with new_folder(folder) as partial:
        save_fitted(partial, fitted)
        np.savez(partial / "probe.npz", **probe.arrays())  # type: ignore[arg-type]
        write_json(partial / "probe.json", {"c": probe.c, "chosen": probe.chosen, "n_classes": probe.n_classes})


def save_tuned(folder: Path, weights: dict[str, Any], fitted: Fitted) -> None:
    """Weights of encoder and head, and how windows are read."""
    if folder.exists():
        return
    with new_folder(folder) as partial:
        save_fitted(partial, fitted)
        save_tensors(partial / "model.safetensors", weights)


def judge(
    run: Path,
    experiment: Experiment,
    fold: Fold,
    data: Labelled,
    test: np.ndarray,
    proba: np.ndarray,
    marks: list[str],
) -> str:
    """Metrics with intervals over patients (see `units_to_resample`), predictions per window and patient, the table."""
    table, part = fold.windows.table, experiment.evaluate.part
    y = data.labels(test)
    patients = np.array(table.names["patient"])[table.rows["patient"][test]]
    own = metrics_by_unit(y, proba, patients, data.classes)
    n_draws = experiment.evaluate.bootstrap_draws
    word, units = units_to_resample(fold.cohort.splits[fold.number].scope, patients, table.rows["trial"][test])
    over_windows = bootstrap_metrics(y, proba, units, data.classes, n_draws=n_draws)
    scored = own if word == "patients" else metrics_by_unit(y, proba, units, data.classes)
    per_patient = {name: bootstrap_mean([row[name] for row in scored.values()], n_draws=n_draws) for name in METRICS}
    write_text(run / "predictions.csv", prediction_lines(fold, data, test, proba, y, patients, own))
    results = {
        "protocol": protocol_name(experiment, fold.cohort, fold.number),
        "part": part,
        "marks": marks,
        "labels": experiment.finetune.labels,
        "mode": experiment.finetune.mode,
        "n_test_patients": len(own),
        "unit": word,
        "n_test_windows": len(test),
        "over_windows": {name: interval.to_json() for name, interval in over_windows.items()},
        "per_patient": {name: interval.to_json() for name, interval in per_patient.items()},
        "levels": metrics_by_level(y, proba, patients, table.rows["trial"][test], data.classes),
    }
    write_json(run / "results.json", results)
    text = "\n\n".join(format_finetuning(results))
    write_text(run / "tables.md", text)
    return f"{text}\n\nrun folder: {run}"


def format_finetuning(results: Mapping[str, Any]) -> list[str]:
    """What is printed of a fine-tuning: protocol, marks, who was judged, the table."""
    word = results["unit"]
    return [
        f"protocol: {results['protocol']}",
        *(f"MARKED: {mark}" for mark in results["marks"]),
        f"{results['mode']} fine-tuning with {results['labels']} labelled; {results['n_test_patients']} "
        f"{results['part']} patients, {results['n_test_windows']} windows; [bootstrap interval over {word}]",
        markdown(
            ["metric", "over windows", f"mean over {word}"],
            [
                [name, with_interval(results["over_windows"][name]), with_interval(results["per_patient"][name])]
                for name in METRICS
            ],
        ),
    ]


def prediction_lines(
    fold: Fold,
    data: Labelled,
    test: np.ndarray,
    proba: np.ndarray,
    y: np.ndarray,
    patients: np.ndarray,
    own: dict[Any, dict[str, float]],
) -> str:
    """``predictions.csv``: level window, then level patient (mean probability over the patient's windows)."""
    table = fold.windows.table
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            "level",
            "patient",
            "recording",
            "start_s",
            "label",
            "predicted",
            *(f"p_{name}" for name in data.classes),
            "macro_f1",
        ]
    )
    recordings = np.array(table.names["recording"])[table.rows["recording"][test]]
    starts = table.rows["start"][test] / table.sfreq
    for i, best in enumerate(proba.argmax(axis=1)):
        writer.writerow(
            ["window", patients[i], recordings[i], f"{starts[i]:.4f}", data.classes[y[i]], data.classes[best]]
            + [f"{value:.6f}" for value in proba[i]]
            + [""]
        )
    for patient, scores in own.items():
        mine = patients == patient
        mean = proba[mine].mean(axis=0)
        labels = np.unique(y[mine])
        label = data.classes[labels[0]] if len(labels) == 1 else ""
        writer.writerow(
            ["patient", patient, "", "", label, data.classes[int(mean.argmax())]]
            + [f"{value:.6f}" for value in mean]
            + [f"{scores['macro_f1']:.6f}"]
        )
    return out.getvalue()
