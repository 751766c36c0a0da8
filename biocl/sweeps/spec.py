"""Keys of ``sweep:``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from biocl.errors import UsageError
from biocl.evaluation.labels import parse_labels
from biocl.files import canonical_json
from biocl.spec import Spec

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Quantity = Literal["parameters", "seconds"]
"""What a trial costs: numbers that the encoder learns, and seconds of its training."""


class Parameter(Spec):
    """What the forms of a parameter share."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    label: str | None = None
    """What tables and plots call it; default: the key."""
    also: list[str] = []
    """Other keys that take the same value, as two views that share a mask."""
    when: dict[str, Any] = {}
    """The parameter is there only where these keys, of the space or inside a choice of it, have this value, or one of
    these: {encoder.name: [dilated-cnn, tcn]}. Elsewhere the configuration's own value stays."""


class FloatParameter(Parameter):
    """A number between two ends."""

    float_: Annotated[list[Finite], Field(alias="float", min_length=2, max_length=2)]
    """Both ends, which count: [1e-4, 1e-1]."""
    log: bool = False
    """Drawn evenly on a logarithmic axis."""
    step: Positive | None = None
    """Only so many apart from the lower end."""

    @model_validator(mode="after")
    def _ends_make_sense(self) -> FloatParameter:
        check_ends(self.float_, self.log, self.step)
        return self


class IntParameter(Parameter):
    """A whole number between two ends."""

    int_: Annotated[list[int], Field(alias="int", min_length=2, max_length=2)]
    """Both ends, which count: [2, 8]."""
    log: bool = False
    """Drawn evenly on a logarithmic axis."""
    step: Count | None = None
    """Only so many apart from the lower end."""

    @model_validator(mode="after")
    def _ends_make_sense(self) -> IntParameter:
        check_ends(self.int_, self.log, self.step)
        return self


class ChoiceParameter(Parameter):
    """One of several values."""

    choice: Annotated[list[Any], Field(min_length=2)] | Annotated[dict[str, Any], Field(min_length=2)]
    """The values, which may be whole pieces of YAML: [4, 8], or with names for tables and plots
    {small: {name: tcn, depth: 2}, large: {name: tcn, depth: 6}}."""

    @model_validator(mode="after")
    def _no_value_twice(self) -> ChoiceParameter:
        values = list(self.choice.values()) if isinstance(self.choice, dict) else self.choice
        for number, value in enumerate(values):
            if value in values[:number]:
                raise ValueError(f"choice names {value!r} twice")
        return self

    @property
    def options(self) -> dict[Any, Any]:
        """The values by what storages, tables and plots call them: their names, themselves, or pieces of YAML as
        text."""
        if isinstance(self.choice, dict):
            return self.choice
        return {canonical_json(one) if isinstance(one, list | dict) else one: one for one in self.choice}


def check_ends(ends: list[Any], log: bool, step: float | None) -> None:
    """The lower end comes first, and what has to be drawn can be."""
    if ends[0] >= ends[1]:
        raise ValueError(f"{ends}: the lower end comes first, and the upper one is larger")
    if log and ends[0] <= 0:
        raise ValueError("log needs a lower end above 0")
    if log and step is not None:
        raise ValueError("log and step exclude each other: leave one of the two out")


def parameter_form(value: Any) -> str:
    """Which form a parameter has, by the key that only this form holds."""
    for form in ("float", "int", "choice"):
        if (isinstance(value, dict) and form in value) or hasattr(value, form) or hasattr(value, f"{form}_"):
            return f"parameter-{form}"
    return ""


ParameterSpec = Annotated[
    Annotated[FloatParameter, Tag("parameter-float")]
    | Annotated[IntParameter, Tag("parameter-int")]
    | Annotated[ChoiceParameter, Tag("parameter-choice")],
    Discriminator(
        parameter_form,
        custom_error_type="parameter_form",
        custom_error_message="a parameter is {float: [low, high]}, {int: [low, high]} or {choice: [one, another]}",
    ),
]


