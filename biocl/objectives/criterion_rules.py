"""Which criterion fits which term: told from the configuration, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from biocl.objectives.criterion_spec import AtOnce, ByTarget, ColloSSL, CroSSL, Focal, Gram, has_negatives

if TYPE_CHECKING:
    from biocl.objectives.spec import ContrastTerm

LABELS = {"label-change"}  # the one kind that acts where no two windows are compared: it leaves a window out


def criterion_refusal(term: ContrastTerm) -> str | None:
    """Why a term cannot have its criterion, or None."""
    refusal = refusal_at_once(term) if isinstance(term.criterion, AtOnce) else refusal_in_pairs(term)
    if refusal is None and term.near > 0 and term.relation != "near-target":
        return "near is the largest difference of targets: it needs relation near-target"
    return refusal


def refusal_at_once(term: ContrastTerm) -> str | None:
    """Of criteria that read all views, branches or devices of a window."""
    criterion = term.criterion
    name = criterion.name
    if term.relation != "same-sample" or term.read != "vec" or term.stack or term.pool != "none":
        return f"{name} compares whole windows: it needs relation same-sample and read: vec, without stack or pool"
    if isinstance(criterion, ColloSSL | Focal | CroSSL) and term.across != "device":
        does = {"collossl": "chooses among", "focal": "compares halves of", "crossl": "hides"}[name]
        return f"{name} {does} devices: it needs across: device"
    if isinstance(criterion, Focal) and len(term.views) != 2:
        return f"focal compares what each device says in two views, and views names {len(term.views)}"
    if isinstance(criterion, CroSSL) and not isinstance(term.project, str):
        return (
            "crossl joins devices by a network that is trained with them: name one projector, project: NAME with "
            "projectors: {NAME: {hidden_dim: 64}}"
        )
    if term.anchor is not None and not isinstance(criterion, ColloSSL | Gram):
        return f"{name} treats all alike, so an anchor does not act: leave it out, or use gram, collossl or nt-xent"
    if term.across == "view" and len(term.views) < 2:
        return f"{name} needs two views, or across: device"
    return without_negatives(term)


def refusal_in_pairs(term: ContrastTerm) -> str | None:
    """Of criteria that compare two views, branches or devices, or windows of one."""
    name = term.criterion.name
    if name in ("nt-xent", "info-nce", "vicreg"):
        if name == "vicreg" and (term.relation != "same-sample" or term.read != "vec" or term.stack):
            return "vicreg compares whole windows: it needs relation same-sample and read: vec, without stack"
        if name == "info-nce" and (term.relation != "same-sample" or term.read not in ("vec", "step")):
            return "info-nce compares windows: it needs relation same-sample, and read: vec or step"
        if term.relation not in ("same-time-step", "same-sample"):
            return "nt-xent knows one positive an item; use sup-con for same-trial, same-patient and near-target"
        if term.across == "view" and len(term.views) < 2:
            return f"{name} needs two views"
    elif isinstance(term.criterion, ByTarget):
        if term.relation != "near-target" or term.read != "vec":
            return f"{name} needs relation near-target and read: vec"
    elif term.relation == "near-target":
        if name != "sup-con" or term.read != "vec":
            return "near-target needs read: vec and one of sup-con, supremix, rnc, cwcl"
    elif term.relation not in ("same-trial", "same-patient"):
        return f"{name} needs relation same-trial or same-patient"
    elif term.read not in ("vec", "step", "time-course"):
        return f"{name} needs read: vec, step or time-course"
    named = set(term.ignore or ())
    if named and (name == "comet-id" or (term.relation == "same-time-step" and named != LABELS)):
        return "ignore does not act here: comet-id and same-time-step score every pair"
    if name == "comet-id" and (len(term.views) != 2 or term.read != "time-course"):
        return "comet-id needs two views and read: time-course"
    return without_negatives(term)


def without_negatives(term: ContrastTerm) -> str | None:
    """A criterion that holds no window against another has no pairs to ignore."""
    if has_negatives(term.criterion) or set(term.ignore or ()) <= LABELS:
        return None
    return f"{term.criterion.name} has no negatives, so ignore does not act, but for label-change: leave it out"
