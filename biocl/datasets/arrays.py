"""Bring your own arrays: windows ``(X, y, patient, trial)`` to a data set in memory.

Each patient becomes one recording, in which the patient's windows follow one another in the order given, each
marked by an event ``sample`` that carries its label; a run of windows of one trial is marked by an event
``trial``. Windows of kind ``event`` at the onset of ``sample`` give X back, bit by bit.

::

    X[patient == "A"]   |--- 0 ---|--- 1 ---|--- 2 ---|--- 3 ---|     recording A
    events "sample"     ^ y[0]    ^ y[1]    ^ y[2]    ^ y[3]
    events "trial"      |------ trial 7 -----|------ trial 8 ---|
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biocl.datasets.dataset import Dataset, Entry
from biocl.errors import DataError
from biocl.signals.recording import Channel, Events, Recording


@dataclass(frozen=True)
class ArrayCohort:
    """The two functions of a data set of arrays; picklable with its arrays."""

    signals: NDArray[np.float32]
    labels: NDArray[np.str_]
    patients: NDArray[np.str_]
    trials: NDArray[np.str_]
    sfreq: float
    channels: tuple[Channel, ...]

    @cached_property
    def rows(self) -> dict[str, NDArray[np.int64]]:
        """Which windows are a patient's, in the order given; patients in order of first appearance."""
        names, firsts, number = np.unique(self.patients, return_index=True, return_inverse=True)
        together = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
        return {str(names[i]): together[i] for i in np.argsort(firsts)}

    def entries(self, raw: Path | None = None) -> list[Entry]:
        """One recording for each patient, in order of first appearance; there is no raw folder."""
        return [Entry(name, name, source=f"arrays, patient {name}", revision=self.revision(name)) for name in self.rows]

    def revision(self, patient: str) -> str:
        """Hash of all that the arrays say of a patient."""
        mine = self.rows[patient]
        hashed = hashlib.sha256(repr((self.sfreq, self.channels)).encode())
        for part in (self.signals[mine], self.labels[mine], self.trials[mine]):
            hashed.update(np.ascontiguousarray(part).tobytes())
        return hashed.hexdigest()

    def read(self, entry: Entry) -> Recording:
        """A patient's windows, one after another."""
        mine = self.rows[entry.patient]
        windows, labels, trials = self.signals[mine], self.labels[mine], self.trials[mine]
        n_windows, n_chans, length = windows.shape
        onset_s = np.arange(n_windows) * length / self.sfreq
        firsts = np.flatnonzero(np.append(True, trials[1:] != trials[:-1]))
        sizes = np.diff(firsts, append=n_windows)
        trial_labels = [
            labels[first] if (labels[first : first + size] == labels[first]).all() else ""
            for first, size in zip(firsts, sizes, strict=True)
        ]
        return Recording.from_array(
            entry.name,
            entry.patient,
            self.sfreq,
            windows.transpose(0, 2, 1).reshape(n_windows * length, n_chans),
            self.channels,
            events=Events.join(
                Events.of("trial", onset_s[firsts], sizes * length / self.sfreq, trial_labels),
                Events.of("sample", onset_s, length / self.sfreq, labels),
            ),
            source=entry.source,
        )


def array_dataset(
    X: ArrayLike,
    y: ArrayLike,
    patient: ArrayLike,
    trial: ArrayLike | None = None,
    *,
    sfreq: float,
    channels: Sequence[Channel] | None = None,
    name: str = "arrays",
    modality: str = "other",
) -> Dataset:
    """A data set of windows in memory.

    Parameters
    ----------
    X : array_like, shape (n_windows, n_chans, n_times)
        The windows, in order of time within each patient.
    y, patient : array_like, shape (n_windows,)
        Label and patient of each window; any values, compared as text.
    trial : array_like, shape (n_windows,), optional
        Trial of each window, counted within its patient; without it, every window is a trial of its own.
    sfreq : float
        Samples per second.
    channels : sequence of Channel, optional
        What the columns are; default ``channel-1`` … of kind ``other``.
    name, modality : str
        For the store.

    Raises
    ------
    DataError
        If the shapes do not fit together, or the windows of one trial do not follow one another.
    """
    signals = np.asarray(X, dtype=np.float32)
    if signals.ndim != 3 or not signals.size:
        raise DataError(f"X has shape {signals.shape}", "X", "Give (n_windows, n_chans, n_times)")
    n_windows, n_chans, length = signals.shape
    trial = np.arange(n_windows) if trial is None else trial
    columns = {
        key: np.asarray(value).astype(np.str_) for key, value in (("y", y), ("patient", patient), ("trial", trial))
    }
    for key, column in columns.items():
        if column.shape != (n_windows,):
            raise DataError(
                f"{key} has shape {column.shape}, X has {n_windows} windows", key, "Give one value a window"
            )
    if not np.isfinite(sfreq) or sfreq <= 0:
        raise DataError(f"The sampling rate is {sfreq}", "sfreq", "Give samples per second")
    known = tuple(channels or (Channel(f"channel-{number + 1}", "other", "NU") for number in range(n_chans)))
    if len(known) != n_chans:
        raise DataError(f"{len(known)} channels are named, X has {n_chans}", "channels", "Name every channel")
    refuse_torn_trials(columns["patient"], columns["trial"])
    cohort = ArrayCohort(signals, columns["y"], columns["patient"], columns["trial"], float(sfreq), known)
    return Dataset(
        name=name,
        modality=modality,
        version="1",
        entries=cohort.entries,
        read=cohort.read,
        classes=tuple(sorted({str(label) for label in columns["y"]} - {""})),
        defaults={
            "windows": {"kind": "event", "events": "sample", "before_s": 0.0, "after_s": length / sfreq},
            "trials": {"kind": "event", "events": "trial"},
        },
    )


def refuse_torn_trials(patient: NDArray[np.str_], trial: NDArray[np.str_]) -> None:
    """A trial is one stretch of time: its windows must follow one another among the patient's."""
    number = np.unique(patient, return_inverse=True)[1]
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order])) + 1
    for rows in np.split(order, starts):
        person, mine = patient[rows[0]], trial[rows]
        runs = mine[np.append(True, mine[1:] != mine[:-1])]
        if len(runs) != len(set(runs.tolist())):
            torn = next(name for name in runs.tolist() if (runs == name).sum() > 1)
            raise DataError(
                f"Trial {torn!r} of patient {person!r} is interrupted by another trial",
                "trial",
                "Sort the windows by trial, or give the pieces trial names of their own",
            )
