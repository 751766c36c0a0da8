"""MV-InfoNCE, MV-DHEL and COCOA: published values, slow loops, what the formulas imply."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biocl.objectives import criteria
from biocl.objectives.criteria.devices import devices, within_devices


def sinusoids(phase: float) -> Tensor:
    """Unit rows of sin(7i + 3j + ij + phase), 4 by 4."""
    i, j = torch.meshgrid(torch.arange(4).double(), torch.arange(4).double(), indexing="ij")
    return torch.nn.functional.normalize(torch.sin(7 * i + 3 * j + i * j + phase))


TWO = torch.stack([sinusoids(0), sinusoids(0.5)])
THREE = torch.stack([*TWO, sinusoids(1.0)])


@pytest.mark.parametrize(("z", "temperature", "all_others", "cross", "dhel"), [
    (TWO, 0.2, 1.884951, 1.682829, 1.187852),
    (TWO, 0.5, 1.455703, 1.085581, 1.515390),
    (THREE, 0.2, 0.422310, 0.344079, 0.401430),
    (THREE, 0.5, 0.927640, 0.742753, 1.223193),
])  # fmt: skip
def test_values(z: Tensor, temperature: float, all_others: float, cross: float, dhel: float) -> None:
    losses = (
        criteria.mv_info_nce(z, temperature=temperature),
        criteria.mv_info_nce(z, temperature=temperature, denominator="cross"),
        criteria.mv_dhel(z, temperature=temperature),
    )
    for (loss, info), value in zip(losses, (all_others, cross, dhel), strict=True):
        assert float(loss) == pytest.approx(value, abs=1e-6)
        assert info == {"anchors": 4, "skipped": 0}


def test_two_views_are_no_smaller_than_the_losses_of_pairs() -> None:
    gaps = (
        criteria.mv_info_nce(TWO)[0] - criteria.nt_xent(TWO[:1], TWO[1:], temperature=0.5),
        criteria.mv_info_nce(TWO, denominator="cross")[0]
        - criteria.info_nce(TWO[0], TWO[1], temperature=0.5, symmetric=True),
    )
    for gap, value in zip(gaps, (0.023429, 0.025686), strict=True):
        assert float(gap) == pytest.approx(value, abs=1e-6)
    torch.manual_seed(0)
    for z in torch.randn(50, 2, 5, 3, dtype=torch.float64):
        assert criteria.mv_info_nce(z)[0] >= criteria.nt_xent(z[:1], z[1:], temperature=0.5)
        pairs = criteria.info_nce(z[0], z[1], temperature=0.5, symmetric=True)
        assert criteria.mv_info_nce(z, denominator="cross")[0] >= pairs


def test_two_views_equal_nt_xent_where_both_denominators_agree() -> None:
    torch.manual_seed(0)
    z = torch.randn(1, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(criteria.mv_info_nce(torch.cat([z, z]))[0], criteria.nt_xent(z, z, temperature=0.5))


@pytest.mark.parametrize(("n_views", "n"), [(3, 4), (2, 4), (5, 2)])
def test_collapse(n_views: int, n: int) -> None:
    same = torch.ones(n_views, n, 3, dtype=torch.float64)
    chance = math.log((n_views * n - 1) / (n_views - 1))
    assert float(criteria.mv_info_nce(same)[0]) == pytest.approx(chance)
    chance = n_views * (math.log(n - 1) + 2) - math.log(n_views * (n_views - 1) / 2) - 2
    assert float(criteria.mv_dhel(same)[0]) == pytest.approx(chance)
    if (n_views, n) == (3, 4):
        assert float(criteria.mv_info_nce(same)[0]) == pytest.approx(1.704748, abs=1e-6)
        assert float(criteria.mv_dhel(same)[0]) == pytest.approx(6.197225, abs=1e-6)


def test_views_do_not_meet_in_the_spreading_of_dhel() -> None:
    """The gradient with respect to one view does not change at all with another, and the whole loss's does."""
    torch.manual_seed(0)
    z = torch.randn(3, 5, 4, dtype=torch.float64)

    def gradients(moved: Tensor) -> tuple[Tensor, Tensor]:
        moved = moved.clone().requires_grad_()
        parts = within_devices(devices(moved, None, None), 0.5).sum(), criteria.mv_dhel(moved)[0]
        spreading, whole = (torch.autograd.grad(part, moved)[0][0] for part in parts)
        return spreading, whole

    other = z.clone()
    other[1:] = torch.randn(2, 5, 4)
    before, after = gradients(z), gradients(other)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


# Slow references

Slow = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, int]]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b) / (a.norm() * b.norm())


def slow_mv_info_nce(z: Tensor, present: Tensor, ignore: Tensor, tau: float, cross: bool = False) -> tuple[Tensor, int]:
    n_views, n, _ = z.shape
    rows = []
    for i in range(n):
        mine = [m for m in range(n_views) if present[i, m]]
        rivals = [(j, m) for j in range(n) if j != i and not ignore[i, j] for m in range(n_views) if present[j, m]]
        if len(mine) < 2 or not rivals:
            continue
        below = [
            cosine(z[m, i], z[k, j])
            for m in mine
            for j, k in [*rivals, *((i, m) for m in mine)]
            if (j, k) != (i, m) and not (cross and k == m)
        ]
        above = [cosine(z[m, i], z[k, i]) for m in mine for k in mine if m != k]
        rows.append((torch.stack(below).div(tau).exp().sum() / torch.stack(above).div(tau).exp().sum()).log())
    return (torch.stack(rows).mean() if rows else z.sum() * 0), len(rows)


