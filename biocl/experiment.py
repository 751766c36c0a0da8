"""The experiment: every key that a YAML file may hold, assembled from the rooms' own specs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from biocl.encoders.spec import EncoderSpec
from biocl.errors import UsageError
from biocl.evaluation.labels import parse_labels
from biocl.evaluation.spec import EvaluateSpec
from biocl.files import digest
from biocl.objectives.head_spec import HeadTerm
from biocl.objectives.spec import ProjectorSpec, Term
from biocl.objectives.view_rules import rate_refusal, view_refusal
from biocl.objectives.weight_spec import acts
from biocl.sampling.spec import BatchSpec, HierarchicalBatch
from biocl.signals.spec import ConditioningSpec
from biocl.spec import Spec
from biocl.splits.spec import SplitSpec
from biocl.store.spec import MissingSpec, QualitySpec, TargetSpec, TrialsSpec, WindowsSpec
from biocl.sweeps.spec import SweepSpec
from biocl.training.spec import AlignSpec, FinetuneSpec, InputScale, Normalise, TrainSpec
from biocl.views.spec import ViewSpec

# Keys of `data:` that say how the store is made; the others say how it is read.
CONDITIONING = tuple(ConditioningSpec.model_fields)
Task = Literal["classification", "multi-label", "forecasting", "regression", "step-regression"]
VariantName = Annotated[str, Field(pattern=r"^[^/\\]+$", max_length=60)]


class DataSpec(ConditioningSpec):
    """Which recordings, how they are conditioned, cut and labelled."""

    dataset: str | None = None
    """Name of a data set (`biocl data list`); its store is found under $BIOCL_HOME/stores, or made."""
    store: str | None = None
    """Path of a prepared store, instead of looking it up by name."""
    raw: str | None = None
    """Folder of the native files, if the store is still to be made."""
    windows: WindowsSpec | None = None
    """How windows are cut; default: what suits the data set."""
    trials: TrialsSpec | None = None
    """What a trial is; default: what suits the data set."""
    devices: Annotated[list[str], Field(min_length=1)] | None = None
    """Devices whose channels are read (`biocl data inspect` lists them); the windows stay the same. Default: all."""
    classes: Annotated[list[str], Field(min_length=1)] | None = None
    """Labels that count, in order; windows with another label are left out. Default: the data set's."""
    labels: Annotated[list[str], Field(min_length=2)] | None = None
    """Labels of the recordings of which several may hold, each yes or no, as in [NORM, MI, STTC]: what a head:
    multi-label predicts. Windows without a class stay with windows: {keep_unlabelled: true}."""
    target: TargetSpec | None = None
    """A number beside every window, to be predicted or to compare windows by: the heart rate, or a label of the
    recording such as the age; or a channel of the recording, to be predicted from the others at every time step.
    Windows of which it is unknown stay; windows without a label stay with windows: {keep_unlabelled: true}."""
    missing: list[MissingSpec] = []
    """Devices that are taken away from some windows, to see what is lost without them, or what a model makes of their
    absence: [{device: u1, share: 0.33}, {device: u2, classes: [fall], parts: [train]}]. The floors see the same."""
    quality: QualitySpec = QualitySpec()
    """Thresholds beyond which windows are left out; default: none."""
    aux: Literal["rr-intervals"] | None = None
    """Scalar inputs beside the window, joined before the head or probe."""
    input_scale: InputScale = "recording"
    """z-score of the input, with the statistics of the window, of its trial, of its recording, or of all training
    windows (train: fitted after the split, kept in the checkpoint). kind divides all channels of one kind (acc, gyr …)
    by one number, their root mean square over all training windows, so that axes and devices keep their proportions."""
    align: AlignSpec | None = None
    """Euclidean alignment after scaling, fitted on training windows and kept in the checkpoint; null for none."""
    normalise: Normalise = "none"
    """What is taken out of each channel of each window at last, and put back into its forecast: instance its mean and
    standard deviation (RevIN), last its last value."""

    @model_validator(mode="after")
    def _has_source(self) -> DataSpec:
        if self.dataset is None and self.store is None:
            raise ValueError("give data.dataset (a name) or data.store (a path)")
        if self.labels is not None and len(set(self.labels)) < len(self.labels):
            raise ValueError("data.labels names a label twice")
        if self.missing and self.align is not None:
            raise ValueError(
                "data.align mixes the channels of all devices, so that one taken away (data.missing) would be "
                "filled from the others: leave one of the two out"
            )
        if self.missing and self.horizon_s is not None:
            raise ValueError("data.missing takes away what data.windows.horizon_s would forecast: leave one out")
        return self

    @property
    def horizon_s(self) -> float | None:
        """Seconds that are forecast, where any are."""
        return getattr(self.windows, "horizon_s", None)

    @property
    def conditioning(self) -> ConditioningSpec:
        """The part that the store depends on."""
        return ConditioningSpec(**{name: getattr(self, name) for name in CONDITIONING})


def reads_target(term: Term) -> bool:
    """Whether a term predicts the number beside a window, or compares windows by it."""
    return getattr(term, "relation", None) == "near-target" or getattr(term, "head", None) == "regression"


def target_refusal(term: Term, target: TargetSpec | None) -> str | None:
    """Why a term cannot learn from this target, or None."""
    of_steps = target is not None and target.kind == "channel"
    if getattr(term, "relation", None) == "near-target":
        if target is None:
            return "compares windows by their targets: say which number that is in data.target"
        if of_steps:
            return (
                "compares windows by their targets, and data.target is a channel, which has a number at every time "
                "step and none for the window: use a target of kind heart-rate, label or elapsed"
            )
    if getattr(term, "head", None) == "regression" and of_steps:
        return (
            "predicts one number for each window, and data.target is a channel, which has one at every time step: use "
            "head: step-regression"
        )
    if getattr(term, "head", None) == "step-regression" and not of_steps:
        return (
            "predicts a number at every time step: say which channel that is, as in data.target: {kind: channel, name: "
            "RESP}"
        )
    return None


