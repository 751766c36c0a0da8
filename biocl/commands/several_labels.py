"""Several labels of a window at once: the cells of such a study and its tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biocl.commands.joint import train_jointly
from biocl.commands.regressions import PARTS
from biocl.commands.results import Row, Tested, compared, predictions_by_row, tested_rows
from biocl.commands.setup import Cohort, build_model
from biocl.commands.study import Fold, classifier_of, floor_arms, load_prediction
from biocl.errors import DataError, UsageError
from biocl.evaluation.finetuning import Labelled, finetune_model
from biocl.evaluation.intervals import pooled_difference
from biocl.evaluation.labels import LabelDraw, draw_labels, parse_labels
from biocl.evaluation.probe import fit_probe
from biocl.evaluation.protocol import FLOOR_MODE, UNTRAINED, Cell, devices_title, title_of
from biocl.evaluation.several_labels import resample_labels
from biocl.evaluation.tables import markdown, with_interval
from biocl.evaluation.values import predict_values
from biocl.experiment import Experiment
from biocl.objectives.head_spec import MultiLabelTerm
from biocl.objectives.weight_spec import acts
from biocl.training.data import Windows
from biocl.training.spec import FinetuneSpec

MACRO = ("macro_auroc", "macro_auprc")
SHARES = "training shares"
LABELS = "labels"
"""Name of the file of a cell's predictions."""


def labels_of(windows: Windows) -> np.ndarray:
    """Which labels hold of all windows, int8 (n, n_labels), -1 where it is unknown.

    Raises
    ------
    UsageError
        The configuration names none.
    """
    if windows.table.labels is None:
        raise UsageError(
            "Several labels are judged, and the windows have none",
            "data.labels",
            "Name them, as in data.labels: [NORM, MI, STTC, CD, HYP]",
        )
    return windows.table.labels


def label_tasks(experiment: Experiment, cohort: Cohort, parts: Sequence[Mapping[str, np.ndarray]]) -> list[Any]:
    """The one task: the labels by their names.

    Raises
    ------
    UsageError
        The configuration names no labels, or tasks of classes, or several folds judge the same windows.
    DataError
        No window that is judged, or learned from, has a known label.
    """
    known = np.any(labels_of(cohort.windows) >= 0, axis=1)
    if experiment.evaluate.class_sets is not None:
        raise UsageError(
            "Labels of which several may hold are no classes", "evaluate.class_sets", "Leave it out, or set task"
        )
    for part in ("train", experiment.evaluate.part):
        if not any(known[one[part]].any() for one in parts):
            raise DataError(
                f"No {part} window has a known label, so nothing can be judged", "split", "Check data.labels and split"
            )
    judged = np.concatenate([one[experiment.evaluate.part] for one in parts])
    if experiment.evaluate.part != "test" and len(np.unique(judged)) < len(judged):
        raise UsageError(
            "Several folds have the same validation windows, and areas under the curves of several labels are not "
            "shared out among them",
            "evaluate.part",
            "Use split: {kind: random}, or part: test",
        )
    return [cohort.windows.table.label_names]


def label_floors(fold: Fold) -> list[str]:
    """The share of each label among the labelled rows, and a probe on each set of features of the modality."""
    return [SHARES, *(name for name in floor_arms(fold) if not name.startswith("majority"))]


def known_among(fold: Fold, rows: np.ndarray) -> np.ndarray:
    """The table rows of which any label is known."""
    return rows[(labels_of(fold.windows)[rows] >= 0).any(axis=1)]


def drawn_rows(fold: Fold, labels: str, draw: int) -> tuple[np.ndarray, LabelDraw]:
    """Training rows of a draw, and what the run folder says of it."""
    train = known_among(fold, fold.parts["train"])
    names = np.array(fold.windows.table.names["patient"])
    drawn = draw_labels(
        parse_labels(labels),
        names[fold.windows.table.patient[train]],
        np.zeros(len(train), np.int64),
        ("known",),
        seed=fold.experiment.seed,
        draw=draw,
    )
    return train[drawn.indices], drawn


def label_draw(fold: Fold, cell: Cell) -> dict[str, Any]:
    """Which patients and windows a draw labelled, for the run folder."""
    _, drawn = drawn_rows(fold, cell.labels, cell.draw)
    return {"classes": list(cell.classes), "fold": cell.fold, "mark": drawn.mark(), **drawn.to_json()}


