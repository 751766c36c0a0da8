"""Prepare, pretrain, fine-tune, evaluate."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biocl.api.runs import Evaluation, Place, Run
from biocl.commands import evaluate as evaluating
from biocl.commands import finetune as finetuning
from biocl.commands import pretrain as pretraining
from biocl.commands.inspect import require_windows
from biocl.commands.prepare import prepare_named
from biocl.config import Overrides, Source, load_experiment
from biocl.store.store import Store
from biocl.training.run import default_run


def prepare(
    name: Place,
    *,
    raw: Place | None = None,
    download: bool = False,
    config: Place | None = None,
    out: Place | None = None,
    jobs: int = 1,
    resample_hz: float | None = None,
    sfreq: float | None = None,
    modality: str = "other",
    layout: Place | None = None,
    files: str | None = None,
) -> Store:
    """Turn native files into a store, or open the one that is there: ``biocl data prepare``.

    Parameters
    ----------
    name : str or Path
        A data set (``biocl data list``); or your own recordings: a CSV with the columns ``path, patient, trial, label,
        start, end``, or, with `files`, a folder.
    raw, out : path, optional
        Folder of the native files, and where the store goes (your own recordings need it).
    download : bool
        Fetch the native files first.
    config : path, optional
        Condition as this configuration says.
    jobs : int
        Processes.
    resample_hz : float, optional
        0 keeps the native rate.
    sfreq, modality, layout, files
        Of your own recordings: rate of tables of numbers; ``ecg``, ``eeg``, ``imu`` or ``other``; a YAML that describes
        the tables; a template of paths, ``sub-{patient}/{trial}_{label}.edf``.

    Returns
    -------
    Store

    Raises
    ------
    UsageError, DataError
        As the command line.

    Examples
    --------
    >>> store = biocl.prepare("synthetic-ecg")  # doctest: +SKIP
    >>> store = biocl.prepare("recordings.csv", sfreq=250, modality="ecg", out="stores/mine")  # doctest: +SKIP
    """
    store = prepare_named(
        os.fspath(name),
        raw=path_of(raw),
        download=download,
        config=path_of(config),
        out=path_of(out),
        n_jobs=jobs,
        resample_hz=resample_hz,
        sfreq=sfreq,
        modality=modality,
        layout=path_of(layout),
        files=files,
    )
    require_windows(store)
    return store


def pretrain(
    config: Source,
    overrides: Overrides = (),
    *,
    out: Place | None = None,
    device: str = "auto",
    seed: int | None = None,
    resume: bool = False,
    **keys: Any,
) -> Run:
    """Pretrain an encoder on the training patients: ``biocl pretrain``.

    Parameters
    ----------
    config : path, str, mapping or Experiment
        A YAML file, the name of a shipped one, or the content of one.
    overrides : mapping, or sequence of str
        Keys of the configuration to replace: ``{"train.steps": 5}`` or ``["train.steps=5"]``.
    out : path, optional
        Run folder; default ``runs/NAME-TIME``.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    seed : int, optional
        Replaces the configuration's.
    resume : bool
        Continue what is in `out`, or start it.
    **keys
        More overrides: ``**{"train.steps": 5}``; of top-level keys simply ``name="mine"``.

    Returns
    -------
    Run

    Raises
    ------
    UsageError, DataError, LeakageError, Interrupted
        As the command line.

    Examples
    --------
    >>> run = biocl.pretrain("demo", {"train.steps": 5}, out="runs/demo")  # doctest: +SKIP
    """
    experiment = load_experiment(config, joined(overrides, keys), seed=seed)
    target = path_of(out) or default_run(experiment.name)
    return Run(pretraining.pretrain(experiment, target, device=device, resume=resume))


def finetune(
    config: Source,
    overrides: Overrides = (),
    *,
    from_run: Place | None = None,
    labels: str | None = None,
    mode: str | None = None,
    out: Place | None = None,
    device: str = "auto",
    seed: int | None = None,
    resume: bool = False,
    **keys: Any,
) -> Run:
    """Fine-tune with some labels, and judge on the test patients: ``biocl finetune``.

    Parameters
    ----------
    config, overrides, out, device, seed, resume, **keys
        As in `pretrain`; `out` is by default ``runs/NAME-finetune-TIME``.
    from_run : Run or path, optional
        A pretraining.
    labels : str, optional
        ``"2 patients"``, ``"10% patients"``, ``"1% windows"`` or ``"all"``.
    mode : str, optional
        ``linear``, ``partial`` or ``full``.

    Returns
    -------
    Run
        Its folder holds ``classifier/`` and ``predictions.csv``.

    Raises
    ------
    UsageError, DataError, LeakageError, Interrupted
        As the command line.

    Examples
    --------
    >>> print(biocl.finetune("demo", from_run=run, labels="4 patients"))  # doctest: +SKIP
    """
    chosen = {"finetune.labels": labels, "finetune.mode": mode}
    given = {key: value for key, value in chosen.items() if value is not None}
    experiment = load_experiment(config, [*joined(overrides, keys), given], seed=seed)
    target = path_of(out) or default_run(f"{experiment.name}-finetune")
    finetuning.finetune(experiment, path_of(from_run), target, device=device, resume=resume)
    return Run(target)


def evaluate(
    config: Source,
    overrides: Overrides = (),
    *,
    from_run: Place | None = None,
    out: Place | None = None,
    device: str = "auto",
    seed: int | None = None,
    resume: bool = False,
    **keys: Any,
) -> Evaluation:
    """Run the whole protocol, folds, label sizes, draws, modes and floors: ``biocl evaluate``.

    Parameters
    ----------
    config, overrides, out, device, seed, resume, **keys
        As in `pretrain`; `out` is by default ``runs/NAME-evaluate-TIME``.
    from_run : Run or path, optional
        A pretraining; without it each fold is pretrained.

    Returns
    -------
    Evaluation
        ``text`` is what the command line prints; ``rows``, ``differences`` and ``table`` are the numbers.

    Raises
    ------
    UsageError, DataError, LeakageError, Interrupted
        As the command line.

    Examples
    --------
    >>> study = biocl.evaluate("demo", from_run=run)  # doctest: +SKIP
    >>> print(study.text)  # doctest: +SKIP
    """
    experiment = load_experiment(config, joined(overrides, keys), seed=seed)
    target = path_of(out) or default_run(f"{experiment.name}-evaluate")
    evaluating.evaluate(experiment, path_of(from_run), target, device=device, resume=resume)
    return Evaluation(target)


def path_of(place: Place | None) -> Path | None:
    """A path, a run or a store as a path."""
    return None if place is None else Path(place)


def joined(overrides: Overrides, keys: Mapping[str, Any]) -> list[Any]:
    """All overrides in their order."""
    return [*([overrides] if isinstance(overrides, Mapping | str) else overrides), keys]
