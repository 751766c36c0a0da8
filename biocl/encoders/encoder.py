"""What every encoder is: a module from windows to a sequence of steps, with the facts that others ask of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from biocl.errors import UsageError


class Encoder(nn.Module):
    """Base of the encoders: checks the window and the mask, then calls `encode`.

    A subclass gives `encode` and `n_steps`, calls ``super().__init__`` with the facts below, and names its stages
    in `blocks`, first to last, for fine-tuning of the last ones.

    Parameters
    ----------
    name : str
        As in the configuration, for errors.
    n_chans : int
        Channels of a window.
    out_dim : int
        Width of a step of the sequence.
    receptive_field : int
        Samples of the window that one step can depend on, at most.
    least_times : int
        Shortest window that the encoder takes, in samples.
    hidden_dim : int, optional
        Width of the first hidden sequence of steps, which a mask ``at: hidden`` hides; None where there is none.
    steps_are_time : bool
        False where the steps are not in order of time, such as one step for each channel.
    rectified : bool
        True where no entry of the sequence is ever negative.
    causal : bool
        True where no step depends on samples behind it.
    """

    blocks: nn.ModuleList
    parts: Mapping[str, slice] = MappingProxyType({})
    """Of an encoder that says several things side by side in each step: which features are whose, by name."""

    def __init__(
        self,
        name: str,
        n_chans: int,
        *,
        out_dim: int,
        receptive_field: int,
        least_times: int = 1,
        hidden_dim: int | None = None,
        steps_are_time: bool = True,
        rectified: bool = False,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.name, self.n_chans, self.out_dim = name, n_chans, out_dim
        self.receptive_field, self.least_times = receptive_field, least_times
        self.hidden_dim, self.steps_are_time = hidden_dim, steps_are_time
        self.rectified, self.causal = rectified, causal

    def n_steps(self, n_times: int) -> int:
        """Steps of the sequence for windows of `n_times` samples."""
        raise NotImplementedError

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) that were checked to a sequence (B, L, out_dim)."""
        raise NotImplementedError

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encode windows.

        Parameters
        ----------
        x : Tensor, shape (B, n_chans, n_times)
            Windows in any memory layout; not written to.
        keep : bool Tensor, shape (B, n_times) or (B, n_times, hidden_dim), optional
            False where the first hidden sequence is set to zero. Where a hidden step stands for several samples,
            the sample in its middle decides.

        Returns
        -------
        Tensor, shape (B, L, out_dim)

        Raises
        ------
        UsageError
            The window is too short, or `keep` is given and there is no hidden sequence of steps.
        """
        self.check_length(x.shape[2])
        if keep is not None and self.hidden_dim is None:
            raise UsageError(
                f"The encoder {self.name} has no hidden sequence of steps that a mask could hide",
                "views",
                "Mask the signal with at: input",
            )
        return self.encode(x, keep)

    def check_length(self, n_times: int) -> None:
        """Refuse windows that are shorter than the encoder can take."""
        if n_times < self.least_times:
            raise UsageError(
                f"The encoder {self.name} needs windows of at least {self.least_times} samples, "
                f"and these have {n_times}",
                "encoder",
                "Cut longer windows (data.windows), or make the encoder's kernels, pools or patches shorter",
            )


def hide(hidden: Tensor, keep: Tensor | None) -> Tensor:
    """Set steps of ``hidden (B, L, H)`` to zero where ``keep (B, n_times)`` or ``(B, n_times, H)`` is False.

    A step stands for an equal share of the window; the sample in the middle of that share decides.
    """
    if keep is None:
        return hidden
    shown = keep if keep.dim() == 3 else keep.unsqueeze(-1)
    return hidden.masked_fill(~at_steps(shown, hidden.shape[1]), 0)


def at_steps(mask: Tensor, n_steps: int) -> Tensor:
    """A mask (B, n_times, …) read at the middles of `n_steps` equal shares of the window."""
    n_times = mask.shape[1]
    if n_steps == n_times:
        return mask
    middles = (2 * torch.arange(n_steps, device=mask.device) + 1) * n_times // (2 * n_steps)
    return mask[:, middles]


def seen_by_a_step(layers: Iterable[tuple[int, int]]) -> int:
    """Receptive field in samples of convolutions and pools, given as ``(kernel, stride)``, first to last.

    A dilated kernel counts with its span, ``1 + (kernel - 1) * dilation``.
    """
    field = jump = 1
    for kernel, stride in layers:
        field += (kernel - 1) * jump
        jump *= stride
    return field


def valid_length(n_times: int, layers: Iterable[tuple[int, int]]) -> int:
    """Steps that are left of `n_times` after convolutions and pools without padding; may be 0 or less."""
    for kernel, stride in layers:
        n_times = (n_times - kernel) // stride + 1
    return n_times


def samples_of(milliseconds: float, sfreq: float) -> int:
    """A time in whole samples, at least one."""
    return max(1, round(milliseconds / 1000 * sfreq))


def odd_samples_of(milliseconds: float, sfreq: float) -> int:
    """The odd number of samples nearest to a time, so that a kernel has a centre."""
    return max(1, 2 * round((milliseconds / 1000 * sfreq - 1) / 2) + 1)
