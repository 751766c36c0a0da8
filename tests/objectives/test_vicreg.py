"""VICReg, and CroSSL's masked aggregation with it: slow loops, properties, devices missing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biocl.objectives import criteria


def slow_vicreg(z1: Tensor, z2: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """Dimension by dimension."""
    n, dim = z1.shape
    agreement = torch.stack([(z1[b, d] - z2[b, d]) ** 2 for b in range(n) for d in range(dim)]).mean()
    hinge, redundancy = z1.sum() * 0, z1.sum() * 0
    for z in (z1, z2):
        for d in range(dim):
            spread = ((z[:, d] - z[:, d].mean()) ** 2).sum() / (n - 1)
            hinge = hinge + (1 - (spread + 1e-4).sqrt()).clamp(min=0) / dim / 2
            for e in range(dim):
                if e != d:
                    product = (z[:, d] - z[:, d].mean()) * (z[:, e] - z[:, e].mean())
                    redundancy = redundancy + (product.sum() / (n - 1)) ** 2 / dim
    return weights[0] * agreement + weights[1] * hinge + weights[2] * redundancy


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 7), dim=st.integers(1, 5), scale=st.sampled_from([0.3, 1.0, 3.0]), seed=st.integers(0, 1000))
def test_vicreg_equals_the_loop(n: int, dim: int, scale: float, seed: int) -> None:
    """With rows that do not count, whatever stands there."""
    torch.manual_seed(seed)
    z1, z2 = (scale * torch.randn(n + 2, dim, dtype=torch.float64) for _ in range(2))
    valid = torch.ones(n + 2, dtype=torch.bool)
    valid[torch.randperm(n + 2)[:2]] = False
    z1[~valid], z2[~valid] = torch.nan, torch.inf
    for z in (z1, z2):
        z.requires_grad_()
    weights = (25.0, 25.0, 1.0) if seed % 2 else (2.0, 3.0, 5.0)
    named = dict(zip(("invariance", "variance", "covariance"), weights, strict=True)) if seed % 2 == 0 else {}
    loss, info = criteria.vicreg(z1, z2, valid=valid, **named)
    expected = slow_vicreg(z1[valid], z2[valid], weights)
    torch.testing.assert_close(loss, expected)
    assert info == {"anchors": n, "skipped": 2}
    for z in (z1, z2):
        ours, loops = (torch.autograd.grad(value, z, retain_graph=True)[0] for value in (loss, expected))
        torch.testing.assert_close(ours[valid], loops[valid])
        assert (ours[~valid] == 0).all()


def test_vicreg_of_a_hand_made_batch() -> None:
    """Variance 2 in either dimension and covariance 2, views 1 apart in one dimension."""
    z = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    assert float(criteria.vicreg(z, z)[0]) == pytest.approx(2 * 2 * 4 / 2)
    assert float(criteria.vicreg(z, z + torch.tensor([1.0, 0.0]))[0]) == pytest.approx(25 / 2 + 8)


def test_vicreg_of_collapsed_and_of_perfect_latents() -> None:
    same = torch.ones(6, 3)
    assert float(criteria.vicreg(same, same)[0]) == pytest.approx(25 * 0.99)
    q = torch.linalg.qr(torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    white = torch.linalg.qr(q - q.mean(dim=0))[0] * 7**0.5  # uncorrelated, variance 1
    assert float(criteria.vicreg(white, white)[0]) == pytest.approx(0, abs=1e-9)


def test_vicreg_is_symmetric_and_ignores_shift_and_order() -> None:
    torch.manual_seed(0)
    z1, z2 = 0.5 * torch.randn(2, 8, 3, dtype=torch.float64)
    loss, _ = criteria.vicreg(z1, z2)
    torch.testing.assert_close(criteria.vicreg(z2, z1)[0], loss)
    torch.testing.assert_close(criteria.vicreg(z1 + 3, z2 + 3)[0], loss)
    order = torch.randperm(8)
    torch.testing.assert_close(criteria.vicreg(z1[order], z2[order])[0], loss)


def test_vicreg_gradcheck() -> None:
    torch.manual_seed(0)
    z = [(0.4 * torch.randn(5, 3, dtype=torch.float64)).requires_grad_() for _ in range(2)]
    assert torch.autograd.gradcheck(lambda a, b: criteria.vicreg(a, b)[0], z)


@pytest.mark.parametrize("n", [0, 1])
def test_vicreg_needs_two_rows(n: int) -> None:
    z = torch.randn(3, 4, requires_grad=True)
    loss, info = criteria.vicreg(z, 2 * z, valid=torch.arange(3) < n)
    loss.backward()
    assert float(loss.detach()) == 0
    assert info == {"anchors": 0, "skipped": 3}
    assert z.grad is not None
    assert (z.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_vicreg_in_half_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    z1, z2 = torch.randn(2, 16, 4).to(dtype)
    full, _ = criteria.vicreg(z1.float(), z2.float())
    with torch.autocast("cpu", dtype=dtype):
        half, _ = criteria.vicreg(z1, z2)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full)


# Masks and aggregates


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(1, 20),
    n_devices=st.integers(1, 6),
    coverage=st.sampled_from([1e-9, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
def test_masks_keep_something_of_what_is_there(n: int, n_devices: int, coverage: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(n, n_devices, generator=generator) < 0.6
    keep = criteria.device_masks(present, generator=generator, coverage=coverage)
    assert keep.shape == (2, n, n_devices)
    assert not (keep & ~present).any()
    assert torch.equal(keep.any(dim=2), present.any(dim=1).expand(2, n))
    if coverage == 1:
        assert torch.equal(keep, present.expand_as(keep))
    if coverage < 0.1:
        assert (keep.sum(dim=2) <= 1).all()
    again = torch.Generator().manual_seed(seed)
    assert torch.equal(torch.rand(n, n_devices, generator=again) < 0.6, present)
    assert torch.equal(criteria.device_masks(present, generator=again, coverage=coverage), keep)


def test_masks_keep_each_device_as_often_and_independently() -> None:
    present = torch.ones(20_000, 3, dtype=torch.bool)
    first, second = criteria.device_masks(present, generator=torch.Generator().manual_seed(0)).double()
    expected = 0.5 + 0.125 / 3  # one in eight would keep none, and keeps one of three
    for keep in (first, second):
        assert keep.mean(dim=0).tolist() == pytest.approx([expected] * 3, abs=0.015)
    assert float((first * second).mean()) == pytest.approx(expected**2, abs=0.015)


def test_masks_of_entries_keep_them_as_often_and_independently_and_nothing_that_is_absent() -> None:
    present = torch.ones(4_000, 2, dtype=torch.bool)
    present[:, 1] = torch.arange(4_000) % 2 == 0
    first, second = criteria.entry_masks(present, 3, generator=torch.Generator().manual_seed(0), coverage=0.3)
    assert first.shape == (4_000, 2, 3)
    for keep in (first, second):
        assert not (keep & ~present[:, :, None]).any()
        assert keep[present].double().mean(dim=0).tolist() == pytest.approx([0.3] * 3, abs=0.02)
    assert float((first & second)[present].double().mean()) == pytest.approx(0.09, abs=0.01)


def test_aggregates_of_entries() -> None:
    z = torch.tensor([[[1.0, torch.nan]], [[3.0, 4.0]]])
    keep = torch.tensor([[[True, False], [True, True]]])
    assert criteria.aggregate(z, keep).tolist() == [[2, 4]]
    assert criteria.aggregate(z, keep, "concatenate").tolist() == [[1, 0, 3, 4]]


def test_aggregates() -> None:
    z = torch.tensor([[[1.0, 2.0], [9.0, 9.0]], [[3.0, 4.0], [9.0, 9.0]], [[torch.nan, torch.nan], [9.0, 9.0]]])
    keep = torch.tensor([[True, True, False], [False, False, False]])
    assert criteria.aggregate(z, keep).tolist() == [[2, 3], [0, 0]]
    assert criteria.aggregate(z, keep, "concatenate").tolist() == [[1, 2, 3, 4, 0, 0], [0] * 6]


@pytest.mark.parametrize("how", ["mean", "concatenate"])
def test_masked_aggregation_equals_the_loop(how: str) -> None:
    """Window by window, the one that has no device left out."""
    torch.manual_seed(0)
    z = torch.randn(3, 7, 2, dtype=torch.float64, requires_grad=True)
    present = torch.rand(7, 3) < 0.7
    present[4] = False
    keep = criteria.device_masks(present, generator=torch.Generator().manual_seed(1))
    weight = torch.randn(2 if how == "mean" else 6, 4, dtype=torch.float64)
    loss, info = criteria.masked_aggregation(z, keep, lambda a: (a @ weight).tanh(), how=how)  # type: ignore[arg-type]
    sides = []
    for mask in keep:
        rows = []
        for b in [b for b in range(7) if present[b].any()]:
            kept = [z[v, b] if mask[b, v] else None for v in range(3)]
            if how == "mean":
                there = [one for one in kept if one is not None]
                rows.append(torch.stack(there).sum(dim=0) / len(there))
            else:
                rows.append(torch.cat([torch.zeros(2).double() if one is None else one for one in kept]))
        sides.append((torch.stack(rows) @ weight).tanh())
    expected = slow_vicreg(sides[0], sides[1], (25, 25, 1))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, z)[0] for value in (loss, expected)))
    assert info == {"anchors": 6, "skipped": 1}


def test_latents_that_no_mask_keeps_are_not_read() -> None:
    torch.manual_seed(0)
    z, keep = torch.randn(3, 5, 2), torch.ones(2, 5, 3, dtype=torch.bool)
    keep[:, 2, 1] = False
    loss, _ = criteria.masked_aggregation(z, keep, lambda a: a)
    z[1, 2] = torch.nan
    torch.testing.assert_close(criteria.masked_aggregation(z, keep, lambda a: a)[0], loss)
