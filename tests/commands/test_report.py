"""A page of every kind of run: all figures or the reason, escaped names, no patient, the same bytes, no overflow."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_runs
from browser import chromium, find_chromium
from report_runs import CLASSES, PEOPLE
from ruamel.yaml import YAML

from biocl.commands.report import report
from biocl.commands.report_data import at_hand, embedded_of, judged_of, numbers_of_patients
from biocl.commands.run_files import read_run
from biocl.errors import DataError, UsageError
from biocl.evaluation.metrics import macro_f1
from biocl.files import read_json, write_json
from biocl.reports import maps
from biocl.reports.judged import Judged
from biocl.reports.privacy import Privacy

VOID = {"meta", "link", "br", "img", "input", "hr", "source", "path", "rect", "use", "line", "polygon"}
DESIGN = {"flow", "protocol", "loss", "validation"}
MAPS = {"pca-class", "pca-patient", "pca-device", "umap"}
STUDY = {"floors-0", "labels-0", "patients"}
FIGURES = {
    "pretrain": DESIGN | MAPS,
    "finetune": DESIGN | MAPS | STUDY | {"confusion-0", "calibration-0"},
    "evaluate": DESIGN | MAPS | STUDY | {"confusion-0", "calibration-0"},
    "folds": DESIGN | MAPS | STUDY | {"confusion-0", "calibration-0"},
    "regression": DESIGN | MAPS | STUDY | {"numbers-0", "numbers-1", "pca-number", "confusion-0", "calibration-0"},
    "labels": DESIGN | MAPS | STUDY | {"areas", "pca-labels", "confusion-0", "calibration-0"},
    "forecast": DESIGN | STUDY | {"ahead-0", "confusion-0", "calibration-0", "pca-class", "pca-patient"},
    "devices": DESIGN | MAPS | STUDY | {"floors-1", "floors-2", "confusion-0", "calibration-0"},
}
ABSENT = {
    "pretrain": {"pca-device", "umap"},
    "finetune": {"floors-0", "labels-0", "pca-device", "umap"},
    "evaluate": {"pca-device", "umap"},
    "folds": {"labels-0", "validation", "pca-device", "umap"},
    "regression": {"confusion-0", "calibration-0", "pca-class", "pca-device", "umap"},
    "labels": {"confusion-0", "patients", "pca-class", "pca-device", "umap"},
    "forecast": {
        "labels-0",
        "patients",
        "confusion-0",
        "calibration-0",
        "pca-class",
        "pca-patient",
        "validation",
        "umap",
    },
    "devices": {"labels-0", "umap"},
}


class Reader(HTMLParser):
    """The elements of a page with their attributes, the texts, and whether they are well nested."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def figures(self) -> dict[str, bool]:
        """Names of the figures, and whether each is there."""
        return {at["data-figure"]: "data-absent" not in at for tag, at in self.elements if tag == "figure"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for the module, so that pseudonyms have one key."""
    return tmp_path_factory.mktemp("module-home")


@pytest.fixture(autouse=True)
def _module_home(home: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCL_HOME", str(home))
    monkeypatch.setattr(maps, "find_spec", lambda name: None)  # UMAP takes longer than all of this; see below


@pytest.fixture(scope="module")
def runs(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Runs of every kind."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(home))
        return {
            **report_runs.hostile_runs(folder, report_runs.hostile_store(folder)),
            **report_runs.every_kind(folder),
        }


@pytest.fixture(scope="module")
def pages(runs: Mapping[str, Path], home: Path) -> Mapping[str, Path]:
    """The page of each run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(home))
        patch.setattr(maps, "find_spec", lambda name: None)
        for run in runs.values():
            report([run])
    return {name: run / "report.html" for name, run in runs.items()}


