"""What a page shows of a run beyond its tables: its store, predictions held against labels, embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biocl.commands.forecasts import experiment_of, spans_of
from biocl.commands.prepare import check_channels, conditioning_for, given_conditioning, registered_store
from biocl.commands.pretrained import weights_hash
from biocl.commands.results import predictions_by_row, tested_windows
from biocl.commands.run_files import RunFiles, own_scores_of, row_key
from biocl.commands.setup import Cohort, build_model, open_cohort, split_record
from biocl.commands.study import Fold
from biocl.datasets.registry import find_dataset
from biocl.errors import BioclError, DataError
from biocl.evaluation.agreement import device_vectors
from biocl.evaluation.finetuning import evenly, load_encoder
from biocl.evaluation.protocol import ALL, PRETRAINED, UNTRAINED, Cell, title_of
from biocl.experiment import DataSpec, Experiment
from biocl.reports.judged import Judged
from biocl.reports.maps import MOST_POINTS, Embedded
from biocl.reports.privacy import Privacy, shown
from biocl.reports.scores import most_labels
from biocl.splits.spec import FileSplit
from biocl.training.checkpoint import Checkpoint, checkpoints, load_checkpoint
from biocl.training.data import embed

CPU = torch.device("cpu")
MOST_MODES = 3


@dataclass(frozen=True)
class AtHand:
    """The cohort of a run, or the sentence that says why its store cannot be looked at."""

    cohort: Cohort | None
    why: str = ""


def at_hand(files: RunFiles) -> AtHand:
    """Open the store that a run read, if it is here and still the same; a page prepares and downloads nothing."""
    try:
        experiment = first_experiment(files)
        check_there(experiment.data)
        cohort = open_cohort(experiment)
        number = own_fold(files)
        here = split_record(cohort.splits[number], cohort.windows, cohort.parts(number))
    except (BioclError, OSError, ValueError, LookupError) as error:
        return AtHand(None, f"The store cannot be read: {error.what if isinstance(error, BioclError) else error}")
    there = files.splits[0]
    changed = [key for key in ("store_hash", "windows_digest", "digest") if here[key] != there.get(key)]
    if changed or (files.kind == "evaluate" and len(cohort.splits) != n_folds_of(files)):
        return AtHand(None, "The store, its windows or the split are not those of the run any more")
    return AtHand(cohort)


def first_experiment(files: RunFiles) -> Experiment:
    """The experiment, by the run's own copy of its split file if that is gone; of forecasts that of the first span."""
    experiment, own = files.experiment, files.path / "split_file.json"
    if isinstance(experiment.split, FileSplit) and not Path(experiment.split.file).is_file() and own.is_file():
        experiment = experiment.model_copy(update={"split": experiment.split.model_copy(update={"file": str(own)})})
    if files.kind == "evaluate" and files.judged == "forecasting":
        spec = next(spec for spec in spans_of(experiment) if spec.run)
        return experiment_of(experiment, spec, experiment.seed)
    return experiment


def own_fold(files: RunFiles) -> int:
    """The fold that a page looks at: a study's first, else the run's own."""
    return 0 if files.kind == "evaluate" else int(files.splits[0].get("fold", 0))


def n_folds_of(files: RunFiles) -> int:
    """Folds that a study ran; a pretraining and a fine-tuning are about one, whichever the split has."""
    return len(files.splits) // len({fold.get("span") for fold in files.splits}) if files.kind == "evaluate" else 1


def check_there(data: DataSpec) -> None:
    """Refuse what would have to be prepared first.

    Raises
    ------
    DataError
    """
    if data.store is None:
        assert data.dataset is not None
        dataset = find_dataset(data.dataset)
        path = registered_store(dataset, conditioning_for(dataset, given_conditioning(data)))
    else:
        path = Path(data.store)
    if not path.exists():
        raise DataError("it is not on this machine")


def folds_of(files: RunFiles, cohort: Cohort) -> list[Fold]:
    """The folds of a study, without weights."""
    return [Fold(files.experiment, cohort, n, cohort.parts(n), None, CPU) for n in range(len(cohort.splits))]


