"""Terms across views and branches: what is compared, what is stacked, and which pairs follow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import nn

from biocl.encoders.dual import FusedLatents, side_by_side
from biocl.encoders.latents import Latents
from biocl.encoders.spec import EncoderSpec
from biocl.errors import UsageError
from biocl.objectives.alignment import alignment
from biocl.objectives.batch import Batch
from biocl.objectives.comparisons import comparisons
from biocl.objectives.contradictions import contradictions
from biocl.objectives.contrast import contrast_loss
from biocl.objectives.model import Model
from biocl.objectives.spec import ContrastTerm, ProjectorSpec
from biocl.views.view import View

N, D = 5, 7
VIEWS = ("raw", "time", "freq", "space")


def term(**keys: Any) -> ContrastTerm:
    return ContrastTerm(
        **{"relation": "same-sample", "criterion": {"name": "nt-xent", "temperature": 0.2}, "label": "one", **keys}
    )


def cross_view(**keys: Any) -> ContrastTerm:
    return term(**{"views": list(VIEWS), "anchor": "raw", "stack": ["branch"], "label": "cross-view", **keys})


def cross_model(**keys: Any) -> ContrastTerm:
    return term(**{"views": list(VIEWS), "across": "branch", "stack": ["view"], "label": "cross-model", **keys})


def batch(n: int = N) -> Batch:
    ids = torch.arange(n)
    return Batch(
        x=torch.zeros(n, 1, 4),
        recording=ids,
        patient=ids // 2,
        trial=ids,
        start=ids,
        length=torch.ones_like(ids),
        label=ids % 2,
    )


def table(seed: int = 0, n: int = N, views: int = 4, width: int = D) -> list[FusedLatents]:
    draw = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(views):
        f, z = (Latents(torch.randn(n, 1, width, generator=draw, dtype=torch.float64), "mean") for _ in range(2))
        out.append(FusedLatents(f.seq, "mean", of_branch={"cnn": f, "transformer": z}, fuse=side_by_side))
    return out


def slow_nt_xent(first: torch.Tensor, second: torch.Tensor, hidden: torch.Tensor | None = None) -> float:
    """Row by row from the definition; `hidden` (n, n) marks items that are no negatives of each other."""
    rows = F.normalize(torch.cat([first, second]).detach(), dim=1)
    n = len(first)
    losses = []
    for k in range(2 * n):
        own = (k + n) % (2 * n)
        scores = []
        for m in range(2 * n):
            if m == k or (m != own and hidden is not None and bool(hidden[k % n, m % n])):
                continue
            scores.append(float(rows[k] @ rows[m]) / 0.2)
        losses.append(torch.tensor(scores, dtype=torch.float64).logsumexp(0).item() - float(rows[k] @ rows[own]) / 0.2)
    return sum(losses) / len(losses)


def test_the_comparisons_of_a_term() -> None:
    def named(one: ContrastTerm) -> list[list[str]]:
        """Each comparison as its sides: view letter and branch, stacked entries side by side."""
        return [
            [" ".join(f"{one.views[entry.view]}{entry.branch or ''}" for entry in side) for side in sides]
            for sides in comparisons(one, ["p", "q"])
        ]

    assert named(term(views=["a", "b"])) == [["a", "b"]]
    assert named(term(views=["a", "b", "c"], anchor="a")) == [["a", "b"], ["a", "c"]]
    assert named(term(views=["a", "b", "c"])) == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert named(term(views=["a", "b"], branches=["p", "q"])) == [["ap", "bp"], ["aq", "bq"]]
    assert named(term(views=["a", "b"], branches=["q"])) == [["aq", "bq"]]
    assert named(term(views=["a", "b"], stack=["branch"])) == [["ap aq", "bp bq"]]
    assert named(term(views=["a", "b"], across="branch")) == [["ap", "aq"], ["bp", "bq"]]
    assert named(term(views=["a", "b"], across="branch", stack=["view"])) == [["ap bp", "aq bq"]]
    three = [["ap", "aq"], ["ap", "ar"]]
    assert [
        [f"a{side[0].branch}" for side in sides]
        for sides in comparisons(term(views=["a"], across="branch", branches=["p", "q", "r"], anchor="p"), [])
    ] == three
    alone = term(views=["a"], relation="same-patient", criterion={"name": "sup-con"})
    assert named(alone) == [["a"]]
    drawn_twice = term(views=["a", "a"], redraw_dropout=True)
    assert [[entry.view for side in sides for entry in side] for sides in comparisons(drawn_twice, [])] == [[0, 1]]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), n=st.integers(1, 6))
def test_stacked_branches_and_views_are_nt_xent_on_the_joined_batch(seed: int, n: int) -> None:
    """MVCNet's two losses with every other row as a negative, as published (ignore: [])."""
    latents, data = table(seed, n), batch(n)
    f = [one.branches["cnn"].vec for one in latents]
    z = [one.branches["transformer"].vec for one in latents]
    loss, skipped = contrast_loss(cross_view(ignore=[]), latents, data)
    slow = [slow_nt_xent(torch.cat([f[0], z[0]]), torch.cat([f[v], z[v]])) for v in (1, 2, 3)]
    assert float(loss) == pytest.approx(sum(slow) / 3, abs=1e-9)
    assert skipped == 0
    loss, _ = contrast_loss(cross_model(ignore=[]), latents, data)
    assert float(loss) == pytest.approx(slow_nt_xent(torch.cat(f), torch.cat(z)), abs=1e-9)


