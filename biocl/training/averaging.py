"""Averages of the weights along training."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from biocl.training.spec import AverageSpec

Weights = dict[str, torch.Tensor]


def start_average(spec: AverageSpec | None, weights: Mapping[str, torch.Tensor]) -> tuple[Weights, int]:
    """The average before the first step and the number of iterates in it."""
    if spec is None:
        return {}, 0
    counted = 1 if spec.kind == "uniform" and spec.include_init else 0
    return {name: value.detach().clone() for name, value in weights.items()}, counted


@torch.no_grad()
def update_average(
    spec: AverageSpec | None,
    average: Weights,
    n_averaged: int,
    weights: Mapping[str, torch.Tensor],
    step: int,
    copied: tuple[str, ...] = (),
) -> int:
    """Take the weights after optimiser step `step` (counted from 1) into `average`, in place.

    Uniform: ``avg += (w - avg) / (n + 1)``. EMA: ``avg += (1 - decay) (w - avg)``. Before the burn-in ends
    the average follows the weights. Integer entries (batch-norm counters) are copied, and those whose names begin as
    `copied` says.

    Returns
    -------
    int
        Iterates in the average.
    """
    if spec is None:
        return 0
    burning = step <= spec.burn_in_steps
    if burning or n_averaged == 0:
        share = 1.0
    elif spec.kind == "uniform":
        share = 1.0 / (n_averaged + 1)
    else:
        share = 1.0 - spec.decay
    for name, value in weights.items():
        target = average[name]
        if share == 1.0 or not target.is_floating_point() or name.startswith(copied):
            target.copy_(value)
        else:
            target.lerp_(value.detach(), share)
    return 0 if burning else n_averaged + 1
