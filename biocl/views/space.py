"""Views that change channels: which are there, where they are, how they look at the source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from biocl.views.draws import Draws
from biocl.views.view import View


def channel_dropout(x: Tensor, *, share: float, draws: Draws) -> Tensor:
    """Set each channel to zero with probability `share`, ``(B, C, T)``; the one with the luckiest draw stays."""
    luck = draws.uniform(len(x), x.shape[1])
    kept = (luck >= share) | (luck == luck.amax(dim=1, keepdim=True))
    return torch.where(kept[..., None], x, 0.0)


def device_dropout(view: View, *, devices: Sequence[Sequence[int]], share: float, draws: Draws) -> View:
    """Take each device that is there away with probability `share`; the one with the luckiest draw stays.

    Parameters
    ----------
    view : View
    devices : sequence of sequence of int
        The columns of each device.
    share : float
    draws : Draws
    """
    luck = draws.uniform(len(view.x), len(devices))
    if view.present is not None:
        luck = luck.masked_fill(~view.present, -1)
    kept = (luck >= share) | ((luck == luck.amax(dim=1, keepdim=True)) & (luck >= 0))
    column = torch.empty(view.x.shape[1], dtype=torch.long, device=view.x.device)
    for number, columns in enumerate(devices):
        column[torch.tensor(columns, device=view.x.device)] = number
    return replace(view, x=torch.where(kept[:, column, None], view.x, 0.0), present=kept)


def channel_shuffle(x: Tensor, *, groups: Sequence[Sequence[int]], draws: Draws) -> Tensor:
    """Put the channels of each group in random order, drawn for each sample."""
    source = torch.arange(x.shape[1], device=x.device).repeat(len(x), 1)
    for group in groups:
        columns = torch.tensor(group, device=x.device)
        source[:, columns] = columns[draws.order(len(x), len(group))]
    return x.gather(1, source[..., None].expand_as(x))


def reflect(view: View, *, mirror: Sequence[int], classes: Sequence[int]) -> View:
    """Show each channel's mirror channel, and the class on the other side.

    Parameters
    ----------
    view : View
    mirror : sequence of int
        For each channel the one that takes its place.
    classes : sequence of int
        For each class the class of the reflected window. A target of -1, or none, is unknown and stays so.
    """
    x = view.x[:, torch.tensor(mirror, device=view.x.device)]
    if view.target is None:
        return reflect(replace(view, target=torch.full((len(x),), -1, device=x.device)), mirror=mirror, classes=classes)
    known = view.target >= 0
    target = torch.where(known, torch.tensor(classes, device=x.device)[view.target.clamp(min=0)], view.target)
    changed = (target != view.target) | ~known
    return replace(
        view, x=x, target=target, relabelled=changed if view.relabelled is None else view.relabelled ^ changed
    )


def rotate(x: Tensor, *, devices: Sequence[Sequence[tuple[int, int, int]]], largest_deg: float, draws: Draws) -> Tensor:
    """Turn all triads of a device by one random rotation, ``(B, C, T)``.

    Parameters
    ----------
    x : Tensor, shape (B, n_chans, n_times)
    devices : sequence of sequences of triads
        For each device its triads, as the columns of x, y and z.
    largest_deg : float
        The angle is uniform between 0 and this, the axis uniform on the sphere.
    draws : Draws
    """
    out = x.clone()
    for sensors in devices:
        turn = rotation(len(x), largest_deg, draws).to(x.dtype)
        for triad in sensors:
            columns = list(triad)
            out[:, columns] = turn @ x[:, columns]
    return out


def rotation(n: int, largest_deg: float, draws: Draws) -> Tensor:
    """Rotation matrices ``(n, 3, 3)`` about uniform axes by uniform angles (Rodrigues' formula)."""
    axis = torch.nn.functional.normalize(draws.normal(n, 3), dim=1)
    angle = draws.uniform(n, 1, 1, high=math.radians(largest_deg))
    x, y, z = axis.unbind(dim=1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(n, 3, 3)
    one = torch.eye(3, device=axis.device)
    return one + angle.sin() * cross + (1 - angle.cos()) * cross @ cross


def lead_mix(x: Tensor, *, leads: Sequence[int], strength: float, draws: Draws) -> Tensor:
    """Add to each lead a random combination of the others, then scale its weights to norm one.

    Each of the other n - 1 leads has a normal weight of standard deviation ``strength / sqrt(n - 1)``.
    """
    n = len(leads)
    mix = draws.normal(len(x), n, n) * (strength / math.sqrt(max(n - 1, 1)))
    mix.diagonal(dim1=1, dim2=2).fill_(1)
    mix = torch.nn.functional.normalize(mix, dim=2).to(x.dtype)
    out = x.clone()
    columns = list(leads)
    out[:, columns] = mix @ x[:, columns]
    return out
