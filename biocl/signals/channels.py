"""What a channel measures, guessed from its name and unit."""

from __future__ import annotations

import re

from biocl.signals.recording import ChannelKind

ECG_LEAD = re.compile(r"(i{1,3}|av[rlf]|m?v\d?|v\dr|v[xyz]|m?cl\d?|mli{1,3}|cm\d|cc5|d[1-4]|ecg.*|ekg.*)")
EEG_SITE = re.compile(r"((fp|af|f|fc|ft|c|cp|t|tp|p|po|o|i)(\d{1,2}|z)|nz|eeg.*)")
ACC_UNITS = {"g", "mg", "m/s2", "m/s^2", "m/s²", "m/s/s"}
GYR_UNITS = {"deg/s", "°/s", "dps", "rad/s"}
MAG_UNITS = {"ut", "µt", "mt", "gauss", "mgauss"}
VOLTAGE_UNITS = {"nv", "uv", "mv", "v"}


def unit_name(unit: str | None) -> str:
    """One spelling for a unit: micro signs become ``u``; an absent unit becomes ``NU`` (no unit)."""
    return (unit or "NU").strip().replace("µ", "u").replace("μ", "u") or "NU"


def infer_kind(name: str, unit: str) -> ChannelKind:
    """Guess what a channel measures; ``other`` when neither name nor unit tells.

    Parameters
    ----------
    name, unit : str
        As the file gives them, for instance ``MLII`` and ``mV``.
    """
    word, unit = name.strip().lower(), unit_name(unit).lower()
    spoken: tuple[tuple[str, ChannelKind], ...] = (
        ("eog", "eog"),
        ("emg", "emg"),
        ("resp", "resp"),
        ("acc", "acc"),
        ("gyr", "gyr"),
        ("mag", "mag"),
    )
    for part, kind in spoken:
        if part in word:
            return kind
    if unit in ACC_UNITS:
        return "acc"
    if unit in GYR_UNITS:
        return "gyr"
    if unit in MAG_UNITS:
        return "mag"
    if unit in VOLTAGE_UNITS and ECG_LEAD.fullmatch(word):
        return "ecg"
    if unit in VOLTAGE_UNITS and EEG_SITE.fullmatch(word.rstrip(".")):
        return "eeg"
    return "other"
