"""A view: what a mask step hides, where, and how much."""

from __future__ import annotations

import pytest
import torch

from biocl.views.make import make_view
from biocl.views.spec import MaskStep
from biocl.views.view import View

N, C, T, H = 60, 4, 100, 6


def view_of(*steps: dict[str, object], seed: int = 0) -> View:
    x = torch.randn(N, C, T, generator=torch.Generator().manual_seed(9))
    clean = View(x, target=torch.arange(N), valid=torch.ones(N, T, dtype=torch.bool))
    generator = torch.Generator().manual_seed(seed)
    return make_view(clean, [MaskStep(**step) for step in steps], hidden_dim=H, generator=generator)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "shape", "masked"),
    [
        ({"mask": "binomial", "share": 0.2}, (N, T), 0.2),
        ({"mask": "channel-binomial", "share": 0.2}, (N, T, H), 0.2),
        ({"mask": "continuous", "n_segments": 1, "share": 0.3}, (N, T), 0.3),
        ({"mask": "continuous", "n_segments": 3, "share": 0.01}, (N, T), 0.03),
        ({"mask": "channel-continuous", "n_segments": 1, "share": 0.3}, (N, T, H), 0.15),
        ({"mask": "channel-continuous", "n_segments": 3, "share": 0.01}, (N, T, H), 0.015),
    ],
)
def test_the_share_of_each_mask_inside_and_on_the_input(
    step: dict[str, object], shape: tuple[int, ...], masked: float
) -> None:
    clean, hidden = view_of(), view_of({**step, "at": "hidden"})
    assert hidden.keep is not None
    assert hidden.keep.shape == shape
    assert (~hidden.keep).float().mean() == pytest.approx(masked, abs=0.02 if masked > 0.1 else 0.002)
    assert torch.equal(hidden.x, clean.x)
    shown = view_of({**step, "at": "input"})
    zero = shown.x == 0
    assert shown.keep is None
    assert zero.float().mean() == pytest.approx(masked, abs=0.02 if masked > 0.1 else 0.002)
    assert torch.equal(shown.x[~zero], clean.x[~zero])
    whole_steps = zero.any(dim=1).eq(zero.all(dim=1)).all()
    assert bool(whole_steps) == (not str(step["mask"]).startswith("channel"))
    for view in (hidden, shown):
        assert torch.equal(view.target, clean.target)
        assert torch.equal(view.valid, clean.valid)


@pytest.mark.parametrize("second", ["continuous", "channel-continuous"])
def test_a_step_is_kept_if_every_mask_keeps_it(second: str) -> None:
    first = {"mask": "binomial", "share": 0.5, "at": "hidden"}
    alone = view_of(first)
    together = view_of(first, {"mask": second, "n_segments": 1, "share": 0.5, "at": "hidden"})
    assert alone.keep is not None
    assert together.keep is not None
    before = alone.keep if together.keep.ndim == 2 else alone.keep[..., None].expand_as(together.keep)
    assert not (together.keep & ~before).any()
    left = 0.25 if second == "continuous" else 0.375
    assert together.keep.float().mean() == pytest.approx(left, abs=0.03)
