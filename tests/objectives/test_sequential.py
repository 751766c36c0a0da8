"""A state that devices update in turn, predicted after each, and devices that are missing not at random."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from biocl.encoders.spec import EncoderSpec
from biocl.errors import UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import ClassificationTerm
from biocl.objectives.model import Model
from biocl.objectives.sequential import sequential_loss
from biocl.objectives.terms import step_loss
from biocl.signals.recording import Channel
from biocl.views.view import View

CHANNELS = tuple(Channel(axis, "acc", "m/s2", name) for name in ("arm", "leg") for axis in "xyz")


def test_the_known_value() -> None:
    """Two tasks side by side; errors and changes per step, penalties 1 (objective 55)."""
    errors = torch.tensor([[0.7, 0.6], [0.5, 0.55], [0.4, 0.5]], dtype=torch.float64)
    changes = torch.tensor([[0.2, 0.2], [0.1, 0.1]], dtype=torch.float64)
    assert float(sequential_loss(errors, changes)) == pytest.approx(0.543167, abs=1e-6)


def test_what_is_missing_is_not_charged() -> None:
    errors = torch.rand(3, 4, dtype=torch.float64)
    changes = torch.rand(2, 4, dtype=torch.float64)
    counted = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
    entries = [errors[0, b] for b in range(4)] + [errors[m + 1, b] for b in range(4) for m in range(2) if counted[b, m]]
    moved = [changes[m, b] for b in range(4) for m in range(2) if counted[b, m]]
    wanted = sum(entries) / len(entries) + 0.01 * sum(moved) / len(moved)
    assert float(sequential_loss(errors, changes, counted)) == pytest.approx(float(wanted))
    assert float(sequential_loss(errors, changes, torch.ones(4, 2, dtype=torch.bool))) == pytest.approx(
        float(sequential_loss(errors, changes))
    )
    spoilt = errors.clone()
    spoilt[1, 2:] = 99
    assert float(sequential_loss(spoilt, changes, counted)) == pytest.approx(float(wanted))


def build(fusion: str, *, after_each: bool) -> tuple[Model, ClassificationTerm]:
    term = ClassificationTerm(head="classification", views=["raw"], network={"kind": "linear"}, after_each=after_each)  # type: ignore[arg-type]
    each = {"name": "dilated-cnn", "depth": 0, "hidden_dim": 4, "embed_dim": 8, "dropout": 0.0, "pool": "mean"}
    spec: Any = TypeAdapter(EncoderSpec).validate_python({"each": each, "fusion": fusion, "state_dim": 8})
    torch.manual_seed(0)
    model = Model(spec, n_chans=6, n_times=16, sfreq=50.0, channels=CHANNELS, terms=[term], n_outputs=2)
    return model, term


def cohort(n: int, seed: int, ill_lack_leg: float) -> tuple[Batch, torch.Tensor]:
    """Both devices tell the class a little; of the ill, `ill_lack_leg` lack the leg, of the well the rest."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.arange(n)
    label = ids % 2
    x = torch.randn(n, 6, 16, generator=draw) + 0.12 * (2 * label - 1)[:, None, None]
    lacks = torch.rand(n, generator=draw) < torch.where(label == 1, ill_lack_leg, 1 - ill_lack_leg)
    present = torch.stack([torch.ones(n, dtype=torch.bool), ~lacks], dim=1)
    x[lacks, 3:] = 0
    return Batch(x, ids, ids, ids, ids, ids * 0 + 16, label, present=present), present


def auroc(score: torch.Tensor, label: torch.Tensor) -> float:
    return float((score[label == 1][:, None] > score[label == 0][None]).float().mean())


def drop(fusion: str, *, after_each: bool) -> tuple[float, float]:
    """AUROC where the ill lack the leg as in training, and where the well do."""
    model, term = build(fusion, after_each=after_each)
    batch, present = cohort(512, 0, 0.9)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        step_loss(model, batch, {"raw": View(batch.x, present=present)}, [term]).total.backward()
        optimiser.step()
    model.eval()
    found = []
    for ill_lack_leg in (0.9, 0.1):
        test, there = cohort(1000, 1, ill_lack_leg)
        with torch.no_grad():
            logits = model.heads["classification"](model(test.x, None, there))
        found.append(auroc(logits[:, 1] - logits[:, 0], test.label))
    return found[0], found[1]


def test_missing_not_at_random() -> None:
    """Who lacks a device is ill in training and well in the test: a shortcut that costs more where it was charged."""
    alike, turned = drop("concat", after_each=False)
    assert alike - turned > 0.2  # zeros for an absent device teach that who lacks it is ill
    steps_alike, steps_turned = drop("sequential", after_each=True)
    assert steps_alike - steps_turned < (alike - turned) - 0.05
    assert steps_turned > turned + 0.05


def test_it_needs_a_vector_that_grows() -> None:
    model, term = build("mean", after_each=True)
    batch, present = cohort(8, 0, 0.5)
    with pytest.raises(UsageError, match="joins all devices at once"):
        step_loss(model, batch, {"raw": View(batch.x, present=present)}, [term])
