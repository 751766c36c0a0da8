"""Numbers of windows and hidden parts of the signal: scales, units, what counts and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from biocl.encoders.spec import EncoderSpec
from biocl.errors import DataError, UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import ReconstructionTerm, RegressionTerm
from biocl.objectives.heads import ReconstructionHead
from biocl.objectives.heads.networks import error_of_windows
from biocl.objectives.model import Model
from biocl.objectives.spec import Term
from biocl.objectives.terms import make_views, step_loss
from biocl.objectives.view_rules import view_refusal
from biocl.randomness import integer_seed
from biocl.views.make import make_view
from biocl.views.spec import MaskStep, Scale, SignFlip, ViewSpec
from biocl.views.view import View

TINY: Any = {"name": "dilated-cnn", "depth": 1, "hidden_dim": 6, "embed_dim": 4, "dropout": 0.0, "pool": "mean"}
NAN = float("nan")


def model_of(term: Any, keys: Any = TINY, *, n_times: int = 12, **more: Any) -> Model:
    torch.manual_seed(0)
    spec: Any = TypeAdapter(EncoderSpec).validate_python(keys)
    return Model(spec, n_chans=2, n_times=n_times, sfreq=100.0, terms=[term], **more).eval()


def batch_of(n: int = 6, n_times: int = 12, target: torch.Tensor | None = None, **more: Any) -> Batch:
    x = torch.randn(n, 2, n_times, generator=torch.Generator().manual_seed(1))
    ids = torch.arange(n)
    return Batch(x, ids, ids, ids, ids * 0, ids * 0 + n_times, ids * 0, target=target, **more)


def loss_of(model: Model, batch: Batch, term: Term, view: View | None = None) -> torch.Tensor:
    return step_loss(model, batch, {name: view or View(batch.x) for name in term.views}, [term]).total


TARGET = torch.tensor([60.0, NAN, 80.0, 100.0, NAN, 70.0])


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_numbers_are_learned_in_standard_deviations_and_told_in_their_units(loss: Any) -> None:
    term = RegressionTerm(head="regression", loss=loss)
    model, batch = model_of(term), batch_of(target=TARGET)
    model.fit_heads(target=torch.tensor([50.0, 70.0, NAN, 90.0]))
    head = model.heads["regression"]
    assert float(head.target_mean) == 70
    assert float(head.target_std) == pytest.approx((800 / 3) ** 0.5)
    said = head.predict(model.read(batch.x), batch)
    assert torch.allclose(said, head.network(model(batch.x))[:, 0] * head.target_std + 70)
    known = TARGET.isfinite()
    off = ((said - TARGET) / head.target_std)[known]
    wanted = {"mse": off**2, "mae": off.abs(), "huber": torch.where(off.abs() < 1, off**2 / 2, off.abs() - 0.5)}[loss]
    assert float(loss_of(model, batch, term).detach()) == pytest.approx(float(wanted.mean().detach()), rel=1e-5)


def test_unknown_numbers_give_no_gradient_and_none_at_all_a_zero() -> None:
    term = RegressionTerm(head="regression")
    model, batch = model_of(term), batch_of(target=TARGET)
    x = batch.x.clone().requires_grad_()
    loss_of(model, replace(batch, x=x), term).backward()
    assert x.grad is not None
    assert (x.grad.abs().amax(dim=(1, 2)) > 0).tolist() == TARGET.isfinite().tolist()
    nothing = loss_of(model, replace(batch, target=torch.full((6,), NAN)), term)
    nothing.backward()
    assert float(nothing.detach()) == 0


def test_scales_are_kept_with_the_weights() -> None:
    term = RegressionTerm(head="regression")
    one, other = model_of(term, n_aux=1), model_of(term, n_aux=1)
    one.fit_heads(target=TARGET, aux=torch.tensor([[1.0], [3.0]]))
    other.load_state_dict(one.state_dict())
    batch = batch_of(aux=torch.ones(6, 1))
    said = [model.heads["regression"].predict(model.read(batch.x), batch) for model in (one, other)]
    assert torch.equal(*said)
    assert float(other.heads["regression"].target_mean) == 77.5
    assert float(other.heads["regression"].aux_mean) == 2


def test_equal_numbers_have_no_spread_to_divide_by() -> None:
    model = model_of(RegressionTerm(head="regression"))
    model.fit_heads(target=torch.full((3,), 5.0))
    assert float(model.heads["regression"].target_std) == 1


def test_a_head_without_numbers_is_refused() -> None:
    term = RegressionTerm(head="regression")
    with pytest.raises(UsageError, match=r"windows have none.*data\.target"):
        loss_of(model_of(term), batch_of(), term)
    with pytest.raises(UsageError, match="windows have none"):
        model_of(term).fit_heads()
    with pytest.raises(DataError, match="No training window has a number"):
        model_of(term).fit_heads(target=torch.full((3,), NAN))


@pytest.mark.parametrize("label", ["a.b", "keys", "training"])
def test_a_label_that_no_module_can_have_is_refused(label: str) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        model_of(RegressionTerm(head="regression", label=label))


def test_two_heads_of_a_kind_stand_apart() -> None:
    torch.manual_seed(0)
    terms: list[Term] = [RegressionTerm(head="regression", label=name, loss="mse") for name in ("rate", "age")]
    spec: Any = TypeAdapter(EncoderSpec).validate_python(TINY)
    model, batch = Model(spec, n_chans=2, terms=terms), batch_of(target=TARGET)
    found = step_loss(model, batch, {"clean": View(batch.x)}, terms).terms
    assert list(found) == list(model.heads) == ["rate", "age"]
    assert found["rate"] != found["age"]


MASK = MaskStep(mask="continuous", at="input", share=0.2, n_segments=2)


def masked(batch: Batch, *steps: Any) -> View:
    return make_view(View(batch.x), steps, hidden_dim=None, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("mask", ["continuous", "binomial", "channel-continuous", "channel-binomial"])
def test_a_view_knows_what_its_masks_hid(mask: Any) -> None:
    batch = batch_of()
    twice = masked(batch, MaskStep(mask=mask, at="input"), MaskStep(mask="binomial", at="input", share=0.2))
    assert twice.hidden is not None
    assert torch.equal(twice.hidden, twice.x == 0)
    assert twice.hidden.any()
    some = masked(batch, MaskStep(mask=mask, at="input", p=0.5))
    assert some.hidden is not None
    assert torch.equal(some.hidden, some.x == 0)


def mean_of_windows(squares: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    return torch.stack([own[mine].mean() for own, mine in zip(squares, counted, strict=True) if mine.any()]).mean()


def test_windows_count_alike_however_much_of_each_is_hidden() -> None:
    """The value of MultiMAE's loss on the fixture T, whose second window hides nothing; then windows that differ."""

    def sines(a: float) -> torch.Tensor:
        i, j = torch.arange(2.0, dtype=torch.float64)[:, None], torch.arange(6.0, dtype=torch.float64)
        return torch.sin(7 * i + 3 * j + i * j + a)

    mask = torch.tensor([[1, 1, 0, 0, 1, 0], [0] * 6]).bool()
    said, wanted = sines(0.0).requires_grad_(), sines(0.3)
    assert float(error_of_windows(said, wanted, "mse", mask).detach()) == pytest.approx(0.083789, abs=1e-6)
    assert float(error_of_windows(said, wanted, "mae", ~mask & mask).detach()) == 0
    spoilt = wanted.masked_fill(~mask, NAN)
    error_of_windows(said, spoilt, "huber", mask).backward()
    assert said.grad is not None
    assert torch.equal(said.grad != 0, mask)
    much, little = torch.tensor([[1.0, 1, 1, 1], [3, 9, 9, 9]]), torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]]).bool()
    assert float(error_of_windows(torch.zeros(2, 4), much, "mse", little)) == 5


