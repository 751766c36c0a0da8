"""InfoNCE between a query and a key of every sample."""

from __future__ import annotations

from torch import Tensor

from biocl.objectives.criteria.scores import Similarity, scores


def info_nce(
    query: Tensor,
    key: Tensor,
    *,
    temperature: float = 0.1,
    similarity: Similarity = "cosine",
    symmetric: bool = False,
) -> Tensor:
    """Cross entropy of picking a query's own key among the batch's keys.

    ``L(q→k) = mean_i [ logsumexp_j s_ij/τ − s_ii/τ ]``. Chance level log N; a batch of one gives 0.

    Parameters
    ----------
    query, key : Tensor, shape (N, D)
        Row i of both belongs to sample i.
    temperature : float
    similarity : {"cosine", "dot"}
    symmetric : bool
        Average with the direction from key to query (the CLIP form).

    Returns
    -------
    Tensor, shape ()

    References
    ----------
    van den Oord et al. 2018, CPC; Radford et al. 2021, CLIP.
    """
    s = scores(query, key, similarity=similarity, temperature=temperature)
    forward = (s.logsumexp(dim=1) - s.diagonal()).mean()
    if not symmetric:
        return forward
    return (forward + (s.logsumexp(dim=0) - s.diagonal()).mean()) / 2