def predict_labels(fold: Fold, cell: Cell) -> np.ndarray:
    """Scores (n, n_labels) of the windows that a fold judges; what is known of them only chooses which count."""
    rows, _ = drawn_rows(fold, cell.labels, cell.draw)
    test, labels = known_among(fold, fold.judged), labels_of(fold.windows)
    if cell.arm == SHARES:
        return np.tile(shares(labels[rows]), (len(test), 1))
    if cell.mode in ("linear", FLOOR_MODE):
        return probed(fold, cell, rows, test)
    term = label_term(fold.experiment)
    if cell.mode != "joint":
        model = finetune_model(
            lambda terms: build_model(fold.experiment, fold.windows, terms),
            None if cell.arm == UNTRAINED else fold.pretrained,
            fold.windows,
            rows,
            known_among(fold, fold.parts["validation"]),
            FinetuneSpec(**{**fold.experiment.finetune.model_dump(), "mode": cell.mode}),
            seed=fold.experiment.seed + cell.draw,
            device=fold.device,
            term=term,
        )
    else:
        model = build_model(fold.experiment, fold.windows).to(fold.device)
        if cell.labels == "all" and fold.source is None:
            assert fold.pretrained is not None
            model.load_state_dict(fold.pretrained)
        else:
            classes = list(fold.windows.table.classes)
            data = Labelled.make(fold.windows, classes) if classes else fold.windows
            train_jointly(model, fold.experiment, data, fold.parts["train"], rows, device=fold.device)
    return predict_values(model, fold.windows, test, device=fold.device, title=term.title)


def shares(labels: np.ndarray) -> np.ndarray:
    """Of each label the share of known rows (n, n_labels) of which it holds; one half where none is known."""
    known = labels >= 0
    return np.where(known.any(axis=0), (labels == 1).sum(axis=0) / np.maximum(known.sum(axis=0), 1), 0.5)


def probed(fold: Fold, cell: Cell, rows: np.ndarray, test: np.ndarray) -> np.ndarray:
    """What a linear probe of every label on its own says, (n, n_labels); a label without both sides has its share."""
    features, labels = fold.features(cell.arm), labels_of(fold.windows)
    out = np.tile(shares(labels[rows]), (len(test), 1))
    for number in range(labels.shape[1]):
        known = rows[labels[rows, number] >= 0]
        y = labels[known, number].astype(np.int64)
        if len(np.unique(y)) < 2:
            continue
        probe = fit_probe(
            features[known],
            y,
            fold.windows.table.patient[known],
            n_classes=2,
            spec=fold.experiment.evaluate.probe,
            seed=fold.experiment.seed + cell.draw,
            classifier=classifier_of(cell.arm),
        )
        out[:, number] = probe.predict_proba(features[test])[:, 1]
    return out


def label_term(experiment: Experiment) -> MultiLabelTerm:
    """The head that is judged: the first that acts, else the first there is, else a plain one."""
    terms = [term for term in experiment.terms if isinstance(term, MultiLabelTerm)]
    plain = MultiLabelTerm(head="multi-label")
    return next((term for term in terms if acts(term.weight)), terms[0] if terms else plain)


def tested_labels(folds: Sequence[Fold]) -> Tested:
    """The windows that are judged, of which a label is known, in an order that all repeats of the split share."""
    return tested_rows(
        folds, lambda fold: known_among(fold, fold.judged), lambda rows: labels_of(folds[0].windows)[rows]
    )


def tabulate_labels(folds: Sequence[Fold], planned: Sequence[Cell], folder: Path, *, n_draws: int) -> dict[str, Any]:
    """Rows with intervals over patients, and the paired differences that the rows of some devices suggest."""
    test = tested_labels(folds)
    tables: dict[str, Any] = {"rows": [], "differences": []}
    for devices in dict.fromkeys(cell.devices for cell in planned):
        cells = [cell for cell in planned if cell.devices == devices]
        found = predictions_by_row(folds, cells, folder, {cells[0].classes: test}, LABELS)
        for key, lines in tabulate_found(found, test, folds[0].experiment, n_draws).items():
            tables[key] += [{"devices": devices_title(devices), **line} for line in lines]
    return tables


