"""An experiment is a sum of terms over views that are encoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn

from biocl.encoders.latents import Latents
from biocl.objectives import criteria, relations
from biocl.objectives.batch import Batch
from biocl.objectives.heads import classification_loss
from biocl.objectives.model import Model
from biocl.objectives.spec import ContrastTerm, HeadTerm, Term
from biocl.views.spec import ViewSpec
from biocl.views.view import View, make_view


@dataclass(frozen=True)
class StepLoss:
    """The loss of one step: `total` carries the graph, `terms` and `counts` are plain numbers for the log."""

    total: torch.Tensor
    terms: dict[str, float]
    counts: dict[str, int]


def acting(terms: Sequence[Term]) -> list[Term]:
    """Terms that count: weight 0 switches a term off, with the passes that only it needs."""
    return [term for term in terms if term.weight > 0]


def needed_views(terms: Sequence[Term]) -> list[str]:
    """Names of the views that acting terms read, each once, in order of first mention."""
    return list(dict.fromkeys(name for term in acting(terms) for name in term.views))


def make_views(
    batch: Batch,
    specs: Mapping[str, ViewSpec],
    terms: Sequence[Term],
    *,
    hidden_dim: int,
    generator: torch.Generator,
) -> dict[str, View]:
    """Draw every view that an acting term names, once."""
    clean = View(batch.x, target=batch.label, valid=batch.valid)
    return {
        name: make_view(clean, specs[name], hidden_dim=hidden_dim, generator=generator) for name in needed_views(terms)
    }


def step_loss(
    model: Model,
    batch: Batch,
    views: Mapping[str, View],
    terms: Sequence[Term],
    *,
    class_weights: torch.Tensor | None = None,
) -> StepLoss:
    """Encode each view once and add up the acting terms.

    Parameters
    ----------
    model : Model
    batch : Batch
    views : mapping of str to View
        From `make_views`.
    terms : sequence of terms
    class_weights : Tensor, shape (n_outputs,), optional
        For classification heads.

    Returns
    -------
    StepLoss
    """
    trunks = {name: model.trunk(views[name]) for name in needed_views(terms)}
    latents = StandardDraws(model, trunks, views)
    total = torch.zeros((), device=batch.x.device)
    values: dict[str, float] = {}
    counts: dict[str, int] = {}
    for term in acting(terms):
        if isinstance(term, HeadTerm):
            head = model.heads[term.head]
            per_view = [
                classification_loss(head(latents[name].vec, batch.aux), target_of(views[name], batch), class_weights)
                for name in term.views
            ]
            loss = torch.stack(per_view).mean()
        else:
            drawn = [
                model.latents(trunks[name], views[name]) if term.redraw_dropout else latents[name]
                for name in term.views
            ]
            projector = model.projectors[term.project] if term.project else None
            loss, skipped = contrast_loss(term, drawn, batch, projector)
            if skipped:
                counts[f"{term.title}/skipped"] = skipped
        values[term.title] = float(loss.detach())
        total = total + term.weight * loss
    return StepLoss(total, values, counts)


class StandardDraws(dict[str, Latents]):
    """The one dropout draw of each view that terms share, made when the first of them asks for it."""

    def __init__(self, model: Model, trunks: Mapping[str, torch.Tensor], views: Mapping[str, View]) -> None:
        super().__init__()
        self.model, self.trunks, self.views = model, trunks, views

    def __missing__(self, name: str) -> Latents:
        self[name] = self.model.latents(self.trunks[name], self.views[name])
        return self[name]


def target_of(view: View, batch: Batch) -> torch.Tensor:
    """The label a view carries, or the window's own."""
    return batch.label if view.target is None else view.target


