"""Criteria by the distance of targets: published values, slow loops, gradients, invariances and edge cases."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from biocl.objectives import criteria
from biocl.objectives.criteria.supremix import drawn, hard_negatives, hard_positives, log_weights

Loss = tuple[Tensor, dict[str, int]]
Criterion = Callable[..., Loss]


def sinusoids(n_rows: int, dim: int, phase: float) -> Tensor:
    """Unit rows of sin(7i + 3j + ij + phase)."""
    i, j = torch.meshgrid(torch.arange(n_rows).double(), torch.arange(dim).double(), indexing="ij")
    return F.normalize(torch.sin(7 * i + 3 * j + i * j + phase))


A, B = sinusoids(4, 4, 0.0), sinusoids(4, 4, 0.5)
AGES = torch.tensor([20.0, 22.0, 25.0, 30.0] * 2, dtype=torch.float64)
PLAIN = {"n_negatives": 0, "n_positives": 0}


def equal(target: Tensor) -> Tensor:
    return target[:, None] == target[None]


def example(dtype: torch.dtype = torch.float64, n: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Items of random targets, some of them equal, with pairs that are ignored."""
    draws = torch.Generator().manual_seed(3)
    z = torch.randn(n, 5, generator=draws, dtype=dtype)
    target = torch.tensor([40.0, 43.0, 40.0, 47.5, 61.0, 43.0, 45.0, 47.5, 52.0], dtype=dtype)[:n]
    ignore = torch.zeros(n, n, dtype=torch.bool)
    if n > 3:
        ignore[0, 3] = ignore[3, 0] = ignore[1, 2] = ignore[2, 1] = True
    return z, target, ignore


# Published values


@pytest.mark.parametrize(("options", "value"), [
    ({"share": 0.2}, 3.790849),
    (PLAIN, 2.594409),
    ({**PLAIN, "weights": "none"}, 1.449524),
])  # fmt: skip
def test_supremix_values(options: dict[str, Any], value: float) -> None:
    loss, _ = criteria.supremix(torch.cat([A, B]), AGES, equal(AGES), temperature=0.3, reach=5.0, **options)
    assert float(loss) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(("temperature", "value"), [(0.1, 4.856295), (0.5, 1.566117)])
def test_cwcl_values(temperature: float, value: float) -> None:
    loss, _ = criteria.cwcl(A, B, 0.5 + 0.5 * A @ A.T, temperature=temperature)
    assert float(loss) == pytest.approx(value, abs=1e-6)
    if temperature == 0.1:
        assert float(loss + criteria.info_nce(B, A, temperature=0.1)) == pytest.approx(8.203840, abs=1e-6)


# Slow loops


def supremix_loop(
    z: Tensor, y: list[float], ignore: Tensor, *, tau: float, reach: float, unit: float, share: float, detach: bool
) -> Tensor:
    """Every mixture made, every score one dot product."""
    z = F.normalize(z, dim=1)
    other = z.detach() if detach else z
    losses = []
    for i, anchor in enumerate(z):
        mine = [j for j in range(len(z)) if j != i and not ignore[i, j]]
        attracting = [anchor @ z[p] / tau for p in mine if y[p] == y[i]]
        scored = [(anchor @ z[a] / tau, abs(y[a] - y[i]) / unit + 1) for a in mine]
        for k in mine:
            if y[k] != y[i]:
                label = share * y[i] + (1 - share) * y[k]
                mixed = share * other[i] + (1 - share) * other[k]
                scored.append((anchor @ mixed / tau, abs(label - y[i]) / unit + 1))
        for j in mine:
            for k in mine:
                if y[j] < y[i] < y[k] and y[i] - y[j] < reach and y[k] - y[i] < reach:
                    alpha = (y[k] - y[i]) / (y[k] - y[j])
                    score = anchor @ (alpha * other[j] + (1 - alpha) * other[k]) / tau
                    attracting.append(score)
                    scored.append((score, 1.0))
        if attracting:
            below = sum(weight * score.exp() for score, weight in scored)
            losses.append(sum(below.log() - score for score in attracting) / len(attracting))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize(("reach", "unit", "share"), [(5.0, 1.0, 0.2), (9.0, 4.0, 0.5), (100.0, 0.5, 0.1)])
