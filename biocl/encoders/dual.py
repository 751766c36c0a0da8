"""Two branches that read the same view, and what joins them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from biocl.encoders.encoder import Encoder
from biocl.encoders.latents import Latents, read_out_of, vec_dim
from biocl.encoders.spec import DualSpec
from biocl.encoders.transformer import Attention

Trunks = Mapping[str, Tensor]


@dataclass(frozen=True)
class FusedLatents(Latents):
    """What two branches say together.

    Attributes
    ----------
    of_branch : mapping of str to Latents
        Each branch's own latents, of the same dropout draw; see `branches`.
    fuse : callable
        Vectors of the branches, by name, to the one vector (B, D) that predicts.
    """

    of_branch: Mapping[str, Latents] = field(default_factory=dict)
    fuse: Callable[[Mapping[str, Latents]], Tensor] | None = None

    @property
    def branches(self) -> Mapping[str, Latents]:
        """Latents by branch."""
        return self.of_branch

    @cached_property
    def vec(self) -> Tensor:
        """The fused vector, shape (B, D)."""
        assert self.fuse is not None
        return self.fuse(self.of_branch)


class DualEncoder(nn.Module):
    """Two encoders and their fusion.

    The sequence ``seq`` of the pair is the first branch's; under ``cross-attention`` after it has read the second's.

    Parameters
    ----------
    spec : DualSpec
    encoders : mapping of str to Encoder
        One for each name in ``spec.dual``, in that order.
    n_times : int
        Samples of a window.

    Attributes
    ----------
    out_dim : int
        Width of `seq`.
    vec_dim : int
        Width of the fused vector.
    branch_dims : dict of str to (int, int)
        Widths of a step and of the vector of each branch.
    predicting : tuple of str
        The branches that reach the prediction: the first alone with ``fusion: none``, else both.
    """

    def __init__(self, spec: DualSpec, encoders: Mapping[str, Encoder], n_times: int) -> None:
        super().__init__()
        self.spec = spec
        self.branches = nn.ModuleDict(encoders)
        self.first, self.second = encoders
        self.predicting = (self.first,) if spec.fusion == "none" else (self.first, self.second)
        hidden = {encoder.hidden_dim for encoder in encoders.values()}
        # Where the widths differ, one mask over features cannot serve both.
        self.hidden_dim = hidden.pop() if len(hidden) == 1 else None
        main = encoders[self.first]
        self.steps_are_time, self.out_dim = main.steps_are_time, main.out_dim
        self.receptive_field = max(encoder.receptive_field for encoder in encoders.values())
        self.least_times = max(encoder.least_times for encoder in encoders.values())
        dims = {name: encoder.out_dim for name, encoder in encoders.items()}
        self.fusion: nn.Module | None = None
        if spec.fusion == "cross-attention":
            self.fusion = CrossAttention(dims, spec.fused_dim, spec.n_heads)
        vectors = {name: vec_dim(spec.dual[name], encoder, n_times) for name, encoder in encoders.items()}
        self.branch_dims = {name: (dims[name], vectors[name]) for name in encoders}
        self.vec_dim = sum(vectors[name] for name in self.predicting)
        if spec.fusion == "gate":
            self.fusion = Gate(vectors, spec.fused_dim)
            self.vec_dim = spec.fused_dim

    @property
    def blocks(self) -> list[nn.ModuleList]:
        """Stages, counted from the end: the last holds the last stage of each branch and the fusion."""
        return joined_stages(self.branches.values(), self.fusion)

    def n_steps(self, n_times: int) -> int:
        """Steps of `seq`."""
        return self.branches[self.first].n_steps(n_times)  # type: ignore[operator]

    def forward(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        *,
        only_predicting: bool = False,
        present: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Encode windows with each branch, or with those alone that reach the prediction.

        Parameters
        ----------
        x : Tensor, shape (B, n_chans, n_times)
        keep : bool Tensor, optional
            See `biocl.encoders.encoder.Encoder.forward`.
        only_predicting : bool
        present : bool Tensor, optional
            See `latents`.

        Returns
        -------
        dict of str to Tensor
            Sequences (B, L, out_dim) of the branches, before the shared dropout.
        """
        names = self.predicting if only_predicting else tuple(self.branches)
        return {name: self.branches[name](x, keep) for name in names}

    def latents(
        self, trunks: Trunks, *, training: bool, valid: Tensor | None = None, present: Tensor | None = None
    ) -> FusedLatents:
        """One dropout draw of each branch's sequence, and their fusion.

        Parameters
        ----------
        trunks : mapping of str to Tensor
            From `forward`.
        training : bool
        valid : bool Tensor, shape (B, n_times), optional
        present : bool Tensor, optional
            Both branches read the channels of all devices, an absent one's as zeros.
        """
        own = {
            name: read_out_of(
                self.spec.dual[name],
                trunk,
                training=training,
                rectified=bool(self.branches[name].rectified),
                valid=valid if self.branches[name].steps_are_time else None,
            )
            for name, trunk in trunks.items()
        }
        main = own[self.first]
        if isinstance(self.fusion, CrossAttention):
            both = self.fusion(own)
            seq, fuse = both[self.first].seq, lambda _: side_by_side(both)
            return FusedLatents(seq, main.pool, main.valid, main.segments, of_branch=own, fuse=fuse)
        reach = {name: own[name] for name in self.predicting}
        fuse = self.fusion if isinstance(self.fusion, Gate) else side_by_side
        return FusedLatents(main.steps, main.pool, main.valid, main.segments, of_branch=own, fuse=lambda _: fuse(reach))


