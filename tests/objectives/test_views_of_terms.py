"""What terms do with views whose time, padding or label is not the window's."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from biocl.config import load_experiment
from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.objectives.alignment import alignment
from biocl.objectives.batch import Batch
from biocl.objectives.contrast import contrast_loss
from biocl.objectives.pairs import Shown, label_changes, window_pairs
from biocl.objectives.spec import ContrastTerm
from biocl.objectives.terms import make_views
from biocl.objectives.view_rules import view_refusal
from biocl.randomness import integer_seed
from biocl.signals.recording import Channel
from biocl.views.signal import SignalInfo
from biocl.views.spec import ViewSpec
from biocl.views.view import View

N, T = 6, 20
SIGNAL = SignalInfo(
    100.0, tuple(Channel(name, "eeg", "uV") for name in ("C3", "C4")), ("feet", "left_hand", "right_hand")
)
VIEWS = TypeAdapter(dict[str, ViewSpec]).validate_python(
    {
        "raw": [],
        "back": ["reverse"],
        "cut": [{"permute": 4}],
        "warped": ["time-warp"],
        "cropped": ["crop"],
        "mirrored": ["reflect"],
    }
)


def batch() -> Batch:
    ids = torch.arange(N)
    return Batch(
        x=torch.randn(N, 2, T, generator=torch.Generator().manual_seed(0)),
        recording=ids,
        patient=ids // 3,
        trial=ids // 2,
        start=ids * T,
        length=torch.full((N,), T),
        label=torch.tensor([0, 1, 2, 1, 2, -1]),
    )


def term(*views: str, relation: str = "same-sample", **more: Any) -> ContrastTerm:
    criterion = {"name": "nt-xent" if relation in ("same-sample", "same-time-step") else "sup-con"}
    return ContrastTerm(**{"views": list(views), "relation": relation, "criterion": criterion, **more})


def views_of(one: ContrastTerm, data: Batch) -> list[View]:
    made = make_views(
        data,
        VIEWS,
        [one],
        hidden_dim=None,
        generator=torch.Generator(),
        seed_of=partial(integer_seed, 1),
        signal=SIGNAL,
    )
    return [made[name] for name in one.views]


def shown(views: list[View], data: Batch) -> list[Shown]:
    return [Shown.of([view], data) for view in views]


def steps_of(view: View) -> Latents:
    """An encoder that sees one step at a time."""
    x = view.x.transpose(1, 2)
    return Latents(torch.cat([x, x.square(), x.sin()], dim=2), "mean", view.valid)


def loss_of(one: ContrastTerm, data: Batch) -> tuple[float, int]:
    views = views_of(one, data)
    loss, skipped = contrast_loss(one, [steps_of(view) for view in views], data, None, views)
    return float(loss), skipped


@pytest.mark.parametrize("relation", ["same-time-step", "same-sample"])
@pytest.mark.parametrize("moved", ["back", "cut"])
@pytest.mark.parametrize("pool", ["none", "hierarchical-max"])
def test_steps_in_another_order_are_matched_by_the_step_they_show(relation: str, moved: str, pool: str) -> None:
    """For an encoder that sees single steps, moving steps is nothing at all."""
    data = batch()
    plain = ContrastTerm(
        **{**term("raw", "raw", relation=relation, read="seq", pool=pool, redraw_dropout=True).model_dump()}
    )
    there = term("raw", moved, relation=relation, read="seq", pool=pool)
    assert loss_of(there, data)[0] == pytest.approx(loss_of(plain, data)[0], rel=1e-5)
    views = views_of(there, data)
    unaware, _ = contrast_loss(there, [steps_of(view) for view in views], data)
    assert abs(float(unaware) - loss_of(there, data)[0]) > 0.05
    seen = alignment(there, [steps_of(view) for view in views], data, None, views)
    assert seen[0] == pytest.approx(1.0, abs=1e-5)


def test_views_without_a_place_for_every_step_are_refused_by_terms_that_compare_steps() -> None:
    data = batch()
    for name, why in (("warped", "between"), ("cropped", "padded")):
        for relation in ("same-time-step", "same-sample"):
            with pytest.raises(UsageError, match=why):
                loss_of(term("raw", name, relation=relation, read="seq"), data)
            assert view_refusal(term("raw", name, relation=relation, read="seq"), VIEWS) is not None
        assert loss_of(term("raw", name), data)[0] > 0
        assert view_refusal(term("raw", name), VIEWS) is None
    assert view_refusal(term("raw", "cut", relation="same-time-step", read="seq"), VIEWS) is None
    # One view compared with itself has its own steps on both sides.
    alone = term("warped", "warped", relation="same-time-step", read="seq", redraw_dropout=True)
    assert view_refusal(alone, VIEWS) is None
    assert loss_of(alone, data)[0] > 0


def test_a_sequence_of_other_steps_cannot_be_put_back_in_order() -> None:
    data = batch()
    one = term("raw", "back", relation="same-time-step", read="seq")
    views = views_of(one, data)
    with pytest.raises(UsageError, match="10 steps are not the window's 20"):
        contrast_loss(one, [Latents(steps_of(view).seq[:, ::2], "mean") for view in views], data, None, views)


def test_a_configuration_with_such_a_term_is_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError, match=r"terms\[0\] compares time steps, and time-warp in the view masked_1"):
        load_experiment(Path("demo"), ["views.masked_1=[time-warp]"])
    with pytest.raises(UsageError, match="leaves padding in the view masked_2"):
        load_experiment(Path("demo"), ["views.masked_2=[crop]"])
    load_experiment(Path("demo"), ["views.masked_1=[reverse, {mask: continuous}]"])
    released = ContrastTerm(
        views=["raw", "mirrored"], relation="same-trial", criterion={"name": "comet-id"}, read="time-course"
    )
    assert "reflect changes" in str(view_refusal(released, VIEWS))
    assert view_refusal(ContrastTerm(**{**released.model_dump(), "ignore": []}), VIEWS) is None


def test_a_reflected_view_is_no_positive_of_its_window_where_the_class_changes() -> None:
    data = batch()
    one = term("raw", "mirrored")
    views = views_of(one, data)
    pairs = window_pairs(one, data, shown(views, data))
    # feet stay feet; left and right change; nobody knows what the last window is.
    assert pairs.estranged.tolist() == [False, True, True, True, True, True]
    changed = label_changes(shown(views, data), N)
    for i in range(N):
        for j in range(N):
            label, mirrored = int(data.label[i]), {0: 0, 1: 2, 2: 1, -1: -1}[int(data.label[j])]
            moved = int(data.label[j]) != 0
            assert bool(changed[i, j]) == (moved and (label != mirrored or label < 0 or mirrored < 0))
    # The loss is that of the windows that keep their class; the others are counted.
    kept = [0]
    few = replace(data, **{name: getattr(data, name)[kept] for name in ("x", "patient", "trial", "start", "label")})
    few = replace(few, recording=data.recording[kept], length=data.length[kept])
    assert loss_of(one, data) == (pytest.approx(loss_of(one, few)[0], abs=1e-6), 5)
    free = term("raw", "mirrored", ignore=["same-trial", "overlap"])
    assert not window_pairs(free, data, shown(views, data)).estranged.any()
    assert loss_of(free, data)[1] == 0
    assert loss_of(free, data)[0] != pytest.approx(loss_of(one, data)[0])


def test_no_window_left_is_a_zero_that_can_go_backward() -> None:
    data = replace(batch(), label=torch.tensor([1, 2, 1, 2, 1, 2]))
    for relation, read in (("same-sample", "vec"), ("same-time-step", "seq"), ("same-sample", "seq")):
        one = term("raw", "mirrored", relation=relation, read=read)
        views = views_of(one, data)
        latents = [replace(made, steps=made.seq.requires_grad_()) for made in map(steps_of, views)]
        loss, lost = contrast_loss(one, latents, data, None, views)
        loss.backward()
        assert float(loss.detach()) == 0
        assert lost == N
        assert all(value != value or value <= 1 for value in alignment(one, latents, data, None, views))


def test_pairs_of_a_relation_heed_the_labels_that_views_carry() -> None:
    data = batch()
    one = term("raw", "mirrored", relation="same-patient", ignore=["label-change"])
    pairs = window_pairs(one, data, shown(views_of(one, data), data))
    alike = (data.patient[:, None] == data.patient[None]) & ~torch.eye(N, dtype=torch.bool)
    carried = {0: 0, 1: 2, 2: 1, -1: -1}
    for i in range(N):
        for j in range(N):
            if not alike[i, j]:
                continue
            label, other = int(data.label[i]), int(data.label[j])
            fits = other == 0 or (label == carried[other] and label >= 0)
            assert bool(pairs.positive[i, j]) == fits
            assert bool(pairs.ignored[i, j]) != fits
    # Windows of other patients stay negatives, whatever they show.
    assert torch.equal(pairs.negative, data.patient[:, None] != data.patient[None])
    inside = term("mirrored", relation="same-patient", ignore=["label-change"])
    assert not window_pairs(inside, data, shown(views_of(inside, data), data)).estranged.any()


def test_the_self_pair_of_a_reflected_window_is_not_positive_in_sup_con() -> None:
    data = replace(batch(), patient=torch.arange(N))
    criterion = {"name": "sup-con", "self_pair": "positive"}
    one = term("raw", "mirrored", relation="same-patient", criterion=criterion)
    assert loss_of(one, data)[1] == 2 * 5
    free = term("raw", "mirrored", relation="same-patient", criterion=criterion, ignore=[])
    assert loss_of(free, data)[1] == 0