def test_supremix_equals_the_loop(reach: float, unit: float, share: float, detach: bool) -> None:
    z, target, ignore = example()
    grads = []
    for fast in (True, False):
        leaf = z.clone().requires_grad_()
        if fast:
            loss, info = criteria.supremix(
                leaf, target, equal(target), temperature=0.4, reach=reach, unit=unit, share=share, ignore=ignore,
                n_negatives=99, n_positives=99, detach=detach,
            )  # fmt: skip
        else:
            loss = supremix_loop(
                leaf, target.tolist(), ignore, tau=0.4, reach=reach, unit=unit, share=share, detach=detach
            )
        loss.backward()
        grads.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(grads[0], grads[1])
    assert info["skipped"] == 9 - info["anchors"]


def rnc_loop(z: Tensor, y: list[float], ignore: Tensor, tau: float, cosine: bool) -> Tensor:
    losses = []
    for i in range(len(z)):
        mine = [j for j in range(len(z)) if j != i and not ignore[i, j]]
        score = {
            j: (F.cosine_similarity(z[i], z[j], dim=0) if cosine else -torch.linalg.vector_norm(z[i] - z[j])) / tau
            for j in mine
        }
        of_pairs = []
        for j in mine:
            as_far = [score[k].exp() for k in mine if abs(y[i] - y[k]) >= abs(y[i] - y[j])]
            of_pairs.append(sum(as_far).log() - score[j])
        if of_pairs:
            losses.append(sum(of_pairs) / len(of_pairs))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("similarity", ["distance", "cosine"])
@pytest.mark.parametrize("tau", [0.3, 2.0])
def test_rank_n_contrast_equals_the_loop(similarity: str, tau: float) -> None:
    z, target, ignore = example()
    ignore[4] = True  # an anchor without partners
    grads = []
    for fast in (True, False):
        leaf = z.clone().requires_grad_()
        if fast:
            loss, info = criteria.rank_n_contrast(leaf, target, temperature=tau, similarity=similarity, ignore=ignore)
        else:
            loss = rnc_loop(leaf, target.tolist(), ignore, tau, similarity == "cosine")
        loss.backward()
        grads.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(grads[0], grads[1])
    assert info == {"anchors": 8, "skipped": 1}


@pytest.mark.parametrize("with_ignored", [True, False])
def test_cwcl_equals_the_loop(with_ignored: bool) -> None:
    z, target, ignore = example()
    columns, target = z.flip(1)[:7], target
    weights = criteria.target_weights(target, target[:7], width=4.0)
    ignore = ignore[:, :7] if with_ignored else None
    losses = []
    for i in range(len(z)):
        mine = [j for j in range(7) if ignore is None or not ignore[i, j]]
        score = {j: F.cosine_similarity(z[i], columns[j], dim=0) / 0.2 for j in mine}
        below = torch.stack(list(score.values())).logsumexp(0)
        weight = {j: math.exp(-abs(float(target[i] - target[j])) / 4) for j in mine}
        losses.append(sum(weight[j] * (below - score[j]) for j in mine) / sum(weight.values()))
    loss, info = criteria.cwcl(z, columns, weights, temperature=0.2, ignore=ignore)
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    assert info == {"anchors": 9, "skipped": 0}


# SupReMix: its parts


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(20, 180, width=32), min_size=2, max_size=12),
    st.floats(0.5, 100),
    st.integers(0, 12),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_mixed_positives_have_the_anchors_target(
    values: list[float], reach: float, most: int, dtype: torch.dtype
) -> None:
    y = torch.tensor(values, dtype=dtype)
    scored = ~torch.eye(len(y), dtype=torch.bool)
    found = hard_positives(y, scored, reach=reach, most=most)
    own = y[:, None].expand_as(found.share)[found.there]
    torch.testing.assert_close(found.labels(y)[found.there], own, rtol=1e-6, atol=1e-6)
    low, high = y[found.first][found.there], y[found.second][found.there]
    assert bool(((low < own) & (own < high) & (own - low < reach) & (high - own < reach)).all())
    assert bool(((found.share > 0) & (found.share < 1))[found.there].all())
    for i, anchor in enumerate(values):
        lows = sum(anchor - reach < v < anchor for v in values)
        highs = sum(anchor < v < anchor + reach for v in values)
        if dtype == torch.float64:
            assert int(found.there[i].sum()) == min(most, lows * highs)
        one_sided = anchor in (min(values), max(values))
        assert not (one_sided and found.there[i].any())


