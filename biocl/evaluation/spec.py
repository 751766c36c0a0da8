"""Keys of the configuration that belong to evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from biocl.errors import UsageError
from biocl.evaluation.labels import parse_labels
from biocl.spec import Spec

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class ProbeSpec(Spec):
    """The linear probe (`biocl.evaluation.probe`).

    ``c: inner-folds`` chooses ``C`` between the labelled patients; a number fixes it. COMET's own probe is
    ``{kind: one-vs-rest, class_weight: none, c: 1.0, max_iter: 1000000}``.
    """

    kind: Literal["softmax", "one-vs-rest"] = "softmax"
    class_weight: Literal["balanced", "none"] = "balanced"
    c: Literal["inner-folds"] | Positive = "inner-folds"
    # Half decades: features of a window are many and alike, so the good values are small.
    c_grid: list[Positive] = Field(default=[1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0], min_length=1)
    default_c: Positive = 1e-2
    n_folds: Annotated[int, Field(ge=2)] = 5
    max_rows: Count = 100_000
    max_inner_rows: Count = 8_000
    max_iter: Count = 1_000
    tolerance: Positive = 1e-4
    inner_tolerance: Positive = 1e-3


class EvaluateSpec(Spec):
    """The key ``evaluate``: which cells a protocol has, and how they are scored."""

    class_sets: list[list[str]] | None = None
    """Tasks, each a list of classes; windows of other classes are left out. Default: one, of all classes."""
    labels: list[str] = Field(default=["all"], min_length=1)
    """Amounts of labels, each with its unit: 2 patients, 10% patients, 1% windows, first 1% windows, all."""
    draws: Count = 3
    """Draws of every amount (of ``all`` there is one)."""
    lacking_class: Literal["error", "mark"] = "error"
    """What happens to a draw that lacks a class of the training part."""
    modes: list[Literal["linear", "partial", "full"]] = Field(default=["linear"], min_length=1)
    """How the labels are used."""
    probe: ProbeSpec = ProbeSpec()
    """The probe of mode linear and of the floors."""
    embedding_scale: Literal["none", "recording"] = "none"
    """z-score of embedding and floors over the windows of each recording (no labels are used)."""
    bootstrap_draws: Count = 1000
    """Bootstrap draws of patients behind every interval."""
    allow_seen: bool = False
    """Evaluate an encoder on patients that it was pretrained on; every table is marked."""

    @field_validator("labels", mode="before")
    @classmethod
    def _have_units(cls, labels: object) -> object:
        # Before the type check, so that a bare number is told about units rather than about strings.
        for amount in labels if isinstance(labels, list) else []:
            try:
                parse_labels(str(amount))
            except UsageError as error:
                raise ValueError(error.paragraph()) from error
        return labels