class Experiment(Spec):
    """One YAML file: one run."""

    name: Annotated[str, Field(pattern=r"^[^/\\]+$", max_length=100)] = "run"
    """Name of the run folder, and of the method in tables."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of every random stream: weights, batches, views, dropout, draws."""
    data: DataSpec
    """Which recordings, how they are conditioned, cut and labelled."""
    split: SplitSpec
    """Who is train, validation and test."""
    batch: BatchSpec = HierarchicalBatch(kind="hierarchical", n_patients=8, n_trials=2, n_samples=8)
    """Which windows meet in a batch."""
    views: dict[str, ViewSpec] = {"clean": []}
    """Named augmentations; each name is drawn and encoded once a step."""
    encoder: EncoderSpec
    """The network from windows to latents."""
    projectors: dict[str, ProjectorSpec] = {}
    """Networks between latents and criteria; named once, used by one term or shared."""
    terms: list[Term]
    """The summands of the loss."""
    train: TrainSpec = TrainSpec(steps=1000)
    """How long and how pretraining runs."""
    finetune: FinetuneSpec = FinetuneSpec()
    """How labels are used by fine-tuning."""
    evaluate: EvaluateSpec = EvaluateSpec()
    """Which protocol is run."""
    variants: dict[VariantName, dict[str, Any]] = {}
    """The same experiment with other keys, each a row beside it in every table of evaluate, on the same patients:
    {name: {terms.1.weight: 0, …}}. An ablation, or rival methods."""
    sweep: SweepSpec | None = None
    """Which keys `biocl sweep` varies, and how; no other verb reads it."""

    @field_validator("finetune", mode="before")
    @classmethod
    def _label_unit(cls, finetune: Any) -> Any:
        # Before the type check, so that a bare number is told about units rather than about strings.
        if isinstance(finetune, dict) and "labels" in finetune:
            try:
                return {**finetune, "labels": parse_labels(str(finetune["labels"])).text}
            except UsageError as error:
                raise ValueError(f"labels: {error.what}. {error.fix}") from error
        return finetune

    @model_validator(mode="after")
    def _names_are_known(self) -> Experiment:
        for number, term in enumerate(self.terms):
            for view in term.views:
                if view not in self.views:
                    raise ValueError(f"terms[{number}] names the view {view!r}, which views: does not define")
            refusal = target_refusal(term, self.data.target) or view_refusal(term, self.views)
            if self.data.target is not None and self.data.target.kind == "heart-rate" and reads_target(term):
                refusal = refusal or rate_refusal(term, self.views)
            if refusal is not None:
                raise ValueError(f"terms[{number}] {refusal}")
            project = getattr(term, "project", None)
            for name in project.values() if isinstance(project, dict) else [project]:
                if name is not None and name not in self.projectors:
                    raise ValueError(f"terms[{number}] names the projector {name!r}, which projectors: does not define")
        for name, steps in [*self.views.items(), ("finetune.view", self.finetune.view)]:
            masks_hidden = any(getattr(step, "at", None) == "hidden" for step in steps)
            if masks_hidden and not self.encoder.takes_hidden_mask:
                raise ValueError(
                    f"the view {name} masks the encoder's hidden sequence of steps, and this encoder has none: "
                    "mask the signal with at: input"
                )
        titles = [term.title for term in self.terms]
        for title in titles:
            if titles.count(title) > 1:
                raise ValueError(f"two terms are called {title!r}: give one a label:")
        if not any(acts(term.weight) for term in self.terms):
            raise ValueError("every term has weight 0, so nothing would be learned")
        if (
            self.data.horizon_s is not None
            and self.split.scope == "time"
            and self.data.input_scale in ("recording", "trial")
        ):
            raise ValueError(
                f"data.input_scale: {self.data.input_scale} puts a mean over the test part into every training window: "
                "use train"
            )
        if "joint" in self.evaluate.modes and not self.has_head:
            raise ValueError(
                f"evaluate.modes: joint judges the {self.judged} head that is trained with the encoder, and no term is "
                "one"
            )
        for reserved in ("pretrained", "untrained"):
            if reserved in self.variants:
                raise ValueError(f"variants: {reserved} is the name of another row of every table")
        return self

    @property
    def judged(self) -> Task:
        """What evaluate judges: see ``evaluate.task``."""
        if self.evaluate.task != "auto":
            return self.evaluate.task
        if self.trains("classification"):
            return "classification"
        if self.data.labels is not None:
            return "multi-label"
        if self.data.target is not None:
            return "step-regression" if self.data.target.kind == "channel" else "regression"
        return "forecasting" if self.data.horizon_s is not None or self.trains("forecasting") else "classification"

    def trains(self, head: str) -> bool:
        """Whether a head of this kind is trained together with the encoder."""
        return any(isinstance(term, HeadTerm) and term.head == head and acts(term.weight) for term in self.terms)

    @property
    def has_head(self) -> bool:
        """Whether a head for what is judged is trained together with the encoder."""
        return self.trains(self.judged)

    @property
    def reads_judged(self) -> bool:
        """Whether a term that acts is told the classes, labels or numbers that are judged; a future is no secret."""
        if self.judged == "regression":
            return any(reads_target(term) and acts(term.weight) for term in self.terms)
        return self.judged != "forecasting" and self.has_head

    @property
    def pretraining_digest(self) -> str:
        """Hash of everything that pretraining depends on (not of what comes after)."""
        return digest(self.model_dump(mode="json", exclude={"name", "finetune", "evaluate", "variants", "sweep"}))
