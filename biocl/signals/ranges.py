"""Ranges that a body can give in a unit, and which mistake explains what lies outside."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biocl.signals.recording import Channel
from biocl.signals.units import QUANTITY, STANDARD_UNIT, UNITS, factor, known_unit

GRAVITY = 9.80665

# Standard deviation of a whole channel, in the kind's standard unit, far on the generous side: what one odd
# electrode may do; what the median channel of a recording may do; what is usual (to name the likely unit).
# The medians of mitdb, PTB-XL, LUDB, ECG-ID and CinC 2021 lie between 0.07 and 1 mV, those of raw EEG
# between 1 and 100 uV; a factor of 1000 takes every one of them outside.
ONE_CHANNEL = {"ecg": (0.002, 50.0), "eeg": (0.05, 10_000.0), "eog": (0.05, 20_000.0), "emg": (0.01, 20_000.0)}
MEDIAN_CHANNEL = {"ecg": (0.005, 30.0), "eeg": (0.2, 3_000.0), "eog": (0.2, 5_000.0), "emg": (0.05, 10_000.0)}
USUAL = {"ecg": (0.02, 5.0), "eeg": (1.0, 500.0), "eog": (1.0, 1_000.0), "emg": (1.0, 2_000.0)}
# No sensor worn by a body measures more.
MOST = {"acc": 300.0, "gyr": 2_000.0}

# Root-mean-square norm of three axes in the standard unit. With gravity in it, an accelerometer lies near 9.81
# whatever it does; the earth's field is 25-65 uT, buildings and magnets add to it.
ACC_NORM = (6.0, 60.0)
MAG_NORM = (2.0, 5_000.0)
# Share of the norm that is constant, above which gravity is part of the signal.
HAS_GRAVITY = 0.5
# Norms of one g, whatever the constant part: a sensor that turns over and over.
ONE_G = (0.8, 1.25)
SLOW_TURNING, MOVES = 10.0, 1.0  # deg/s, m/s2


@dataclass(frozen=True)
class Spread:
    """What is known of the values of each channel of a recording: float64 arrays of shape (n_chans,)."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]


def implausible(channels: Sequence[Channel], spread: Spread, stated: Mapping[str, str]) -> dict[int, str]:
    """A sentence for each channel (or, for several together, the first) that no body gives in its unit.

    Channels whose unit is unknown or arbitrary, or that do not vary, are not judged. Constant offsets of
    voltages are nobody's error: only their spread counts.

    Parameters
    ----------
    channels : sequence of Channel
        As the values are.
    spread : Spread
    stated : mapping of str to str
        Units that the file states, by channel name, where the values have been converted since.

    Returns
    -------
    dict of int to str
        Sentences by column.
    """
    found: dict[int, str] = {}
    for triad in triads(channels):
        sentence = implausible_norm([channels[i] for i in triad], rows_of(spread, triad), stated)
        if sentence is not None:
            found[triad[0]] = sentence
    for kind in dict.fromkeys(channel.kind for channel in channels):
        columns = [i for i, c in enumerate(channels) if c.kind == kind and factor(kind, c.unit) and spread.std[i] > 0]
        if columns and kind in MEDIAN_CHANNEL:
            found |= implausible_voltages(kind, columns, channels, spread, stated)
        elif kind in MOST:
            for i in columns:
                std = spread.std[i] * scale_of(channels[i])
                if std > MOST[kind]:
                    found.setdefault(i, f"Channel {channels[i].name} {too_wide(channels[i], std, stated)}")
    return found


def scale_of(channel: Channel) -> float:
    """Factor from the channel's unit to the standard one."""
    return factor(channel.kind, channel.unit) or 1.0


def rows_of(spread: Spread, columns: Sequence[int]) -> Spread:
    """The statistics of some channels."""
    index = list(columns)
    return Spread(spread.mean[index], spread.std[index], spread.minimum[index], spread.maximum[index])


