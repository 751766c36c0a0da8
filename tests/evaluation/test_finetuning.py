"""Fine-tuning: what it starts from, what it may train, whose windows and labels it may read, what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from biocl.commands.setup import Cohort
from biocl.encoders.spec import DilatedCNNSpec
from biocl.evaluation import finetuning
from biocl.evaluation.finetuning import Labelled, finetune_model, predict
from biocl.evaluation.metrics import classification_metrics
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import ClassificationTerm, HeadSpec
from biocl.objectives.model import Model
from biocl.training.data import Windows, embed
from biocl.training.spec import FinetuneSpec

CPU = torch.device("cpu")
CLASSES = ["k0", "k1", "k2"]
ENCODER = DilatedCNNSpec(depth=2, hidden_dim=4, embed_dim=5, dropout=0.0, pool="mean")
STILL = {"lr": 1e-30, "weight_decay": 0.0}
Log = list[tuple[int, dict[str, Any], dict[str, torch.Tensor]]]


def new_model(seed: int, terms: Any = ()) -> Model:
    torch.manual_seed(seed)
    return Model(ENCODER, n_chans=2, terms=terms, n_outputs=len(CLASSES), n_aux=2)


def spec_of(**keys: Any) -> FinetuneSpec:
    known = {"mode": "full", "max_steps": 1, "validate_every": 1, "batch_size": 64, "lr": 0.02}
    return FinetuneSpec(**{**known, "head": HeadSpec(kind="linear"), **keys})


def tuned(
    windows: Windows,
    parts: dict[str, np.ndarray],
    spec: FinetuneSpec,
    weights: dict[str, torch.Tensor] | None = None,
    seed: int = 0,
) -> tuple[Model, Log]:
    """A fine-tuned model, and the weights that it had at every line of the log."""
    built: list[Model] = []
    log: Log = []

    def build(terms: Any) -> Model:
        built.append(new_model(1, terms))
        return built[0]

    def on_log(step: int, values: Any) -> None:
        log.append((step, values, {name: value.clone() for name, value in built[0].state_dict().items()}))

    data = Labelled.make(windows, CLASSES)
    model = finetune_model(
        build, weights, data, parts["train"], parts["validation"], spec, seed=seed, device=CPU, on_log=on_log
    )
    return model, log


def encoder_of(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights.items() if name.startswith("encoder.")}


def all_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@dataclass(frozen=True)
class Guarded(Windows):
    """Windows of which some may not be read, as signals or as labels, and which note what was."""

    forbidden: frozenset[int] = frozenset()
    noted: Callable[[np.ndarray], None] = lambda rows: None

    def read(self, indices: np.ndarray) -> np.ndarray:
        assert not self.forbidden & set(np.asarray(indices).tolist())
        self.noted(indices)
        return super().read(indices)


def guarded(windows: Windows, forbidden: np.ndarray, seen: list[int]) -> Guarded:
    return Guarded(
        windows.store,
        windows.table,
        windows.scale,
        forbidden=frozenset(forbidden.tolist()),
        noted=lambda rows: seen.extend(rows.tolist()),
    )


@pytest.mark.parametrize("mode", ["partial", "full"])
def test_the_encoder_starts_from_the_pretrained_weights_or_from_its_own(small_cohort: Cohort, mode: str) -> None:
    spec = spec_of(mode=mode, **STILL)
    pretrained = new_model(7).state_dict()
    from_weights, _ = tuned(small_cohort.windows, small_cohort.parts(), spec, pretrained)
    assert all_equal(encoder_of(from_weights.state_dict()), encoder_of(pretrained))
    from_scratch, _ = tuned(small_cohort.windows, small_cohort.parts(), spec)
    assert all_equal(encoder_of(from_scratch.state_dict()), encoder_of(new_model(1).state_dict()))
    assert not from_weights.training


@pytest.mark.parametrize("n_blocks", [1, 2])
def test_partial_trains_the_head_and_the_last_blocks_alone(small_cohort: Cohort, n_blocks: int) -> None:
    pretrained = new_model(7).state_dict()
    spec = spec_of(mode="partial", n_blocks=n_blocks, max_steps=3, weight_decay=0.5)
    parts = {**small_cohort.parts(), "validation": np.empty(0, np.int64)}
    after = tuned(small_cohort.windows, parts, spec, pretrained)[0].state_dict()
    assert len(new_model(7).encoder.blocks) == 3
    last = tuple(f"encoder.blocks.{2 - i}." for i in range(n_blocks))
    for name, value in encoder_of(after).items():
        assert torch.equal(value, pretrained[name]) == (not name.startswith(last)), name
    head = "heads.classification.network.weight"
    assert not torch.equal(after[head], new_head()[head])


def new_head() -> dict[str, torch.Tensor]:
    term = ClassificationTerm(head="classification", views=["finetune"], network=HeadSpec(kind="linear"))
    return new_model(1, [term]).state_dict()


def test_full_trains_everything(small_cohort: Cohort) -> None:
    pretrained = new_model(7).state_dict()
    parts = {**small_cohort.parts(), "validation": np.empty(0, np.int64)}
    after = tuned(small_cohort.windows, parts, spec_of(max_steps=2), pretrained)[0].state_dict()
    assert not any(torch.equal(value, pretrained[name]) for name, value in encoder_of(after).items())


def test_the_best_weights_on_validation_patients_are_kept(small_cohort: Cohort) -> None:
    """The logged score is that of the validation patients, and what comes back is its maximum."""
    windows, parts = small_cohort.windows, small_cohort.parts()
    data, looked_at = Labelled.make(windows, CLASSES), parts["validation"]
    model, log = tuned(windows, parts, spec_of(max_steps=12, lr=0.1))
    looks = [(values["validation/macro_f1"], weights) for _, values, weights in log if "validation/macro_f1" in values]
    assert len(looks) == 12
    scores = [score for score, _ in looks]
    assert len(set(scores)) > 2
    assert all_equal(model.state_dict(), looks[int(np.argmax(scores))][1])
    copy = tuned(windows, parts, spec_of())[0]
    for score, weights in looks:
        copy.load_state_dict(weights)
        proba = predict(copy, data, looked_at, device=CPU)
        assert classification_metrics(data.labels(looked_at), proba, CLASSES)["macro_f1"] == pytest.approx(score)


def test_of_equal_scores_the_first_is_kept(small_cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.2, 0.5, 0.4, 0.5, 0.1])
    monkeypatch.setattr(finetuning, "classification_metrics", lambda y, proba, classes: {"macro_f1": next(scores)})
    model, log = tuned(small_cohort.windows, small_cohort.parts(), spec_of(max_steps=5))
    looks = [weights for _, values, weights in log if "validation/macro_f1" in values]
    assert all_equal(model.state_dict(), looks[1])


def test_without_validation_patients_the_last_weights_are_kept(small_cohort: Cohort) -> None:
    parts = {**small_cohort.parts(), "validation": np.empty(0, np.int64)}
    model, log = tuned(small_cohort.windows, parts, spec_of(max_steps=4))
    assert all_equal(model.state_dict(), log[-1][2])


def test_only_training_and_validation_windows_are_read(small_cohort: Cohort) -> None:
    parts, seen = small_cohort.parts(), []
    windows = guarded(small_cohort.windows, parts["test"], seen)
    labelled = {**parts, "train": parts["train"][::2]}
    tuned(windows, labelled, spec_of(max_steps=4))
    assert set(seen) == set(labelled["train"].tolist()) | set(parts["validation"].tolist())


def test_test_labels_and_unlabelled_training_rows_change_nothing(small_cohort: Cohort) -> None:
    parts = small_cohort.parts()
    labelled = {**parts, "train": parts["train"][::2]}
    others = np.setdiff1d(np.arange(len(small_cohort.windows)), [*labelled["train"], *parts["validation"]])
    table = small_cohort.windows.table
    rows, aux = table.rows.copy(), table.aux.copy()
    rows["label"][others] = (rows["label"][others] + 1) % 3
    aux[others] = 1e4
    changed = replace(small_cohort.windows, table=replace(table, rows=rows, aux=aux))
    first, second = (tuned(one, labelled, spec_of(max_steps=4))[0] for one in (small_cohort.windows, changed))
    assert all_equal(first.state_dict(), second.state_dict())


def test_auxiliary_inputs_are_scaled_by_the_labelled_training_windows(small_cohort: Cohort) -> None:
    parts = small_cohort.parts()
    labelled = {**parts, "train": parts["train"][::3]}
    head = tuned(small_cohort.windows, labelled, spec_of())[0].heads["classification"]
    aux = small_cohort.windows.table.aux[labelled["train"]].astype(np.float64)
    np.testing.assert_allclose(head.aux_mean.numpy(), aux.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(head.aux_std.numpy(), aux.std(axis=0, ddof=1), rtol=1e-5)
    # And the head reads them so scaled.
    batch: Batch = small_cohort.windows.batch(parts["test"][:5], CPU)
    vec = torch.randn(5, 5)
    scaled = torch.cat([vec, (batch.aux - head.aux_mean) / head.aux_std], dim=1)
    assert torch.allclose(head(vec, batch.aux), head.network(scaled))


@pytest.mark.parametrize("balance", ["balanced", "none"])
def test_class_weights_act_in_the_loss(small_cohort: Cohort, balance: str) -> None:
    """The first loss of a batch of all labelled windows, of which some are padded, by its definition."""
    windows, parts = padded(small_cohort.windows), small_cohort.parts()
    train = parts["train"]
    spec = spec_of(head=HeadSpec(kind="linear", class_weights=balance), batch_size=len(train), **STILL)
    model, log = tuned(windows, parts, spec)
    found = next(values["loss"] for _, values, _ in log if "loss" in values)
    data = Labelled.make(windows, CLASSES)
    batch = data.batch(train, CPU)
    with torch.no_grad():
        logits = model.heads["classification"](model(batch.x, batch.valid), batch.aux)
        unlike = model.heads["classification"](model(batch.x), batch.aux)
    assert not torch.allclose(logits, unlike, atol=1e-3)
    each = F.cross_entropy(logits, batch.label, reduction="none").numpy()
    y = data.labels(train)
    mean_of_class = [each[y == k].mean() for k in range(3)]
    expected = {"balanced": np.mean(mean_of_class), "none": each.mean()}
    assert abs(expected["balanced"] - expected["none"]) > 0.01
    assert found == pytest.approx(expected[balance], rel=1e-5)


def padded(windows: Windows) -> Windows:
    """The same windows, of which every third ends early."""
    rows = windows.table.rows.copy()
    rows["valid_length"][::3] = 11
    return replace(windows, table=replace(windows.table, rows=rows))


def test_predictions_are_those_of_the_head_on_the_embedding(small_cohort: Cohort) -> None:
    windows, test = padded(small_cohort.windows), small_cohort.parts()["test"]
    model = tuned(small_cohort.windows, small_cohort.parts(), spec_of())[0]
    vec = torch.from_numpy(embed(model, windows, test, device=CPU))
    with torch.no_grad():
        logits = model.heads["classification"](vec, torch.from_numpy(windows.table.aux[test]))
    proba = predict(model, Labelled.make(windows, CLASSES), test, device=CPU, batch_size=16)
    np.testing.assert_allclose(proba, logits.softmax(dim=1).numpy(), atol=1e-6)
    assert not model.training
