"""Whether devices agree on a moment, on windows of the patients tested."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from biocl.commands.setup import Cohort
from biocl.encoders.latents import Latents
from biocl.evaluation.agreement import Agreement, agreement, other_window

CPU = torch.device("cpu")


class Told(nn.Module):
    """Says of each device what it is told to, window by window."""

    def __init__(self, said: dict[str, np.ndarray], start: np.ndarray) -> None:
        super().__init__()
        self.said, self.order, self.at = said, start, 0

    def trunk(self, view: object) -> object:
        return view

    def latents(self, trunk: object, view: object) -> Latents:
        size = len(view.x)  # type: ignore[attr-defined]
        rows = slice(self.at, self.at + size)
        self.at += size
        made = {name: Latents(torch.from_numpy(v[rows, None]).float(), "mean") for name, v in self.said.items()}

        class Joint(Latents):
            @property
            def devices(self) -> dict[str, Latents]:
                return made

        first = next(iter(made.values()))
        return Joint(first.seq, "mean")


def test_another_window_of_the_same_patient() -> None:
    patient = np.array([0, 0, 0, 1, 2, 2])
    partner = other_window(patient, seed=0)
    assert partner[3] == -1
    for i in (0, 1, 2, 4, 5):
        assert partner[i] != i
        assert patient[partner[i]] == patient[i]
    assert sorted(partner[:3]) == [0, 1, 2]


@pytest.fixture
def rows(small_cohort: Cohort) -> np.ndarray:
    return small_cohort.parts()["test"]


def judge(cohort: Cohort, rows: np.ndarray, said: dict[str, np.ndarray], present: np.ndarray) -> Agreement | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(cohort.windows), "present", lambda self, indices: present)
        return agreement(Told(said, rows), cohort.windows, rows, device=CPU)  # type: ignore[arg-type]


def test_cosines_of_the_same_and_of_another_moment(small_cohort: Cohort, rows: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((len(rows), 40))
    everywhere = np.ones((len(rows), 2), np.bool_)
    same = judge(small_cohort, rows, {"a": a, "b": 3 * a}, everywhere)
    assert same is not None
    assert same.aligned == pytest.approx(1, abs=1e-5)
    assert abs(same.shuffled) < 0.1
    turned = judge(small_cohort, rows, {"a": a, "b": -a}, everywhere)
    assert turned is not None
    assert turned.aligned == pytest.approx(-1, abs=1e-5)
    assert judge(small_cohort, rows, {"a": a}, everywhere[:, :1]) is None


def test_windows_without_a_device_do_not_count(small_cohort: Cohort, rows: np.ndarray) -> None:
    a = np.random.default_rng(0).standard_normal((len(rows), 40))
    b = a.copy()
    b[::2] = -a[::2]
    present = np.ones((len(rows), 2), np.bool_)
    present[::2, 1] = False
    found = judge(small_cohort, rows, {"a": a, "b": b}, present)
    assert found is not None
    assert found.aligned == pytest.approx(1, abs=1e-5)


def test_devices_that_share_no_window_have_no_agreement(small_cohort: Cohort, rows: np.ndarray) -> None:
    a = np.random.default_rng(0).standard_normal((len(rows), 4))
    present = np.ones((len(rows), 2), np.bool_)
    present[:, 1] = False
    assert judge(small_cohort, rows, {"a": a, "b": a}, present) is None
