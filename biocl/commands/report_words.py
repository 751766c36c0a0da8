"""What a page and a card say in words: the result in sentences, few numbers, and the card's paragraphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from biocl.commands.report_data import AtHand, main_rows
from biocl.commands.run_files import RunFiles
from biocl.datasets.card import card_line
from biocl.evaluation.protocol import UNTRAINED
from biocl.evaluation.tables import number
from biocl.reports.blocks import Block
from biocl.reports.card import ModelCard, inert, inert_table
from biocl.reports.privacy import Privacy, shown
from biocl.reports.scores import MEASURES, Measure, estimate, is_floor, labels_in_words

Row = Mapping[str, Any]
TASKS = {
    "classification": ("time-series-classification", "classification of windows"),
    "multi-label": ("time-series-classification", "several labels of windows"),
    "regression": ("time-series-regression", "a number of each window"),
    "forecasting": ("time-series-forecasting", "what follows each window"),
}
HUB_METRICS = {"classification": "f1", "multi-label": "roc_auc", "regression": "mae", "forecasting": "mse"}
MOST_SENTENCES = 3


def summary_of(files: RunFiles, here: AtHand, privacy: Privacy) -> list[str]:
    """The result in sentences, floors in the same breath."""
    if files.kind == "pretrain":
        return pretraining_in_words(files)
    if files.results is None:
        return ["This run was not finished: what is there is shown, and there is no result."]
    if files.kind == "finetune":
        results = files.results
        at = results["over_windows"]["macro_f1"]
        return [
            f"{MODES_LONG[results['mode']]} with {labels_in_words(results['labels'])} reaches a macro-F1 of "
            f"{said((at['value'], at['low'], at['high']))} on {people_of(results, files)}.",
            "One classifier is judged here, without floors beside it: biocl evaluate shows those.",
        ]
    measure = MEASURES[files.judged]
    rows = main_rows(files)[:MOST_SENTENCES]
    sentences = [sentence_on(row, files, measure, again=number > 0) for number, row in enumerate(rows)]
    return sentences or ["No row of the experiment itself was judged; the tables show the others."]


MODES_LONG = {
    "joint": "The head that was trained together with the encoder",
    "linear": "A linear probe of the frozen encoder",
    "partial": "Partial fine-tuning",
    "full": "Full fine-tuning",
}


def sentence_on(row: Row, files: RunFiles, measure: Measure, *, again: bool = False) -> str:
    """One row with its interval, the untrained encoder and the best floor; `again` on the same patients."""
    at = estimate(row, measure)
    where = span_in(row) if "n_test_patients" not in row else "" if again else f"On {people_of(row, files)}, "
    labels = "" if files.judged == "forecasting" else f" with {labels_in_words(row['labels'])}"
    name = MODES_LONG[row["mode"]]
    name = f"{where}{name[0].lower()}{name[1:]}" if where else name
    if at is None:
        return f"{name}{labels} has no defined {measure.words}."
    beside = [other for other in files.rows if same_task(other, row) and estimate(other, measure) is not None]
    text = f"{name}{labels} reaches a {measure.words} of {said(at)}"
    untrained = [other for other in beside if other["arm"] == UNTRAINED and other["mode"] == row["mode"]]
    floors = [other for other in beside if is_floor(other)]
    values = {id(other): estimate(other, measure) for other in beside}
    if untrained:
        text += f"; the same encoder without pretraining {number(values[id(untrained[0])][0])}"  # type: ignore[index]
    if floors:
        best = (min if measure.less else max)(floors, key=lambda other: values[id(other)][0])  # type: ignore[index]
        value = values[id(best)][0]  # type: ignore[index]
        better = value < at[0] if measure.less else value > at[0]
        text += f"; the best floor, {shown(best['title'])}, {number(value)}"
        text += ". The floor is better" if better else ""
    return f"{text}{' (less is better)' if measure.less else ''}."


def span_in(row: Row) -> str:
    """``From 48 steps to the next 24, ``."""
    return f"From {row['look_back']} steps to the next {row['horizon']}, "


def same_task(other: Row, row: Row) -> bool:
    """Whether two rows were judged on the same windows after the same labels."""
    return all(other.get(key) == row.get(key) for key in ("devices", "classes", "labels", "span"))


def people_of(row: Row, files: RunFiles) -> str:
    """``6 unseen test patients``."""
    n, part = row["n_test_patients"], files.experiment.evaluate.part
    scope, results = files.splits[0]["scope"], files.results or {"protocol": "", "marks": []}
    word = "test" if part == "test" else "inner validation"
    is_new = "(patient-independent)" in results["protocol"] and not any(
        mark.startswith("NOT patient-independent") for mark in results["marks"]
    )
    unseen = "unseen " if is_new and part == "test" else ""
    return f"{n} {unseen}{word} patient{'s' * (n != 1)}{'' if scope == 'patient' else f' (scope {scope})'}"


def said(at: tuple[float, float, float]) -> str:
    """``.601 [.480, .690]``, or the value alone."""
    value, low, high = (float("nan") if one is None else one for one in at)
    return number(value) if low != low or low == high else f"{number(value)} [{number(low)}, {number(high)}]"


def pretraining_in_words(files: RunFiles) -> list[str]:
    """What was trained, on whom, and that nobody was judged."""
    first = files.splits[0]
    n = len(first["patients"]["train"])
    done = files.results
    steps = f"{done['steps']:,} steps" if done else "an unfinished number of steps"
    windows = first["n_windows"]["train"]
    return [
        f"An encoder was pretrained for {steps} on {windows:,} windows of {n} training patient{'s' * (n != 1)}.",
        "A pretraining judges nobody: what the encoder is worth is what biocl evaluate says of it, beside the floors.",
    ]


def tiles_of(files: RunFiles, here: AtHand, *, is_series: bool = False) -> list[tuple[str, str]]:
    """Few numbers for the top of the page."""
    tiles = [(f"{len(files.patients()):,}", "series" if is_series else "patients in the split")]
    if here.cohort is not None:
        table = here.cohort.windows.table
        tiles.append((f"{len(table):,}", "windows"))
    measure = MEASURES[files.judged]
    if files.kind == "evaluate" and files.results is not None:
        rows = main_rows(files)
        if rows and not is_series:
            tiles.insert(1, (f"{judged_count(files):,}", f"{files.experiment.evaluate.part} patients"))
        for row in rows[:MOST_SENTENCES]:
            at = estimate(row, measure)
            if at is not None:
                tiles.append((number(at[0]), f"{measure.words.partition(' over ')[0]}, {row['mode']}"))
    elif files.kind == "finetune" and files.results is not None:
        tiles.insert(1, (f"{files.results['n_test_patients']:,}", "test patients"))
        tiles.append((number(files.results["over_windows"]["macro_f1"]["value"]), "macro-F1"))
    elif files.results is not None:
        tiles.append((f"{files.results.get('steps', 0):,}", "steps of training"))
    return tiles


def judged_count(files: RunFiles) -> int:
    """How many patients are judged."""
    return len(files.patients(files.experiment.evaluate.part))


def card_of(files: RunFiles, here: AtHand, hidden: Privacy, dataset: str, blocks: Sequence[Block]) -> ModelCard:
    """The model card of a run."""
    experiment, judged = files.experiment, files.judged
    licence = shown(card_line(dataset, "licence")) or "not known to biocl: ask the owner of the data"
    store = None if here.cohort is None else here.cohort.windows.store
    first = files.splits[0]
    parts = ", ".join(
        f"{part} {len(people)} patients and {first['n_windows'].get(part, 0):,} windows"
        for part, people in first["patients"].items()
    )
    several = f" in the first of {len(files.splits)} folds" if len(files.splits) > 1 else ""
    data = [f"Data set: {inert(dataset)}. Terms of the data: {inert(licence)}."]
    if store is not None:
        channels = ", ".join(inert(shown(channel.name)) for channel in store.channels[:12])
        more = f" and {len(store.channels) - 12} more" if len(store.channels) > 12 else ""
        data.append(
            f"{len(store)} recordings of {len(store.patient_names)} patients at {store.sfreq:g} Hz; "
            f"channels {channels}{more}."
        )
    data.append(f"Parts{several}: {parts}.")
    results = {} if files.results is None else without_sentences(files.results, hidden)
    protocol = [f"Protocol: {inert(results['protocol'])}."] if results.get("protocol") else []
    protocol.append(
        f"Split: {inert(str(first.get('name', '')))}, scope {first['scope']}. Intervals are bootstrap intervals over "
        "patients unless a table says otherwise; floors were computed on the same windows and label draws."
    )
    marks = [f"MARKED: {inert(mark)}" for mark in results.get("marks", ())]
    tables: list[str] = []
    for block in blocks:
        if block.header:
            tables += inert_table(block)
        elif not block.text.startswith(("MARKED: ", "protocol: ")):
            tables.append(inert(block.text))
    sentences = [inert(sentence) for sentence in summary_of(files, here, hidden)]
    return ModelCard(
        name=hidden.prose(experiment.name),
        dataset=dataset,
        modality="" if store is None else str(store.meta["modality"]),
        version=str(files.environment.get("biocl", "")),
        licence=licence,
        task=TASKS[judged],
        metrics=hub_metrics(files),
        uses=[
            "Research on recordings of the same kind: the same channels, rate and conditioning, from comparable "
            "devices and patients. The encoder turns a window into a vector, which a probe or a fine-tuning reads.",
            "Not for diagnosis, monitoring or any decision about a patient.",
        ],
        data=data,
        protocol=[*protocol, *marks],
        tables=[*sentences, *tables],
        caveats=[
            "A score on these patients says little about another hospital, device or population.",
            "Read every score beside its floors and beside the same encoder without pretraining.",
            "The checkpoint carries keyed hashes of its training patients, so that evaluating on them is refused. This "
            "is a check, not anonymisation: who has the list of patients can compute them. Weights may also remember "
            "windows.",
            "The licence of the weights is its owner's to choose, within the terms of the data.",
        ],
        again=[
            f"```sh\n{hidden.command(files.command).replace('`', '')}\n```",
            f"Written by biocl {shown(files.environment.get('biocl', ''))} with torch "
            f"{shown(files.environment.get('packages', {}).get('torch', ''))} and Python "
            f"{shown(files.environment.get('python', ''))}; the run folder holds the resolved config.yaml, the split "
            "and every prediction.",
        ],
    )


def without_sentences(results: Mapping[str, Any], hidden: Privacy) -> dict[str, Any]:
    """Protocol and marks without names."""
    return {
        "protocol": hidden.prose(str(results.get("protocol", ""))),
        "marks": [hidden.prose(str(mark)) for mark in results.get("marks", ())],
    }


def hub_metrics(files: RunFiles) -> list[tuple[str, str, float]]:
    """Of the experiment's own rows, for the front matter."""
    kind = HUB_METRICS[files.judged]
    if files.results is None or files.kind == "pretrain":
        return []
    if files.kind == "finetune":
        value = files.results["over_windows"]["macro_f1"]["value"]
        return [(kind, "macro-F1 over windows", value)] if value == value else []
    measure = MEASURES[files.judged]
    found = []
    for row in main_rows(files):
        at = estimate(row, measure)
        if at is not None:
            where = f", {row['span']}" if "span" in row else f", {row['mode']}, {row['labels']}"
            found.append((kind, f"{measure.words}{where}", at[0]))
    return found
