"""What the criteria over several devices share: who is present, and who is whose negative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from biocl.objectives.criteria.scores import full_precision, unit
from biocl.objectives.criteria.streamed import streamed_log_sum_exp


@dataclass(frozen=True)
class Devices:
    """Latents of V devices of which some may be absent.

    Attributes
    ----------
    u : Tensor, shape (V, B, D)
        Float32 at least; zero where a device is absent, whatever was there.
    here : bool Tensor, shape (V, B)
    ignore : bool Tensor, shape (B, B), optional
    """

    u: Tensor
    here: Tensor
    ignore: Tensor | None

    def hidden(self, part: slice, own: bool = True) -> Tensor:
        """Pairs of samples that are no negatives, (rows of the slice, B); `own`: nor is the sample itself."""
        index = torch.arange(self.u.shape[1], device=self.u.device)
        diagonal = index[part, None] == index
        if self.ignore is None:
            return diagonal & own
        ignored = self.ignore[part]
        return ignored | diagonal if own else ignored & ~diagonal

    def negatives(self) -> Tensor:
        """How many negatives every sample has within each device, (V, B)."""
        here = self.here.to(self.u.dtype)
        if self.ignore is None:
            return here.sum(dim=1, keepdim=True) - here
        return here @ (~self.hidden(slice(None))).to(here.dtype).T

    def pair_scores(self, temperature: float) -> tuple[Tensor, Tensor]:
        """Scores between the devices of one sample, and which of them exist with two devices; (B, V, V)."""
        scores = torch.einsum("lbd,mbd->blm", self.u / temperature, self.u)
        apart = ~torch.eye(len(self.u), dtype=torch.bool, device=self.u.device)
        return scores, self.here.T[:, :, None] & self.here.T[:, None, :] & apart


def devices(z: Tensor, present: Tensor | None, ignore: Tensor | None, *, normalise: bool = True) -> Devices:
    """Latents in full precision, of unit length, with absent ones zero.

    Parameters
    ----------
    z : Tensor, shape (V, B, D)
    present : bool Tensor, shape (B, V), optional
    ignore : bool Tensor, shape (B, B), optional
    normalise : bool
    """
    z = full_precision(z)
    if present is None:
        here = torch.ones(z.shape[:2], dtype=torch.bool, device=z.device)
    else:
        here = present.T
        z = z.masked_fill(~here[:, :, None], 0)
    return Devices(unit(z) if normalise else z, here, ignore)


def within_devices(d: Devices, temperature: float) -> Tensor:
    """``logsumexp_j u_il·u_jl/τ`` over a sample's negatives in each device, (V, B); V B² scores, streamed.

    Minus infinity, without a gradient, where a device has no negative.
    """
    absent = ~d.here
    return streamed_log_sum_exp(d.u / temperature, d.u, lambda device, part: d.hidden(part) | absent[device])


def masked_log_sum_exp(x: Tensor, mask: Tensor) -> Tensor:
    """Over the last axis, of the entries that `mask` names; meaningless but finite where there is none."""
    mask = mask & ~x.isneginf()
    return x.masked_fill(~mask, -torch.inf).masked_fill(~mask.any(dim=-1, keepdim=True), 0).logsumexp(dim=-1)


def mean_of(values: Tensor, valid: Tensor) -> Tensor:
    """The mean over valid entries, 0 attached to the graph if there is none."""
    return values.masked_fill(~valid, 0).sum() / valid.sum().clamp(min=1)


def counts(valid: Tensor) -> dict[str, int]:
    """Anchors in the mean, and those left out of it."""
    n_anchors = int(valid.sum())
    return {"anchors": n_anchors, "skipped": valid.numel() - n_anchors}


def paired(
    pair: Devices, temperature: float | Tensor, denominator: Literal["nt-xent", "info-nce"]
) -> tuple[Tensor, Tensor]:
    """NT-Xent, or InfoNCE in both directions, between two devices, over the samples that have both.

    Parameters
    ----------
    pair : Devices
        With V = 2.
    temperature : float or Tensor
    denominator : {"nt-xent", "info-nce"}
        Whether the device's own samples are negatives too.

    Returns
    -------
    loss : Tensor, shape ()
        The mean over rows; 0 if no sample has both devices and a negative.
    valid : bool Tensor, shape (B,)
        The samples that entered the mean.
    """
    u, n = pair.u, pair.u.shape[1]
    both = pair.here.all(dim=0)
    flat = Devices(u, both.expand(2, n), pair.ignore)
    valid = both & (flat.negatives()[0] > 0)
    others = [1, 0]
    if denominator == "info-nce":
        mass = streamed_log_sum_exp(
            u / temperature, u[others], lambda device, part: flat.hidden(part, own=False) | ~both
        )
    else:
        columns = torch.cat([u, u[others]], dim=1)
        mass = streamed_log_sum_exp(
            u / temperature,
            columns,
            lambda device, part: torch.cat([flat.hidden(part), flat.hidden(part, own=False)], dim=1) | ~both.repeat(2),
        )
    attraction = (u[0] * u[1]).sum(dim=1) / temperature
    return mean_of(mass.masked_fill(~valid, 0).mean(dim=0) - attraction, valid), valid
