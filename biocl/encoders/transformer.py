"""Parts of the Transformers: attention, with or without rotary positions, and a block around it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention of a sequence to itself or to another one.

    Parameters
    ----------
    width : int
        Width of a token.
    n_heads : int
        Divides the width.
    scale : float, optional
        Factor of the products; default one over the root of a head's width.
    rotary : bool
        Turn queries and keys by their place, so that products depend on distances.
    dropout : float
        On the attention weights, in training only.
    """

    def __init__(
        self, width: int, n_heads: int, *, scale: float | None = None, rotary: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.n_heads, self.scale, self.rotary, self.dropout = n_heads, scale, rotary, dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, other: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Tokens (B, L, width) that read `other` (B, L', width), or themselves, where ``valid (B, L')`` is True.

        Where no step is valid, all are read alike: the caller leaves such a row out.
        """
        key, value = self.key_value(x if other is None else other).chunk(2, dim=-1)
        query, key, value = (self.split(part) for part in (self.query(x), key, value))
        if self.rotary:
            query, key = rotate(query), rotate(key)
        dropout = self.dropout if self.training else 0.0
        shown = None
        if valid is not None:
            shown = (valid | ~valid.any(dim=1, keepdim=True))[:, None, None, :]
        read = F.scaled_dot_product_attention(query, key, value, shown, dropout_p=dropout, scale=self.scale)
        return self.out(read.transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> Tensor:
        """(B, L, width) to (B, n_heads, L, width / n_heads)."""
        return x.unflatten(2, (self.n_heads, -1)).transpose(1, 2)


def rotate(x: Tensor) -> Tensor:
    """Turn pairs of features of ``x (B, n_heads, L, width)`` by angles that grow with the place (Su et al. 2021)."""
    n_steps, half = x.shape[2], x.shape[3] // 2
    speed = 10_000.0 ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = torch.arange(n_steps, device=x.device, dtype=torch.float32)[:, None] * speed
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class Block(nn.Module):
    """Attention and a perceptron, each with a skip.

    Parameters
    ----------
    attention : Attention
    width, hidden_dim : int
        Widths of a token and of the perceptron's hidden layer.
    dropout : float
        On what each part adds and inside the perceptron, in training only.
    norm_first : bool
        Normalise what a part reads (pre-norm), or the sum after it (post-norm).
    activation : callable
        Of the perceptron.
    """

    def __init__(
        self,
        attention: Attention,
        width: int,
        hidden_dim: int,
        *,
        dropout: float,
        norm_first: bool = True,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        super().__init__()
        self.norm_first, self.activation = norm_first, activation
        self.attention = attention
        self.widen, self.narrow = nn.Linear(width, hidden_dim), nn.Linear(hidden_dim, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, L, width) to tokens."""
        if self.norm_first:
            x = x + self.dropout(self.attention(self.norm1(x)))
            return x + self.dropout(self.perceptron(self.norm2(x)))
        x = self.norm1(x + self.dropout(self.attention(x)))
        return self.norm2(x + self.dropout(self.perceptron(x)))

    def perceptron(self, x: Tensor) -> Tensor:
        """Two linear layers on each token."""
        return self.narrow(self.dropout(self.activation(self.widen(x))))
