"""InfoNCE between a query and a key of every sample, with or without keys that are remembered."""

from __future__ import annotations

import torch
from torch import Tensor

from biocl.objectives.criteria.scores import Similarity, scores


def info_nce(
    query: Tensor,
    key: Tensor,
    *,
    temperature: float = 0.1,
    similarity: Similarity = "cosine",
    symmetric: bool = False,
    ignore: Tensor | None = None,
    memory: Tensor | None = None,
    memory_ignore: Tensor | None = None,
) -> Tensor:
    """Cross entropy of picking a query's own key among the batch's keys and those of a memory.

    ``L(q→k) = mean_i [ logsumexp_j s_ij/τ − s_ii/τ ]``, j over the N keys of the batch and the M of the memory.
    Chance level log(N + M); a batch of one without a memory gives 0.

    Parameters
    ----------
    query, key : Tensor, shape (N, D)
        Row i of both belongs to sample i.
    temperature : float
    similarity : {"cosine", "dot"}
    symmetric : bool
        Average with the direction from key to query among the batch (the CLIP form).
    ignore : bool Tensor, shape (N, N), optional
        Row i is not told from the keys j that are True; the diagonal is not looked at.
    memory : Tensor, shape (M, D), optional
        Keys of other samples, such as earlier ones (MoCo).
    memory_ignore : bool Tensor, shape (N, M), optional
        Row i is not told from the keys of the memory that are True.

    Returns
    -------
    Tensor, shape ()

    References
    ----------
    van den Oord et al. 2018, CPC; Radford et al. 2021, CLIP; He et al. 2020, MoCo, whose negatives are the memory
    alone.
    """
    s = scores(query, key, similarity=similarity, temperature=temperature)
    own = s.diagonal()
    if ignore is not None:
        s = s.masked_fill(ignore & ~torch.eye(len(s), dtype=torch.bool, device=s.device), -torch.inf)
    rows = s
    if memory is not None:
        remembered = scores(query, memory, similarity=similarity, temperature=temperature)
        if memory_ignore is not None:
            remembered = remembered.masked_fill(memory_ignore, -torch.inf)
        rows = torch.cat([s, remembered], dim=1)
    forward = (rows.logsumexp(dim=1) - own).mean()
    if not symmetric:
        return forward
    return (forward + (s.logsumexp(dim=0) - own).mean()) / 2
