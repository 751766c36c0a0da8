"""Distances between devices against the formula pair by pair, and the devices that policies choose."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biocl.objectives import device_selection
from biocl.objectives.device_selection import (
    BANDWIDTHS,
    POLICIES,
    choose,
    magnitude_triads,
    magnitudes,
    mmd_between,
    mmd_to_anchor,
)
from biocl.signals.recording import Channel

KERNELS = len(BANDWIDTHS)


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    squared = float(((x - y) ** 2).sum())
    return sum(math.exp(-squared / (2 * s)) for s in (1e-4, 1e-3, 1e-2, 0.1, 1, 5, 10, 15, 20, 25, 30, 100))


def slow_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Section by section as written, every pair by itself."""
    xx, yy, xy = (np.mean([[kernel(a, b) for b in q] for a in p]) for p, q in ((x, x), (y, y), (x, y)))
    return max(float(xx + yy - 2 * xy), 1e-4)


def devices(n_devices: int, n_windows: int, n_times: int, seed: int = 0, apart: float = 0.5) -> Tensor:
    """Device v moves about `apart` times v more than device 0; distances lie at all bandwidths."""
    rng = np.random.default_rng(seed)
    spread = np.array([1e-3, 1e-2, 0.1, 1.0, 4.0])[rng.integers(0, 5, (1, n_windows, 1))]
    m = rng.standard_normal((n_devices, n_windows, n_times)) * spread / math.sqrt(n_times)
    return torch.from_numpy(m + 9.8 + apart * np.arange(n_devices)[:, None, None])


# Magnitudes


def channel(name: str, kind: str, device: str) -> Channel:
    return Channel(name, kind, "NU", device)  # type: ignore[arg-type]


def test_the_accelerometer_stands_for_a_device_and_else_its_first_sensor() -> None:
    wrist = [channel(name, name[:3], "wrist") for name in ["gyr_x", "gyr_y", "gyr_z", "acc_z", "acc_x", "acc_y"]]
    ankle = [channel(name, name[:3], "ankle") for name in ["mag_z", "mag_y", "mag_x", "gyr_x", "gyr_y", "gyr_z"]]
    axes = magnitude_triads([wrist, ankle])
    assert axes == ((4, 5, 3), (2, 1, 0))
    x = torch.randn(5, 2, 6, 7, generator=torch.Generator().manual_seed(0))
    found = magnitudes(x, axes)
    assert found.shape == (5, 2, 7)
    for b, v, t in ((0, 0, 0), (4, 0, 6), (1, 1, 3)):
        expected = math.sqrt(sum(float(x[b, v, c, t]) ** 2 for c in axes[v]))
        assert float(found[b, v, t]) == pytest.approx(expected, rel=1e-6)


def test_a_device_without_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="no accelerometer"):
        magnitude_triads([[channel("C3", "eeg", "cap")]])


# Distances


@pytest.mark.parametrize("shape", [(2, 1, 3), (2, 9, 1), (3, 12, 20), (5, 17, 6)])
def test_mmd_is_the_formula(shape: tuple[int, int, int]) -> None:
    m = devices(*shape, apart=0.02)
    for anchor in range(shape[0]):
        found = mmd_to_anchor(m, anchor)
        expected = [0.0 if v == anchor else slow_mmd(m[anchor].numpy(), m[v].numpy()) for v in range(shape[0])]
        assert found.tolist() == pytest.approx(expected, abs=1e-9)
        assert found.dtype == torch.float64
        single = mmd_to_anchor(m.float(), anchor)
        assert single.dtype == torch.float32
        rounded = m.float().numpy().astype(np.float64)
        expected = [0.0 if v == anchor else slow_mmd(rounded[anchor], rounded[v]) for v in range(shape[0])]
        assert single.tolist() == pytest.approx(expected, abs=1e-5)
    assert max(expected) > 1e-3


