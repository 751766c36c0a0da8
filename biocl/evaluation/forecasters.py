"""What forecasts: a model as it was trained, or a frozen encoder under a ridge; both from windows as data says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from biocl.encoders.latents import Latents
from biocl.evaluation.floors_series import ALPHAS, Sums, best_ridge
from biocl.objectives.batch import Batch
from biocl.objectives.heads import ForecastingHead
from biocl.objectives.model import Model
from biocl.training.data import Windows
from biocl.training.fitting import pieces
from biocl.training.levels import levelled, levels

MOST_FEATURES = 2048
"""Widest read-out that a ridge takes: its normal equations are then 32 MB for each map."""
MOST_BYTES = 2**30
"""Sums of the normal equations that are held at once; bounds memory, changes no number."""
BATCH = 256


@dataclass(frozen=True)
class Forecaster:
    """A forecast that can be differentiated by its look-back, `data.normalise` included.

    Attributes
    ----------
    model : Model
        In evaluation mode, on `device`.
    read : callable
        Latents and their batch to forecasts (B, n_chans, horizon) in the units of ``data.input_scale``.
    windows : Windows
    device : torch.device
    """

    model: Model
    read: Callable[[Latents, Batch], torch.Tensor]
    windows: Windows
    device: torch.device

    def forecast(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Look-backs (B, n_chans, L) in the units of ``data.input_scale`` to forecasts; the rest is their batch's."""
        how = self.windows.normalise
        level = None if how == "none" else levels(x, batch.valid, how)
        shown = x if level is None else levelled(x, batch.valid, *level)
        now = replace(batch, x=shown, level=level)
        return self.read(self.model.read(shown, batch.valid, batch.present), now).float()

    def batches(self, rows: NDArray[np.int64], size: int = BATCH) -> Iterator[Batch]:
        """Batches without their future, in the units of ``data.input_scale``: no level is taken out of them."""
        plain = replace(self.windows, normalise="none", fitted=self.windows.known)
        for piece in pieces(rows, size):
            yield plain.batch(piece, self.device, ahead=False)

    @torch.no_grad()
    def predict(self, rows: NDArray[np.int64], size: int = BATCH) -> NDArray[np.float32]:
        """Forecasts (n, n_chans, horizon) of table rows."""
        said = np.empty((len(rows), self.windows.n_chans, self.windows.table.horizon), np.float32)
        for place, batch in enumerate(self.batches(rows, size)):
            said[place * size : (place + 1) * size] = self.forecast(batch.x, batch).cpu().numpy()
        return said


@dataclass(frozen=True)
class RidgeReadOut:
    """A ridge of every step ahead on what a forecasting head would see of a frozen encoder.

    Attributes
    ----------
    head : ForecastingHead
        Says what is seen; its own network is not used.
    mean, scale : Tensor, shape (n_features,)
        Of the training windows.
    coef : Tensor, shape (1 or n_chans, n_features + 1, horizon)
        One map for all channels where each has latents of its own, else a map for each; the last row is the constant.
    alpha : tuple of float
    """

    head: ForecastingHead
    mean: torch.Tensor
    scale: torch.Tensor
    coef: torch.Tensor
    alpha: tuple[float, ...]

    def __call__(self, latents: Latents, batch: Batch) -> torch.Tensor:
        """Forecasts (B, n_chans, horizon) in the units of ``data.input_scale``."""
        seen = with_constant((shown_by(self.head, latents) - self.mean) / self.scale)
        out = (seen.transpose(0, 1) @ self.coef).transpose(0, 1)
        if batch.level is None:
            return out
        mean, spread = batch.level
        return out * spread + mean


def shown_by(head: ForecastingHead, latents: Latents) -> torch.Tensor:
    """What a head sees, (B, 1 or n_chans, n_features)."""
    if not head.each_channel:
        return head.shown(latents)[:, None].float()
    return torch.stack([head.shown(one) for one in latents.devices.values()], dim=1).float()


