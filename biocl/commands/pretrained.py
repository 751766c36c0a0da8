"""Which encoder is judged: of a named run, of a finished one beside it, or pretrained now; and what is refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biocl.commands.pretrain import pretrain
from biocl.commands.setup import build_model, split_record
from biocl.commands.study import Fold
from biocl.errors import LeakageError, UsageError
from biocl.evaluation.protocol import devices_title
from biocl.files import digest, read_json, write_json
from biocl.training.averaging import Weights
from biocl.training.checkpoint import checkpoints, load_checkpoint, patient_hashes


def take_pretrained(fold: Fold, from_run: Path | None, folder: Path, *, one_fold: bool = False) -> None:
    """Load the weights of the named run, or of a finished one in `folder` with this configuration and split.

    Where there is neither, the fold keeps no weights; see `pretrain_inside`.

    Raises
    ------
    UsageError
        `from_run` is not the run folder of a pretraining, or it is one run for several folds.
    LeakageError
        The encoder was trained on patients who are judged.
    """
    if from_run is not None:
        if not (from_run / "checkpoints").is_dir():
            raise UsageError(
                "This is not the run folder of a pretraining",
                from_run,
                "Give --from the folder that `biocl pretrain` left",
            )
        if len(fold.cohort.splits) > 1 and not one_fold:
            raise UsageError(
                f"The split has {len(fold.cohort.splits)} folds, and one run was pretrained for one of them",
                "--from",
                "Leave --from out: each fold is then pretrained on its own training patients",
            )
    found = from_run or finished_pretraining(fold, folder)
    if found is not None:
        load_pretrained(fold, found)


def pretrain_inside(fold: Fold, run: Path) -> None:
    """Pretrain a fold on its training patients, in a folder inside the run's."""
    words = [f"pretrain-fold{fold.number}"]
    if fold.variant:
        words += [*re.findall(r"[A-Za-z0-9.]+", fold.variant), digest(fold.variant)[:6]]
    if fold.devices:
        named = [re.findall(r"[A-Za-z0-9.]+", name) for name in fold.devices]
        words += [word for device in named for word in device]
        # The hash tells apart what the signs make alike.
        plain = [[name] for name in fold.devices] == named
        words += [] if plain else [digest(list(fold.devices))[:6]]
    inside = run / "-".join(words)
    pretrain(fold.experiment, inside, device=str(fold.device), resume=True, fold=fold.number, cohort=fold.cohort)
    load_pretrained(fold, inside)


def load_pretrained(fold: Fold, run: Path) -> None:
    """Give a fold the weights of a run, with what is known of them, unless they do not belong here."""
    checkpoint = load_checkpoint(run / "checkpoints", fold.device)
    check_head(checkpoint.state, fold, run)
    fold.marks = [*check_fits(checkpoint.state, fold, run), *check_unseen(checkpoint.state, fold, run)]
    check_heads(checkpoint.best_weights, fold, run)
    fold.pretrained = checkpoint.best_weights
    fold.encoder = {
        "fold": fold.number,
        "variant": fold.variant,
        "devices": devices_title(fold.devices),
        "run": str(run),
        "step": checkpoint.state["step"],
        "weights": weights_hash(fold.pretrained),
    }
    fold.take_fitted(checkpoint.fitted)


def share_pretrained(fold: Fold) -> None:
    """Give a fold the weights of its source, which was pretrained on other devices of the same patients.

    Scaler and alignment are those of this fold's own channels, fitted on its training windows.
    """
    assert fold.source is not None
    fold.pretrained, fold.marks, fold.encoder = fold.source.pretrained, fold.source.marks, fold.source.encoder


def check_head(state: dict[str, Any], fold: Fold, run: Path) -> None:
    """Mode joint judges the head of the run: refuse one that has none, or tells other classes apart."""
    if "joint" not in fold.experiment.evaluate.modes or not fold.experiment.has_head:
        return
    now, there = list(fold.windows.table.classes), state.get("classes")
    if not state.get("trains_head"):
        raise UsageError(
            "evaluate.modes: joint judges the head that was trained with the encoder, and this run trained none",
            run,
            "Leave --from out, or use mode linear",
        )
    if there != now:
        raise UsageError(
            f"The head of this run tells {', '.join(there or ['unknown classes'])} apart, and the configuration has "
            f"{', '.join(now)}",
            run,
            "Set data.classes as in that run's config.yaml, or leave --from out",
        )


def check_heads(weights: Weights, fold: Fold, run: Path) -> None:
    """Refuse a run whose heads are not this configuration's, where they are judged as they were trained.

    Raises
    ------
    UsageError
    """
    experiment = fold.experiment
    as_trained = experiment.judged == "forecasting" or "joint" in experiment.evaluate.modes
    if not (as_trained and experiment.has_head):
        return
    wanted = build_model(experiment, fold.windows).heads.state_dict(prefix="heads.")
    there = {name: value for name, value in weights.items() if name.startswith("heads.")}
    wrong = [
        name
        for name in [*wanted, *there]
        if name not in wanted or name not in there or wanted[name].shape != there[name].shape
    ]
    if wrong:
        raise UsageError(
            f"The heads of this run are not those of the configuration, which differ in {wrong[0]}",
            run,
            "Set data.windows and the heads of terms as in that run's config.yaml, or leave --from out",
        )


def weights_hash(weights: Weights) -> str:
    """SHA-256 (hex) of all weights, by name."""
    hashed = hashlib.sha256()
    for name in sorted(weights):
        hashed.update(name.encode())
        hashed.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()


