"""What follows a window: all its steps at once, of every channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import ForecastingTerm
from biocl.objectives.heads.networks import build_network, error_of


class ForecastingHead(nn.Module):
    """Latents to the future (B, n_chans, horizon), direct: no step is made of another.

    Parameters
    ----------
    term : ForecastingTerm
    n_chans, horizon : int
    n_steps : int
        Steps of the encoder's sequence.
    seq_dim, vec_dim : int
        Widths of a step and of the pooled vector; of a channel's own where it is forecast from itself.
    each_channel : bool
        Every channel has latents of its own, and one head forecasts each from them.
    steps_are_time : bool

    Raises
    ------
    UsageError
        There is no horizon, or the encoder has no such steps.
    """

    def __init__(
        self,
        term: ForecastingTerm,
        *,
        n_chans: int,
        horizon: int,
        n_steps: int,
        seq_dim: int,
        vec_dim: int,
        each_channel: bool = False,
        steps_are_time: bool = True,
    ) -> None:
        super().__init__()
        check_read(term, horizon, n_steps, steps_are_time=steps_are_time)
        self.term, self.horizon, self.each_channel = term, horizon, each_channel
        self.n_series = 1 if each_channel else n_chans
        in_dim = {"flatten": n_steps * seq_dim, "vec": vec_dim}.get(term.read, seq_dim)
        ahead = 1 if term.read == "aligned" else horizon
        self.network = build_network(term.network, in_dim, self.n_series * ahead)

    def forward(self, latents: Latents) -> Tensor:
        """The future (B, n_chans, horizon) in the units of the encoder's input."""
        if not self.each_channel:
            return self.ahead(latents)
        own = list(latents.devices.values())
        shown = torch.stack([self.shown(one) for one in own], dim=1)  # (B, n_chans, …)
        return self.forecast(shown.flatten(0, 1)).unflatten(0, shown.shape[:2]).flatten(1, 2)

    def ahead(self, latents: Latents) -> Tensor:
        """The series (B, n_series, horizon) that follow what one set of latents shows."""
        return self.forecast(self.shown(latents))

    def shown(self, latents: Latents) -> Tensor:
        """What the head sees: (B, in_dim), or (B, horizon, in_dim) where each step of the future has its own."""
        match self.term.read:
            case "vec":
                return latents.vec
            case "flatten":
                valid = latents.valid
                return (latents.seq if valid is None else latents.seq * valid[..., None]).flatten(1)
            case "last":
                return latents.seq[:, -1]
            case "aligned":
                return latents.seq[:, -self.horizon :]

    def sees_first(self, latents: Latents) -> list[Tensor]:
        """The steps of the encoder on which the first step of the future depends."""
        apart = list(latents.devices.values()) or [latents]
        every = [one.seq for one in apart] if self.each_channel else [latents.seq]
        match self.term.read:
            case "last":
                return [seq[:, -1] for seq in every]
            case "aligned":
                return [seq[:, -self.horizon] for seq in every]
            case "vec":  # made of all branches and devices; which step of theirs a maximum takes is chance
                return [branch.seq for one in apart for branch in one.branches.values()]
        return every

    def forecast(self, shown: Tensor) -> Tensor:
        """The series (B, n_series, horizon) of what is shown."""
        out: Tensor = self.network(shown)
        return out.transpose(1, 2) if self.term.read == "aligned" else out.unflatten(1, (self.n_series, self.horizon))

    def predict(self, latents: Latents, batch: Batch) -> Tensor:
        """The future (B, n_chans, horizon) in the units of data.input_scale."""
        out = self(latents).float()
        if batch.level is None:
            return out
        mean, spread = batch.level
        return out * spread + mean

    def loss(self, latents: Latents, batch: Batch) -> Tensor:
        """Error of the forecast in the units of data.input_scale."""
        if batch.future is None:
            raise ValueError("a forecasting head is trained on batches with a future")
        return error_of(self.predict(latents, batch), batch.future, self.term.loss)


def check_read(term: ForecastingTerm, horizon: int, n_steps: int, *, steps_are_time: bool) -> None:
    """Refuse a forecast of nothing, or from steps that the encoder does not have."""
    if not horizon:
        raise UsageError(
            f"The head {term.title} forecasts, and the windows have no future",
            "data.windows",
            "Set horizon_s: SECONDS in data.windows (of kind sliding or event)",
        )
    if term.read in ("last", "aligned") and not steps_are_time:
        raise UsageError(
            f"The head {term.title} reads steps in time (read: {term.read}), and this encoder's are not in time",
            "terms",
            "Use read: flatten or vec",
        )
    if term.read == "aligned" and n_steps < horizon:
        raise UsageError(
            f"The head {term.title} gives each of {horizon} steps of the future a step of the encoder "
            f"(read: aligned), which has {n_steps}",
            "terms",
            "Use read: flatten, or windows at least as long as their future and an encoder that keeps every step",
        )
