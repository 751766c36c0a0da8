"""The design of a run, for the drawings of its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from biocl.commands.inspect import duration
from biocl.commands.report_data import AtHand
from biocl.commands.run_files import RunFiles
from biocl.errors import BioclError
from biocl.evaluation.protocol import FLOOR_MODE
from biocl.files import read_json
from biocl.reports.flow import Fold, Study
from biocl.reports.privacy import Privacy

MODES = {
    "joint": "head trained together with the encoder",
    "linear": "linear probe of the frozen encoder",
    "partial": "partial fine-tuning",
    "full": "full fine-tuning",
}


def study_of(files: RunFiles, here: AtHand, privacy: Privacy, *, is_series: bool = False) -> Study:
    """Who is where, how much there is, and what comes after the pretraining; `is_series` where it is of nobody."""
    first = files.splits[0]
    splits = [fold for fold in files.splits if fold.get("span") == first.get("span")]
    cut = stretches_of(files)
    folds = [
        Fold(
            {part: [privacy.patient(who) for who in people] for part, people in fold["patients"].items()},
            fold["n_windows"],
            cut[number] if number < len(cut) else {},
        )
        for number, fold in enumerate(splits)
    ]
    known: dict[str, Any] = {}
    if here.cohort is not None:
        store, table = here.cohort.windows.store, here.cohort.windows.table
        known = {
            "n_recordings": len(store),
            "n_patients": len(store.patient_names),
            "n_windows": len(table),
            "window": f" of {duration(table.n_times / table.sfreq)}",
            "left_out": {reason: n for reason, n in table.dropped.items() if n},
        }
    return Study(
        folds,
        str(first["scope"]),
        labels=steps_of(files),
        part=files.experiment.evaluate.part,
        judges=files.kind != "pretrain",
        people="series" if is_series else "patient",
        learns="Forecast, beside the floors" if files.judged == "forecasting" else "Learn from labels of train",
        **known,
    )


def stretches_of(files: RunFiles) -> list[Mapping[str, Sequence[tuple[float, float]]]]:
    """Of a split that cuts the only recording in time: the stretches of each part, fold by fold."""
    path = files.path / "split_file.json"
    if not path.is_file():
        return []
    try:
        folds = read_json(path)["folds"]
    except (BioclError, KeyError):
        return []
    cut = [fold.get("intervals", {}) for fold in folds]
    names = {name for fold in cut for recordings in fold.values() for name in recordings}
    if len(names) != 1:
        return []
    return [
        {part: [(a, b) for own in recordings.values() for a, b in own] for part, recordings in fold.items()}
        for fold in cut
    ]


def steps_of(files: RunFiles) -> list[str]:
    """How labels are used, in lines."""
    experiment = files.experiment
    if files.kind == "pretrain":
        return []
    if files.kind == "finetune":
        spec = experiment.finetune
        return [f"labels: {spec.labels}", MODES.get(spec.mode, spec.mode)]
    modes = list(dict.fromkeys(row["mode"] for row in files.rows)) or list(experiment.evaluate.modes)
    learned = [MODES.get(mode, mode) for mode in modes if mode != FLOOR_MODE]
    lines = []
    if files.judged != "forecasting":
        sizes = experiment.evaluate.labels
        draws = f"; {experiment.evaluate.draws} draws of each but all" if sizes != ["all"] else ""
        lines.append(f"labels: {', '.join(sizes)}{draws}")
    lines.append("; ".join(learned))
    floors = list(dict.fromkeys(row["title"] for row in files.rows if row["mode"] == FLOOR_MODE))
    if floors:
        lines.append(f"floors on the same windows: {', '.join(floors)}")
    if experiment.variants:
        lines.append(f"variants: {', '.join(experiment.variants)}")
    return lines
