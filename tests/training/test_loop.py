"""The loop: same seed same losses, exact resume, accumulation, averages, what an interruption leaves."""

from __future__ import annotations

import itertools
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.encoders.spec import DilatedCNNSpec
from biocl.errors import DataError, Interrupted
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import ClassificationTerm
from biocl.objectives.model import Model
from biocl.objectives.spec import ContrastTerm, Term
from biocl.training.checkpoint import load_checkpoint
from biocl.training.loop import Metrics, Task, fit, total_steps
from biocl.training.optimisation import learning_rate
from biocl.training.spec import EmaAverage, OptimSpec, TrainSpec, UniformAverage
from biocl.views.spec import MaskStep

CPU = torch.device("cpu")
N, T = 24, 16
TERMS: list[Term] = [
    ContrastTerm(
        views=["masked_1", "masked_2"],
        relation="same-sample",
        read="seq",
        pool="hierarchical-max",
        criterion={"name": "nt-xent", "similarity": "dot", "temperature": 1.0},
    ),
    ContrastTerm(views=["clean", "clean"], redraw_dropout=True, relation="same-trial", criterion={"name": "sup-con"}),
]
MASK = [MaskStep(mask="continuous")]
VIEWS = {"clean": [], "masked_1": MASK, "masked_2": MASK}
SPEC = DilatedCNNSpec(depth=2, hidden_dim=8, embed_dim=6, dropout=0.2)


def data(rows: np.ndarray) -> Batch:
    x = np.random.default_rng(0).standard_normal((N, 2, T)).astype(np.float32)
    ids = torch.from_numpy(np.asarray(rows).astype(np.int64))
    return Batch(
        x=torch.from_numpy(x[rows]),
        recording=ids // 4,
        patient=ids // 4,
        trial=ids // 2,
        start=ids * T,
        length=torch.full_like(ids, T),
        label=ids % 2,
    )


def plan(epoch: int) -> list[np.ndarray]:
    order = np.random.default_rng(epoch).permutation(N)
    return [order[:8], order[8:16], order[16:]]


def model(terms: list[Term] = TERMS) -> Model:
    torch.manual_seed(0)
    return Model(SPEC, n_chans=2, terms=terms, n_outputs=2)


def run(
    steps: int,
    net: Model | None = None,
    *,
    spec: TrainSpec | None = None,
    terms: list[Term] = TERMS,
    **more: object,
) -> tuple[list[float], Model]:
    losses: list[float] = []

    def on_log(step: int, values: Metrics) -> None:
        if "loss" in values:
            losses.append(values["loss"])

    net = net or model(terms)
    spec = spec or TrainSpec(steps=steps, log_every=1, lr=1e-2, checkpoint_every=5, clip_norm=1.0, schedule="cosine")
    fit(net, Task(terms, VIEWS, plan, data), spec, seed=3, device=CPU, on_log=on_log, **more)  # type: ignore[arg-type]
    return losses, net


def test_same_seed_gives_the_same_losses_and_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    first, _ = run(10, model())
    torch.manual_seed(99)
    second, _ = run(10, model())
    assert first == second
    net = model()
    torch.manual_seed(99)
    run(3, net)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "average", [UniformAverage(kind="uniform"), EmaAverage(kind="ema", decay=0.9, burn_in_steps=4), None]
)
def test_resume_repeats_the_next_steps_bit_by_bit(tmp_path: Path, average: object) -> None:
    spec = TrainSpec(
        steps=20,
        log_every=1,
        lr=1e-2,
        checkpoint_every=7,
        warmup_steps=3,
        schedule="cosine",
        accumulate=2,
        average=average,
    )
    whole, net = run(20, spec=spec, checkpoints=tmp_path / "whole")

    class Killed(Exception):
        pass

    def die_after_nine(step: int) -> None:
        if step == 9:
            raise Killed

    with pytest.raises(Killed):
        run(20, spec=spec, checkpoints=tmp_path / "cut", on_step=die_after_nine)
    checkpoint = load_checkpoint(tmp_path / "cut")
    assert checkpoint.state["step"] == 7
    rest, resumed = run(20, spec=spec, checkpoints=tmp_path / "cut", resume=checkpoint)
    assert rest == whole[7:]
    for name, value in net.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])
    one, other = load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "cut")
    assert all(torch.equal(value, other.best_weights[name]) for name, value in one.best_weights.items())
    assert one.state == other.state


def test_a_stop_request_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    def stop(step: int) -> None:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="--resume"):
        run(20, checkpoints=tmp_path, on_step=stop)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.state["step"] == 4
    whole, _ = run(20)
    rest, _ = run(20, checkpoints=tmp_path, resume=checkpoint)
    assert whole[4:] == rest


def test_average_after_three_steps_is_the_mean_of_all_weights() -> None:
    seen: list[torch.Tensor] = []
    net = model()
    seen.append(net.encoder.inlet.weight.detach().clone())
    spec = TrainSpec(steps=3, average=UniformAverage(kind="uniform", include_init=True))
    at = fit(
        net,
        Task(TERMS, VIEWS, plan, data),
        spec,
        seed=0,
        device=CPU,
        on_step=lambda step: seen.append(net.encoder.inlet.weight.detach().clone()),
    )
    assert torch.allclose(at.average["encoder.inlet.weight"], torch.stack(seen).mean(dim=0), atol=1e-6)