def joined_stages(encoders: Iterable[nn.Module], fusion: nn.Module | None) -> list[nn.ModuleList]:
    """Stages of several encoders, counted from the end: the last holds the last of each, and the fusion."""
    stages = [list(encoder.blocks)[::-1] for encoder in encoders]  # type: ignore[arg-type]
    depth = max(len(one) for one in stages)
    joined = [nn.ModuleList(one[i] for one in stages if i < len(one)) for i in range(depth)]
    if fusion is not None:
        joined[0].append(fusion)
    return joined[::-1]


def side_by_side(own: Mapping[str, Latents]) -> Tensor:
    """The branches' vectors, joined (B, sum of widths)."""
    return torch.cat([one.vec for one in own.values()], dim=1)


class Gate(nn.Module):
    """A learned mixture, feature by feature: ``g * a + (1 - g) * b`` with g in (0, 1) from both vectors."""

    def __init__(self, widths: Mapping[str, int], fused_dim: int) -> None:
        super().__init__()
        self.lifts = nn.ModuleDict({name: nn.Linear(width, fused_dim) for name, width in widths.items()})
        self.share = nn.Linear(sum(widths.values()), fused_dim)

    def forward(self, own: Mapping[str, Latents]) -> Tensor:
        """Latents by branch to (B, fused_dim)."""
        share = self.share(side_by_side(own)).sigmoid()
        first, second = (lift(own[name].vec) for name, lift in self.lifts.items())
        return share * first + (1 - share) * second


class CrossAttention(nn.Module):
    """The steps of each branch read those of the other; what they read is added to them."""

    def __init__(self, widths: Mapping[str, int], fused_dim: int, n_heads: int) -> None:
        super().__init__()
        self.lifts = nn.ModuleDict({name: nn.Linear(width, fused_dim) for name, width in widths.items()})
        self.attentions = nn.ModuleDict({name: Attention(fused_dim, n_heads) for name in widths})
        self.returns = nn.ModuleDict({name: nn.Linear(fused_dim, width) for name, width in widths.items()})

    def forward(self, own: Mapping[str, Latents]) -> dict[str, Latents]:
        """Latents by branch to latents whose sequences know the other branch; padding is never read."""
        lifted = {name: lift(own[name].seq) for name, lift in self.lifts.items()}
        first, second = own
        out = {}
        for name, other in ((first, second), (second, first)):
            read = self.attentions[name](lifted[name], lifted[other], valid=own[other].valid)
            mine = own[name]
            out[name] = Latents(mine.seq + self.returns[name](read), mine.pool, mine.valid, mine.segments)
        return out
