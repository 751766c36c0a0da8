"""Projectors: small networks between latents and a criterion."""

from __future__ import annotations

from torch import nn

from biocl.objectives.spec import ProjectorSpec


def build_projector(spec: ProjectorSpec, *, in_dim: int) -> nn.Module:
    """Linear-GELU-Linear from `in_dim` to ``spec.out_dim``, on the last axis of a vector or a sequence."""
    return nn.Sequential(nn.Linear(in_dim, spec.hidden_dim), nn.GELU(), nn.Linear(spec.hidden_dim, spec.out_dim))