def finished_pretraining(fold: Fold, folder: Path) -> Path | None:
    """The newest finished pretraining in a folder of runs with the same configuration, split, windows and store."""
    table = split_record(fold.cohort.splits[fold.number], fold.windows, fold.parts)
    for path in sorted(folder.glob("*/results.json"), key=lambda p: p.stat().st_mtime, reverse=True):
        run = path.parent
        found = checkpoints(run / "checkpoints")
        if not found:
            continue
        split, state = read_json(run / "split.json"), read_json(found[-1] / "state.json")
        is_split = all(split.get(key) == table[key] for key in ("digest", "windows_digest", "store_hash"))
        same_config = state.get("pretraining_digest") == fold.experiment.pretraining_digest
        if is_split and same_config and split.get("fold") == fold.number:
            return run
    return None


def check_fits(state: dict[str, Any], fold: Fold, run: Path) -> list[str]:
    """Refuse an encoder of other channels, rate or scaling; mark one of other windows or of an unfinished run."""
    windows = fold.windows
    now = {
        "channels": [channel.name for channel in windows.channels],
        "sfreq": windows.table.sfreq,
        "input_scale": windows.scale,
        "align": whose_reference(windows.align.model_dump() if windows.align else None),
    }
    there = {**state, "align": whose_reference(state.get("align"))}
    wrong = [f"{key} {there.get(key)!r} there, {value!r} here" for key, value in now.items() if there.get(key) != value]
    if wrong:
        raise UsageError(
            f"The encoder was pretrained on other signals: {'; '.join(wrong)}",
            run,
            "Prepare the store and set data.input_scale and data.align as in that run's config.yaml",
        )
    marks = []
    if state["n_times"] != windows.n_times:
        marks.append(f"pretrained on windows of {state['n_times']} samples, judged on {windows.n_times}")
    if not (run / "results.json").is_file():
        marks.append(f"pretraining was not finished (step {state['step']})")
    return marks


def whose_reference(align: dict[str, Any] | None) -> dict[str, Any] | None:
    """An alignment without its mode: that is about patients whom training has not seen, so one run serves all modes."""
    return None if align is None else {key: value for key, value in align.items() if key != "mode"}


def check_unseen(state: dict[str, Any], fold: Fold, run: Path) -> list[str]:
    """Refuse an encoder that was trained on a patient who is judged, or return the mark for every table.

    Validation patients may be judged by an encoder that saw them as such: nothing of it was fitted to them.

    In the scopes time and trial a patient is on several sides by name; an encoder of this very split saw of
    it what the split leaves to training, and is marked. An encoder of another split is refused.

    Raises
    ------
    LeakageError
        With the number of shared patients and their names.
    """
    meta, table = fold.windows.store.meta, fold.windows.table
    trained = set(state["patients"])
    tested = sorted({table.names["patient"][i] for i in np.unique(table.rows["patient"][fold.judged])})
    seen = [name for name in tested if patient_hashes(meta["dataset"], meta["version"], [name])[0] in trained]
    split, part = fold.cohort.splits[fold.number], fold.experiment.evaluate.part
    allowed = seen if split.scope != "patient" and same_split(fold, run) else split.allow_shared
    unexpected = [name for name in seen if name not in allowed]
    if unexpected and not fold.experiment.evaluate.allow_seen:
        raise LeakageError(
            f"The encoder was pretrained on {len(unexpected)} of {len(tested)} {part} patients: "
            + ", ".join(unexpected[:8]),
            "--from",
            "Pretrain on this split's training patients, or set evaluate.allow_seen: true, which marks every table",
        )
    return [SEEN.format(part) + ", ".join(seen)] if seen else []


SEEN = "NOT patient-independent: pretrained on {} patients "


def choosing_marks(part: str, modes: Sequence[str]) -> list[str]:
    """What has to be said where those who are judged had a say in the classifier."""
    tuned = [mode for mode in ("partial", "full") if mode in modes]
    if part == "test" or not tuned:
        return []
    return [f"mode {' and '.join(tuned)}: the step that is kept was chosen on the patients judged, so scores are high"]


def joined_marks(marks: Iterable[str], part: str = "test") -> list[str]:
    """Each mark once, and the patients judged whom the encoders of several folds were trained on in one."""
    every, said = list(dict.fromkeys(marks)), SEEN.format(part)
    seen = [name for mark in every if mark.startswith(said) for name in mark.removeprefix(said).split(", ")]
    return [mark for mark in every if not mark.startswith(said)] + (
        [said + ", ".join(dict.fromkeys(seen))] if seen else []
    )


def same_split(fold: Fold, run: Path) -> bool:
    """Whether a run was pretrained on this fold's split of these windows."""
    there, here = read_json(run / "split.json"), fold.cohort.splits[fold.number].digest()
    return bool(there.get("digest") == here and there.get("windows_digest") == fold.windows.table.digest())


def remember_encoders(folds: list[Fold], run: Path) -> list[dict[str, Any]]:
    """Write which weights a run judges; a resume with other weights is refused.

    Raises
    ------
    UsageError
        The run folder holds results of another encoder.
    """
    path = run / "encoders.json"
    now = [fold.encoder for fold in folds]
    if path.is_file():
        before = read_json(path)
        if [one["weights"] for one in before] != [one["weights"] for one in now]:
            raise UsageError(
                f"This run was started with the encoder of {before[0]['run']}, step {before[0]['step']}, "
                "and these weights are others",
                path,
                "Resume with the same --from, or start a new run",
            )
        return list(before)
    write_json(path, now)
    return now
