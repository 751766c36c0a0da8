"""What every data set tells biocl: which files, whose they are, what the labels mean, who is test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

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
    notes : tuple of str
        What was left out or mended while listing, a sentence each; they join the recording's own.
    """

    name: str
    patient: str
    session: str = "1"
    source: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    revision: str = ""
    notes: tuple[str, ...] = ()


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
    splits_of : callable (list of Entry) -> mapping, optional
        Published splits that follow from what the files say of each recording (the folds of PTB-XL), by name,
        in the same format. They join `splits` in the store.
    defaults : mapping
        The ``data`` keys that suit this data set: ``resample_hz``, ``channels``, ``windows``, ``trials``,
        ``classes``.
    licence, citation, homepage, notes : str
        For the data card.
    access : {"open", "request", "embedded"}
        Who may have the native files: anybody, whoever asks its owners, or nobody needs any.
    patients : {"known", "unknown"}
        Whether the files say who the patient is. If not, every recording counts as a patient of its own, which
        is said in ``split`` (``patient: record``) and marked in every table.
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
    splits_of: Callable[[Sequence[Entry]], Mapping[str, Mapping[str, Any]]] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    citation: str = ""
    homepage: str = ""
    notes: str = ""
    access: Literal["open", "request", "embedded"] = "open"
    patients: Literal["known", "unknown"] = "known"
    download: Callable[[Path], None] | None = None
