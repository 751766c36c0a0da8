"""Parts of a page: SVG that can stand beside others, tables taken apart, drawings, cards."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from biocl.evaluation.tables import markdown
from biocl.reports.blocks import blocks_of
from biocl.reports.card import ModelCard, card_text, cell, inert
from biocl.reports.curves import training_curves
from biocl.reports.flow import Fold, Study, patients_flow, protocol, wrapped
from biocl.reports.judged import Judged, calibration, confusion, each_patient, said_and_true
from biocl.reports.maps import principal
from biocl.reports.scores import beside_floors, label_efficiency
from biocl.reports.svg import canvas, inline

NAMES = ("<a href='x'>", "$\\frac{}$ & Co")


def drawn(name: str, label: str = "x") -> str:
    with canvas() as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], label=label)
        axes.legend()
        return inline(figure, name, f"Title of {label}")


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")]


def test_an_svg_is_well_formed_has_its_own_ids_and_no_date() -> None:
    one, other = drawn("one"), drawn("other")
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for svg, own in zip((one, other), ids, strict=True):
        assert set(re.findall(r"#([\w-]+)[\")]", re.sub(r"#[0-9a-f]{6}\b", "", svg))) <= own
        ElementTree.fromstring(svg)
        assert "metadata" not in svg
        assert "<style" not in svg
    assert one == drawn("one")


@pytest.mark.parametrize("label", [*NAMES, "a\x00b", "]]>", "-->", "%s {}"])
def test_names_in_a_figure_are_text(label: str) -> None:
    from biocl.reports.privacy import shown

    svg = drawn("figure", shown(label))
    assert shown(label) in texts(svg)


def judged(n: int, classes: tuple[str, ...]) -> Judged:
    rng = np.random.default_rng(0)
    y = np.arange(n) % len(classes)
    proba = rng.dirichlet(np.ones(len(classes)), size=(2, n)) + 0.5 * np.eye(len(classes))[y]
    people = np.array([f"pt-{i % 7}" for i in range(n)])
    return Judged("row <x>", y, proba / proba.sum(axis=2, keepdims=True), people, classes)


@pytest.mark.parametrize("classes", [NAMES, (*NAMES, "c"), tuple(f"k{i}" for i in range(14))])
def test_predictions_are_drawn_for_any_number_of_classes(classes: tuple[str, ...]) -> None:
    found = judged(210, classes)
    for figure in (confusion(found, "c", "run"), calibration(found, "k", "run")):
        ElementTree.fromstring(figure.svg)
        assert figure.caption
    counts = [int(text) for text in texts(confusion(found, "c", "run").svg) if text.isdigit()]
    if len(classes) <= 10:
        assert abs(sum(counts) - 210) <= len(classes) ** 2 / 2
    assert "has too many cells" in confusion(judged(100, tuple(f"k{i}" for i in range(50))), "c", "run").absent


def test_calibration_is_counted_by_hand() -> None:
    proba = np.array([[0.25, 0.75], [0.25, 0.75], [0.9, 0.1], [0.8, 0.2]])
    found = Judged("x", np.array([1, 0, 0, 0]), proba[None], np.array(["a", "b", "c", "d"]), ("no", "yes"))
    caption = calibration(found, "k", "run").caption
    error = (abs(0.5 - 0.75) * 2 + 0.1 + 0.2) / 4
    brier = (0.25**2 + 0.75**2 + 0.1**2 + 0.2**2) / 4
    assert f"Expected calibration error .{error * 1000:.0f}, Brier score .{brier * 1000:.0f}" in caption
    assert "bootstrap" not in caption  # four patients are too few
    scores = Judged("x", found.y, proba[None] * 3, found.patient, found.classes)
    assert "scores, not probabilities" in calibration(scores, "k", "run").absent


def test_patients_and_numbers() -> None:
    scores = {"ours": {"pt-1": 0.5, "pt-2": 0.7}, "theirs": {"pt-1": 0.6, "pt-2": 0.2}}
    figure = each_patient(scores, "macro-F1", False, "patients", "run")
    assert [text for text in texts(figure.svg) if text.startswith("pt-")] == ["pt-2", "pt-1"]
    many = {"ours": {f"pt-{n}": n / 1000 for n in range(1000)}}
    assert "1,000 patients (one in 4 is drawn)" in each_patient(many, "x", False, "p", "run").caption
    assert "No patient" in each_patient({"ours": {"a": float("nan")}}, "x", False, "p", "run").absent
    figure = said_and_true(np.array([1.0, 2.0]), np.array([2.0, 4.0]), "row", "age", "n", "run")
    assert "mean absolute error of these means 1.500" in figure.caption


def test_curves_of_one_and_of_several_trainings_and_of_none() -> None:
    log = [{"step": s, "mean_loss": 1 / s, "a": 1.0, "b": 2.0, "validation/a/positive": 0.5} for s in (1, 2, 3)]
    loss, validation = training_curves({"x": log}, "run")
    assert {"a", "b", "loss"} <= set(texts(loss.svg))
    assert validation.svg
    loss, validation = training_curves({"x": log, "y": log}, "run")
    assert "each of the 2 trainings" in loss.caption
    assert validation.absent
    assert all(figure.absent for figure in training_curves({"x": []}, "run"))


def row(mode: str, arm: str, labels: str, value: float | None) -> dict[str, object]:
    at = {"value": value, "low": None, "high": None}
    keys = {"devices": ["all"], "classes": ["a", "b"], "title": arm, "metrics": {"macro_f1": at}}
    return {"mode": mode, "arm": arm, "labels": labels, **keys}


def test_rows_stand_from_ours_to_the_floors_at_most_labels() -> None:
    rows = [
        row("floor", "raw", "all", 0.9),
        row("linear", "untrained", "all", 0.5),
        row("linear", "pretrained", "all", 0.6),
    ]
    rows += [row("linear", "pretrained", "2 patients", 0.4), row("floor", "odd", "all", None)]
    [figure] = beside_floors(rows, "classification", "run")
    names = [text for text in texts(figure.svg) if re.match("[a-z]", text) and "macro" not in text]
    assert names == ["pretrained (linear)", "untrained (linear)", "raw"]
    [figure] = label_efficiency(rows, "classification", "run")
    assert figure.svg
    [figure] = label_efficiency(rows[:3], "classification", "run")
    assert "one label size (all)" in figure.absent


def test_tables_are_read_back_even_with_bars_in_names() -> None:
    header, rows = ["what", "a | b"], [["x | y", "1"], ["<z>", ""]]
    text = f"protocol: p\n\nover it\n\n{markdown(header, rows)}\n\nnote: n"
    blocks = blocks_of(text)
    assert [block.text for block in blocks] == ["protocol: p", "over it", "note: n"]
    assert blocks[1].header == ("what", "a | b")
    assert blocks[1].rows == (("x | y", "1"), ("<z>", ""))


def test_the_flow_counts_what_is_left_out() -> None:
    fold = Fold({"train": ["a", "b"], "validation": ["c"], "test": ["d"]}, {"train": 20, "validation": 10, "test": 9})
    study = Study([fold], "patient", 6, 6, 50, " of 2 s", {"too <short>": 7, "no label": 3})
    said = " ".join(texts(patients_flow(study, "run").svg))
    for words in (
        "6 recordings",
        "50 windows of 2 s",
        "7: too <short>",
        "3: no label",
        "2 patients",
        "11 windows",
        "20 windows",
    ):
        assert words in said
    said = " ".join(texts(patients_flow(Study([fold], "patient"), "run").svg))
    assert "4 patients" in said
    assert "not at hand" in patients_flow(Study([fold], "patient"), "run").caption


@pytest.mark.parametrize(("n_patients", "n_folds"), [(5, 1), (5, 5), (500, 3), (20, 30)])
def test_the_protocol_draws_every_patient_or_bars(n_patients: int, n_folds: int) -> None:
    people = [f"pt-{i}" for i in range(n_patients)]
    folds = []
    for n in range(n_folds):
        test = people[n::n_folds] if n_folds > 1 else people[:1]
        folds.append(Fold({"train": [p for p in people if p not in test], "test": test}, {"train": 9, "test": 3}))
    figure = protocol(Study(folds, "patient", labels=["labels: all"]), "run")
    ElementTree.fromstring(figure.svg)
    squares = figure.svg.count("<rect") - 3 - 2  # boxes and legend
    assert squares == n_patients * n_folds if n_patients <= 64 and n_folds <= 12 else squares < 2000
    assert ("18 more folds" in figure.caption) == (n_folds == 30)
    cut = Fold({"train": ["s"], "test": ["s"]}, {"train": 9, "test": 3}, {"train": [(0, 60)], "test": [(70, 100)]})
    assert "stretch of time" in protocol(Study([cut], "time"), "run").caption


def test_long_words_are_broken() -> None:
    assert max(map(len, wrapped("x" * 90 + " and more", 118))) <= 20


def test_components_do_not_depend_on_signs() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)) * [3, 2, 1, 1]
    points, share = principal(x)
    assert points.shape == (50, 2)
    assert 0 < share[1] <= share[0] < 1
    np.testing.assert_allclose(np.abs(principal(-x)[0]), np.abs(points), atol=1e-9)
    assert principal(np.ones((5, 1)))[0].shape == (5, 2)


def test_a_card_holds_no_markup_of_names() -> None:
    card = ModelCard(
        "<script>", "d", "ecg", "1", "ODC", ("t", "task"), [], ["use"], ["data"], ["p"], [], ["c"], ["```sh\nx\n```"]
    )
    text = card_text(card)
    assert "<script>" not in text.split("---\n", 2)[2]
    assert inert("[a](b) <i> *x*") == "\\[a\\](b) &lt;i&gt; \\*x\\*"
    assert cell(".1 [.0, .2] | [a](b) <i>") == ".1 [.0, .2] \\| [a]\\(b) &lt;i&gt;"
