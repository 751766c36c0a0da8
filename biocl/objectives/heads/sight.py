"""What of a window the first step of a forecast looks at: the last sample tells most of the next."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.objectives.heads.forecasting import ForecastingHead

NOTHING = 1e-5


def unseen_samples(read: Callable[[Tensor], Latents], head: ForecastingHead, n_chans: int, n_times: int) -> int:
    """How many of a window's last samples do not reach the first step of a forecast, by its gradient.

    Parameters
    ----------
    read : callable
        Windows (B, n_chans, n_times) to latents, without random draws.
    head : ForecastingHead
    n_chans, n_times : int
    """
    draws = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        x = torch.randn(2, n_chans, n_times, generator=draws).requires_grad_()
        # Drawn factors, since sums over normalised features are constant.
        total = sum((part * torch.randn(part.shape, generator=draws)).sum() for part in head.sees_first(read(x)))
        assert isinstance(total, Tensor)
        (gradient,) = torch.autograd.grad(total, x)
    strength = gradient.abs().amax(dim=(0, 1))
    seen = (strength > NOTHING * strength.max()).nonzero()
    return n_times - 1 - int(seen.max()) if len(seen) else n_times


def check_sight(read: Callable[[Tensor], Latents], head: ForecastingHead, n_chans: int, n_times: int) -> None:
    """Refuse a forecast that begins without a look at the last sample of the window.

    Raises
    ------
    UsageError
    """
    unseen = unseen_samples(read, head, n_chans, n_times)
    if not unseen:
        return
    if head.term.read == "aligned":
        raise UsageError(
            f"The head {head.term.title} reads the first step of the future where the last {unseen} samples of the "
            "window are not seen yet (read: aligned)",
            "terms",
            "Use read: last or flatten",
        )
    raise UsageError(
        f"The encoder does not look at the last {unseen} of the {n_times} samples of a window, since its steps do not "
        f"end with it, and the head {head.term.title} forecasts what follows them",
        "data.windows",
        f"Cut windows of {n_times - unseen} samples, or choose patches, kernels and strides that fill the window",
    )
