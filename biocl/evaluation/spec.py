"""Keys of the configuration that belong to evaluation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from biocl.errors import UsageError
from biocl.evaluation.labels import parse_labels
from biocl.spec import Spec
from biocl.training.spec import InputScale

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Judged = Literal["test", "validation"]


class ProbeSpec(Spec):
    """The linear probe (`biocl.evaluation.probe`).

    ``c: inner-folds`` chooses ``C`` between the labelled patients; a number fixes it. COMET's own probe is
    ``{kind: one-vs-rest, class_weight: none, c: 1.0, max_iter: 1000000}``.
    """

    kind: Literal["softmax", "one-vs-rest"] = "softmax"
    """One multinomial model, or one model a class against the rest."""
    class_weight: Literal["balanced", "none"] = "balanced"
    """balanced weighs each class by the inverse of its share of the labelled windows."""
    c: Literal["inner-folds"] | Positive = "inner-folds"
    """Inverse regularisation: chosen by macro-F1 on folds of the labelled patients, or fixed."""
    # Half decades: features of a window are many and alike, so the good values are small.
    c_grid: list[Positive] = Field(default=[1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0], min_length=1)
    """Candidates of c."""
    default_c: Positive = 1e-2
    """c where there is one labelled patient, and so no folds."""
    n_folds: Annotated[int, Field(ge=2)] = 5
    """Inner folds, at most as many as labelled patients."""
    max_rows: Count = 100_000
    """Labelled windows of the final fit; large classes are thinned first."""
    max_inner_rows: Count = 8_000
    """The same for each inner fold."""
    max_iter: Count = 1_000
    """Iterations of the solver at most."""
    tolerance: Positive = 1e-4
    """Stopping tolerance of the final fit."""
    inner_tolerance: Positive = 1e-3
    """Stopping tolerance in inner folds."""


class SpanSpec(Spec):
    """One table of a study of forecasts: how far back is looked, and how far ahead."""

    length_s: Positive
    """Seconds of a window, the look-back."""
    horizon_s: Positive
    """Seconds behind it that are forecast."""
    keys: dict[str, Any] = {}
    """Other keys of the experiment for this span alone, as in {train.steps: 600, encoder.each.patch_ms: 43200000}."""
    run: bool = True
    """false leaves the span out, and every table says that it was not run."""


class EvaluateSpec(Spec):
    """A protocol: who is judged, on which tasks, by how many labels, how they are used, and what is compared."""

    task: Literal["auto", "classification", "multi-label", "forecasting", "regression", "step-regression"] = "auto"
    """What is judged: classes, several labels (data.labels), what follows a window (data.windows.horizon_s), a number
    (data.target), or one at every time step (data.target of kind channel). auto is classes where a head for them is
    trained, else the labels, the number or the future that the configuration has, else classes."""
    spans: Annotated[list[SpanSpec], Field(min_length=1)] | None = None
    """Look-backs and horizons of a study of forecasts, each a table. Default: that of data.windows."""
    seeds: Count = 3
    """Seeds of a study of forecasts, counted up from the experiment's; tables show mean and range."""
    season_s: Positive | None = None
    """Period of the floor that copies the last season, in seconds. Default: a day, where steps divide it and the
    look-back holds it, else what the autocorrelation of train says."""
    part: Judged = "test"
    """Who is judged. validation makes every table of the inner validation patients of each fold, and test patients are
    not read at all: for choosing between methods, not for reporting. Tables say so."""
    class_sets: list[list[str]] | None = None
    """Tasks, each a list of classes of data.classes; windows of other classes are left out of a task.
    Default: one task with all classes."""
    labels: Annotated[list[str], Field(min_length=1)] = ["2 patients", "4 patients", "all"]
    """Label sizes with their unit."""
    draws: Count = 3
    """Draws of labelled patients (or windows) for each size but all."""
    lacking_class: Literal["error", "mark"] = "mark"
    """What happens when a draw has no window of a class."""
    modes: Annotated[list[Literal["joint", "linear", "partial", "full"]], Field(min_length=1)] = ["linear"]
    """How labels are used: joint is the head that is trained with the encoder (a term head: classification, regression
    or step-regression), linear a probe of the finished encoder; partial and full follow the keys of finetune:. Of
    forecasts, an arm with a head is judged as it was trained, any other by these modes; linear is then a ridge of every
    step."""
    devices: Annotated[
        list[Annotated[list[str], Field(min_length=1)] | Literal["all", "each", "pairs"]], Field(min_length=1)
    ] = ["all"]
    """Subsets of the devices, each with tables of its own, as in [[wrist], [wrist, ankle], all]; each and pairs are
    every device and every two of them. An encoder of each device (encoder: {each: …}) is trained once, on data.devices,
    and reads any subset, which may name other devices; of any other encoder, one is pretrained for every subset."""
    probe: ProbeSpec = ProbeSpec()
    """The linear probe of mode linear and of the floors."""
    per_recording: Literal["none", "centre", "deviation"] = "none"
    """What the probe reads of each feature: centre is its difference from the recording's median, deviation
    that and its absolute value. Both need the recording's unlabelled windows as a whole, at test time too;
    the floors are then shown with and without."""
    floor_scales: Annotated[list[InputScale], Field(min_length=1)] | None = None
    """Input scales (see data.input_scale) of the floors, each shown for every one of them, as in [none, window].
    Floors that do not look at the signal are shown once; a floor of nothing but levels is left out of z-scored
    windows. Default: as the encoder sees the windows, alignment included."""
    bootstrap_draws: Count = 1000
    """Resamples of the patients who are judged."""
    allow_seen: bool = False
    """Evaluate although patients who are judged were trained on; every table is then marked."""

    @field_validator("labels", mode="before")
    @classmethod
    def _units(cls, labels: object) -> object:
        # Before the type check, so that a bare number is told about units rather than about strings.
        try:
            return [parse_labels(str(text)).text for text in labels] if isinstance(labels, list) else labels
        except UsageError as error:
            raise ValueError(f"{error.what}. {error.fix}") from error

    @field_validator("devices", mode="before")
    @classmethod
    def _one_word(cls, devices: object) -> object:
        words = devices if isinstance(devices, list) else [devices]
        for word in words:
            if isinstance(word, str) and word not in ("all", "each", "pairs"):
                raise ValueError(
                    f"{word!r} is not all, each or pairs; a subset of the devices is a list, as in [[{word}]]"
                )
        return words

    @model_validator(mode="after")
    def _tasks_make_sense(self) -> EvaluateSpec:
        lists: dict[str, Sequence[Hashable]] = {
            "spans": [(span.length_s, span.horizon_s) for span in self.spans or []],
            "labels": self.labels,
            "class_sets": [tuple(names) for names in self.class_sets or []],
            "floor_scales": self.floor_scales or [],
        }
        for key, given in lists.items():
            if len(set(given)) < len(given):
                raise ValueError(f"{key} names one entry twice")
        if self.spans and not any(span.run for span in self.spans):
            raise ValueError("spans: none is run")
        for names in self.class_sets or []:
            if len(set(names)) < max(2, len(names)):
                raise ValueError(f"class_sets: a task has two classes at least, each once, not {names}")
        return self
