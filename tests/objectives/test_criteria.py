"""Criteria: published values, slow loops, gradients, invariances and edge cases."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from biocl.objectives import criteria


def sinusoids(n_rows: int, dim: int, phase: float) -> Tensor:
    """Unit rows of sin(7i + 3j + ij + phase)."""
    i, j = torch.meshgrid(torch.arange(n_rows).double(), torch.arange(dim).double(), indexing="ij")
    return F.normalize(torch.sin(7 * i + 3 * j + i * j + phase))


A, B, C = (sinusoids(4, 4, phase) for phase in (0.0, 0.5, 1.0))


def observation(z1: Tensor, z2: Tensor) -> Tensor:
    """COMET's observation loss."""
    return criteria.nt_xent(z1, z2, similarity="dot")


def one_group(z1: Tensor, z2: Tensor, **options: object) -> Tensor:
    """NT-Xent of two (N, D) views."""
    return criteria.nt_xent(z1[None], z2[None], **options)  # type: ignore[arg-type]


def equal_labels(*labels: int) -> Tensor:
    """Positives of SupCon."""
    ids = torch.tensor(labels)
    return ids[:, None] == ids


# Published values


@pytest.mark.parametrize(("temperature", "one_way", "both_ways"), [
    (0.1, 2.115918, 2.731731), (0.5, 1.018041, 1.059895), (1.0, 1.123725, 1.132619),
])  # fmt: skip
def test_info_nce_values(temperature: float, one_way: float, both_ways: float) -> None:
    assert float(criteria.info_nce(A, B, temperature=temperature)) == pytest.approx(one_way, abs=1e-6)
    symmetric = criteria.info_nce(A, B, temperature=temperature, symmetric=True)
    assert float(symmetric) == pytest.approx(both_ways, abs=1e-6)


@pytest.mark.parametrize(("temperature", "value"), [(0.1, 2.892389), (0.5, 1.432274), (1.0, 1.602287)])
def test_nt_xent_values(temperature: float, value: float) -> None:
    assert float(one_group(A, B, temperature=temperature)) == pytest.approx(value, abs=1e-6)
    as_sup_con, _ = criteria.sup_con(torch.cat([A, B]), equal_labels(*range(4), *range(4)), temperature=temperature)
    assert float(as_sup_con) == pytest.approx(value, abs=1e-6)


def test_nt_xent_of_three_views() -> None:
    loss, _ = criteria.sup_con(torch.cat([A, B, C]), equal_labels(*[0, 1, 2, 3] * 3), temperature=0.5)
    assert float(loss) == pytest.approx(1.875580, abs=1e-6)


@pytest.mark.parametrize(("labels", "temperature", "average", "value"), [
    ([0, 1, 0, 2] * 2, 0.1, "logs", 3.462033),
    ([0, 1, 0, 2] * 2, 0.5, "logs", 1.546203),
    ([0, 1, 0, 2] * 2, 0.5, "probabilities", 1.428827),
    ([0] * 8, 0.5, "logs", 2.279798),
])  # fmt: skip
def test_sup_con_values(labels: list[int], temperature: float, average: str, value: float) -> None:
    loss, _ = criteria.sup_con(
        torch.cat([A, B]),
        equal_labels(*labels),
        temperature=temperature,
        average=average,  # type: ignore[arg-type]
    )
    assert float(loss) == pytest.approx(value, abs=1e-6)


def test_sup_con_counts_anchors_without_positive() -> None:
    loss, info = criteria.sup_con(A, equal_labels(0, 1, 0, 2), temperature=0.5)
    assert float(loss) == pytest.approx(1.032359, abs=1e-6)
    assert info == {"anchors": 2, "skipped": 2}


def test_collapsed_batch_is_at_chance() -> None:
    same = torch.ones(4, 3, dtype=torch.float64)
    assert float(one_group(same, same)) == pytest.approx(np.log(7))


def test_gradient_with_respect_to_scores() -> None:
    key = torch.zeros(4, 4, dtype=torch.float64)
    key[:, 0] = torch.tensor([0.5, 0.9, 0.1, -0.3])
    key.requires_grad_()
    query = torch.eye(4, dtype=torch.float64)
    criteria.info_nce(query, key, temperature=0.2, similarity="dot").backward()
    expected = torch.tensor([-4.414705, 4.324774, 0.079211, 0.010720], dtype=torch.float64)
    assert key.grad is not None
    torch.testing.assert_close(4 * key.grad[:, 0], expected, rtol=0, atol=1e-6)


# Slow references


