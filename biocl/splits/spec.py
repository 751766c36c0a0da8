"""Keys of ``split:`` in a configuration file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from biocl.spec import Spec

Scope = Literal["patient", "time", "trial"]
Patient = Literal["patient", "record"]


class AnySplit(Spec):
    """What all forms share."""

    scope: Scope = "patient"
    """Who or what is kept apart; only patient may be called patient-independent."""
    patient: Patient = "patient"
    """What counts as one patient. Data that do not say whose a recording is need `record`, which marks every table."""


class NamedSplit(AnySplit):
    """A list that the data set publishes, such as mitdb's ``ds1-ds2``."""

    name: str
    """Name of a split that the data set publishes."""


class FileSplit(AnySplit):
    """A split file, written by biocl or by hand; `scope` must be the file's."""

    file: str
    """Path of a split file."""


class DrawnSplit(AnySplit):
    """What all drawn splits share: a seed and, for scope ``time``, a gap (default: one window)."""

    stratify: bool = True
    """Give every part its share of the classes, as far as whole units allow."""
    gap_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Scope time: seconds left out between parts; default one window."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draw."""

    @model_validator(mode="after")
    def gap_needs_time(self) -> DrawnSplit:
        """A gap means nothing where whole patients or trials are apart."""
        if self.gap_s is not None and self.scope != "time":
            raise ValueError(f"gap_s belongs to scope: time, but the scope is {self.scope}")
        return self


class RandomSplit(DrawnSplit):
    """One draw by shares of train, validation and test."""

    kind: Literal["random"]
    """Which form this is; each has keys of its own."""
    fractions: list[float] = Field(default=[0.6, 0.2, 0.2], min_length=3, max_length=3)
    """Shares of train, validation and test."""

    @model_validator(mode="after")
    def fractions_add_up(self) -> RandomSplit:
        """Train and test need something, and the three make a whole."""
        check_fractions(self.fractions)
        return self


class KFoldSplit(DrawnSplit):
    """Every unit is tested once; `validation` is a share of what is left in each fold."""

    kind: Literal["k-fold"]
    """Which form this is; each has keys of its own."""
    n_folds: int = Field(default=5, ge=2)
    """Number of folds; each unit is tested once."""
    validation: float = Field(default=0.2, ge=0, lt=0.5)
    """Share of what is not tested that is validation."""
    repeats: int = Field(default=1, ge=1)
    """Draws of the folds, each with a seed of its own; folds are numbered on. Scores are means over the draws, so
    that a patient who is tested several times counts once."""

    @model_validator(mode="after")
    def repeats_are_draws(self) -> KFoldSplit:
        """Folds in time order draw nothing, so they have nothing to repeat."""
        if self.repeats > 1 and self.scope == "time":
            raise ValueError("repeats are draws of their own, and scope: time draws nothing: leave repeats out")
        return self


class LeaveOneOutSplit(DrawnSplit):
    """Every patient is tested alone; `validation` is a share of the others."""

    kind: Literal["leave-one-out"]
    """Which form this is; each has keys of its own."""
    validation: float = Field(default=0.2, ge=0, lt=0.5)
    """Share of what is not tested that is validation."""
    scope: Literal["patient"] = "patient"
    """Who or what is kept apart; only patient may be called patient-independent."""


class InTime(AnySplit):
    """What splits inside patients share: whole trials, cut along each patient's time."""

    per_patient: bool = False
    """A model for every patient, trained and tested on this patient's trials alone, with folds of its own; otherwise
    all patients' training trials train one model."""

    @model_validator(mode="after")
    def trials_are_apart(self) -> InTime:
        """These splits have everybody on both sides, so the configuration has to say it."""
        if self.scope != "trial":
            raise ValueError(
                "this kind has every patient in training and in test and keeps whole trials apart: write scope: trial"
            )
        return self


class ChronologicalSplit(InTime):
    """Of every patient and class the first trials train and the last are tested."""

    kind: Literal["chronological"]
    """Which form this is; each has keys of its own."""
    fractions: list[float] = Field(default=[0.8, 0.0, 0.2], min_length=3, max_length=3)
    """Shares of train, validation and test, in this order of time, of each patient's trials of each class."""

    @model_validator(mode="after")
    def fractions_add_up(self) -> ChronologicalSplit:
        """As in a random split."""
        check_fractions(self.fractions)
        return self


class ChronologicalKFoldSplit(InTime):
    """Of every patient and class a run of neighbouring trials is tested, each trial once."""

    kind: Literal["chronological-k-fold"]
    """Which form this is; each has keys of its own."""
    n_folds: int = Field(default=5, ge=2)
    """Number of runs, which differ by at most one trial; each is tested once."""
    validation: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of each patient's and class's trials not tested that is validation: the last ones in time."""


def check_fractions(fractions: list[float]) -> None:
    """Train and test need something, and the three make a whole."""
    train, validation, test = fractions
    if train <= 0 or test <= 0 or validation < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError("fractions are train, validation, test: they add up to 1, only validation may be 0")


def split_form(value: Any) -> str:
    """Which form a split has: ``name``, ``file`` or its ``kind``."""
    get = value.get if isinstance(value, dict) else lambda key, default=None: getattr(value, key, default)
    for key in ("name", "file"):
        if get(key) is not None:
            return key
    return str(get("kind", "random"))


SplitSpec = Annotated[
    Annotated[NamedSplit, Tag("name")]
    | Annotated[FileSplit, Tag("file")]
    | Annotated[RandomSplit, Tag("random")]
    | Annotated[KFoldSplit, Tag("k-fold")]
    | Annotated[LeaveOneOutSplit, Tag("leave-one-out")]
    | Annotated[ChronologicalSplit, Tag("chronological")]
    | Annotated[ChronologicalKFoldSplit, Tag("chronological-k-fold")],
    Discriminator(
        split_form,
        custom_error_type="split_form",
        custom_error_message="a split is {name: …}, {file: …} or {kind: random | k-fold | leave-one-out | "
        "chronological | chronological-k-fold}",
    ),
]
