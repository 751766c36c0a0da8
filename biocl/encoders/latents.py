"""From the trunk's sequence to latents: the dropout after the shared trunk, then pooling over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
import torch.nn.functional as F

from biocl.encoders.dropped_max import DroppedSteps
from biocl.encoders.encoder import Encoder
from biocl.encoders.fast_conv import plain
from biocl.encoders.spec_base import Pool, ReadOut
from biocl.errors import UsageError

MAIN = "main"


@dataclass(frozen=True)
class Latents:
    """What an encoder says of a view of a batch: a row of the table Z[view, branch, device].

    Attributes
    ----------
    steps : Tensor, shape (B, L, D), or DroppedSteps, or callable
        One vector per time step, or what makes them when `seq` is first read.
    pool : {"max", "mean", "flatten"}
        How `vec` is made of `seq`.
    valid : Tensor of bool, shape (B, L), or None
        False where the window is padding, which never reaches `vec`.
    segments : int
        Pool in so many equal stretches of the window and lay the results side by side, so that `vec` knows
        when in the window something happened.
    parts : mapping of str to slice
        Of an encoder that says several things side by side in each step: which features are whose.
    """

    steps: torch.Tensor | DroppedSteps | Callable[[], torch.Tensor]
    pool: Pool
    valid: torch.Tensor | None = None
    segments: int = 1
    parts: Mapping[str, slice] = field(default_factory=dict)

    @property
    def branches(self) -> Mapping[str, Latents]:
        """Latents by branch, for terms that read them apart; one encoder is its only branch, ``main``, or has parts."""
        if not self.parts:
            return {MAIN: self}
        return {name: replace(self, steps=self.seq[..., part], parts={}) for name, part in self.parts.items()}

    @property
    def devices(self) -> Mapping[str, Latents]:
        """Latents by device, for terms that contrast devices; none where an encoder reads all channels at once."""
        return {}

    def of(self, branch: str | None = None, device: str | None = None) -> Latents:
        """One cell of the table: of a branch, of a device, of a device's branch, or what all say together."""
        own = self if device is None else self.devices[device]
        return own if branch is None else own.branches[branch]

    @cached_property
    def seq(self) -> torch.Tensor:
        """One vector per time step, shape (B, L, D)."""
        if isinstance(self.steps, DroppedSteps):
            return self.steps.sequence
        return self.steps if isinstance(self.steps, torch.Tensor) else self.steps()

    @cached_property
    def vec(self) -> torch.Tensor:
        """One vector per window, shape (B, segments * D), or (B, L * D) where it is flattened."""
        valid = self.valid
        if isinstance(self.steps, DroppedSteps) and self.pool == "max" and self.segments == 1 and valid is None:
            return self.steps.largest
        if self.pool == "flatten":
            return (self.seq if valid is None else self.seq * valid[..., None]).flatten(1)
        parts = self.seq.tensor_split(self.segments, dim=1)
        shown = [None] * self.segments if valid is None else valid.tensor_split(self.segments, dim=1)
        return torch.cat([pooled(part, self.pool, mask) for part, mask in zip(parts, shown, strict=True)], dim=1)


def pooled(seq: torch.Tensor, pool: Pool, valid: torch.Tensor | None) -> torch.Tensor:
    """Pool a sequence (B, L, D) over its valid steps to (B, D); zero where no step is valid."""
    if valid is None:
        return seq.amax(dim=1) if pool == "max" else seq.mean(dim=1)
    shown = valid[..., None]
    if pool == "mean":
        return (seq * shown).sum(dim=1) / shown.sum(dim=1).clamp(min=1)
    return seq.masked_fill(~shown, float("-inf")).amax(dim=1).masked_fill(~valid.any(dim=1, keepdim=True), 0.0)


def read_out(
    trunk: torch.Tensor,
    *,
    pool: Pool,
    dropout: float,
    training: bool,
    valid: torch.Tensor | None = None,
    segments: int = 1,
    rectified: bool = False,
    parts: Mapping[str, slice] | None = None,
) -> Latents:
    """One dropout draw of the trunk's sequence (B, L, D); calling it again is another draw, not another pass.

    Where no entry is negative (`rectified`), a processor draws no more of it than a maximum over time reads.
    """
    steps: torch.Tensor | DroppedSteps
    if rectified and pool == "max" and training and dropout and not plain(trunk):
        steps = DroppedSteps(trunk, dropout)
    else:
        steps = F.dropout(trunk, dropout, training)
    return Latents(steps, pool, valid, segments, parts or {})


def read_out_of(
    spec: ReadOut,
    trunk: torch.Tensor,
    *,
    training: bool,
    valid: torch.Tensor | None = None,
    rectified: bool = False,
    parts: Mapping[str, slice] | None = None,
) -> Latents:
    """`read_out` as an encoder's keys say; ``valid (B, n_times)`` is brought to the trunk's steps."""
    return read_out(
        trunk,
        pool=spec.pool,
        dropout=spec.dropout,
        training=training,
        valid=None if valid is None else valid_at(valid, trunk.shape[1]),
        segments=spec.segments,
        rectified=rectified,
        parts=parts,
    )


def valid_at(valid: torch.Tensor, n_steps: int) -> torch.Tensor:
    """Which of `n_steps` equal shares of the window show any sample that is not padding."""
    if valid.shape[1] == n_steps:
        return valid
    return F.adaptive_max_pool1d(valid[:, None].float(), n_steps)[:, 0] > 0


def vec_dim(spec: ReadOut, encoder: Encoder, n_times: int | None) -> int:
    """Width of the pooled vector of one encoder."""
    if spec.pool != "flatten":
        if n_times is not None and spec.segments > encoder.n_steps(n_times):
            raise UsageError(
                f"The encoder {encoder.name} gives {encoder.n_steps(n_times)} steps for such windows, which cannot be "
                f"pooled in {spec.segments} segments",
                "encoder.segments",
                "Lower segments, or cut longer windows (data.windows)",
            )
        return spec.segments * encoder.out_dim
    if n_times is None:
        raise ValueError("pool: flatten needs n_times")
    return encoder.n_steps(n_times) * encoder.out_dim
