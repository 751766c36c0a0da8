"""The encoders of a run: whom they were pretrained on, and on whom what they read by was fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biocl.commands.audit_checks import recordings_of
from biocl.commands.audit_run import Run, read_run
from biocl.commands.pretrained import weights_hash
from biocl.commands.setup import Cohort, build_model, chosen_devices
from biocl.errors import BioclError
from biocl.evaluation.finetuning import Labelled, load_encoder
from biocl.files import read_json
from biocl.splits.findings import Check, Finding, merged, names
from biocl.splits.leaks import Sides
from biocl.splits.split import PARTS
from biocl.training.checkpoint import Checkpoint, load_checkpoint, load_fitted, patient_hashes
from biocl.training.data import Windows, embed
from biocl.training.fitted import Fitted

CLOSE = 1e-6
MOST_PROBE_ROWS = 20_000
SHOWN = 4


@dataclass(frozen=True)
class Encoder:
    """One encoder that a run judged: what the run says of it, its own run and its checkpoint; None where not there."""

    entry: Mapping[str, Any]
    run: Run | None
    checkpoint: Checkpoint | None

    @property
    def title(self) -> str:
        """The name of its run, with the fold it serves."""
        return f"encoder {Path(self.entry['run']).name}, fold {self.entry['fold']}"


def open_encoders(run: Run) -> list[Encoder]:
    """The encoders of a run, found by their paths or beside it."""
    found = []
    for entry in run.encoders:
        path = located(run.path, Path(entry["run"]))
        if path is None:
            found.append(Encoder(entry, None, None))
            continue
        own = run if path == run.path else read_run(path)
        found.append(Encoder(entry, own, load_checkpoint(path / "checkpoints")))
    return found


def located(audited: Path, named: Path) -> Path | None:
    """The folder of an encoder's run: as it is named, or where it is if both were moved together."""
    tails = [Path(*named.parts[-n:]) for n in range(1, len(named.parts) + 1)]
    for path in (named, *(base / tail for base in (audited, audited.parent) for tail in tails)):
        if (path / "checkpoints").is_dir():
            return path
    return None


def pretraining_check(run: Run, encoders: list[Encoder]) -> tuple[Check, list[Sides]]:
    """Whether an encoder saw patients whom the run judges; and the sides of every encoder, for other checks."""
    name = "pretraining on those who are judged"
    if not encoders:
        return Check(name, "checkpoints", skipped="the run has no encoder yet"), []
    found: list[Finding] = []
    sides: list[Sides] = []
    compared = 0
    for encoder in encoders:
        if encoder.checkpoint is None:
            found.append(lost(encoder))
            continue
        own, side = seen(run, encoder)
        found += own
        if side is not None:
            compared += 1
            sides.append(side)
    said = f"keyed hashes of patients in the checkpoints of {compared} of {len(encoders)} encoders"
    return Check(name, said, merged(found)), sides


def lost(encoder: Encoder) -> Finding:
    """An encoder whose run is not there."""
    return Finding(
        "warning",
        (),
        encoder.title,
        f"The run of this encoder is not at {encoder.entry['run']}, so nobody can say whom it was pretrained on",
        "Put it back beside this run, and audit again",
    )


def seen(run: Run, encoder: Encoder) -> tuple[list[Finding], Sides | None]:
    """Findings about one encoder, and whom it saw against whom it is judged on."""
    assert encoder.checkpoint is not None
    state, store = encoder.checkpoint.state, run.looked.store
    if state.get("dataset") != store.meta["dataset"]:
        return [other_dataset(encoder, str(state.get("dataset")), store.meta["dataset"])], None
    record = run.record_of(int(encoder.entry["fold"]))
    judged_parts = ("validation", "test") if run.kind == "pretrain" else (run.experiment.evaluate.part,)
    trained = set(state.get("patients", []))
    hashed = {
        patient: patient_hashes(store.meta["dataset"], store.meta["version"], [patient])[0]
        for patient in store.patient_names
    }
    found = changed(encoder)
    recordings = recordings_of(store)
    pretrained = frozenset(r for patient, code in hashed.items() if code in trained for r in recordings[patient])
    judged = {part: sorted(record["patients"].get(part, [])) for part in judged_parts}
    for part, patients in judged.items():
        shared = [patient for patient in patients if hashed.get(patient) in trained]
        if shared:
            found.append(pretrained_on(run, encoder, record, part, shared, len(patients)))
    side = Sides(
        encoder.title,
        {"pretraining": pretrained}
        | {
            part: frozenset(r for patient in mine for r in recordings.get(patient, [])) for part, mine in judged.items()
        },
        between_patients=record["scope"] == "patient",
    )
    return found, side


