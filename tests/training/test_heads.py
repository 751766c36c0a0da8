"""Heads: COMET's released one keeps its faults, ours can separate."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from biocl.errors import UsageError
from biocl.objectives.head_spec import HeadSpec
from biocl.objectives.heads import ClassificationHead, balanced_class_weights, classification_loss


def trained_loss(kind: str) -> tuple[float, torch.Tensor]:
    torch.manual_seed(0)
    vec = torch.cat([torch.randn(32, 4) + 4, torch.randn(32, 4) - 4])
    target = torch.arange(64) // 32
    head = ClassificationHead(HeadSpec(kind=kind, dropout=0.0), in_dim=4, n_outputs=2)  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(300):
        loss = classification_loss(head(vec), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return float(loss.detach()), head.eval()(vec).detach()


def test_released_head_is_bounded_and_cannot_learn_below_its_floor() -> None:
    loss, out = trained_loss("comet-released")
    assert loss >= 0.584
    assert bool(((out > 0.4999) & (out < 0.732)).all())


def test_default_heads_reach_a_small_loss() -> None:
    assert trained_loss("linear")[0] < 0.01
    assert trained_loss("mlp")[0] < 0.01


def test_unlabelled_windows_do_not_count() -> None:
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, -1, -1, 0])
    known = target >= 0
    assert torch.allclose(classification_loss(logits, target), F.cross_entropy(logits[known], target[known]))
    empty = classification_loss(logits.requires_grad_(), torch.full((6,), -1))
    empty.backward()
    assert float(empty.detach()) == 0


def test_balanced_weights_make_classes_count_alike() -> None:
    labels = torch.tensor([0] * 90 + [1] * 10 + [-1] * 5)
    weights = balanced_class_weights(labels, 3)
    assert torch.allclose(weights[0] * 90, weights[1] * 10)
    assert float(weights[2]) == 0


def test_a_classifier_of_no_classes_is_refused() -> None:
    """Its loss would be 0 at every step, and nothing would say so."""
    with pytest.raises(UsageError, match="the windows have none"):
        ClassificationHead(HeadSpec(), in_dim=4, n_outputs=0)
