"""Losses of several labels at once: published values, what they reduce to, and what is left out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from biocl.objectives.heads.multi_label import asymmetric_loss, decoupled_softmax_loss, softmax_loss

i, j = torch.arange(3, dtype=torch.float64)[:, None], torch.arange(6, dtype=torch.float64)
S = 4 * torch.sin(7 * i + 3 * j + i * j)
P = torch.tensor([[1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 1, 1]])
LOSSES = [softmax_loss, decoupled_softmax_loss, asymmetric_loss]


def test_the_known_values() -> None:
    assert float(softmax_loss(S, P)) == pytest.approx(4.832442, abs=1e-6)
    assert float(decoupled_softmax_loss(S, P)) == pytest.approx(4.630258, abs=1e-6)


def test_decoupled_labels_do_not_compete() -> None:
    """The loss of one label that holds has no gradient at another; under a softmax it has."""
    scores = S[:1].clone().requires_grad_()
    against = scores[0, [1, 2, 4, 5]].logsumexp(dim=0)
    own = torch.logaddexp(scores[0, 0], against) - scores[0, 0]
    (gradient,) = torch.autograd.grad(own, scores)
    assert gradient[0, 3] == 0
    whole = torch.logaddexp(scores[0, 3], against) - scores[0, 3]
    assert torch.allclose(decoupled_softmax_loss(scores, P[:1]), (own + whole) / 2)
    (gradient,) = torch.autograd.grad(scores[0].logsumexp(dim=0) - scores[0, 0], scores)
    assert float(gradient[0, 3]) == pytest.approx(0.237608, abs=1e-6)


def test_one_label_is_the_cross_entropy() -> None:
    one = F.one_hot(torch.tensor([2, 0, 5]), 6)
    wanted = F.cross_entropy(S, torch.tensor([2, 0, 5]))
    for loss in (softmax_loss, decoupled_softmax_loss):
        assert torch.allclose(loss(S, one), wanted)


def test_the_asymmetric_loss_by_its_definition() -> None:
    assert torch.allclose(
        asymmetric_loss(S, P, focus_yes=0, focus_no=0, margin=0), F.binary_cross_entropy_with_logits(S, P.double())
    )
    p = S.sigmoid()
    q = (p - 0.1).clamp(min=0)
    wanted = torch.where(P == 1, -((1 - p) ** 1.5) * p.log(), -(q**3) * (1 - q).log()).mean()
    assert torch.allclose(asymmetric_loss(S, P, focus_yes=1.5, focus_no=3, margin=0.1), wanted)
    easy = torch.tensor([[-4.0, 1.0]], requires_grad=True)
    asymmetric_loss(easy, torch.zeros(1, 2, dtype=torch.long)).backward()
    assert easy.grad is not None
    assert easy.grad[0, 0] == 0
    assert easy.grad[0, 1] > 0


@pytest.mark.parametrize("loss", LOSSES)
def test_unknown_labels_are_left_out(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    unknown = P.clone()
    unknown[:, 1:3] = -1
    rest = [0, 3, 4, 5]
    assert torch.allclose(loss(S, unknown), loss(S[:, rest], P[:, rest]))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("what", [-1, 0, 1])
def test_all_alike_has_a_finite_gradient(loss: Callable[[Tensor, Tensor], Tensor], what: int) -> None:
    scores = S.clone().requires_grad_()
    found = loss(scores, torch.full_like(P, what))
    found.backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    nothing = (
        what == -1 or (what == 0 and loss is not asymmetric_loss) or (what == 1 and loss is decoupled_softmax_loss)
    )
    assert (float(found.detach()) == 0) == nothing


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert torch.autograd.gradcheck(lambda scores: loss(scores, P), S.clone().requires_grad_())
    extreme = torch.tensor([[300.0, -300.0, 0.0]], dtype=torch.float32, requires_grad=True)
    loss(extreme, torch.tensor([[0, 1, 1]])).backward()
    assert extreme.grad is not None
    assert extreme.grad.isfinite().all()
