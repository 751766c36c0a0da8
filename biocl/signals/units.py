"""Units of channels: one standard unit for each kind, and the factors from every usual spelling to it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.recording import Channel, Read, Recording

NO_UNIT = "NU"
ARBITRARY = "a.u."

STANDARD_UNIT = {
    "ecg": "mV",
    "eeg": "uV",
    "eog": "uV",
    "emg": "uV",
    "acc": "m/s2",
    "gyr": "deg/s",
    "mag": "uT",
}
QUANTITY = {
    "ecg": "voltage",
    "eeg": "voltage",
    "eog": "voltage",
    "emg": "voltage",
    "acc": "acceleration",
    "gyr": "turning",
    "mag": "field",
}
# quantity -> unit -> (its size in the first unit's, other spellings); spellings are compared by `spelling`.
UNITS: dict[str, dict[str, tuple[Fraction, tuple[str, ...]]]] = {
    "voltage": {
        "V": (Fraction(1), ("volt", "volts")),
        "mV": (Fraction(1, 10**3), ("millivolt", "millivolts", "mvolt")),
        "uV": (Fraction(1, 10**6), ("microvolt", "microvolts", "microv", "uvolt", "uvolts", "mcv")),
        "nV": (Fraction(1, 10**9), ("nanovolt", "nanovolts")),
    },
    "acceleration": {
        "m/s2": (Fraction(1), ("m/s/s", "ms-2", "m/sec2", "m/s-2", "mps2")),
        "g": (Fraction("9.80665"), ("gs", "gn", "g0", "gee")),
        "mg": (Fraction("0.00980665"), ("milli-g", "millig", "mgn")),
        "cm/s2": (Fraction(1, 100), ("gal", "cms-2")),
        "mm/s2": (Fraction(1, 1000), ("mms-2",)),
    },
    "turning": {
        "deg/s": (Fraction(1), ("°/s", "º/s", "dps", "degree/s", "degrees/s", "deg/sec", "°/sec", "degs-1", "°s-1")),
        "mdeg/s": (Fraction(1, 1000), ("m°/s", "mdps")),
        "rad/s": (Fraction(180 / math.pi), ("rads-1", "rad/sec", "radian/s", "radians/s")),
    },
    "field": {
        "uT": (Fraction(1), ("microtesla", "utesla")),
        "T": (Fraction(10**6), ("tesla",)),
        "mT": (Fraction(10**3), ("millitesla",)),
        "nT": (Fraction(1, 10**3), ("nanotesla",)),
        "gauss": (Fraction(100), ("g", "gs", "ga")),
        "mgauss": (Fraction(1, 10), ("mg", "mga", "milligauss")),
    },
}


def unit_name(unit: str | None) -> str:
    """One spelling for a unit: micro signs become ``u``; an absent unit becomes ``NU`` (no unit)."""
    return (unit or NO_UNIT).strip().replace("µ", "u").replace("μ", "u") or NO_UNIT


def spelling(unit: str | None) -> str:
    """What two spellings of one unit share: ``m/s²``, ``m/s^2`` and ``M/S**2`` become ``m/s2``."""
    text = unit_name(unit).translate(str.maketrans("²³⁻¹", "23-1", " ^*·⋅.[]()_")).lower()
    return text.replace("−", "-")


SPELLINGS = {
    quantity: {spelling(word): name for name, (_, others) in units.items() for word in (name, *others)}
    for quantity, units in UNITS.items()
}


def is_absent(unit: str) -> bool:
    """Whether a unit says nothing; ``a.u.`` (arbitrary units) says something."""
    return spelling(unit) in ("nu", "na", "n/a", "none", "null", "-", "")


def is_arbitrary(unit: str) -> bool:
    """Whether a unit says on purpose that the numbers have none."""
    return spelling(unit) in ("au", "arb", "arbu", "arbunit", "arbunits", "arbitrary", "arbitraryunits")


def known_unit(kind: str, unit: str) -> str | None:
    """The unit as `UNITS` spells it; None where a channel of this kind cannot be measured in it."""
    return SPELLINGS[QUANTITY[kind]].get(spelling(unit)) if kind in QUANTITY else None


def factor(kind: str, unit: str, target: str | None = None) -> float | None:
    """What values in `unit` are multiplied with to be in `target`; None for a unit that is not known.

    Parameters
    ----------
    kind : str
        What the channel measures; ``g`` is gravity for ``acc`` and gauss for ``mag``.
    unit, target : str
        In any spelling; `target` is the kind's standard unit by default.
    """
    name = known_unit(kind, unit)
    aim = known_unit(kind, STANDARD_UNIT.get(kind, "") if target is None else target)
    if name is None or aim is None:
        return None
    units = UNITS[QUANTITY[kind]]
    return float(units[name][0] / units[aim][0])


def check_units(recording: Recording, wanted: Collection[str] | None = None) -> None:
    """Every channel (of those `wanted`, by name; default all) whose kind has a standard unit says which unit it is in.

    Kinds without one (``resp``, ``other``) may have any unit, or none. ``a.u.`` (arbitrary units) is accepted
    everywhere: such a channel is neither converted nor is its range checked.

    Raises
    ------
    DataError
        Naming channel, unit, what is known, and how to say it right.
    """
    for channel in recording.channels:
        if wanted is not None and channel.name not in wanted:
            continue
        if channel.kind not in QUANTITY or is_arbitrary(channel.unit) or known_unit(channel.kind, channel.unit):
            continue
        names, standard = list(UNITS[QUANTITY[channel.kind]]), STANDARD_UNIT[channel.kind]
        problem = (
            f"states no unit for channel {channel.name} ({channel.kind})"
            if is_absent(channel.unit)
            else f"states the unit {channel.unit!r} for channel {channel.name}, which {channel.kind} is not measured in"
        )
        raise DataError(
            f"Recording {recording.name} {problem}; known are {', '.join(names)}",
            recording.where,
            f"Say the unit in the file's header, in the column's name ('{channel.name} [{standard}]') or in the layout "
            f"file (unit: {standard}, or '{ARBITRARY}' if the numbers have none, which leaves them unchecked), "
            "leave the channel out with data.channels, or keep every unit unconverted with data.units: file",
        )


def to_standard(recording: Recording, wanted: Collection[str] | None = None) -> Recording:
    """The recording in the standard unit of each channel's kind; values are multiplied when they are read.

    A product is computed in float64 and rounded once to float32. Columns that are in the standard unit already
    keep their bits, and a recording of such columns keeps its `read`.

    Raises
    ------
    DataError
        If a channel's unit is not known (`check_units`); channels that are not `wanted` may have any.
    """
    check_units(recording, wanted)
    factors = [factor(channel.kind, channel.unit) for channel in recording.channels]
    channels = [standard_channel(channel) for channel in recording.channels]
    changed = [(column, f) for column, f in enumerate(factors) if f is not None and f != 1.0]
    if not changed:
        return recording if tuple(channels) == recording.channels else replace(recording, channels=tuple(channels))
    return replace(recording, channels=tuple(channels), read=partial(read_scaled, recording.read, changed))


def standard_channel(channel: Channel) -> Channel:
    """The channel as it is after `to_standard`."""
    if known_unit(channel.kind, channel.unit) is not None:
        return replace(channel, unit=STANDARD_UNIT[channel.kind])
    if channel.kind in QUANTITY and is_arbitrary(channel.unit):
        return replace(channel, unit=ARBITRARY)
    return channel


def read_scaled(read: Read, factors: Sequence[tuple[int, float]], start: int, stop: int) -> NDArray[np.float32]:
    """Read and multiply the columns that have a factor."""
    block = np.array(read(start, stop), dtype=np.float32)  # a copy: the source may be someone's array
    for column, by in factors:
        block[:, column] = block[:, column].astype(np.float64) * by
    return block