def main_rows(files: RunFiles) -> list[dict[str, Any]]:
    """The experiment's own rows at the most labels, of the first task, and of all devices where these were read."""
    own = [row for row in files.rows if row["arm"] == PRETRAINED and "not_run" not in row]
    if not own or "devices" not in own[0]:
        return own
    every = [row for row in own if row["devices"] == ["all"]] or own
    first = (every[0]["devices"], every[0]["classes"])
    task = [row for row in every if (row["devices"], row["classes"]) == first]
    return [row for row in task if row["labels"] == most_labels(task)]


def judged_of(files: RunFiles, here: AtHand, privacy: Privacy) -> list[Judged] | str:
    """Predictions of the experiment's own rows with the labels they were judged by, or why there are none."""
    if files.kind == "finetune":
        return judged_once(files, privacy)
    if here.cohort is None:
        return here.why
    folds, found = folds_of(files, here.cohort), []
    for row in main_rows(files)[:MOST_MODES]:
        classes = tuple(row["classes"])
        devices = ALL if row["devices"] == ["all"] else tuple(row["devices"])
        cells = [
            Cell(classes, row["labels"], draw, row["mode"], row["arm"], fold.number, devices)
            for fold in folds
            for draw in range(row["n_draws"])
        ]
        if not all((files.path / "cells" / cell.file / "proba.npy").is_file() for cell in cells):
            return "The predictions (cells/) are not in the run folder any more"
        test = tested_windows(folds, classes)
        [proba] = predictions_by_row(folds, cells, files.path / "cells", {classes: test}).values()
        words = f"{title_of(row['mode'], row['arm'])} ({row['mode']})"
        names = pseudonyms_of(test.patient, privacy)
        found.append(Judged(words, test.y, proba.astype(np.float64), names, tuple(map(shown, classes)), test.share))
    return found or "No row of the experiment itself was judged"


def judged_once(files: RunFiles, privacy: Privacy) -> list[Judged] | str:
    """Windows and probabilities of a fine-tuning, as ``predictions.csv`` has them."""
    lines = [line for line in files.predictions() if line["level"] == "window"]
    if not lines:
        return "The run folder has no predictions of windows"
    classes = [key.removeprefix("p_") for key in lines[0] if key and key.startswith("p_")]
    y = np.array([classes.index(line["label"]) for line in lines])
    proba = np.array([[float(line[f"p_{name}"]) for name in classes] for line in lines])
    names = pseudonyms_of(np.array([line["patient"] for line in lines]), privacy)
    spec = files.experiment.finetune
    return [Judged(f"{spec.mode} fine-tuning, {spec.labels}", y, proba[None], names, tuple(map(shown, classes)))]


def pseudonyms_of(names: np.ndarray, privacy: Privacy) -> np.ndarray:
    """Patients of windows by the names that the page has for them."""
    people, codes = np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)
    return np.array([privacy.patient(str(name)) for name in people], dtype=np.str_)[codes]


def scores_by_patient(files: RunFiles, privacy: Privacy) -> tuple[str, dict[str, dict[str, float]]]:
    """What each patient's own score is, and its values in the experiment's row and in that of the untrained encoder."""
    if files.kind == "finetune":
        own = {
            privacy.patient(line["patient"]): float(line["macro_f1"])
            for line in files.predictions()
            if line["level"] == "patient"
        }
        return "macro-F1", {"fine-tuned": own} if own else {}
    scores, rows = own_scores_of(files), main_rows(files)
    if not rows or not scores:
        return "", {}
    metric = "mae" if files.judged == "regression" else str(rows[0].get("own_metric", "macro_f1"))
    found = {}
    for arm in (PRETRAINED, UNTRAINED):
        own = scores[metric].get(row_key({**rows[0], "arm": arm}), {})
        if own:
            words = f"{title_of(rows[0]['mode'], arm)} ({rows[0]['mode']})"
            found[words] = {privacy.patient(who): value for who, value in own.items()}
    return {"mae": "mean absolute error", "macro_f1": "macro-F1", "accuracy": "accuracy"}[metric], found


