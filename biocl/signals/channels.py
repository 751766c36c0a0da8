"""What a channel measures, guessed from its name and unit."""

from __future__ import annotations

import re

from biocl.signals.recording import ChannelKind
from biocl.signals.units import SPELLINGS, is_absent, spelling
from biocl.signals.units import unit_name as unit_name

ECG_LEAD = re.compile(r"(i{1,3}|av[rlf]|m?v\d?|v\dr|v[xyz]|m?cl\d?|mli{1,3}|cm\d|cc5|d[1-4]|ecg.*|ekg.*)")
EEG_SITE = re.compile(r"((fp|af|f|fc|ft|c|cp|t|tp|p|po|o|i)(\d{1,2}|z)|nz|eeg.*)")
# Leads that are nothing else, so that an unknown unit is a mistake of the file and not another quantity.
ECG_ONLY = re.compile(r"(ii|iii|av[rlf]|mli{1,3})")
SPOKEN: tuple[tuple[str, ChannelKind], ...] = (
    ("eog", "eog"),
    ("emg", "emg"),
    ("ecg", "ecg"),
    ("ekg", "ecg"),
    ("eeg", "eeg"),
    ("resp", "resp"),
    ("acc", "acc"),
    ("gyr", "gyr"),
    ("mag", "mag"),
)
MEASURED: tuple[tuple[str, ChannelKind], ...] = (("acceleration", "acc"), ("turning", "gyr"), ("field", "mag"))


def infer_kind(name: str, unit: str) -> ChannelKind:
    """Guess what a channel measures; ``other`` when neither name nor unit tells.

    Parameters
    ----------
    name, unit : str
        As the file gives them, for instance ``MLII`` and ``mV``.
    """
    word = name.strip().lower()
    for part, kind in SPOKEN:
        if part in word:
            return kind
    for quantity, kind in MEASURED:
        if spelling(unit) in SPELLINGS[quantity]:
            return kind
    if spelling(unit) in SPELLINGS["voltage"]:
        if ECG_LEAD.fullmatch(word):
            return "ecg"
        if EEG_SITE.fullmatch(word.rstrip(".")):
            return "eeg"
    return "ecg" if ECG_ONLY.fullmatch(word) and not is_absent(unit) else "other"
