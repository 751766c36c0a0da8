"""Momentum copy and queue in the loop: once a step, from training windows only, and exactly after a resume."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from biocl.encoders.spec import DilatedCNNSpec
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import ClassificationTerm
from biocl.objectives.model import Model
from biocl.objectives.spec import ContrastTerm, ProjectorSpec, Term
from biocl.objectives.terms import make_views, step_loss
from biocl.training.averaging import Weights
from biocl.training.checkpoint import load_checkpoint
from biocl.training.loop import Metrics, Task, fit
from biocl.training.spec import EmaAverage, TrainSpec, UniformAverage
from biocl.views.spec import MaskStep

CPU = torch.device("cpu")
N, T = 22, 16
HELD_OUT = 100
"""Windows from this number on are not trained on."""
MASK = [MaskStep(mask="continuous")]
VIEWS = {"a": MASK, "b": MASK, "clean": []}
MOCO = ContrastTerm(
    views=["a", "b"],
    relation="same-sample",
    criterion={"name": "info-nce", "temperature": 0.2},
    project="p",
    keys="momentum",
    momentum=0.8,
    queue={"size": 13},
    label="moco",
)
TERMS: list[Term] = [MOCO, ClassificationTerm(head="classification", weight=0.5)]


def data(rows: np.ndarray) -> Batch:
    ids = torch.from_numpy(np.asarray(rows).astype(np.int64))
    x = np.stack([np.random.default_rng(row).standard_normal((2, T)) for row in rows]).astype(np.float32)
    return Batch(
        x=torch.from_numpy(x),
        recording=ids,
        patient=ids,
        trial=ids,
        start=ids * T,
        length=torch.full_like(ids, T),
        label=ids % 2,
    )


def plan(epoch: int) -> list[np.ndarray]:
    """Batches of 8, 8 and a short one of 6; the queue's 13 is no multiple of any."""
    order = np.random.default_rng(epoch).permutation(N)
    return [order[:8], order[8:16], order[16:]]


def model(terms: list[Term] = TERMS) -> Model:
    torch.manual_seed(0)
    spec = DilatedCNNSpec(depth=1, hidden_dim=4, embed_dim=5, dropout=0.2)
    return Model(spec, n_chans=2, terms=terms, n_outputs=2, projectors={"p": ProjectorSpec(hidden_dim=4, out_dim=3)})


def run(net: Model, spec: TrainSpec, **more: object) -> list[float]:
    losses: list[float] = []

    def on_log(step: int, values: Metrics) -> None:
        if "loss" in values:
            losses.append(values["loss"])

    fit(net, Task(TERMS, VIEWS, plan, data), spec, seed=3, device=CPU, on_log=on_log, **more)  # type: ignore[arg-type]
    return losses


@pytest.mark.parametrize("average", [UniformAverage(kind="uniform"), EmaAverage(kind="ema", decay=0.9), None])
@pytest.mark.parametrize("killed_at", [1, 9])
def test_a_killed_run_resumes_bit_by_bit(tmp_path: Path, average: object, killed_at: int) -> None:
    spec = TrainSpec(steps=14, log_every=1, lr=1e-2, checkpoint_every=1, accumulate=2, average=average)
    net, cut, resumed = model(), model(), model()
    whole = run(net, spec, checkpoints=tmp_path / "whole")

    class Killed(Exception):
        pass

    def die(step: int) -> None:
        if step == killed_at + 1:
            raise Killed

    with pytest.raises(Killed):
        run(cut, spec, checkpoints=tmp_path / "cut", on_step=die)
    checkpoint = load_checkpoint(tmp_path / "cut")
    assert checkpoint.state["step"] == killed_at
    assert run(resumed, spec, checkpoints=tmp_path / "cut", resume=checkpoint) == whole[killed_at:]
    for name, value in net.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    one, other = load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "cut")
    assert one.best_weights.keys() == net.state_dict().keys()
    assert all(torch.equal(value, other.best_weights[name]) for name, value in one.best_weights.items())


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_copy_moves_once_a_step_after_the_optimiser(accumulate: int) -> None:
    net = model()
    seen = [{name: value.clone() for name, value in net.state_dict().items()}]
    spec = TrainSpec(steps=4, lr=1e-2, accumulate=accumulate, average=None)
    run(net, spec, on_step=lambda step: seen.append({k: v.clone() for k, v in net.state_dict().items()}))
    names = [name for name, _ in net.momentum.named_parameters()]
    for before, after in itertools.pairwise(seen):
        for name in names:
            own = f"momentum.{name}"
            torch.testing.assert_close(after[own], 0.8 * before[own] + 0.2 * after[name])
    assert any(not torch.equal(seen[0][f"momentum.{name}"], seen[-1][f"momentum.{name}"]) for name in names)


