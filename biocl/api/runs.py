"""A run folder as an object: everything that is said of it is read from there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from biocl.commands.embed import Embedding, embed_arrays, embed_windows
from biocl.commands.pretrain import summary
from biocl.config import load_experiment
from biocl.errors import UsageError
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.reports.notebook import markdown_html
from biocl.store.store import Store
from biocl.training.run import read_metrics

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
    def split(self) -> dict[str, Any]:
        """The content of ``split.json``: patients and counts per part; of a study, of each of its ``folds``."""
        return dict(read_json(self.path / "split.json"))

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
            return summary(self.path, read_metrics(self.path / "metrics.jsonl"))
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
            found = embed_windows(self.path, store, device=device)
        else:
            found = embed_arrays(self.path, windows, patients=patients, sfreq=sfreq, device=device)
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