def implausible_voltages(
    kind: str, columns: Sequence[int], channels: Sequence[Channel], spread: Spread, stated: Mapping[str, str]
) -> dict[int, str]:
    """Channels of one kind: their median first, since a wrong unit is usually wrong for all; then each."""
    std = np.array([spread.std[i] * scale_of(channels[i]) for i in columns])
    low, high = MEDIAN_CHANNEL[kind]
    median = float(np.median(std))
    wrong = [(columns[int(np.argsort(std)[len(std) // 2])], low, high)] if not low <= median <= high else []
    low, high = ONE_CHANNEL[kind]
    wrong += [(i, low, high) for i, one in zip(columns, std, strict=True) if not low <= one <= high]
    found: dict[int, str] = {}
    for i, low, high in wrong:
        channel, base = channels[i], STANDARD_UNIT[kind]
        unit, value = as_stated(channel, float(spread.std[i]), stated)
        found.setdefault(
            i,
            f"Channel {channel.name} varies by {value:.4g} {unit} (standard deviation), which {kind.upper()} does "
            f"not: between {low:g} and {high:g} {base} is plausible, so its unit is probably not {unit}"
            f"{meant(kind, unit, value)}{counts(rows_of(spread, [i]), channel, unit)}",
        )
    return found


def as_stated(channel: Channel, value: float, stated: Mapping[str, str]) -> tuple[str, float]:
    """The unit that the file states for a channel, and a value in it."""
    unit = stated.get(channel.name, channel.unit)
    back = factor(channel.kind, channel.unit, unit)
    return (channel.unit, value) if back is None else (unit, value * back)


def meant(kind: str, unit: str, value: float) -> str:
    """Which unit would make a standard deviation usual: ``: in uV it would be 0.3 mV``."""
    low, high = USUAL[kind]
    for other in UNITS[QUANTITY[kind]]:
        usual = value * (factor(kind, other) or 0)
        if other != known_unit(kind, unit) and low <= usual <= high:
            return f" but {other} ({usual:.3g} {STANDARD_UNIT[kind]} then)"
    return ""


def counts(spread: Spread, channel: Channel, unit: str) -> str:
    """Whether the extremes are whole numbers, as raw counts of a converter are."""
    back = factor(channel.kind, channel.unit, unit) or 1.0
    ends = np.concatenate([spread.minimum, spread.maximum]) * back
    if np.abs(ends).max() < 10 or not np.allclose(ends, np.rint(ends), rtol=1e-6, atol=1e-6):
        return ""
    return ", or its values are raw counts of the converter (they are whole numbers) that its gain was not applied to"


def too_wide(channel: Channel, std: float, stated: Mapping[str, str]) -> str:
    """The sentence for a motion sensor beyond every range."""
    unit, value = as_stated(channel, std / scale_of(channel), stated)
    smaller = [
        other
        for other in UNITS[QUANTITY[channel.kind]]
        if value * (factor(channel.kind, other) or 0) <= MOST[channel.kind] / 5
        and other != known_unit(channel.kind, unit)
    ]
    cause = f" but perhaps {smaller[0]}" if smaller else ""
    return (
        f"varies by {value:.4g} {unit} (standard deviation), and no body moves by more than {MOST[channel.kind]:g} "
        f"{STANDARD_UNIT[channel.kind]}: its unit is probably not {unit}{cause}, or its values are raw counts"
    )


def triads(channels: Sequence[Channel]) -> list[tuple[int, int, int]]:
    """Columns of the x, y and z axes of each accelerometer and magnetometer with a known unit.

    Three channels of one kind and device whose names differ in nothing but a letter x, y, z; or a device's
    only three channels of that kind.
    """
    named: dict[tuple[str, str, str, str], dict[str, int]] = defaultdict(dict)
    devices: dict[tuple[str, str], list[int]] = defaultdict(list)
    for column, channel in enumerate(channels):
        if channel.kind not in ("acc", "mag") or factor(channel.kind, channel.unit) is None:
            continue
        devices[channel.kind, channel.device].append(column)
        name = channel.name.lower()
        for at, letter in enumerate(name):
            if letter in "xyz":
                named[channel.kind, channel.device, name[:at], name[at + 1 :]][letter] = column
    found = [(axes["x"], axes["y"], axes["z"]) for axes in named.values() if len(axes) == 3]
    taken = {column for triad in found for column in triad}
    found += [(c[0], c[1], c[2]) for c in devices.values() if len(c) == 3 and not taken & set(c)]
    return sorted(found)


def norms(channels: Sequence[Channel], spread: Spread) -> tuple[float, float]:
    """Root-mean-square norm of a triad and the norm of its mean, in the standard unit."""
    by = np.array([scale_of(channel) for channel in channels])
    mean, std = spread.mean * by, spread.std * by
    return float(np.sqrt((mean**2 + std**2).sum())), float(np.sqrt((mean**2).sum()))


def implausible_norm(channels: Sequence[Channel], spread: Spread, stated: Mapping[str, str]) -> str | None:
    """A sentence if the three axes together contradict their unit."""
    kind, rms, constant = channels[0].kind, *norms(channels, spread)
    if not np.isfinite(rms) or rms == 0:
        return None
    unit, value = as_stated(channels[0], rms / scale_of(channels[0]), stated)
    names = ", ".join(channel.name for channel in channels)
    seen = f"Channels {names} have a root-mean-square norm of {value:.4g} {unit}"
    if kind == "mag":
        if MAG_NORM[0] <= rms <= MAG_NORM[1]:
            return None
        likely = nearest_unit(kind, unit, value, 45.0, 2.5)
        return f"{seen}, and the earth's field is 25 to 65 uT: their unit is probably not {unit}{likely}"
    with_gravity = constant >= HAS_GRAVITY * rms
    if ACC_NORM[0] <= rms <= ACC_NORM[1] or (rms < ACC_NORM[0] and not with_gravity and not is_one_g(rms)):
        return None  # without gravity (linear acceleration), a small norm is what rest looks like
    likely = nearest_unit(kind, unit, value, GRAVITY, 3.0)
    return (
        f"{seen}, and a sensor on a body measures gravity, 9.81 m/s2, whatever it does: their unit is probably not "
        f"{unit}{likely} (if gravity was taken out of them, which is called linear acceleration, they may be right)"
    )


def is_one_g(rms: float) -> bool:
    """Whether a norm in m/s2 is the number that gravity has in g."""
    return ONE_G[0] <= rms <= ONE_G[1]


def nearest_unit(kind: str, unit: str, value: float, expected: float, within: float) -> str:
    """`` but g``: the unit that brings a norm nearest to what is expected, if within a factor."""
    sizes = {other: value * (factor(kind, other) or 0) for other in UNITS[QUANTITY[kind]]}
    away = {other: abs(math.log(size / expected)) for other, size in sizes.items() if other != known_unit(kind, unit)}
    best = min(away, key=lambda other: away[other])
    return f" but {best}" if away[best] <= math.log(within) else ", or their values are raw counts"


def doubts(channels: Sequence[Channel], spread: Spread, stated: Mapping[str, str]) -> tuple[str, ...]:
    """Weak evidence, for the recording's notes: turning so slow, for a body that moves, that it may be in rad/s."""
    found = []
    for device in dict.fromkeys(channel.device for channel in channels):
        turning = [i for i, c in enumerate(channels) if c.device == device and c.kind == "gyr"]
        moving = [i for i, c in enumerate(channels) if c.device == device and c.kind == "acc"]
        if (
            not turning
            or not moving
            or any(factor(channels[i].kind, channels[i].unit) is None for i in turning + moving)
        ):
            continue
        if any(known_unit("gyr", stated.get(channels[i].name, channels[i].unit)) != "deg/s" for i in turning):
            continue
        most = max(max(-spread.minimum[i], spread.maximum[i]) * scale_of(channels[i]) for i in turning)
        moves = float(np.sqrt(sum((spread.std[i] * scale_of(channels[i])) ** 2 for i in moving)))
        if 0 < most < SLOW_TURNING and moves > MOVES:
            found.append(
                f"The gyroscope of {device} never exceeds {most:.3g} deg/s while its accelerometer moves: "
                "its values may be in rad/s"
            )
    return tuple(found)
