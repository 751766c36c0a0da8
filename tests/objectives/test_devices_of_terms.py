"""Terms across devices: who is compared, which moments meet, and what a missing device changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

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
from biocl.objectives.spec import ContrastTerm
from biocl.objectives.terms import step_loss
from biocl.objectives.view_rules import view_refusal
from biocl.signals.recording import Channel
from biocl.views.signal import SignalInfo
from biocl.views.spec import ViewSpec
from biocl.views.view import View

N, D = 8, 5
DEVICES = ("arm", "leg", "hip")
CHANNELS = tuple(
    Channel(f"{kind}_{axis}", kind, "m/s2", name)  # type: ignore[arg-type]
    for name in DEVICES
    for kind in ("acc", "gyr")
    for axis in "xyz"
)
SIGNAL = SignalInfo(50.0, CHANNELS)


def batch(n: int = N, n_times: int = 20) -> Batch:
    ids = torch.arange(n)
    x = torch.randn(n, len(CHANNELS), n_times, generator=torch.Generator().manual_seed(3))
    return Batch(x, ids // 4, ids // 4, ids, ids % 4 * n_times, torch.full_like(ids, n_times), ids % 2)


def latents(seed: int = 0, n: int = N) -> DeviceLatents:
    draw = torch.Generator().manual_seed(seed)
    own = {name: Latents(torch.randn(n, 1, D, generator=draw, dtype=torch.float64), "mean") for name in DEVICES}
    return DeviceLatents(own["arm"].seq, "mean", of_device=own, fuse=side_by_side)


def term(name: str = "nt-xent", **keys: Any) -> ContrastTerm:
    criterion = {"name": name, **keys.pop("criterion", {})}
    return ContrastTerm(
        **{"views": ["raw"], "across": "device", "relation": "same-sample", "criterion": criterion, **keys}
    )


def view(data: Batch, present: torch.Tensor | None = None) -> View:
    return View(data.x, present=present)


def table(one: DeviceLatents) -> torch.Tensor:
    return torch.stack([one.devices[name].vec for name in DEVICES])


def test_devices_are_compared_two_by_two_or_all_at_once() -> None:
    def named(one: ContrastTerm) -> list[list[str]]:
        return [
            [str(entry.device) for side in sides for entry in side] for sides in comparisons(one, ["main"], DEVICES)
        ]

    assert named(term()) == [["arm", "leg"], ["arm", "hip"], ["leg", "hip"]]
    assert named(term(anchor="leg")) == [["leg", "arm"], ["leg", "hip"]]
    assert named(term(devices=["hip", "arm"])) == [["hip", "arm"]]
    assert named(term("mv-dhel")) == [list(DEVICES)]
    assert named(term("cocoa", devices=["arm", "hip"])) == [["arm", "hip"]]
    views = ContrastTerm(views=["a", "b", "c"], relation="same-sample", criterion={"name": "mv-infonce"})  # type: ignore[arg-type]
    assert [[entry.view for side in sides for entry in side] for sides in comparisons(views, ["main"])] == [[0, 1, 2]]


@pytest.mark.parametrize("name", ["mv-infonce", "mv-dhel", "cocoa"])
def test_criteria_over_all_devices_are_the_functions(name: str) -> None:
    data, one = batch(), latents()
    loss, skipped = contrast_loss(term(name), [one], data, None, [view(data)])
    function = {"mv-infonce": criteria.mv_info_nce, "mv-dhel": criteria.mv_dhel, "cocoa": criteria.cocoa}[name]
    temperature = 0.1 if name == "cocoa" else 0.5
    assert float(loss) == pytest.approx(float(function(table(one), temperature=temperature)[0]), abs=1e-12)
    assert skipped == 0
    # Windows of one trial are no negatives, as everywhere.
    together = replace(data, trial=data.trial // 2)
    hidden = together.trial[:, None] == together.trial[None]
    wanted, _ = function(table(one), temperature=temperature, ignore=hidden & ~torch.eye(N, dtype=torch.bool))
    assert float(contrast_loss(term(name), [one], together)[0]) == pytest.approx(float(wanted), abs=1e-12)
    assert float(wanted) != pytest.approx(float(loss), abs=1e-6)


@pytest.mark.parametrize("name", ["nt-xent", "mv-infonce", "mv-dhel", "cocoa"])
def test_a_device_that_nobody_wears_leaves_the_loss_of_the_others(name: str) -> None:
    data, one = batch(), latents()
    present = torch.ones(N, 3, dtype=torch.bool)
    present[:, 1] = False
    without, _ = contrast_loss(term(name, devices=["arm", "hip"]), [one], data)
    loss, _ = contrast_loss(term(name), [one], data, None, [view(data, present)])
    assert float(loss) == pytest.approx(float(without), abs=1e-12)
    assert alignment(term(name), [one], data, None, [view(data, present)]) == pytest.approx(
        alignment(term(name, devices=["arm", "hip"]), [one], data), abs=1e-6
    )


def test_two_devices_are_compared_over_the_windows_that_have_both() -> None:
    data, one = batch(), latents()
    present = torch.ones(N, 3, dtype=torch.bool)
    present[:3, 0] = False
    few = replace(data, **{name: value[3:] for name, value in vars(data).items() if value is not None})
    part = DeviceLatents(
        one.seq[3:],
        "mean",
        of_device={name: Latents(one.devices[name].seq[3:], "mean") for name in DEVICES},
        fuse=side_by_side,
    )
    loss, _ = contrast_loss(term(devices=["arm", "leg"]), [one], data, None, [view(data, present)])
    wanted, _ = contrast_loss(term(devices=["arm", "leg"]), [part], few)
    assert float(loss) == pytest.approx(float(wanted), abs=1e-12)
    present[:, 0] = False
    loss, _ = contrast_loss(term(devices=["arm", "leg"]), [one], data, None, [view(data, present)])
    assert float(loss) == 0


def test_collossl_of_an_anchor() -> None:
    """Nearest device by the magnitude of its signals; negatives never at the anchor's moment."""
    data, one = batch(), latents()
    x = data.x.clone()
    x[:, 12:15] = x[:, :3] * 1.01  # hip moves as arm does
    x[:, 6:9] *= 5
    data = replace(data, x=x)
    keys: dict[str, Any] = {"weights": "none", "choose": "closest-positive-rest-negative"}
    torch.manual_seed(0)
    loss, _ = contrast_loss(
        term("collossl", anchor="arm", criterion=keys), [one], data, None, [view(data)], signal=SIGNAL
    )
    # The loss lies between those of the best and the worst moments of the leg.
    z = {name: torch.nn.functional.normalize(one.devices[name].vec, dim=1) for name in DEVICES}
    own = (z["arm"] * z["hip"]).sum(dim=1) / 0.05
    others = (z["arm"] @ z["leg"].T / 0.05).masked_fill(torch.eye(N, dtype=torch.bool), float("nan"))
    bounds = [
        torch.nn.functional.softplus(torch.tensor([pick(row[~row.isnan()]) for row in others]) - own).mean()
        for pick in (min, max)
    ]
    assert float(bounds[0]) < float(loss) < float(bounds[1])
    # Draws follow torch's stream, which the training loop seeds.
    torch.manual_seed(0)
    again, _ = contrast_loss(
        term("collossl", anchor="arm", criterion=keys), [one], data, None, [view(data)], signal=SIGNAL
    )
    assert float(again) == float(loss)
    # Every device as the anchor, by default.
    torch.manual_seed(0)
    every, _ = contrast_loss(term("collossl", criterion=keys), [one], data, None, [view(data)], signal=SIGNAL)
    assert float(every) != float(loss)
    with pytest.raises(UsageError, match="whose"):
        contrast_loss(term("collossl"), [one], data)
    torch.manual_seed(0)
    by_embedding = contrast_loss(term("collossl", criterion={"by": "embedding"}), [one], data)[0]
    assert torch.isfinite(by_embedding)