class TpeSampler(Spec):
    """Tree-structured Parzen estimators."""

    name: Literal["tpe"]
    """Which sampler."""
    n_startup_trials: Natural = 10
    """Trials that are drawn at random first."""
    n_ei_candidates: Count = 24
    """Candidates of which the most promising is taken."""
    multivariate: bool = True
    """Parameters are drawn together rather than each by itself."""
    group: bool = True
    """Parameters with conditions are drawn together with those that they stand beside (needs multivariate)."""
    constant_liar: bool = True
    """Keep away from what other workers are trying."""

    @model_validator(mode="after")
    def _groups_are_multivariate(self) -> TpeSampler:
        if self.group and not self.multivariate:
            raise ValueError("group: true needs multivariate: true; set both to false")
        return self


class RandomSampler(Spec):
    """Independent draws."""

    name: Literal["random"]
    """Which sampler."""


class GpSampler(Spec):
    """A Gaussian process; parameters with conditions are drawn at random."""

    name: Literal["gp"]
    """Which sampler."""
    n_startup_trials: Natural = 10
    """Trials that are drawn at random first."""
    deterministic_objective: bool = False
    """The same parameters always score the same."""


class QmcSampler(Spec):
    """A sequence that fills the space evenly."""

    name: Literal["qmc"]
    """Which sampler."""
    qmc_type: Literal["sobol", "halton"] = "sobol"
    """Which sequence."""
    scramble: bool = True
    """Scrambled by the seed."""


class NsgaSampler(Spec):
    """Genetic search for a front of several objectives."""

    name: Literal["nsga2"]
    """Which sampler."""
    population_size: Annotated[int, Field(ge=2)] = 20
    """Trials a generation."""
    crossover_prob: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Probability that a trial has two parents."""
    swapping_prob: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that a parameter comes from the second."""


class BruteForceSampler(Spec):
    """Every combination once; floats need a step."""

    name: Literal["brute-force"]
    """Which sampler."""


SamplerSpec = Annotated[
    TpeSampler | RandomSampler | GpSampler | QmcSampler | NsgaSampler | BruteForceSampler, Field(discriminator="name")
]


class Pruner(Spec):
    """What the pruners share: whether they compare looks during training, or patients."""

    over: ClassVar[Literal["nothing", "looks", "patients"]] = "looks"


class NoPruner(Pruner):
    """Every trial is trained to its end."""

    over = "nothing"
    name: Literal["none"]
    """Which pruner."""


class MedianPruner(Pruner):
    """Stop a trial that is below the median of the others at the same look."""

    name: Literal["median"]
    """Which pruner."""
    n_startup_trials: Natural = 5
    """Finished trials before any is stopped."""
    n_warmup_steps: Natural = 0
    """Looks before a trial may be stopped."""
    n_min_trials: Count = 1
    """Others that the median needs."""


class HyperbandPruner(Pruner):
    """Successive halving in several brackets. Its resource is the number of looks at validation patients."""

    name: Literal["hyperband"]
    """Which pruner."""
    min_resource: Count = 1
    """Looks that every trial has."""
    max_resource: Literal["auto"] | Count = "auto"
    """Looks of a whole training; auto is those of the first that ended."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One of so many goes on at each rung."""


class HalvingPruner(Pruner):
    """Successive halving: one of so many goes on at each rung."""

    name: Literal["successive-halving"]
    """Which pruner."""
    min_resource: Count = 1
    """Looks that every trial has."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One of so many goes on at each rung."""


