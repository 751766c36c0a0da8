"""GRAM: published values, what volumes are and do not see, slow loops with devices missing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biocl.objectives import criteria


def grid() -> tuple[Tensor, Tensor]:
    i, j = torch.meshgrid(torch.arange(4).double(), torch.arange(4).double(), indexing="ij")
    return i, j


def sinusoids(phase: float) -> Tensor:
    i, j = grid()
    return F.normalize(torch.sin(7 * i + 3 * j + i * j + phase))


def third() -> Tensor:
    """Unit rows of cos(5i + 2j + 0.7ij + 0.3j²): in no plane with the sinusoids."""
    i, j = grid()
    return F.normalize(torch.cos(5 * i + 2 * j + 0.7 * i * j + 0.3 * j * j))


A, B, C, G = sinusoids(0), sinusoids(0.5), sinusoids(1.0), third()


def volume(*vectors: Tensor) -> Tensor:
    return criteria.gram_volume(torch.stack(vectors, dim=-2))


def test_volumes_and_losses_have_the_published_values() -> None:
    row = volume(A[0].expand(4, 4), B, G)
    expected = torch.tensor([0.200319, 0.285121, 0.773503, 0.806869], dtype=torch.float64)
    torch.testing.assert_close(row, expected, rtol=0, atol=1e-6)
    three, two = torch.stack([A, B, G]), torch.stack([A, B])
    for z, smoothing, value in ((three, 0.1, 1.083215), (three, 0.0, 0.613524), (two, 0.0, 1.144054)):
        loss, info = criteria.gram(z, smoothing=smoothing, companion=0)
        assert float(loss) == pytest.approx(value, abs=1e-6)
        assert info == {"anchors": 4, "skipped": 0}


def test_zero_volume_is_not_alignment() -> None:
    """Three phases of one sinusoid lie in one plane; two of them point apart. The companion sees it."""
    assert float(A[0] @ B[0]) == pytest.approx(-0.426940, abs=1e-6)
    assert float(volume(A[0], B[0], C[0])) == pytest.approx(0, abs=2e-6)
    opposite, aligned = torch.stack([A, -A]), torch.stack([A, A])
    alone = [float(criteria.gram(z, companion=0)[0]) for z in (opposite, aligned)]
    assert alone[0] == pytest.approx(alone[1])
    with_cosine = [float(criteria.gram(z, companion=0.5)[0]) for z in (opposite, aligned)]
    assert with_cosine[0] > with_cosine[1] + 1


def test_companion_is_the_mean_info_nce_over_pairs() -> None:
    z = torch.stack([A, B, G])
    pairs = [criteria.info_nce(z[a], z[b], temperature=0.07, symmetric=True) for a, b in ((0, 1), (0, 2), (1, 2))]
    added = criteria.gram(z, companion=0.3)[0] - criteria.gram(z, companion=0)[0]
    torch.testing.assert_close(added, 0.3 * torch.stack(pairs).mean())


@settings(max_examples=30, deadline=None)
@given(k=st.integers(1, 5), seed=st.integers(0, 1000))
def test_volumes(k: int, seed: int) -> None:
    torch.manual_seed(seed)
    vectors = torch.randn(2, k, 6, dtype=torch.float64)
    found = criteria.gram_volume(vectors)
    torch.testing.assert_close(found, torch.linalg.svdvals(F.normalize(vectors, dim=-1)).prod(dim=-1))
    assert (found <= 1 + 1e-9).all()
    signs = torch.randint(0, 2, (2, k, 1)) * 2 - 1
    torch.testing.assert_close(criteria.gram_volume(3 * signs * vectors[:, torch.randperm(k)]), found)
    twice = torch.cat([vectors, vectors[:, :1]], dim=1)
    torch.testing.assert_close(criteria.gram_volume(twice), torch.full((2,), 1e-6).double(), rtol=0, atol=1e-6)
    orthogonal = torch.linalg.qr(vectors.mT)[0].mT
    torch.testing.assert_close(criteria.gram_volume(orthogonal), torch.ones(2).double())


def test_volume_of_two_is_the_sine() -> None:
    torch.testing.assert_close(volume(A, B), (1 - (A * B).sum(1).square()).sqrt())


@pytest.mark.parametrize("k", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_at_matched_samples(k: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    z = torch.randn(1, 5, 7, dtype=dtype).repeat(k, 1, 1).requires_grad_()
    for value in (criteria.gram(z)[0], criteria.gram_volume(z.transpose(0, 1)).sum()):
        assert value.isfinite()
        assert torch.autograd.grad(value, z)[0].isfinite().all()


def test_temperature_may_be_learned() -> None:
    z, temperature = torch.stack([A, B, G]), torch.tensor(0.07, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: criteria.gram(z, temperature=t)[0], temperature)


def slow_gram(z: Tensor, present: Tensor, ignore: Tensor, anchor: int, tau: float) -> tuple[Tensor, set[int]]:
    """Sample by sample, with the library's cross entropy over the samples of one pattern; and which had any."""
    n = z.shape[1]
    patterns = [tuple(row.tolist()) for row in present]
    rows, entered = [], set()
    for i in range(n):
        if not present[i, anchor] or present[i].sum() < 2:
            continue
        others = [v for v in range(len(z)) if v != anchor and present[i, v]]
        group = [j for j in range(n) if patterns[j] == patterns[i] and (j == i or not ignore[i, j])]
        if len(group) < 2:
            continue
        there = torch.stack([volume(z[anchor, i], *(z[v, j] for v in others)) for j in group])
        back = torch.stack([volume(z[anchor, j], *(z[v, i] for v in others)) for j in group])
        target = torch.tensor(group.index(i))
        rows += [F.cross_entropy(-v / tau, target, label_smoothing=0.1) for v in (there, back)]
        entered.add(i)
    return (torch.stack(rows).mean() if rows else z.sum() * 0), entered


