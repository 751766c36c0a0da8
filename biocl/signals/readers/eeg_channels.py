"""Channels of EEG files: what each measures, and the factor from the file's unit to the usual one."""

from __future__ import annotations

import re

from biocl.signals.channels import infer_kind, unit_name
from biocl.signals.recording import Channel, ChannelKind

VOLTS = {"nV": 1e-9, "uV": 1e-6, "mV": 1e-3, "V": 1.0}
# Kinds that are voltages on the skin, and the unit each is given in.
SKIN_UNIT: dict[ChannelKind, str] = {"eeg": "uV", "eog": "uV", "emg": "uV", "ecg": "mV"}
# Electrodes that no 10-20 name tells: amplifier positions (A1 … H32) and mastoids.
POSITION = re.compile(r"([a-dfgh]\d{1,2}|m[12])")
# mne's channel types that say more than "some electrode".
TYPED: dict[str, ChannelKind] = {"eog": "eog", "ecg": "ecg", "emg": "emg", "resp": "resp"}
ELECTRODES = ("eeg", "seeg", "ecog", "dbs")


def channel_kind(name: str, unit: str, mne_type: str | None = None) -> ChannelKind:
    """What a channel measures: by its type in the file where that says something, else by its name.

    Parameters
    ----------
    name, unit : str
        As the file gives them: ``EEG Fp1-Ref``, ``uV``.
    mne_type : str, optional
        The type that mne gives it; None for EDF and BDF, which know no types.
    """
    if mne_type in TYPED:
        return TYPED[mne_type]
    word = name.strip().lower()
    site = re.split(r"[-:]", word.removeprefix("eeg ").strip(), maxsplit=1)[0].strip()
    unit = unit_name(unit)
    spoken = infer_kind(name, unit)
    if spoken == "ecg" and ("ecg" in word or "ekg" in word):
        return spoken
    if mne_type in ELECTRODES:
        # "I", "V1" or "D1" may be a lead of the ECG or an electrode; the file says electrode.
        return "eeg" if spoken in ("ecg", "other") else spoken
    if unit in VOLTS and POSITION.fullmatch(site):
        return "eeg"
    return spoken if spoken != "other" else infer_kind(site, unit)


def describe(name: str, unit: str, mne_type: str | None = None) -> tuple[Channel, float]:
    """A channel, and the factor from the file's unit to the channel's.

    EEG, EOG and EMG become uV, ECG mV; what is not a voltage, or has no unit, is kept as the file says.
    """
    unit = unit_name(unit)
    kind = channel_kind(name, unit, mne_type)
    target = SKIN_UNIT.get(kind)
    if target is None or unit not in VOLTS:
        return Channel(name, kind, unit), 1.0
    return Channel(name, kind, target), VOLTS[unit] / VOLTS[target]


def unique_names(names: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Names made unique by running numbers (``F1-0``, ``F1-1``), and a note for every one that was not."""
    repeated = {name for name in names if names.count(name) > 1}
    taken = set(names)
    counter = dict.fromkeys(repeated, 0)
    found = []
    for name in names:
        if name in repeated:
            while f"{name}-{counter[name]}" in taken:
                counter[name] += 1
            name = f"{name}-{counter[name]}"
            taken.add(name)
        found.append(name)
    notes = [
        f"{names.count(name)} channels are named {name!r}; running numbers tell them apart" for name in sorted(repeated)
    ]
    return found, tuple(notes)
