"""What every criterion shares: scores in full precision, and a zero that can be differentiated."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Similarity = Literal["cosine", "dot"]


def full_precision(z: Tensor) -> Tensor:
    """The tensor in float32 at least; exponentials of half-precision scores overflow or lose the loss."""
    return z.to(torch.promote_types(z.dtype, torch.float32))


def unit(z: Tensor, dim: int = -1) -> Tensor:
    """The tensor over its Euclidean norm along `dim`; a zero vector stays zero and gets no gradient."""
    norm = torch.linalg.vector_norm(z, dim=dim, keepdim=True)
    return z / norm.masked_fill(norm < 1e-12, torch.inf)


def oriented(z: Tensor, similarity: Similarity) -> Tensor:
    """Embeddings whose dot product is `similarity`: unit rows for "cosine"."""
    z = full_precision(z)
    return unit(z) if similarity == "cosine" else z


def scores(rows: Tensor, columns: Tensor, *, similarity: Similarity, temperature: float) -> Tensor:
    """Similarity over temperature of ``(N, D)`` rows and ``(M, D)`` columns, shape ``(N, M)``."""
    with torch.autocast(rows.device.type, enabled=False):
        return oriented(rows, similarity) @ oriented(columns, similarity).T / temperature


def attached_zero(*tensors: Tensor) -> Tensor:
    """A zero whose gradient with respect to every tensor is zero, also where those hold infinities."""
    return torch.stack([full_precision(z[:0]).sum() for z in tensors]).sum()
