"""Keys of the terms that are a head with its loss, told apart by ``head:``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from biocl.objectives.weight_spec import Weight
from biocl.spec import Spec

Width = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Error = Literal["mse", "mae", "huber"]


class HeadSpec(Spec):
    """A classification head on the pooled latents, joined with auxiliary inputs where there are any."""

    kind: Literal["linear", "mlp", "comet-released"] = "linear"
    """comet-released is the head of COMET's public code: dropout on the logits and, for two classes, two
    sigmoids before the softmax."""
    hidden_dim: Width = 128
    """Width of the hidden layer (mlp, comet-released)."""
    dropout: Share = 0.1
    """Dropout of the head (mlp, comet-released)."""
    class_weights: Literal["balanced", "none"] = "balanced"
    """balanced weighs each class by the inverse of its share of the labelled training windows."""


class NetworkSpec(Spec):
    """From latents to numbers."""

    kind: Literal["linear", "mlp"] = "linear"
    """linear, or mlp with one hidden layer (GELU)."""
    hidden_dim: Width = 128
    """Width of the hidden layer (mlp)."""
    dropout: Share = 0.1
    """Behind the hidden layer, in training only (mlp)."""


class HeadBase(Spec):
    """What the terms of all heads share."""

    head: str
    """What is predicted."""
    views: Annotated[list[str], Field(min_length=1)] = ["clean"]
    """Views whose latents the head reads; the loss is their mean."""
    weight: Weight = 1.0
    """Factor of this summand, a number or {from: 1, to: 0, over: 0.5}; 0 removes the term and the passes that only it
    needs."""
    label: str | None = None
    """Name in logs and tables, where there are two heads of a kind. Default: what the head predicts."""

    @property
    def title(self) -> str:
        """How the term is called in logs and tables, and its head in the model."""
        return self.label or self.head


class ClassificationTerm(HeadBase):
    """A class for each window, by cross entropy."""

    head: Literal["classification"]
    """The class of a window (data.classes)."""
    network: HeadSpec = HeadSpec()
    """The head."""
    after_each: bool = False
    """Predict after every device of an encoder with fusion: sequential, not at the end alone (MultiModN): what a window
    lacks is not charged."""


class MultiLabelTerm(HeadBase):
    """Every label of several on its own: it holds of a window, or does not."""

    head: Literal["multi-label"]
    """Which of several labels hold (data.labels); what is unknown of a window is left out."""
    network: NetworkSpec = NetworkSpec()
    """The head, on the pooled latents joined with auxiliary inputs where there are any."""
    loss: Literal["binary", "softmax", "decoupled-softmax", "asymmetric"] = "binary"
    """binary is the cross entropy of every label on its own, asymmetric the same with little weight on easy absences;
    softmax sets the labels that hold against all, decoupled-softmax each of them against those that do not hold. The
    last two rank labels and give no probabilities."""


class ForecastingTerm(HeadBase):
    """All steps of a window's future at once, of every channel, in the units of data.input_scale.

    An encoder of each channel (encoder: {each: …, of: channel}) forecasts each channel from itself alone, by one head;
    any other forecasts all channels together.
    """

    head: Literal["forecasting"]
    """What follows a window (data.windows.horizon_s)."""
    network: NetworkSpec = NetworkSpec()
    """The head."""
    read: Literal["flatten", "last", "aligned", "vec"] = "flatten"
    """What the head sees: flatten all steps of the encoder side by side; last the last step, right for an encoder
    that sees only the past; aligned gives each step of the future the step so many before the end, by one head for
    all (published with Informer-MoCo); vec the pooled vector."""
    loss: Error = "mse"
    """Squared error, absolute error, or huber, which is squared up to 1 and absolute beyond."""


class RegressionTerm(HeadBase):
    """A number for each window.

    A view that lets time run faster (time-warp, crop-resize) also changes numbers that are rates; whether yours is one
    is for you to say.
    """

    head: Literal["regression"]
    """The number of a window (data.target); windows without one are left out."""
    network: NetworkSpec = NetworkSpec()
    """The head, on the pooled latents joined with auxiliary inputs where there are any."""
    loss: Error = "mae"
    """Of the target in standard deviations over the training windows: absolute error, squared error, or huber, which is
    squared up to 1 and absolute beyond."""


class StepRegressionTerm(HeadBase):
    """A number of every time step: a channel of the recording that no encoder reads (data.target of kind channel).

    Where a view moves time, the numbers move with it.
    """

    head: Literal["step-regression"]
    """The number of every time step (data.target: {kind: channel, …}); padding and gaps are left out."""
    network: NetworkSpec = NetworkSpec()
    """The head: from each step of the encoder to a number, or from the pooled latents to all of them."""
    read: Literal["seq", "vec"] = "seq"
    """What the head sees: seq each step of the encoder, and its numbers are brought to the window's time steps by
    linear interpolation, so that an encoder which keeps one step in eight follows nothing faster than that; vec the
    pooled vector, for all time steps at once. Both are joined with auxiliary inputs where there are any."""
    loss: Error = "mae"
    """Of the channel in standard deviations over the training windows: absolute error, squared error, or huber, which
    is squared up to 1 and absolute beyond."""


class ReconstructionTerm(HeadBase):
    """The signal where a mask of the view hid it (mask: …, at: input)."""

    head: Literal["reconstruction"]
    """The samples that a view's mask hid; what was shown is not charged. Windows count alike, however much of each is
    hidden."""
    network: NetworkSpec = NetworkSpec()
    """The head: from each step of the encoder to the samples that it stands for."""
    loss: Error = "mse"
    """Squared error, absolute error, or huber, which is squared up to 1 and absolute beyond."""


HeadTerm = (
    ClassificationTerm | MultiLabelTerm | ForecastingTerm | RegressionTerm | StepRegressionTerm | ReconstructionTerm
)
FORMS: dict[str, type[HeadBase]] = {
    "classification": ClassificationTerm,
    "multi-label": MultiLabelTerm,
    "forecasting": ForecastingTerm,
    "regression": RegressionTerm,
    "step-regression": StepRegressionTerm,
    "reconstruction": ReconstructionTerm,
}


def head_form(value: Any) -> str | None:
    """Which head a value of ``terms:`` is checked as; None where ``head`` names none."""
    name = value.head if isinstance(value, HeadBase) else value.get("head")
    return f"{name}-head" if name in FORMS else None
