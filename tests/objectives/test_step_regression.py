"""A number of every time step: units, what counts, where a view shows it, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from biocl.config import load_experiment
from biocl.encoders.spec import EncoderSpec
from biocl.errors import DataError, UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import StepRegressionTerm
from biocl.objectives.heads import StepRegressionHead, at_times
from biocl.objectives.heads.step_regression import shown_trace
from biocl.objectives.model import Model
from biocl.objectives.terms import step_loss
from biocl.objectives.view_rules import view_refusal
from biocl.views.make import make_view
from biocl.views.spec import Jitter, Reflect, ViewSpec
from biocl.views.view import View

TINY: Any = {"name": "dilated-cnn", "depth": 1, "hidden_dim": 6, "embed_dim": 4, "dropout": 0.0, "pool": "mean"}
STRIDED: Any = {"name": "resnet1d", "widths": [4, 4], "kernels": [5, 3], "stride": 3, "dropout": 0.0}
N_TIMES = 12
NAN = float("nan")


def term_of(**keys: Any) -> StepRegressionTerm:
    return StepRegressionTerm(head="step-regression", **keys)


def model_of(term: Any, keys: Any = TINY, **more: Any) -> Model:
    torch.manual_seed(0)
    spec: Any = TypeAdapter(EncoderSpec).validate_python(keys)
    return Model(spec, n_chans=2, n_times=N_TIMES, sfreq=100.0, terms=[term], **more).eval()


def batch_of(trace: torch.Tensor | None, n: int = 5, **more: Any) -> Batch:
    x = torch.randn(n, 2, N_TIMES, generator=torch.Generator().manual_seed(1))
    ids = torch.arange(n)
    return Batch(x, ids, ids, ids, ids * 0, ids * 0 + N_TIMES, ids * 0, trace=trace, **more)


def trace_of(n: int = 5) -> torch.Tensor:
    trace = 40 + 3 * torch.randn(n, N_TIMES, generator=torch.Generator().manual_seed(2))
    trace[1, 8:], trace[3], trace[4, 5] = NAN, NAN, NAN
    return trace


def loss_of(model: Model, batch: Batch, term: Any, view: View | None = None) -> torch.Tensor:
    return step_loss(model, batch, {name: view or View(batch.x) for name in term.views}, [term]).total


@pytest.mark.parametrize("read", ["seq", "vec"])
@pytest.mark.parametrize("keys", [TINY, STRIDED])
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_steps_are_learned_in_standard_deviations_and_told_in_their_unit(loss: Any, keys: Any, read: Any) -> None:
    term, trace = term_of(loss=loss, read=read), trace_of()
    model, batch = model_of(term, keys), batch_of(trace)
    model.fit_heads(trace=trace)
    head = model.heads["step-regression"]
    known = trace.isfinite()
    assert float(head.target_mean) == pytest.approx(float(trace[known].mean()))
    assert float(head.target_std) == pytest.approx(float(trace[known].std(correction=0)), rel=1e-5)
    latents = model.read(batch.x)
    said = head.predict(latents, batch)
    assert said.shape == (5, N_TIMES)
    if read == "seq":
        assert latents.seq.shape[1] == (N_TIMES if keys is TINY else 4)
        every = torch.stack([head.network(step)[:, 0] for step in latents.seq.unbind(1)], dim=1)
        place = (np.arange(N_TIMES) + 0.5) * latents.seq.shape[1] / N_TIMES - 0.5
        expected = np.stack([np.interp(place, np.arange(every.shape[1]), row) for row in every.detach().numpy()])
    else:
        expected = head.network(latents.vec).detach().numpy()
    expected = expected * float(head.target_std) + float(head.target_mean)
    np.testing.assert_allclose(said.detach().numpy(), expected, rtol=1e-5)
    off = ((said - trace) / head.target_std)[known]
    wanted = {"mse": off**2, "mae": off.abs(), "huber": torch.where(off.abs() < 1, off**2 / 2, off.abs() - 0.5)}[loss]
    assert float(loss_of(model, batch, term).detach()) == pytest.approx(float(wanted.mean().detach()), rel=1e-5)


def test_unknown_steps_give_no_gradient_and_none_at_all_a_zero() -> None:
    term = term_of(loss="mse")
    model, trace = model_of(term), trace_of()
    batch = batch_of(trace)
    model.fit_heads(trace=trace)
    seen: list[torch.Tensor] = []
    head = model.heads["step-regression"]
    head.network.register_forward_hook(lambda module, given, out: (out.retain_grad(), seen.append(out))[0])
    loss_of(model, batch, term).backward()
    assert seen[0].grad is not None
    assert torch.equal(seen[0].grad[..., 0] != 0, trace.isfinite())
    nothing = loss_of(model, replace(batch, trace=torch.full((5, N_TIMES), NAN)), term)
    nothing.backward()
    assert float(nothing.detach()) == 0


def test_the_gradient_is_that_of_finite_differences() -> None:
    term = term_of(network={"kind": "mlp", "hidden_dim": 5, "dropout": 0.0}, loss="mse")
    head = StepRegressionHead(term, n_times=7, n_steps=3, seq_dim=4, vec_dim=4, n_aux=1).double()
    generator = torch.Generator().manual_seed(0)
    seq = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    aux = torch.randn(2, 1, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda one: at_times(head.network(head.joined(one, aux)), 7), (seq,))


def test_padding_is_not_charged() -> None:
    term, trace = term_of(), trace_of()[[0, 2]]
    model, batch = model_of(term), batch_of(trace, 2)
    model.fit_heads(trace=trace)
    valid = torch.ones(2, N_TIMES, dtype=torch.bool)
    valid[0, 6:] = False
    view = View(batch.x, valid=valid)
    expected = loss_of(model, replace(batch, trace=trace.masked_fill(~valid, NAN)), term, view)
    for on_padding in (trace, torch.where(valid, trace, 1e6)):
        assert torch.equal(loss_of(model, replace(batch, trace=on_padding), term, view), expected)


def test_auxiliary_inputs_stand_beside_every_step() -> None:
    term = term_of()
    model = model_of(term, n_aux=2)
    aux = torch.tensor([[1.0, 2.0], [3.0, 6.0], [5.0, 4.0], [0.0, 0.0], [1.0, 1.0]])
    trace = trace_of()
    model.fit_heads(trace=trace, aux=aux)
    batch = batch_of(trace, aux=aux)
    head, latents = model.heads["step-regression"], model.read(batch.x)
    beside = ((aux - aux.mean(0)) / aux.std(0))[:, None].expand(-1, N_TIMES, -1)
    expected = head.network(torch.cat([latents.seq, beside], dim=2))[..., 0]
    assert torch.allclose(head.scaled(latents, aux), expected)


@pytest.mark.parametrize(
    "steps", [["reverse"], [{"permute": 4}], [{"crop": 0.5}], [{"crop-resize": 0.6}], [{"time-warp": 0.3}]]
)
def test_numbers_move_with_the_time_of_a_view(steps: Any) -> None:
    """A trace that is a copy of the signal is a copy of the view of that signal too."""
    chain = TypeAdapter(ViewSpec).validate_python(steps)
    x = torch.randn(6, 1, 40, generator=torch.Generator().manual_seed(3)).cumsum(dim=2)
    view = make_view(View(x), chain, hidden_dim=None, generator=torch.Generator().manual_seed(4))
    moved = shown_trace(x[:, 0], view)
    shown = torch.ones_like(moved, dtype=torch.bool) if view.valid is None else view.valid
    assert not torch.equal(view.x[:, 0], x[:, 0])
    assert torch.equal(moved.isfinite(), shown)
    assert torch.allclose(moved[shown], view.x[:, 0][shown], atol=1e-4)
    holed = x[:, 0].clone()
    holed[:, 10:15] = NAN
    assert (shown_trace(holed, view).isfinite().sum(dim=1) <= shown.sum(dim=1)).all()


def test_steps_between_a_known_and_an_unknown_one_are_unknown() -> None:
    trace = torch.tensor([[1.0, 3.0, NAN, 7.0]])
    index = torch.tensor([[0.5, 1.0, 1.5, 3.0]])
    found = shown_trace(trace, View(torch.zeros(1, 1, 4), time_index=index))
    assert torch.equal(found.isnan(), torch.tensor([[False, False, True, False]]))
    assert found[0, [0, 1, 3]].tolist() == [2.0, 3.0, 7.0]


def test_what_cannot_be_learned_is_refused() -> None:
    term = term_of()
    with pytest.raises(UsageError, match=r"steps in time .*gives none in time.*read: vec"):
        StepRegressionHead(term, n_times=12, n_steps=4, seq_dim=4, vec_dim=4, steps_are_time=False)
    with pytest.raises(UsageError, match="gives one for the whole window"):
        StepRegressionHead(term, n_times=12, n_steps=1, seq_dim=4, vec_dim=4)
    model = model_of(term)
    with pytest.raises(UsageError, match=r"data\.target.*kind: channel"):
        model.fit_heads()
    with pytest.raises(UsageError, match=r"data\.target.*kind: channel"):
        loss_of(model, batch_of(None), term)
    with pytest.raises(DataError, match="No training window"):
        model.fit_heads(trace=torch.full((2, N_TIMES), NAN))
    assert view_refusal(term, {"clean": [Jitter(jitter=0.1)]}) is None
    refusal = view_refusal(term, {"clean": [Reflect(reflect="left-right")]})
    assert refusal is not None
    assert "reflect in the view clean" in refusal


CHANNEL = "data={dataset: synthetic-ecg, target: {kind: channel, name: lead-2}}"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            [CHANNEL, "terms=[{relation: near-target, near: 1, views: [clean, other], criterion: {name: rnc}}]"],
            r"compares windows by their targets, and data\.target is a channel.*heart-rate, label or elapsed",
        ),
        (
            [CHANNEL, "terms=[{head: regression}]"],
            r"one number for each window, and data\.target is a channel.*step-regression",
        ),
        (
            ["data={dataset: synthetic-ecg}", "terms=[{head: step-regression}]"],
            r"a number at every time step: say which channel.*data\.target",
        ),
        (
            ["data={dataset: synthetic-ecg, target: {kind: heart-rate}}", "terms=[{head: step-regression}]"],
            r"a number at every time step: say which channel.*data\.target",
        ),
    ],
)
def test_terms_that_do_not_go_with_the_target_are_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_experiment(Path("demo"), [*overrides, "views={clean: [], other: []}"])
