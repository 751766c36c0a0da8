"""What every verb that computes needs first: store, windows, split and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from biocl.commands.prepare import open_store, window_table, windows_spec
from biocl.encoders.build import steps_between
from biocl.encoders.spec import DevicesSpec
from biocl.errors import DataError, UsageError
from biocl.evaluation.spec import Judged
from biocl.experiment import DataSpec, Experiment
from biocl.objectives.model import Model
from biocl.objectives.spec import Term
from biocl.objectives.terms import needed_views
from biocl.randomness import integer_seed
from biocl.sampling.composition import epoch_batches
from biocl.sampling.spec import BatchSpec
from biocl.splits.make import assign, make_splits
from biocl.splits.split import Split
from biocl.store.missing import check_missing, taken_away
from biocl.store.spec import ChannelTarget, EventWindows, MissingSpec
from biocl.store.targets import target_column
from biocl.training.data import Windows, known_devices
from biocl.training.fitted import Fitted
from biocl.training.loop import EpochPlan
from biocl.views.requirements import check_views

INNER = "inner validation patients: for choosing, not for reporting"


@dataclass(frozen=True)
class Cohort:
    """Windows and the splits of a configuration.

    `event_s` is where the event stands in an event window; `part` is the part of a split that is judged; `missing`
    are the devices that are taken away from some windows, drawn by `seed`.

    Raises
    ------
    UsageError
        There is no such device or class to be taken away.
    """

    windows: Windows
    splits: list[Split]
    event_s: float | None = None
    part: Judged = "test"
    missing: tuple[MissingSpec, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check_missing(self.missing, self.windows.table, self.windows.store.channels)

    def parts(self, fold: int = 0) -> dict[str, np.ndarray]:
        """Table rows of train, validation and test; there is no test where validation patients are judged."""
        rows = assign(self.splits[fold], self.windows.table)
        return {name: mine for name, mine in rows.items() if name != "test" or self.part == "test"}

    @property
    def marks(self) -> tuple[str, ...]:
        """What every table of results has to say of how windows are read, and of who is judged."""
        inner = (INNER,) if self.part == "validation" else ()
        return (*self.windows.marks, *(rule.said for rule in self.missing), *inner)

    def for_fold(self, fold: int, fitted: Fitted | None = None) -> Cohort:
        """The cohort whose windows are read as one fold reads them.

        Whose windows lack a device depends on the fold's parts. What is fitted across recordings (scaler, alignment) is
        `fitted` where it is given, and is otherwise fitted on the fold's training windows when it is first needed.
        Where there is neither, this is the cohort itself.
        """
        windows = self.windows
        if not windows.needs_fit and not self.missing:
            return self
        parts = self.parts(fold)
        if self.missing:
            gone = taken_away(self.missing, windows.table, windows.store.channels, parts, self.seed)
            windows = replace(windows, missing=gone)
        if windows.needs_fit:
            windows = replace(windows, train=parts["train"], fitted=fitted)
        return replace(self, windows=windows)


def open_cohort(experiment: Experiment) -> Cohort:
    """Open the store, derive the windows, make the splits."""
    store = open_store(experiment.data)
    cut = windows_spec(store, experiment.data)
    table = window_table(store, experiment.data)
    data = experiment.data
    devices = chosen_devices(data)
    windows = Windows(
        store,
        table,
        data.input_scale,
        data.align,
        devices=devices,
        normalise=data.normalise,
        target_column=target_column(store, data.target) if isinstance(data.target, ChannelTarget) else None,
    )
    check_signal(experiment, windows)
    known = bool(store.meta.get("patients_known", True))
    splits = make_splits(experiment.split, table, store.splits, patients_known=known)
    event_s = cut.before_s if isinstance(cut, EventWindows) else None
    return Cohort(windows, splits, event_s, experiment.evaluate.part, tuple(data.missing), experiment.seed)


def chosen_devices(data: DataSpec) -> tuple[str, ...] | None:
    """The devices that a configuration is restricted to; None for all."""
    return None if data.devices is None else tuple(data.devices)


def check_judged(
    parts: Sequence[Mapping[str, np.ndarray]], windows: Windows, classes: Sequence[str], part: str
) -> None:
    """A study needs windows of its task, in at least one fold, in the part that is judged.

    Raises
    ------
    DataError
        There is nothing to be judged on.
    """
    names = windows.table.names["label"]
    wanted = [number for number, name in enumerate(names) if name in classes]
    if part == "validation" and not any(len(one[part]) for one in parts):
        raise DataError(
            "The split has no validation patients, and evaluate.part: validation judges on nobody else",
            "split",
            "Set split.validation (or the second of split.fractions, or validation in the split file) above 0",
        )
    if not any(np.isin(windows.table.rows["label"][one[part]], wanted).any() for one in parts):
        raise DataError(
            f"The {part} part has no window of {', '.join(classes) or 'any class'}, so nothing can be judged",
            "split",
            f"List {part} patients with such windows in the split file, or check data.classes",
        )


def check_repeats(parts: Sequence[Mapping[str, np.ndarray]], splits: Sequence[Split]) -> None:
    """All draws of a repeated split test the same windows, so that their scores can be averaged.

    Where validation patients are judged, every fold's count for themselves (see `biocl.commands.results.Tested`).

    Raises
    ------
    UsageError
        A split file says otherwise.
    """
    tested: dict[int, list[np.ndarray]] = {}
    for one, split in zip(parts, splits, strict=True):
        if "test" in one:
            tested.setdefault(split.repeat, []).append(one["test"])
    rows = {repeat: np.sort(np.concatenate(several)) for repeat, several in tested.items()}
    first = min(rows, default=0)
    for repeat, mine in rows.items():
        if not np.array_equal(mine, rows[first]):
            raise UsageError(
                f"Repeat {repeat} of the split tests other windows than repeat {first}, so their scores have no mean",
                f"split {splits[0].name}",
                "Give the folds of every repeat the same test patients or trials between them, or leave 'repeat' out",
            )


def check_signal(experiment: Experiment, windows: Windows) -> None:
    """Refuse what the signal does not allow: rates of devices, views that acting terms read, the view of fine-tuning.

    Raises
    ------
    UsageError
    """
    if isinstance(experiment.encoder, DevicesSpec):
        known_devices(experiment.encoder.rates, windows.store.channels, "encoder.rates")
        steps_between(experiment.encoder.rates, windows.table.sfreq)
    read = {name: experiment.views[name] for name in needed_views(experiment.terms)}
    check_views(read, windows.signal)
    # Mode joint trains anew for a task of other classes, by the same views.
    for classes in (experiment.evaluate.class_sets or []) if "joint" in experiment.evaluate.modes else []:
        check_views(read, replace(windows.signal, classes=tuple(classes)))
    check_finetune_view(experiment, windows)


def check_finetune_view(experiment: Experiment, windows: Windows) -> None:
    """Refuse a view of fine-tuning that the signal, or a task, does not allow.

    Raises
    ------
    UsageError
    """
    for classes in experiment.evaluate.class_sets or [list(windows.table.classes)]:
        known = replace(windows.signal, classes=tuple(classes))
        check_views({"view": experiment.finetune.view}, known, key="finetune")


def build_model(
    experiment: Experiment,
    windows: Windows,
    terms: Sequence[Term] | None = None,
    n_outputs: int | None = None,
) -> Model:
    """The untrained model; its weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(experiment.seed, "init"))
        return Model(
            experiment.encoder,
            n_chans=windows.n_chans,
            n_times=windows.n_times,
            sfreq=windows.table.sfreq,
            channel_names=[channel.name for channel in windows.channels],
            channels=windows.channels,
            projectors=experiment.projectors,
            terms=experiment.terms if terms is None else terms,
            n_outputs=len(windows.table.classes) if n_outputs is None else n_outputs,
            n_labels=len(windows.table.label_names),
            n_aux=windows.n_aux,
            horizon=windows.table.horizon,
        )


def epoch_plan(spec: BatchSpec, windows: Windows, indices: np.ndarray, seed: int) -> EpochPlan:
    """Batches of table rows by epoch, drawn among `indices`."""
    rows = windows.table.rows[indices]

    def plan(epoch: int) -> list[np.ndarray]:
        return [indices[batch] for batch in epoch_batches(spec, rows["patient"], rows["trial"], seed=seed, epoch=epoch)]

    return plan


def split_record(split: Split, windows: Windows, parts: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the run folder says of the split: patients and counts per part, marks, hashes."""
    names = windows.table.names["patient"]
    return {
        "name": split.name,
        "scope": split.scope,
        "marks": [*split.marks, *windows.marks],
        "digest": split.digest(),
        "windows_digest": windows.table.digest(),
        "store_hash": windows.store.content_hash,
        "patients": {
            part: sorted({names[i] for i in np.unique(windows.table.rows["patient"][rows])})
            for part, rows in parts.items()
        },
        "n_windows": {part: len(rows) for part, rows in parts.items()},
    }