def test_accumulation_is_the_mean_gradient_of_its_micro_batches() -> None:
    terms: list[Term] = [ClassificationTerm(head="classification")]
    flat = DilatedCNNSpec(depth=1, hidden_dim=4, embed_dim=4, dropout=0.0)

    def after(accumulate: int, batches: Callable[[int], list[np.ndarray]]) -> torch.Tensor:
        torch.manual_seed(0)
        net = Model(flat, n_chans=2, terms=terms, n_outputs=2)
        spec = TrainSpec(steps=1, accumulate=accumulate, average=None, lr=1e-2)
        fit(net, Task(terms, VIEWS, batches, data), spec, seed=0, device=CPU)
        return net.heads["classification"].network.weight.detach()

    rows = np.arange(N)
    whole = after(1, lambda epoch: [rows])
    halves = after(2, lambda epoch: [rows[:12], rows[12:]])
    assert torch.allclose(whole, halves, atol=1e-5)


def test_epochs_count_whole_passes_and_the_logged_mean_is_the_true_mean() -> None:
    assert total_steps(TrainSpec(epochs=4), plan) == 12
    lines: list[Metrics] = []
    spec = TrainSpec(epochs=2, log_every=6)
    fit(
        model(),
        Task(TERMS, VIEWS, plan, data),
        spec,
        seed=3,
        device=CPU,
        on_log=lambda step, values: lines.append({"step": step, **values}),
    )
    every: list[float] = []
    fit(
        model(),
        Task(TERMS, VIEWS, plan, data),
        TrainSpec(epochs=2, log_every=1),
        seed=3,
        device=CPU,
        on_log=lambda step, values: every.append(values["loss"]),
    )
    assert len(every) == 6
    assert lines[-1]["mean_loss"] == pytest.approx(np.mean(every))


def test_a_loss_that_is_not_finite_stops_with_one_paragraph() -> None:
    def poisoned(rows: np.ndarray) -> Batch:
        batch = data(rows)
        batch.x[0, 0, 0] = float("nan")
        return batch

    with pytest.raises(DataError, match="loss is nan at step 1"):
        fit(model(), Task(TERMS, VIEWS, plan, poisoned), TrainSpec(steps=3), seed=0, device=CPU)


def test_bf16_autocast_is_close_to_float32() -> None:
    exact, _ = run(3)
    spec = TrainSpec(steps=3, log_every=1, lr=1e-2, clip_norm=1.0, schedule="cosine", precision="bf16")
    rounded, _ = run(3, spec=spec)
    assert rounded[0] == pytest.approx(exact[0], rel=2e-2)


def test_learning_rate_rises_and_falls() -> None:
    spec = OptimSpec(lr=1.0, schedule="cosine", warmup_steps=4)
    rates = [learning_rate(spec, step, 20) for step in range(21)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[20] == pytest.approx(0.0)
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))


