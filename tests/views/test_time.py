"""Views of time and amplitude against loops that use the same draws, and what their draws are distributed like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from biocl.views.draws import Draws
from biocl.views.view import View

Make = Callable[..., View]


def padded(view: View) -> View:
    """Ends of differing length are padding."""
    step = torch.arange(view.x.shape[-1])
    first = torch.arange(len(view.x))[:, None]
    valid = (step >= first) & (step < 120 - 3 * first)
    return replace(view, x=view.x * valid[:, None], valid=valid)


@pytest.mark.parametrize("pad", [False, True])
def test_reverse_equals_the_loop(pad: bool, batch: Make, apply: Make) -> None:
    view = padded(batch()) if pad else batch()
    made = apply(view, "reverse")
    for row in range(8):
        steps = np.flatnonzero(view.valid[row].numpy()) if pad else np.arange(125)
        slow = view.x[row].numpy().copy()
        for place, step in enumerate(steps):
            slow[:, step] = view.x[row, :, steps[len(steps) - 1 - place]].numpy()
        np.testing.assert_array_equal(made.x[row].numpy(), slow)


@pytest.mark.parametrize("n_segments", [2, 5, 7, 124])
@pytest.mark.parametrize("pad", [False, True])
def test_permute_equals_the_loop(
    n_segments: int, pad: bool, batch: Make, apply: Make, draws: Callable[[], Draws]
) -> None:
    view = padded(batch()) if pad else batch()
    made = apply(view, {"permute": n_segments})
    order = draws().order(8, n_segments).numpy()
    for row in range(8):
        steps = np.flatnonzero(view.valid[row].numpy()) if pad else np.arange(125)
        edges = [len(steps) * k // n_segments for k in range(n_segments + 1)]
        pieces = [steps[edges[k] : edges[k + 1]] for k in order[row]]
        slow = view.x[row].numpy().copy()
        slow[:, steps] = slow[:, np.concatenate(pieces)]
        np.testing.assert_array_equal(made.x[row].numpy(), slow)


@pytest.mark.parametrize("step", ["reverse", {"permute": 4}, "time-warp", "crop-resize"])
def test_a_gap_moves_with_the_signal(step: object, batch: Make, apply: Make) -> None:
    """What a step shows is valid where it is signal, also where it lies between two steps of the window."""
    view = batch()
    valid = torch.ones(8, 125, dtype=torch.bool)
    valid[:, 40:60] = False
    made = apply(replace(view, x=view.x * valid[:, None], valid=valid), step)
    places = made.time_index.double()
    low, high = places.floor().long(), places.ceil().long().clamp(max=124)
    assert torch.equal(made.valid, valid.gather(1, low) & valid.gather(1, high))
    assert not torch.equal(made.valid, valid)
    assert (made.x.transpose(1, 2)[~made.valid] == 0).all()


def test_every_order_of_segments_is_as_likely(apply: Make) -> None:
    view = View(torch.arange(6.0).expand(6000, 1, 6))
    first = apply(view, {"permute": 3}, signal=None).time_index[:, ::2]
    codes = (first[:, 0] * 9 + first[:, 1] * 3 + first[:, 2]).numpy()
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == 6
    assert chisquare(counts).pvalue > 0.001


def test_crop_keeps_a_stretch_where_it_is_and_its_length_is_uniform(apply: Make) -> None:
    view = View(torch.ones(4000, 1, 100))
    made = apply(view, {"crop": 0.4}, signal=None)
    shown = made.valid.sum(dim=1)
    assert torch.equal(made.x[:, 0] > 0, made.valid)
    assert ((made.valid.int().diff(dim=1) != 0).sum(dim=1) <= 2).all()
    assert shown.min() >= 40
    assert shown.max() <= 100
    assert kstest(shown.numpy() / 100, "uniform", args=(0.4, 0.6)).statistic < 0.03
    starts = made.valid.int().argmax(dim=1)[shown == 60]
    assert starts.min() >= 0
    assert starts.max() <= 40


@pytest.mark.parametrize("pad", [False, True])
def test_crop_resize_equals_the_loop(pad: bool, batch: Make, apply: Make, draws: Callable[[], Draws]) -> None:
    view = padded(batch()) if pad else batch()
    made = apply(view, {"crop-resize": 0.5})
    stream = draws()
    shares, places = stream.uniform(8, 1, low=0.5, high=1).numpy(), stream.uniform(8, 1).numpy()
    for row in range(8):
        steps = np.flatnonzero(view.valid[row].numpy()) if pad else np.arange(125)
        n = len(steps)
        length = int(np.round(shares[row, 0] * n))
        start = steps[0] + min(int(places[row, 0] * (n - length + 1)), n - length)
        for channel in range(11):
            wanted = np.linspace(start, start + length - 1, n)
            slow = np.interp(wanted, np.arange(125), view.x[row, channel].numpy())
            np.testing.assert_allclose(made.x[row, channel, steps].numpy(), slow, atol=1e-4)


@pytest.mark.parametrize("pad", [False, True])
def test_time_warp_equals_the_loop(pad: bool, batch: Make, apply: Make, draws: Callable[[], Draws]) -> None:
    view = padded(batch()) if pad else batch()
    made = apply(view, {"time-warp": 0.5, "knots": 3})
    drawn = draws().uniform(8, 3, low=-1, high=1).numpy().astype(float)
    for row in range(8):
        steps = np.flatnonzero(view.valid[row].numpy()) if pad else np.arange(125)
        speed = 1.5 ** np.interp(np.linspace(0, 2, 125), [0, 1, 2], drawn[row])
        assert speed.min() >= 1 / 1.5
        assert speed.max() <= 1.5
        passed = [0.0]
        for one, other in zip(speed[steps][:-1], speed[steps][1:], strict=True):
            passed.append(passed[-1] + (one + other) / 2)
        places = steps[0] + np.array(passed) / passed[-1] * (len(steps) - 1)
        np.testing.assert_allclose(made.time_index[row, steps].numpy(), places, atol=1e-3)
    assert torch.allclose(made.x[..., 0], view.x[..., 0])
    assert torch.allclose(made.x[..., -1], view.x[..., -1], atol=1e-4)


def test_jitter_has_the_stated_deviation(batch: Make, apply: Make) -> None:
    view = batch(64, 400)
    view = replace(view, x=view.x * torch.arange(1, 12)[:, None])
    added = apply(view, {"jitter": 0.1}).x - view.x
    assert added.mean().abs() < 0.01
    ratio = added.std(dim=(0, 2)) / view.x.std(dim=2).mean(dim=0)
    torch.testing.assert_close(ratio, torch.full((11,), 0.1), rtol=0.03, atol=0)


def test_scale_is_one_factor_a_channel_or_a_window(batch: Make, apply: Make) -> None:
    view = batch(2000, 5)
    factor = apply(view, {"scale": 0.2}).x / view.x
    assert (factor - factor[..., :1]).abs().max() < 1e-3
    assert kstest(factor[..., 0].flatten().numpy(), "uniform", args=(0.8, 0.4)).pvalue > 0.001
    whole = apply(view, {"scale": 0.2, "per": "window"}).x / view.x
    assert (whole - whole[:, :1, :1]).abs().max() < 1e-3


def test_sign_flip(batch: Make, apply: Make) -> None:
    view = batch(400, 5)
    assert torch.equal(apply(view, "sign-flip").x, -view.x)
    flipped = (apply(view, {"sign-flip": "channel"}).x / view.x)[..., 0]
    assert set(flipped.unique().tolist()) == {-1.0, 1.0}
    assert flipped.mean().abs() < 0.06