def pretrained_on(
    run: Run, encoder: Encoder, record: Mapping[str, Any], part: str, shared: list[str], n: int
) -> Finding:
    """Patients whom an encoder saw; in the scopes time and trial of the same split, as the split has it."""
    own = encoder.run.records[0] if encoder.run is not None else {}
    same = all(own.get(key) == record[key] for key in ("digest", "windows_digest"))
    within = record["scope"] != "patient" and same
    how = ""
    if within:
        how = f", of whom it saw what the scope ({record['scope']}) leaves to training"
    elif run.experiment.evaluate.allow_seen:
        how = ", which evaluate.allow_seen allowed and every table is marked with"
    return Finding(
        "note" if within else "leak",
        tuple(shared),
        f"{encoder.title}: pretraining and {part}",
        f"The encoder was pretrained on {len(shared)} of {n} {part} patients: {names(shared)}{how}",
        "Quote no result as patient-independent"
        if within
        else "Pretrain on this split's training patients alone, and evaluate again",
    )


def other_dataset(encoder: Encoder, there: str, here: str) -> Finding:
    """Hashes of another data set say nothing here."""
    return Finding(
        "note",
        (),
        encoder.title,
        f"The encoder was pretrained on {there}, whose patients cannot be compared with those of {here}",
        "Make sure that the two hold different people",
    )


def changed(encoder: Encoder) -> list[Finding]:
    """A warning if the weights there are no longer those that were judged."""
    assert encoder.checkpoint is not None
    judged = encoder.entry.get("weights")
    if judged is None or weights_hash(encoder.checkpoint.best_weights) == judged:
        return []
    return [
        Finding(
            "warning",
            (),
            encoder.title,
            "The newest checkpoint of this encoder's run holds other weights than those that were judged, so what is "
            "said of it here may be about another training",
            "Put back the checkpoint, or evaluate again",
        )
    ]


def fitted_check(run: Run, encoders: list[Encoder]) -> Check:
    """Whether scaler and alignment are those of the training windows: fitted again, and compared."""
    name = "inputs fitted outside train"
    found: list[Finding] = []
    said: list[str] = []
    done: set[Path] = set()
    for encoder in encoders:
        if encoder.run is None or encoder.checkpoint is None or encoder.run.path in done:
            continue
        done.add(encoder.run.path)
        found += refitted(encoder.run, encoder.checkpoint.fitted, encoder.title, said)
    if run.kind == "finetune" and (run.path / "classifier").is_dir():
        found += refitted(run, load_fitted(run.path / "classifier"), f"classifier of run {run.path.name}", said)
        found += probe_findings(run, encoders, said)
    apart = list(dict.fromkeys(said))
    looked_at = "; ".join(apart[:SHOWN]) + (f"; and {len(apart) - SHOWN} more" if len(apart) > SHOWN else "")
    return Check(name, looked_at or "checkpoints", merged(found), "" if said else "no checkpoint is there")


def cohort_of(run: Run) -> Cohort:
    """The run's windows and splits as a cohort."""
    data, looked = run.experiment.data, run.looked
    windows = Windows(
        looked.store,
        looked.table,
        data.input_scale,
        data.align,
        devices=chosen_devices(data),
        normalise=data.normalise,
    )
    splits = [one.split for one in looked.placed]
    return Cohort(windows, splits, None, "test", tuple(data.missing), run.experiment.seed)


def refitted(run: Run, there: Fitted, title: str, said: list[str]) -> list[Finding]:
    """A leak if what was fitted is not what the training windows give."""
    cohort = cohort_of(run)
    if not cohort.windows.needs_fit:
        said.append(f"nothing is fitted across recordings (input_scale: {cohort.windows.scale}, no alignment)")
        return []
    windows = cohort.for_fold(0).windows
    said.append(f"{names(list(there.arrays()))} of {title}, fitted again on the training windows")
    wrong = unlike(windows.known, there)
    if not wrong:
        return []
    return [
        Finding(
            "leak",
            (),
            title,
            f"What windows are read by ({names(wrong)}) is not what the training windows give"
            + guessed(windows, cohort, there),
            "Pretrain again, so that it is fitted after the split, on training patients alone",
        )
    ]