@pytest.mark.parametrize("n_kernels", [1, 7, 50, 300, 10**6])
def test_chunks_leave_no_trace(n_kernels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    m = devices(4, 13, 5)
    present = torch.rand(13, 4, generator=torch.Generator().manual_seed(1)) < 0.7
    whole, partly = mmd_to_anchor(m, 1), mmd_to_anchor(m, 1, present)
    monkeypatch.setitem(device_selection.CHUNK_KERNELS, "cpu", n_kernels)
    assert torch.allclose(mmd_to_anchor(m, 1), whole, rtol=0, atol=1e-9)
    assert torch.allclose(mmd_to_anchor(m, 1, present), partly, rtol=0, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 20))
def test_mmd_does_not_see_the_order_of_windows(seed: int, n_devices: int, n_windows: int) -> None:
    m = devices(n_devices, n_windows, 4, seed)
    rng = np.random.default_rng(seed)
    shuffled = torch.stack([one[torch.from_numpy(rng.permutation(n_windows))] for one in m])
    assert torch.allclose(mmd_to_anchor(shuffled, 0), mmd_to_anchor(m, 0), rtol=0, atol=1e-9)


def test_each_device_meets_itself_once_and_the_anchor_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are counted: of B x B pairs V of devices with themselves, V - 1 with the anchor."""
    counted: list[int] = []
    plain = device_selection.kernel_sums
    monkeypatch.setattr(device_selection, "kernel_sums", lambda d: counted.append(d.numel()) or plain(d))
    mmd_to_anchor(devices(6, 10, 3), 2)
    assert sum(counted) == (6 + 5) * 10 * 10
    counted.clear()
    everywhere = torch.ones(10, 6, dtype=torch.bool)
    everywhere[0, 4] = False
    mmd_to_anchor(devices(6, 10, 3), 2, everywhere)
    assert sum(counted) == (6 + 5) * 10 * 10


def test_equal_devices_are_at_the_floor_and_nothing_is_negative() -> None:
    m = devices(3, 40, 8)
    same = mmd_to_anchor(torch.stack([m[0], m[0].flip(0)]), 0)
    assert float(same[1]) == 1e-4
    assert float(mmd_to_anchor(torch.stack([m[0], m[0]]).float(), 0)[1]) == pytest.approx(1e-4, rel=1e-6)


def test_far_from_the_origin_nothing_cancels() -> None:
    """Magnitudes of thousands (raw counts) with small differences."""
    m = devices(2, 10, 4, apart=0.02)
    assert torch.allclose(mmd_to_anchor(m + 1e5, 0), mmd_to_anchor(m, 0), rtol=0, atol=1e-6)


def test_a_window_is_at_no_distance_from_itself() -> None:
    """In raw counts, where all other pairs are further apart than any bandwidth, only those pairs count."""
    found = mmd_to_anchor(1e6 * devices(2, 10, 40), 0)
    assert float(found[1]) == pytest.approx(2 * KERNELS / 10, abs=1e-9)


def test_embeddings_and_half_precision() -> None:
    z = torch.randn(3, 20, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    z.requires_grad_()
    found = mmd_to_anchor(z, 0)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mmd_to_anchor(z, 0), found)
    assert found.tolist()[1:] == pytest.approx(
        [slow_mmd(z[0].detach().double().numpy(), z[v].detach().double().numpy()) for v in (1, 2)], abs=1e-5
    )


def test_devices_are_compared_over_the_windows_that_both_have() -> None:
    m = devices(4, 12, 5, apart=0.03)
    present = torch.ones(12, 4, dtype=torch.bool)
    present[:5, 1] = False
    present[3:9, 2] = False
    present[0, 0] = False
    present[1:, 3] = False
    m = m.masked_fill(~present.T[:, :, None], torch.nan)
    found = mmd_to_anchor(m, 0, present)
    for device in (1, 2):
        both = (present[:, 0] & present[:, device]).numpy()
        assert float(found[device]) == pytest.approx(slow_mmd(m[0].numpy()[both], m[device].numpy()[both]), abs=1e-9)
    assert found[3] == torch.inf
    assert found[0] == 0
    from_last = mmd_to_anchor(m, 3, present)  # which has window 0 alone
    assert from_last[[0, 1, 3]].tolist() == [math.inf, math.inf, 0.0]
    assert float(from_last[2]) == pytest.approx(slow_mmd(m[3, :1].numpy(), m[2, :1].numpy()), abs=1e-9)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("far", [0.0, 1e5])
def test_distances_between_all_are_those_of_each_anchor(missing: bool, far: float) -> None:
    m = devices(4, 12, 5, apart=0.03) + far
    present = torch.rand(12, 4, generator=torch.Generator().manual_seed(1)) < 0.6 if missing else None
    if present is not None:
        present[:, 3] = False
        present[0, 3], present[0, 1] = True, False  # no window in common
        m = m.masked_fill(~present.T[:, :, None], torch.nan)
    found = mmd_between(m, present)
    assert torch.equal(found, found.T)
    for anchor in range(4):
        torch.testing.assert_close(found[anchor], mmd_to_anchor(m, anchor, present), rtol=0, atol=1e-9 + far * 1e-11)
    assert torch.isinf(found).any() == missing
    drawn = mmd_between(m, present, at_most=5, generator=torch.Generator().manual_seed(3))
    of_anchor = mmd_to_anchor(m, 2, present, at_most=5, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(drawn[2], of_anchor, rtol=0, atol=1e-9)


def test_between_all_each_device_meets_itself_and_each_other_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    plain = device_selection.kernel_sums
    monkeypatch.setattr(device_selection, "kernel_sums", lambda d: counted.append(d.numel()) or plain(d))
    for present in (None, torch.rand(10, 6) < 0.8):
        counted.clear()
        mmd_between(devices(6, 10, 3), present)
        assert sum(counted) == (6 + 15) * 10 * 10


def test_one_device_and_no_windows() -> None:
    assert mmd_to_anchor(torch.ones(1, 3, 4), 0).tolist() == [0.0]
    assert mmd_to_anchor(torch.ones(2, 0, 4), 0).tolist() == [0.0, math.inf]
    assert mmd_between(torch.ones(1, 3, 4)).tolist() == [[0.0]]
    assert mmd_between(torch.ones(2, 0, 4)).tolist() == [[0.0, math.inf], [math.inf, 0.0]]


def test_a_draw_of_windows_is_one_draw_for_all_devices() -> None:
    m = devices(4, 60, 5, apart=0.3)
    found = mmd_to_anchor(m, 0, at_most=20, generator=torch.Generator().manual_seed(3))
    rows = torch.randperm(60, generator=torch.Generator().manual_seed(3))[:20]
    assert torch.equal(found, mmd_to_anchor(m[:, rows], 0))
    assert torch.equal(mmd_to_anchor(m, 0, at_most=60), mmd_to_anchor(m, 0))
    # Pairs of a window with itself weigh more: by at most what the docstring says, in the mean over draws.
    grown = torch.stack(
        [mmd_to_anchor(m, 0, at_most=20, generator=torch.Generator().manual_seed(s)) for s in range(30)]
    )
    excess = (grown.mean(dim=0) - mmd_to_anchor(m, 0))[1:]
    assert (excess > 0).all()
    assert (excess < 2 * KERNELS * (1 / 20 - 1 / 60)).all()
    assert grown.mean(dim=0).argsort().tolist() == [0, 1, 2, 3]


# Policies


FAR = torch.tensor([0.0, 0.4, 0.1, 0.3, 0.2])  # from device 0: 2, 4, 3, 1


@pytest.mark.parametrize(("policy", "positives", "negatives"), [
    ("closest-positive-all-negative", [2], [2, 4, 3, 1]),
    ("closest-positive-rest-negative", [2], [4, 3, 1]),
    ("hard-negative", [2], [4, 3]),
    ("harder-negative", [1], [2, 4]),
    ("closest-two", [2], [4]),
])  # fmt: skip
def test_policies_by_rank(policy: str, positives: list[int], negatives: list[int]) -> None:
    found = choose(policy, FAR, 0)  # type: ignore[arg-type]
    assert (found.positives.tolist(), found.negatives.tolist()) == (positives, negatives)
    weight = np.array([1.0] * len(positives) + [1 / float(FAR[v]) for v in negatives])
    weight /= weight.max()
    assert [*found.w_p.tolist(), *found.w_n.tolist()] == pytest.approx(weight.tolist(), rel=1e-6)
    plain = choose(policy, FAR, 0, weights="none")  # type: ignore[arg-type]
    assert {*plain.w_p.tolist(), *plain.w_n.tolist()} == {1.0}
    assert plain.negatives.tolist() == negatives


def test_the_closest_device_is_found_on_signals_of_known_order() -> None:
    """Devices 0 to 4 are 0.05 apart on a line: from 3, the closest are 2 and 4; from 0, the order is 1, 2, 3, 4."""
    m = devices(5, 64, 10, apart=0.5)
    first = choose("closest-positive-all-negative", mmd_to_anchor(m, 0), 0)
    assert first.positives.tolist() == [1]
    assert first.negatives.tolist() == [1, 2, 3, 4]
    assert choose("closest-positive-rest-negative", mmd_to_anchor(m, 0), 0).negatives.tolist() == [2, 3, 4]
    assert choose("closest-two", mmd_to_anchor(m, 4), 4).positives.tolist() == [3]
    assert set(choose("hard-negative", mmd_to_anchor(m, 2), 2).positives.tolist()) <= {1, 3}


def test_positives_keep_weight_one_where_no_negative_weighs_more() -> None:
    found = choose("closest-positive-rest-negative", torch.tensor([0.0, 2.0, 4.0]), 0)
    assert found.w_p.tolist() == [1.0]
    assert found.w_n.tolist() == [0.25]
    assert choose("closest-two", torch.ones(3), 1).w_n.tolist() == [1.0]


def test_the_anchor_is_never_chosen() -> None:
    generator = torch.Generator().manual_seed(0)
    for anchor in range(5):
        for policy in (*POLICIES, "random"):
            found = choose(policy, torch.zeros(5), anchor, generator=generator)  # type: ignore[arg-type]
            assert anchor not in found.positives.tolist() + found.negatives.tolist()


def test_what_is_not_there_weighs_nothing() -> None:
    distances = torch.tensor([0.0, torch.inf, 0.5, torch.inf])
    found = choose("closest-positive-all-negative", distances, 0)
    assert found.positives.tolist() == [2]
    assert dict(zip(found.negatives.tolist(), found.w_n.tolist(), strict=True)) == {2: 1.0, 1: 0.0, 3: 0.0}
    assert found.w_p.tolist() == [0.5]
    alone = choose("closest-positive-all-negative", torch.tensor([0.0, torch.inf, torch.inf]), 0)
    assert [*alone.w_p.tolist(), *alone.w_n.tolist()] == [0.0, 0.0, 0.0]
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        drawn = choose("random", distances, 0, generator=generator)
        assert (drawn.positives.tolist(), drawn.negatives.tolist()) == ([2], [2])


def test_random_devices_come_equally_often() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = [choose("random", FAR, 2, generator=generator) for _ in range(2000)]
    for side in ("positives", "negatives"):
        counts = np.bincount([int(getattr(one, side)) for one in draws], minlength=5)
        assert counts[2] == 0
        assert (np.abs(counts[[0, 1, 3, 4]] - 500) < 100).all()
    assert any(int(one.positives) != int(one.negatives) for one in draws)
    assert {float(one.w_n) for one in draws} == {1.0}
    again = torch.Generator().manual_seed(0)
    assert torch.equal(choose("random", FAR, 2, generator=again).negatives, draws[0].negatives)


def test_fixed_devices() -> None:
    found = choose("fixed", FAR, 0, positives=[3], negatives=[1, 2])
    assert (found.positives.tolist(), found.negatives.tolist()) == ([3], [1, 2])
    assert found.w_n.tolist() == pytest.approx([0.25, 1.0])
    for wrong in ({"positives": [0], "negatives": [1]}, {"positives": [1], "negatives": []}, {"positives": [5]}):
        with pytest.raises(ValueError, match="fixed"):
            choose("fixed", FAR, 0, **wrong)  # type: ignore[arg-type]


def test_too_few_devices_are_refused() -> None:
    for policy, rule in POLICIES.items():
        found = choose(policy, torch.ones(rule.least + 1), 0)  # type: ignore[arg-type]
        assert len(found.positives) > 0
        assert len(found.negatives) > 0
        with pytest.raises(ValueError, match="beside the anchor"):
            choose(policy, torch.ones(rule.least), 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="policy"):
        choose("closest", FAR, 0)  # type: ignore[arg-type]