def contrast_loss(
    term: ContrastTerm, latents: Sequence[Latents], batch: Batch, projector: nn.Module | None = None
) -> tuple[torch.Tensor, int]:
    """One contrastive term, unweighted.

    Parameters
    ----------
    term : ContrastTerm
    latents : sequence of Latents
        One per name in ``term.views``.
    batch : Batch
        Gives the ids of the relation.
    projector : Module, optional

    Returns
    -------
    loss : Tensor, shape ()
        Attached to the graph also when no pair is positive.
    skipped : int
        Anchors without a positive.
    """
    reads = [read(term, one, projector) for one in latents]
    criterion = term.criterion
    if criterion.name == "nt-xent":
        score = partial(
            nt_xent_of_relation,
            term,
            ignore=ignored_pairs(term, batch) if term.relation == "same-sample" else None,
        )
        first, second = reads
        if term.pool == "hierarchical-max":
            return criteria.hierarchical_max(score, first, second), 0
        return score(first, second), 0
    if criterion.name == "comet-id":
        ids = batch.trial if term.relation == "same-trial" else batch.patient
        return criteria.comet_id(reads[0], reads[1], ids, temperature=criterion.temperature), 0
    positives, ignore = positive_pairs(term, batch), ignored_pairs(term, batch)
    # Time courses have unit length already.
    similarity: Literal["dot", "cosine"] = "dot" if term.read == "time-course" else "cosine"
    if len(reads) == 1:
        loss, info = criteria.sup_con(
            reads[0],
            positives & ~ignore,
            temperature=criterion.temperature,
            similarity=similarity,
            ignore=ignore,
        )
    else:
        loss, info = criteria.sup_con_views(
            reads[0],
            reads[1],
            positives & ~ignore,
            temperature=criterion.temperature,
            similarity=similarity,
            ignore=ignore,
            self_pair=criterion.self_pair,
        )
    return loss, info["skipped"]


def read(term: ContrastTerm, latents: Latents, projector: nn.Module | None) -> torch.Tensor:
    """What the term compares: (B, L, D) for ``seq``, (B, D) for ``vec`` and ``time-course``."""
    if term.read == "time-course" and term.criterion.name != "comet-id":
        return criteria.time_course(latents.seq if projector is None else projector(latents.seq))
    out = latents.vec if term.read == "vec" else latents.seq
    return out if projector is None else projector(out)


def nt_xent_of_relation(
    term: ContrastTerm, first: torch.Tensor, second: torch.Tensor, *, ignore: torch.Tensor | None
) -> torch.Tensor:
    """NT-Xent with the items of the relation: steps of a window, or windows of the batch at each step."""
    if first.ndim == 2:
        first, second = first[None], second[None]
    elif term.relation == "same-sample":
        first, second = first.transpose(0, 1), second.transpose(0, 1)
    assert term.criterion.name == "nt-xent"
    return criteria.nt_xent(
        first,
        second,
        similarity=term.criterion.similarity,
        temperature=term.criterion.temperature,
        ignore=ignore,
    )


def positive_pairs(term: ContrastTerm, batch: Batch) -> torch.Tensor:
    """Boolean (B, B): windows that the relation calls alike, the self pair left out."""
    match term.relation:
        case "same-trial":
            alike = relations.same_id(batch.trial, batch.trial)
        case "same-patient":
            alike = relations.same_id(batch.patient, batch.patient)
        case _:
            return torch.zeros(len(batch.x), len(batch.x), dtype=torch.bool, device=batch.x.device)
    return alike.fill_diagonal_(False)


def ignored_pairs(term: ContrastTerm, batch: Batch) -> torch.Tensor:
    """Boolean (B, B): pairs of different windows that are neither positive nor negative."""
    size = len(batch.x)
    ignored = torch.zeros(size, size, dtype=torch.bool, device=batch.x.device)
    for kind in term.ignored:
        match kind:
            case "overlap":
                ignored |= relations.overlap(batch.recording, batch.start, batch.length)
            case "same-trial":
                ignored |= relations.same_id(batch.trial, batch.trial)
            case "same-patient":
                ignored |= relations.same_id(batch.patient, batch.patient)
            case "other-patient":
                ignored |= ~relations.same_id(batch.patient, batch.patient)
    return ignored.fill_diagonal_(False)
