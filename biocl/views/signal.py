"""What a view needs to know of the signal, and what can be read off the channels' names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from biocl.signals.recording import Channel

ELECTRIC = ("ecg", "eeg", "eog", "emg")
SITE = re.compile(r"(nz|(?:fp|af|f|ft|fc|t|c|tp|cp|p|po|o|i|aff|fft|ffc|ftt|fcc|ttp|ccp|tpp|cpp|ppo|poo|afp|a|m)"
                  r"(?:\d{1,2}|z)h?)")  # fmt: skip
REFERENCES = {"ref", "le", "re", "av", "avg", "ar"}
TRIAD_KINDS = ("acc", "gyr", "mag")
AXIS = re.compile(r"(?:(?P<sensor>.*?)[\s_.-]*(?P<axis>[xyz])|(?P<first>[xyz])[\s_.-]+(?P<rest>.*))[\s_.-]*")


@dataclass(frozen=True)
class SignalInfo:
    """What the columns of a batch are; equal for every batch of a run.

    Attributes
    ----------
    sfreq : float
        Samples per second.
    channels : tuple of Channel
        Name, kind, unit and device of each channel of ``x``, in order.
    classes : tuple of str
        What the labels stand for.
    scale : str
        How windows are scaled when they are read; ``none`` leaves physical units.
    padded : bool
        Whether any window is padded.
    """

    sfreq: float
    channels: tuple[Channel, ...]
    classes: tuple[str, ...] = ()
    scale: str = "none"
    padded: bool = False

    def of_kind(self, *kinds: str) -> tuple[int, ...]:
        """Columns of the given kinds."""
        return tuple(i for i, channel in enumerate(self.channels) if channel.kind in kinds)


def site_of(name: str) -> str | None:
    """An electrode's name in the 10-10 system, lower case, as files spell it (``Fc5.``, ``EEG C3-REF``).

    A bipolar name (``Fp1-F7``) has two sites. None where the name is not one of the system.
    """
    word = name.strip().lower().removeprefix("eeg").strip(" _:.")
    parts = [part.strip(" .") for part in word.split("-") if part.strip(" .") not in REFERENCES]
    return "-".join(parts) if parts and all(SITE.fullmatch(part) for part in parts) else None


def mirrored_site(site: str) -> str:
    """The site on the other side of the head: odd numbers are left, even ones right, z is the middle."""

    def other(found: re.Match[str]) -> str:
        number = int(found.group())
        return str(number + 1 if number % 2 else number - 1)

    return re.sub(r"\d+", other, site)


@lru_cache(maxsize=64)
def mirror(signal: SignalInfo) -> tuple[int, ...]:
    """For each channel the column that shows it after a left/right reflection of the head.

    EEG channels change places by name, all others stay.

    Raises
    ------
    ValueError
        There is no EEG channel, or one without a known site or without its partner.
    """
    columns = signal.of_kind("eeg")
    if not columns:
        raise ValueError("there is no EEG channel")
    places: dict[str, int] = {}
    for column in columns:
        name = signal.channels[column].name
        site = site_of(name)
        if site is None:
            raise ValueError(f"the EEG channel {name!r} is not named after a site of the 10-10 system")
        if site in places:
            raise ValueError(f"two EEG channels are at the site {site!r}")
        places[site] = column
    order = list(range(len(signal.channels)))
    for site, column in places.items():
        partner = mirrored_site(site)
        if partner not in places:
            raise ValueError(
                f"the EEG channel {signal.channels[column].name!r} has no partner {partner.upper()} on the other side"
            )
        order[column] = places[partner]
    return tuple(order)


def mirrored_class(name: str) -> str:
    """The class name with the words left and right exchanged."""

    def other(found: re.Match[str]) -> str:
        word = found.group()
        swapped = "right" if word.lower() == "left" else "left"
        return swapped.upper() if word.isupper() else swapped.capitalize() if word[0].isupper() else swapped

    return re.sub(r"(?i)(?<![a-z])(left|right)(?![a-z])", other, name)


@lru_cache(maxsize=64)
def mirror_classes(classes: tuple[str, ...]) -> tuple[int, ...]:
    """For each class the number of the class that a reflected window has.

    Raises
    ------
    ValueError
        There is no left/right pair, or a sided class lacks its partner.
    """
    partners = [mirrored_class(name) for name in classes]
    if all(name == partner for name, partner in zip(classes, partners, strict=True)):
        raise ValueError(f"no class is left or right by name ({', '.join(classes) or 'there are no classes'})")
    for name, partner in zip(classes, partners, strict=True):
        if partner not in classes:
            raise ValueError(f"the class {name!r} has no partner {partner!r}")
    return tuple(classes.index(partner) for partner in partners)


@lru_cache(maxsize=64)
def triads(signal: SignalInfo) -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """Per device its sensors of three axes, as the columns of x, y and z.

    Raises
    ------
    ValueError
        There is no accelerometer, gyroscope or magnetometer, or one whose axes are not x, y and z by name.
    """
    found: dict[str, dict[tuple[str, str], dict[str, int]]] = {}
    for column in signal.of_kind(*TRIAD_KINDS):
        channel = signal.channels[column]
        named = AXIS.fullmatch(channel.name.lower())
        if named is None:
            raise ValueError(f"the channel {channel.name!r} does not say in its name which axis (x, y, z) it is")
        sensor, axis = named["sensor"] or named["rest"] or "", named["axis"] or named["first"]
        axes = found.setdefault(channel.device, {}).setdefault((channel.kind, sensor), {})
        if axis in axes:
            raise ValueError(f"the device {channel.device!r} has two {channel.kind} channels of axis {axis}")
        axes[axis] = column
    for device, sensors in found.items():
        for (kind, _), axes in sensors.items():
            if len(axes) != 3:
                raise ValueError(f"the device {device!r} has {kind} axes {', '.join(sorted(axes))}, not x, y and z")
    if not found:
        raise ValueError("there is no accelerometer, gyroscope or magnetometer channel")
    return tuple(tuple((axes["x"], axes["y"], axes["z"]) for axes in sensors.values()) for sensors in found.values())


def exchangeable(channels: Sequence[Channel]) -> list[list[int]]:
    """Groups of at least two channels that one device measures in one way (kind and unit)."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for column, channel in enumerate(channels):
        groups.setdefault((channel.device, channel.kind, channel.unit), []).append(column)
    return [group for group in groups.values() if len(group) > 1]
