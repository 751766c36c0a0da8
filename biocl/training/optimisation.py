"""Optimiser, learning-rate schedule and precision."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from biocl.errors import UsageError
from biocl.training.spec import OptimSpec


def make_optimiser(parameters: Iterable[nn.Parameter], spec: OptimSpec) -> torch.optim.AdamW:
    """AdamW over the parameters that train."""
    return torch.optim.AdamW([p for p in parameters if p.requires_grad], lr=spec.lr, weight_decay=spec.weight_decay)


def learning_rate(spec: OptimSpec, step: int, n_steps: int) -> float:
    """The rate of step `step` (from 0) of `n_steps`: a function of the step alone, so a resume needs no state."""
    if step < spec.warmup_steps:
        return spec.lr * (step + 1) / spec.warmup_steps
    if spec.schedule == "constant":
        return spec.lr
    done = (step - spec.warmup_steps) / max(1, n_steps - spec.warmup_steps)
    return spec.lr * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def resolve_precision(precision: str, device: torch.device) -> str:
    """What ``auto`` means on `device`: bf16 on a GPU that has it, else float32."""
    if precision != "auto":
        return precision
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The autocast context of a resolved precision."""
    if resolve_precision(precision, device) == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def resolve_device(device: str) -> torch.device:
    """``auto`` is the first GPU where there is one, else the processor.

    Raises
    ------
    UsageError
        There is no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(device)
        torch.Generator(device=target)  # a device that draws no random numbers cannot train
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        raise UsageError(f"There is no device {device!r} here", "--device", "Use auto, cpu or cuda") from error
    return target