def test_mixed_negatives_lie_between_the_anchor_and_a_negative() -> None:
    y = torch.tensor([40.0, 50.0, 50.0, 90.0])
    negatives = ~equal(y)
    torch.manual_seed(0)
    found = hard_negatives(negatives, share=(2.0, 8.0), most=9)
    assert found.there.sum(dim=1).tolist() == [3, 2, 2, 3]
    assert [found.second[i][found.there[i]].tolist() for i in range(4)] == [[1, 2, 3], [0, 3], [0, 3], [0, 1, 2]]
    assert bool((found.first == torch.arange(4)[:, None])[found.there].all())
    torch.manual_seed(0)
    many = hard_negatives(~torch.eye(200, dtype=torch.bool), share=(2.0, 8.0), most=199)
    assert float(many.share.mean()) == pytest.approx(0.2, abs=0.005)
    assert float(many.share.var()) == pytest.approx(0.2 * 0.8 / 11, abs=0.001)


def test_weights_grow_with_the_distance_of_targets() -> None:
    y = torch.linspace(0, 50, 11)
    weight = log_weights(y[:1], y[None], 2.0, "distance").exp()[0]
    torch.testing.assert_close(weight, y / 2 + 1)
    assert bool((weight >= 1).all())
    assert bool((weight.diff() > 0).all())
    assert not log_weights(y, y[None], 2.0, "none").any()


def test_what_is_drawn() -> None:
    n = torch.tensor([0, 1, 3, 4, 10, 1000])
    torch.manual_seed(0)
    number, there = drawn(n, 4)
    assert there.sum(dim=1).tolist() == [0, 1, 3, 4, 4, 4]
    assert number[3].tolist() == [0, 1, 2, 3]
    assert bool((number < n.clamp(min=1)[:, None]).all())
    assert all(250 * place <= int(one) < 250 * (place + 1) for place, one in enumerate(number[5]))
    times = torch.zeros(10)
    for _ in range(4000):
        number, _ = drawn(torch.tensor([10]), 4)
        times += number[0].bincount(minlength=10)
    torch.testing.assert_close(times / 4000, torch.full((10,), 0.4), atol=0.03, rtol=0)
    assert drawn(torch.tensor([5]), 0)[0].shape == (1, 0)


def test_without_mixtures_and_weights_it_is_sup_con() -> None:
    z, target, ignore = example()
    mine, info = criteria.supremix(z, target, equal(target), weights="none", ignore=ignore, **PLAIN)
    theirs, counts = criteria.sup_con(z, equal(target), temperature=0.3, ignore=ignore)
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    assert {name: info[name] for name in counts} == counts


def test_no_gradient_flows_into_mixtures() -> None:
    """Three targets: the middle one has no positive but a mixed one, and no negative is scored for the others."""
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for detach in (True, False):
        leaf = z.clone().requires_grad_()
        mixed = {"n_negatives": 0, "n_positives": 1, "reach": 9.0, "weights": "none", "detach": detach}
        s = F.normalize(leaf, dim=1)
        expected = F.normalize(z, dim=1) if detach else s
        middle = s[1] @ (expected[0] + expected[2]) / 2 / 0.3
        below = torch.stack([s[1] @ s[0] / 0.3, s[1] @ s[2] / 0.3, middle]).logsumexp(0)
        (wanted,) = torch.autograd.grad(below - middle, leaf)
        loss, info = criteria.supremix(leaf, torch.tensor([40.0, 42.0, 44.0]), torch.eye(3, dtype=torch.bool), **mixed)
        (found,) = torch.autograd.grad(loss, leaf)
        torch.testing.assert_close(found, wanted)
        assert info == {"anchors": 1, "skipped": 2, "mixed_positives": 1, "mixed_negatives": 0}


def test_half_of_the_mixtures_say_on_average_what_all_do() -> None:
    """The draw is one of all mixtures: no kind of them is preferred."""
    y = torch.linspace(40, 60, 21)
    scored = ~torch.eye(21, dtype=torch.bool)
    every = hard_positives(y, scored, reach=8.0, most=1000)
    mean_all = float(y[every.first[10]][every.there[10]].mean())
    torch.manual_seed(0)
    means = [float(y[hard_positives(y, scored, reach=8.0, most=7).first[10]].mean()) for _ in range(400)]
    assert sum(means) / 400 == pytest.approx(mean_all, abs=0.1)


