"""Terms: a view is encoded once, weights act, zero switches a term off with its passes."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from biocl.encoders.latents import Latents
from biocl.encoders.spec import DilatedCNNSpec
from biocl.errors import UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import ClassificationTerm
from biocl.objectives.model import Model
from biocl.objectives.pairs import window_pairs
from biocl.objectives.spec import ContrastTerm, ProjectorSpec, Term
from biocl.objectives.terms import make_views, step_loss
from biocl.randomness import integer_seed
from biocl.views.spec import MaskStep

SPEC = DilatedCNNSpec(depth=2, hidden_dim=8, embed_dim=6)
MASK = MaskStep(mask="continuous")
VIEWS = {"clean": [], "masked_1": [MASK], "masked_2": [MASK]}
TERM = TypeAdapter(Term)
SEED_OF = partial(integer_seed, 1)


def comet_terms(**weights: float) -> list[Term]:
    masked = {"views": ["masked_1", "masked_2"], "read": "seq", "pool": "hierarchical-max"}
    clean = {"views": ["clean", "clean"], "redraw_dropout": True}
    dot = {"name": "nt-xent", "similarity": "dot", "temperature": 1.0}
    return [
        ContrastTerm(**masked, relation="same-time-step", criterion=dot, weight=weights.get("observation", 0.25)),
        ContrastTerm(**masked, relation="same-sample", criterion=dot, weight=weights.get("sample", 0.25)),
        ContrastTerm(**clean, relation="same-trial", criterion={"name": "sup-con"}, weight=weights.get("trial", 0.25)),
        ContrastTerm(
            **clean,
            relation="same-patient",
            criterion={"name": "sup-con"},
            weight=weights.get("patient", 0.25),
        ),
    ]


def batch(n: int = 12, n_times: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.arange(n)
    return Batch(
        x=torch.randn(n, 2, n_times, generator=generator),
        recording=ids // 4,
        patient=ids // 4,
        trial=ids // 2,
        start=ids * n_times,
        length=torch.full((n,), n_times),
        label=ids % 2,
    )


class CountingModel(Model):
    passes = 0

    def trunk(self, view):  # type: ignore[no-untyped-def]
        self.passes += 1
        return super().trunk(view)


def model(terms: list[Term], **more: object) -> CountingModel:
    torch.manual_seed(0)
    return CountingModel(SPEC, n_chans=2, terms=terms, n_outputs=2, **more)


def loss_of(net: CountingModel, terms: list[Term], data: Batch) -> tuple[float, dict[str, float]]:
    net.passes = 0
    views = make_views(data, VIEWS, terms, hidden_dim=8, generator=torch.Generator(), seed_of=SEED_OF)
    out = step_loss(
        net, data, views, terms, seed_dropout=lambda name: torch.manual_seed(integer_seed(2, name)) and None
    )
    return float(out.total.detach()), out.terms


def test_a_view_that_several_terms_name_is_encoded_once() -> None:
    terms = comet_terms()
    net = model(terms)
    loss_of(net, terms, batch())
    assert net.passes == 3


def test_weights_scale_their_term_and_zero_removes_it_with_its_passes() -> None:
    net, data = model([]).eval(), batch()
    _, values = loss_of(net, comet_terms(), data)
    for name, relation in (
        ("observation", "same-time-step"),
        ("sample", "same-sample"),
        ("trial", "same-trial"),
    ):
        base, _ = loss_of(net, comet_terms(), data)
        raised, _ = loss_of(net, comet_terms(**{name: 0.75}), data)
        assert raised - base == pytest.approx(0.5 * values[relation], rel=1e-4)
    _, rest = loss_of(net, comet_terms(trial=0, patient=0), data)
    assert set(rest) == {"same-time-step", "same-sample"}
    assert net.passes == 2


def test_redrawn_dropout_differs_between_terms_and_needs_no_pass() -> None:
    terms = [
        ContrastTerm(
            views=["clean", "clean"],
            redraw_dropout=True,
            relation="same-trial",
            criterion={"name": "sup-con"},
            label=name,
        )
        for name in ("first", "second")
    ]
    net = model(terms)
    _, values = loss_of(net, terms, batch())
    assert net.passes == 1
    assert values["first"] != values["second"]
    net.eval()
    _, values = loss_of(net, terms, batch())
    assert values["first"] == pytest.approx(values["second"])


def test_no_shared_id_gives_a_zero_that_can_go_backward_and_is_counted() -> None:
    terms = [ContrastTerm(views=["clean"], relation="same-trial", criterion={"name": "sup-con"})]
    net, data = model(terms), batch()
    data = Batch(**{**data.__dict__, "trial": torch.arange(12)})
    views = make_views(data, VIEWS, terms, hidden_dim=8, generator=torch.Generator(), seed_of=SEED_OF)
    out = step_loss(net, data, views, terms)
    out.total.backward()
    assert float(out.total) == 0
    assert out.counts["same-trial/skipped"] == 12


def test_ignored_pairs_are_neither_positive_nor_negative() -> None:
    term = ContrastTerm(
        views=["masked_1", "masked_2"], relation="same-sample", criterion={"name": "nt-xent"}, read="vec"
    )
    data = batch()
    pairs = window_pairs(term, data)
    assert pairs.ignored[0, 1]
    assert pairs.negative[0, 2]
    own = ContrastTerm(**{**term.model_dump(), "ignore": ["other-patient"]})
    assert window_pairs(own, data).ignored[0].tolist() == [False] * 4 + [True] * 8
    patient = ContrastTerm(
        views=["clean"], relation="same-patient", criterion={"name": "sup-con"}, ignore=["same-trial"]
    )
    pairs = window_pairs(patient, data)
    assert pairs.positive[0].tolist() == [False, False, True, True] + [False] * 8
    for one in (pairs, window_pairs(own, data)):
        covered = one.positive.int() + one.negative.int() + one.ignored.int()
        assert torch.equal(covered, 1 - torch.eye(12, dtype=torch.int))


def test_switching_a_term_off_changes_no_draw_of_the_others() -> None:
    net, data = model([]), batch()
    _, all_terms = loss_of(net, comet_terms(), data)
    _, without_sample = loss_of(net, comet_terms(sample=0), data)
    _, without_trial = loss_of(net, comet_terms(trial=0), data)
    for rest in (without_sample, without_trial):
        assert all(all_terms[name] == value for name, value in rest.items())


def test_padded_windows_are_refused_by_terms_that_read_steps() -> None:
    data = batch()
    data = Batch(**{**data.__dict__, "valid": torch.arange(32).expand(12, 32) < 20})
    with pytest.raises(UsageError, match="padded"):
        loss_of(model([]), comet_terms(trial=0, patient=0), data)
    loss_of(model([]), comet_terms(observation=0, sample=0), data)


def test_alignment_sees_what_the_loss_sees() -> None:
    """Ignored pairs count on neither side, and comet-id is looked at through time courses."""
    from biocl.objectives.alignment import alignment
    from biocl.objectives.criteria import time_course

    data = batch(4)
    data = Batch(**{**data.__dict__, "patient": torch.zeros(4, dtype=torch.long)})
    seq = torch.tensor([[1.0, 0], [1, 0], [0, 1], [1, 0]])[:, None].expand(4, 3, 2)
    term = ContrastTerm(views=["a"], relation="same-patient", criterion={"name": "sup-con"}, ignore=["same-trial"])
    positive, negative = alignment(term, [Latents(seq, "mean")], data)
    assert positive == pytest.approx((0 + 1 + 0 + 1) / 4)  # pairs across the trials {0, 1} and {2, 3}
    assert negative != negative
    torch.manual_seed(0)
    first, second = torch.randn(4, 8, 3), torch.randn(4, 8, 3)
    released = ContrastTerm(views=["a", "b"], relation="same-trial", read="time-course", criterion={"name": "comet-id"})
    cosine = time_course(first) @ time_course(second).T
    positive, _ = alignment(released, [Latents(first, "max"), Latents(second, "max")], data)
    assert positive == pytest.approx(float((cosine[0, 1] + cosine[1, 0] + cosine[2, 3] + cosine[3, 2]) / 4), abs=1e-5)


def test_a_head_term_learns_from_labels_and_auxiliary_inputs() -> None:
    terms: list[Term] = [ClassificationTerm(head="classification")]
    net = model(terms, n_aux=1, projectors={"p": ProjectorSpec()})
    data = batch()
    data = Batch(**{**data.__dict__, "aux": data.label[:, None].float()})
    net.heads["classification"].fit_aux(data.aux)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(60):
        views = make_views(data, VIEWS, terms, hidden_dim=8, generator=torch.Generator(), seed_of=SEED_OF)
        out = step_loss(net, data, views, terms)
        optimiser.zero_grad()
        out.total.backward()
        optimiser.step()
    assert float(out.total) < 0.01


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (
            {"views": ["clean", "clean"], "relation": "same-trial", "criterion": {"name": "sup-con"}},
            "one draw",
        ),
        ({"views": ["a", "b"], "relation": "same-trial", "criterion": {"name": "nt-xent"}}, "use sup-con"),
        ({"views": ["a", "b"], "relation": "same-time-step", "criterion": {"name": "nt-xent"}}, "read: seq"),
        ({"views": ["a"], "relation": "same-sample", "criterion": {"name": "nt-xent"}}, "two views"),
        ({"views": ["a", "b"], "relation": "same-patient", "criterion": {"name": "comet-id"}}, "time-course"),
    ],
)
def test_a_term_that_makes_no_sense_is_refused(term: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TERM.validate_python(term)