def slow_companion(z: Tensor, present: Tensor, ignore: Tensor, tau: float) -> tuple[Tensor, set[int]]:
    n, pairs, entered = z.shape[1], [], set()
    u = F.normalize(z, dim=2)
    for a in range(len(z)):
        for b in range(a + 1, len(z)):
            both = [i for i in range(n) if present[i, a] and present[i, b]]
            rows = []
            for i in both:
                group = [j for j in both if j == i or not ignore[i, j]]
                for one, other in ((u[a], u[b]), (u[b], u[a])):
                    if len(group) > 1:
                        rows.append(F.cross_entropy(other[group] @ one[i] / tau, torch.tensor(group.index(i))))
                        entered.add(i)
            if rows:
                pairs.append(torch.stack(rows).mean())
    return (torch.stack(pairs).mean() if pairs else z.sum() * 0), entered


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_equals_the_loop(data: st.DataObject) -> None:
    """Samples are compared with those that have the same devices; with one anchor, or with each in turn."""
    k, n = data.draw(st.integers(2, 5)), data.draw(st.integers(1, 7))
    anchor = data.draw(st.none() | st.integers(0, k - 1))
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    present = torch.rand(n, k) < data.draw(st.sampled_from([0.6, 0.8, 1.0]))
    ignore = torch.rand(n, n) < data.draw(st.sampled_from([0.0, 0.3]))
    ignore |= ignore.T.clone()
    z = torch.randn(k, n, 6, dtype=torch.float64, requires_grad=True)
    loss, info = criteria.gram(z, temperature=0.3, anchor=anchor, companion=0.4, present=present, ignore=ignore)
    found = [slow_gram(z, present, ignore, one, 0.3) for one in (range(k) if anchor is None else [anchor])]
    said = [one for one, some in found if some]
    companion, beside = slow_companion(z, present, ignore, 0.3)
    expected = (torch.stack(said).mean() if said else z.sum() * 0) + 0.4 * companion
    torch.testing.assert_close(loss, expected)
    anchors = len(beside.union(*(some for _, some in found)))
    assert info == {"anchors": anchors, "skipped": n - anchors}
    ours, loops = (torch.autograd.grad(value, z)[0] for value in (loss, expected))
    torch.testing.assert_close(ours, loops, rtol=1e-5, atol=1e-9)
