"""SupReMix: supervised contrast by a number, with mixtures of embeddings as harder positives and negatives."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from biocl.objectives.criteria.scores import attached_zero, oriented


class Mixtures(NamedTuple):
    """``share * z[first] + (1 - share) * z[second]`` for each of N anchors, M of them; `there` where one exists."""

    first: Tensor
    second: Tensor
    share: Tensor
    there: Tensor

    def labels(self, target: Tensor) -> Tensor:
        """The mixtures' targets, mixed as they are, (N, M)."""
        return self.share * target[self.first] + (1 - self.share) * target[self.second]

    def of_scores(self, scores: Tensor) -> Tensor:
        """Scores (N, M) of the anchors with their mixtures, from those (N, N) with what is mixed."""
        share = self.share.to(scores)
        return share * scores.gather(1, self.first) + (1 - share) * scores.gather(1, self.second)


def supremix(
    z: Tensor,
    target: Tensor,
    positives: Tensor,
    *,
    temperature: float = 0.3,
    reach: float = 5.0,
    unit: float = 1.0,
    weights: Literal["distance", "none"] = "distance",
    share: float | tuple[float, float] = (2.0, 8.0),
    n_negatives: int = 64,
    n_positives: int = 64,
    ignore: Tensor | None = None,
    detach: bool = True,
) -> tuple[Tensor, dict[str, int]]:
    """Every anchor against all other items and against mixtures, weighted by how far their targets are.

    ``L_i = mean_{p∈P_i} [ logsumexp_a (s_ia/τ + log w_ia) − s_ip/τ ]`` with ``w_ia = |y_i − y_a| / unit + 1``, where
    `a` runs over all other items and the anchor's mixtures, and `P_i` holds its positives among both:

    - a hard negative ``α z_i + (1−α) z_k`` for each negative `k`, of target ``α y_i + (1−α) y_k``;
    - a hard positive ``α z_j + (1−α) z_k`` for each two with ``y_j < y_i < y_k``, both nearer than `reach`, and α such
      that its target is ``y_i``.

    Mixtures are not of unit length. One log-sum-exp holds real and mixed scores (the public code shifts them by
    different maxima, which changes the loss), and the mean is over ``|P_i|`` (there ``|P_i| + 1``). The memory is
    O(N² + N M) for M mixtures of an anchor, since their scores are mixtures of scores.

    Parameters
    ----------
    z : Tensor, shape (N, D)
        Of one view, or of several one after the other.
    target : Tensor, shape (N,)
        All known. Weights and `reach` depend on its unit.
    positives : bool Tensor, shape (N, N)
        Pairs whose targets count as equal; the diagonal is not looked at.
    temperature : float
    reach : float
        The parts of a hard positive are nearer to the anchor's target than this.
    unit : float
        The difference of targets that counts as 1 in weights.
    weights : {"distance", "none"}
        "none" has ``w = 1``: without mixtures that is `sup_con`.
    share : float, or tuple of two floats
        α of hard negatives, or the parameters of the Beta distribution it is drawn from.
    n_negatives, n_positives : int
        Most mixtures of each kind an anchor has, drawn among the possible ones; 0 for none.
    ignore : bool Tensor, shape (N, N), optional
        Pairs that are neither positive nor negative, nor mixed for each other.
    detach : bool
        No gradient flows into mixtures.

    Returns
    -------
    loss : Tensor, shape ()
        A zero attached to the graph if no anchor has a positive.
    info : dict of str to int
        ``anchors``, ``skipped``, and ``mixed_positives`` and ``mixed_negatives`` of all anchors together.

    Notes
    -----
    Draws are made on the CPU from torch's global stream.

    References
    ----------
    Wu et al. 2023, "Mixup Your Own Pairs".
    """
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    scored = ~own if ignore is None else ~own & ~ignore
    positives = positives & scored
    target = target.to(torch.promote_types(target.dtype, torch.float32))
    negative = hard_negatives(scored & ~positives, share=share, most=n_negatives)
    positive = hard_positives(target, scored, reach=reach, most=n_positives)
    counts = positives.sum(dim=1) + positive.there.sum(dim=1)
    anchors = counts > 0
    info = {
        "anchors": int(anchors.sum()),
        "skipped": int((~anchors).sum()),
        "mixed_positives": int(positive.there.sum()),
        "mixed_negatives": int(negative.there.sum()),
    }
    if not info["anchors"]:
        return attached_zero(z), info
    with torch.autocast(z.device.type, enabled=False):
        unit_z = oriented(z, "cosine")
        s = unit_z @ unit_z.T / temperature
        mixed = unit_z @ unit_z.detach().T / temperature if detach else s
    log_w = log_weights(target, target[None, :], unit, weights).to(s)
    log_w_negative = log_weights(target, negative.labels(target), unit, weights).to(s)
    s_positive = positive.of_scores(mixed)
    every = torch.cat(
        [
            (s + log_w).masked_fill(~scored, -torch.inf),
            (negative.of_scores(mixed) + log_w_negative).masked_fill(~negative.there, -torch.inf),
            s_positive.masked_fill(~positive.there, -torch.inf),
        ],
        dim=1,
    )
    attraction = s.masked_fill(~positives, 0).sum(dim=1) + s_positive.masked_fill(~positive.there, 0).sum(dim=1)
    return (every[anchors].logsumexp(dim=1) - attraction[anchors] / counts[anchors]).mean(), info


