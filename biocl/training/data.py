"""From row numbers of the window table to a batch of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch

from biocl.errors import DataError, UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.model import Model
from biocl.signals.recording import Channel
from biocl.store.gather import MeanAndFactor, gather, of_columns, valid_steps
from biocl.store.presence import device_columns, device_presence, device_steps
from biocl.store.store import Store, reciprocal
from biocl.store.table import WindowTable
from biocl.store.trials import trial_scaling
from biocl.training.checkpoint import patient_hashes
from biocl.training.euclidean import Aligner, Groups, covariances, mean_covariance, whitener
from biocl.training.fitted import Fitted, mean_and_std
from biocl.training.spec import AlignSpec, InputScale
from biocl.views.signal import SignalInfo

BLOCK_VALUES = 2**21
FITTED_SCALES = ("train", "kind")


@dataclass(frozen=True)
class Windows:
    """A store, its window table, and what is done to windows when they are gathered: scaled, then aligned.

    Attributes
    ----------
    store : Store
    table : WindowTable
    scale : str
        z-score by the statistics of the ``window``, of its ``trial`` or ``recording`` (known from the store), or
        of all ``train`` windows (fitted); ``kind`` divides by the root mean square of a kind of channel (fitted); or
        ``none``.
    align : AlignSpec, optional
        Euclidean alignment (fitted).
    train : ndarray of int, optional
        Table rows on which the rest is fitted, when it is first needed.
    fitted : Fitted, optional
        What an earlier run fitted, in place of a fit on `train`.
    devices : tuple of str, optional
        The devices whose channels are read, in the store's order whatever the order here; None for all.

    Raises
    ------
    UsageError
        The store has no such device.
    """

    store: Store
    table: WindowTable
    scale: InputScale
    align: AlignSpec | None = None
    train: np.ndarray | None = None
    fitted: Fitted | None = None
    devices: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.devices is not None:
            known_devices(self.devices, self.store.channels)

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def columns(self) -> np.ndarray | None:
        """Columns of the store's signals that are read; None for all."""
        if self.devices is None:
            return None
        return np.flatnonzero([channel.device in self.devices for channel in self.store.channels])

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of a window."""
        every = self.store.channels
        return every if self.columns is None else tuple(every[column] for column in self.columns)

    @property
    def n_chans(self) -> int:
        """Channels of a window."""
        return len(self.channels)

    @property
    def n_times(self) -> int:
        """Samples of a window."""
        return self.table.n_times

    @cached_property
    def signal(self) -> SignalInfo:
        """What views need to know of the channels, labels and padding."""
        return SignalInfo(
            sfreq=self.table.sfreq,
            channels=self.channels,
            classes=tuple(self.table.classes),
            scale=self.scale if self.align is None else f"{self.scale}, aligned",
            padded=self.table.has_padding or self.table.has_gaps,
        )

    @property
    def n_aux(self) -> int:
        """Auxiliary inputs a window."""
        return self.table.aux.shape[1]

    def arrays(self, indices: np.ndarray) -> np.ndarray:
        """Scaled and aligned windows (B, n_chans, n_times) of table rows `indices`, float32."""
        return self.read(indices).transpose(0, 2, 1)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Scaled and aligned windows (B, n_times, n_chans) of table rows `indices`, float32."""
        x = self.scaled(indices)
        if self.align is None:
            return x
        aligned = (x.astype(np.float64) @ self.aligner.whiteners(indices)).astype(np.float32)
        steps = self.valid_steps(indices)
        if steps is not None:
            aligned *= steps[:, :, None]
        return aligned

    def scaled(self, indices: np.ndarray) -> np.ndarray:
        """Scaled windows (B, n_times, n_chans), not aligned; missing and padded samples are 0."""
        if self.scale == "trial":
            number, (mean, factor) = self.trial_scaling
            by = mean[number[indices]], factor[number[indices]]
            return gather(self.store, self.table, indices, by=by, columns=self.columns)
        if self.scale == "train" or self.scale == "kind":
            known = self.known
            assert known.mean is not None
            assert known.std is not None
            shape = (len(indices), self.n_chans)
            by = np.broadcast_to(known.mean.astype(np.float32), shape), np.broadcast_to(reciprocal(known.std), shape)
            return gather(self.store, self.table, indices, by=by, columns=self.columns)
        return gather(self.store, self.table, indices, scale=self.scale, columns=self.columns)

    @cached_property
    def trial_scaling(self) -> tuple[np.ndarray, MeanAndFactor]:
        """Trial of each window, and every trial's mean and reciprocal standard deviation."""
        number, (mean, factor) = trial_scaling(self.store, self.table)
        return number, (of_columns(mean, self.columns), of_columns(factor, self.columns))

    @property
    def needs_fit(self) -> bool:
        """Whether anything is fitted across recordings."""
        return self.scale in FITTED_SCALES or self.align is not None

    @property
    def marks(self) -> tuple[str, ...]:
        """What every table of results has to say of how windows are read."""
        return () if self.align is None else self.align.marks

    @cached_property
    def known(self) -> Fitted:
        """What is fitted: given, or fitted now on the training windows.

        Raises
        ------
        DataError
            There are no training windows.
        """
        if self.fitted is not None:
            return self.fitted
        return fit_windows(self) if self.needs_fit else Fitted()

    @cached_property
    def aligner(self) -> Aligner:
        """The whitening matrix of every window."""
        assert self.align is not None
        known = self.known
        assert known.references is not None
        assert known.overall is not None
        groups = Groups.of(self.table, self.align.per)
        fitted = dict(zip(known.groups, known.references, strict=True))
        hashes = group_hashes(self.store, groups.names)
        seen = {number: whitener(fitted[name]) for number, name in enumerate(hashes) if name in fitted}
        return Aligner(self.align, groups, seen, whitener(known.overall), partial(covariances_of, self))

    def valid_steps(self, indices: np.ndarray) -> np.ndarray | None:
        """Boolean (B, n_times), False on padding and in gaps; None where every step holds values.

        Of several devices a step counts where any of them has a value: see `present` for which.
        """
        if len(self.device_columns) < 2:
            return valid_steps(self.store, self.table, indices, self.columns)
        steps = device_steps(self.store, self.table, indices, self.device_columns)
        if steps is None:
            return None
        of_any = np.asarray(steps.any(axis=1))
        return None if of_any.all() else of_any

    def valid(self, indices: np.ndarray, device: torch.device) -> torch.Tensor | None:
        """The valid steps as a tensor."""
        steps = self.valid_steps(indices)
        return None if steps is None else torch.from_numpy(steps).to(device)

    @cached_property
    def device_columns(self) -> dict[str, list[int]]:
        """The store's columns of each device that is read, in the order of the channels."""
        every = device_columns(self.store.channels)
        return {name: columns for name, columns in every.items() if self.devices is None or name in self.devices}

    def present(self, indices: np.ndarray, *, most_missing: float = 0.5) -> np.ndarray:
        """Which devices have samples in table rows `indices`, bool (B, V): see `device_presence`."""
        found = device_presence(self.store, self.table, indices, self.device_columns, most_missing=most_missing)
        return np.ones((len(indices), len(self.device_columns)), np.bool_) if found is None else found

    def batch(self, indices: np.ndarray, device: torch.device) -> Batch:
        """Everything a step needs of table rows `indices`."""
        rows = self.table.rows[indices]
        x = torch.from_numpy(self.read(indices)).to(device)
        several = len(device_columns(self.store.channels)) > 1
        present = device_presence(self.store, self.table, indices, self.device_columns) if several else None

        def column(name: str) -> torch.Tensor:
            return torch.from_numpy(rows[name].astype(np.int64)).to(device)

        return Batch(
            x=x.transpose(1, 2),
            recording=column("recording"),
            patient=column("patient"),
            trial=column("trial"),
            start=column("start"),
            length=column("length"),
            label=column("label"),
            aux=None if not self.n_aux else torch.from_numpy(self.table.aux[indices]).to(device),
            valid=self.valid(indices, device),
            present=None if present is None else torch.from_numpy(present).to(device),
        )


