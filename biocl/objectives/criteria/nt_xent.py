"""NT-Xent over many groups at once, without keeping their similarity matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from biocl.objectives.criteria.scores import Similarity, oriented

# Scores held at once: what stays in a processor's second-level cache, and what keeps a GPU busy.
CHUNK_SCORES = {"cpu": 2**18, "gpu": 2**26}


def nt_xent(
    z1: Tensor,
    z2: Tensor,
    *,
    similarity: Similarity = "cosine",
    temperature: float = 1.0,
    ignore: Tensor | None = None,
) -> Tensor:
    """Two views of N items in each of G groups: every row must find its other view among all other rows.

    With u the 2N rows of one group and k' the other view of row k, the mean over groups and rows of
    ``logsumexp_{m≠k} s_km/τ − s_kk'/τ``. Chance level log(2N − 1); N = 1 gives 0. COMET's sample loss is
    this on ``(T, B, C)``, its observation loss on ``(B, T, C)``, both with dot products and τ = 1.

    The scores of a few groups exist at a time: the gradient is computed with them, so memory does not
    grow with G. First derivatives only.

    Parameters
    ----------
    z1, z2 : Tensor, shape (G, N, D)
        Any memory layout.
    similarity : {"cosine", "dot"}
    temperature : float
    ignore : bool Tensor, shape (N, N), optional
        Pairs of items that are neither positive nor negative, within and across views; symmetric. The
        diagonal is not looked at.

    Returns
    -------
    Tensor, shape ()

    References
    ----------
    Chen et al. 2020, SimCLR; Yue et al. 2022, TS2Vec (dot products, groups).
    """
    with torch.autocast(z1.device.type, enabled=False):
        z1, z2 = oriented(z1, similarity), oriented(z2, similarity)
        wants_grad = torch.is_grad_enabled() and (z1.requires_grad or z2.requires_grad)
        loss: Tensor = _NTXent.apply(z1, z2, temperature, ignore, wants_grad)
    return loss


class _NTXent(torch.autograd.Function):
    """The loss and, in the same sweep over chunks of groups, its gradient."""

    @staticmethod
    def forward(
        ctx: Any, z1: Tensor, z2: Tensor, temperature: float, ignore: Tensor | None, wants_grad: bool
    ) -> Tensor:
        n_groups, n_items, _ = z1.shape
        n_rows = n_groups * 2 * n_items
        hidden = None if ignore is None else _hidden_pairs(ignore)
        grads = [torch.empty_like(z) for z in (z1, z2)] if wants_grad else []
        total = z1.new_zeros(())
        budget = CHUNK_SCORES["cpu" if z1.device.type == "cpu" else "gpu"]
        chunk = max(budget // (2 * n_items) ** 2, 1)
        for start in range(0, n_groups, chunk):
            part = slice(start, start + chunk)
            u = torch.cat([z1[part], z2[part]], dim=1)
            s = torch.bmm(u, u.mT).mul_(1 / temperature)
            positive = torch.stack([s.diagonal(n_items, 1, 2), s.diagonal(-n_items, 1, 2)])
            s.diagonal(0, 1, 2).fill_(-torch.inf)
            if hidden is not None:
                s.masked_fill_(hidden, -torch.inf)
            largest = s.amax(dim=2, keepdim=True)
            softmax = s.sub_(largest).exp_()
            mass = softmax.sum(dim=2, keepdim=True)
            total += largest.sum() + mass.log().sum() - positive.sum()
            if wants_grad:
                softmax.div_(mass)
                pull = softmax + softmax.mT
                pull.diagonal(n_items, 1, 2).sub_(2)
                pull.diagonal(-n_items, 1, 2).sub_(2)
                grad = torch.bmm(pull, u).mul_(1 / (temperature * n_rows))
                grads[0][part], grads[1][part] = grad.split(n_items, dim=1)
        ctx.save_for_backward(*grads)
        return total / n_rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad1, grad2 = ctx.saved_tensors
        return grad * grad1, grad * grad2, None, None, None


def _hidden_pairs(ignore: Tensor) -> Tensor:
    """Pairs of rows that are not scored, (2N, 2N), the rows with themselves aside."""
    own = torch.eye(len(ignore), dtype=torch.bool, device=ignore.device)
    return (ignore & ~own).repeat(2, 2)