def test_the_released_sign_pulls_other_moments_together() -> None:
    data = batch()
    z = latents().devices["arm"].seq
    equal = DeviceLatents(z, "mean", of_device={name: Latents(z, "mean") for name in DEVICES}, fuse=side_by_side)
    losses = []
    for sign in ("paper", "released"):
        torch.manual_seed(0)
        one = term("collossl", criterion={"sign": sign, "by": "embedding", "weights": "none"})
        losses.append(float(contrast_loss(one, [equal], data)[0]))
    assert losses[0] < losses[1]  # aligned moments agree perfectly, which the released loss calls bad


EACH = {"each": {"name": "dilated-cnn", "depth": 1, "hidden_dim": 4, "embed_dim": 6, "pool": "max"}}


def build(spec: dict[str, Any], *terms: ContrastTerm) -> Model:
    return Model(
        TypeAdapter(EncoderSpec).validate_python(spec),
        n_chans=len(CHANNELS), n_times=20, sfreq=50.0, channels=CHANNELS, terms=terms,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["nt-xent", "mv-dhel", "cocoa", "collossl"])
def test_a_step_reaches_every_weight_with_devices_missing(name: str) -> None:
    data = batch()
    present = torch.rand(N, 3, generator=torch.Generator().manual_seed(0)) < 0.7
    one = term(name)
    model = build(EACH, one)
    views = {"raw": View(data.x, present=present)}
    out = step_loss(model, data, views, [one], signal=SIGNAL)
    out.total.backward()
    assert torch.isfinite(out.total)
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_terms_and_encoders_have_to_fit() -> None:
    plain = {"name": "dilated-cnn", "depth": 1, "hidden_dim": 4, "embed_dim": 6}
    with pytest.raises(UsageError, match="reads devices"):
        build(plain, term())
    with pytest.raises(UsageError, match="reads branches"):
        build(EACH, ContrastTerm(**{**term().model_dump(exclude={"across"}), "across": "branch"}))
    with pytest.raises(UsageError, match="reads devices nose"):
        build(EACH, term(devices=["arm", "nose"]))
    with pytest.raises(UsageError, match="reads branches cnn, transformer, and the encoder has main"):
        build(EACH, term(branches=["cnn", "transformer"]))
    with pytest.raises(ValidationError, match="compares whole windows"):
        term("mv-dhel", stack=["view"])
    with pytest.raises(ValidationError, match="two views, or across: device"):
        ContrastTerm(views=["raw"], relation="same-sample", criterion={"name": "cocoa"})  # type: ignore[arg-type]