def with_constant(seen: torch.Tensor) -> torch.Tensor:
    """Features with a column of ones at their end."""
    return torch.cat([seen, torch.ones_like(seen[..., :1])], dim=-1)


@torch.no_grad()
def fit_read_out(
    model: Model,
    head: ForecastingHead,
    windows: Windows,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    device: torch.device,
) -> RidgeReadOut:
    """A ridge by exact normal equations on frozen latents, its penalty chosen on validation windows.

    Errors count in the units of ``data.input_scale``. Windows are encoded once for the mean and spread of their
    features and once for the sums, a bounded number at a time; once more for every further group of channels where the
    sums of all their maps would not fit into `MOST_BYTES`.

    Parameters
    ----------
    model : Model
        In evaluation mode.
    head : ForecastingHead
        Its ``read`` says which latents, side by side, are the features.
    windows : Windows
    train, validation : ndarray of int
        Table rows; without validation the penalty is the default one.
    device : torch.device
    """

    def seen(rows: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, Batch]]:
        for piece in pieces(rows, BATCH):
            batch = windows.batch(piece, device)
            yield shown_by(head, model.read(batch.x, batch.valid, batch.present)), batch

    count, total, squares = 0, torch.zeros(1), torch.zeros(1)
    for features, _ in seen(train):
        flat = features.double().flatten(0, 1)
        count, total, squares = count + len(flat), total + flat.sum(0).cpu(), squares + flat.square().sum(0).cpu()
    mean = total / count
    scale = (squares / count - mean**2).clamp(min=0).sqrt()
    scale = torch.where(scale > 1e-6, scale, 1.0)
    mean, scale = mean.float().to(device), scale.float().to(device)

    def sums(rows: NDArray[np.int64], channels: slice) -> Sums | None:
        found: Sums | None = None
        for features, batch in seen(rows):
            one = block_sums(with_constant((features - mean) / scale), batch, channels, shared=head.each_channel)
            found = one if found is None else Sums(found.xx + one.xx, found.xy + one.xy, found.yy + one.yy)
        return found

    maps = []
    for channels in channel_groups(windows.n_chans, len(mean) + 1, windows.table.horizon, shared=head.each_channel):
        fitted, held = sums(train, channels), sums(validation, channels)
        assert fitted is not None
        maps += [best_ridge(fitted, held, number, ALPHAS) for number in range(len(fitted.yy))]
    coef = torch.from_numpy(np.stack([coef for coef, _ in maps])).float().to(device)
    return RidgeReadOut(head, mean, scale, coef, tuple(alpha for _, alpha in maps))


def channel_groups(n_chans: int, n_features: int, horizon: int, *, shared: bool) -> list[slice]:
    """Channels whose maps are fitted together: all where they share one, else as many as `MOST_BYTES` allow."""
    size = n_chans if shared else max(1, MOST_BYTES // (16 * n_features * (n_features + horizon)))
    return [slice(start, start + size) for start in range(0, n_chans, size)]


def block_sums(seen: torch.Tensor, batch: Batch, channels: slice, *, shared: bool) -> Sums:
    """The sums of one batch, of some channels.

    Rows and futures are weighted by each channel's spread, which puts errors in its units.
    """
    assert batch.future is not None
    features, future = seen.double(), batch.future[:, channels].double()
    if batch.level is not None:
        mean, spread = (part[:, channels].double() for part in batch.level)
        features, future = features * spread, future - mean
    a, b = features.expand(-1, future.shape[1], -1).transpose(0, 1), future.transpose(0, 1)
    if shared:
        a, b = a.flatten(0, 1)[None], b.flatten(0, 1)[None]
    sums: list[Any] = [a.transpose(1, 2) @ a, a.transpose(1, 2) @ b, b.square().sum(dim=(1, 2))]
    return Sums(*(part.cpu().numpy() for part in sums))
