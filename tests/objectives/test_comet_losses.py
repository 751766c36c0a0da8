"""COMET's losses: the values of its public code, their edge cases, and what the id loss gets wrong."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from biocl.objectives import criteria

GOLDEN1, GOLDEN2 = (
    torch.from_numpy(draw) for rng in [np.random.RandomState(0)] for draw in (rng.randn(6, 12, 5), rng.randn(6, 12, 5))
)


def observation(z1: Tensor, z2: Tensor) -> Tensor:
    """COMET's observation loss."""
    return criteria.nt_xent(z1, z2, similarity="dot")


def sample(z1: Tensor, z2: Tensor) -> Tensor:
    """COMET's sample loss."""
    return criteria.nt_xent(z1.transpose(0, 1), z2.transpose(0, 1), similarity="dot")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_comet_values(dtype: torch.dtype, tolerance: float) -> None:
    z1, z2 = GOLDEN1.to(dtype), GOLDEN2.to(dtype)
    close = partial(pytest.approx, rel=tolerance, abs=tolerance)
    assert float(sample(z1, z2)) == close(4.461442769949)
    assert float(observation(z1, z2)) == close(5.329746695911)
    for ids, value in (([1, 1, 2, 2, 2, 3], 2.151624389072), ([1, 1, 1, 2, 2, 2], 2.062887675489)):
        assert float(criteria.comet_id(z1, z2, torch.tensor(ids))) == close(value)


def test_comet_hierarchy_values() -> None:
    assert float(criteria.hierarchical_max(sample, GOLDEN1, GOLDEN2)) == pytest.approx(3.829111099, abs=1e-6)
    value = float(criteria.hierarchical_max(observation, GOLDEN1, GOLDEN2))
    assert value == pytest.approx(3.851320505, abs=1e-6)


def test_time_course_is_the_mean_of_channel_cosines() -> None:
    courses = criteria.time_course(GOLDEN1), criteria.time_course(GOLDEN2)
    expected = F.cosine_similarity(GOLDEN1[:, None], GOLDEN2[None], dim=2).mean(2)
    torch.testing.assert_close(courses[0] @ courses[1].T, expected)
    torch.testing.assert_close(courses[0].norm(dim=1), torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", ["zero", "one zero channel", "duplicates"])
def test_comet_losses_are_finite(dtype: torch.dtype, case: str) -> None:
    torch.manual_seed(0)
    z = torch.randn(2, 8, 3)
    if case == "duplicates":
        z[1] = z[0]
    else:
        z[0, :, : 1 if case == "one zero channel" else 3] = 0
    z1, z2 = (z.to(dtype).clone().requires_grad_() for _ in range(2))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype != torch.float32):
        loss = criteria.comet_id(z1, z2, torch.tensor([4, 4]))
        loss = loss + criteria.hierarchical_max(sample, z1, z2) + criteria.hierarchical_max(observation, z1, z2)
    loss.backward()
    assert loss.isfinite()
    assert z1.grad is not None
    assert z2.grad is not None
    assert z1.grad.isfinite().all()
    assert z2.grad.isfinite().all()


def test_comet_id_depends_on_the_order_and_the_symmetric_form_does_not() -> None:
    ids, order = torch.tensor([1, 1, 2, 2, 2, 3]), torch.tensor([5, 3, 0, 2, 4, 1])
    released = [float(criteria.comet_id(GOLDEN1[o], GOLDEN2[o], ids[o])) for o in (torch.arange(6), order)]
    assert abs(released[0] - released[1]) > 1e-3
    symmetric = [
        float(
            criteria.sup_con_views(
                criteria.time_course(GOLDEN1[o]), criteria.time_course(GOLDEN2[o]), ids[o][:, None] == ids[o]
            )[0]
        )
        for o in (torch.arange(6), order)
    ]
    assert symmetric[0] == pytest.approx(symmetric[1], abs=1e-9)


def test_comet_id_has_the_same_window_as_a_negative() -> None:
    """Moving the second view of a window towards the first raises the loss of the other windows' pairs."""
    z1, z2 = GOLDEN1[:2].clone(), GOLDEN2[:2].clone()
    ids = torch.tensor([0, 0])
    before = criteria.comet_id(z1, z2, ids)
    z2[0] = z1[0]
    courses = criteria.time_course(z1), criteria.time_course(z2)
    s = courses[0] @ courses[1].T / 0.1
    expected = ((s[0].logsumexp(0) - s[0, 1]) + (s[:, 0].logsumexp(0) - s[1, 0])) / 2
    torch.testing.assert_close(criteria.comet_id(z1, z2, ids), expected)
    assert criteria.comet_id(z1, z2, ids) > before


def test_no_shared_id_gives_a_zero_with_a_graph() -> None:
    z1, z2 = (torch.randn(3, 4, 2, requires_grad=True) for _ in range(2))
    loss = criteria.comet_id(z1, z2, torch.tensor([0, 1, 2]))
    loss.backward()
    assert loss == 0
    assert z1.grad is not None
    assert (z1.grad == 0).all()
    flat = z1.detach().flatten(1).requires_grad_()
    for value, info in (
        criteria.sup_con(flat, torch.eye(3, dtype=torch.bool)),
        criteria.sup_con_views(flat, flat, torch.eye(3, dtype=torch.bool)),
    ):
        value.backward()
        assert value == 0
        assert info["anchors"] == 0
        assert info["skipped"] in (3, 6)


def test_comet_id_gradcheck() -> None:
    z1, z2 = (z[:4, :5, :3].clone().requires_grad_() for z in (GOLDEN1, GOLDEN2))
    ids = torch.tensor([1, 1, 2, 1])
    assert torch.autograd.gradcheck(lambda a, b: criteria.comet_id(a, b, ids), (z1, z2))