class WilcoxonPruner(Pruner):
    """Stop a trial that is worse than the best so far, patient by patient, by a signed-rank test. Each of
    ``inner_folds`` is trained when its patients' turn comes."""

    over = "patients"
    name: Literal["wilcoxon"]
    """Which pruner."""
    p_threshold: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Stop below this p."""
    n_startup_steps: Natural = 2
    """Patients before a trial may be stopped."""


PrunerSpec = Annotated[
    NoPruner | MedianPruner | HyperbandPruner | HalvingPruner | WilcoxonPruner, Field(discriminator="name")
]


class SweepSpec(Spec):
    """A search over keys of the configuration, by scores of inner validation patients."""

    space: Annotated[dict[str, ParameterSpec], Field(min_length=1)]
    """Keys of the configuration, as on the command line, and what each may be: {train.lr: {float: [1e-4, 1e-1],
    log: true}, terms.0.weight: {float: [0, 1]}, encoder.depth: {int: [2, 6]}, batch.n_patients: {choice: [4, 8]}}."""
    trials: Count = 24
    """Trials that count: finished, or stopped by the pruner. The first is the configuration as it stands."""
    mode: Literal["joint", "linear", "partial", "full"] = "linear"
    """How labels are used by the classifier (or regression) that is scored; see evaluate.modes."""
    labels: str = "all"
    """How much of train is labelled, with its unit: all, 4 patients."""
    draws: Count = 1
    """Draws of labelled patients, whose scores are averaged."""
    fold: Natural = 0
    """The fold of the split whose train and validation patients are seen; for nested folds, a sweep each."""
    inner_folds: Annotated[int, Field(ge=2)] | None = None
    """Redraw train and validation in so many folds, so that each of these patients validates once. A trial then
    trains so many encoders. Default: the split's own validation patients."""
    objectives: Annotated[list[Literal["score", "parameters", "seconds"]], Field(min_length=1, max_length=2)] = [
        "score"
    ]
    """score is the mean over validation patients of their macro-F1 (accuracy where each has one label; absolute error
    where a number is predicted). A second objective makes a front: parameters learned, or seconds of training."""
    constraints: dict[Quantity, Positive] = {}
    """The most that a trial may cost: {parameters: 200000}. One that costs more is stopped and never best."""
    sampler: SamplerSpec = TpeSampler(name="tpe")
    """What proposes the next trial, with its arguments."""
    pruner: PrunerSpec = NoPruner(name="none")
    """What stops a trial early. All but wilcoxon compare looks at the validation patients during training, every
    train.validate_every steps."""
    seed: Natural = 0
    """Seed of the sampler. Each trial draws from a stream of its own, so a resume draws what would have been drawn."""

    @field_validator("labels", mode="before")
    @classmethod
    def _label_unit(cls, labels: object) -> object:
        try:
            return parse_labels(str(labels)).text
        except UsageError as error:
            raise ValueError(f"{error.what}. {error.fix}") from error

    @model_validator(mode="after")
    def _fits_together(self) -> SweepSpec:
        if self.objectives[0] != "score" or len(set(self.objectives)) < len(self.objectives):
            raise ValueError("objectives begins with score, and a second one is parameters or seconds")
        if len(self.objectives) > 1 and self.pruner.name != "none":
            raise ValueError("pruner compares one number, and there are two objectives: leave one of the two out")
        if self.pruner.over == "patients" and self.inner_folds is None:
            raise ValueError(
                "pruner: wilcoxon stops between patients, and without inner_folds all of them are judged by one "
                "training: set inner_folds"
            )
        if self.pruner.over == "looks" and self.inner_folds is not None:
            raise ValueError(
                f"pruner: {self.pruner.name} stops within a training, and inner_folds are several: use wilcoxon"
            )
        if self.sampler.name == "brute-force" and any(
            isinstance(one, FloatParameter) and one.step is None for one in self.space.values()
        ):
            raise ValueError("sampler: brute-force needs a step for every float")
        labels = list(self.labels_of.values())
        if len(set(labels)) < len(labels):
            raise ValueError("space calls two parameters by one label")
        named = [key for name, one in self.space.items() for key in (name, *one.also)]
        twice = [key for key in dict.fromkeys(named) if named.count(key) > 1]
        if twice:
            raise ValueError(f"space sets {twice[0]} twice")
        return self

    @property
    def labels_of(self) -> dict[str, str]:
        """What each parameter is called in tables and plots."""
        return {key: one.label or key for key, one in self.space.items()}
