"""A protocol: which numbers are made, from which labels, and how they are compared.

One cell is one trained classifier: devices, a task (its classes), a label size, a draw, a mode and an arm. Cells that
differ only in their draw are averaged; intervals are over test patients, with the same resampled patients for
every cell of a task, so that differences are paired.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from biocl.evaluation.spec import EvaluateSpec
from biocl.files import digest

LONGEST_NAME = 200  # bytes; new_folder adds a prefix and a suffix
UNTRAINED = "untrained"
PRETRAINED = "pretrained"
FLOOR_MODE = "floor"
PER_RECORDING = ", per recording"
Devices = tuple[str, ...]
ALL: Devices = ()
"""All devices that the experiment reads."""


@dataclass(frozen=True)
class Cell:
    """One trained classifier.

    Attributes
    ----------
    classes : tuple of str
        The task.
    labels : str
        Label size with its unit, ``4 patients``.
    draw : int
        Which draw of labels.
    mode : str
        ``joint``, ``linear``, ``partial``, ``full`` or ``floor``.
    arm : str
        ``pretrained``, the name of a variant, ``untrained`` or the name of a floor.
    fold : int
        Which fold of the split.
    devices : tuple of str
        The devices that are read; none named are all of the experiment's.
    """

    classes: tuple[str, ...]
    labels: str
    draw: int
    mode: str
    arm: str
    fold: int = 0
    devices: Devices = ALL

    @property
    def row(self) -> tuple[tuple[str, ...], str, str, str]:
        """What the draws and folds of one table row share."""
        return (self.classes, self.labels, self.mode, self.arm)

    @property
    def file(self) -> str:
        """A file name for this cell's predictions."""
        words = [
            "-".join(self.classes),
            self.labels,
            f"draw{self.draw}",
            self.mode,
            self.arm,
            f"fold{self.fold}",
            *(["on", *self.devices] if self.devices else []),
        ]
        name = "_".join(word.replace(" ", "-").replace("%", "pc").replace("/", "-") for word in words)
        # The hash tells apart what the signs, or the cut to what a file system takes, make alike.
        plain = all(re.fullmatch(r"[\w.]+", word) for word in self.classes)
        plain = plain and all(re.fullmatch(r"[A-Za-z0-9.]+", word) for word in self.devices)
        return (
            name
            if plain and len(name.encode()) <= LONGEST_NAME
            else f"{digest([list(self.classes), *words])[:12]}_{name[-100:]}"
        )


def cells(
    spec: EvaluateSpec,
    class_sets: Sequence[tuple[str, ...]],
    floors: Mapping[Devices, Sequence[str]],
    n_folds: int = 1,
    variants: Mapping[str, bool] | None = None,
) -> Iterator[Cell]:
    """Every cell of a protocol, fold by fold, one subset of devices after another, and cheap modes first.

    Parameters
    ----------
    spec : EvaluateSpec
    class_sets : sequence of tuple of str
    floors : mapping of tuple of str to sequence of str
        The subsets of devices that are judged, each with its floors.
    n_folds : int
    variants : mapping of str to bool, optional
        Names of the variants, and whether each trains a head of its own (for mode ``joint``).
    """
    variants = variants or {}
    rows: list[tuple[str, str]] = []
    if "joint" in spec.modes:
        rows += [("joint", PRETRAINED), *(("joint", name) for name, has_head in variants.items() if has_head)]
    for mode in ("linear", "partial", "full"):
        if mode in spec.modes:
            rows += [(mode, PRETRAINED), *((mode, name) for name in variants), (mode, UNTRAINED)]
    for fold in range(n_folds):
        for devices, of_devices in floors.items():
            for mode, arm in [*((FLOOR_MODE, floor) for floor in of_devices), *rows]:
                for classes in class_sets:
                    for labels in spec.labels:
                        for draw in range(1 if labels == "all" else spec.draws):
                            yield Cell(classes, labels, draw, mode, arm, fold, devices)


def device_subsets(asked: Sequence[str | Sequence[str]], there: Sequence[str]) -> list[Devices]:
    """The subsets of devices that ``evaluate.devices`` means, each once, named in the order of `there`.

    Parameters
    ----------
    asked : sequence of str or sequence of str
        Lists of devices, which may be others than the experiment's, or ``all``, ``each``, ``pairs``.
    there : sequence of str
        The experiment's devices.

    Returns
    -------
    list of tuple of str
        A subset that is all of them is `ALL`.
    """
    found: list[Devices] = []
    for one in asked:
        if isinstance(one, str):
            size = {"each": 1, "pairs": min(2, len(there)), "all": len(there)}[one]
            found += combinations(there, size)
        else:
            places = {name: place for place, name in enumerate(there)}
            found.append(tuple(sorted(dict.fromkeys(one), key=lambda name: places.get(name, len(places)))))
    return list(dict.fromkeys(ALL if set(one) == set(there) else one for one in found))


def devices_title(devices: Devices) -> list[str]:
    """How a subset of devices is called in tables."""
    return list(devices) or ["all"]


def title_of(mode: str, arm: str) -> str:
    """How a row is called in tables."""
    if mode == "full" and arm == UNTRAINED:
        return "from scratch"
    if mode == "joint" and arm == PRETRAINED:
        return "trained together"
    return arm
