"""Devices taken away on purpose, to see what a method does without them: which windows lack which device.

A device that is missing at random costs what it would have said. One that is missing for a reason, such as from the
windows of one class in training, says something by its absence, and a model that reads absence as a label fails where
the reason is another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.errors import UsageError
from biocl.randomness import stream
from biocl.signals.recording import Channel
from biocl.store.names import did_you_mean
from biocl.store.presence import device_columns
from biocl.store.spec import MissingSpec
from biocl.store.table import WindowTable


def check_missing(rules: Sequence[MissingSpec], table: WindowTable, channels: Sequence[Channel]) -> None:
    """Refuse rules about what is not there.

    Raises
    ------
    UsageError
        No such device or class, or a recording has one device and would be left without any.
    """
    devices = list(device_columns(channels))
    for number, rule in enumerate(rules):
        where = f"data.missing.{number}"
        if rule.device not in devices:
            raise UsageError(
                f"There is no device {rule.device!r} among the store's channels, which has {', '.join(devices)}",
                where,
                did_you_mean(rule.device, devices),
            )
        if len(devices) < 2:
            raise UsageError(
                f"{rule.device} is the only device of these recordings, so nothing would be left",
                where,
                "Take a device away where there are several",
            )
        for name in rule.classes or ():
            if name not in table.classes:
                raise UsageError(
                    f"There is no class {name!r} among {', '.join(table.classes)}",
                    f"{where}.classes",
                    did_you_mean(name, table.classes),
                )


def taken_away(
    rules: Sequence[MissingSpec],
    table: WindowTable,
    channels: Sequence[Channel],
    parts: Mapping[str, NDArray[Any]],
    seed: int,
) -> NDArray[np.bool_]:
    """Which windows lack which device.

    In each part a rule takes its share, rounded but one at least, of the recordings (or trials, or windows) that have a
    window of its classes there. Every recording has one random number for a device, whatever the part and the fold, and
    those with the lowest lack it; so folds have nearly the same recordings lack it, and a larger share holds a smaller.

    Parameters
    ----------
    rules : sequence of MissingSpec
    table : WindowTable
    channels : sequence of Channel
        The store's.
    parts : mapping of str to ndarray of int
        Table rows of train, validation and test. Labels of other rows are not read.
    seed : int

    Returns
    -------
    ndarray of bool, shape (n_windows, n_devices)
        Devices in the order of `device_columns`.
    """
    devices = list(device_columns(channels))
    gone = np.zeros((len(table), len(devices)), np.bool_)
    for rule in rules:
        unit, n_units = units_of(rule, table)
        luck = stream(seed, "missing", rule.device, rule.of).random(n_units)
        for part in rule.parts:
            rows = parts.get(part, np.empty(0, np.int64))
            if rule.classes is not None:
                rows = rows[np.isin(table.label[rows], [table.classes.index(name) for name in rule.classes])]
            there = np.unique(unit[rows])
            n_chosen = max(1, round(rule.share * len(there)))
            chosen = there[np.argsort(luck[there], kind="stable")[:n_chosen]]
            gone[rows[np.isin(unit[rows], chosen)], devices.index(rule.device)] = True
    return gone


def units_of(rule: MissingSpec, table: WindowTable) -> tuple[NDArray[Any], int]:
    """The recording, trial or window of every window as a number, and how many numbers there are."""
    match rule.of:
        case "recording":
            return table.recording, len(table.names["recording"])
        case "trial":
            trials, number = np.unique(table.trial, return_inverse=True)
            return number, len(trials)
        case _:
            return np.arange(len(table)), len(table)
