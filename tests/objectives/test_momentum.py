"""Keys of a momentum copy and a queue: against brute force, and what never happens to them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from biocl.encoders.spec import DilatedCNNSpec
from biocl.errors import UsageError
from biocl.objectives import criteria
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import ClassificationTerm
from biocl.objectives.memories import Keys, Queue
from biocl.objectives.model import Model
from biocl.objectives.spec import ContrastTerm, ProjectorSpec, Term
from biocl.objectives.terms import StepLoss, encoded_views, key_views, make_views, step_loss
from biocl.randomness import integer_seed
from biocl.views.spec import MaskStep

MASK = MaskStep(mask="continuous")
VIEWS = {"clean": [], "query": [MASK], "key": [MASK]}
SPEC = DilatedCNNSpec(depth=2, hidden_dim=8, embed_dim=6, dropout=0.3)
PROJECTORS = {"small": ProjectorSpec(hidden_dim=5, out_dim=4)}


def moco(**keys: Any) -> ContrastTerm:
    """A term with a momentum copy and a queue of ten."""
    return ContrastTerm(
        **{
            "views": ["query", "key"],
            "relation": "same-sample",
            "criterion": {"name": "info-nce", "temperature": 0.2},
            "project": "small",
            "keys": "momentum",
            "momentum": 0.9,
            "queue": {"size": 10},
            "label": "moco",
            **keys,
        }
    )


def batch(first: int = 0, n: int = 4, n_times: int = 16) -> Batch:
    """Windows that share neither trial nor time."""
    ids = torch.arange(first, first + n)
    x = torch.stack([torch.randn(2, n_times, generator=torch.Generator().manual_seed(int(i))) for i in ids])
    return Batch(
        x=x,
        recording=ids,
        patient=ids,
        trial=ids,
        start=ids * n_times,
        length=torch.full((n,), n_times),
        label=ids % 2,
    )


def model(terms: list[Term], **more: Any) -> Model:
    torch.manual_seed(0)
    return Model(more.pop("spec", SPEC), n_chans=2, terms=terms, projectors=PROJECTORS, n_outputs=2, **more)


def loss_of(net: Model, terms: list[Term], data: Batch, seed: int = 1) -> StepLoss:
    views = make_views(
        data, VIEWS, terms, hidden_dim=8, generator=torch.Generator(), seed_of=partial(integer_seed, seed)
    )
    return step_loss(
        net, data, views, terms, seed_dropout=lambda name: torch.manual_seed(integer_seed(seed, name)) and None
    )


def state(net: Model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def slow_info_nce(query: Tensor, key: Tensor, memory: Tensor, allowed: Tensor, remembered: Tensor, tau: float) -> float:
    """Row by row, with Python's own arithmetic over the products."""
    total = 0.0
    for i in range(len(query)):
        q = query[i] / query[i].norm()
        products = [float(q @ (key[j] / key[j].norm())) / tau for j in range(len(key)) if j == i or allowed[i, j]]
        products += [float(q @ row) / tau for row, use in zip(memory, remembered[i], strict=True) if use]
        own = float(q @ (key[i] / key[i].norm())) / tau
        total += math.log(sum(math.exp(p - own) for p in products))
    return total / len(query)


def test_info_nce_with_a_queue_is_brute_force() -> None:
    torch.manual_seed(0)
    query, key, memory = (torch.randn(n, 4, dtype=torch.float64) for n in (5, 5, 7))
    memory = F.normalize(memory, dim=1)
    ignore, memory_ignore = torch.rand(5, 5) < 0.3, torch.rand(5, 7) < 0.3
    memory_ignore[0] = True  # one query is told from no remembered key
    for tau in (0.07, 1.0):
        loss = criteria.info_nce(query, key, temperature=tau, ignore=ignore, memory=memory, memory_ignore=memory_ignore)
        assert float(loss) == pytest.approx(slow_info_nce(query, key, memory, ~ignore, ~memory_ignore, tau), abs=1e-6)
    plain = criteria.info_nce(query, key, memory=memory)
    every = torch.ones(5, 5, dtype=torch.bool), torch.ones(5, 7, dtype=torch.bool)
    assert float(plain) == pytest.approx(slow_info_nce(query, key, memory, *every, 0.1), abs=1e-6)
    assert float(criteria.info_nce(query, key, memory=memory[:0])) == pytest.approx(
        float(criteria.info_nce(query, key))
    )