@settings(max_examples=20, deadline=None)
@given(
    n_batches=st.integers(1, 7), epochs=st.integers(1, 4), accumulate=st.integers(1, 3), warmup_steps=st.integers(0, 3)
)
def test_the_rate_is_lowest_at_the_last_planned_step(
    n_batches: int, epochs: int, accumulate: int, warmup_steps: int
) -> None:
    """However many windows there are: a cosine ends with the training, neither before nor after it."""
    spec = TrainSpec(
        epochs=epochs, accumulate=accumulate, lr=1e-3, schedule="cosine", warmup_steps=warmup_steps, log_every=1
    )
    lines: list[Metrics] = []
    fit(
        model(),
        Task(TERMS[1:], VIEWS, lambda epoch: [np.arange(i, i + 4) for i in range(n_batches)], data),
        spec,
        seed=0,
        device=CPU,
        on_log=lambda step, values: lines.append({"step": step, **values}),
    )
    rates = [line["lr"] for line in lines]
    n_steps = -(-n_batches * epochs // accumulate)
    assert len(rates) == n_steps
    falling = rates[warmup_steps:]
    assert falling == sorted(falling, reverse=True)
    assert len(set(falling)) == len(falling)
    if len(falling) > 1:
        # The last is what a cosine over these steps has one step before its end, where it would be 0.
        assert rates[-1] == pytest.approx(1e-3 * 0.5 * (1 - math.cos(math.pi / len(falling))))


def weights_after(spec: TrainSpec, net: Model | None = None) -> dict[str, torch.Tensor]:
    _, net = run(spec.steps or 1, net, spec=spec)
    return {name: value.clone() for name, value in net.state_dict().items()}


def moved(spec: TrainSpec) -> float:
    before = model().state_dict()
    return max(float((value - before[name]).abs().max()) for name, value in weights_after(spec).items())


def test_the_schedule_reaches_the_optimiser() -> None:
    """AdamW's first step moves a weight by the learning rate, whatever the gradient."""
    plain = TrainSpec(steps=1, lr=1e-2, weight_decay=0.0, average=None)
    assert moved(plain) == pytest.approx(1e-2, rel=1e-3)
    assert moved(plain.model_copy(update={"warmup_steps": 4})) == pytest.approx(2.5e-3, rel=1e-3)
    assert moved(plain.model_copy(update={"weight_decay": 50.0})) > 2e-2


def gradients(spec: TrainSpec) -> dict[str, torch.Tensor]:
    """What the last step of a training handed to the optimiser."""
    net = model()
    run(1, net, spec=spec)
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def test_clipping_bounds_the_gradient() -> None:
    def norm(spec: TrainSpec) -> float:
        return float(torch.stack([g.norm() for g in gradients(spec).values()]).norm())

    free = TrainSpec(steps=1, average=None)
    assert norm(free) > 0.1
    assert norm(free.model_copy(update={"clip_norm": 0.01})) == pytest.approx(0.01, rel=1e-3)


def test_accumulated_gradients_are_a_mean() -> None:
    """The same micro-batch twice, without random draws: the mean is the gradient of one."""
    still = DilatedCNNSpec(depth=2, hidden_dim=8, embed_dim=6, dropout=0.0)
    terms: list[Term] = [ContrastTerm(views=["clean"], relation="same-trial", criterion={"name": "sup-con"})]
    found = []
    for accumulate in (1, 2):
        torch.manual_seed(0)
        net = Model(still, n_chans=2, terms=terms, n_outputs=2)
        task = Task(terms, {"clean": []}, lambda epoch: [np.arange(8)], data)
        fit(net, task, TrainSpec(steps=1, accumulate=accumulate, average=None), seed=3, device=CPU)
        found.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
    for name, one in found[0].items():
        torch.testing.assert_close(found[1][name], one, rtol=1e-5, atol=1e-7)


def test_every_step_and_micro_batch_draws_its_own_views_and_dropout() -> None:
    """With a vanishing learning rate and one batch, only the draws differ between steps."""
    for terms in (TERMS[:1], TERMS[1:]):  # masks and dropout; dropout alone
        for seen in (VIEWS, {name: [] for name in VIEWS}):
            for accumulate in (1, 2):
                losses: list[float] = []
                task = Task(terms, seen, lambda epoch: [np.arange(8)], data)
                spec = TrainSpec(steps=4, lr=1e-30, weight_decay=0.0, log_every=1, accumulate=accumulate, average=None)
                fit(
                    model(terms),
                    task,
                    spec,
                    seed=3,
                    device=CPU,
                    on_log=lambda step, values, into=losses: into.append(values["loss"]),
                )
                assert len(set(losses)) == 4


def test_masks_alone_are_drawn_anew_every_step() -> None:
    still = DilatedCNNSpec(depth=2, hidden_dim=8, embed_dim=6, dropout=0.0)
    torch.manual_seed(0)
    net = Model(still, n_chans=2, terms=TERMS[:1], n_outputs=2)
    losses: list[float] = []
    spec = TrainSpec(steps=4, lr=1e-30, weight_decay=0.0, log_every=1, average=None)
    task = Task(TERMS[:1], VIEWS, lambda epoch: [np.arange(8)], data)
    fit(net, task, spec, seed=3, device=CPU, on_log=lambda step, values: losses.append(values["loss"]))
    assert len(set(losses)) == 4


def test_bf16_is_near_float32_and_not_it() -> None:
    spec = TrainSpec(steps=2, log_every=1, average=None, precision="float32")
    full, _ = run(2, spec=spec)
    half, _ = run(2, spec=spec.model_copy(update={"precision": "bf16"}))
    assert half != full
    assert half == pytest.approx(full, rel=0.05)
    assert run(2, spec=spec.model_copy(update={"precision": "auto"}))[0] == full  # on a processor


def test_validation_sees_the_average_where_there_is_one() -> None:
    seen: list[torch.Tensor] = []

    def validate(weights: dict[str, torch.Tensor], step: int) -> Metrics:
        seen.append(next(iter(weights.values())).clone())
        return {}

    spec = TrainSpec(steps=3, lr=1e-2, average=UniformAverage(kind="uniform", include_init=True))
    net = model()
    at = fit(net, Task(TERMS, VIEWS, plan, data), spec, seed=3, device=CPU, validate=validate)
    name = next(iter(at.average))
    assert torch.equal(seen[-1], at.average[name])
    assert not torch.equal(seen[-1], net.state_dict()[name])


def test_every_epoch_asks_the_plan_anew() -> None:
    asked: list[int] = []
    seen: list[tuple[int, ...]] = []

    def noted(epoch: int) -> list[np.ndarray]:
        asked.append(epoch)
        return plan(epoch)

    def load(rows: np.ndarray) -> Batch:
        seen.append(tuple(rows.tolist()))
        return data(rows)

    fit(model(), Task(TERMS, VIEWS, noted, load), TrainSpec(steps=8), seed=0, device=CPU)
    assert asked == [0, 1, 2]
    expected = [tuple(batch.tolist()) for epoch in range(3) for batch in plan(epoch)]
    assert seen == expected[:8]
