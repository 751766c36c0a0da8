"""What holds for every criterion over several devices, some of them missing."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from biocl.objectives import criteria

Criterion = Callable[..., tuple[Tensor, dict[str, int]]]
SEQUENCES = torch.tensor([0, 0, 1, 1, 2, 2])


def as_collossl(z: Tensor, present: Tensor | None = None, ignore: Tensor | None = None, **kw: float) -> object:
    """The first device is the anchor, all others are positives and, a row further, negatives."""
    shift = None if present is None else present.T.roll(1, dims=1)
    here = None if present is None else present.T[1:] & present.T[0]
    other = None if present is None else (shift[1:] & present.T[0])[:, None]
    return criteria.collossl(
        z[0], z[1:], z[1:].roll(1, dims=1)[:, None], positive_present=here, negative_present=other, **kw
    )


def as_focal(z: Tensor, present: Tensor | None = None, ignore: Tensor | None = None, **kw: float) -> object:
    """The second view is a fixed distortion of the first; lengths are part of the ranking, so it is left out."""
    other = z.flip(-1) + 0.3 * z
    return criteria.focal(z, other, None, present=present, ignore=ignore, **kw)


CRITERIA: dict[str, Criterion] = {
    "mv_info_nce": criteria.mv_info_nce,
    "mv_info_nce_cross": lambda z, **kw: criteria.mv_info_nce(z, denominator="cross", **kw),
    "mv_dhel": criteria.mv_dhel,
    "cocoa": criteria.cocoa,
    "cocoa2": lambda z, **kw: criteria.cocoa(z, form="cocoa2", **kw),
    "gram": criteria.gram,
    "gram_alone": lambda z, **kw: criteria.gram(z, companion=0, **kw),
    "collossl": as_collossl,  # type: ignore[dict-item]
    "focal": as_focal,  # type: ignore[dict-item]
}


def among(*left_out: str) -> pytest.MarkDecorator:
    kept = {name: criterion for name, criterion in CRITERIA.items() if name not in left_out}
    return pytest.mark.parametrize("criterion", kept.values(), ids=kept.keys())


def latents(n_devices: int = 3, n: int = 6, dim: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(n_devices, n, dim, dtype=dtype).requires_grad_()


def some_absent() -> Tensor:
    """Of three devices and six samples: all, two of them, or one."""
    return torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 1], [1, 1, 1], [0, 0, 1], [1, 1, 0]]).bool()


@among("collossl")  # its negatives are drawn before
def test_order_of_the_batch_does_not_matter(criterion: Criterion) -> None:
    z, present, order = latents(), some_absent(), torch.tensor([4, 2, 0, 5, 1, 3])
    loss, info = criterion(z, present=present)
    again, same = criterion(z[:, order], present=present[order])
    torch.testing.assert_close(loss, again)
    assert info == same


@pytest.mark.parametrize("name", ["mv_info_nce", "mv_info_nce_cross", "mv_dhel", "cocoa", "cocoa2", "focal"])
def test_order_of_the_devices_does_not_matter(name: str) -> None:
    z, present, order = latents(), some_absent(), torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        CRITERIA[name](z, present=present)[0], CRITERIA[name](z[order], present=present[:, order])[0]
    )


@among("focal")
@settings(max_examples=10, deadline=None)
@given(scale=st.floats(1e-3, 1e3), device=st.integers(0, 2), row=st.integers(0, 5))
def test_length_of_a_row_does_not_matter(criterion: Criterion, scale: float, device: int, row: int) -> None:
    z = latents().detach()
    stretched = z.clone()
    stretched[device, row] *= scale
    torch.testing.assert_close(criterion(z)[0], criterion(stretched)[0])


@among("cocoa2")
@pytest.mark.parametrize("absent", [False, True])
def test_finite_at_low_temperature_with_equal_rows(criterion: Criterion, absent: bool) -> None:
    z = latents(dtype=torch.float32)
    with torch.no_grad():
        z[:, 1] = z[:, 0]
        z[1] = z[0]
    loss, _ = criterion(z, temperature=0.01, present=some_absent() if absent else None)
    loss.backward()
    assert loss.isfinite()
    assert z.grad is not None
    assert z.grad.isfinite().all()


@among()
@pytest.mark.parametrize("absent", [False, True])
def test_gradcheck(criterion: Criterion, absent: bool) -> None:
    present = some_absent() if absent else None
    assert torch.autograd.gradcheck(lambda z: criterion(z, present=present)[0], latents())


@among()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(criterion: Criterion, dtype: torch.dtype) -> None:
    z = latents(dtype=torch.float32).detach().to(dtype)
    full, _ = criterion(z.float())
    with torch.autocast("cpu", dtype=dtype):
        half, _ = criterion(z.requires_grad_())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=1e-2, atol=1e-2)
    half.backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


@among("collossl", "focal")
def test_one_sample_gives_zero_with_a_graph(criterion: Criterion) -> None:
    z = latents(n=1)
    loss, info = criterion(z)
    loss.backward()
    assert float(loss.detach()) == 0
    assert info == {"anchors": 0, "skipped": 1}
    assert z.grad is not None
    assert (z.grad == 0).all()


@among("collossl", "focal")
@pytest.mark.parametrize("n_devices", [1, 3])
def test_no_sample_with_two_devices_gives_zero_with_a_graph(criterion: Criterion, n_devices: int) -> None:
    z = latents(n_devices)
    present = torch.eye(3, dtype=torch.bool).repeat(2, 1)[:, :n_devices]
    loss, info = criterion(z, present=present)
    loss.backward()
    assert float(loss.detach()) == 0
    assert info == {"anchors": 0, "skipped": 6}
    assert z.grad is not None
    assert (z.grad == 0).all()


@among()
def test_zero_latents(criterion: Criterion) -> None:
    z = torch.zeros(3, 4, 4, requires_grad=True)
    loss, _ = criterion(z)
    loss.backward()
    assert loss.isfinite()
    assert z.grad is not None
    assert z.grad.isfinite().all()


@among()
def test_a_device_missing_for_all_is_no_device(criterion: Criterion) -> None:
    """The loss and its gradient are those on the others, whatever stands where the device would be."""
    z = latents(4)
    present = torch.ones(6, 4, dtype=torch.bool)
    present[:, 2] = False
    others = [0, 1, 3]
    expected, info = criterion(z[others])
    (grad,) = torch.autograd.grad(expected, z)
    for absent in (0.0, torch.nan, torch.inf):
        filled = z.detach().clone()
        filled[2] = absent
        filled.requires_grad_()
        loss, counted = criterion(filled, present=present)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(torch.autograd.grad(loss, filled)[0], grad)
        assert counted == info


@among("collossl", "cocoa2", "focal")
def test_a_sample_without_devices_is_no_sample(criterion: Criterion) -> None:
    z = latents()
    present = torch.ones(6, 3, dtype=torch.bool)
    present[4] = False
    loss, info = criterion(z, present=present)
    rest = [0, 1, 2, 3, 5]
    torch.testing.assert_close(loss, criterion(z[:, rest])[0])
    assert info == {"anchors": 5, "skipped": 1}


@among("collossl", "focal")
def test_ignored_samples_are_absent(criterion: Criterion) -> None:
    """Two samples that are compared with nobody leave the loss on the others; the diagonal is not read."""
    z = latents()
    ignore = torch.zeros(6, 6, dtype=torch.bool)
    ignore[4:] = ignore[:, 4:] = True
    for diagonal in (True, False):
        ignore.fill_diagonal_(diagonal)
        loss, info = criterion(z, ignore=ignore, temperature=0.3)
        torch.testing.assert_close(loss, criterion(z[:, :4], temperature=0.3)[0])
        assert info == {"anchors": 4, "skipped": 2}


@among("collossl")
def test_scores_may_be_computed_in_pieces(criterion: Criterion, monkeypatch: pytest.MonkeyPatch) -> None:
    z, present = latents(), some_absent()
    ignore = torch.zeros(6, 6, dtype=torch.bool)
    ignore[0, 3] = ignore[3, 0] = True
    whole, _ = criterion(z, present=present, ignore=ignore)
    (grad,) = torch.autograd.grad(whole, z)
    for budget in (1, 12):
        monkeypatch.setitem(sys.modules["biocl.objectives.criteria.streamed"].CHUNK_SCORES, "cpu", budget)
        pieces, _ = criterion(z, present=present, ignore=ignore)
        torch.testing.assert_close(pieces, whole)
        torch.testing.assert_close(torch.autograd.grad(pieces, z)[0], grad)


@pytest.mark.parametrize("name", ["mv_info_nce", "mv_info_nce_cross", "mv_dhel", "cocoa", "gram"])
def test_no_scores_are_kept_for_the_backward_pass(name: str) -> None:
    """Nothing of the size of samples times samples, but GRAM's volumes."""
    n, kept = 300, [0]

    def keep(tensor: Tensor) -> Tensor:
        kept[0] = max(kept[0], tensor.numel())
        return tensor

    z = latents(2, n=n, dim=2, dtype=torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        CRITERIA[name](z)[0].backward()
    assert (kept[0] < n * n / 10) == (name != "gram")


def operations(criterion: Criterion, n_devices: int) -> int:
    """Multiplications of matrices in a step, forward and backward."""
    z = latents(n_devices, n=200, dim=2, dtype=torch.float32)
    with FlopCounterMode(display=False) as counter:
        criterion(z)[0].backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["mv_dhel", "cocoa"])
def test_cost_is_linear_in_devices(name: str) -> None:
    cost = {n: operations(CRITERIA[name], n) for n in (2, 4, 8, 16)}
    assert all(cost[2 * n] < 2.2 * cost[n] for n in (2, 4, 8))
    assert operations(CRITERIA["mv_info_nce"], 16) > 3.5 * operations(CRITERIA["mv_info_nce"], 8)
