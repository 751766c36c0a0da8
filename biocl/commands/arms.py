"""The folds of every arm of a study: of the experiment and of each variant, on every subset of devices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from biocl.commands.pretrained import pretrain_inside, share_pretrained, take_pretrained
from biocl.commands.setup import build_model, check_finetune_view, check_signal, chosen_devices
from biocl.commands.study import Fold
from biocl.config import variants_of
from biocl.errors import UsageError
from biocl.evaluation.floors import FloorArm
from biocl.evaluation.protocol import ALL, FLOOR_MODE, Cell, Devices, device_subsets
from biocl.experiment import Experiment

Arms = dict[tuple[Devices, str], list[Fold]]
"""Folds by the devices that are read and the name of the variant, empty for the experiment itself."""


def study_arms(experiment: Experiment, folds: list[Fold]) -> Arms:
    """The same folds under the keys of each variant, and those on each subset of devices.

    Parameters
    ----------
    experiment : Experiment
    folds : list of Fold
        Of the experiment, on all its devices.

    Raises
    ------
    UsageError
        There is no such device, or a variant is called like a floor, or cannot be judged on these devices.
    """
    there = list(dict.fromkeys(channel.device for channel in folds[0].cohort.windows.channels))
    subsets = device_subsets(experiment.evaluate.devices, there)
    arms = {(subset, ""): on_devices(folds, subset) for subset in subsets}
    for name, variant in variants_of(experiment).items():
        if FloorArm.parse(name) is not None:
            raise UsageError("This is the name of a floor", f"variants: {name}", "Choose another name")
        whole = variant_folds(name, variant, folds)
        if variant.data.devices != experiment.data.devices and subsets != [ALL] and not reads_devices_apart(variant):
            raise UsageError(
                "This variant is pretrained on other devices, and its encoder reads all channels at once, so it cannot "
                "be judged on a subset of them",
                f"variants: {name}",
                "Use encoder: {each: …}, or leave evaluate.devices: [all]",
            )
        arms |= {(subset, name): on_devices(whole, subset) for subset in subsets}
    return arms


def reads_devices_apart(experiment: Experiment) -> bool:
    """Whether the encoder is one of each device, so that its weights serve any subset of them."""
    return hasattr(experiment.encoder, "each")


def variant_folds(name: str, variant: Experiment, folds: list[Fold]) -> list[Fold]:
    """The same folds under the keys of a variant."""
    data = variant.data
    windows = replace(
        folds[0].cohort.windows,
        scale=data.input_scale,
        align=data.align,
        devices=chosen_devices(data),
        normalise=data.normalise,
    )
    check_signal(variant, windows)
    cohort = replace(folds[0].cohort, windows=windows, missing=tuple(data.missing))
    return [Fold(variant, cohort, fold.number, fold.parts, None, fold.device, variant=name) for fold in folds]


def on_devices(folds: list[Fold], devices: Devices) -> list[Fold]:
    """The same folds, restricted to some of the devices.

    An encoder of each device is that of `folds`; any other reads all channels at once, so that these devices get an
    encoder of their own.
    """
    if devices == ALL:
        return folds
    experiment, cohort = folds[0].experiment, folds[0].cohort
    windows = replace(cohort.windows, devices=devices)
    shared = reads_devices_apart(experiment)
    if not shared:
        data = experiment.data.model_copy(update={"devices": list(devices)})
        evaluate = experiment.evaluate.model_copy(update={"devices": ["all"]})
        experiment = experiment.model_copy(update={"data": data, "evaluate": evaluate})
    if shared and "joint" not in experiment.evaluate.modes:
        check_finetune_view(experiment, windows)
    else:
        check_signal(experiment, windows)
        if shared:  # trained anew on these devices: refuse now what its terms could not compare
            build_model(experiment, windows)
    restricted = replace(cohort, windows=windows)
    return [
        replace(
            Fold(experiment, restricted, fold.number, fold.parts, None, fold.device, variant=fold.variant),
            devices=devices,
            source=fold if shared else None,
        )
        for fold in folds
    ]


def arm_of(arms: Arms, cell: Cell) -> Fold:
    """The fold that computes a cell: of a variant where the cell is about one rather than the experiment itself."""
    variant = (cell.devices, cell.arm)
    is_variant = cell.mode != FLOOR_MODE and variant in arms
    return arms[variant if is_variant else (cell.devices, "")][cell.fold]


def trained_folds(arms: Arms) -> list[Fold]:
    """Each fold with an encoder of its own, once."""
    owners = [fold.source or fold for folds in arms.values() for fold in folds]
    return list({id(fold): fold for fold in owners}.values())


def take_encoders(arms: Arms, from_run: Path | None, folder: Path) -> None:
    """Load what was pretrained before, see `take_pretrained`; the named run is that of the experiment on all devices.

    Raises
    ------
    UsageError
        No arm could be judged by the encoder of `from_run`.
    LeakageError
    """
    folds = trained_folds(arms)
    if from_run is not None and all(fold.variant or fold.devices for fold in folds):
        raise UsageError(
            "This encoder reads the channels of all devices at once, and evaluate.devices has subsets of them only",
            from_run,
            "Use encoder: {each: …}, or leave --from out: each subset is then pretrained on its own channels",
        )
    for fold in folds:
        take_pretrained(fold, None if fold.variant or fold.devices else from_run, folder)


def pretrain_arms(arms: Arms, run: Path) -> None:
    """Pretrain inside the run what was not before, and hand every arm its encoder."""
    for fold in trained_folds(arms):
        if fold.pretrained is None:
            pretrain_inside(fold, run)
    for fold in every_fold(arms):
        if fold.source is not None:
            share_pretrained(fold)


def every_fold(arms: Arms) -> Iterator[Fold]:
    """The folds of all arms."""
    for folds in arms.values():
        yield from folds