def unlike(own: Fitted, there: Fitted) -> list[str]:
    """Names of the arrays that differ, or that only one of two has."""
    mine, theirs = own.arrays(), there.arrays()
    return [
        name
        for name in sorted(mine.keys() | theirs.keys())
        if name not in mine
        or name not in theirs
        or mine[name].shape != theirs[name].shape
        or not np.allclose(mine[name], theirs[name], rtol=CLOSE, atol=CLOSE * float(np.abs(mine[name]).max(initial=0)))
    ]


def guessed(windows: Windows, cohort: Cohort, there: Fitted) -> str:
    """On which other windows it was fitted, where one of the usual mistakes explains it."""
    rows = cohort.parts()
    tried = {
        "all windows, those of test patients too": np.arange(len(windows)),
        "the windows of train and test": np.concatenate([rows["train"], rows["test"]]),
        "the windows of train and validation": np.concatenate([rows["train"], rows["validation"]]),
        "all windows of the split": np.concatenate([rows[part] for part in PARTS]),
        "the test windows": rows["test"],
    }
    for words, mine in tried.items():
        if len(mine) and not unlike(replace(windows, train=np.sort(mine), fitted=None).known, there):
            return f", but what {words} give"
    return ""


def probe_findings(run: Run, encoders: list[Encoder], said: list[str]) -> list[Finding]:
    """A leak if the linear classifier's scaler is not that of the labelled training windows."""
    path = run.path / "classifier" / "probe.npz"
    if not path.is_file() or not encoders or encoders[0].checkpoint is None:
        return []
    arrays, spec = np.load(path), run.experiment.evaluate
    rows = labelled_rows(run)
    if "mean" not in arrays or spec.per_recording != "none" or rows is None or len(rows) > MOST_PROBE_ROWS:
        return []
    values = embedded(run, encoders[0], rows)
    said.append(f"the scaler of the classifier of run {run.path.name}, fitted again on {len(rows)} labelled windows")
    mean, std = values.mean(axis=0), values.std(axis=0)
    size = np.where(std > 0, std, 1)
    scale = np.where(std > 0, std, 1)
    away = max(np.abs((arrays["mean"] - mean) / size).max(), np.abs(arrays["scale"] / scale - 1).max())
    if away < 0.01:
        return []
    return [
        Finding(
            "leak",
            (),
            f"classifier of run {run.path.name}",
            f"The classifier's scaler is not that of the labelled training windows: it is {away:.2g} standard "
            "deviations away",
            "Fine-tune again",
        )
    ]


def labelled_rows(run: Run) -> np.ndarray | None:
    """Table rows of the windows that a fine-tuning had labels of; None where its record does not say."""
    from biocl.commands.study import Fold, draw_for

    cohort, spec = cohort_of(run), run.experiment.finetune
    fold = Fold(run.experiment, cohort, 0, cohort.parts(), None, torch.device("cpu"))
    data = Labelled.make(cohort.windows, list(run.looked.table.classes))
    rows, drawn = draw_for(fold, data, spec.labels, spec.draw)
    written = run.path / "labels.json"
    same = written.is_file() and read_json(written) == drawn.to_json()
    return rows if same else None


def embedded(run: Run, encoder: Encoder, rows: np.ndarray) -> np.ndarray:
    """Frozen embeddings (n, n_features) of table rows, joined with the auxiliary inputs."""
    assert encoder.checkpoint is not None
    cohort = cohort_of(run).for_fold(0, encoder.checkpoint.fitted)
    windows = cohort.windows
    model = build_model(run.experiment, windows, terms=[])
    load_encoder(model, encoder.checkpoint.best_weights)
    values = embed(model, windows, rows, device=torch.device("cpu"))
    return np.hstack([values, windows.table.aux[rows]])


def first_embedding(run: Run, encoders: list[Encoder], rows: np.ndarray) -> tuple[np.ndarray, str] | str:
    """The embedding of the run's first encoder on table rows with its name, or why there is none."""
    there = [encoder for encoder in encoders if encoder.checkpoint is not None]
    if not there:
        return "no checkpoint is there"
    own = there[0].run
    if own is None or own.looked.table.digest() != run.looked.table.digest():
        return "the encoder was trained on other windows"
    try:
        return embedded(own, there[0], rows), f"frozen embedding of {there[0].title}"
    except BioclError as error:
        return error.what
