"""GRAM, FOCAL, CroSSL and VICReg as terms: what they read of the table, and what a missing device changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from biocl.encoders.devices import DeviceLatents
from biocl.encoders.dual import side_by_side
from biocl.encoders.latents import Latents
from biocl.encoders.spec import EncoderSpec
from biocl.errors import UsageError
from biocl.objectives import criteria
from biocl.objectives.alignment import alignment
from biocl.objectives.batch import Batch
from biocl.objectives.comparisons import comparisons
from biocl.objectives.contradictions import contradictions
from biocl.objectives.contrast import contrast_loss
from biocl.objectives.model import Model
from biocl.objectives.pairs import pairs_of_sides
from biocl.objectives.spec import ContrastTerm, ProjectorSpec
from biocl.objectives.terms import step_loss
from biocl.signals.recording import Channel
from biocl.views.view import View

N, D = 8, 6
DEVICES = ("arm", "leg", "hip")
CHANNELS = tuple(Channel(f"acc_{axis}", "acc", "m/s2", name) for name in DEVICES for axis in "xyz")
NAMES = ["gram", "focal", "crossl", "vicreg"]


def batch(n: int = N) -> Batch:
    """Two windows of each trial, four of each recording, apart in time."""
    ids = torch.arange(n)
    x = torch.randn(n, len(CHANNELS), 20, generator=torch.Generator().manual_seed(3))
    return Batch(x, ids // 4, ids // 4, ids // 2, ids % 4 * 20, torch.full_like(ids, 20), ids % 2)


def latents(seed: int = 0, n: int = N, width: int = D) -> DeviceLatents:
    draw = torch.Generator().manual_seed(seed)
    own = {name: Latents(torch.randn(n, 1, width, generator=draw, dtype=torch.float64), "mean") for name in DEVICES}
    return DeviceLatents(own["arm"].seq, "mean", of_device=own, fuse=side_by_side)


def term(name: str, **keys: Any) -> ContrastTerm:
    criterion = {"name": name, **keys.pop("criterion", {})}
    usual: dict[str, Any] = {
        "views": ["one", "other"] if name == "focal" else ["one"],
        "across": "device",
        "relation": "same-sample",
        "criterion": criterion,
        "project": "join" if name == "crossl" else None,
    }
    return ContrastTerm(**{**usual, **keys})


def seen(one: ContrastTerm) -> list[DeviceLatents]:
    return [latents(number) for number in range(len(one.views))]


def table(one: DeviceLatents) -> Tensor:
    return torch.stack([one.devices[name].vec for name in DEVICES])


def network(in_dim: int = 3 * D) -> torch.nn.Module:
    torch.manual_seed(5)
    return torch.nn.Sequential(torch.nn.Linear(in_dim, 7), torch.nn.Tanh()).double()


def loss_of(one: ContrastTerm, data: Batch, present: Tensor | None = None, join: Any = None) -> Tensor:
    torch.manual_seed(0)
    views = [View(data.x, present=present) for _ in one.views]
    return contrast_loss(one, seen(one), data, join or (network() if one.joins else None), views)[0]


def same_trial(data: Batch) -> Tensor:
    return (data.trial[:, None] == data.trial) & ~torch.eye(len(data.trial), dtype=torch.bool)


def some_absent() -> Tensor:
    present = torch.ones(N, 3, dtype=torch.bool)
    present[:3, 0] = present[2:5, 2] = False
    return present


# GRAM


@pytest.mark.parametrize("present", [None, some_absent()])
def test_gram_of_an_anchor_or_of_each(present: Tensor | None) -> None:
    data = batch()
    keys = {"temperature": 0.2, "smoothing": 0.3, "companion": 0.7}
    given = {**keys, "present": present, "ignore": same_trial(data)}
    of_each = [criteria.gram(table(latents()), anchor=a, **{**given, "companion": 0})[0] for a in range(3)]
    companion = criteria.gram(table(latents()), **given)[0] - of_each[0]
    for name, anchor in (("arm", 0), ("hip", 2)):
        loss = loss_of(term("gram", criterion=keys, anchor=name), data, present)
        torch.testing.assert_close(loss, of_each[anchor] + companion)
    every = loss_of(term("gram", criterion=keys), data, present)
    torch.testing.assert_close(every, torch.stack(of_each).mean() + companion)
    assert not torch.allclose(of_each[0], of_each[2])
    # The order in which devices are named moves no anchor.
    turned = term("gram", criterion=keys, anchor="hip", devices=["hip", "arm", "leg"])
    torch.testing.assert_close(loss_of(turned, data, present), of_each[2] + companion)


def test_gram_across_views() -> None:
    data, one = batch(), latents()
    three = [Latents(one.devices[name].seq, "mean") for name in DEVICES]
    across = ContrastTerm(
        views=["a", "b", "c"], anchor="b", relation="same-sample", criterion={"name": "gram"}  # type: ignore[arg-type]
    )  # fmt: skip
    wanted, _ = criteria.gram(table(one), anchor=1, ignore=same_trial(data))
    torch.testing.assert_close(contrast_loss(across, three, data)[0], wanted)


def test_windows_with_one_pair_of_devices_each_still_have_the_companion() -> None:
    """No two windows have the same devices, so that no volumes can be compared."""
    present = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 1], [1, 0, 1]]).bool()
    data, one = batch(4), latents(n=4)
    data = replace(data, trial=torch.arange(4))
    loss, skipped = contrast_loss(term("gram"), [one], data, None, [View(data.x, present=present)])
    wanted = criteria.gram(table(one), present=present)[0]
    torch.testing.assert_close(loss, wanted)
    assert float(wanted) > 0
    assert skipped == 0


def test_gram_needs_more_features_than_devices() -> None:
    with pytest.raises(UsageError, match="The volume of 3 vectors of 2 features is always 0"):
        contrast_loss(term("gram"), [latents(width=2)], batch())


# FOCAL


def test_focal_reads_both_views_of_every_device() -> None:
    sides = comparisons(term("focal", devices=["hip", "arm"]), ["main"], DEVICES)
    assert [[(entry.view, entry.device) for side in one for entry in side] for one in sides] == [
        [(0, "hip"), (0, "arm"), (1, "hip"), (1, "arm")]
    ]


@pytest.mark.parametrize("sequence", ["trial", "recording"])
@pytest.mark.parametrize("present", [None, some_absent()])
def test_focal_is_the_function(sequence: str, present: Tensor | None) -> None:
    data = batch()
    weights = {"shared": 2.0, "private": 0.5, "orthogonality": 1.5, "ranking": 4.0}
    one = term("focal", criterion={**weights, "temperature": 0.3, "margin": 2.0, "sequence": sequence})
    ids = data.trial if sequence == "trial" else data.recording
    wanted, _ = criteria.focal(
        table(latents(0)), table(latents(1)), ids, weights=tuple(weights.values()), temperature=0.3, margin=2.0,
        present=present, ignore=(ids[:, None] == ids) & ~torch.eye(N, dtype=torch.bool),
    )  # fmt: skip
    torch.testing.assert_close(loss_of(one, data, present), wanted)
    unranked, _ = criteria.focal(
        table(latents(0)), table(latents(1)), None, present=present, ignore=same_trial(data)
    )  # fmt: skip
    torch.testing.assert_close(loss_of(term("focal", criterion={"ranking": 0}), data, present), unranked)


def test_a_device_counts_where_both_views_have_it() -> None:
    """One view lost the arm of some windows, the other the hip of some."""
    data = batch()
    first, second = torch.ones(N, 3, dtype=torch.bool), torch.ones(N, 3, dtype=torch.bool)
    first[:3, 0] = second[2:5, 2] = False
    views = [View(data.x, present=first), View(data.x, present=second)]
    one = term("focal")
    loss, _ = contrast_loss(one, seen(one), data, None, views)
    torch.testing.assert_close(loss, loss_of(one, data, some_absent()))


def test_windows_of_a_sequence_are_no_negatives() -> None:
    data, one = batch(), term("focal", ignore=[], criterion={"sequence": "recording"})
    pairs, _, _ = pairs_of_sides(one, comparisons(one, ["main"], DEVICES)[0], data)
    apart = data.recording[:, None] != data.recording
    assert torch.equal(pairs.negative, apart)
    assert torch.equal(pairs.ignored, ~apart & ~torch.eye(N, dtype=torch.bool))


def test_focal_cuts_even_widths_alone() -> None:
    with pytest.raises(UsageError, match="two halves, and it has 5 features"):
        contrast_loss(term("focal"), [latents(0, width=5), latents(1, width=5)], batch())


def test_alignment_of_focal_is_that_of_the_halves() -> None:
    """Shared halves equal on all devices, private ones equal in both views, and nothing else alike."""
    one, other = latents(0), latents(1)
    half = D // 2
    for both in (one, other):
        for name in DEVICES:
            both.devices[name].seq[..., :half] = both.devices["arm"].seq[..., :half]
    for name in DEVICES:
        other.devices[name].seq[..., half:] = one.devices[name].seq[..., half:]
    positive, negative = alignment(term("focal"), [one, other], batch())
    assert positive == pytest.approx(1)
    assert negative < 0.5
    present = torch.ones(N, 3, dtype=torch.bool)
    present[:4, 1] = False
    views = [View(batch().x, present=present)] * 2
    one.devices["leg"].seq[:4] = torch.nan
    assert alignment(term("focal"), [one, other], batch(), None, views)[0] == pytest.approx(1)


# CroSSL


@pytest.mark.parametrize("hide", ["devices", "entries"])
@pytest.mark.parametrize("join", ["concatenate", "mean"])
@pytest.mark.parametrize("present", [None, some_absent()])
def test_crossl_is_the_function_of_drawn_masks(hide: str, join: Any, present: Tensor | None) -> None:
    weights = {"invariance": 3.0, "variance": 2.0, "covariance": 5.0}
    one = term("crossl", criterion={**weights, "hide": hide, "join": join, "coverage": 0.4})
    net = network(3 * D if join == "concatenate" else D)
    loss = loss_of(one, batch(), present, net)
    torch.manual_seed(0)
    draws = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    there = torch.ones(N, 3, dtype=torch.bool) if present is None else present
    masks: dict[str, Callable[[], Tensor]] = {
        "devices": lambda: criteria.device_masks(there, generator=draws, coverage=0.4),
        "entries": lambda: criteria.entry_masks(there, D, generator=draws, coverage=0.4),
    }
    wanted, _ = criteria.masked_aggregation(table(latents()), masks[hide](), net, how=join, **weights)
    torch.testing.assert_close(loss, wanted)
    whole = loss_of(term("crossl", criterion={**weights, "join": join, "coverage": 1}), batch(), present, net)
    assert float(loss.detach()) != float(whole.detach())


def test_a_network_that_joins_reads_no_single_device() -> None:
    """Cosines are those of the devices' own latents, which the network could not read one by one."""
    plain = term("mv-dhel", ignore=["same-trial", "overlap"])
    assert alignment(term("crossl"), seen(plain), batch(), network()) == alignment(plain, seen(plain), batch())