def test_the_queue_holds_the_newest_keys_of_training_windows_with_unit_norm_at_all_times() -> None:
    net = model()
    states: list[tuple[torch.Tensor, torch.Tensor]] = []
    order: list[int] = []

    def load(rows: np.ndarray) -> Batch:
        order.extend(rows.tolist())
        return data(rows)

    def validate(weights: Weights, step: int) -> Metrics:
        """What a look at other windows might do, in both modes."""
        before = {name: value.clone() for name, value in net.state_dict().items()}
        rows = np.arange(HELD_OUT, HELD_OUT + 5)
        for training in (True, False):
            net.train(training)
            batch = data(rows)
            drawn = make_views(
                batch, VIEWS, TERMS, hidden_dim=4, generator=torch.Generator(), seed_of=lambda name: len(name)
            )
            with torch.no_grad():
                assert step_loss(net, batch, drawn, TERMS).keys["moco"].trial.tolist() == rows.tolist()
                net(batch.x)
        net.train()
        assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
        return {}

    def on_step(step: int) -> None:
        keys = net.queues["moco"].read()
        states.append((keys.keys.norm(dim=1), keys.patient.clone()))
        assert sorted(keys.patient.tolist()) == sorted(order[-13:])

    spec = TrainSpec(steps=9, lr=1e-2, average=None, validate_every=1)
    task = Task(TERMS, VIEWS, plan, load)
    fit(net, task, spec, seed=3, device=CPU, on_step=on_step, validate=validate)
    assert [len(norms) for norms, _ in states] == [8, *[13] * 8]
    for norms, patients in states:
        torch.testing.assert_close(norms, torch.ones_like(norms))
        assert int(patients.max()) < HELD_OUT


def test_the_average_takes_copy_and_queue_as_they_are() -> None:
    net = model()
    spec = TrainSpec(steps=5, lr=1e-2, average=UniformAverage(kind="uniform"))
    at = fit(net, Task(TERMS, VIEWS, plan, data), spec, seed=3, device=CPU)
    state = net.state_dict()
    assert at.average.keys() == state.keys()
    for name, value in at.average.items():
        follows = name.startswith(("momentum.", "queues."))
        assert not value.numel() or torch.equal(value, state[name]) == follows, name


def test_neither_copy_nor_queue_is_in_the_optimiser(tmp_path: Path) -> None:
    net = model()
    run(net, TrainSpec(steps=1, average=None), checkpoints=tmp_path)
    trained = [name for name, p in net.named_parameters() if p.requires_grad]
    assert len(load_checkpoint(tmp_path).optimiser["state"]) == len(trained)
    assert not any(name.startswith(("momentum.", "queues.")) for name in trained)


def test_the_copy_starts_from_the_weights_that_were_loaded() -> None:
    """Such as those of a pretrained encoder, put into a model after it was made."""
    net = model()
    with torch.no_grad():
        for p in net.encoder.parameters():
            p.add_(1.0)
    seen: dict[str, torch.Tensor] = {}
    net.momentum.encoder.register_forward_pre_hook(
        lambda module, args: seen or seen.update({name: p.clone() for name, p in module.named_parameters()})
    )
    before = {name: p.clone() for name, p in net.encoder.named_parameters()}
    run(net, TrainSpec(steps=1, average=None))
    assert all(torch.equal(value, before[name]) for name, value in seen.items())
    assert seen


def test_the_task_learns() -> None:
    net = model()
    losses = run(net, TrainSpec(steps=150, lr=1e-2, log_every=1, average=None))
    # From step 10 on the queue is full, so that chance stays what it is.
    assert np.mean(losses[-10:]) < np.mean(losses[10:20]) - 0.2
