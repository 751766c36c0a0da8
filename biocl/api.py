"""The command line's verbs as functions: the same arguments, the same run folders, the same numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from biocl.commands import embed as embeddings
from biocl.commands import evaluate as evaluating
from biocl.commands import finetune as finetuning
from biocl.commands import pretrain as pretraining
from biocl.commands.embed import Embedding
from biocl.commands.inspect import require_windows
from biocl.commands.prepare import prepare_named
from biocl.config import Overrides, Source, load_experiment
from biocl.errors import UsageError
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.reports.notebook import markdown_html
from biocl.store.store import Store
from biocl.training.run import default_run, read_metrics

Place = str | os.PathLike[str]


@dataclass(frozen=True)
class Run:
    """A run folder, opened: everything that is said of it is read from there.

    Parameters
    ----------
    path : str or Path
        Folder that `pretrain`, `finetune` or `evaluate` left, or the command line's verbs of these names.

    Raises
    ------
    UsageError
        There is no run here.

    Examples
    --------
    >>> run = biocl.Run("runs/demo/pretrain")  # doctest: +SKIP
    >>> run.metrics.plot(x="step", y="mean_loss")  # doctest: +SKIP
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if not (self.path / "run.json").is_file():
            raise UsageError("This folder is not a biocl run", self.path, "Give a folder that a run left")

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return markdown_html(self.text)

    @property
    def kind(self) -> str:
        """``pretrain``, ``finetune`` or ``evaluate``."""
        return str(read_json(self.path / "run.json")["kind"])

    @property
    def config(self) -> Experiment:
        """The resolved configuration."""
        return load_experiment(self.path / "config.yaml")

    @property
    def metrics(self) -> Any:
        """What was logged, a row a step: a `pandas.DataFrame`, or a list of dicts where pandas is absent."""
        path = self.path / "metrics.jsonl"
        steps: dict[int, dict[str, Any]] = {}
        for line in read_metrics(path) if path.is_file() else []:
            if line["step"] > 0:
                steps.setdefault(line["step"], {}).update(line)
        return as_frame(list(steps.values()))

    @property
    def results(self) -> dict[str, Any]:
        """The content of ``results.json``.

        Raises
        ------
        UsageError
            The run is not finished.
        """
        path = self.path / "results.json"
        if not path.is_file():
            raise UsageError("This run is not finished", self.path, "Repeat it with resume=True")
        return dict(read_json(path))

    @property
    def text(self) -> str:
        """What the command line prints at the end of the run."""
        if self.kind == "pretrain":
            return pretraining.summary(self.path, read_metrics(self.path / "metrics.jsonl"))
        tables = self.path / "tables.md"
        said = [tables.read_text(encoding="utf-8")] if tables.is_file() else []
        return "\n\n".join([*said, f"run folder: {self.path}"])

    def embed(
        self,
        windows: Place | Store | ArrayLike,
        *,
        patients: ArrayLike | None = None,
        sfreq: float | None = None,
        device: str = "auto",
    ) -> Embedding:
        """Embed every window of a store, or windows in memory, with this run's encoder.

        Parameters
        ----------
        windows : Store, path of a store, or array_like of shape (n_windows, n_chans, n_times)
            Arrays hold windows as the run's store has them: its channels in order, units, filters, sampling rate.
        patients : array_like, shape (n_windows,), optional
            Of arrays: whose windows these are; without it each is a patient of its own. What a run scales by
            recording it then scales by patient.
        sfreq : float, optional
            Of arrays: their samples per second, to be checked.
        device : str
            ``auto``, ``cpu`` or ``cuda``.

        Returns
        -------
        Embedding
            ``vectors`` (n_windows, D), ``windows`` (columns ``recording, patient, trial, label, start_s``, a
            `pandas.DataFrame` where pandas is there), ``marks``.

        Raises
        ------
        UsageError, DataError
            The windows are not what the encoder was trained on, or this run trained none.

        Examples
        --------
        >>> vectors, windows, marks = run.embed("stores/mine")  # doctest: +SKIP
        """
        if self.kind != "pretrain":
            raise UsageError(f"This is the folder of `{self.kind}`", self.path, "Open the run of the pretraining")
        if isinstance(windows, str | os.PathLike | Store):
            if patients is not None or sfreq is not None:
                raise UsageError("A store knows its patients and its rate", "patients, sfreq", "Leave them out")
            store = windows if isinstance(windows, Store) else Store.open(Path(windows))
            found = embeddings.embed_windows(self.path, store, device=device)
        else:
            found = embeddings.embed_arrays(self.path, windows, patients=patients, sfreq=sfreq, device=device)
        return found._replace(windows=as_frame(found.windows))


@dataclass(frozen=True)
class Evaluation(Run):
    """The run folder of a study, opened.

    Examples
    --------
    >>> study = biocl.evaluate("demo", from_run=run)  # doctest: +SKIP
    >>> study.table[["labels", "title", "metrics.macro_f1.value"]]  # doctest: +SKIP
    """

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One entry a line of the tables, with its intervals."""
        return list(self.results["rows"])

    @property
    def differences(self) -> list[dict[str, Any]]:
        """Paired differences between lines of the tables."""
        return list(self.results["differences"])

    @property
    def table(self) -> Any:
        """`rows` laid flat (``metrics.macro_f1.low`` …): a `pandas.DataFrame`, or a list of dicts without pandas."""
        return as_frame([flat(row) for row in self.rows])


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


def as_frame(columns: Any) -> Any:
    """A `pandas.DataFrame`, or the same as it is where pandas is absent."""
    try:
        import pandas
    except ImportError:
        return columns
    return pandas.DataFrame(columns)


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