class Largest(TorchDispatchMode):
    """The most numbers that one tensor held."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else [out]:
            if isinstance(one, Tensor):
                self.numbers = max(self.numbers, one.numel())
        return out


def test_memory_grows_with_pairs_and_mixtures_not_with_features() -> None:
    n, width, most = 96, 512, 32
    z = torch.randn(n, width, requires_grad=True)
    target = torch.linspace(40, 80, n).round()
    with Largest() as largest:
        loss, info = criteria.supremix(z, target, equal(target), reach=20.0, n_negatives=most, n_positives=most)
        loss.backward()
    assert info["mixed_positives"] > n * most / 2
    assert info["mixed_negatives"] == n * most
    assert largest.numbers <= max(n * width, n * (n + 2 * most))


# Rank-N-Contrast and CWCL


@pytest.mark.parametrize("similarity", ["distance", "cosine"])
def test_ranks_are_all_that_counts(similarity: str) -> None:
    z, target, ignore = example()
    loss = criteria.rank_n_contrast(z, target, similarity=similarity, ignore=ignore)[0]
    torch.testing.assert_close(criteria.rank_n_contrast(z, 8 * target, similarity=similarity, ignore=ignore)[0], loss)
    torch.testing.assert_close(criteria.rank_n_contrast(z, -target, similarity=similarity, ignore=ignore)[0], loss)


def test_a_line_in_the_order_of_targets_is_better_than_any_other() -> None:
    target = torch.tensor([10.0, 20.0, 40.0, 70.0, 75.0])
    line = target[:, None] / 10
    ordered = float(criteria.rank_n_contrast(line, target, temperature=0.1)[0])
    shuffled = float(criteria.rank_n_contrast(line[[2, 0, 4, 1, 3]], target, temperature=0.1)[0])
    assert 0 <= ordered < 0.1 < shuffled


def test_all_equal_targets_are_one_tie() -> None:
    z = example()[0]
    loss, _ = criteria.rank_n_contrast(z, torch.full((9,), 70.0))
    s = (-torch.cdist(z, z) / 2).masked_fill(torch.eye(9, dtype=torch.bool), -torch.inf)
    others = s.masked_fill(torch.eye(9, dtype=torch.bool), 0).sum(dim=1) / 8
    torch.testing.assert_close(loss, (s.logsumexp(dim=1) - others).mean())


def test_one_weight_a_row_is_info_nce() -> None:
    loss, _ = criteria.cwcl(A, B, torch.eye(4, dtype=torch.float64), temperature=0.1)
    torch.testing.assert_close(loss, criteria.info_nce(A, B, temperature=0.1), rtol=1e-12, atol=1e-12)


def test_a_row_of_weights_may_be_scaled_and_gets_no_gradient() -> None:
    weights = (0.5 + 0.5 * A @ A.T).requires_grad_()
    factor = torch.tensor([1.0, 0.01, 7.0, 300.0], dtype=torch.float64)[:, None]
    rows = A.clone().requires_grad_()
    loss = criteria.cwcl(rows, B, weights)[0]
    torch.testing.assert_close(criteria.cwcl(A, B, weights * factor)[0], loss)
    loss.backward()
    assert weights.grad is None
    assert rows.grad is not None


def test_a_row_without_weight_is_skipped() -> None:
    weights = torch.ones(4, 4, dtype=torch.float64)
    weights[2] = 0
    loss, info = criteria.cwcl(A, B, weights)
    keep = [0, 1, 3]
    torch.testing.assert_close(loss, criteria.cwcl(A[keep], B, weights[keep])[0])
    assert info == {"anchors": 3, "skipped": 1}


def test_weights_of_targets_fall_with_their_distance() -> None:
    y = torch.tensor([70.0, 70.0, 75.0, 90.0])
    weight = criteria.target_weights(y[:1], y, width=5.0)[0]
    torch.testing.assert_close(weight, torch.tensor([1, 1, math.exp(-1), math.exp(-4)]))


# What holds for all of them


EVERY: dict[str, Criterion] = {
    "supremix": lambda z, y, ignore=None, **kw: criteria.supremix(
        z, y, equal(y), share=0.2, n_negatives=99, n_positives=99, ignore=ignore, **kw
    ),
    "supremix_plain": lambda z, y, ignore=None, **kw: criteria.supremix(z, y, equal(y), ignore=ignore, **PLAIN, **kw),
    "rnc": lambda z, y, ignore=None, **kw: criteria.rank_n_contrast(z, y, ignore=ignore, **kw),
    "rnc_cosine": lambda z, y, ignore=None, **kw: criteria.rank_n_contrast(
        z, y, similarity="cosine", ignore=ignore, **kw
    ),
    "cwcl": lambda z, y, ignore=None, **kw: criteria.cwcl(
        z,
        z,
        criteria.target_weights(y, y, width=5.0),
        ignore=torch.eye(len(z), dtype=torch.bool) | (False if ignore is None else ignore),
        **kw,
    ),
}
every = pytest.mark.parametrize("criterion", EVERY.values(), ids=EVERY.keys())


@every
def test_order_of_the_batch_does_not_matter(criterion: Criterion) -> None:
    z, target, ignore = example()
    order = torch.randperm(9, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(
        criterion(z, target, ignore)[0], criterion(z[order], target[order], ignore[order][:, order])[0]
    )


@every
def test_only_differences_of_targets_count(criterion: Criterion) -> None:
    z, target, ignore = example()
    torch.testing.assert_close(criterion(z, target, ignore)[0], criterion(z, target + 100, ignore)[0])


@pytest.mark.parametrize("name", [name for name in EVERY if name != "rnc"])
def test_length_of_a_row_does_not_matter(name: str) -> None:
    z, target, ignore = example()
    scale = torch.linspace(0.01, 30, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(EVERY[name](z, target, ignore)[0], EVERY[name](scale * z, target, ignore)[0])


@every
def test_ignored_pairs_are_absent(criterion: Criterion) -> None:
    """An item that is ignored by all others changes nothing for them."""
    z, target, _ = example()
    ignore = torch.zeros(9, 9, dtype=torch.bool)
    ignore[4] = ignore[:, 4] = True
    keep = [0, 1, 2, 3, 5, 6, 7, 8]
    torch.testing.assert_close(criterion(z, target, ignore)[0], criterion(z[keep], target[keep])[0])


@pytest.mark.parametrize("name", [name for name in EVERY if name != "supremix"])
def test_gradcheck(name: str) -> None:
    z, target, ignore = example()
    assert torch.autograd.gradcheck(lambda leaf: EVERY[name](leaf, target, ignore)[0], z.requires_grad_())


def test_gradcheck_of_mixtures_that_carry_the_gradient_alone() -> None:
    z, target, ignore = example()
    z.requires_grad_()
    assert torch.autograd.gradcheck(lambda leaf: EVERY["supremix"](leaf, target, ignore, detach=False)[0], z)
    assert not torch.autograd.gradcheck(
        lambda leaf: EVERY["supremix"](leaf, target, ignore)[0], z, raise_exception=False
    )


@every
def test_finite_at_low_temperature_with_equal_rows(criterion: Criterion) -> None:
    z, target, ignore = example(torch.float32)
    z[1] = z[2] = z[0]
    z.requires_grad_()
    loss, _ = criterion(z, target, ignore, temperature=0.01)
    loss.backward()
    assert loss.isfinite()
    assert z.grad is not None
    assert z.grad.isfinite().all()


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(criterion: Criterion, dtype: torch.dtype) -> None:
    z, target, ignore = example(torch.float32)
    z = z.to(dtype)
    full = criterion(z.float(), target, ignore)[0]
    with torch.autocast("cpu", dtype=dtype):
        half = criterion(z.requires_grad_(), target, ignore)[0]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=1e-2, atol=1e-2)
    half.backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


@every
def test_single_precision_is_kept(criterion: Criterion) -> None:
    z, target, ignore = example(torch.float32)
    assert criterion(z, target, ignore)[0].dtype == torch.float32


@every
@pytest.mark.parametrize("n", [0, 1])
def test_one_item_gives_zero_with_a_graph(criterion: Criterion, n: int) -> None:
    z, target, ignore = example(n=n)
    z.requires_grad_()
    loss, info = criterion(z, target, ignore)
    loss.backward()
    assert float(loss.detach()) == 0
    assert info["anchors"] == 0
    assert info["skipped"] == n
    assert z.grad is not None
    assert not z.grad.any()
