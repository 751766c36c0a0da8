"""Dropout by 16 random bits an entry."""

from __future__ import annotations

import pytest
import torch

from biocl.encoders.dropout import Dropout


def test_rate_mean_and_independence() -> None:
    torch.manual_seed(0)
    drop = Dropout(0.1)
    x = drop(torch.ones(400, 501))
    assert (x == 0).double().mean().item() == pytest.approx(0.1, abs=0.003)
    assert x.mean().item() == pytest.approx(1, abs=0.004)
    assert x.unique().tolist() == pytest.approx([0, drop.scale])
    other = drop(torch.ones(400, 501))
    both = ((x == 0) & (other == 0)).double().mean().item()
    neighbours = ((x[:, 1:] == 0) & (x[:, :-1] == 0)).double().mean().item()
    assert both == pytest.approx(0.01, abs=0.001)
    assert neighbours == pytest.approx(0.01, abs=0.001)


def test_the_draw_follows_torchs_seed() -> None:
    def draw() -> torch.Tensor:
        return Dropout(0.5)(torch.ones(7, 9))

    torch.manual_seed(3)
    first, second = draw(), draw()
    torch.manual_seed(3)
    assert torch.equal(draw(), first)
    assert not torch.equal(second, first)


def test_no_rate_no_draw() -> None:
    x = torch.ones(2, 3, 4)
    before = torch.random.get_rng_state()
    assert Dropout(0.0)(x) is x
    assert torch.equal(torch.random.get_rng_state(), before)
