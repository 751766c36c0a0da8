"""Keys of ``train:`` and ``finetune:``, and those of ``data:`` that belong to a run rather than to a store."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from biocl.objectives.head_spec import HeadSpec
from biocl.spec import Spec
from biocl.views.spec import ViewSpec

Count = Annotated[int, Field(ge=1)]
Steps = Annotated[int, Field(ge=0)]


InputScale = Literal["none", "window", "recording", "trial", "train", "kind"]
Normalise = Literal["none", "instance", "last"]


class AlignSpec(Spec):
    """Euclidean alignment: windows whitened by the mean covariance of their group; see
    `biocl.training.euclidean`."""

    kind: Literal["euclidean"]
    """Which alignment."""
    mode: Literal["inductive", "online", "transductive"] = "inductive"
    """Reference of who is not in the training part: inductive, the mean training covariance; online, the running
    mean over its own windows so far; transductive, the mean over all of its own windows. The last two look at
    unlabelled windows of test patients, and every table says so."""
    per: Literal["patient", "session", "recording"] = "patient"
    """Whose windows share a reference."""

    @property
    def marks(self) -> tuple[str, ...]:
        """What every table of results has to say."""
        seen = {"online": "so far", "transductive": "all together"}
        if self.mode == "inductive":
            return ()
        return (f"{self.mode} alignment: uses the own unlabelled windows of the patients judged, {seen[self.mode]}",)


class UniformAverage(Spec):
    """Mean of the weights after every step."""

    kind: Literal["uniform"]
    """Mean of the weights."""
    burn_in_steps: Steps = 0
    """Steps before the mean starts."""
    include_init: bool = False
    """Count the random initial weights as the first iterate, as COMET's public code does."""


class EmaAverage(Spec):
    """Exponential moving average of the weights."""

    kind: Literal["ema"]
    """Exponential moving average."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Share of the old average that stays at each step."""
    burn_in_steps: Steps = 0
    """Steps before the average starts."""


AverageSpec = Annotated[UniformAverage | EmaAverage, Field(discriminator="kind")]


class OptimSpec(Spec):
    """AdamW with a schedule."""

    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    """Learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    """Weight decay of AdamW."""
    schedule: Literal["constant", "cosine"] = "constant"
    """cosine falls towards zero, which the step after the last would have."""
    warmup_steps: Steps = 0
    """Steps of linear rise at the start."""
    clip_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Largest gradient norm."""
    accumulate: Count = 1
    """Micro-batches an optimiser step; negatives do not cross them."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """auto is bf16 autocast on a GPU that has it, float32 elsewhere."""


class TrainSpec(OptimSpec):
    """Length of pretraining, weight average, how often to log, validate and save."""

    steps: Count | None = None
    """Optimiser steps; give either steps or epochs."""
    epochs: Count | None = None
    """Passes over the training windows; give either steps or epochs."""
    average: AverageSpec | None = UniformAverage(kind="uniform")
    """Which average of the weights is evaluated; null evaluates the last weights."""
    log_every: Count = 10
    """Steps between two lines of metrics.jsonl."""
    validate_every: Count | None = None
    """Steps between two looks at the validation patients; there is always one after the last step."""
    checkpoint_every: Count = 200
    """Steps between two checkpoints."""
    compile: bool = False
    """Compile the encoder (worth its minute of warm-up on a GPU only)."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainSpec:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        return self


class FinetuneSpec(OptimSpec):
    """How labels are used by gradient fine-tuning."""

    mode: Literal["linear", "partial", "full"] = "linear"
    """linear: logistic regression on the frozen encoder (what COMET calls partial fine-tuning). partial: the
    head and the encoder's last n_blocks blocks. full: everything."""
    labels: str = "all"
    """How much is labelled, with its unit: 2 patients, 10% patients, 1% windows, all. A study (evaluate) has
    its own labels, draws and modes, and takes the other keys from here."""
    draw: Annotated[int, Field(ge=0)] = 0
    """Which draw of labelled patients or windows."""
    head: HeadSpec = HeadSpec(kind="mlp")
    """Head of partial and full."""
    view: ViewSpec = []
    """What is done to a window in training (COMET's public code masks half of the hidden steps)."""
    n_blocks: Count = 1
    """Blocks that train in mode partial."""
    max_steps: Count = 300
    """Optimiser steps at most; the weights that were best on validation patients are kept."""
    validate_every: Count = 50
    """Steps between two looks at the validation patients."""
    validation_windows: Count = 4000
    """Validation windows looked at, evenly spaced."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Windows a step."""