# VICReg


def test_vicreg_is_the_mean_over_pairs() -> None:
    z, keys = table(latents()), {"invariance": 3.0, "variance": 2.0, "covariance": 5.0}
    pairs = [criteria.vicreg(z[a], z[b], **keys)[0] for a, b in ((0, 1), (0, 2), (1, 2))]
    torch.testing.assert_close(loss_of(term("vicreg", criterion=keys), batch()), torch.stack(pairs).mean())
    anchored = loss_of(term("vicreg", criterion=keys, anchor="leg"), batch())
    torch.testing.assert_close(anchored, (pairs[0] + pairs[2]) / 2)
    defaults = [criteria.vicreg(z[a], z[b])[0] for a, b in ((0, 1), (0, 2), (1, 2))]
    torch.testing.assert_close(loss_of(term("vicreg"), batch()), torch.stack(defaults).mean())


def test_vicreg_of_two_views_leaves_out_what_was_relabelled() -> None:
    data, z = batch(), table(latents())
    two = ContrastTerm(views=["a", "b"], relation="same-sample", criterion={"name": "vicreg"})  # type: ignore[arg-type]
    sides = [Latents(latents().devices[name].seq, "mean") for name in ("arm", "leg")]
    torch.testing.assert_close(contrast_loss(two, sides, data)[0], criteria.vicreg(z[0], z[1])[0])
    turned = torch.arange(N) < 3
    views = [View(data.x), View(data.x, target=torch.where(turned, 1 - data.label, data.label), relabelled=turned)]
    loss, skipped = contrast_loss(two, sides, data, None, views)
    torch.testing.assert_close(loss, criteria.vicreg(z[0, 3:], z[1, 3:])[0])
    assert skipped == 3