def known_devices(devices: Sequence[str], channels: Sequence[Channel]) -> None:
    """Refuse devices that no channel belongs to.

    Raises
    ------
    UsageError
        Naming those there are.
    """
    there = list(dict.fromkeys(channel.device for channel in channels))
    unknown = [name for name in devices if name not in there]
    if unknown:
        raise UsageError(
            f"There is no device {', '.join(map(repr, unknown))} among the store's channels",
            "data.devices, evaluate.devices",
            f"Name devices that there are: {', '.join(there)}",
        )


def fit_windows(windows: Windows) -> Fitted:
    """Fit scaler and alignment on ``windows.train``, in the order of the table; float64, the same bits every time."""
    if windows.train is None or not len(windows.train):
        raise DataError(
            "There are no training windows on which data.input_scale: train or data.align could be fitted",
            windows.store.path,
            "Check the patients in the split",
        )
    rows = np.unique(windows.train)
    fitted = Fitted()
    if windows.scale in FITTED_SCALES:
        plain = replace(windows, scale="none", align=None)
        mean, std = mean_and_std_by_device(plain, rows)
        if windows.scale == "kind":
            mean, std = (
                np.zeros_like(mean),
                rms_of_kinds(mean, std, [channel.kind for channel in windows.channels]),
            )
        fitted = replace(fitted, mean=mean, std=std)
    if windows.align is None:
        return fitted
    scaled = replace(windows, fitted=fitted)
    groups = Groups.of(windows.table, windows.align.per)
    number = groups.number[rows]
    inside = np.unique(number)
    hashes = group_hashes(windows.store, [groups.names[group] for group in inside])
    parts = [rows[number == group] for group in inside]
    references = np.stack([mean_covariance(covariances_of(scaled, part), windows.n_chans) for part in parts])
    share = np.array([len(part) for part in parts]) / len(rows)
    overall = (references * share[:, None, None]).sum(axis=0)
    return replace(fitted, groups=tuple(hashes), references=references, overall=overall)


