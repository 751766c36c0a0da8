"""ColloSSL's loss: an independent evaluation, the sign that is right and the one that was released."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from biocl.objectives import criteria


def random_case(p: int, n: int, k: int, n_moments: int = 6, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    shapes = (n_moments, 4), (p, n_moments, 4), (n, k, n_moments, 4)
    anchor, positives, negatives = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    return anchor, positives, negatives


def independent(
    anchor: Tensor, positives: Tensor, negatives: Tensor, w_p: Tensor, w_n: Tensor, tau: float, sign: float = 1.0
) -> float:
    """The formula as it stands, in NumPy: weights over the largest, sums of exponentials."""
    a, p, n = anchor.numpy(), positives.numpy(), negatives.numpy()
    largest = max(w_p.max(), w_n.max()).item()
    weights_p, weights_n = w_p.numpy() / largest, w_n.numpy() / largest
    losses = []
    for b in range(len(a)):

        def weight_of(other: np.ndarray, b: int = b) -> float:
            return float(np.exp(sign * (a[b] @ other) / np.linalg.norm(a[b]) / np.linalg.norm(other) / tau))

        plus = sum(weights_p[i] * weight_of(p[i, b]) for i in range(len(p)))
        minus = sum(weights_n[i] * weight_of(n[i, j, b]) for i in range(n.shape[0]) for j in range(n.shape[1]))
        losses.append(-np.log(plus / (plus + minus)))
    return float(np.mean(losses))


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("n", range(1, 7))
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("sign", ["paper", "released"])
def test_equals_an_independent_evaluation(p: int, n: int, k: int, sign: Literal["paper", "released"]) -> None:
    case = random_case(p, n, k)
    w_p, w_n = torch.rand(p, dtype=torch.float64) + 0.1, torch.rand(n, dtype=torch.float64) * 5 + 0.1
    for tau in (0.05, 0.5):
        loss, info = criteria.collossl(*case, positive_weights=w_p, negative_weights=w_n, temperature=tau, sign=sign)
        expected = independent(*case, w_p, w_n, tau, 1.0 if sign == "paper" else -1.0)
        assert float(loss) == pytest.approx(expected, abs=1e-6)
        assert info == {"anchors": 6, "skipped": 0}


def test_positives_and_negatives_are_not_the_same() -> None:
    anchor, positives, negatives = random_case(2, 2, 1)
    swapped = criteria.collossl(anchor, negatives[:, 0], positives[:, None])[0]
    assert abs(float(swapped - criteria.collossl(anchor, positives, negatives)[0])) > 0.1


def aligned_and_reversed() -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """An anchor like its positive and unlike its negative, and the reverse."""
    e = torch.eye(2, dtype=torch.float64)
    like, unlike = e[:1].expand(3, 2), e[1:].expand(3, 2)
    return (like, like[None], unlike[None, None]), (like, unlike[None], like[None, None])


@pytest.mark.parametrize("temperature", [0.01, 0.05, 0.5, 1.0, 10.0])
def test_alignment_costs_less(temperature: float) -> None:
    good, bad = (criteria.collossl(*case, temperature=temperature)[0] for case in aligned_and_reversed())
    assert good < bad


def test_the_released_sign_charges_alignment() -> None:
    """At τ = 0.05, 20.0 for what should be perfect and 0.0 for its opposite."""
    good, bad = (float(criteria.collossl(*case, sign="released")[0]) for case in aligned_and_reversed())
    assert good == pytest.approx(20.0, abs=1e-6)
    assert bad == pytest.approx(0.0, abs=1e-6)
    good, bad = (float(criteria.collossl(*case, sign="paper")[0]) for case in aligned_and_reversed())
    assert good == pytest.approx(0.0, abs=1e-6)
    assert bad == pytest.approx(20.0, abs=1e-6)


def cosines(anchor: Tensor, others: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(anchor.detach(), others.detach(), dim=-1).mean())


@pytest.mark.parametrize("seed", range(5))
def test_a_step_brings_aligned_moments_together(seed: int) -> None:
    torch.manual_seed(seed)
    anchor, other = torch.randn(2, 8, 4, dtype=torch.float64).requires_grad_()
    loss, _ = criteria.collossl(anchor, other[None], other.roll(1, 0)[None, None])
    step = torch.autograd.grad(loss, (anchor, other))
    moved_anchor, moved_other = (z - 0.05 * g for z, g in zip((anchor, other), step, strict=True))
    assert cosines(moved_anchor, moved_other) > cosines(anchor, other)
    assert cosines(moved_anchor, moved_other.roll(1, 0)) < cosines(anchor, other.roll(1, 0))


def trained(sign: Literal["paper", "released"]) -> tuple[float, float]:
    """Cosines of an anchor with its positive and with its negative, all latents free."""
    torch.manual_seed(0)
    free = [torch.randn(4, 6, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    optimiser = torch.optim.Adam(free, lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        criteria.collossl(free[0], free[1][None], free[2][None, None], temperature=1.0, sign=sign)[0].backward()
        optimiser.step()
    return cosines(free[0], free[1]), cosines(free[0], free[2])


def test_where_free_latents_end() -> None:
    """The released sign drives aligned devices to opposite latents, and the anchor to its negative."""
    assert trained("released") == pytest.approx((-1.0, 1.0), abs=0.01)
    assert trained("paper") == pytest.approx((1.0, -1.0), abs=0.01)


def test_equal_weights_are_none_and_their_scale_is_nothing() -> None:
    case = random_case(2, 3, 2)
    plain, _ = criteria.collossl(*case)
    ones = criteria.collossl(*case, positive_weights=torch.ones(2), negative_weights=torch.ones(3))[0]
    torch.testing.assert_close(ones, plain)
    w_p, w_n = torch.tensor([1.0, 0.5]).double(), torch.tensor([3.0, 0.2, 7.0]).double()
    weighted = criteria.collossl(*case, positive_weights=w_p, negative_weights=w_n)[0]
    assert abs(float(weighted - plain)) > 1e-3
    for c in (1e-6, 0.3, 1e6):
        scaled = criteria.collossl(*case, positive_weights=c * w_p, negative_weights=c * w_n)[0]
        torch.testing.assert_close(scaled, weighted)


@pytest.mark.parametrize("how", ["absent", "weight 0"])
def test_a_missing_device_is_left_out(how: str) -> None:
    """The loss and its gradient are those on the devices that remain."""
    anchor, positives, negatives = random_case(2, 3, 2)
    w_n = torch.tensor([1.0, 2.0, 3.0]).double()
    anchor.requires_grad_()
    expected, _ = criteria.collossl(anchor, positives[:1], negatives[[0, 2]], negative_weights=w_n[[0, 2]])
    if how == "absent":
        positives[1], negatives[1] = torch.nan, torch.nan
        has_p, has_n = torch.ones(2, 6, dtype=torch.bool), torch.ones(3, 2, 6, dtype=torch.bool)
        has_p[1], has_n[1] = False, False
        options = {"negative_weights": w_n, "positive_present": has_p, "negative_present": has_n}
    else:
        w_n[1] = 0
        options = {"negative_weights": w_n, "positive_weights": torch.tensor([1.0, 0.0])}
    loss, info = criteria.collossl(anchor, positives, negatives, **options)  # type: ignore[arg-type]
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, anchor)[0] for value in (loss, expected)))
    assert info == {"anchors": 6, "skipped": 0}


def test_moments_without_a_positive_or_a_negative_are_dropped_and_counted() -> None:
    anchor, positives, negatives = random_case(1, 2, 1)
    has_p, has_n = torch.ones(1, 6, dtype=torch.bool), torch.ones(2, 1, 6, dtype=torch.bool)
    has_p[:, 0], has_n[:, :, 1], has_n[0, :, 2] = False, False, False
    loss, info = criteria.collossl(anchor, positives, negatives, positive_present=has_p, negative_present=has_n)
    ones, rows = torch.ones(2).double(), []
    for b in range(2, 6):
        used = negatives[1:, :, [b]] if b == 2 else negatives[:, :, [b]]
        rows.append(independent(anchor[[b]], positives[:, [b]], used, ones[:1], ones[: len(used)], 0.05))
    assert float(loss) == pytest.approx(np.mean(rows), abs=1e-6)
    assert info == {"anchors": 4, "skipped": 2}


def test_an_absent_anchor_is_not_read() -> None:
    """Nor does it spoil the gradient of the rest."""
    case = random_case(1, 2, 1)
    case[0][3] = torch.nan
    case = tuple(z.requires_grad_() for z in case)  # type: ignore[assignment]
    has_p = (torch.arange(6) != 3)[None]
    loss, info = criteria.collossl(*case, positive_present=has_p)
    rest = [0, 1, 2, 4, 5]
    expected, _ = criteria.collossl(case[0][rest], case[1][:, rest], case[2][:, :, rest])
    torch.testing.assert_close(loss, expected)
    assert info == {"anchors": 5, "skipped": 1}
    for ours, subset in zip(torch.autograd.grad(loss, case), torch.autograd.grad(expected, case), strict=True):
        torch.testing.assert_close(ours, subset)


def test_one_moment_without_negatives_gives_zero_with_a_graph() -> None:
    anchor, positives, negatives = random_case(1, 1, 1, n_moments=1)
    anchor.requires_grad_()
    loss, info = criteria.collossl(
        anchor, positives, negatives, negative_present=torch.zeros(1, 1, 1, dtype=torch.bool)
    )
    loss.backward()
    assert float(loss.detach()) == 0
    assert info == {"anchors": 0, "skipped": 1}
    assert anchor.grad is not None
    assert (anchor.grad == 0).all()