def test_the_term_is_info_nce_of_the_copys_keys_and_the_queue() -> None:
    term = moco()
    net = model([term])
    other = model([term])
    with torch.no_grad():
        for p in other.momentum.parameters():
            p.add_(0.1)
    net.momentum.load_state_dict(other.momentum.state_dict())
    net.eval()  # no dropout, so that the passes can be repeated here
    net.queues["moco"].push(first_keys(net, batch(50, 6)))
    data = batch()
    data = Batch(**{**vars(data), "trial": torch.tensor([0, 0, 52, 3])})  # two of a trial, one of a remembered trial
    views = make_views(data, VIEWS, [term], hidden_dim=8, generator=torch.Generator(), seed_of=partial(integer_seed, 1))
    out = step_loss(net, data, views, [term])
    query = net.projectors["small"](net.latents(net.trunk(views["query"]), views["query"]).vec)
    trunk = net.momentum.encoder(views["key"].x, views["key"].keep)
    key = net.momentum.projectors["small"](net.latents(trunk, views["key"]).vec)
    allowed = torch.ones(4, 4, dtype=torch.bool)
    allowed[0, 1] = allowed[1, 0] = False
    remembered = torch.ones(4, 6, dtype=torch.bool)
    remembered[2, 2] = False
    memory = net.queues["moco"].rows[:6]
    expected = slow_info_nce(query.detach(), key, memory, allowed, remembered, 0.2)
    assert float(out.total.detach()) == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(out.keys["moco"].keys, F.normalize(key, dim=1))
    assert out.keys["moco"].trial.tolist() == [0, 0, 52, 3]


def first_keys(net: Model, data: Batch) -> Keys:
    """What a step on this batch would remember."""
    return loss_of(net, [moco()], data).keys["moco"]


@pytest.mark.parametrize(
    ("ignore", "change"),
    [
        (["overlap"], {"recording": 50, "start": 50 * 16 + 15}),
        (["same-trial"], {"trial": 50}),
        (["same-patient"], {"patient": 50}),
    ],
)
def test_pairs_with_earlier_steps_are_ignored_as_those_of_the_batch(ignore: list[str], change: dict[str, int]) -> None:
    """One of four windows belongs with the one remembered key; the three others are told from it."""
    data = batch()
    related = {name: torch.cat([torch.tensor([value]), getattr(data, name)[1:]]) for name, value in change.items()}
    data = Batch(**{**vars(data), **related})
    losses = {}
    for rule in (ignore, []):
        term = moco(ignore=rule)
        net = model([term]).eval()
        loss_before = float(loss_of(net, [term], data).total.detach())
        net.queues["moco"].push(first_keys(net, batch(50, 1)))
        losses[bool(rule)] = loss_before, float(loss_of(net, [term], data).total.detach())
    assert losses[False][1] > losses[True][1] > losses[True][0]
    assert losses[True][0] == pytest.approx(losses[False][0])


def test_windows_one_step_apart_do_not_overlap() -> None:
    data = batch()
    moved = {"recording": torch.full((4,), 50), "start": torch.tensor([50 * 16 + 16, 50 * 16 - 16, 0, 16])}
    term = moco(ignore=["overlap"])
    net = model([term]).eval()
    net.queues["moco"].push(first_keys(net, batch(50, 1)))
    away = loss_of(net, [term], data).total
    assert torch.equal(away, loss_of(net, [term], Batch(**{**vars(data), **moved})).total)