def log_weights(target: Tensor, others: Tensor, unit: float, weights: Literal["distance", "none"]) -> Tensor:
    """Logarithm of ``|y_i − y_a| / unit + 1``, or 0; `others` is (1, N) or (N, M)."""
    apart = (target[:, None] - others).abs()
    return torch.log1p(apart / unit) if weights == "distance" else torch.zeros_like(apart)


def hard_negatives(negatives: Tensor, *, share: float | tuple[float, float], most: int) -> Mixtures:
    """Mixtures of every anchor with its negatives, (N, M)."""
    number, there = drawn(negatives.sum(dim=1), most)
    second = listed(negatives).gather(1, number)
    first = torch.arange(len(negatives), device=negatives.device)[:, None].expand_as(second)
    if isinstance(share, tuple):
        beta = torch.distributions.Beta(torch.tensor(share[0]), torch.tensor(share[1]))
        drawn_share = beta.sample(second.shape).to(negatives.device)
    else:
        drawn_share = torch.full(second.shape, share, dtype=torch.float64, device=negatives.device)
    return Mixtures(first, second, drawn_share, there)


def hard_positives(target: Tensor, scored: Tensor, *, reach: float, most: int) -> Mixtures:
    """Mixtures of an item below and one above the anchor's target, of that target themselves, (N, M)."""
    apart = target[None, :] - target[:, None]
    below, above = (scored & (side > 0) & (side < reach) for side in (-apart, apart))
    n_above = above.sum(dim=1)
    number, there = drawn(below.sum(dim=1) * n_above, most)
    n_above = n_above.clamp(min=1)[:, None]
    first = listed(below).gather(1, number // n_above)
    second = listed(above).gather(1, number % n_above)
    low, high = target[first], target[second]
    share = (high - target[:, None]) / torch.where(there, high - low, 1)
    return Mixtures(first, second, share, there)


def listed(mask: Tensor) -> Tensor:
    """For every row the columns that are True, in order, before the others; (N, N) int64."""
    return mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)


def drawn(n: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Numbers below `n` (N,), at most `most` for each row: all, or one out of each of `most` equal stretches.

    Every number is drawn as often as any other; one that two stretches share may be drawn by both.

    Returns
    -------
    number : int64 Tensor, shape (N, M)
        0 where there is none.
    there : bool Tensor, shape (N, M)
    """
    width = min(most, int(n.max())) if len(n) else 0
    place = torch.arange(width, device=n.device)
    there = place < n[:, None]
    chance = torch.rand(len(n), width, dtype=torch.float64).to(n.device)
    some = ((place + chance) * n[:, None] / max(width, 1)).long()
    number = torch.where(n[:, None] > width, some, place)
    return torch.where(there, number, 0), there
