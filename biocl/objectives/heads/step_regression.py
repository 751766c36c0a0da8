"""A number of every time step: another channel of the recording."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import StepRegressionTerm
from biocl.objectives.heads.networks import HeadInUnits, build_network, error_of
from biocl.views.view import View


class StepRegressionHead(HeadInUnits):
    """Steps (B, L, D), or pooled latents (B, D), to the trace (B, n_times) of a channel in its own unit.

    One network reads every step of the encoder; what it says is brought to the window's time steps by linear
    interpolation, a step standing at the middle of its equal share of the window.

    Parameters
    ----------
    term : StepRegressionTerm
    n_times, n_steps : int
        Of a window, and of the encoder's sequence.
    seq_dim, vec_dim, n_aux : int
        Widths of a step and of the pooled vector; auxiliary inputs, which are joined to each.
    steps_are_time : bool

    Raises
    ------
    UsageError
        The encoder gives no steps in time.
    """

    def __init__(
        self,
        term: StepRegressionTerm,
        *,
        n_times: int,
        n_steps: int,
        seq_dim: int,
        vec_dim: int,
        n_aux: int = 0,
        steps_are_time: bool = True,
    ) -> None:
        super().__init__(n_aux)
        if term.read == "seq" and (not steps_are_time or n_steps < 2):
            raise UsageError(
                f"The head {term.title} reads steps in time (read: seq), and this encoder gives "
                + ("one for the whole window" if steps_are_time else "none in time"),
                "terms",
                "Use read: vec, or an encoder that keeps steps in time",
            )
        self.term, self.n_times = term, n_times
        in_dim, out_dim = (seq_dim, 1) if term.read == "seq" else (vec_dim, n_times)
        self.network = build_network(term.network, in_dim + n_aux, out_dim)

    def scaled(self, latents: Latents, aux: Tensor | None) -> Tensor:
        """The trace (B, n_times) in standard deviations from the mean."""
        if self.term.read == "vec":
            return self.network(self.joined(latents.vec, aux)).float()
        return at_times(self.network(self.joined(latents.seq, aux)).float(), self.n_times)[..., 0]

    def predict(self, latents: Latents, batch: Batch) -> Tensor:
        """The trace (B, n_times) in the channel's unit."""
        return self.in_units(self.scaled(latents, batch.aux))

    def loss(self, latents: Latents, batch: Batch, view: View) -> Tensor:
        """Error in standard deviations over the steps whose number is known, each step where the view shows it."""
        if batch.trace is None:
            raise no_trace(self.term.title)
        wanted = shown_trace(batch.trace, view)
        return error_of(self.scaled(latents, batch.aux), self.in_deviations(wanted), self.term.loss, wanted.isfinite())


def no_trace(title: str) -> UsageError:
    """The windows have no channel that is predicted."""
    return UsageError(
        f"The head {title} predicts a number of every time step, and the windows have none",
        "data.target",
        "Say which channel it is, as in data.target: {kind: channel, name: RESP}",
    )


def at_times(seq: Tensor, n_times: int) -> Tensor:
    """Steps (B, L, D) at the window's time steps, (B, n_times, D): linear between the middles of their shares."""
    if seq.shape[1] == n_times:
        return seq
    return F.interpolate(seq.transpose(1, 2), size=n_times, mode="linear", align_corners=False).transpose(1, 2)


def shown_trace(trace: Tensor, view: View) -> Tensor:
    """A trace (B, n_times) step by step as a view shows the window; NaN where it shows padding or what is unknown."""
    if view.time_index is not None:
        index = view.time_index.double().clamp(0, trace.shape[1] - 1)
        before = index.floor().long()
        after = index.ceil().long()
        share = (index - before).to(trace.dtype)
        first, second = trace.gather(1, before), trace.gather(1, after)
        trace = torch.where(before == after, first, first + share * (second - first))
    return trace if view.valid is None else trace.masked_fill(~view.valid, float("nan"))
