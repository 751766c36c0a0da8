"""The empirical receptive field of maps whose weights are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biocl.evaluation.receptive import MOST_CHANNELS, receptive_field, shown_steps


def windows(n_chans: int, length: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, n_chans, length, generator=generator, dtype=torch.float64) for size in (5, 3)]


def test_a_linear_map_gives_the_size_of_its_weights() -> None:
    weights = torch.randn(9, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = receptive_field(lambda x: x @ weights, windows(4, 9), [1, 3, 6])
    np.testing.assert_allclose(found, weights.abs().numpy().T[[0, 2, 5]], rtol=1e-12)


def test_channels_that_are_read_together_are_summed() -> None:
    mix = torch.tensor([[1.0, -2.0], [0.5, 0.0]], dtype=torch.float64)
    weights = torch.randn(7, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = receptive_field(lambda x: torch.einsum("dc,bct,th->bdh", mix, x, weights), windows(2, 7), [2])
    np.testing.assert_allclose(found[0], weights[:, 1].abs().numpy() * (3 + 0.5) / 2, rtol=1e-12)


def test_a_causal_read_out_of_the_last_step_looks_back_as_far_as_its_kernel() -> None:
    conv = torch.nn.Conv1d(1, 1, 4, dtype=torch.float64)

    def last(x: torch.Tensor) -> torch.Tensor:
        return conv(torch.nn.functional.pad(x, (3, 0)))[:, :, -1:]

    [found] = receptive_field(last, windows(1, 10), [1])
    np.testing.assert_allclose(found[-4:], conv.weight.detach().abs().numpy()[0, 0], rtol=1e-12)
    assert (found[:-4] == 0).all()


def test_slopes_of_both_signs_do_not_cancel() -> None:
    [found] = receptive_field(lambda x: (x**2)[:, :, -1:], windows(1, 4), [1])
    every = torch.cat(windows(1, 4))
    np.testing.assert_allclose(found, [0, 0, 0, (2 * every[:, 0, -1]).abs().mean()], rtol=1e-12)


def test_many_channels_are_looked_at_in_part_and_nothing_is_refused() -> None:
    seen: list[int] = []

    def forecast(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[1])
        return x[:, :, -1:] * torch.arange(1.0, 102, dtype=torch.float64)[None, :, None]

    [found] = receptive_field(forecast, windows(101, 3), [1])
    assert found[-1] == pytest.approx(np.linspace(1, 101, MOST_CHANNELS).round().mean(), abs=1)
    with pytest.raises(ValueError, match="no window"):
        receptive_field(forecast, [], [1])


def test_the_steps_that_are_shown() -> None:
    assert shown_steps(24) == [1, 6, 12, 24]
    assert shown_steps(1) == [1]
    assert shown_steps(3) == [1, 3]


def test_recurrent_layers_have_a_gradient_on_a_gpu_too() -> None:
    """cuDNN refuses one in evaluation mode, so it is switched off while a forecast is made, and then on again."""
    seen = []

    def forecast(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.backends.cudnn.enabled)
        return 2 * x

    before = torch.backends.cudnn.enabled
    receptive_field(forecast, [torch.ones(1, 1, 3)], [1])
    assert (seen, torch.backends.cudnn.enabled) == ([False], before)
    if torch.cuda.is_available():
        lstm = torch.nn.LSTM(1, 4, batch_first=True).cuda().eval()
        field = receptive_field(lambda x: lstm(x.transpose(1, 2))[0].transpose(1, 2), [torch.ones(1, 1, 3).cuda()], [3])
        assert field.min() > 0
