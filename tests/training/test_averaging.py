"""Weight averages against their definitions."""

from __future__ import annotations

import torch

from biocl.training.averaging import start_average, update_average
from biocl.training.spec import EmaAverage, UniformAverage


def run(spec, values: list[float]) -> float:  # type: ignore[no-untyped-def]
    average, counted = start_average(spec, {"w": torch.tensor(values[0])})
    for step, value in enumerate(values[1:], start=1):
        counted = update_average(spec, average, counted, {"w": torch.tensor(value)}, step)
    return float(average["w"])


def test_uniform_with_init_is_the_mean_of_init_and_all_iterates() -> None:
    spec = UniformAverage(kind="uniform", include_init=True)
    assert run(spec, [1.0, 2.0, 4.0, 9.0]) == 4.0


def test_uniform_leaves_init_and_burn_in_out() -> None:
    assert run(UniformAverage(kind="uniform"), [100.0, 2.0, 4.0, 9.0]) == 5.0
    assert run(UniformAverage(kind="uniform", burn_in_steps=2), [100.0, 2.0, 4.0, 9.0, 11.0]) == 10.0


def test_ema_starts_from_the_first_iterate_after_burn_in() -> None:
    spec = EmaAverage(kind="ema", decay=0.5, burn_in_steps=1)
    assert run(spec, [100.0, 50.0, 8.0, 4.0]) == 6.0


def test_ema_keeps_the_share_that_is_called_decay() -> None:
    assert run(EmaAverage(kind="ema", decay=0.75), [100.0, 8.0, 4.0]) == 7.0


def test_no_average_keeps_nothing() -> None:
    average, counted = start_average(None, {"w": torch.tensor(1.0)})
    assert update_average(None, average, counted, {"w": torch.tensor(2.0)}, 1) == 0
    assert average == {}


def test_counters_are_copied_and_not_averaged() -> None:
    spec = UniformAverage(kind="uniform", include_init=True)
    average, counted = start_average(spec, {"n": torch.tensor(3)})
    update_average(spec, average, counted, {"n": torch.tensor(8)}, 1)
    assert int(average["n"]) == 8