def test_only_what_was_hidden_is_charged() -> None:
    term = ReconstructionTerm(head="reconstruction", views=["masked"])
    model, batch = model_of(term), batch_of()
    view = masked(batch, MASK)
    assert view.hidden is not None
    said = model.heads["reconstruction"].predict(model.latents(model.trunk(view), view), batch)
    wanted = mean_of_windows((said - batch.x).square(), view.hidden)
    assert float(loss_of(model, batch, term, view).detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    spoilt = replace(batch, x=torch.where(view.hidden, batch.x, 99.0))
    assert torch.equal(loss_of(model, spoilt, term, view), loss_of(model, batch, term, view))
    padded = torch.ones(6, 12, dtype=torch.bool)
    padded[:, 6:] = False
    half = replace(view, valid=padded)
    wanted = mean_of_windows((said - batch.x).square(), view.hidden & padded[:, None])
    assert float(loss_of(model, batch, term, half).detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)


@pytest.mark.parametrize(("n_times", "n_steps"), [(12, 12), (12, 4), (13, 4), (20, 7), (5, 1)])
def test_every_step_gives_the_samples_of_its_share(n_times: int, n_steps: int) -> None:
    term = ReconstructionTerm(head="reconstruction", views=["masked"])
    head = ReconstructionHead(term, n_chans=2, n_times=n_times, n_steps=n_steps, seq_dim=3)
    seq = torch.randn(2, n_steps, 3, requires_grad=True)
    out = head(seq)
    assert out.shape == (2, 2, n_times)
    for t in range(n_times):
        (gradient,) = torch.autograd.grad(out[0, 1, t], seq, retain_graph=True)
        assert gradient[0].abs().amax(dim=1).nonzero().flatten().tolist() == [t * n_steps // n_times]
    # No two samples are the same output of a step.
    places = {(int(step), int(place)) for step, place in zip(head.step, head.place, strict=True)}
    assert len(places) == n_times
    assert max(place for _, place in places) < head.share


def test_a_hidden_part_is_learned_from_what_is_shown() -> None:
    """Both channels carry the same wave: what is hidden of one is seen in the other."""
    term = ReconstructionTerm(head="reconstruction", views=["masked"])
    model = model_of(term).train()
    phase = torch.rand(64, 1, 1, generator=torch.Generator().manual_seed(0)) * 6
    x = torch.sin(phase + torch.arange(12) * 0.7).expand(-1, 2, -1)
    batch = replace(batch_of(64), x=x)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    step = MaskStep(mask="channel-binomial", at="input", share=0.3)
    losses = []
    for i in range(150):
        views = make_views(
            batch,
            {"masked": [step]},
            [term],
            hidden_dim=6,
            generator=torch.Generator(),
            seed_of=lambda name, i=i: integer_seed(0, i, name),
        )
        loss = step_loss(model, batch, views, [term]).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])


def test_reconstruction_needs_steps_in_time() -> None:
    channels = {"name": "channel-transformer", "hidden_dim": 8, "projector": [8]}
    with pytest.raises(UsageError, match="are not in time"):
        model_of(ReconstructionTerm(head="reconstruction", views=["masked"]), channels)


def refusal(*steps: Any) -> str | None:
    term = ReconstructionTerm(head="reconstruction", views=["v"])
    return view_refusal(term, {"v": TypeAdapter(ViewSpec).validate_python(list(steps))})


def test_reconstruction_needs_a_view_that_hides_something_and_moves_nothing() -> None:
    assert refusal(MASK, "jitter") is None
    for steps in ([], ["jitter"], [MaskStep(at="hidden")]):
        assert "hides nothing" in str(refusal(*steps))
    for step in (Scale(), SignFlip()):
        assert "changes amplitude, sign or channels" in str(refusal(MASK, step))
    assert "changes when things happen" in str(refusal(MASK, "reverse"))
