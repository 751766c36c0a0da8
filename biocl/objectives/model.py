"""The one model: an encoder, its projectors and its heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from biocl.encoders.build import AnyEncoder, build_encoder
from biocl.encoders.dual import DualEncoder, Trunks
from biocl.encoders.latents import MAIN, Latents, read_out_of, vec_dim
from biocl.encoders.spec import DualSpec, EncoderSpec
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
    n_times : int, optional
        Samples of a window; every encoder but the dilated CNN, and ``pool: flatten``, need it.
    sfreq : float, optional
        Samples a second; every encoder but the dilated CNN needs it.
    channel_names : sequence of str, optional
        For encoders that know where electrodes sit.
    projectors : mapping of str to ProjectorSpec
    terms : sequence of terms
        A head is built for each head term.
    n_outputs, n_aux : int
        Classes and auxiliary inputs of the heads.

    Attributes
    ----------
    seq_dim, vec_dim : int
        Widths of a step of ``seq`` and of ``vec``.
    branch_dims : dict of str to (int, int)
        The same of each branch, for terms that contrast branches (see `Latents.branches`).
    hidden_dim : int or None
        Width of the hidden sequence that a mask ``at: hidden`` hides, None where there is none.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        *,
        n_chans: int,
        n_times: int | None = None,
        sfreq: float | None = None,
        channel_names: Sequence[str] | None = None,
        projectors: Mapping[str, ProjectorSpec] | None = None,
        terms: Sequence[Term] | None = None,
        n_outputs: int = 0,
        n_aux: int = 0,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.encoder: AnyEncoder = build_encoder(
            spec, n_chans=n_chans, n_times=n_times, sfreq=sfreq, channel_names=channel_names
        )
        self.hidden_dim, self.seq_dim = self.encoder.hidden_dim, self.encoder.out_dim
        if isinstance(self.encoder, DualEncoder):
            self.vec_dim, self.branch_dims = self.encoder.vec_dim, self.encoder.branch_dims
        else:
            assert not isinstance(spec, DualSpec)
            self.vec_dim = vec_dim(spec, self.encoder, n_times)
            self.branch_dims = {MAIN: (self.seq_dim, self.vec_dim)}
        if not self.encoder.steps_are_time or (n_times is not None and self.encoder.n_steps(n_times) < 2):
            refuse_time_steps(terms or ())
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
        if "vec" in reads and len(reads) > 1 and self.vec_dim != self.seq_dim:
            raise UsageError(
                f"The projector {name!r} reads both vec and seq, which differ in width "
                f"({self.vec_dim} and {self.seq_dim})",
                "projectors",
                "Use one projector for each",
            )
        return self.vec_dim if reads <= {"vec"} else self.seq_dim

    def fit_aux(self, aux: torch.Tensor) -> None:
        """Scale the auxiliary inputs of every head by the training windows' (n, n_aux)."""
        for head in self.heads.values():
            assert isinstance(head, ClassificationHead)
            head.fit_aux(aux)

    def train(self, mode: bool = True) -> Model:
        """Training or evaluation mode; batch norms of the encoder that are frozen keep their statistics."""
        super().train(mode)
        for module in self.encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and not trains(module):
                module.eval()
        return self

    def trunk(self, view: View) -> torch.Tensor | Trunks:
        """The encoder's sequence (B, L, D) of a view before dropout, or those of its branches by name."""
        return self.encoder(view.x, view.keep)

    def latents(self, trunk: torch.Tensor | Trunks, view: View) -> Latents:
        """One dropout draw of a trunk; its `branches` are the latents of each branch, of the same draw."""
        if isinstance(self.encoder, DualEncoder):
            assert not isinstance(trunk, torch.Tensor)
            return self.encoder.latents(trunk, training=self.training, valid=view.valid)
        assert isinstance(trunk, torch.Tensor)
        assert not isinstance(self.spec, DualSpec)
        valid = view.valid if self.encoder.steps_are_time else None
        return read_out_of(self.spec, trunk, training=self.training, valid=valid)

    def forward(self, x: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """Embed windows: x (B, n_chans, n_times) to vec (B, D), as for evaluation.

        A branch that does not reach the prediction is not computed.
        """
        view = View(x, valid=valid)
        if isinstance(self.encoder, DualEncoder):
            return self.latents(self.encoder(x, only_predicting=True), view).vec
        return self.latents(self.trunk(view), view).vec


def trains(module: nn.Module) -> bool:
    """Whether a module has a parameter of its own that is not frozen, or none at all."""
    parameters = list(module.parameters(recurse=False))
    return not parameters or any(parameter.requires_grad for parameter in parameters)


def refuse_time_steps(terms: Sequence[Term]) -> None:
    """Refuse terms over time steps for an encoder that has none, or one alone."""
    for term in terms:
        if not isinstance(term, HeadTerm) and term.relation == "same-time-step":
            raise UsageError(
                f"The term {term.title} compares time steps, and this encoder does not give several",
                "terms",
                "Use relation: same-sample with read: vec, or another encoder",
            )
