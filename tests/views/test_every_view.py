"""What holds for every registered view, whatever it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from biocl.errors import UsageError
from biocl.views.requirements import check_views
from biocl.views.signal import SignalInfo
from biocl.views.spec import STEPS
from biocl.views.view import View

Make = Callable[..., View]
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "mask": [
        {"mask": "binomial", "share": 0.3},
        {"mask": "channel-binomial"},
        {"mask": "channel-continuous"},
        {"mask": "continuous", "at": "input"},
        {"mask": "channel-binomial", "at": "input"},
    ],
    "scale": [{"scale": 0.5, "per": "window"}],
    "sign-flip": [{"sign-flip": "channel"}],
    "permute": [{"permute": 3}, {"permute": 200}],
    "frequency-shift": [{"frequency-shift": 3.0, "draw": "uniform"}, {"frequency-shift": -2.0}],
    "fourier-surrogate": [{"fourier-surrogate": 0.3, "per": "channel"}],
    "band-stop": [{"band-stop": 10.0, "low_hz": 8.0, "high_hz": 30.0}],
    "rotate": [{"rotate": 20.0}],
}
CHAINS: list[Any] = [step for key in STEPS for step in (key, *VARIANTS.get(key, []), {key: STEPS[key].main_default()})]
IDS = [str(step) for step in CHAINS]
FIXED = ("sign-flip", "reverse", "frequency-shift", "reflect")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

every = pytest.mark.parametrize("step", CHAINS, ids=IDS)


def key_of(step: Any) -> str:
    return step if isinstance(step, str) else next(iter(step))


def is_random(step: Any) -> bool:
    fixed = key_of(step) in FIXED
    return not fixed or (isinstance(step, dict) and ("draw" in step or step.get("sign-flip") == "channel"))


def refuses_padding(step: Any) -> bool:
    return key_of(step) == "fourier-surrogate"


def hidden(step: Any) -> bool:
    return key_of(step) == "mask" and (isinstance(step, str) or step.get("at") != "input")


def out(view: View, step: Any) -> torch.Tensor:
    """What a step changes: the mask of the hidden sequence, or the signal."""
    if hidden(step):
        assert view.keep is not None
        return view.keep.float()
    return view.x


def with_p(step: Any, p: float) -> dict[str, Any]:
    return {**({step: STEPS[step].main_default()} if isinstance(step, str) else step), "p": p}


def same(one: View, other: View) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__]
    return all((a is None) == (b is None) and (a is None or torch.equal(a, b)) for a, b in pairs)


@every
@pytest.mark.parametrize("device", DEVICES)
def test_shape_and_type_are_kept_and_the_input_is_not_touched(step: Any, device: str, batch: Make, apply: Make) -> None:
    view = batch(device=device)
    view.x.requires_grad_()
    before = replace(view, x=view.x.detach().clone(), target=view.target.clone())
    made = apply(view, step)
    assert made.x.shape == view.x.shape
    assert made.x.dtype == view.x.dtype
    assert made.x.device == view.x.device
    assert torch.isfinite(made.x).all()
    if not hidden(step):
        assert not made.x.requires_grad
    assert torch.equal(view.x.detach(), before.x)
    assert torch.equal(view.target, before.target)
    assert made.target is not None
    assert made.target.dtype == torch.int64
    changed = out(made, step)
    assert not torch.equal(changed, torch.ones_like(changed) if hidden(step) else before.x)


@every
def test_draws_belong_to_the_seed_and_to_nothing_else(step: Any, batch: Make, apply: Make) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (apply(batch(), step, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert same(first, again)
    assert torch.equal(out(first, step), out(other, step)) != is_random(step)


@every
def test_each_sample_has_a_draw_of_its_own(step: Any, batch: Make, apply: Make) -> None:
    """Equal samples become different, and what one becomes depends on no other."""
    view = batch()
    equal = replace(view, x=view.x[:1].expand_as(view.x))
    made = out(apply(equal, step), step)
    assert is_random(step) == any(not torch.equal(made[0], row) for row in made[1:])
    elsewhere = batch(seed=9)
    mixed = replace(view, x=torch.cat([view.x[:3], elsewhere.x[3:]]))
    torch.testing.assert_close(
        out(apply(mixed, step), step)[:3], out(apply(view, step), step)[:3], rtol=1e-6, atol=1e-6
    )


@every
def test_bfloat16_is_float32_rounded(step: Any, batch: Make, apply: Make) -> None:
    view = batch()
    exact = apply(replace(view, x=view.x.bfloat16().float()), step)
    rounded = apply(replace(view, x=view.x.bfloat16()), step)
    assert rounded.x.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.x.float(), exact.x, rtol=0.03, atol=0.06)


@every
@pytest.mark.parametrize(("n", "n_times"), [(0, 125), (1, 125), (1, 1), (3, 2), (2, 64)])
def test_small_batches_and_short_windows(step: Any, n: int, n_times: int, batch: Make, apply: Make) -> None:
    made = apply(batch(n, n_times), step)
    assert made.x.shape == (n, 11, n_times)
    assert torch.isfinite(made.x).all()


@every
def test_flat_and_empty_windows_stay_finite(step: Any, batch: Make, apply: Make) -> None:
    for value in (0.0, 7.0):
        view = batch()
        made = apply(replace(view, x=torch.full_like(view.x, value)), step)
        assert torch.isfinite(made.x).all()
        assert made.x.abs().max() <= 40 * value


@every
def test_the_memory_layout_does_not_matter(step: Any, batch: Make, apply: Make) -> None:
    view = batch()
    time_first = replace(view, x=view.x.transpose(1, 2).contiguous().transpose(1, 2))
    torch.testing.assert_close(apply(time_first, step).x, apply(view, step).x)


@every
def test_padding_stays_padding(step: Any, batch: Make, apply: Make, signal: SignalInfo) -> None:
    view = batch()
    step_number = torch.arange(125)
    bounds = torch.tensor([[0, 125], [0, 60], [30, 125], [20, 90], [0, 1], [124, 125], [50, 51], [0, 125]])
    valid = (step_number >= bounds[:, :1]) & (step_number < bounds[:, 1:])
    padded = replace(view, x=view.x * valid[:, None], valid=valid)
    if refuses_padding(step):
        with pytest.raises(UsageError, match="padding"):
            apply(padded, step)
        with pytest.raises(UsageError, match="padding"):
            check_views({"a": [STEPS[key_of(step)]()]}, replace(signal, padded=True))  # type: ignore[list-item]
        return
    made = apply(padded, step)
    assert made.valid is not None
    assert not (made.valid & ~valid).any()
    assert made.valid.any(dim=1).all()
    assert (made.x.transpose(1, 2)[~made.valid] == 0).all()
    assert torch.isfinite(made.x).all()
    if STEPS[key_of(step)].time != "cut":
        assert torch.equal(made.valid, valid)


@every
def test_the_time_index_says_which_step_is_shown(step: Any, batch: Make, apply: Make) -> None:
    view = batch()
    made, kind = apply(view, step), STEPS[key_of(step)].time
    if kind in ("kept", "cut"):
        assert made.time_index is None
        assert (made.valid is None) == (kind == "kept")
        return
    index = made.time_index
    assert index is not None
    assert index.shape == (8, 125)
    assert index.is_floating_point() == (kind == "resampled")
    for row in range(8):
        if kind == "reordered":
            assert sorted(index[row].tolist()) == list(range(125))
            assert torch.equal(made.x[row], view.x[row][:, index[row]])
        else:
            places = index[row].numpy()
            assert (np.diff(places) > 0).all()
            assert places[0] >= 0
            assert places[-1] <= 124 + 1e-4
            slow = np.stack([np.interp(places, np.arange(125), channel) for channel in view.x[row].numpy()])
            np.testing.assert_allclose(made.x[row].numpy(), slow, atol=2e-4)


@every
def test_p_is_the_share_of_samples_it_happens_to(step: Any, batch: Make, apply: Make) -> None:
    view = batch(400, 40)
    made = apply(view, with_p(step, 0.25))
    kept = torch.ones_like(out(made, step)) if hidden(step) else view.x
    happened = (out(made, step) != kept).flatten(1).any(dim=1)
    # A step may happen without a trace (no channel drawn), so its own share is measured too.
    whole = apply(view, step)
    traces = (out(whole, step) != (torch.ones_like(out(whole, step)) if hidden(step) else view.x)).flatten(1).any(dim=1)
    assert happened.float().mean() == pytest.approx(0.25 * float(traces.float().mean()), abs=0.08)
    never = apply(view, with_p(step, 0.0))
    assert torch.equal(never.x, view.x)
    assert torch.equal(never.target, view.target)
    if never.relabelled is not None:
        assert not never.relabelled.any()


def test_steps_follow_each_other(batch: Make, apply: Make) -> None:
    view = batch()
    twice = apply(view, "reverse", "reverse")
    assert torch.equal(twice.x, view.x)
    assert torch.equal(twice.time_index, torch.arange(125).expand(8, 125))
    both = apply(view, {"permute": 4}, "reverse")
    assert torch.equal(both.x, view.x.gather(2, both.time_index[:, None].expand_as(view.x)))
    mixed = apply(view, {"reverse": "time", "p": 0.5}, {"time-warp": 0.2, "p": 0.5}, {"crop": 0.5, "p": 0.5})
    assert mixed.time_index.is_floating_point()
    assert mixed.valid.any(dim=1).all()
    assert apply(view) is view


@every
def test_a_step_that_must_know_the_signal_says_so(step: Any, batch: Make, apply: Make) -> None:
    needs = {
        "frequency-shift", "fourier-surrogate", "band-stop", "channel-shuffle", "device-dropout", "reflect", "rotate",
        "lead-mix", "baseline-wander", "mains", "muscle",
    }  # fmt: skip
    if key_of(step) in needs:
        with pytest.raises(UsageError, match="needs to know"):
            apply(batch(), step, signal=None)
    else:
        assert same(apply(batch(), step, signal=None), apply(batch(), step))
