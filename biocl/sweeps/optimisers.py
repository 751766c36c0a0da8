"""From the names of samplers and pruners to Optuna's, every argument passed, since defaults change between versions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from biocl.randomness import integer_seed
from biocl.sweeps.spec import PrunerSpec, SamplerSpec, SweepSpec

SAMPLERS = {
    "tpe": optuna.samplers.TPESampler,
    "random": optuna.samplers.RandomSampler,
    "gp": optuna.samplers.GPSampler,
    "qmc": optuna.samplers.QMCSampler,
    "nsga2": optuna.samplers.NSGAIISampler,
    "brute-force": optuna.samplers.BruteForceSampler,
}
PRUNERS = {
    "none": optuna.pruners.NopPruner,
    "median": optuna.pruners.MedianPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "successive-halving": optuna.pruners.SuccessiveHalvingPruner,
    "wilcoxon": optuna.pruners.WilcoxonPruner,
}
QUIET = {
    "gp": {"warn_independent_sampling": False},
    "qmc": {"warn_asynchronous_seeding": False, "warn_independent_sampling": False},
}
LARGEST_SEED = 2**32


def make_sampler(spec: SamplerSpec, seed: int) -> BaseSampler:
    """The named sampler."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        arguments = {**arguments_of(spec), **QUIET.get(spec.name, {})}
        return SAMPLERS[spec.name](seed=seed % LARGEST_SEED, **arguments)


def make_pruner(spec: PrunerSpec) -> BasePruner:
    """The named pruner."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PRUNERS[spec.name](**arguments_of(spec))


def arguments_of(spec: SamplerSpec | PrunerSpec) -> dict[str, Any]:
    """Everything but the name."""
    return spec.model_dump(exclude={"name"})


def sweep_sampler(spec: SweepSpec) -> BaseSampler:
    """The sampler of a sweep. A sequence goes on by itself, and is only the same one with the same seed."""
    if spec.sampler.name == "qmc":
        return make_sampler(spec.sampler, spec.seed)
    return ByTrial(lambda number: make_sampler(spec.sampler, integer_seed(spec.seed, "sampler", number)))


class ByTrial(BaseSampler):
    """A sampler whose random numbers come from the trial's number.

    Workers then draw apart from each other without agreeing on it, and a study that goes on draws what it would have
    drawn, rather than the numbers of its beginning again.

    Parameters
    ----------
    make : callable
        A trial's number to its sampler.
    """

    def __init__(self, make: Callable[[int], BaseSampler]) -> None:
        self.make = make
        self.now = make(0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Take the trial's own sampler."""
        self.now = self.make(trial.number)
        self.now.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Which parameters are drawn together."""
        return self.now.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw these together."""
        return self.now.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one by itself."""
        return self.now.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Whatever the sampler keeps of a finished trial."""
        self.now.after_trial(study, trial, state, values)
