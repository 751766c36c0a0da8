"""Keys of ``terms:`` and ``projectors:``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Field, Tag, model_validator

from biocl.objectives.criterion_rules import criterion_refusal
from biocl.objectives.criterion_spec import Criterion, CroSSL, InfoNCE
from biocl.objectives.head_spec import (
    FORMS,
    ClassificationTerm,
    ForecastingTerm,
    HeadBase,
    MultiLabelTerm,
    ReconstructionTerm,
    RegressionTerm,
    StepRegressionTerm,
    head_form,
)
from biocl.objectives.weight_spec import Weight
from biocl.spec import Spec

Relation = Literal["same-time-step", "same-sample", "same-trial", "same-patient", "near-target"]
Ignored = Literal["overlap", "same-trial", "same-patient", "other-patient", "label-change"]
Width = Annotated[int, Field(ge=1)]
Names = Annotated[list[str], Field(min_length=1)]
Axis = Literal["view", "branch", "device"]
T = TypeVar("T")

# A pair that overlaps in time, or that shares the trial, is neither alike by design nor apart by
# right, unless the relation says that it is alike. Two views that show different classes (one is reflected)
# are never alike.
DEFAULT_IGNORE: dict[Relation, tuple[Ignored, ...]] = {
    "same-time-step": ("label-change",),
    "same-sample": ("same-trial", "overlap", "label-change"),
    "same-trial": ("overlap", "label-change"),
    "same-patient": ("overlap", "label-change"),
    "near-target": ("overlap",),
}


class QueueSpec(Spec):
    """Keys of earlier steps."""

    size: Width = 512
    """How many are kept, the newest; each is a negative, unless the term ignores the pair."""


class ContrastTerm(Spec):
    """One contrastive summand of the loss."""

    views: Annotated[list[str], Field(min_length=1)]
    """View names: two or more to be compared, or one for pairs among the windows of that view. One view named twice
    with redraw_dropout: true compares two dropout draws of the same pass."""
    across: Axis = "view"
    """What is compared: the views, the branches of a dual encoder (of each device, where it has several), or the
    devices of an encoder of each device (each view's own)."""
    anchor: str | None = None
    """The view, branch or device with which each other one is compared. Default: every two are compared."""
    branches: Names | None = None
    """Branches of a dual encoder that are read, those of each device where it has several. Default: all of them across
    branch or under stack; else what they say together."""
    devices: Names | None = None
    """Devices that are read, of an encoder of each device. Default: all of them across device, under stack, or where
    branches are read; else what they say together."""
    stack: Annotated[list[Axis], Field(max_length=2)] = []
    """What lies side by side on the batch axis, so that it meets as negatives: of view, branch and device one or both
    that are not compared. Default: nothing, each is compared in its own batch and the mean taken."""
    relation: Relation
    """Which pairs are positive: the steps of a window, the views of a window, windows of a trial, of a patient, or
    windows whose targets are near each other (data.target; those whose target is unknown take no part)."""
    near: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """The largest difference of targets that counts as equal (near-target), in the target's unit. rnc and cwcl grade
    all pairs, and are logged by it."""
    criterion: Criterion
    """The formula that scores positives against negatives."""
    read: Literal["seq", "vec", "step", "time-course", "amplitude", "phase"] = "vec"
    """What is compared: seq step by step, vec the pooled latents, step one step of the sequence, the same for all
    windows and views, drawn anew at every use, time-course the mean over features of the cosine between time courses
    (COMET's released id loss), amplitude and phase those of each frequency of the steps, which have unit length before
    (CoST)."""
    pool: Literal["none", "hierarchical-max", "hierarchical-max-to-one"] = "none"
    """hierarchical-max averages the criterion over resolutions halved by max-pooling, down to two steps (COMET);
    hierarchical-max-to-one down to a single one (TS2Vec)."""
    project: str | dict[str, str] | None = None
    """Name of the projector between latents and criterion, or {branch: name} for one of each branch's own, {device:
    name} for one of each device's. Under crossl, of the network that joins the devices."""
    ignore: list[Ignored] | None = None
    """Pairs that are neither positive nor negative. Default by relation: same-sample ignores same-trial and
    overlap, same-trial, same-patient and near-target ignore overlap; all but near-target ignore label-change, pairs
    of which one view was relabelled (reflected) and that now show different or unknown classes."""
    redraw_dropout: bool = False
    """Draw the dropout after the shared trunk anew for each use in this term."""
    keys: Literal["trained", "momentum"] = "trained"
    """Who says what the second view is: the encoder that is trained, or momentum: a copy of it and of the projector
    that follows slowly and gets no gradient (MoCo)."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Share of itself that the copy keeps at every step of the optimiser (keys: momentum)."""
    queue: QueueSpec | None = None
    """Negatives beside those of the batch: keys of earlier training steps (keys: momentum). Default: none."""
    weight: Weight = 1.0
    """Factor of this summand, a number or {from: 1, to: 0, over: 0.5}; 0 removes the term and the passes that only it
    needs."""
    label: str | None = None
    """Name in logs, when two terms have the same relation."""

    @property
    def title(self) -> str:
        """How the term is called in logs and tables."""
        return self.label or self.relation

    @property
    def ignored(self) -> tuple[Ignored, ...]:
        """The ignored pairs, with the relation's default filled in."""
        return DEFAULT_IGNORE[self.relation] if self.ignore is None else tuple(self.ignore)

    @property
    def reads_devices(self) -> bool:
        """Whether the term asks for devices apart."""
        return self.reads("device")

    @property
    def reads_branches(self) -> bool:
        """Whether the term reads the branches of the encoder apart."""
        return self.reads("branch")

    @property
    def reads_apart(self) -> bool:
        """Whether the term reads branches or devices apart, rather than what all say together."""
        return self.reads_branches or self.reads_devices

    def reads(self, axis: Axis) -> bool:
        """Whether the term names an axis of the table of latents."""
        return self.across == axis or axis in self.stack or self.named(axis) is not None

    def named(self, axis: Axis) -> list[str] | None:
        """Views, branches or devices by name, None where the term leaves them to the encoder."""
        return {"view": self.views, "branch": self.branches, "device": self.devices}[axis]

    @property
    def joins(self) -> bool:
        """Whether the projector reads what all devices say together, joined by the criterion."""
        return isinstance(self.criterion, CroSSL)

    def projector_of(self, branch: str | None, device: str | None = None) -> str | None:
        """Name of the projector of a branch or device, or of what all say together."""
        if self.joins:
            return None
        return own_of(self.project, branch, device) if isinstance(self.project, dict) else self.project

    @property
    def projectors(self) -> list[str]:
        """Names of the projectors that are used."""
        return list(self.project.values()) if isinstance(self.project, dict) else [self.project] if self.project else []

    @model_validator(mode="after")
    def _compares_something(self) -> ContrastTerm:
        one_branch = len(self.branches or ()) == 1 and self.across == "view" and not self.stack and not self.devices
        if self.reads_apart and self.read != "vec" and not one_branch:
            raise ValueError(
                "branches and devices have steps of their own, so terms that read them need read: vec, or one branch"
            )
        if self.across in self.stack or len(set(self.stack)) < len(self.stack):
            raise ValueError(
                f"stack: {', '.join(self.stack)} does not go with across: {self.across}: name others, each once"
            )
        for key in ("views", "branches", "devices"):
            named = getattr(self, key) or []
            twice = [name for name in named if named.count(name) > 1]
            drawn_twice = key == "views" and self.across == "view" and len(named) == 2
            drawn_twice = drawn_twice and (self.redraw_dropout or self.keys == "momentum")
            if twice and not drawn_twice:
                how = "give two names, or redraw_dropout: true to two alone" if key == "views" else "name it once"
                raise ValueError(f"{key} names {twice[0]} twice, which is one draw: {how}")
        compared = self.named(self.across)
        if self.across != "view" and compared is not None and len(compared) < 2:
            raise ValueError(f"across: {self.across} compares two of them at least")
        if self.anchor is not None and compared is not None and (self.anchor not in compared or len(set(compared)) < 2):
            raise ValueError(f"the anchor {self.anchor!r} is to be compared with others, and {self.across} names them")
        if isinstance(self.project, dict) and not self.reads_apart:
            raise ValueError("project by branch needs branches: or devices:, a stack of them, or across them")
        return self

    @model_validator(mode="after")
    def _fits(self) -> ContrastTerm:
        if self.relation == "same-time-step" and self.read != "seq":
            raise ValueError("relation same-time-step compares steps, so it needs read: seq")
        if self.pool != "none" and self.read != "seq":
            raise ValueError(f"pool: {self.pool} needs read: seq")
        refusal = criterion_refusal(self)
        if refusal is not None:
            raise ValueError(refusal)
        return self

    @model_validator(mode="after")
    def _remembers(self) -> ContrastTerm:
        if self.keys == "trained":
            if self.queue is not None:
                raise ValueError("a queue holds keys of a momentum copy: set keys: momentum")
            return self
        if not isinstance(self.criterion, InfoNCE) or self.across != "view" or len(self.views) != 2 or self.stack:
            raise ValueError("keys: momentum needs criterion info-nce and two views, across view and without stack")
        if len(self.branches or ["one"]) > 1 or len(self.devices or ["one"]) > 1:
            raise ValueError("keys: momentum reads one branch or device, or what all say together")
        if self.criterion.symmetric or self.anchor not in (None, self.views[0]):
            raise ValueError("keys: momentum has one direction: the first view is the query")
        if self.label is not None and "." in self.label:
            raise ValueError("the label of a term with keys: momentum has no dot")
        return self


def own_of(mapping: Mapping[str, T], branch: str | None, device: str | None) -> T | None:
    """What a mapping by branch, or by device, has for an entry of the table of latents."""
    return mapping.get(branch or "", mapping.get(device or ""))


def term_form(value: Any) -> str | None:
    """A term with the key ``head`` is that head, any other a contrast; so a mistake is reported for that form."""
    if isinstance(value, HeadBase) or (isinstance(value, dict) and "head" in value):
        return head_form(value)
    return "contrast-term"


Term = Annotated[
    Annotated[ContrastTerm, Tag("contrast-term")]
    | Annotated[ClassificationTerm, Tag("classification-head")]
    | Annotated[MultiLabelTerm, Tag("multi-label-head")]
    | Annotated[ForecastingTerm, Tag("forecasting-head")]
    | Annotated[RegressionTerm, Tag("regression-head")]
    | Annotated[StepRegressionTerm, Tag("step-regression-head")]
    | Annotated[ReconstructionTerm, Tag("reconstruction-head")],
    Discriminator(
        term_form,
        custom_error_type="unknown_head",
        custom_error_message=f"head should be one of {', '.join(FORMS)}",
    ),
]


class ProjectorSpec(Spec):
    """A small network between latents and a criterion: Linear-GELU-Linear, on every step or vector."""

    hidden_dim: Width = 128
    """Width of the hidden layer."""
    out_dim: Width = 64
    """Width of the output."""
