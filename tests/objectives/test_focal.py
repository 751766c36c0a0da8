"""FOCAL's parts: slow loops with devices missing, what each part wants, their weighted sum."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biocl.objectives import criteria


def slow_nt_xent(z1: Tensor, z2: Tensor, both: list[int], ignore: Tensor, tau: float) -> Tensor:
    """Over the windows that both sides have, with the library's cross entropy."""
    rows = []
    for one, other in ((z1, z2), (z2, z1)):
        for i in both:
            rivals = [j for j in both if j != i and not ignore[i, j]]
            if rivals:
                others = torch.stack([other[i], *(side[j] for side in (one, other) for j in rivals)])
                scores = F.cosine_similarity(one[i][None], others) / tau
                rows.append(F.cross_entropy(scores, torch.tensor(0)))
    return torch.stack(rows).mean() if rows else z1.sum() * 0


def slow_parts(
    z1: Tensor, z2: Tensor, sequences: Tensor, present: Tensor, ignore: Tensor, tau: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n_devices, n, width = z1.shape
    half = width // 2
    zero = z1.sum() * 0
    shared, private, orthogonality, ranking = zero, zero, zero, zero
    windows = {
        (a, b): [i for i in range(n) if present[i, a] and present[i, b]]
        for a in range(n_devices)
        for b in range(n_devices)
    }
    for a in range(n_devices):
        private = private + slow_nt_xent(z1[a, :, half:], z2[a, :, half:], windows[a, a], ignore, tau)
        for z in (z1, z2):
            own = [F.cosine_similarity(z[a, i, :half], z[a, i, half:], dim=0).clamp(min=0) for i in windows[a, a]]
            orthogonality = orthogonality + (torch.stack(own).mean() if own else 0)
            for b in range(a + 1, n_devices):
                both = windows[a, b]
                shared = shared + slow_nt_xent(z[a, :, :half], z[b, :, :half], both, ignore, tau)
                two = [F.cosine_similarity(z[a, i, half:], z[b, i, half:], dim=0).clamp(min=0) for i in both]
                orthogonality = orthogonality + (torch.stack(two).mean() if two else 0)
            ranking = ranking + slow_ranking(z[a], sequences, windows[a, a])
    return shared, private, orthogonality, ranking


def slow_ranking(z: Tensor, sequences: Tensor, here: list[int]) -> Tensor:
    members = {s: [i for i in here if sequences[i] == s] for s in sequences.tolist()}
    rows = []
    for s, mine in members.items():
        for t, others in members.items():
            if s == t or len(mine) < 2 or not others:
                continue
            within = torch.stack([(z[i] - z[j]).norm() for i in mine for j in mine if i != j]).mean()
            between = torch.stack([(z[i] - z[j]).norm() for i in mine for j in others]).mean()
            rows.append((within - between + 1).clamp(min=0))
    return torch.stack(rows).mean() if rows else z.sum() * 0


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_part_equals_the_loop(data: st.DataObject) -> None:
    n_devices, n = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    present = torch.rand(n, n_devices) < data.draw(st.sampled_from([0.5, 0.8, 1.0]))
    sequences = torch.randint(0, 3, (n,)) * 7
    ignore = sequences[:, None] == sequences if data.draw(st.booleans()) else torch.zeros(n, n, dtype=torch.bool)
    z1, z2 = (torch.randn(n_devices, n, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    expected = slow_parts(z1, z2, sequences, present, ignore, 0.3)
    (s1, p1), (s2, p2) = criteria.shared_private(z1), criteria.shared_private(z2)
    masks = {"present": present, "ignore": ignore}
    parts = (
        sum(criteria.focal_shared(s, temperature=0.3, **masks) for s in (s1, s2)),
        criteria.focal_private(p1, p2, temperature=0.3, **masks),
        criteria.focal_orthogonality(s1, p1, present) + criteria.focal_orthogonality(s2, p2, present),
        sum(criteria.temporal_ranking(z, sequences, present=present) for z in (z1, z2)),
    )
    for ours, loops in zip(parts, expected, strict=True):
        torch.testing.assert_close(ours, loops)
    loss, info = criteria.focal(z1, z2, sequences, temperature=0.3, **masks)
    whole = sum(w * part for w, part in zip((1, 1, 3, 5), expected, strict=True))
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(torch.autograd.grad(loss, z1)[0], torch.autograd.grad(whole, z1)[0])
    there = int(present.any(dim=1).sum())
    assert info == {"anchors": there, "skipped": n - there}


def test_halves() -> None:
    shared, private = criteria.shared_private(torch.arange(8.0).reshape(1, 1, 8))
    assert shared.flatten().tolist() == [0, 1, 2, 3]
    assert private.flatten().tolist() == [4, 5, 6, 7]


def test_two_devices_share_by_nt_xent() -> None:
    torch.manual_seed(0)
    z = torch.randn(2, 5, 3, dtype=torch.float64)
    pair = criteria.nt_xent(z[:1], z[1:], temperature=0.5)
    torch.testing.assert_close(criteria.focal_shared(z), pair)
    torch.testing.assert_close(criteria.focal_private(z, z.flip(0)), 2 * pair)


def test_each_half_has_its_own_gradient() -> None:
    """Sharing does not touch private halves, nor the private contrast the shared ones."""
    torch.manual_seed(0)
    z1, z2 = (torch.randn(3, 5, 6, requires_grad=True) for _ in range(2))
    for weights, idle in (((1, 0, 0, 0), slice(3, 6)), ((0, 1, 0, 0), slice(0, 3))):
        (grad,) = torch.autograd.grad(criteria.focal(z1, z2, weights=weights)[0], z1)
        assert (grad[..., idle] == 0).all()
        assert grad.abs().sum() > 0


def test_orthogonality_charges_positive_cosines_only() -> None:
    e = torch.eye(3)
    shared, private = e[:1].expand(2, 4, 3), torch.stack([e[1], e[2]])[:, None].expand(2, 4, 3)
    assert float(criteria.focal_orthogonality(shared, private)) == 0
    assert float(criteria.focal_orthogonality(shared, -shared)) == pytest.approx(1)  # between the private halves
    assert float(criteria.focal_orthogonality(shared, 2 * shared)) == pytest.approx(3)


def test_ranking_is_zero_once_sequences_are_a_margin_apart() -> None:
    sequences = torch.tensor([3, 3, 3, 8, 8, 8])
    z = torch.zeros(1, 6, 2, requires_grad=True)
    loss = criteria.temporal_ranking(z, sequences)
    loss.backward()
    assert float(loss.detach()) == 1  # collapsed: the margin
    assert z.grad is not None
    assert z.grad.isfinite().all()
    apart = (sequences == 8).float()[None, :, None] * torch.tensor([1.5, 0.0])
    assert float(criteria.temporal_ranking(apart, sequences)) == 0
    assert float(criteria.temporal_ranking(apart, sequences, margin=2)) == pytest.approx(0.5)
    torch.testing.assert_close(criteria.temporal_ranking(apart + 5, sequences, margin=2).item(), 0.5)


def test_ranking_needs_two_sequences_and_two_windows() -> None:
    z = torch.randn(2, 4, 3, requires_grad=True)
    for sequences in (torch.zeros(4, dtype=torch.long), torch.arange(4)):
        loss = criteria.temporal_ranking(z, sequences)
        (grad,) = torch.autograd.grad(loss, z)
        assert float(loss.detach()) == 0
        assert (grad == 0).all()


def test_gradcheck_of_the_ranking() -> None:
    torch.manual_seed(0)
    z = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: criteria.temporal_ranking(z, torch.arange(6) // 2), z)


def test_one_window_gives_only_orthogonality() -> None:
    z1, z2 = (torch.randn(2, 1, 4, requires_grad=True) for _ in range(2))
    loss, info = criteria.focal(z1, z2, torch.zeros(1, dtype=torch.long), weights=(1, 1, 0, 5))
    loss.backward()
    assert float(loss.detach()) == 0
    assert info == {"anchors": 1, "skipped": 0}
    assert z1.grad is not None
    assert (z1.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    z1, z2 = torch.randn(2, 3, 6, 8).to(dtype)
    sequences = torch.arange(6) // 2
    full, _ = criteria.focal(z1.float(), z2.float(), sequences)
    with torch.autocast("cpu", dtype=dtype):
        half, _ = criteria.focal(z1, z2, sequences)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=1e-2, atol=1e-2)
