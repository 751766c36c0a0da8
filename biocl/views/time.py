"""Views that move steps in time. Each is a map from the steps of the view to places in the window.

The map of a sample leaves padding at its ends where it is: only the stretch from the first to the last valid step
is reversed, cut or warped. Signal, validity and the time index move together.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from biocl.views.draws import Draws
from biocl.views.view import View


def reverse(view: View) -> View:
    """Play each window backwards."""
    first, last, step = stretch(view)
    return moved(view, inside(step, first, last, first + last - step))


def permute(view: View, *, n_segments: int, draws: Draws) -> View:
    """Cut each window into `n_segments` pieces, equal but for rounding, and put them in random order."""
    first, last, step = stretch(view)
    n = last - first + 1
    edges = torch.arange(n_segments + 1, device=step.device) * n // n_segments
    order = draws.order(len(view.x), n_segments)
    length = edges.diff(dim=1).gather(1, order)
    stop = length.cumsum(dim=1)
    place = (step - first).clamp(min=0).expand(len(view.x), -1).contiguous()
    segment = torch.searchsorted(stop, place, right=True).clamp(max=n_segments - 1)
    source = place - (stop - length).gather(1, segment) + edges.gather(1, order.gather(1, segment))
    return moved(view, inside(step, first, last, first + source))


def crop(view: View, *, share: float, draws: Draws) -> View:
    """Keep a random stretch of at least `share` of each window; the rest becomes padding."""
    first, last, step = stretch(view)
    begin, length = random_stretch(first, last, share, draws)
    kept = (step >= begin) & (step < begin + length)
    valid = kept if view.valid is None else view.valid & kept
    return replace(view, x=torch.where(valid[:, None], view.x, 0.0), valid=valid)


def crop_resize(view: View, *, share: float, draws: Draws) -> View:
    """Stretch a random part of at least `share` of each window to the window's length."""
    first, last, step = stretch(view)
    begin, length = random_stretch(first, last, share, draws)
    speed = (length - 1).double() / (last - first).clamp(min=1)
    return moved(view, inside(step, first, last, begin + (step - first) * speed))


def time_warp(view: View, *, strength: float, knots: int, draws: Draws) -> View:
    """Let time run at smoothly varying speed; the window's first and last step stay.

    The logarithm of the speed is linear between `knots` draws that are uniform within ± log(1 + strength).
    """
    first, last, step = stretch(view)
    n_samples, _, n_times = view.x.shape
    place = torch.linspace(0, knots - 1, n_times, device=step.device)
    hats = (1 - (place - torch.arange(knots, device=step.device)[:, None]).abs()).clamp(min=0)
    course = (draws.uniform(n_samples, knots, low=-1, high=1) @ hats).double()
    speed = (1 + strength) ** course
    passed = F.pad(((speed[:, 1:] + speed[:, :-1]) / 2).cumsum(dim=1), (1, 0))
    begin = passed.gather(1, first)
    whole = (passed.gather(1, last) - begin).clamp(min=1e-9)
    return moved(view, inside(step, first, last, first + (passed - begin) / whole * (last - first)))


def stretch(view: View) -> tuple[Tensor, Tensor, Tensor]:
    """First and last valid step of each window, ``(B, 1)``, and the steps, ``(1, T)``; the whole one if none is."""
    n_samples, _, n_times = view.x.shape
    step = torch.arange(n_times, device=view.x.device)[None]
    if view.valid is None:
        first = step.new_zeros(n_samples, 1)
        return first, first + n_times - 1, step
    some = view.valid.any(dim=1, keepdim=True)
    first = view.valid.int().argmax(dim=1, keepdim=True)
    last = n_times - 1 - view.valid.flip(1).int().argmax(dim=1, keepdim=True)
    return torch.where(some, first, 0), torch.where(some, last, n_times - 1), step


def inside(step: Tensor, first: Tensor, last: Tensor, source: Tensor) -> Tensor:
    """The map `source` within the stretch, every step its own place outside."""
    return torch.where((step >= first) & (step <= last), source, step.to(source.dtype))


def random_stretch(first: Tensor, last: Tensor, share: float, draws: Draws) -> tuple[Tensor, Tensor]:
    """First step and length, ``(B, 1)``, of a part of a stretch: length uniform from `share` to all, then place."""
    n = last - first + 1
    shares = draws.uniform(len(first), 1, low=share, high=1)
    length = (shares * n).round().long().clamp(min=1).minimum(n)
    room = n - length + 1
    offset = (draws.uniform(len(first), 1) * room).long().minimum(room - 1)
    return first + offset, length


def moved(view: View, source: Tensor) -> View:
    """The view whose step t shows the place ``source[:, t]`` of `view`; between two steps it is interpolated.

    A step is valid where what it shows is.
    """
    n_times = view.x.shape[-1]
    steps = torch.arange(n_times, device=source.device).expand(len(source), n_times)
    index = steps if view.time_index is None else view.time_index
    if not source.is_floating_point():
        return replace(
            view,
            x=shown(view.x, source),
            time_index=index.gather(1, source),
            valid=None if view.valid is None else view.valid.gather(1, source),
        )
    low = source.floor().long().clamp(0, n_times - 1)
    high = (low + 1).clamp(max=n_times - 1)
    share = (source - low).clamp(0, 1)
    here, there = shown(view.x, low), shown(view.x, high)
    valid = view.valid
    if valid is not None:
        valid = valid.gather(1, low) & (valid.gather(1, high) | (share == 0))
    return replace(
        view,
        x=torch.lerp(here, there, share[:, None].to(here.dtype)),
        time_index=torch.lerp(index.gather(1, low).double(), index.gather(1, high).double(), share.double()).float(),
        valid=valid,
    )


def shown(x: Tensor, source: Tensor) -> Tensor:
    """``x[b, c, source[b, t]]``."""
    return x.gather(2, source[:, None].expand_as(x))
