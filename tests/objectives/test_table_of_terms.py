"""Terms on the table of views, branches and devices: which cells are compared, which are stacked, who is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from biocl.encoders.devices import DeviceLatents
from biocl.encoders.dual import FusedLatents, side_by_side
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
from biocl.objectives.spec import ContrastTerm, ProjectorSpec
from biocl.objectives.terms import step_loss
from biocl.signals.recording import Channel
from biocl.views.signal import SignalInfo
from biocl.views.view import View

N, D = 6, 5
BRANCHES, DEVICES = ("cnn", "trf"), ("arm", "leg", "hip")
CHANNELS = tuple(Channel(f"acc_{axis}", "acc", "m/s2", name) for name in DEVICES for axis in "xyz")
SIGNAL = SignalInfo(50.0, CHANNELS)


def batch(n: int = N) -> Batch:
    ids = torch.arange(n)
    x = torch.randn(n, len(CHANNELS), 32, generator=torch.Generator().manual_seed(3))
    return Batch(x, ids // 3, ids // 3, ids, ids % 3 * 32, torch.full_like(ids, 32), ids % 2)


def latents(seed: int = 0, n: int = N) -> DeviceLatents:
    draw = torch.Generator().manual_seed(seed)
    own = {}
    for device in DEVICES:
        made = {b: Latents(torch.randn(n, 1, D, generator=draw, dtype=torch.float64), "mean") for b in BRANCHES}
        own[device] = FusedLatents(made["cnn"].seq, "mean", of_branch=made, fuse=side_by_side)
    return DeviceLatents(own["arm"].seq, "mean", of_device=own, fuse=side_by_side)


def term(name: str = "nt-xent", **keys: Any) -> ContrastTerm:
    criterion = {"name": name, **keys.pop("criterion", {})}
    return ContrastTerm(
        **{"views": ["raw"], "across": "device", "relation": "same-sample", "criterion": criterion, **keys}
    )


def nt_xent(one: torch.Tensor, other: torch.Tensor, ignore: torch.Tensor | None = None) -> float:
    return float(criteria.nt_xent(one[None], other[None], similarity="cosine", temperature=0.1, ignore=ignore))


def cells(one: ContrastTerm, devices: tuple[str, ...] = ("1", "2"), branches: Any = ("p", "q")) -> list[str]:
    """Each comparison as its sides; a cell is the letters of its view, branch and device."""
    return [
        " | ".join(
            " ".join(f"{one.views[entry.view]}{entry.branch or ''}{entry.device or ''}" for entry in side)
            for side in sides
        )
        for sides in comparisons(one, branches, devices)
    ]


def test_the_comparisons_of_branches_and_devices() -> None:
    a: dict[str, Any] = {"views": ["a"]}
    ab: dict[str, Any] = {"views": ["a", "b"]}
    assert cells(term(**a)) == ["a1 | a2"]
    assert cells(term(**ab)) == ["a1 | a2", "b1 | b2"]
    assert cells(term(**a, branches=["q"])) == ["aq1 | aq2"]
    assert cells(term(**a, branches=["p", "q"])) == ["ap1 | ap2", "aq1 | aq2"]
    assert cells(term(**a, stack=["branch"])) == ["ap1 aq1 | ap2 aq2"]
    assert cells(term(**ab, stack=["branch", "view"])) == ["ap1 aq1 bp1 bq1 | ap2 aq2 bp2 bq2"]
    assert cells(term("mv-dhel", **a, branches=["p"]), ("1", "2", "3")) == ["ap1 | ap2 | ap3"]
    assert cells(term(**a, across="branch")) == ["ap1 | aq1", "ap2 | aq2"]
    assert cells(term(**a, across="branch", devices=["2"])) == ["ap2 | aq2"]
    assert cells(term(**a, across="branch", stack=["device"])) == ["ap1 ap2 | aq1 aq2"]
    assert cells(term(**ab, across="branch")) == ["ap1 | aq1", "ap2 | aq2", "bp1 | bq1", "bp2 | bq2"]
    assert cells(term(**ab, across="branch", stack=["view"])) == ["ap1 bp1 | aq1 bq1", "ap2 bp2 | aq2 bq2"]
    assert cells(term(**ab, across="view")) == ["a | b"]
    assert cells(term(**ab, across="view", devices=["1", "2"])) == ["a1 | b1", "a2 | b2"]
    assert cells(term(**ab, across="view", branches=["q"])) == ["aq1 | bq1", "aq2 | bq2"]
    assert cells(term(**ab, across="view", branches=["q"], devices=["2"])) == ["aq2 | bq2"]
    assert cells(term(**ab, across="view", stack=["branch", "device"])) == ["ap1 ap2 aq1 aq2 | bp1 bp2 bq1 bq2"]
    assert cells(term(**a, across="branch"), ()) == ["ap | aq"]  # two branches that read all channels


def test_across_devices_it_is_what_both_branches_say_or_the_one_that_is_named() -> None:
    data, one = batch(), latents()

    def table(branch: str | None) -> torch.Tensor:
        return torch.stack([one.of(branch, device).vec for device in DEVICES])

    loss, _ = contrast_loss(term("mv-dhel"), [one], data)
    assert table(None).shape == (3, N, 2 * D)
    assert float(loss) == pytest.approx(float(criteria.mv_dhel(table(None), temperature=0.5)[0]), abs=1e-12)
    loss, _ = contrast_loss(term("mv-dhel", branches=["trf"]), [one], data)
    alone = float(criteria.mv_dhel(table("trf"), temperature=0.5)[0])
    assert float(loss) == pytest.approx(alone, abs=1e-12)
    loss, _ = contrast_loss(term("mv-dhel", branches=["cnn", "trf"]), [one], data)
    both = (float(criteria.mv_dhel(table("cnn"), temperature=0.5)[0]) + alone) / 2
    assert float(loss) == pytest.approx(both, abs=1e-12)


def test_across_branches_each_device_is_a_comparison_or_they_are_stacked() -> None:
    data, one = batch(), latents()
    f, z = ([one.of(branch, device).vec for device in DEVICES] for branch in BRANCHES)
    loss, _ = contrast_loss(term(across="branch", ignore=[]), [one], data)
    assert float(loss) == pytest.approx(sum(map(nt_xent, f, z)) / 3, abs=1e-9)
    loss, _ = contrast_loss(term(across="branch", devices=["hip"], ignore=[]), [one], data)
    assert float(loss) == pytest.approx(nt_xent(f[2], z[2]), abs=1e-9)
    loss, _ = contrast_loss(term(across="branch", stack=["device"], ignore=[]), [one], data)
    assert float(loss) == pytest.approx(nt_xent(torch.cat(f), torch.cat(z)), abs=1e-9)
    # By default what two devices say of one window is no negative.
    own = torch.eye(N, dtype=torch.bool).repeat(3, 3) & ~torch.eye(3 * N, dtype=torch.bool)
    loss, _ = contrast_loss(term(across="branch", stack=["device"]), [one], data)
    assert float(loss) == pytest.approx(nt_xent(torch.cat(f), torch.cat(z), own), abs=1e-9)


def test_across_views_all_are_read_together_unless_the_term_says_otherwise() -> None:
    data, one, other = batch(), latents(0), latents(1)
    keys: dict[str, Any] = {"views": ["raw", "other"], "across": "view", "ignore": []}
    loss, _ = contrast_loss(term(**keys), [one, other], data)
    assert one.vec.shape == (N, 6 * D)
    assert float(loss) == pytest.approx(nt_xent(one.vec, other.vec), abs=1e-9)
    loss, _ = contrast_loss(term(**keys, devices=["leg"]), [one, other], data)
    assert float(loss) == pytest.approx(nt_xent(one.of(device="leg").vec, other.of(device="leg").vec), abs=1e-9)
    loss, _ = contrast_loss(term(**keys, branches=["trf"]), [one, other], data)
    wanted = [nt_xent(one.of("trf", name).vec, other.of("trf", name).vec) for name in DEVICES]
    assert float(loss) == pytest.approx(sum(wanted) / 3, abs=1e-9)


def test_stacked_branches_and_devices_are_one_batch() -> None:
    data, one, other = batch(), latents(0), latents(1)
    keys: dict[str, Any] = {"views": ["raw", "other"], "across": "view", "ignore": []}
    loss, _ = contrast_loss(term(**keys, stack=["device", "branch"]), [one, other], data)
    sides = [torch.cat([made.of(b, d).vec for b in BRANCHES for d in DEVICES]) for made in (one, other)]
    assert float(loss) == pytest.approx(nt_xent(*sides), abs=1e-9)


@pytest.mark.parametrize(
    "keys",
    [
        {"across": "branch"},
        {"across": "branch", "stack": ["device"]},
        {"across": "device", "branches": ["trf"]},
        {"across": "device", "stack": ["branch"]},
        {"across": "view", "views": ["raw", "other"], "branches": ["cnn"]},
        {"across": "view", "views": ["raw", "other"], "stack": ["branch", "device"]},
    ],
)
def test_a_device_that_nobody_wears_leaves_the_loss_of_the_others(keys: dict[str, Any]) -> None:
    data, made = batch(), [latents(0), latents(1)]
    present = torch.ones(N, 3, dtype=torch.bool)
    present[:, 1] = False
    one, without = term(**keys), term(**keys, devices=["arm", "hip"])
    own = made[: len(one.views)]
    views = [View(data.x, present=present) for _ in own]
    loss, _ = contrast_loss(one, own, data, None, views)
    assert float(loss) == pytest.approx(float(contrast_loss(without, own, data)[0]), abs=1e-12)
    assert float(loss) != pytest.approx(float(contrast_loss(one, own, data)[0]), abs=1e-6)
    assert alignment(one, own, data, None, views) == pytest.approx(alignment(without, own, data), abs=1e-6)
    # Nothing is there: nothing to say.
    nobody = [View(data.x, present=torch.zeros(N, 3, dtype=torch.bool)) for _ in own]
    assert float(contrast_loss(one, own, data, None, nobody)[0]) == 0


def test_branches_of_a_device_are_compared_over_the_windows_that_have_it() -> None:
    data, one = batch(), latents()
    present = torch.ones(N, 3, dtype=torch.bool)
    present[:2, 2] = False
    loss, _ = contrast_loss(
        term(across="branch", devices=["hip"], ignore=[]), [one], data, None, [View(data.x, present=present)]
    )
    assert float(loss) == pytest.approx(nt_xent(one.of("cnn", "hip").vec[2:], one.of("trf", "hip").vec[2:]), abs=1e-9)
    # Stacked, a window counts on the devices that it has.
    stacked = term(across="branch", stack=["device"], ignore=[])
    loss, _ = contrast_loss(stacked, [one], data, None, [View(data.x, present=present)])
    kept = present.T.flatten()
    f, z = (torch.cat([one.of(branch, device).vec for device in DEVICES])[kept] for branch in BRANCHES)
    assert float(loss) == pytest.approx(nt_xent(f, z), abs=1e-9)


def test_projectors_of_branches_or_of_devices() -> None:
    data, one = batch(), latents()
    torch.manual_seed(0)
    made = {name: nn.Linear(D, 3).double() for name in BRANCHES}
    loss, _ = contrast_loss(term(across="branch", devices=["leg"], ignore=[]), [one], data, made)
    f, z = (made[branch](one.of(branch, "leg").vec) for branch in BRANCHES)
    assert float(loss.detach()) == pytest.approx(nt_xent(f.detach(), z.detach()), abs=1e-9)
    by_device = {name: nn.Linear(2 * D, 3).double() for name in ("arm", "leg")}
    loss, _ = contrast_loss(term(devices=["arm", "leg"], ignore=[]), [one], data, by_device)
    f, z = (by_device[device](one.of(device=device).vec) for device in ("arm", "leg"))
    assert float(loss.detach()) == pytest.approx(nt_xent(f.detach(), z.detach()), abs=1e-9)


def test_quarrels_are_between_the_same_cells_alone() -> None:
    data = batch()
    pulls = term("mv-dhel", branches=["cnn"], label="pulls")
    stacked: dict[str, Any] = {"across": "view", "views": ["raw", "other"], "ignore": []}
    fused = term(**stacked, stack=["device"], label="fused")
    found = contradictions([pulls, fused], data, BRANCHES, devices=DEVICES)
    assert found == []  # one reads the CNN's vectors, the other what both branches say
    pushes = term(**stacked, stack=["branch", "device"], label="pushes")
    found = contradictions([pulls, pushes], data, BRANCHES, devices=DEVICES)
    assert ("pulls", "pushes") in [(pulling, pushing) for pulling, pushing, _ in found]


CNN = {"name": "dilated-cnn", "depth": 1, "hidden_dim": 4, "embed_dim": 6, "pool": "max"}
PAIR = {"dual": {"cnn": CNN, "trf": {**CNN, "embed_dim": 8}}}


def build(*terms: ContrastTerm, encoder: Any = None, devices: tuple[str, ...] = DEVICES, **projectors: int) -> Model:
    channels = [channel for channel in CHANNELS if channel.device in devices]
    return Model(
        TypeAdapter(EncoderSpec).validate_python(encoder or {"each": PAIR}),
        n_chans=len(channels),
        n_times=32,
        sfreq=50.0,
        channels=channels,
        projectors={name: ProjectorSpec(hidden_dim=4, out_dim=width) for name, width in projectors.items()},
        terms=terms,
    )


ALL = [
    ({"across": "branch", "project": {"cnn": "p", "trf": "q"}}, {"p": 3, "q": 3}),
    ({"across": "branch", "stack": ["device"], "project": {"cnn": "p", "trf": "q"}}, {"p": 3, "q": 3}),
    ({"across": "device"}, {}),
    ({"across": "device", "project": "p"}, {"p": 3}),
    ({"across": "device", "branches": ["cnn"], "project": "p"}, {"p": 3}),
    ({"across": "device", "project": {"arm": "p", "leg": "q", "hip": "p"}}, {"p": 3, "q": 3}),
    ({"across": "view", "views": ["raw", "other"], "branches": ["trf"]}, {}),
]


@pytest.mark.parametrize(("keys", "projectors"), ALL)
def test_a_step_reaches_what_the_term_reads_with_devices_missing(
    keys: dict[str, Any], projectors: dict[str, int]
) -> None:
    data = batch()
    present = torch.rand(N, 3, generator=torch.Generator().manual_seed(0)) < 0.7
    one = term(**keys)
    model = build(one, **projectors)
    views = {name: View(data.x, present=present) for name in one.views}
    out = step_loss(model, data, views, [one], signal=SIGNAL)
    out.total.backward()  # type: ignore[no-untyped-call]
    assert bool(torch.isfinite(out.total))
    assert float(out.total.detach()) > 0
    reached = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)
    named = one.branches or BRANCHES
    for branch in BRANCHES:
        assert any(f".branches.{branch}." in name for name in reached) == (branch in named)
    for name in projectors:
        assert any(one.startswith(f"projectors.{name}.") for one in reached)


def test_collossl_reads_a_branch_of_every_device() -> None:
    data, one = batch(), latents()
    both = term("collossl", criterion={"by": "embedding", "weights": "none"}, branches=["cnn"], anchor="arm")
    torch.manual_seed(0)
    loss, _ = contrast_loss(both, [one], data, signal=SIGNAL)
    alone = DeviceLatents(one.seq, "mean", of_device={name: one.of("cnn", name) for name in DEVICES}, fuse=side_by_side)
    torch.manual_seed(0)
    wanted, _ = contrast_loss(both.model_copy(update={"branches": None}), [alone], data, signal=SIGNAL)
    assert float(loss) == pytest.approx(float(wanted), abs=1e-12)


def test_terms_and_encoders_have_to_fit() -> None:
    across_branch = term(across="branch", project={"cnn": "p", "trf": "q"})
    with pytest.raises(UsageError, match="different width: cnn of arm 6, trf of arm 8"):
        build(term(across="branch"))
    with pytest.raises(UsageError, match="cnn of arm 3, trf of arm 4"):
        build(across_branch, p=3, q=4)
    with pytest.raises(UsageError, match="reads differs in width"):
        build(term(branches=["cnn", "trf"], project="p"), p=3)
    with pytest.raises(UsageError, match="reads branches lstm, and the encoder has cnn, trf"):
        build(term(branches=["lstm"]))
    with pytest.raises(UsageError, match="reads devices nose, and the encoder has arm, leg, hip"):
        build(term(across="branch", devices=["nose"], project={"cnn": "p", "trf": "q"}), p=3, q=3)
    with pytest.raises(UsageError, match="reads devices apart, and this encoder has none"):
        build(term(branches=["cnn"]), encoder=PAIR)
    with pytest.raises(UsageError, match="reads devices apart, and this encoder has none"):
        build(term(across="branch", stack=["device"], project={"cnn": "p", "trf": "q"}), encoder=PAIR, p=3, q=3)
    build(across_branch, devices=("leg",), p=3, q=3)  # one device has two branches
    with pytest.raises(UsageError, match="reads devices leg, and the encoder has leg"):
        build(term(), devices=("leg",))
    with pytest.raises(ValidationError, match="each once"):
        term(stack=["view", "view"])
    with pytest.raises(ValidationError, match="compares whole windows"):
        term("mv-dhel", stack=["branch"])
    # A projector for each device reads what both branches of it say.
    model = build(term(project={"arm": "p", "leg": "p", "hip": "p"}), p=3)
    assert model.dims_of(comparisons(term(), BRANCHES, DEVICES)[0][0][0]) == (6, 14)


def test_a_view_of_another_class_is_left_out_of_stacked_devices_too() -> None:
    data, one, other = batch(), latents(0), latents(1)
    mirrored = View(data.x, target=1 - data.label, relabelled=torch.ones(N, dtype=torch.bool))
    keys: dict[str, Any] = {"views": ["raw", "mirrored"], "across": "view", "stack": ["device"]}
    loss, lost = contrast_loss(term(**keys), [one, other], data, None, [View(data.x), mirrored])
    assert float(loss) == 0
    assert lost == 3 * N
    same = replace(mirrored, target=data.label)
    loss, lost = contrast_loss(term(**keys), [one, other], data, None, [View(data.x), same])
    assert float(loss) > 0
    assert lost == 0
