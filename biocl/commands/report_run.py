"""What a page and a card say of one run, from its folder and what is at hand of its store."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from biocl.commands.evaluate import KINDS
from biocl.commands.finetune import format_finetuning
from biocl.commands.forecast_tables import format_forecasts
from biocl.commands.report_data import (
    AtHand,
    embedded_of,
    judged_of,
    label_scores,
    logs_of,
    numbers_of_patients,
    own_fold,
    pseudonyms_of,
    scores_by_patient,
)
from biocl.commands.report_design import study_of
from biocl.commands.report_words import card_of, summary_of, tiles_of
from biocl.commands.run_files import RunFiles
from biocl.commands.tables import format_results
from biocl.reports.blocks import Block, blocks_of
from biocl.reports.card import ModelCard
from biocl.reports.curves import training_curves
from biocl.reports.examples import window_figures
from biocl.reports.flow import patients_flow, protocol
from biocl.reports.judged import calibration, confusion, each_patient, reliability, said_and_true
from biocl.reports.maps import embedding_maps
from biocl.reports.page import Group, RunPage
from biocl.reports.privacy import Privacy, shown
from biocl.reports.scores import areas_by_label, beside_floors, errors_ahead, label_efficiency
from biocl.reports.svg import Figure

KIND_WORDS = {"pretrain": "Pretraining", "finetune": "Fine-tuning", "evaluate": "Study"}
NO_CLASSES = {
    "regression": "A number is predicted, so there are no classes to be mistaken for each other.",
    "multi-label": "Several labels may hold at once, so a window is not taken for another class.",
    "forecasting": "What follows a window is predicted, so there are no classes to be mistaken for each other.",
}


@dataclass(frozen=True)
class Known:
    """A run, its store if it is at hand, and how patients are called on the page and on the card."""

    files: RunFiles
    here: AtHand
    privacy: Privacy
    hidden: Privacy
    dataset: str
    is_series: bool = False

    @cached_property
    def results(self) -> dict[str, Any] | None:
        """The results with the page's names."""
        return None if self.files.results is None else without_names(self.files.results, self.privacy)

    def blocks(self, privacy: Privacy | None = None) -> list[Block]:
        """The tables as they are printed."""
        if self.files.results is None or self.files.kind == "pretrain":
            return []
        results = self.results if privacy is None else without_names(self.files.results, privacy)
        assert results is not None
        if self.files.kind == "finetune":
            return blocks_of("\n\n".join(format_finetuning(results)))
        if self.files.judged == "forecasting":
            return blocks_of(format_forecasts(results))
        return blocks_of(format_results(results, KINDS[self.files.judged].table))

    def card(self) -> ModelCard:
        """The model card, in which no patient is named."""
        return card_of(self.files, self.here, self.hidden, self.dataset, self.blocks(self.hidden))


