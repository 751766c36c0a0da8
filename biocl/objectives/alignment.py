"""Alignment: does a contrastive term bring together what its relation calls alike?

A score after fine-tuning can hide an inverted loss, so every contrastive term logs the mean cosine of its
positive and of its negative pairs on validation patients (Wang & Isola 2020 call the first alignment).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import torch
import torch.nn.functional as F

from biocl.encoders.latents import Latents
from biocl.objectives.batch import Batch
from biocl.objectives.contrast import Compared, Projector, only_present, reads_of
from biocl.objectives.criteria import shared_private, time_course
from biocl.objectives.criterion_spec import Focal
from biocl.objectives.pairs import Pairs
from biocl.objectives.spec import ContrastTerm
from biocl.views.view import View

MAX_GROUPS = 16


@torch.no_grad()
def alignment(
    term: ContrastTerm,
    latents: Sequence[Latents],
    batch: Batch,
    projector: Projector = None,
    views: Sequence[View] = (),
) -> tuple[float, float]:
    """Mean cosine of positive and of negative pairs of one term, averaged over its comparisons.

    Parameters are those of `biocl.objectives.contrast.contrast_loss`. Sequences are compared in at most 16
    groups (windows, or time steps), evenly spaced.

    Returns
    -------
    positive, negative : float
        NaN where there is no such pair.
    """
    found = [
        cosines(term, two.reads, two.pairs)
        for one in reads_of(term, latents, batch, projector, views)
        for two in two_by_two(term, one)
        if len(two.reads[0])
    ]
    sides = [[pair[i] for pair in found if pair[i] == pair[i]] for i in range(2)]
    positive, negative = (sum(side) / len(side) if side else float("nan") for side in sides)
    return positive, negative


def two_by_two(term: ContrastTerm, one: Compared) -> list[Compared]:
    """The sides of a comparison in pairs, where a criterion reads them all at once, of the items that have both.

    Of FOCAL's, the halves that it holds together: shared ones of two devices, private ones of two views.
    """
    if isinstance(term.criterion, Focal):
        return halves_two_by_two(one)
    if len(one.reads) < 2 or (len(one.reads) == 2 and one.present is None):
        return [one]
    found = []
    for i, j in combinations(range(len(one.reads)), 2):
        found.append(pair_of(one, one.reads, i, j))
    return found


def halves_two_by_two(one: Compared) -> list[Compared]:
    """Shared halves of every two devices in each view, and private halves of each device in both views."""
    shared, private = zip(*(shared_private(read) for read in one.reads), strict=True)
    n = len(one.reads) // 2
    of_devices = [pair_of(one, shared, at + i, at + j) for at in (0, n) for i, j in combinations(range(n), 2)]
    return of_devices + [pair_of(one, private, i, n + i) for i in range(n)]


def pair_of(one: Compared, reads: Sequence[torch.Tensor], i: int, j: int) -> Compared:
    """Two of the sides, of the items that have both."""
    present = None if one.present is None else one.present[:, [i, j]]
    two = replace(one, reads=[reads[i], reads[j]], present=present)
    return two if present is None else only_present(two)


def cosines(term: ContrastTerm, reads: Sequence[torch.Tensor], pairs: Pairs) -> tuple[float, float]:
    """Mean cosine of positive and of negative pairs of one comparison."""
    reads = [time_course(one.float()) if term.criterion.name == "comet-id" else one.float() for one in reads]
    first, second = reads[0], reads[-1]
    if term.relation == "same-time-step":
        first, second = first[~pairs.estranged], second[~pairs.estranged]
        if len(first) == 0:
            return float("nan"), float("nan")
    if first.ndim == 2:
        first, second = first[None], second[None]
    elif term.relation == "same-sample":
        first, second = first.transpose(0, 1), second.transpose(0, 1)
    picks = torch.linspace(0, len(first) - 1, min(MAX_GROUPS, len(first))).long().to(first.device)
    first, second = F.normalize(first[picks], dim=-1), F.normalize(second[picks], dim=-1)
    cosine = (first @ second.transpose(1, 2)).mean(dim=0)
    own = torch.eye(len(cosine), dtype=torch.bool, device=cosine.device)
    if term.relation == "same-time-step":
        return mean_of(cosine, own), mean_of(cosine, ~own)
    own &= ~pairs.estranged
    return mean_of(cosine, own if term.relation == "same-sample" else pairs.positive), mean_of(cosine, pairs.negative)


def mean_of(values: torch.Tensor, mask: torch.Tensor) -> float:
    """Mean of the masked values, NaN if there is none."""
    return float(values[mask].mean()) if bool(mask.any()) else float("nan")
