"""TS2Vec's hierarchical loss by two terms: weight alpha across windows, 1 - alpha across time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from biocl.encoders.latents import Latents
from biocl.objectives import criteria
from biocl.objectives.batch import Batch
from biocl.objectives.contrast import contrast_loss
from biocl.objectives.spec import ContrastTerm


def softmax_of_other_view(rows: Tensor) -> Tensor:
    """The mean of -log softmax at each row's other view, among all rows (2N, D) but the row itself."""
    n = len(rows) // 2
    total = rows.new_zeros(())
    for i, row in enumerate(rows):
        others = torch.tensor([j for j in range(len(rows)) if j != i])
        scores = rows[others] @ row
        own = int((others == (i + n) % (2 * n)).nonzero())
        total = total - scores.log_softmax(dim=0)[own]
    return total / len(rows)


def ts2vec(z1: Tensor, z2: Tensor, alpha: float) -> float:
    """The published formula, level by level, down to the single step; (B, T, D)."""
    total, levels = 0.0, 0
    while True:
        size, n_times, _ = z1.shape
        if size > 1:
            across = [softmax_of_other_view(torch.cat([z1[:, t], z2[:, t]])) for t in range(n_times)]
            total += alpha * float(torch.stack(across).mean())
        if n_times > 1:
            in_time = [softmax_of_other_view(torch.cat([z1[b], z2[b]])) for b in range(size)]
            total += (1 - alpha) * float(torch.stack(in_time).mean())
        levels += 1
        if n_times == 1:
            return total / levels
        z1, z2 = (F.max_pool1d(z.transpose(1, 2), 2).transpose(1, 2) for z in (z1, z2))


def terms(alpha: float, similarity: str) -> list[ContrastTerm]:
    criterion = {"name": "nt-xent", "similarity": similarity, "temperature": 1.0}
    shared = {"views": ["a", "b"], "read": "seq", "pool": "hierarchical-max-to-one", "criterion": criterion}
    return [
        ContrastTerm(**shared, relation="same-sample", ignore=[], weight=alpha),
        ContrastTerm(**shared, relation="same-time-step", weight=1 - alpha),
    ]


def batch(size: int) -> Batch:
    ids = torch.arange(size)
    return Batch(torch.zeros(size, 1, 1), *(ids for _ in range(6)))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(4, 13, 3), (2, 8, 5), (1, 6, 2), (3, 1, 4)])
def test_two_terms_are_ts2vecs_loss(alpha: float, shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    z1, z2 = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    latents = [Latents(z1, "max"), Latents(z2, "max")]
    found = sum(term.weight * contrast_loss(term, latents, batch(shape[0]))[0] for term in terms(alpha, "dot"))
    assert float(found) == pytest.approx(ts2vec(z1, z2, alpha), abs=1e-6)


def test_normalisation_is_an_option_of_its_own() -> None:
    generator = torch.Generator().manual_seed(0)
    z1, z2 = (torch.randn(3, 1, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    latents = [Latents(z1, "max"), Latents(z2, "max")]
    found = sum(term.weight * contrast_loss(term, latents, batch(3))[0] for term in terms(1.0, "cosine"))
    assert float(found) == pytest.approx(ts2vec(F.normalize(z1, dim=2), F.normalize(z2, dim=2), 1.0), abs=1e-6)
    assert abs(float(found) - ts2vec(z1, z2, 1.0)) > 1e-3


def test_comets_hierarchy_ends_one_level_earlier_and_divides_by_its_own() -> None:
    levels: list[int] = []

    def record(a: Tensor, b: Tensor) -> Tensor:
        levels.append(a.shape[1])
        return a.sum() * 0 + a.shape[1]

    z = torch.zeros(2, 13, 3)
    assert float(criteria.hierarchical_max(record, z, z)) == pytest.approx((13 + 6 + 3) / 3)
    assert float(criteria.hierarchical_max(record, z, z, to_one=True)) == pytest.approx((13 + 6 + 3 + 1) / 4)
    assert levels == [13, 6, 3, 13, 6, 3, 1]
