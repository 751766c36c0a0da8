"""What every data set tells biocl: which files, whose they are, what the labels mean, who is test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biocl.signals.recording import Recording


@dataclass(frozen=True)
class Entry:
    """One recording of a data set before it is read; small and picklable, so that workers can be given it.

    Attributes
    ----------
    name, patient, session : str
        Unique name of the recording, the person, the visit.
    source : str
        Where it is: usually a path; the data set's `read` knows how to use it.
    labels : dict of str to str
        What is known of the whole recording.
    revision : str
        Changes when the content does, for recordings that their owner may edit; a store made from another
        revision is another store.
    """

    name: str
    patient: str
    session: str = "1"
    source: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    revision: str = ""


@dataclass(frozen=True)
class Dataset:
    """A data set as values and two functions.

    Attributes
    ----------
    name, modality, version : str
        ``mitdb``, ``ecg``, ``1.0.0``.
    entries : callable (raw folder) -> list of Entry
        Lists the recordings without reading them. The synthetic cohorts ignore the folder.
    read : callable (Entry) -> Recording
        Opens one recording lazily. Picklable: a module-level function, a ``functools.partial`` of one,
        or a bound method of a picklable object.
    classes : tuple of str
        All label names, in order.
    splits : mapping
        Published fixed lists by name, in the format of a split file.
    defaults : mapping
        The ``data`` keys that suit this data set: ``resample_hz``, ``channels``, ``windows``, ``trials``,
        ``classes``.
    licence, citation, homepage, notes : str
        For the data card.
    download : callable (folder), optional
        Fetches the raw files.
    """

    name: str
    modality: str
    version: str
    entries: Callable[[Path], list[Entry]]
    read: Callable[[Entry], Recording]
    classes: tuple[str, ...]
    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    citation: str = ""
    homepage: str = ""
    notes: str = ""
    download: Callable[[Path], None] | None = None