def slow_nt_xent(z1: Tensor, z2: Tensor, temperature: float, ignore: Tensor) -> Tensor:
    """Row by row, pair by pair; dot products."""
    n = z1.shape[1]
    rows = []
    for group in torch.cat([z1, z2], dim=1):
        for k, row in enumerate(group):
            scored = [m for m in range(2 * n) if m != k and (m % n == k % n or not ignore[k % n, m % n])]
            scores = {m: row @ group[m] / temperature for m in scored}
            rows.append(torch.stack(list(scores.values())).logsumexp(0) - scores[(k + n) % (2 * n)])
    return torch.stack(rows).mean()


@pytest.mark.parametrize("shape", [(3, 4, 2), (2, 1, 3), (40, 2, 2)])
@pytest.mark.parametrize("chunk", [1, 2**18])
def test_nt_xent_equals_the_loop(shape: tuple[int, int, int], chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules["biocl.objectives.criteria.nt_xent"].CHUNK_SCORES, "cpu", chunk)
    torch.manual_seed(0)
    ignore = torch.rand(shape[1], shape[1]) < 0.4
    ignore |= ignore.T.clone()
    z = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    fast = criteria.nt_xent(*z, similarity="dot", temperature=0.7, ignore=ignore)
    slow = slow_nt_xent(*z, 0.7, ignore)
    torch.testing.assert_close(fast, slow)
    for ours, loops in zip(torch.autograd.grad(3 * fast, z), torch.autograd.grad(3 * slow, z), strict=True):
        torch.testing.assert_close(ours, loops)


def slow_sup_con_views(z1: Tensor, z2: Tensor, positives: Tensor, temperature: float, self_pair: str) -> Tensor:
    """Anchor by anchor, in both directions."""
    rows = []
    for anchors, others in ((z1, z2), (z2, z1)):
        for i, anchor in enumerate(anchors):
            scores = F.cosine_similarity(anchor[None], others) / temperature
            scored = [j for j in range(len(others)) if j != i or self_pair == "positive"]
            wanted = [j for j in scored if j == i or positives[i, j]]
            if wanted:
                rows.append(scores[scored].logsumexp(0) - scores[wanted].mean())
    return torch.stack(rows).mean()


@pytest.mark.parametrize("self_pair", ["exclude", "positive"])
def test_sup_con_views_equals_the_loop(self_pair: str) -> None:
    torch.manual_seed(0)
    z1, z2 = torch.randn(2, 7, 3, dtype=torch.float64)
    positives = equal_labels(0, 0, 1, 1, 1, 2, 3)
    fast, info = criteria.sup_con_views(z1, z2, positives, temperature=0.3, self_pair=self_pair)  # type: ignore[arg-type]
    torch.testing.assert_close(fast, slow_sup_con_views(z1, z2, positives, 0.3, self_pair))
    assert info["skipped"] == (4 if self_pair == "exclude" else 0)
    backwards, _ = criteria.sup_con_views(z2, z1, positives, temperature=0.3, self_pair=self_pair)  # type: ignore[arg-type]
    torch.testing.assert_close(fast, backwards)


def test_ignored_pairs_are_absent() -> None:
    """The loss is that of the batch without the ignored sample, and so is the gradient."""
    torch.manual_seed(0)
    z1, z2 = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    positives = equal_labels(0, 0, 1, 1, 0, 5)
    ignore = torch.zeros(6, 6, dtype=torch.bool)
    ignore[:5, 4:] = ignore[4:, :5] = True
    positives = positives & ~torch.eye(6, dtype=torch.bool)
    for criterion in (
        lambda n: criteria.sup_con(z1[:n], positives[:n, :n], ignore=ignore[:n, :n])[0],
        lambda n: criteria.sup_con_views(z1[:n], z2[:n], positives[:n, :n], ignore=ignore[:n, :n])[0],
    ):
        torch.testing.assert_close(criterion(6), criterion(4))


