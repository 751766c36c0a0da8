"""The signal where a mask hid it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import ReconstructionTerm
from biocl.objectives.heads.networks import build_network, error_of_windows
from biocl.views.view import View


class ReconstructionHead(nn.Module):
    """Steps (B, L, D) to the signal (B, n_chans, n_times): each gives the samples of its equal share of the window.

    Parameters
    ----------
    term : ReconstructionTerm
    n_chans, n_times, n_steps, seq_dim : int
    steps_are_time : bool

    Raises
    ------
    UsageError
        The encoder's steps are not in time.
    """

    step: Tensor
    place: Tensor

    def __init__(
        self,
        term: ReconstructionTerm,
        *,
        n_chans: int,
        n_times: int,
        n_steps: int,
        seq_dim: int,
        steps_are_time: bool = True,
    ) -> None:
        super().__init__()
        if not steps_are_time:
            raise UsageError(
                f"The head {term.title} reads steps in time, and this encoder's are not in time",
                "terms",
                "Use another encoder, or leave the term out",
            )
        self.term, self.n_chans = term, n_chans
        times = torch.arange(n_times)
        step = times * n_steps // n_times
        # Which sample of its step's share a time is: the share of step i begins at ceil(i * n_times / n_steps).
        self.register_buffer("step", step, persistent=False)
        self.register_buffer("place", times + (-step * n_times) // n_steps, persistent=False)
        self.share = -(-n_times // n_steps)
        self.network = build_network(term.network, seq_dim, n_chans * self.share)

    def forward(self, seq: Tensor) -> Tensor:
        """The signal (B, n_chans, n_times) of steps (B, L, D)."""
        shares = self.network(seq).unflatten(2, (self.share, self.n_chans))
        return shares[:, self.step, self.place].transpose(1, 2)

    def predict(self, latents: Latents, batch: Batch) -> Tensor:
        """The signal (B, n_chans, n_times) as the encoder was to see it."""
        return self(latents.seq).float()

    def loss(self, latents: Latents, batch: Batch, view: View) -> Tensor:
        """Error over what the view's masks hid, as far as there is signal: each window counts alike."""
        if view.hidden is None:
            raise ValueError("a reconstruction head reads views that hide a part of the signal")
        counted = view.hidden if view.valid is None else view.hidden & view.valid[:, None]
        return error_of_windows(self.predict(latents, batch), batch.x, self.term.loss, counted)
