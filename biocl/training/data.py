"""From row numbers of the window table to a batch of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from biocl.errors import UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.model import Model
from biocl.signals.recording import Channel
from biocl.store.gather import MeanAndFactor, gather, of_columns, valid_steps, window_statistics
from biocl.store.presence import device_columns, device_presence, device_steps
from biocl.store.store import Store, reciprocal
from biocl.store.table import WindowTable
from biocl.store.targets import channel_title
from biocl.store.trials import trial_scaling
from biocl.training.euclidean import Aligner, Groups, whitener
from biocl.training.fitted import Fitted
from biocl.training.fitting import FITTED_SCALES, covariances_of, fit_windows, group_hashes, pieces
from biocl.training.levels import levelled, levels
from biocl.training.spec import AlignSpec, InputScale, Normalise
from biocl.views.signal import SignalInfo


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
    missing : ndarray of bool, shape (n_windows, n_devices of the store), optional
        Which devices are taken away from which windows (`biocl.store.missing.taken_away`).
    target_column : int, optional
        The store's channel that is predicted (``data.target`` of kind channel). It is none of `channels`: nothing that
        is read, fitted or scaled by knows of it, see `trace`.
    normalise : {"none", "instance", "last"}
        What a batch takes out of each channel of each window at last, so that a forecast can put it back: see `levels`.

    Raises
    ------
    UsageError
        The store has no such device, or no channel is left beside the one that is predicted.
    """

    store: Store
    table: WindowTable
    scale: InputScale
    align: AlignSpec | None = None
    train: np.ndarray | None = None
    fitted: Fitted | None = None
    devices: tuple[str, ...] | None = None
    normalise: Normalise = "none"
    missing: np.ndarray | None = None
    target_column: int | None = None

    def __post_init__(self) -> None:
        if self.devices is not None:
            known_devices(self.devices, self.store.channels)
        if self.target_column is not None and not len(self.channels):
            raise UsageError(
                f"{self.target_name} is the only channel of {' + '.join(self.devices or ())}, so there is nothing to "
                "predict it from",
                "data.devices, evaluate.devices",
                "Read other devices too",
            )

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def columns(self) -> np.ndarray | None:
        """Columns of the store's signals that are read; None for all."""
        if self.devices is None and self.target_column is None:
            return None
        read = [self.devices is None or channel.device in self.devices for channel in self.store.channels]
        return np.array([i for i, one in enumerate(read) if one and i != self.target_column], np.int64)

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
        x = self.aligned(self.scaled(indices), indices)
        steps = self.valid_steps(indices) if self.align is not None else None
        if steps is not None:
            x *= steps[:, :, None]
        return x

    def aligned(self, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Whitened signals (B, n_times, n_chans) of table rows `indices`; as they are where nothing is aligned."""
        return x if self.align is None else (x.astype(np.float64) @ self.aligner.whiteners(indices)).astype(np.float32)

    def scaled(self, indices: np.ndarray) -> np.ndarray:
        """Scaled windows (B, n_times, n_chans), not aligned; missing and padded samples are 0."""
        x = self.gathered(indices)
        lacking = self.lacking(indices)
        if lacking is not None:
            devices = list(self.device_columns)
            number = [devices.index(channel.device) for channel in self.channels]
            np.copyto(x, 0, where=lacking[:, None, number])
        return x

    def lacking(self, indices: np.ndarray) -> np.ndarray | None:
        """Which devices are taken away from table rows `indices`, bool (B, V); None where none is."""
        if self.missing is None:
            return None
        every = list(device_columns(self.store.channels))
        found = self.missing[indices][:, [every.index(name) for name in self.device_columns]]
        return found if found.any() else None

    def gathered(self, indices: np.ndarray) -> np.ndarray:
        """Scaled windows (B, n_times, n_chans) of what was recorded, devices that are taken away included."""
        if self.scale == "window":
            return gather(self.store, self.table, indices, scale="window", columns=self.columns)
        return gather(self.store, self.table, indices, by=self.scaling(indices), columns=self.columns)

    def scaling(self, indices: np.ndarray) -> MeanAndFactor | None:
        """What is subtracted from each channel of each window, and by what it is multiplied, (B, n_chans) each."""
        if self.scale == "none":
            return None
        if self.scale == "window":
            plain = gather(self.store, self.table, indices, columns=self.columns)
            steps = self.valid_steps(indices)
            return window_statistics(plain, plain.shape[1] if steps is None else steps.sum(axis=1)[:, None])
        if self.scale == "recording":
            recording = self.table.recording[indices]
            mean, factor = (of_columns(values[recording], self.columns) for values in self.store.scaling)
            return mean, factor
        if self.scale == "trial":
            number, (mean, factor) = self.trial_scaling
            return mean[number[indices]], factor[number[indices]]
        known = self.known
        assert known.mean is not None
        assert known.std is not None
        shape = (len(indices), self.n_chans)
        return np.broadcast_to(known.mean.astype(np.float32), shape), np.broadcast_to(reciprocal(known.std), shape)

    def future(self, indices: np.ndarray) -> np.ndarray:
        """What follows table rows `indices`, float32 (B, n_chans, horizon), scaled and aligned as the windows are.

        Nothing of it enters a window's own scale.
        """
        ahead = gather(self.store, self.table.futures, indices, by=self.scaling(indices), columns=self.columns)
        return self.aligned(ahead, indices).transpose(0, 2, 1)

    @property
    def target_name(self) -> str:
        """What is predicted, with its unit where it has one."""
        if self.target_column is None:
            return self.table.target_name
        return channel_title(self.store.channels[self.target_column])

    def trace(self, indices: np.ndarray) -> np.ndarray:
        """The channel that is predicted in table rows `indices`, float32 (B, n_times), in the store's unit.

        NaN on padding and in gaps of this channel.
        """
        assert self.target_column is not None
        column = np.array([self.target_column])
        trace = gather(self.store, self.table, indices, columns=column)[..., 0]
        steps = valid_steps(self.store, self.table, indices, column)
        return trace if steps is None else np.where(steps, trace, np.float32(np.nan))

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
        lacking = self.lacking(indices)
        if len(self.device_columns) < 2:
            steps = valid_steps(self.store, self.table, indices, self.columns)
            if lacking is None:
                return steps
            return ~lacking & (np.ones((len(indices), self.n_times), np.bool_) if steps is None else steps)
        steps = device_steps(self.store, self.table, indices, self.device_columns, lacking)
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
        found: dict[str, list[int]] = {}
        for column in range(len(self.store.channels)) if self.columns is None else self.columns.tolist():
            found.setdefault(self.store.channels[column].device, []).append(column)
        return found

    def present(self, indices: np.ndarray, *, most_missing: float = 0.5) -> np.ndarray:
        """Which devices have samples in table rows `indices`, bool (B, V): see `device_presence`."""
        lacking = self.lacking(indices)
        found = device_presence(
            self.store, self.table, indices, self.device_columns, lacking, most_missing=most_missing
        )
        return np.ones((len(indices), len(self.device_columns)), np.bool_) if found is None else found

    def traces(self, indices: np.ndarray, device: torch.device) -> torch.Tensor | None:
        """The trace as a tensor; None where no channel is predicted."""
        return None if self.target_column is None else torch.from_numpy(self.trace(indices)).to(device)

    def batch(self, indices: np.ndarray, device: torch.device, *, ahead: bool = True) -> Batch:
        """Everything a step needs of table rows `indices`; without future and trace where nobody looks `ahead`."""
        rows = self.table.rows[indices]
        x = torch.from_numpy(self.read(indices)).to(device).transpose(1, 2)
        valid = self.valid(indices, device)
        level = None if self.normalise == "none" else levels(x, valid, self.normalise)
        several = len(device_columns(self.store.channels)) > 1
        present = None
        if several:
            present = device_presence(self.store, self.table, indices, self.device_columns, self.lacking(indices))

        def column(name: str) -> torch.Tensor:
            return torch.from_numpy(rows[name].astype(np.int64)).to(device)

        return Batch(
            x=x if level is None else levelled(x, valid, *level),
            recording=column("recording"),
            patient=column("patient"),
            trial=column("trial"),
            start=column("start"),
            length=column("length"),
            label=column("label"),
            aux=None if not self.n_aux else torch.from_numpy(self.table.aux[indices]).to(device),
            valid=valid,
            present=None if present is None else torch.from_numpy(present).to(device),
            future=torch.from_numpy(self.future(indices)).to(device) if self.table.horizon and ahead else None,
            level=level,
            labels=None if self.table.labels is None else torch.from_numpy(self.table.labels[indices]).to(device),
            target=None if self.table.target is None else torch.from_numpy(self.table.target[indices]).to(device),
            trace=self.traces(indices, device) if ahead else None,
        )


def known_devices(
    devices: Iterable[str], channels: Sequence[Channel], where: str = "data.devices, evaluate.devices"
) -> None:
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
            where,
            f"Name devices that there are: {', '.join(there)}",
        )


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