# All of them


@pytest.mark.parametrize("name", NAMES)
def test_a_device_that_nobody_wears_leaves_the_loss_of_the_others(name: str) -> None:
    present = torch.ones(N, 3, dtype=torch.bool)
    present[:, 1] = False
    keys = {"criterion": {"join": "mean", "coverage": 1}} if name == "crossl" else {}
    join = network(D) if name == "crossl" else None
    without = loss_of(term(name, devices=["arm", "hip"], **keys), batch(), None, join)
    torch.testing.assert_close(loss_of(term(name, **keys), batch(), present, join), without)


@pytest.mark.parametrize("name", ["focal", "vicreg"])
def test_two_devices_are_compared_over_the_windows_that_have_both(name: str) -> None:
    """And on windows with one device alone, FOCAL's private halves are: it is asked for the shared ones here."""
    present = torch.ones(N, 3, dtype=torch.bool)
    present[:3, 0] = False
    data = batch()
    few = replace(data, **{key: value[3:] for key, value in vars(data).items() if value is not None})
    keys: dict[str, Any] = {"devices": ["arm", "leg"]}
    if name == "focal":
        keys["criterion"] = {"private": 0, "orthogonality": 0, "ranking": 0}
    one = term(name, **keys)
    part = [
        DeviceLatents(
            of.seq[3:], "mean", fuse=side_by_side,
            of_device={device: Latents(of.devices[device].seq[3:], "mean") for device in DEVICES},
        )
        for of in seen(one)
    ]  # fmt: skip
    torch.testing.assert_close(loss_of(one, data, present), contrast_loss(one, part, few)[0])
    present[:, 0] = False
    assert float(loss_of(one, data, present)) == 0