def named(text: str, people: tuple[str, ...] = PEOPLE) -> list[str]:
    """People who are named in a text, as they are or as HTML or YAML would write them; numbers only as whole words."""
    found = []
    for name in people:
        forms = {name, name.replace("<", "&lt;").replace(">", "&gt;"), name.replace('"', "&#34;").replace("'", "&#39;")}
        forms |= {name.replace("&", "&amp;"), name.split("'")[0] if "'" in name else name}
        hit = re.search(rf"\b{name}\b", text) if name.isdigit() else any(form in text for form in forms)
        found += [name] if hit else []
    return found


@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure_is_there_or_says_why_not(pages: Mapping[str, Path], kind: str) -> None:
    text = pages[kind].read_text(encoding="utf-8")
    page = Reader(text)
    figures = page.figures()
    assert FIGURES[kind] <= set(figures)
    assert {name for name in figures if name.startswith("window-")}
    assert {name for name, there in figures.items() if not there} == ABSENT[kind] & set(figures)
    assert page.open == []
    ids = [at["id"] for _, at in page.elements if "id" in at]
    assert len(set(ids)) == len(ids)
    for tag, at in page.elements:
        assert tag not in ("script", "iframe", "object", "embed", "img", "form", "base")
        assert not [key for key in at if key.startswith("on")]
        for key in ("src", "href", "xlink:href", "action", "srcset"):
            assert at.get(key, "#").startswith(("#", "data:,")), (tag, at)
        if tag == "svg":
            assert at["role"] == "img"
            assert at["aria-labelledby"] in ids
        if tag == "th":
            assert at["scope"] in ("col", "row")
    tags = [tag for tag, _ in page.elements]
    assert tags.count("main") == tags.count("h1") == 1
    assert {"header", "nav", "footer"} <= set(tags)
    assert "url(http" not in text
    assert "@import" not in text
    assert "nan" not in " ".join(page.texts).lower().split()
    assert "None" not in page.texts


