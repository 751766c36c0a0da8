"""The window table: which pieces of which recordings an encoder reads, as integers with names beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.files import canonical_json, read_json, write_array, write_json
from biocl.store.packing import pack, unpack_rows

ROW = np.dtype(
    [
        ("recording", "<i4"),
        ("patient", "<i4"),
        ("session", "<i4"),
        ("trial", "<i8"),
        ("start", "<i8"),
        ("length", "<i4"),
        ("valid_start", "<i4"),
        ("valid_length", "<i4"),
        ("label", "<i4"),
    ]
)


@dataclass(frozen=True)
class WindowTable:
    """Windows of a store.

    Attributes
    ----------
    rows : structured ndarray, shape (n_windows,)
        ``recording, patient, session, label`` index `names` (label -1: none, or none of the classes);
        ``trial`` is unique over the table; ``start`` counts time steps from the recording's first sample and
        ``length`` is equal for all; of a window, ``[valid_start, valid_start + valid_length)`` is signal, the
        rest is padding.
    names : mapping of str to tuple of str
        Of recordings, patients and sessions (all of the store's), and of labels (the classes, in order).
    sfreq : float
        Samples per second.
    aux, aux_names : ndarray of float32, shape (n_windows, n_aux); tuple of str
        Scalars beside each window, such as RR intervals.
    dropped : mapping of str to int
        Windows that were left out, by reason.
    has_gaps : bool
        Whether windows may touch gaps (``data.quality.nan``), so that samples may be missing inside them.
    horizon : int
        Time steps behind every window that are its future, all of them signal; 0 where nothing is forecast.
    target, target_name : ndarray of float32, shape (n_windows,), or None; str
        The number that is predicted of each window (``data.target``), NaN where it is unknown.
    labels, label_names : ndarray of int8, shape (n_windows, n_labels), or None; tuple of str
        Which of several labels hold (``data.labels``): 1 and 0, -1 where it is unknown.
    """

    rows: NDArray[Any]
    names: Mapping[str, tuple[str, ...]]
    sfreq: float
    aux: NDArray[np.float32]
    aux_names: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    has_gaps: bool = False
    horizon: int = 0
    target: NDArray[np.float32] | None = None
    target_name: str = ""
    labels: NDArray[np.int8] | None = None
    label_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_times(self) -> int:
        """Time steps of every window."""
        return int(self.rows["length"][0]) if len(self.rows) else 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels, in order."""
        return self.names["label"]

    # Columns of their own in memory: rows are 48 bytes apart, and every batch is gathered through these.

    @cached_property
    def recording(self) -> NDArray[np.int32]:
        """Numbers of the recordings, shape (n_windows,)."""
        return np.ascontiguousarray(self.rows["recording"])

    @cached_property
    def patient(self) -> NDArray[np.int32]:
        """Numbers of the patients, shape (n_windows,)."""
        return np.ascontiguousarray(self.rows["patient"])

    @cached_property
    def trial(self) -> NDArray[np.int64]:
        """Numbers of the trials, shape (n_windows,)."""
        return np.ascontiguousarray(self.rows["trial"])

    @cached_property
    def start(self) -> NDArray[np.int64]:
        """First time steps in their recordings, shape (n_windows,)."""
        return np.ascontiguousarray(self.rows["start"])

    @cached_property
    def label(self) -> NDArray[np.int32]:
        """Numbers of the labels, shape (n_windows,)."""
        return np.ascontiguousarray(self.rows["label"])

    @cached_property
    def has_padding(self) -> bool:
        """Whether any window is not all signal."""
        return bool((self.rows["valid_length"] < self.rows["length"]).any())

    @cached_property
    def futures(self) -> WindowTable:
        """A table of the windows' futures, row by row."""
        return self.moved(self.n_times, self.horizon)

    @cached_property
    def with_futures(self) -> WindowTable:
        """The same windows, each as long as itself and its future."""
        return self.moved(0, self.n_times + self.horizon) if self.horizon else self

    def moved(self, steps: int, length: int) -> WindowTable:
        """Windows of another length that begin so many steps later, all of them signal."""
        rows = self.rows.copy()
        rows["start"] += steps
        rows["length"] = rows["valid_length"] = length
        rows["valid_start"] = 0
        return replace(self, rows=rows, horizon=0)

    def take(self, indices: NDArray[Any]) -> WindowTable:
        """The windows at `indices` (integers or a mask), in that order."""
        target = None if self.target is None else self.target[indices]
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, rows=self.rows[indices], aux=self.aux[indices], target=target, labels=labels)

    def digest(self) -> str:
        """SHA-256 (hex) of everything that a run reads from the table (not of `dropped`)."""
        head: dict[str, Any] = {"names": {k: list(v) for k, v in self.names.items()}, "sfreq": self.sfreq}
        if self.horizon:
            head["horizon"] = self.horizon
        hashed = hashlib.sha256(canonical_json([head, list(self.aux_names)]).encode())
        hashed.update(np.ascontiguousarray(self.rows).tobytes())
        hashed.update(np.ascontiguousarray(self.aux).tobytes())
        if self.target is not None:
            hashed.update(canonical_json(["target", self.target_name]).encode())
            hashed.update(np.ascontiguousarray(self.target).tobytes())
        if self.labels is not None:
            hashed.update(canonical_json(["labels", list(self.label_names)]).encode())
            hashed.update(np.ascontiguousarray(self.labels).tobytes())
        return hashed.hexdigest()


def write_table(table: WindowTable, folder: Path) -> None:
    """Write ``windows.npy``, ``windows.json`` and, where there are any, ``aux.npy``, ``target.npy``, ``labels.npy``."""
    packed, constant = pack(table.rows)
    write_array(folder / "windows.npy", packed)
    if table.aux_names:
        write_array(folder / "aux.npy", table.aux)
    if table.target is not None:
        write_array(folder / "target.npy", table.target)
    if table.labels is not None:
        write_array(folder / "labels.npy", table.labels)
    write_json(
        folder / "windows.json",
        {
            "names": {key: list(names) for key, names in table.names.items()},
            "sfreq": table.sfreq,
            "aux_names": list(table.aux_names),
            "dropped": dict(table.dropped),
            "constant": constant,
            "horizon": table.horizon,
            **({"target_name": table.target_name} if table.target is not None else {}),
            **({"label_names": list(table.label_names)} if table.labels is not None else {}),
        },
    )


def read_table(folder: Path) -> WindowTable:
    """Read what `write_table` wrote."""
    sidecar = read_json(folder / "windows.json")
    rows = unpack_rows(np.load(folder / "windows.npy"), sidecar.get("constant", {}), ROW)
    aux_names = tuple(sidecar["aux_names"])
    aux = np.load(folder / "aux.npy") if aux_names else np.empty((len(rows), 0), np.float32)
    names = {key: tuple(value) for key, value in sidecar["names"].items()}
    target_name = sidecar.get("target_name")
    return WindowTable(
        rows,
        names,
        sidecar["sfreq"],
        aux,
        aux_names,
        sidecar["dropped"],
        horizon=sidecar.get("horizon", 0),
        target=None if target_name is None else np.load(folder / "target.npy"),
        target_name=target_name or "",
        labels=np.load(folder / "labels.npy") if "label_names" in sidecar else None,
        label_names=tuple(sidecar.get("label_names", ())),
    )