def tabulate_found(
    found: Mapping[Row, np.ndarray], test: Tested, experiment: Experiment, n_draws: int
) -> dict[str, list[dict[str, Any]]]:
    """The rows and differences of predictions (n_draws * n_repeats, n_test, n_labels) by row."""
    n_repeats = len(test.fold)
    resampled = {
        row: resample_labels(test.y, ranked(row[3], said), test.unit, n_draws=n_draws) for row, said in found.items()
    }
    rows = [
        {
            "classes": list(row[0]),
            "labels": row[1],
            "mode": row[2],
            "arm": row[3],
            "title": title_of(row[2], row[3]),
            "n_draws": len(said) // n_repeats,
            "n_repeats": n_repeats,
            "part": experiment.evaluate.part,
            "n_test_patients": len(np.unique(test.patient)),
            "n_test_windows": len(test.y),
            "n_folds": len(np.unique(test.fold)),
            "unit": test.word,
            "metrics": {
                named(name, row[0]): interval.to_json() for name, interval in resampled[row].intervals().items()
            },
        }
        for row, said in found.items()
    ]
    differences = [
        {
            "classes": list(first[0]),
            "labels": first[1],
            "first": f"{title_of(*first[2:])} ({first[2]})",
            "second": f"{title_of(*second[2:])} ({second[2]})",
            **{
                name: one.to_json()
                for name, one in pooled_difference(resampled[first], resampled[second]).items()
                if name.startswith("macro")
            },
        }
        for first, second in compared(list(found), experiment.variants)
    ]
    return {"rows": rows, "differences": differences}


def ranked(arm: str, said: np.ndarray) -> np.ndarray:
    """By what windows are ranked: by nothing where each fold has one score for all.

    Whoever is left out of the training of a fold lowers the shares of the own labels there, so that over several folds
    shares would rank windows by the labels that are to be told, the wrong way around.
    """
    return np.zeros_like(said) if arm == SHARES else said


def named(metric: str, names: Sequence[str]) -> str:
    """``auroc 1`` as ``auroc MI``."""
    word, _, number = metric.partition(" ")
    return f"{word} {names[int(number)]}" if number else metric


def label_lines(folds: Sequence[Fold], planned: Sequence[Cell], folder: Path) -> str:
    """``predictions.csv``: one line per cell and test window."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = folds[0].windows.table.label_names
    head = ["labels", "draw", "fold", "mode", "arm", "patient"]
    writer.writerow([*head, *names, *(f"{name} predicted" for name in names), "devices"])
    for cell in planned:
        test = tested_labels([folds[cell.fold]])
        predicted = load_prediction(folder, cell, LABELS)
        assert predicted is not None
        words = [cell.labels, cell.draw, cell.fold, cell.mode, cell.arm]
        devices = " ".join(devices_title(cell.devices))
        for patient, own, said in zip(test.patient, test.y, predicted, strict=True):
            writer.writerow([*words, patient, *own.tolist(), *(f"{value:.6f}" for value in said), devices])
    return out.getvalue()


def format_labels(rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One table and that of its differences, sorted by the number of labels as the rows name it first."""
    sizes = list(dict.fromkeys(row["labels"] for row in rows))
    names = rows[0]["classes"]
    unit = rows[0]["unit"]
    table = markdown(
        ["labels", "mode", "what", "macro AUROC", "macro AUPRC", *(f"AUROC {name}" for name in names)],
        [
            [
                *(row["labels"], row["mode"], row["title"]),
                *(with_interval(row["metrics"][name]) for name in MACRO),
                *(with_interval(row["metrics"][f"auroc {name}"]) for name in names),
            ]
            for row in sorted(rows, key=lambda row: sizes.index(row["labels"]))
        ],
    )
    differences = markdown(
        ["labels", "first", "second", "macro AUROC", "macro AUPRC"],
        [
            [
                *(pair["labels"], pair["first"], pair["second"]),
                *(with_interval({**pair[name], "value": pair[name]["mean"]}) for name in MACRO),
            ]
            for pair in sorted(pairs, key=lambda pair: sizes.index(pair["labels"]))
        ],
    )
    said = f"differences (first minus second), paired over the same resampled {unit}"
    return [header_of_labels(rows[0]), table, said, differences]


def header_of_labels(row: Mapping[str, Any]) -> str:
    """What stands over a table: the labels, who is tested, what intervals are over."""
    n, unit, part = row["n_test_patients"], row["unit"], PARTS[row["part"]]
    folds = (
        f"; over the windows of all {row['n_folds']} folds together: scores of different models are put side by side, "
        "which lowers areas where a fold leaves out few patients"
        if row["n_folds"] > 1
        else ""
    )
    return (
        f"labels {', '.join(row['classes'])}, {n} {part} patient{'s' * (n != 1)}, {row['n_test_windows']} windows; "
        f"[{row['metrics']['macro_auroc']['level']:.0%} bootstrap interval over {unit}]; areas over windows{folds}"
    )
