"""What a ridge sees of each time step: slow loops, and windows' ends."""

from __future__ import annotations

import numpy as np
import pytest

from biocl.evaluation.floors_steps import same_step, steps_around, stretches


@pytest.mark.parametrize("n_times", [2, 5, 40, 300])
def test_stretches_hold_every_step_of_the_window_once_and_grow(n_times: int) -> None:
    found = stretches(n_times)
    steps = [step for first, last in found for step in range(first, last + 1)]
    assert steps == list(range(1 - n_times, n_times))
    assert found == [(-last, -first) for first, last in reversed(found)]
    assert len(found) <= 12 + 6 * np.log2(n_times)


def test_features_are_means_around_each_step_and_zero_beyond_the_ends() -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 23)).astype(np.float32)
    found, spans = steps_around(x), stretches(23)
    assert found.shape == (3, 23, 2 * len(spans))
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (22, 22)))
    for number, (first, last) in enumerate(spans):
        for step in (0, 7, 22):
            expected = padded[:, :, 22 + step + first : 23 + step + last].mean(axis=2)
            np.testing.assert_allclose(found[:, step, 2 * number : 2 * number + 2], expected, atol=1e-6)
    np.testing.assert_array_equal(same_step(x), x.transpose(0, 2, 1))