def without_names(value: Any, privacy: Privacy, key: str = "") -> Any:
    """Results in which patients have the page's names: as keys of ``patients``, in lists of them and in sentences."""
    if isinstance(value, Mapping):
        if key == "patients":
            return {privacy.patient(str(name)): number for name, number in value.items()}
        return {name: without_names(item, privacy, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        if key == "patients":
            return [privacy.patient(str(name)) for name in value]
        return [without_names(item, privacy, key) for item in value]
    if not isinstance(value, str):
        return value
    return privacy.prose(value) if key in SENTENCES else shown(value)


SENTENCES = ("protocol", "protocols", "marks", "mark", "notes", "run", "runs", "not_run", "first", "second")


def run_page(known: Known, anchor: str) -> RunPage:
    """The page's part about one run."""
    files, privacy = known.files, known.privacy
    config, command = hidden_config(files.config, privacy), privacy.command(files.command)
    environment = [(key, shown(value)) for key, value in files.environment.items() if not isinstance(value, Mapping)]
    packages = files.environment.get("packages", {})
    environment.append(("packages", ", ".join(f"{name} {version}" for name, version in packages.items() if version)))
    results = known.results or {}
    return RunPage(
        anchor=anchor,
        name=privacy.prose(files.name),
        kind=f"{KIND_WORDS.get(files.kind, files.kind)} · {shown(known.dataset)}",
        experiment=privacy.prose(files.experiment.name),
        protocol=str(results.get("protocol", "")),
        summary=summary_of(files, known.here, privacy),
        marks=list(results.get("marks", ())) or [privacy.prose(mark) for mark in files.splits[0].get("marks", ())],
        tiles=tiles_of(files, known.here, is_series=known.is_series),
        groups=groups_of(known, anchor),
        commands=[
            ("The command", command),
            ("This page", f"biocl report {privacy.prose(files.name)}{' --show-patients' if privacy.show else ''}"),
        ],
        environment=environment,
        config=config,
    )


def hidden_config(text: str, privacy: Privacy) -> str:
    """A configuration in which patients have the page's names and paths their last part."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 110
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    out = io.StringIO()
    yaml.dump(privacy.value(YAML(typ="safe").load(text)), out)
    return out.getvalue()


def groups_of(known: Known, anchor: str) -> list[Group]:
    """Figures and tables, from the design to the encoder."""
    files = known.files
    study = study_of(files, known.here, known.privacy, is_series=known.is_series)
    design = [patients_flow(study, anchor), protocol(study, anchor)]
    groups = [Group("design", "Patients and protocol", figures=design), windows_group(known, anchor)]
    groups.append(Group("training", "Training", figures=training_curves(logs_of(files), anchor)))
    if files.kind != "pretrain":
        groups += results_groups(known, anchor)
    groups.append(embedding_group(known, anchor))
    return groups


def windows_group(known: Known, anchor: str) -> Group:
    """Some windows of the training part."""
    title = "What the encoder reads"
    if known.here.cohort is None:
        why = known.privacy.prose(f"{known.here.why}, so no window can be drawn.")
        return Group("windows", title, figures=[Figure("window-0", "Windows", absent=why)])
    cohort = known.here.cohort
    windows = cohort.windows
    rows = cohort.parts(own_fold(known.files))["train"]
    columns = None if windows.columns is None else windows.columns.tolist()
    seed = known.files.experiment.seed
    who = known.privacy.patient
    figures = window_figures(windows.store, windows.table, rows, who, anchor, channels=columns, seed=seed)
    scale = windows.scale if windows.align is None else f"{windows.scale}, then aligned"
    whose = "the training part" if known.is_series else "training patients"
    intro = f"Windows of {whose} in physical units, before they are scaled (data.input_scale: {scale})."
    return Group("windows", title, intro, figures, columns=2 if len(figures) in (1, 2, 4) else 3)


def results_groups(known: Known, anchor: str) -> list[Group]:
    """Scores, tables, and what predictions look like."""
    files = known.files
    if files.results is None:
        why = "The run was not finished, so there is no result."
        return [Group("results", "Results", figures=[Figure("floors-0", "Beside the floors", absent=why)])]
    judged = files.judged
    rows = (known.results or {}).get("rows", [])
    if files.kind == "finetune":
        why = "A fine-tuning judges one classifier; `biocl evaluate` sets it beside the floors and over label sizes."
        titles = {"floors-0": "Beside the floors", "labels-0": "By how many labels"}
        figures = [Figure(name, title, absent=why) for name, title in titles.items()]
    else:
        ran = [row for row in rows if "not_run" not in row]
        figures = [*beside_floors(ran, judged, anchor), *label_efficiency(ran, judged, anchor)]
        figures += errors_ahead(ran, anchor) if judged == "forecasting" else []
    above = ("MARKED: ", "protocol: ")  # which the page says at its top
    tables = [block for block in known.blocks() if block.header or not block.text.startswith(above)]
    return [
        Group("results", "Results", figures=figures),
        Group("tables", "Tables", "As biocl evaluate prints them." if files.kind == "evaluate" else "", blocks=tables),
        Group("predictions", "Predictions", figures=prediction_figures(known, anchor)),
    ]


def prediction_figures(known: Known, anchor: str) -> list[Figure]:
    """Confusion and calibration, or what stands for them where there are no classes; then every patient."""
    files, judged = known.files, known.files.judged
    figures: list[Figure] = []
    if judged == "classification":
        found = judged_of(files, known.here, known.privacy)
        if isinstance(found, str):
            why = known.privacy.prose(f"{found}, so predictions cannot be held against labels.")
            figures += [Figure("confusion-0", "Confusion", absent=why)]
            figures += [Figure("calibration-0", "Calibration", absent=why)]
        else:
            for number, one in enumerate(found):
                figures.append(confusion(one, f"confusion-{number}", anchor))
                figures.append(calibration(one, f"calibration-{number}", anchor))
    else:
        figures.append(Figure("confusion-0", "Confusion", absent=NO_CLASSES[judged]))
        figures += other_predictions(known, anchor)
    words, scores = scores_by_patient(files, known.privacy)
    if scores:
        figures.append(each_patient(scores, words, judged == "regression", "patients", anchor))
    else:
        figures.append(Figure("patients", "Every patient", absent=no_scores(judged)))
    return figures


def no_scores(judged: str) -> str:
    """Why patients have no score of their own."""
    if judged == "multi-label":
        return "An area under a curve is of many patients together, so none has one of their own."
    if judged == "forecasting":
        return (
            "Errors of forecasts are kept over all windows; tables show their mean over patients, if there are several."
        )
    return "The run folder has no predictions by patient."


def other_predictions(known: Known, anchor: str) -> list[Figure]:
    """What stands for confusion and calibration where there are no classes."""
    files = known.files
    if files.judged == "regression":
        target = str(files.rows[0]["classes"][0]) if files.rows else ""
        figures = [
            said_and_true(true, said, words, target, f"numbers-{number}", anchor)
            for number, (words, true, said) in enumerate(numbers_of_patients(files))
        ]
        why = "A number is said without a probability, so there is nothing to calibrate."
        return [*figures, Figure("calibration-0", "Calibration", absent=why)]
    if files.judged == "multi-label":
        figures = [areas_by_label((known.results or {}).get("rows", []), anchor)]
        found = label_scores(files)
        if found is None:
            why = "The run folder has no predictions of windows."
            return [*figures, Figure("calibration-0", "Calibration", absent=why)]
        said, came, patient, words = found
        title = f"Calibration: {words}"
        names = pseudonyms_of(patient, known.privacy)
        axis = "probability of a label, all labels together"
        return [*figures, reliability(said, came, names, "calibration-0", anchor, title, axis)]
    why = "A forecast is said without a probability, so there is nothing to calibrate."
    return [Figure("calibration-0", "Calibration", absent=why)]


def embedding_group(known: Known, anchor: str) -> Group:
    """Maps of the embedding."""
    found = embedded_of(known.files, known.here, known.privacy)
    intro = (
        "Each dot is a window. Colours that lie apart can be told apart by what the encoder says: in classes that is "
        "the aim, in patients and devices a shortcut."
    )
    if isinstance(found, str):
        why = known.privacy.prose(f"{found}, so no map can be drawn.")
        names: Sequence[str] = ("class", "patient", "device")
        absent = [Figure(f"pca-{name}", f"Embedding by {name}", absent=why) for name in names]
        return Group("embedding", "Embedding", figures=absent, columns=3)
    maps = embedding_maps(found, anchor)
    n_drawn = sum(bool(one.svg) for one in maps)
    return Group("embedding", "Embedding", intro, maps, columns=2 if n_drawn in (1, 2, 4) else 3)