def test_nothing_is_told_from_nothing_and_is_counted() -> None:
    data = batch()
    data = Batch(**{**vars(data), "trial": torch.zeros(4, dtype=torch.long)})
    net = model([moco()])
    out = loss_of(net, [moco()], data)
    assert float(out.total.detach()) == pytest.approx(0, abs=1e-6)
    assert out.counts["moco/skipped"] == 4
    net.queues["moco"].push(first_keys(net, batch(50, 1)))
    assert "moco/skipped" not in loss_of(net, [moco()], data).counts


@pytest.mark.parametrize("training", [False, True])
def test_a_step_loss_changes_nothing_and_gives_the_same_again(training: bool) -> None:
    """Only `follow` moves the copy and the queue; the loss of an evaluation, or of a training step, does not."""
    net = model([moco()]).train(training)
    net.queues["moco"].push(first_keys(net, batch(50, 3)))
    before = state(net)
    with torch.no_grad():
        first, again = (loss_of(net, [moco()], batch()) for _ in range(2))
    assert torch.equal(first.total, again.total)
    assert torch.equal(first.keys["moco"].keys, again.keys["moco"].keys)
    assert same(before, state(net))


def test_evaluation_draws_nothing() -> None:
    net = model([moco()]).eval()
    losses = [float(loss_of(net, [moco()], batch(), seed=1).total.detach())]
    views = make_views(
        batch(), VIEWS, [moco()], hidden_dim=8, generator=torch.Generator(), seed_of=partial(integer_seed, 1)
    )
    torch.manual_seed(4)
    drawn = torch.get_rng_state()
    losses.append(float(step_loss(net, batch(), views, [moco()]).total.detach()))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert losses[0] == losses[1]


def test_the_copy_gets_no_gradient_and_follows_by_its_share() -> None:
    net = model([moco()])
    assert not any(p.requires_grad for p in net.momentum.parameters())
    loss_of(net, [moco()], batch()).total.backward()
    assert all(p.grad is None for p in net.momentum.parameters())
    assert all(p.grad is not None for p in net.encoder.parameters())
    with torch.no_grad():
        for p in net.parameters():
            if p.requires_grad:
                p.add_(1.0)
    before = state(net)
    net.follow([])
    for name, value in net.momentum.named_parameters():
        old, trained = before[f"momentum.{name}"], before[name]
        torch.testing.assert_close(value, 0.9 * old + 0.1 * trained)
        assert not torch.allclose(value, old)


def test_the_query_is_trained_and_the_key_view_is_read_by_the_copy_alone() -> None:
    terms = [moco()]
    assert (encoded_views(terms), key_views(terms)) == (["query"], ["key"])
    both: list[Term] = [*terms, ClassificationTerm(head="classification", views=["key"])]
    assert (encoded_views(both), key_views(both)) == (["query", "key"], ["key"])
    assert key_views([moco(weight=0), *both[1:]]) == []
    read: list[str] = []
    net = model(terms)
    for name, module in (("trained", net.encoder), ("copy", net.momentum.encoder)):
        module.register_forward_hook(lambda *_, name=name: read.append(name))
    loss_of(net, terms, batch())
    assert read == ["trained", "copy"]


def test_one_view_twice_differs_by_dropout_alone() -> None:
    twice = moco(views=["clean", "clean"], ignore=[])
    net = model([twice])
    losses = {float(loss_of(net, [twice], batch(), seed=seed).total.detach()) for seed in range(3)}
    assert len(losses) == 3
    net.eval()
    out = loss_of(net, [twice], batch())
    query = net(batch().x)
    torch.testing.assert_close(F.normalize(net.projectors["small"](query), dim=1), out.keys["moco"].keys)


def test_a_momentum_copy_changes_no_weight_of_the_rest() -> None:
    """Nothing is drawn for copy and queue: encoder, projectors and heads begin as they do without."""
    head = ClassificationTerm(head="classification")
    with_copy, without = model([moco(), head]), model([moco(keys="trained", queue=None), head])
    assert same(
        {name: v for name, v in with_copy.state_dict().items() if not name.startswith(Model.FOLLOWING)},
        without.state_dict(),
    )
    for name, value in with_copy.momentum.state_dict().items():
        assert torch.equal(value, with_copy.state_dict()[name])


