"""COMET's loss over patient and trial ids, as released, and the similarity that it measures."""

from __future__ import annotations

import torch
from torch import Tensor

from biocl.objectives.criteria.scores import attached_zero, full_precision, scores, unit


def time_course(z: Tensor) -> Tensor:
    """One vector per window, whose dot products are the mean over channels of time-course cosines.

    Each channel is normalised along time and divided by √C. The vectors have unit length unless a
    channel is zero throughout. Two windows are alike here if they move together step by step, which
    suits windows aligned to an event and not windows at a random phase.

    Parameters
    ----------
    z : Tensor, shape (B, T, C)

    Returns
    -------
    Tensor, shape (B, T * C)
    """
    return (unit(full_precision(z), dim=1) * z.shape[2] ** -0.5).flatten(1)


def comet_id(z1: Tensor, z2: Tensor, ids: Tensor, *, temperature: float = 0.1) -> Tensor:
    """COMET's patient or trial loss exactly as its public code computes it.

    With s the time-course similarity of z1's rows and z2's columns over τ,
    ``½ [ mean_{i<j, same id} (logsumexp_k s_ik − s_ij) + mean_{i>j, same id} (logsumexp_k s_kj − s_ij) ]``,
    one of the two if the other has no pair. Faults are kept: the same window in the other view is a
    negative, only the member of a pair that comes first in the batch is an anchor, and every pair counts
    alike, so that ids with many windows dominate. `sup_con_views` has none of these. A representation
    that is zero throughout has similarity 0 here and gives NaN in the public code.

    Parameters
    ----------
    z1, z2 : Tensor, shape (B, T, C)
        Two encodings of one batch.
    ids : int Tensor, shape (B,)
        Patients or trials.
    temperature : float

    Returns
    -------
    Tensor, shape ()
        A zero attached to the graph if no two windows share an id.

    References
    ----------
    Wang et al. 2023, "Contrast Everything"; Kiyasseh et al. 2021, CLOCS, has the diagonal as positives.
    """
    courses = time_course(z1), time_course(z2)
    s = scores(*courses, similarity="dot", temperature=temperature)
    with torch.no_grad():  # lengths are constant: 1, or less where channels are zero throughout
        lengths = [torch.linalg.vector_norm(one, dim=1).clamp(min=1e-12) for one in courses]
    s = s / torch.outer(*lengths)
    same = ids[:, None] == ids[None, :]
    parts = [
        (s.logsumexp(dim=axis, keepdim=True) - s)[pairs].mean()
        for axis, pairs in ((1, same.triu(1)), (0, same.tril(-1)))
        if bool(pairs.any())
    ]
    return torch.stack(parts).mean() if parts else attached_zero(z1, z2)