def numbers_of_patients(files: RunFiles) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Of each of the experiment's own rows in a regression: its words, true and predicted means of patients."""
    found = []
    for row in main_rows(files)[:MOST_MODES]:
        key = row_key(row)
        own: dict[str, list[tuple[float, float]]] = {}
        for line in files.predictions():
            if (line["devices"], line["target"], line["labels"], line["mode"], line["arm"]) == key:
                own.setdefault(line["patient"], []).append((float(line["mean"]), float(line["mean_predicted"])))
        pairs = np.array([np.mean(values, axis=0) for values in own.values()]).reshape(-1, 2)
        found.append((f"{title_of(row['mode'], row['arm'])} ({row['mode']})", pairs[:, 0], pairs[:, 1]))
    return found


def label_scores(files: RunFiles) -> tuple[np.ndarray, np.ndarray, np.ndarray, str] | None:
    """Of several labels: scores and truth (n_repeats, n) of all known labels, patients (n,), the row's words."""
    rows = main_rows(files)
    if not rows:
        return None
    row, names = rows[0], rows[0]["classes"]
    draws: dict[str, list[tuple[str, float, float]]] = {}
    for line in files.predictions():
        if (line["devices"], line["labels"], line["mode"], line["arm"]) == (*row_key(row)[:1], *row_key(row)[2:]):
            for name in names:
                if float(line[name]) >= 0:
                    one = (line["patient"], float(line[f"{name} predicted"]), float(line[name]))
                    draws.setdefault(line["draw"], []).append(one)
    if not draws:
        return None
    whole = list(draws.values())
    said, came = (np.array([[one[place] for one in of_draw] for of_draw in whole]) for place in (1, 2))
    words = f"{title_of(row['mode'], row['arm'])} ({row['mode']})"
    return said, came, np.array([one[0] for one in whole[0]]), words


def encoder_run(files: RunFiles) -> tuple[Path, str] | None:
    """Where the weights that were judged first are, and their hash; None where they are not here any more."""
    if files.kind == "pretrain":
        return (files.path, "") if checkpoints(files.path / "checkpoints") else None
    plain = [one for one in files.encoders if not one.get("variant")] or files.encoders
    whole = [one for one in plain if one.get("devices", ["all"]) == ["all"]] or plain
    for one in whole[:1]:
        named = Path(one["run"])
        # A run is named as the command named it, from where it was given; it may have moved along with this one.
        inside = [files.path / part for part in (named.name, Path(*named.parts[-2:]))]
        for path in (*inside, files.path.parent / named.name, named):
            if checkpoints(path / "checkpoints"):
                return path, str(one["weights"])
    return None


def logs_of(files: RunFiles) -> dict[str, list[dict[str, Any]]]:
    """Training logs by name: a run's own, else those of the pretrainings that it holds or names."""
    own = files.log()
    if own:
        return {files.name: own}
    inside = sorted(path.parent for path in files.path.rglob("metrics.jsonl"))
    if inside:
        return {str(path.relative_to(files.path)): files.log(path) for path in inside}
    found = encoder_run(files)
    return {found[0].name: files.log(found[0])} if found else {}


def embedded_of(files: RunFiles, here: AtHand, privacy: Privacy) -> Embedded | str:
    """Embeddings of windows that the encoder was not trained on, with what to colour them by, or why there are none.

    A pretraining is shown on its validation patients, since a look at test labels would come before any choice.
    """
    if here.cohort is None:
        return here.why
    found = encoder_run(files)
    if found is None:
        return "The pretrained weights that were judged are not at hand"
    try:
        checkpoint = load_checkpoint(found[0] / "checkpoints")
    except BioclError as error:
        return error.what
    if found[1] and weights_hash(checkpoint.best_weights) != found[1]:
        return "The pretrained weights that were judged are not at hand: those in their place are others"
    try:
        return embed_rows(files, here.cohort, checkpoint, privacy)
    except (BioclError, RuntimeError) as error:
        return error.what if isinstance(error, BioclError) else "The encoder does not read these windows"


