"""Masks drawn for a whole batch have the distribution of the public code's loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from biocl.views.masks import (
    binomial_mask,
    channel_binomial_mask,
    channel_continuous_mask,
    continuous_mask,
)


def seeded(seed: int = 0) -> torch.Generator:
    """A generator of its own for every test."""
    return torch.Generator().manual_seed(seed)


def slow_continuous(n_samples: int, n_times: int, rng: np.random.Generator) -> np.ndarray:
    """Five segments of a tenth of the window, one at a time."""
    keep = np.ones((n_samples, n_times), dtype=bool)
    length = max(int(0.1 * n_times), 1)
    for row in keep:
        for _ in range(max(min(5, n_times // 2), 1)):
            start = rng.integers(n_times - length + 1)
            row[start : start + length] = False
    return keep


def test_starts_are_uniform() -> None:
    keep = continuous_mask(271 * 60, 300, n_segments=1, generator=seeded())
    assert (~keep).sum(1).eq(30).all()
    starts = keep.int().argmin(1)
    assert chisquare(torch.bincount(starts, minlength=271).numpy()).pvalue > 0.001


def test_masked_share() -> None:
    keep = continuous_mask(4000, 300, generator=seeded())
    assert (~keep).float().mean() == pytest.approx(0.405, abs=0.005)


def test_equals_the_loop_in_distribution() -> None:
    fast = (~continuous_mask(4000, 40, generator=seeded())).float().mean(0).numpy()
    slow = (~slow_continuous(4000, 40, np.random.default_rng(0))).mean(0)
    assert np.abs(fast - slow).max() < 4.5 * np.sqrt(2 * 0.25 / 4000)


@settings(max_examples=30, deadline=None)
@given(n_times=st.integers(1, 50), n_segments=st.integers(1, 60), share=st.floats(0.01, 1))
def test_segments_have_their_length(n_times: int, n_segments: int, share: float) -> None:
    keep = continuous_mask(3, n_times, n_segments=n_segments, share=share, generator=seeded())
    length = max(int(share * n_times), 1)
    masked = (~keep).sum(1)
    assert keep.shape == (3, n_times)
    assert (masked >= length).all()
    assert (masked <= length * max(min(n_segments, n_times // 2), 1)).all()


def test_channel_continuous_masks_half_of_the_channels() -> None:
    keep = channel_continuous_mask(50, 40, 9, n_segments=1, generator=seeded())
    masked = ~keep
    assert (masked.any(2).sum(1) == 4).all()
    assert (masked.any(1).sum(1) == 4).all()
    assert (masked.sum((1, 2)) == 16).all()
    share = masked.any(1).float().mean(0)
    assert (share - 4 / 9).abs().max() < 0.25


def test_binomial() -> None:
    assert binomial_mask(300, 100, p=0.3, generator=seeded()).float().mean() == pytest.approx(0.3, abs=0.02)
    keep = channel_binomial_mask(30, 100, 8, generator=seeded())
    assert keep.shape == (30, 100, 8)
    assert keep.float().mean() == pytest.approx(0.5, abs=0.02)


def test_draws_belong_to_the_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = [continuous_mask(4, 30, generator=g) for g in [seeded(1)] for _ in range(2)]
    again = [continuous_mask(4, 30, generator=g) for g in [seeded(1)] for _ in range(2)]
    assert torch.equal(torch.stack(first), torch.stack(again))
    assert not torch.equal(first[0], first[1])
    assert torch.equal(before, torch.get_rng_state())
