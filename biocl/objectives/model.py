"""The one model: an encoder, its projectors and its heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from biocl.encoders.build import Encoder, build_encoder
from biocl.encoders.latents import Latents, read_out
from biocl.encoders.spec import EncoderSpec
from biocl.errors import UsageError
from biocl.objectives.heads import ClassificationHead
from biocl.objectives.projectors import build_projector
from biocl.objectives.spec import HeadTerm, ProjectorSpec, Term
from biocl.views.view import View


class Model(nn.Module):
    """Encoder, projectors by name and heads by name.

    Parameters
    ----------
    spec : EncoderSpec
    n_chans : int
        Channels of a window.
    projectors : mapping of str to ProjectorSpec
    terms : sequence of terms
        A head is built for each head term.
    n_outputs, n_aux : int
        Classes and auxiliary inputs of the heads.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        *,
        n_chans: int,
        projectors: Mapping[str, ProjectorSpec] | None = None,
        terms: Sequence[Term] | None = None,
        n_outputs: int = 0,
        n_aux: int = 0,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.encoder: Encoder = build_encoder(spec, n_chans=n_chans)
        self.vec_dim = spec.segments * self.encoder.out_dim
        self.projectors = nn.ModuleDict(
            {
                name: build_projector(p, in_dim=self.projected_dim(name, terms or ()))
                for name, p in (projectors or {}).items()
            }
        )
        self.heads = nn.ModuleDict(
            {
                term.head: ClassificationHead(term.network, in_dim=self.vec_dim, n_outputs=n_outputs, n_aux=n_aux)
                for term in terms or ()
                if isinstance(term, HeadTerm)
            }
        )

    def projected_dim(self, name: str, terms: Sequence[Term]) -> int:
        """Width of what a projector reads: steps of the sequence, or the pooled vector."""
        reads = {term.read for term in terms if not isinstance(term, HeadTerm) and term.project == name}
        if "vec" in reads and len(reads) > 1 and self.spec.segments > 1:
            raise UsageError(
                f"The projector {name!r} reads both vec and seq, which differ in width with segments > 1",
                "projectors",
                "Use one projector for each",
            )
        return self.vec_dim if reads <= {"vec"} else self.encoder.out_dim

    def fit_aux(self, aux: torch.Tensor) -> None:
        """Scale the auxiliary inputs of every head by the training windows' (n, n_aux)."""
        for head in self.heads.values():
            assert isinstance(head, ClassificationHead)
            head.fit_aux(aux)

    def trunk(self, view: View) -> torch.Tensor:
        """The encoder's sequence (B, L, D) of a view, before dropout."""
        return self.encoder(view.x, view.keep)

    def latents(self, trunk: torch.Tensor, view: View) -> Latents:
        """One dropout draw of a trunk (see `biocl.encoders.latents.read_out`)."""
        return read_out(
            trunk,
            pool=self.spec.pool,
            dropout=self.spec.dropout,
            training=self.training,
            valid=view.valid,
            segments=self.spec.segments,
        )

    def forward(self, x: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """Embed windows: x (B, n_chans, n_times) to vec (B, D), as for evaluation."""
        view = View(x, valid=valid)
        return self.latents(self.trunk(view), view).vec
