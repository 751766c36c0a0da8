"""Terms that compare windows by a number: who is near, who takes no part, and which lines are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from biocl.config import load_experiment
from biocl.encoders.devices import DeviceLatents
from biocl.encoders.dual import side_by_side
from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.experiment import Experiment
from biocl.objectives import criteria, relations
from biocl.objectives.alignment import alignment
from biocl.objectives.batch import Batch
from biocl.objectives.contrast import contrast_loss
from biocl.objectives.pairs import window_pairs
from biocl.objectives.spec import ContrastTerm
from biocl.views.view import View

N = 8
NAN = float("nan")
TARGETS = [60.0, 62.0, 90.0, NAN, 61.0, 120.0, 91.5, NAN]
KNOWN = [0, 1, 2, 4, 5, 6]
SUPREMIX = {"name": "supremix", "n_negatives": 0, "n_positives": 0}
CRITERIA = [{"name": "sup-con"}, SUPREMIX, {"name": "rnc"}, {"name": "cwcl"}]
one_by_one = pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion["name"])


def batch(targets: list[float] = TARGETS) -> Batch:
    """Windows 0 and 1 overlap; 4 is of the same patient as they are."""
    ids = torch.arange(len(targets))
    start = ids * 100
    start[1] = 50
    return Batch(
        x=torch.zeros(len(ids), 1, 100),
        recording=torch.tensor([0, 0, 2, 3, 0, 5, 6, 7])[: len(ids)],
        patient=torch.tensor([0, 0, 2, 3, 0, 5, 6, 7])[: len(ids)],
        trial=ids,
        start=start,
        length=torch.full((len(ids),), 100),
        label=ids,
        target=torch.tensor(targets),
    )


def term(*views: str, **more: Any) -> ContrastTerm:
    return ContrastTerm(**{"views": list(views or ["a"]), "relation": "near-target", "near": 2.0, **more})


def latents(seed: int, n: int = N) -> Latents:
    return Latents(torch.randn(n, 1, 5, generator=torch.Generator().manual_seed(seed)).requires_grad_(), "mean")


def some(one: Latents, rows: list[int]) -> Latents:
    return Latents(one.seq.detach()[rows].requires_grad_(), "mean")


def of_rows(data: Batch, rows: list[int]) -> Batch:
    return replace(data, **{name: value[rows] for name, value in vars(data).items() if value is not None})


def test_who_is_near() -> None:
    target = torch.tensor([60.0, 62.0, 62.1, NAN, 60.0])
    assert relations.near(target, 2.0).nonzero().tolist() == [
        [0, 0], [0, 1], [0, 4], [1, 0], [1, 1], [1, 2], [1, 4], [2, 1], [2, 2], [4, 0], [4, 1], [4, 4],
    ]  # fmt: skip
    assert relations.near(target, 0.0).nonzero().tolist() == [[0, 0], [0, 4], [1, 1], [2, 2], [4, 0], [4, 4]]
    tenths = torch.tensor([70.1, 70.3])  # float32 has them 0.2000045 apart
    assert bool(relations.near(tenths, 0.2).all())


def test_pairs_of_near_targets() -> None:
    pairs = window_pairs(term(criterion={"name": "rnc"}), batch())
    # 0-1 overlap and are ignored; 3 and 7 are unknown.
    assert pairs.positive.nonzero().tolist() == [[0, 4], [1, 4], [2, 6], [4, 0], [4, 1], [6, 2]]
    unknown = torch.tensor([target != target for target in TARGETS])
    expected = unknown[:, None] | unknown[None]
    expected[0, 1] = expected[1, 0] = True
    expected.fill_diagonal_(False)
    assert torch.equal(pairs.ignored, expected)
    assert torch.equal(pairs.estranged, unknown)
    apart = window_pairs(term(criterion={"name": "rnc"}, ignore=["overlap", "same-patient"]), batch())
    assert apart.positive.nonzero().tolist() == [[2, 6], [6, 2]]


@one_by_one
@pytest.mark.parametrize("views", [["a"], ["a", "b"]], ids=len)
def test_unknown_targets_take_no_part(criterion: dict[str, Any], views: list[str]) -> None:
    line, sides = term(*views, criterion=criterion), [latents(seed) for seed in range(len(views))]
    loss, _ = contrast_loss(line, sides, batch())
    known = [some(one, KNOWN) for one in sides]
    torch.testing.assert_close(loss, contrast_loss(line, known, of_rows(batch(), KNOWN))[0])
    loss.backward()
    for one in sides:
        assert one.seq.grad is not None
        moved = one.seq.grad.abs().sum(dim=(1, 2)) > 0
        assert moved.tolist() == [target == target for target in TARGETS]


@one_by_one
def test_no_known_target_is_a_zero_with_a_graph(criterion: dict[str, Any]) -> None:
    sides = [latents(0), latents(1)]
    loss, _ = contrast_loss(term("a", "b", criterion=criterion), sides, batch([NAN] * N))
    loss.backward()
    assert float(loss.detach()) == 0
    assert sides[0].seq.grad is not None


def test_two_views_meet_as_one_batch() -> None:
    data, sides = of_rows(batch(), KNOWN), [some(latents(0), KNOWN), some(latents(1), KNOWN)]
    z, y = torch.cat([one.vec for one in sides]), data.target.repeat(2)
    overlapping = torch.zeros(6, 6, dtype=torch.bool)
    overlapping[0, 1] = overlapping[1, 0] = True
    ignore = overlapping.repeat(2, 2)
    positive = relations.near(y, 2.0)  # a window's other view is positive too
    pure = {
        "supremix": criteria.supremix(z, y, positive, ignore=ignore, n_negatives=0, n_positives=0)[0],
        "rnc": criteria.rank_n_contrast(z, y, ignore=ignore)[0],
    }
    for criterion in (SUPREMIX, {"name": "rnc"}):
        loss, _ = contrast_loss(term("a", "b", criterion=criterion), sides, data)
        torch.testing.assert_close(loss, pure[criterion["name"]])
    weights = criteria.target_weights(data.target, data.target, width=5.0)
    ways = [
        criteria.cwcl(one, other, weights, temperature=0.1, ignore=overlapping)[0]
        for one, other in ((sides[0].vec, sides[1].vec), (sides[1].vec, sides[0].vec))
    ]
    loss, _ = contrast_loss(term("a", "b", criterion={"name": "cwcl", "width": 5.0}), sides, data)
    torch.testing.assert_close(loss, (ways[0] + ways[1]) / 2)


def test_the_keys_reach_the_criterion() -> None:
    data, sides = of_rows(batch(), KNOWN), [some(latents(0), KNOWN)]
    z, y = sides[0].vec, data.target
    ignore = torch.zeros(6, 6, dtype=torch.bool)
    ignore[0, 1] = ignore[1, 0] = True
    keys = {"temperature": 0.5, "reach": 40.0, "unit": 10.0, "weights": "distance", "n_negatives": 3, "n_positives": 2}
    torch.manual_seed(0)
    loss, _ = contrast_loss(term(criterion={"name": "supremix", "share": [5, 5], **keys}), sides, data)
    torch.manual_seed(0)
    expected, info = criteria.supremix(z, y, relations.near(y, 2.0), share=(5.0, 5.0), ignore=ignore, **keys)
    torch.testing.assert_close(loss, expected)
    assert info["mixed_positives"]
    assert info["mixed_negatives"] == 18
    for name, keys in (("rnc", {"temperature": 0.4, "similarity": "cosine"}), ("cwcl", {"temperature": 0.4})):
        loss, _ = contrast_loss(term(criterion={"name": name, **keys}), sides, data)
        if name == "rnc":
            expected = criteria.rank_n_contrast(z, y, ignore=ignore, **keys)[0]
        else:
            off = ignore | torch.eye(6, dtype=torch.bool)
            expected = criteria.cwcl(z, z, criteria.target_weights(y, y, width=5.0), ignore=off, **keys)[0]
        torch.testing.assert_close(loss, expected)


def test_alignment_of_near_and_of_other_windows() -> None:
    """Embeddings on a quarter circle by heart rate: near ones are alike, and those that are unknown do not count."""
    data = batch()
    angle = (data.target.nan_to_num(1000) - 60) / 60 * torch.pi / 2
    seq = torch.stack([angle.cos(), angle.sin()], dim=1)[:, None]
    line = term(criterion=SUPREMIX)
    positive, negative = alignment(line, [Latents(seq, "mean")], data)
    assert positive > 0.99 > 0.9 > negative
    cosine = angle[KNOWN][:, None].sub(angle[KNOWN]).cos()
    pairs = window_pairs(line, of_rows(data, KNOWN))
    assert positive == pytest.approx(float(cosine[pairs.positive].mean()), abs=1e-5)
    assert negative == pytest.approx(float(cosine[pairs.negative].mean()), abs=1e-5)


def test_a_device_that_is_missing_leaves_the_others_comparable() -> None:
    data = batch()
    present = torch.ones(N, 2, dtype=torch.bool)
    present[2, 0] = False
    view = View(data.x, target=data.label, present=present)
    each = {name: some(latents(seed), list(range(N))) for seed, name in enumerate(("arm", "hip"))}
    whole = DeviceLatents(each["arm"].seq, "mean", of_device=each, fuse=side_by_side)
    line = term("a", across="device", criterion=SUPREMIX)
    loss, _ = contrast_loss(line, [whole], data, None, [view])
    keep = [0, 1, 4, 5, 6]
    pair = term("a", "b", criterion=SUPREMIX)
    fewer, _ = contrast_loss(pair, [some(one, keep) for one in each.values()], of_rows(data, keep))
    torch.testing.assert_close(loss, fewer)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"criterion": {"name": "nt-xent"}, "views": ["a", "b"]}, "use sup-con for .* near-target"),
        ({"criterion": {"name": "comet-id"}, "views": ["a", "b"]}, "near-target needs"),
        ({"criterion": {"name": "sup-con"}, "read": "seq"}, "read: vec"),
        ({"criterion": {"name": "rnc"}, "relation": "same-patient"}, "rnc needs relation near-target"),
        ({"criterion": {"name": "cwcl"}, "read": "seq"}, "cwcl needs"),
        ({"criterion": {"name": "sup-con"}, "relation": "same-trial"}, "near is the largest difference"),
        ({"criterion": {"name": "supremix", "reach": 0}}, "reach"),
    ],
)
def test_lines_that_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TypeAdapter(ContrastTerm).validate_python({"views": ["a"], "relation": "near-target", "near": 1.0, **keys})


def experiment(**keys: Any) -> Experiment:
    own = load_experiment(Path("demo")).model_dump(mode="json", by_alias=True, exclude_unset=True)
    line = {"relation": "near-target", "views": ["clean"], "near": 2, "criterion": {"name": "supremix"}}
    return Experiment.model_validate({**own, "terms": [line], **keys})


def test_the_relation_needs_a_target() -> None:
    data = load_experiment(Path("demo")).data.model_dump(mode="json", exclude_unset=True)
    with pytest.raises(ValidationError, match=r"data\.target"):
        experiment()
    assert experiment(data={**data, "target": {"kind": "heart-rate"}}).terms[0].title == "near-target"
    warped = {"clean": [{"time-warp": 0.2}]}
    with pytest.raises(ValidationError, match="heart rate, which time-warp in the view clean changes"):
        experiment(data={**data, "target": {"kind": "heart-rate"}}, views=warped)
    assert experiment(data={**data, "target": {"kind": "label", "name": "age"}}, views=warped).data.target


def test_refusals_are_one_paragraph(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.target"):
        load_experiment(Path("demo"), ["terms=[{relation: near-target, views: [clean], criterion: {name: rnc}}]"])