def test_hierarchy_is_that_of_max_pooling() -> None:
    torch.manual_seed(0)
    z1, z2 = torch.randn(2, 3, 19, 4, dtype=torch.float64)
    z1.requires_grad_()
    expected, levels, p1, p2 = torch.zeros(()), 0, z1, z2
    while p1.shape[1] > 1:
        expected, levels = expected + observation(p1, p2), levels + 1
        p1, p2 = (F.max_pool1d(p.transpose(1, 2), 2).transpose(1, 2) for p in (p1, p2))
    loss = criteria.hierarchical_max(observation, z1, z2)
    torch.testing.assert_close(loss, expected / levels)
    grads = [torch.autograd.grad(value, z1)[0] for value in (loss, expected / levels)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize(("n_times", "n_levels"), [(300, 8), (256, 8), (12, 3), (2, 1), (1, 0)])
def test_number_of_resolutions(n_times: int, n_levels: int) -> None:
    seen: list[int] = []

    def record(z1: Tensor, z2: Tensor) -> Tensor:
        seen.append(z1.shape[1])
        return z1.sum() + z2.sum()

    z = torch.ones(1, n_times, 1, requires_grad=True)
    criteria.hierarchical_max(record, z, z).backward()
    assert len(seen) == n_levels
    assert 1 not in seen


# What holds for every criterion over pairs of samples

LABELS = (0, 1, 0, 2, 1, 0)
Criterion = Callable[[Tensor, Tensor, Tensor], Tensor]
PAIRWISE: dict[str, Criterion] = {
    "info_nce": lambda z1, z2, ids, **kw: criteria.info_nce(z1, z2, symmetric=True, **kw),
    "nt_xent": lambda z1, z2, ids, **kw: one_group(z1, z2, **{"temperature": 0.1, **kw}),
    "sup_con": lambda z1, z2, ids, **kw: criteria.sup_con(z1, ids[:, None] == ids, **kw)[0],
    "sup_con_views": lambda z1, z2, ids, **kw: criteria.sup_con_views(z1, z2, ids[:, None] == ids, **kw)[0],
    "sup_con_views_self": lambda z1, z2, ids, **kw: criteria.sup_con_views(
        z1, z2, ids[:, None] == ids, self_pair="positive", **kw
    )[0],
}
every = pytest.mark.parametrize("criterion", PAIRWISE.values(), ids=PAIRWISE.keys())


def example(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Six samples of two views with their ids."""
    torch.manual_seed(1)
    z1, z2 = (torch.randn(6, 4, dtype=dtype).requires_grad_() for _ in range(2))
    return z1, z2, torch.tensor(LABELS)


@every
def test_order_of_the_batch_does_not_matter(criterion: Criterion) -> None:
    z1, z2, ids = example()
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    torch.testing.assert_close(criterion(z1, z2, ids), criterion(z1[order], z2[order], ids[order]))


@every
@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-3, 1e3), row=st.integers(0, 5))
def test_length_of_a_row_does_not_matter(criterion: Criterion, scale: float, row: int) -> None:
    z1, z2, ids = example()
    stretched = z1.detach().clone()
    stretched[row] *= scale
    torch.testing.assert_close(criterion(z1, z2, ids), criterion(stretched, z2, ids))


@every
def test_finite_at_low_temperature_with_equal_rows(criterion: Criterion) -> None:
    z1, z2, ids = example(torch.float32)
    with torch.no_grad():
        z1[1] = z1[0]
        z2[1] = z2[0]
    loss = criterion(z1, z2, ids, temperature=0.01)  # type: ignore[call-arg]
    loss.backward()
    assert loss.isfinite()
    assert z1.grad is not None
    assert z1.grad.isfinite().all()


@every
def test_gradcheck(criterion: Criterion) -> None:
    z1, z2, ids = example()
    assert torch.autograd.gradcheck(lambda a, b: criterion(a, b, ids), (z1, z2))


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(criterion: Criterion, dtype: torch.dtype) -> None:
    z1, z2, ids = example(torch.float32)
    z1, z2 = (z.detach().to(dtype) for z in (z1, z2))
    full = criterion(z1.float(), z2.float(), ids)
    with torch.autocast("cpu", dtype=dtype):
        half = criterion(z1.requires_grad_(), z2.requires_grad_(), ids)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=1e-2, atol=1e-2)
    half.backward()
    assert z1.grad is not None
    assert z1.grad.isfinite().all()


@every
def test_one_sample_gives_zero_with_a_graph(criterion: Criterion) -> None:
    z1, z2 = (torch.randn(1, 4, requires_grad=True) for _ in range(2))
    loss = criterion(z1, z2, torch.tensor([0]))
    (loss + 0 * z2.sum()).backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert z1.grad is not None
    assert z1.grad.abs().max() < 1e-5


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_zero_representations(criterion: Criterion, dtype: torch.dtype) -> None:
    z1, z2 = (torch.zeros(2, 4, dtype=dtype, requires_grad=True) for _ in range(2))
    loss = criterion(z1, z2, torch.tensor([0, 0]))
    loss.backward()
    assert loss.isfinite()
    assert z1.grad is not None
    assert z1.grad.isfinite().all()


class Largest(TorchDispatchMode):
    """The most numbers that one tensor held."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else [out]:
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.numel())
        return out


@pytest.mark.parametrize(("n", "width"), [(8, 512), (64, 512), (256, 64)])
def test_nt_xent_never_holds_pairs_times_features(n: int, width: int) -> None:
    """The scores of all pairs, or the rows themselves; never (2N, 2N, D), as the broadcast cosine does."""
    z1, z2 = (torch.randn(1, n, width, requires_grad=True) for _ in range(2))
    with Largest() as largest:
        criteria.nt_xent(z1, z2, temperature=0.2).backward()
    assert largest.numbers == max((2 * n) ** 2, 2 * n * width)