EACH = {"each": {"name": "dilated-cnn", "depth": 1, "hidden_dim": 4, "embed_dim": 6, "pool": "max"}}


def build(one: ContrastTerm, **projector: int) -> Model:
    torch.manual_seed(1)
    return Model(
        TypeAdapter(EncoderSpec).validate_python(EACH),
        n_chans=len(CHANNELS), n_times=20, sfreq=50.0, channels=CHANNELS, terms=[one],
        projectors={"join": ProjectorSpec(**projector)} if one.project else {},
    )  # fmt: skip


@pytest.mark.parametrize("join", ["concatenate", "mean"])
def test_the_network_is_as_wide_as_what_it_joins(join: str) -> None:
    model = build(term("crossl", criterion={"join": join}), hidden_dim=5, out_dim=4)
    first = model.projectors["join"][0]  # type: ignore[index]
    assert first.in_features == (18 if join == "concatenate" else 6)
    assert build(term("crossl", devices=["arm", "hip"])).projectors["join"][0].in_features == 12  # type: ignore[index]


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_reaches_every_weight_with_devices_missing(name: str, autocast: bool) -> None:
    data, one = batch(), term(name)
    model = build(one)
    present = torch.rand(N, 3, generator=torch.Generator().manual_seed(0)) < 0.7
    views = {view: View(data.x + number, present=present) for number, view in enumerate(one.views)}
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        out = step_loss(model, data, views, [one])
    assert out.total.dtype == torch.float32
    out.total.backward()
    assert torch.isfinite(out.total)
    for key, weight in model.named_parameters():
        assert weight.grad is not None, key
        assert torch.isfinite(weight.grad).all()
        assert key.startswith("encoder") or weight.grad.abs().sum() > 0
    assert sum(float(weight.grad.abs().sum()) for weight in model.encoder.parameters()) > 0  # type: ignore[union-attr]


def test_criteria_without_negatives_push_nothing_apart() -> None:
    data = replace(batch(), patient=torch.zeros(N, dtype=torch.long))
    pulls = ContrastTerm(
        **{"views": ["one"], "relation": "same-patient", "criterion": {"name": "sup-con"}, "label": "pulls"}
    )
    quarrels = {
        name: [found[:2] for found in contradictions([pulls, term(name, label="line")], data, list(DEVICES))]
        for name in NAMES
    }
    both = [("pulls", "line")]
    assert quarrels == {"gram": both, "focal": both, "crossl": [], "vicreg": []}
