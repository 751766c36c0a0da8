"""The cells of a study: features of every arm, one classifier a cell, predictions on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biocl.commands.joint import train_jointly
from biocl.commands.setup import Cohort, build_model
from biocl.evaluation.finetuning import Labelled, finetune_model, load_encoder, predict
from biocl.evaluation.floors import FloorArm, floor_rows, floors_for, majority_proba
from biocl.evaluation.floors import Windows as FloorWindows
from biocl.evaluation.labels import LabelDraw, draw_labels, parse_labels
from biocl.evaluation.probe import Classifier, Probe, fit_probe
from biocl.evaluation.protocol import ALL, FLOOR_MODE, UNTRAINED, Cell, Devices
from biocl.experiment import Experiment
from biocl.files import new_folder, write_array
from biocl.objectives.model import Model
from biocl.training.averaging import Weights
from biocl.training.data import Windows, embed
from biocl.training.fitted import Fitted
from biocl.training.spec import FinetuneSpec, InputScale


@dataclass
class Fold:
    """One fold of a study: its rows, its pretrained weights and what is known of them, the features made so far.

    `variant` is the name of the variant whose keys `experiment` has, empty for the experiment itself; `devices` are
    those that windows are restricted to beyond the experiment's; `source` is the fold whose encoder is judged, where it
    is not one of its own.
    """

    experiment: Experiment
    cohort: Cohort
    number: int
    parts: dict[str, np.ndarray]
    pretrained: Weights | None
    device: torch.device
    known: dict[str, np.ndarray] = field(default_factory=dict)
    scaled: dict[InputScale, FloorWindows] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)
    fitted: Fitted | None = None
    variant: str = ""
    devices: Devices = ALL
    source: Fold | None = None

    @cached_property
    def windows(self) -> Windows:
        """The cohort's windows as this fold reads them: by the pretraining's scaler and alignment, where known."""
        return self.cohort.for_fold(self.number, self.fitted).windows

    def take_fitted(self, fitted: Fitted) -> None:
        """Read windows as the pretrained encoder did, for every arm: the untrained one and the floors too."""
        if self.cohort.windows.needs_fit:
            self.fitted = fitted
            self.forget()

    @property
    def used(self) -> np.ndarray:
        """Table rows whose features a probe may need."""
        return np.sort(np.concatenate([self.parts["train"], self.judged]))

    @property
    def judged(self) -> np.ndarray:
        """Table rows of those who are judged: test patients, or validation patients (``evaluate.part``)."""
        return self.parts[self.experiment.evaluate.part]

    @cached_property
    def seen_by_floors(self) -> FloorWindows:
        """The same windows, scaled the same, for the floors."""
        return self.for_floors(self.windows)

    def scaled_for_floors(self, scale: InputScale | None) -> FloorWindows:
        """Windows for the floors in another scaling, not aligned; those of the latest one are kept."""
        if scale is None:
            return self.seen_by_floors
        if scale not in self.scaled:
            other = replace(self.windows, scale=scale, align=None, train=self.parts["train"], fitted=None)
            self.scaled = {scale: self.for_floors(other)}
        return self.scaled[scale]

    def for_floors(self, windows: Windows) -> FloorWindows:
        """What floors look at, read as `windows` says."""
        table = windows.table
        return FloorWindows(
            x=windows.arrays(self.used),
            sfreq=table.sfreq,
            recording=table.rows["recording"][self.used],
            event_s=self.cohort.event_s,
            rr=table.aux[self.used] if table.aux_names else None,
        )

    def forget(self) -> None:
        """Drop features and windows: what is needed again is made again."""
        self.known.clear()
        self.scaled.clear()
        for made in ("seen_by_floors", "windows"):
            self.__dict__.pop(made, None)

    def features(self, arm: str) -> np.ndarray:
        """Probe features (n_table, n_features) of an arm, NaN for rows that are not `used`; kept."""
        if arm not in self.known:
            self.known[arm] = arm_features(self, arm)
        return self.known[arm]


def arm_features(fold: Fold, arm: str) -> np.ndarray:
    """Embeddings joined with the auxiliary inputs, or a floor's features; scaled as the protocol says."""
    windows, rows = fold.windows, fold.used
    floor = FloorArm.parse(arm)
    how = fold.experiment.evaluate.per_recording
    if floor is None:
        model = encoder_of(fold, arm)
        values = np.hstack([embed(model, windows, rows, device=fold.device), windows.table.aux[rows]])
    else:
        train = np.isin(rows, fold.parts["train"])
        values = floor.floor.compute(fold.scaled_for_floors(floor.scale), train, fold.experiment.seed)
    if how != "none" and (floor is None or floor.per_recording):
        values = relative_to_recording(values, windows.table.rows["recording"][rows], how)
    out = np.full((len(windows), values.shape[1]), np.nan, dtype=np.float32)
    out[rows] = values
    return out


def floor_arms(fold: Fold) -> list[str]:
    """Floors of the modality, of each input scale that is asked for; per recording too where the embedding is."""
    floors = floors_for(fold.windows.store.meta["modality"], fold.seen_by_floors)
    fold.forget()
    spec = fold.experiment.evaluate
    return [row.name for row in floor_rows(floors, spec.floor_scales, per_recording=spec.per_recording != "none")]