def test_what_is_stacked_of_one_window_is_no_negative_by_default() -> None:
    latents, data = table(), batch()
    own = torch.eye(N, dtype=torch.bool)
    f = [one.branches["cnn"].vec for one in latents]
    z = [one.branches["transformer"].vec for one in latents]
    loss, _ = contrast_loss(cross_view(views=["raw", "time"]), latents[:2], data)
    hidden = own.repeat(2, 2)
    assert float(loss) == pytest.approx(slow_nt_xent(torch.cat([f[0], z[0]]), torch.cat([f[1], z[1]]), hidden), 1e-9)
    loss, _ = contrast_loss(cross_model(), latents, data)
    assert float(loss) == pytest.approx(slow_nt_xent(torch.cat(f), torch.cat(z), own.repeat(4, 4)), abs=1e-9)
    assert float(loss) < float(contrast_loss(cross_model(ignore=[]), latents, data)[0])
    # Windows whose trial nobody knows overlap with themselves all the same.
    unknown = replace(data, trial=torch.full_like(data.trial, -1))
    assert float(contrast_loss(cross_model(), latents, unknown)[0]) == float(loss)


def test_without_stack_each_branch_or_view_is_compared_in_its_own_batch() -> None:
    latents, data = table(), batch()
    f = [one.branches["cnn"].vec for one in latents]
    z = [one.branches["transformer"].vec for one in latents]
    loss, _ = contrast_loss(term(views=["raw", "time"], branches=["cnn", "transformer"]), latents[:2], data)
    assert float(loss) == pytest.approx((slow_nt_xent(f[0], f[1]) + slow_nt_xent(z[0], z[1])) / 2, abs=1e-9)
    loss, _ = contrast_loss(term(views=["raw", "time"], across="branch"), latents[:2], data)
    assert float(loss) == pytest.approx((slow_nt_xent(f[0], z[0]) + slow_nt_xent(f[1], z[1])) / 2, abs=1e-9)
    # A term that names no branch reads what both say together.
    loss, _ = contrast_loss(term(views=["raw", "time"]), latents[:2], data)
    assert float(loss) == pytest.approx(
        slow_nt_xent(torch.cat([f[0], z[0]], dim=1), torch.cat([f[1], z[1]], dim=1)), abs=1e-9
    )


def test_each_branch_may_have_a_projector_of_its_own() -> None:
    latents, data = table(), batch()
    networks = {name: nn.Linear(D, 3).double() for name in ("cnn", "transformer")}
    loss, _ = contrast_loss(cross_model(ignore=[]), latents, data, networks)
    f = torch.cat([networks["cnn"](one.branches["cnn"].vec) for one in latents])
    z = torch.cat([networks["transformer"](one.branches["transformer"].vec) for one in latents])
    assert float(loss.detach()) == pytest.approx(slow_nt_xent(f, z), abs=1e-9)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(bool(one.weight.grad.abs().sum() > 0) for one in networks.values() if one.weight.grad is not None)
    # One without: its latents are compared as they are.
    widen = {"cnn": nn.Linear(D, D).double()}
    loss, _ = contrast_loss(cross_model(ignore=[]), latents, data, widen)
    f = torch.cat([widen["cnn"](one.branches["cnn"].vec) for one in latents])
    z = torch.cat([one.branches["transformer"].vec for one in latents])
    assert float(loss.detach()) == pytest.approx(slow_nt_xent(f, z), abs=1e-9)


def mirrored(data: Batch) -> View:
    return View(data.x, target=1 - data.label, relabelled=torch.ones(len(data.label), dtype=torch.bool))


def test_a_view_of_another_class_is_no_positive_across_views_but_is_across_branches() -> None:
    latents, data = table(), batch()
    plain = View(data.x)
    views = [plain, plain, plain, mirrored(data)]
    loss, lost = contrast_loss(cross_view(), latents, data, None, views)
    without, _ = contrast_loss(cross_view(views=list(VIEWS[:3])), latents[:3], data, None, views[:3])
    # The mirrored view says nothing, and does not make the others count less.
    assert float(loss) == pytest.approx(float(without), abs=1e-12)
    assert lost == 2 * N
    # Both branches read the mirrored view: they agree on what it shows.
    loss, lost = contrast_loss(cross_model(), latents, data, None, views)
    assert float(loss) == pytest.approx(float(contrast_loss(cross_model(), latents, data)[0]), abs=1e-12)
    assert lost == 0