def test_batch_norms_of_the_copy_keep_their_own_statistics() -> None:
    from biocl.encoders.spec import ResNet1dSpec

    spec = ResNet1dSpec(name="resnet1d", widths=[4], kernels=[3])
    term = moco(views=["clean", "clean"])
    net = model([term], spec=spec, n_times=16, sfreq=10.0)
    before = state(net)
    net.train()
    loss_of(net, [term], batch())
    moved = [name for name, value in net.state_dict().items() if not torch.equal(value, before[name])]
    assert any("momentum.encoder" in name and "running_mean" in name for name in moved)
    assert all("running" in name or "num_batches" in name for name in moved)
    net.start_following()
    assert same(dict(net.momentum.encoder.named_buffers()), dict(net.encoder.named_buffers()))


def test_terms_share_one_copy() -> None:
    terms = [moco(label="one"), moco(label="two", project=None, queue=None)]
    net = model(terms)
    assert list(net.queues) == ["one"]
    assert isinstance(net.queues["one"], Queue)
    assert list(net.momentum.projectors) == ["small"]
    out = loss_of(net, terms, batch())
    assert list(out.keys) == ["one"]
    with pytest.raises(UsageError, match=r"0\.5 and 0\.9, and share one"):
        model([moco(label="one"), moco(label="two", momentum=0.5)])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"criterion": {"name": "nt-xent"}}, "needs criterion info-nce"),
        ({"views": ["query", "key", "clean"]}, "two views"),
        ({"criterion": {"name": "info-nce", "symmetric": True}}, "one direction"),
        ({"anchor": "key"}, "one direction"),
        ({"branches": ["a", "b"]}, "one branch"),
        ({"keys": "trained"}, "set keys: momentum"),
        ({"label": "a.b"}, "no dot"),
        ({"read": "seq"}, "read: vec or step"),
        ({"relation": "same-trial"}, "same-sample"),
        ({"momentum": 1.0}, "less than 1"),
    ],
)
def test_what_makes_no_sense_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        moco(**keys)


def test_info_nce_without_a_copy_has_both_gradients() -> None:
    term = moco(keys="trained", queue=None, criterion={"name": "info-nce", "symmetric": True, "temperature": 0.2})
    net = model([term]).eval()
    views = make_views(
        batch(), VIEWS, [term], hidden_dim=8, generator=torch.Generator(), seed_of=partial(integer_seed, 1)
    )
    out = step_loss(net, batch(), views, [term])
    first, second = (
        net.projectors["small"](net.latents(net.trunk(views[name]), views[name]).vec) for name in ("query", "key")
    )
    expected = criteria.info_nce(first, second, temperature=0.2, symmetric=True)
    torch.testing.assert_close(out.total, expected)
    assert net.momentum is None
    assert not out.keys


def test_one_step_of_the_sequence_is_the_same_for_both_sides() -> None:
    term = moco(read="step", views=["clean", "clean"], ignore=[])
    net = model([term], spec=SPEC.model_copy(update={"dropout": 0.0}))
    seq = net.latents(net.trunk(views_of(term)["clean"]), views_of(term)["clean"]).seq
    possible = [F.normalize(net.projectors["small"](seq[:, at]), dim=1) for at in range(16)]
    found = set()
    for seed in range(12):
        drawn = loss_of(net, [term], batch(), seed=seed).keys["moco"].keys
        at = [at for at, one in enumerate(possible) if torch.allclose(one, drawn)]
        assert len(at) == 1
        found.add(at[0])
        expected = criteria.info_nce(possible[at[0]], possible[at[0]], temperature=0.2)
        torch.testing.assert_close(loss_of(net, [term], batch(), seed=seed).total, expected)
    assert len(found) > 3


def views_of(term: ContrastTerm) -> Any:
    return make_views(
        batch(), VIEWS, [term], hidden_dim=8, generator=torch.Generator(), seed_of=partial(integer_seed, 1)
    )