def relative_to_recording(values: np.ndarray, recording: np.ndarray, how: str) -> np.ndarray:
    """Features (n, n_features) as differences from the median over their recording's windows.

    The median is that of the usual beat, which rare ones hardly move, so a difference says how unusual a
    window is for its patient; ``deviation`` joins the absolute difference, since unusual in either direction
    may mean the same.
    """
    out = np.empty_like(values, dtype=np.float32)
    for one in np.unique(recording):
        mine = recording == one
        out[mine] = values[mine] - np.median(values[mine], axis=0)
    return np.hstack([out, np.abs(out)]) if how == "deviation" else out


def encoder_of(fold: Fold, arm: str) -> Model:
    """The pretrained encoder, or the same encoder with its initial weights."""
    model = build_model(fold.experiment, fold.windows, terms=[])
    if arm != UNTRAINED:
        assert fold.pretrained is not None
        load_encoder(model, fold.pretrained)
    return model.to(fold.device)


def draw_for(fold: Fold, data: Labelled, labels: str, draw: int) -> tuple[np.ndarray, LabelDraw]:
    """Labelled training rows of a draw, and what the run folder says of it."""
    train = data.among(fold.parts["train"])
    names = np.array(fold.windows.table.names["patient"])
    drawn = draw_labels(
        parse_labels(labels),
        names[data.patients(train)],
        data.labels(train),
        data.classes,
        seed=fold.experiment.seed,
        draw=draw,
        lacking_class=fold.experiment.evaluate.lacking_class,
    )
    return train[drawn.indices], drawn


def predict_cell(fold: Fold, cell: Cell) -> np.ndarray:
    """Class probabilities of the windows that a fold judges, whose labels only choose those that belong to the task."""
    data = Labelled.make(fold.windows, list(cell.classes))
    rows, _ = draw_for(fold, data, cell.labels, cell.draw)
    test = data.among(fold.judged)
    if len(test) == 0:
        return np.empty((0, len(data.classes)))
    if cell.arm == "majority":
        return majority_proba(data.labels(rows), len(test), len(data.classes))
    if cell.mode in ("linear", FLOOR_MODE):
        features = fold.features(cell.arm)
        probe = linear_probe(fold, data, rows, features, cell.draw, classifier_of(cell.arm))
        return probe.predict_proba(features[test])
    model = joint_model(fold, data, rows, cell) if cell.mode == "joint" else tuned_model(fold, data, rows, cell)
    return predict(model, data, test, device=fold.device)


def classifier_of(arm: str) -> Classifier:
    """What reads an arm's features."""
    floor = FloorArm.parse(arm)
    return "logistic" if floor is None else floor.floor.classifier


def linear_probe(
    fold: Fold,
    data: Labelled,
    rows: np.ndarray,
    features: np.ndarray,
    draw: int,
    classifier: Classifier = "logistic",
) -> Probe:
    """The probe of some labelled rows; its regularisation comes from patient-wise inner folds of these rows."""
    return fit_probe(
        features[rows],
        data.labels(rows),
        data.patients(rows),
        n_classes=len(data.classes),
        spec=fold.experiment.evaluate.probe,
        seed=fold.experiment.seed + draw,
        classifier=classifier,
    )


def joint_model(fold: Fold, data: Labelled, rows: np.ndarray, cell: Cell) -> Model:
    """Encoder and head as they were trained together, by the labels of `rows` alone.

    Where these are all there are, that is what pretraining on the same devices left.
    """
    model = build_model(fold.experiment, fold.windows, n_outputs=len(data.classes)).to(fold.device)
    everything = cell.labels == "all" and data.classes == tuple(fold.windows.table.classes)
    if everything and fold.source is None:
        assert fold.pretrained is not None
        model.load_state_dict(fold.pretrained)
    else:
        train_jointly(model, fold.experiment, data, fold.parts["train"], rows, device=fold.device)
    return model.eval()


def tuned_model(
    fold: Fold,
    data: Labelled,
    rows: np.ndarray,
    cell: Cell,
    on_log: Callable[[int, Any], None] = lambda step, values: None,
) -> Model:
    """Partial or full fine-tuning of the arm's encoder on labelled rows."""
    spec = FinetuneSpec(**{**fold.experiment.finetune.model_dump(), "mode": cell.mode})

    def build(terms: list[Any]) -> Model:
        return build_model(fold.experiment, fold.windows, terms, n_outputs=len(data.classes))

    return finetune_model(
        build,
        fold.pretrained if cell.arm != UNTRAINED else None,
        data,
        rows,
        data.among(fold.parts["validation"]),
        spec,
        seed=fold.experiment.seed + cell.draw,
        device=fold.device,
        on_log=on_log,
    )


def save_prediction(folder: Path, cell: Cell, predicted: np.ndarray, name: str = "proba") -> None:
    """Keep a cell's predictions (n_test, …), one row a test window; a file that exists is complete."""
    final = folder / cell.file
    with new_folder(final) as partial:
        write_array(partial / f"{name}.npy", predicted.astype(np.float32))


def load_prediction(folder: Path, cell: Cell, name: str = "proba", *, lazily: bool = False) -> np.ndarray | None:
    """A cell's predictions, None if it was not computed yet; `lazily` leaves them on disk until they are read."""
    path = folder / cell.file / f"{name}.npy"
    return np.load(path, mmap_mode="r" if lazily else None) if path.is_file() else None