@pytest.mark.parametrize("kind", ["pretrain", "finetune", "evaluate", "folds"])
def test_no_patient_is_named_and_names_are_escaped(pages: Mapping[str, Path], kind: str) -> None:
    text = pages[kind].read_text(encoding="utf-8")
    card = (pages[kind].parent / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert named(text) == named(card) == []
    assert "alert(" not in text.replace("alert(3)", "")
    for name in CLASSES:
        assert name not in text
        assert name not in card
    page = Reader(text)
    assert kind == "pretrain" or any(CLASSES[0] in piece for piece in page.texts)
    assert re.search(r"pt-[2-9CFGHJMPQRVWX]{8}", text)
    assert str(pages[kind].parent.parent) not in text + card


def test_the_tables_are_those_that_were_printed(pages: Mapping[str, Path], runs: Mapping[str, Path]) -> None:
    for kind in ("evaluate", "regression", "labels", "forecast", "devices"):
        printed = (runs[kind] / "tables.md").read_text(encoding="utf-8")
        cells = [
            cell.strip() for line in printed.splitlines() if line.startswith("| ") for cell in line[2:-2].split(" | ")
        ]
        texts = {text.strip() for text in Reader(pages[kind].read_text(encoding="utf-8")).texts}
        assert {cell for cell in cells if cell and "<" not in cell and "P0" not in cell} <= texts
        assert not any(re.search(r"\bP0\d\d\b", text) for text in texts)


def test_a_person_has_one_pseudonym_on_every_page_and_none_when_asked(
    pages: Mapping[str, Path], runs: Mapping[str, Path], tmp_path: Path
) -> None:
    key = bytes.fromhex((Path(str(report_home())) / "pseudonyms.key").read_text())
    privacy = Privacy.of("arrays", PEOPLE, key)
    test = read_run(runs["evaluate"]).patients("test")
    assert test
    for kind in ("finetune", "evaluate"):
        text = pages[kind].read_text(encoding="utf-8")
        assert {privacy.patient(who) for who in test} <= set(re.findall(r"pt-\w{8}", text))
    report([runs["evaluate"]], tmp_path / "named.html", show_patients=True)
    page = Reader((tmp_path / "named.html").read_text(encoding="utf-8"))
    assert [who for who in test if not any(who in text for text in page.texts)] == []
    assert not [tag for tag, _ in page.elements if tag in ("script", "img")]
    assert named((tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8")) == []
    assert "as confidential as the recordings" in " ".join(page.texts)


def report_home() -> str:
    import os

    return os.environ["BIOCL_HOME"]


def test_a_page_is_the_same_bytes_every_time(
    pages: Mapping[str, Path], runs: Mapping[str, Path], tmp_path: Path
) -> None:
    for kind in ("evaluate", "regression"):
        report([runs[kind]], tmp_path / f"{kind}.html")
        assert (tmp_path / f"{kind}.html").read_bytes() == pages[kind].read_bytes()


def test_commands_and_configurations_name_no_person_and_no_place(runs: Mapping[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "moved"
    shutil.copytree(runs["evaluate"], run)
    command = (
        "biocl evaluate /home/mueller/studies/demo.yaml data.store=/home/mueller/stores/clinic train.steps=4711 "
        "'split={file: /mnt/MRN-90210.json}' --from ../runs/pretrain --seed 4711 name=4711"
    )
    (run / "command.txt").write_text(command + "\n")
    config = YAML(typ="safe").load((run / "config.yaml").read_text())
    config["split"] = {"file": "/home/mueller/MRN-90211.json"}
    config["train"]["steps"] = 4711
    YAML().dump(config, run / "config.yaml")
    results = read_json(run / "results.json")
    results["marks"] = [
        "NOT patient-independent: pretrained on test patients 4711, MRN-90212",
        "judged on 4711 samples",
    ]
    write_json(run / "results.json", results)
    report([run])
    text, card = ((run / name).read_text(encoding="utf-8") for name in ("report.html", "MODEL_CARD.md"))
    said = " ".join(Reader(text).texts)
    assert "mueller" not in text + card
    assert "/home" not in text + card
    assert "MRN-" not in text + card
    assert "train.steps=4711" in said
    assert "steps: 4711" in said
    assert "--seed 4711" in said
    assert "judged on 4711 samples" in said
    assert re.search(r"pretrained on test patients pt-\w{8}, pt-\w{8}", said)
    assert "data.store=…/clinic" in said
    assert "On 6 unseen" not in said  # some were seen
    assert Reader(text).figures()["confusion-0"]  # by the run's own copy of the split file


def test_without_the_store_what_needs_it_says_so(runs: Mapping[str, Path], tmp_path: Path) -> None:
    gone = {}
    for kind in ("pretrain", "finetune", "evaluate"):
        shutil.copytree(runs[kind], tmp_path / kind)
        path = tmp_path / kind / "config.yaml"
        path.write_text(re.sub(r"store: .*", "store: /nowhere/at/all", path.read_text()))
        report([tmp_path / kind])
        text = (tmp_path / kind / "report.html").read_text(encoding="utf-8")
        assert "it is not on this machine" in text
        assert named(text) == []
        gone[kind] = {name for name, there in Reader(text).figures().items() if not there}
    maps_gone = {"pca-class", "pca-patient", "pca-device", "window-0"}
    assert gone["pretrain"] == maps_gone
    assert gone["finetune"] == maps_gone | {"floors-0", "labels-0"}
    assert gone["evaluate"] == maps_gone | {"confusion-0", "calibration-0"}


def test_a_run_that_was_not_finished_has_a_page(runs: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(runs["evaluate"], tmp_path / "broken")
    for name in ("results.json", "predictions.csv", "encoders.json"):
        (tmp_path / "broken" / name).unlink()
    report([tmp_path / "broken"])
    page = Reader((tmp_path / "broken" / "report.html").read_text(encoding="utf-8"))
    assert "This run was not finished" in " ".join(page.texts)
    assert page.figures()["flow"]


def test_results_of_an_earlier_version_are_refused(runs: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(runs["evaluate"], tmp_path / "early")
    results = read_json(tmp_path / "early" / "results.json")
    for row in results["rows"]:
        del row["devices"]
    write_json(tmp_path / "early" / "results.json", results)
    with pytest.raises(DataError, match=r"devices missing.*--resume"):
        report([tmp_path / "early"])


def test_confusion_holds_every_window_that_was_judged(runs: Mapping[str, Path]) -> None:
    files = read_run(runs["folds"])
    found = judged_of(files, at_hand(files), Privacy.of("arrays", PEOPLE, b"key"))
    assert not isinstance(found, str)
    [judged] = found
    [row] = [row for row in files.rows if (row["arm"], row["labels"]) == ("pretrained", "all")]
    assert judged.counts.sum() == len(judged.y) == 12 * len(PEOPLE)
    assert macro_f1(judged.y, judged.proba[0].argmax(axis=1)) == pytest.approx(row["metrics"]["macro_f1"]["value"])
    assert np.trace(judged.counts) / len(judged.y) == pytest.approx(row["metrics"]["accuracy"]["value"])


def test_counts_are_means_over_draws_and_shares() -> None:
    y, proba = np.array([0, 0, 1, 1]), np.zeros((2, 4, 2))
    proba[0, [0, 1, 2, 3], [0, 1, 1, 1]] = 1
    proba[1, [0, 1, 2, 3], [0, 0, 1, 0]] = 1
    judged = Judged("x", y, proba, np.array(["a", "a", "b", "b"]), ("no", "yes"), np.array([1, 1, 0.5, 0.5]))
    np.testing.assert_allclose(judged.counts, [[1.5, 0.5], [0.25, 0.75]])


def test_the_map_is_of_those_whom_the_encoder_did_not_see(runs: Mapping[str, Path]) -> None:
    for kind, part in (("pretrain", "validation"), ("evaluate", "test"), ("finetune", "test")):
        files = read_run(runs[kind])
        privacy = Privacy.of("arrays", PEOPLE, b"key")
        found = embedded_of(files, at_hand(files), privacy)
        assert not isinstance(found, str)
        assert len(found.vectors) == 12 * len(files.patients(part))
        if len(files.patients(part)) > 1:
            assert set(found.groups["patient"]) == {privacy.patient(who) for who in files.patients(part)}
        else:
            assert "one patient" in found.absent["patient"]


def test_weights_that_are_others_are_not_drawn(runs: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(runs["evaluate"], tmp_path / "evaluate")
    path = tmp_path / "evaluate" / "encoders.json"
    write_json(path, [{**read_json(path)[0], "weights": "0" * 64}])
    files = read_run(tmp_path / "evaluate")
    found = embedded_of(files, at_hand(files), Privacy.of("arrays", PEOPLE, b"key"))
    assert "those in their place are others" in str(found)


def test_numbers_are_means_of_patients(runs: Mapping[str, Path]) -> None:
    files = read_run(runs["regression"])
    found = numbers_of_patients(files)
    assert [words for words, _, _ in found] == ["trained together (joint)", "pretrained (linear)"]
    ages = sorted(20.0 + 5 * (int(who[-5:]) - 70010) for who in files.patients("test"))
    assert sorted(found[0][1]) == pytest.approx(ages)


def test_front_matter_is_what_a_hub_reads_and_an_edited_card_stays(
    pages: Mapping[str, Path], runs: Mapping[str, Path], tmp_path: Path
) -> None:
    text = (runs["evaluate"] / "MODEL_CARD.md").read_text(encoding="utf-8")
    head: dict[str, Any] = YAML(typ="safe").load(text.split("---\n")[1])
    assert (head["library_name"], head["license"], head["datasets"]) == ("biocl", "other", ["arrays"])
    [result] = head["model-index"][0]["results"]
    [row] = [row for row in read_run(runs["evaluate"]).rows if (row["arm"], row["labels"]) == ("pretrained", "all")]
    assert result["metrics"][0]["value"] == round(row["metrics"]["macro_f1"]["value"], 4)
    for title in ("Intended use", "Data", "Protocol", "Results", "Caveats", "How to reproduce"):
        assert f"\n## {title}\n" in text
    assert "majority" in text
    shutil.copytree(runs["pretrain"], tmp_path / "pretrain")
    assert "the model card" in report([tmp_path / "pretrain"])
    card = tmp_path / "pretrain" / "MODEL_CARD.md"
    card.write_text(card.read_text().replace("## Caveats", "Ask me first.\n\n## Caveats"))
    assert "was edited, and is left as it is" in report([tmp_path / "pretrain"])
    assert "Ask me first." in card.read_text()


def test_several_runs_are_one_page_with_their_comparison(runs: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(runs["evaluate"], tmp_path / "again")
    said = report([runs["evaluate"], tmp_path / "again"], tmp_path / "two.html")
    assert "no MODEL_CARD.md" in said
    text = (tmp_path / "two.html").read_text(encoding="utf-8")
    page = Reader(text)
    assert [tag for tag, _ in page.elements].count("article") == 2
    ids = [at["id"] for _, at in page.elements if "id" in at]
    assert len(set(ids)) == len(ids)
    assert "differences (first minus second), paired over the same 6 patients" in " ".join(page.texts)
    report([runs["evaluate"], runs["folds"], runs["pretrain"]], tmp_path / "three.html")
    text = (tmp_path / "three.html").read_text(encoding="utf-8")
    assert "The runs cannot be compared" in text
    assert named(text) == []
    report([runs["evaluate"], runs["folds"]], tmp_path / "apart.html")
    text = (tmp_path / "apart.html").read_text(encoding="utf-8")
    assert "judge different patients (only folds judges pt-" in text
    assert named(text) == []


@pytest.mark.parametrize(
    ("name", "what"), [("page.pdf", "ends in .html"), ("twice", "named twice"), ("none", "not the")]
)
def test_refused(runs: Mapping[str, Path], tmp_path: Path, name: str, what: str) -> None:
    paths = {"twice": [runs["pretrain"]] * 2, "none": [tmp_path]}.get(name, [runs["pretrain"]])
    with pytest.raises(UsageError, match=what):
        report(paths, tmp_path / name if "." in name else None)


def test_pages_open_in_a_browser(pages: Mapping[str, Path], runs: Mapping[str, Path], tmp_path: Path) -> None:
    """No console error, no request but the page, every figure with a size, no overflow at 1280 and 400 pixels."""
    program = find_chromium()
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium, so that pages are opened in a browser")
    report([runs["evaluate"], runs["regression"]], tmp_path / "two.html")
    with chromium(program) as tab:
        for path in [*pages.values(), tmp_path / "two.html"]:
            for width in (1280, 400):
                tab.open(path, width)
                assert tab.errors() == []
                assert tab.requests() == [path.resolve().as_uri()]
                assert tab.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
                sizes = tab.evaluate(SIZES)
                assert sizes
                for name, (left, wide, high, letters) in sizes.items():
                    assert wide > 180, (path, width, name)
                    assert high > 60, (path, width, name)
                    assert left >= 0, (path, width, name)
                    assert left + wide <= width, (path, width, name)
                    assert letters >= 7, (path, width, name)
        tab.open(pages["evaluate"], 1280)
        assert tab.evaluate("document.scripts.length") == 0


SIZES = """Object.fromEntries([...document.querySelectorAll('svg.plot')].map(svg => {
  const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
  const letters = [...svg.querySelectorAll('text')].map(t => scale * parseFloat(getComputedStyle(t).fontSize));
  return [svg.getAttribute('aria-labelledby'), [box.left, box.width, box.height, Math.min(99, ...letters)]];
}))"""


def test_umap_is_drawn_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 3))
    drawn = maps.Embedded(vectors, {"class": ["a"] * 15 + ["b"] * 15}, {"device": "One."}, words="30 windows")
    monkeypatch.setattr(maps, "umap_of", lambda points, seed: points[:, :2])
    assert [figure.name for figure in maps.embedding_maps(drawn, "x")] == ["pca-class", "pca-device", "umap-class"]