def embed_rows(files: RunFiles, cohort: Cohort, checkpoint: Checkpoint, privacy: Privacy) -> Embedded | str:
    """See `embedded_of`."""
    number = own_fold(files)
    experiment = first_experiment(files)
    fold = Fold(experiment, cohort, number, cohort.parts(number), None, CPU)
    fold.take_fitted(checkpoint.fitted)
    windows, parts = fold.windows, fold.parts
    check_channels(checkpoint.state, windows.store, windows.devices)
    part: str = experiment.evaluate.part
    if files.kind == "pretrain":
        part = "validation" if len(parts["validation"]) else "train"
    rows = evenly(parts[part], MOST_POINTS)
    if len(rows) < 3:
        return f"The {part} part has too few windows for a map"
    model = build_model(experiment, windows, terms=[])
    load_encoder(model, checkpoint.best_weights)
    vectors = embed(model, windows, rows, device=CPU).astype(np.float64)
    if not np.isfinite(vectors).all():
        return "The embedding holds numbers that are not finite"
    devices = device_vectors(model, windows, rows, device=CPU)
    groups, absent = colourings(windows.table, rows, privacy)
    if len(devices) < 2:
        many = len({channel.device for channel in windows.channels})
        absent["device"] = (
            "The recordings have one device."
            if many < 2
            else f"This encoder reads the channels of all {many} devices at once, so no dot belongs to one of them."
        )
    folds = f", fold {number + 1} of {len(cohort.splits)}" if len(cohort.splits) > 1 else ""
    words = f"{len(rows)} windows of {patients_in_words(part)}{folds}, whom the encoder was not trained on"
    if part == "train" or cohort.splits[number].scope != "patient":
        words = f"{len(rows)} windows of the {part} part{folds}"
    apart = {shown(name): one.numpy().astype(np.float64) for name, one in devices.items()} if len(devices) > 1 else {}
    by_channel = set(devices) <= {channel.name for channel in windows.channels}
    part_of_it = "channel" if by_channel else "device"
    return Embedded(vectors, groups, absent, apart, words, experiment.seed, part_of_it)


def patients_in_words(part: str) -> str:
    """Whose windows."""
    return "inner validation patients" if part == "validation" else "test patients"


def colourings(table: Any, rows: np.ndarray, privacy: Privacy) -> tuple[dict[str, Sequence[str]], dict[str, str]]:
    """Groups of windows by class (or number, or labels) and patient, and why a colouring is not there."""
    groups: dict[str, Sequence[str]] = {}
    absent: dict[str, str] = {}
    label = table.label[rows]
    if (label >= 0).any():
        names = [*map(shown, table.classes), "without a label"]
        groups["class"] = [names[number] for number in label]
    else:
        absent["class"] = "These windows have no class."
    if table.target is not None:
        groups["number"] = ranges(table.target[rows])
    if table.labels is not None:
        groups["labels"] = [label_set(own, table.label_names) for own in table.labels[rows]]
    people = np.array(table.names["patient"])[table.patient[rows]]
    if len(set(people.tolist())) > 1:
        groups["patient"] = pseudonyms_of(people, privacy).tolist()
    else:
        absent["patient"] = "These windows are of one patient."
    return groups, absent


def ranges(values: np.ndarray) -> list[str]:
    """Fifths of the numbers, by their ends."""
    known = np.isfinite(values)
    if not known.any():
        return ["unknown"] * len(values)
    ends = np.unique(np.quantile(values[known], np.linspace(0, 1, 6)))
    words = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(ends)] or [f"{ends[0]:.4g}"]
    place = np.clip(np.searchsorted(ends, np.where(known, values, ends[0]), side="right") - 1, 0, len(words) - 1)
    return [words[at] if ok else "unknown" for at, ok in zip(place, known, strict=True)]


def label_set(own: np.ndarray, names: Sequence[str]) -> str:
    """``MI + CD``, ``none``: which labels hold."""
    held = [shown(name) for name, value in zip(names, own, strict=True) if value == 1]
    return " + ".join(held) if held else "none known"