def test_no_pair_is_pulled_by_one_of_mvcnets_terms_and_pushed_by_the_other() -> None:
    data = batch()
    plain = View(data.x)
    views = {"raw": plain, "time": plain, "freq": plain, "space": mirrored(data)}
    branches = ["cnn", "transformer"]
    assert contradictions([cross_view(), cross_model()], data, branches, views) == []
    published = [cross_view(ignore=[]), cross_model(ignore=[])]
    found = {(pulling, pushing): share for pulling, pushing, share in contradictions(published, data, branches, views)}
    # Every positive of the one is a negative of the other: (f, z) of a view; and two views of one branch.
    assert found == {("cross-view", "cross-model"): 1.0, ("cross-model", "cross-view"): 1.0}
    # Heeding only one of the two leaves half of the quarrel.
    half = contradictions([cross_view(), cross_model(ignore=[])], data, branches, views)
    assert [(pulling, pushing) for pulling, pushing, _ in half] == [("cross-view", "cross-model")]


def test_alignment_is_over_all_comparisons() -> None:
    data = batch()
    latents = table()
    same = [latents[0], latents[0], latents[1]]
    positive, negative = alignment(term(views=["raw", "time", "freq"], anchor="raw", stack=["branch"]), same, data)
    f, z = (torch.cat([one.branches[b].vec for one in latents[:2]]).view(2, N, D) for b in ("cnn", "transformer"))
    cosine = [F.cosine_similarity(one[0], one[1], dim=1).mean() for one in (f, z)]
    assert positive == pytest.approx((1 + float(sum(cosine) / 2)) / 2, abs=1e-6)
    assert -1 < negative < positive


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"across": "branch", "stack": ["branch"]}, "does not go with across: branch"),
        ({"stack": ["view"]}, "does not go with across: view"),
        ({"branches": ["cnn"], "across": "branch"}, "compares two of them at least"),
        ({"anchor": "other"}, "the anchor 'other'"),
        ({"branches": ["cnn", "cnn"]}, "branches names cnn twice"),
        ({"views": ["raw", "raw"]}, "views names raw twice"),
        ({"views": ["raw", "raw"], "across": "branch", "redraw_dropout": True}, "views names raw twice"),
        ({"across": "branch", "read": "seq"}, "read: vec"),
        ({"project": {"cnn": "one"}}, "project by branch needs"),
        ({"views": ["raw"]}, "nt-xent needs two views"),
    ],
)
def test_terms_that_compare_nothing_are_refused(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        term(**{"views": ["raw", "time"], **keys})


DUAL = TypeAdapter(EncoderSpec).validate_python(
    {
        "dual": {
            "cnn": {"name": "dilated-cnn", "depth": 1, "hidden_dim": 4, "embed_dim": 6, "pool": "max"},
            "transformer": {"name": "dilated-cnn", "depth": 1, "hidden_dim": 4, "embed_dim": 8, "pool": "max"},
        },
        "fusion": "concat",
    }
)
ONE = TypeAdapter(EncoderSpec).validate_python({"name": "dilated-cnn", "depth": 1, "hidden_dim": 4, "embed_dim": 6})


def build(spec: Any, *terms: ContrastTerm, **projectors: int) -> Model:
    made = {name: ProjectorSpec(hidden_dim=4, out_dim=width) for name, width in projectors.items()}
    return Model(spec, n_chans=2, n_times=32, sfreq=100.0, projectors=made, terms=terms)


def test_branches_of_different_width_need_projectors_to_one_width() -> None:
    with pytest.raises(UsageError, match="different width: cnn 6, transformer 8"):
        build(DUAL, cross_model())
    with pytest.raises(UsageError, match="reads differs in width"):
        build(DUAL, cross_model(project="p"), p=3)
    both = {"cnn": "p", "transformer": "q"}
    with pytest.raises(UsageError, match="cnn 3, transformer 4"):
        build(DUAL, cross_model(project=both), p=3, q=4)
    model = build(DUAL, cross_model(project=both), cross_view(project=both, label="other"), p=3, q=3)
    latents = [model.latents(model.trunk(View(torch.randn(N, 2, 32))), View(torch.zeros(N, 2, 32))) for _ in VIEWS]
    loss, _ = contrast_loss(cross_model(project=both), latents, batch(), model.projector_of(cross_model(project=both)))
    loss.backward()  # type: ignore[no-untyped-call]
    reached = {name for name, value in model.named_parameters() if value.grad is not None}
    assert any(name.startswith("encoder.branches.cnn") for name in reached)
    assert any(name.startswith("encoder.branches.transformer") for name in reached)
    # Each branch against itself needs no common width.
    build(DUAL, term(views=["raw", "time"], branches=["cnn", "transformer"]))


def test_branches_that_the_encoder_does_not_have_are_refused() -> None:
    with pytest.raises(UsageError, match="the encoder has main"):
        build(ONE, cross_model())
    with pytest.raises(UsageError, match="reads branches lstm"):
        build(DUAL, term(views=["raw", "time"], branches=["lstm"]))
    build(ONE, term(views=["raw", "time"]))