def test_distances_are_those_of_the_view_that_is_compared() -> None:
    """A view whose devices were taken away does not tell the other view which device is near."""
    data, one = batch(), latents()
    dropped = View(torch.zeros_like(data.x))
    both = term("collossl", views=["dropped", "clean"], criterion={"weights": "none"}, anchor="arm")
    turned = term("collossl", views=["clean", "dropped"], criterion={"weights": "none"}, anchor="arm")
    torch.manual_seed(0)
    first, _ = contrast_loss(both, [one, one], data, None, [dropped, view(data)], signal=SIGNAL)
    alone = term("collossl", criterion={"weights": "none"}, anchor="arm")
    torch.manual_seed(0)
    of_dropped, _ = contrast_loss(alone, [one], data, None, [dropped], signal=SIGNAL)
    of_clean, _ = contrast_loss(alone, [one], data, None, [view(data)], signal=SIGNAL)
    assert float(first) == pytest.approx((float(of_dropped) + float(of_clean)) / 2, abs=1e-9)
    assert turned.views != both.views


def test_choices_that_need_more_devices_are_refused_before_anything_runs() -> None:
    one = term("collossl", criterion={"choose": "harder-negative"})
    with pytest.raises(UsageError, match="needs 5 of them, and there are 3"):
        build(EACH, one)
    with pytest.raises(ValidationError, match="needs across: device"):
        ContrastTerm(views=["a", "b"], relation="same-sample", criterion={"name": "collossl"})  # type: ignore[arg-type]


def test_a_relabelled_view_is_refused_where_all_are_read_at_once() -> None:
    views: Any = {"raw": [], "mirrored": ["reflect"]}
    specs = TypeAdapter(dict[str, ViewSpec]).validate_python(views)
    one = ContrastTerm(views=["raw", "mirrored"], relation="same-sample", criterion={"name": "mv-dhel"})  # type: ignore[arg-type]
    assert "changes: leave that view out" in str(view_refusal(one, specs))
    free = ContrastTerm(**{**one.model_dump(), "ignore": ["same-trial"]})
    assert view_refusal(free, specs) is None
    assert view_refusal(term("mv-dhel", views=["mirrored"]), specs) is None


def test_quarrels_of_three_devices_are_seen() -> None:
    data = batch()
    pulls = term("mv-dhel", label="pulls")
    pushes = ContrastTerm(
        **{**term().model_dump(), "across": "view", "views": ["raw", "other"], "stack": ["device"], "ignore": [],
           "label": "pushes"}
    )  # fmt: skip
    found = contradictions([pulls, pushes], data, ["main"], devices=DEVICES)
    assert ("pulls", "pushes") in [(pulling, pushing) for pulling, pushing, _ in found]