def mean_and_std_by_device(windows: Windows, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`mean_and_std` of every channel, each over the steps that its own device has."""
    if len(windows.device_columns) < 2:
        return mean_and_std(blocks_of(windows, rows))
    mean, std = np.zeros(windows.n_chans), np.zeros(windows.n_chans)
    for name in windows.device_columns:
        mine = [i for i, channel in enumerate(windows.channels) if channel.device == name]
        own_mean, own_std = mean_and_std(blocks_of(replace(windows, devices=(name,)), rows))
        if len(own_mean):  # else no training window has the device
            mean[mine], std[mine] = own_mean, own_std
    return mean, std


def rms_of_kinds(mean: np.ndarray, std: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """The root mean square of each channel's kind, (n_chans,), from every channel's mean and standard deviation."""
    squares = mean**2 + std**2
    out = np.empty_like(squares)
    for kind in set(kinds):
        mine = np.array([one == kind for one in kinds])
        out[mine] = np.sqrt(squares[mine].mean())
    return out


def group_hashes(store: Store, names: Sequence[str]) -> list[str]:
    """Keyed hashes that tell the same patient, session or recording again, in another store of the data set too."""
    return [patient_hashes(store.meta["dataset"], store.meta["version"], [name])[0] for name in names]


def blocks_of(windows: Windows, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Scaled windows (n, n_times, n_chans) of table rows with their valid steps, a bounded number at a time."""
    for piece in pieces(rows, max(1, BLOCK_VALUES // (windows.n_times * windows.n_chans))):
        yield windows.scaled(piece), windows.valid_steps(piece)


def covariances_of(windows: Windows, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Covariance matrices (n, n_chans, n_chans) of scaled windows, in blocks."""
    for x, valid in blocks_of(windows, rows):
        yield covariances(x, valid)


def pieces(indices: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive runs of at most `size` indices."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


@torch.no_grad()
def embed(
    model: Model, windows: Windows, indices: np.ndarray, *, device: torch.device, batch_size: int = 256
) -> np.ndarray:
    """Embeddings (n, D) float32 of table rows `indices`, in evaluation mode.

    The embedding of a window depends neither on its batch nor on the order.
    """
    was_training = model.training
    model.eval()
    try:
        out = np.empty((len(indices), model.vec_dim), dtype=np.float32)
        done = 0
        for piece in pieces(indices, batch_size):
            batch = windows.batch(piece, device)
            out[done : done + len(piece)] = model(batch.x, batch.valid, batch.present).float().cpu().numpy()
            done += len(piece)
        return out
    finally:
        model.train(was_training)