def slow_mv_dhel(z: Tensor, present: Tensor, ignore: Tensor, tau: float) -> tuple[Tensor, int]:
    n_views, n, _ = z.shape
    rows = []
    for i in range(n):
        mine = [m for m in range(n_views) if present[i, m]]
        spreading = []
        for m in mine:
            rivals = [cosine(z[m, i], z[m, j]) for j in range(n) if j != i and present[j, m] and not ignore[i, j]]
            if rivals:
                spreading.append(torch.stack(rivals).div(tau).exp().sum().log())
        if len(mine) < 2 or not spreading:
            continue
        above = [cosine(z[m, i], z[k, i]) for m in mine for k in mine if m < k]
        rows.append(torch.stack(spreading).sum() - torch.stack(above).div(tau).exp().sum().log())
    return (torch.stack(rows).mean() if rows else z.sum() * 0), len(rows)


def slow_cocoa(z: Tensor, present: Tensor, ignore: Tensor, tau: float, second: bool = False) -> tuple[Tensor, int]:
    n_views, n, _ = z.shape
    rows = []
    for i in range(n):
        mine = [m for m in range(n_views) if present[i, m]]
        negative = []
        for m in mine:
            rivals = [cosine(z[m, i], z[m, j]) for j in range(n) if j != i and present[j, m] and not ignore[i, j]]
            if rivals:
                negative.append(torch.stack(rivals).div(tau).exp().mean())
        if len(mine) < 2 or not negative:
            continue
        neg = torch.stack(negative).sum()
        if second:
            distances = [1 - cosine(z[m, i], z[k, i]) for m in mine for k in mine]
            rows.append(torch.stack(distances).div(tau).exp().mean() / 32 + 3.9e-3 * neg)
        else:
            pos = torch.stack([cosine(z[m, i], z[k, i]) for m in mine for k in mine if m != k]).div(tau).exp().sum()
            rows.append(-(pos / (pos + neg)).log())
    if not rows:
        return z.sum() * 0, 0
    return (torch.stack(rows).sum() if second else torch.stack(rows).mean()), len(rows)


PAIRS: dict[str, tuple[Callable[..., tuple[Tensor, dict[str, int]]], Slow]] = {
    "all": (criteria.mv_info_nce, slow_mv_info_nce),
    "cross": (
        lambda z, **kw: criteria.mv_info_nce(z, denominator="cross", **kw),
        lambda *args: slow_mv_info_nce(*args, cross=True),
    ),
    "dhel": (criteria.mv_dhel, slow_mv_dhel),
    "cocoa": (criteria.cocoa, slow_cocoa),
    "cocoa2": (
        lambda z, **kw: criteria.cocoa(z, form="cocoa2", **kw),
        lambda *args: slow_cocoa(*args, second=True),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_equals_the_loop(name: str, data: st.DataObject) -> None:
    """Values, gradients and counts, with any devices missing and any pairs ignored."""
    fast, slow = PAIRS[name]
    n_views, n = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    tau = data.draw(st.sampled_from([0.1, 0.5, 1.0]))
    present = torch.rand(n, n_views) < data.draw(st.sampled_from([0.5, 0.8, 1.0]))
    ignore = torch.rand(n, n) < data.draw(st.sampled_from([0.0, 0.4]))
    ignore |= ignore.T.clone()
    z = torch.randn(n_views, n, 3, dtype=torch.float64, requires_grad=True)
    loss, info = fast(z, temperature=tau, present=present, ignore=ignore)
    expected, anchors = slow(z, present, ignore, tau)
    torch.testing.assert_close(loss, expected)
    assert info == {"anchors": anchors, "skipped": n - anchors}
    ours, loops = (torch.autograd.grad(value, z)[0] for value in (loss, expected))
    torch.testing.assert_close(ours, loops, rtol=1e-5, atol=1e-9)


def test_cocoa_of_collapsed_latents() -> None:
    """All cosines 1: V(V − 1) positives against V means of 1."""
    same = torch.ones(3, 4, 2, dtype=torch.float64)
    assert float(criteria.cocoa(same)[0]) == pytest.approx(math.log((6 + 3) / 6))
    assert float(criteria.cocoa(same, form="cocoa2")[0]) == pytest.approx(4 * (1 / 32 + 3.9e-3 * 3 * math.exp(2)))


def test_masks_are_not_read_where_there_are_none() -> None:
    """No mask, and a mask that hides nothing, are one thing."""
    present, ignore = torch.ones(4, 3, dtype=torch.bool), torch.zeros(4, 4, dtype=torch.bool)
    for fast, _ in PAIRS.values():
        torch.testing.assert_close(fast(THREE)[0], fast(THREE, present=present, ignore=ignore)[0])
