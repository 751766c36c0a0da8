"""Which views a term can read: told from the configuration, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

from biocl.objectives.criterion_spec import AtOnce, Focal
from biocl.objectives.head_spec import ForecastingTerm, ReconstructionTerm, StepRegressionTerm
from biocl.objectives.spec import ContrastTerm, Term
from biocl.views.spec import MaskStep, Step, ViewSpec


def view_refusal(term: Term, views: Mapping[str, ViewSpec]) -> str | None:
    """Why a term cannot read its views, or None."""
    if isinstance(term, ContrastTerm):
        return contrast_refusal(term, views)
    if isinstance(term, ForecastingTerm | ReconstructionTerm):
        return signal_refusal(term, views)
    if isinstance(term, StepRegressionTerm):
        return side_refusal(term, views)
    return None


def side_refusal(term: StepRegressionTerm, views: Mapping[str, ViewSpec]) -> str | None:
    """Why a head for another channel cannot read its views, or None: that channel has no other side to go to."""
    for name in term.views:
        for step in views[name]:
            if step.relabels:
                return (
                    f"predicts a channel, which {step.key()} in the view {name} does not take to the other side: give "
                    "the head a view without it"
                )
    return None


def signal_refusal(term: ForecastingTerm | ReconstructionTerm, views: Mapping[str, ViewSpec]) -> str | None:
    """Why a head that gives the signal back, or goes on with it, cannot read its views, or None.

    What it is held against is the recorded signal, so a view may hide and disturb, but neither move a step nor change
    what a value means.
    """
    verb = "forecasts what follows the window" if isinstance(term, ForecastingTerm) else "gives back the signal"
    for name in dict.fromkeys(term.views):
        for step in views[name]:
            if step.time != "kept":
                return (
                    f"{verb}, and {step.key()} in the view {name} changes when things happen: give the head a view "
                    "without it"
                )
            if not step.keeps_level:
                return (
                    f"{verb}, and {step.key()} in the view {name} changes amplitude, sign or channels, which the "
                    "recorded signal does not follow: give the head a view without it"
                )
        hides = any(isinstance(step, MaskStep) and step.at == "input" for step in views[name])
        if isinstance(term, ReconstructionTerm) and not hides:
            return f"gives back what is hidden, and the view {name} hides nothing: add {{mask: continuous, at: input}}"
    return None


def contrast_refusal(term: ContrastTerm, views: Mapping[str, ViewSpec]) -> str | None:
    """Why a contrastive term cannot read its views, or None.

    Terms that compare time steps (every ``read`` but vec) put reordered steps back in the window's order before
    they compare. Steps that lie between two of the window's have no such place, and padding has no step.
    """
    steps: list[tuple[str, Step]] = [(name, step) for name in dict.fromkeys(term.views) for step in views[name]]
    alone = len(set(term.views)) == 1 and term.read == "seq"
    for name, step in steps:
        if term.read != "vec" and step.time == "resampled" and not alone:
            return f"compares time steps, and {step.key()} in the view {name} has steps between them: use read: vec"
        if term.read != "vec" and step.time == "cut":
            return f"compares time steps, and {step.key()} leaves padding in the view {name}: use read: vec"
        across = isinstance(term.criterion, AtOnce) and (term.across == "view" or isinstance(term.criterion, Focal))
        if step.relabels and across and "label-change" in term.ignored:
            return (
                f"reads all views at once with {term.criterion.name}, also across the label that {step.key()} changes: "
                "leave that view out, or use nt-xent"
            )
        if step.relabels and term.criterion.name == "comet-id" and "label-change" in term.ignored:
            return f"scores every pair with comet-id, also across the label that {step.key()} changes: use sup-con"
    return None


def rate_refusal(term: Term, views: Mapping[str, ViewSpec]) -> str | None:
    """Why a term cannot tell the heart rate of a window from its views, or None."""
    for name in term.views:
        for step in views[name]:
            if step.time == "resampled":
                return f"reads the heart rate, which {step.key()} in the view {name} changes: leave that step out"
    return None
