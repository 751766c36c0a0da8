"""An experiment is a sum of terms over views that are encoded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import nn

from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.objectives import criteria
from biocl.objectives.batch import Batch
from biocl.objectives.criteria.scores import attached_zero
from biocl.objectives.heads import classification_loss
from biocl.objectives.model import Model
from biocl.objectives.pairs import carried, window_pairs
from biocl.objectives.spec import ContrastTerm, HeadTerm, Term
from biocl.views.make import make_view
from biocl.views.signal import SignalInfo
from biocl.views.spec import ViewSpec
from biocl.views.view import View


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
    hidden_dim: int | None,
    generator: torch.Generator,
    seed_of: Callable[[str], int],
    signal: SignalInfo | None = None,
) -> dict[str, View]:
    """Draw every view that an acting term names, once.

    Each view has a random stream of its own, seeded by ``seed_of(name)``, so that switching a term off changes
    no view of the others. `signal` says what the channels are, which some steps need.
    """
    clean = View(batch.x, target=batch.label, valid=batch.valid)
    views = {}
    for name in needed_views(terms):
        generator.manual_seed(seed_of(name))
        views[name] = make_view(clean, specs[name], hidden_dim=hidden_dim, generator=generator, signal=signal)
    return views


def step_loss(
    model: Model,
    batch: Batch,
    views: Mapping[str, View],
    terms: Sequence[Term],
    *,
    class_weights: torch.Tensor | None = None,
    seed_dropout: Callable[[str], None] = lambda name: None,
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
    seed_dropout : callable
        Called with a view's or term's name before it draws dropout, to give it a random stream of its own.

    Returns
    -------
    StepLoss
    """
    trunks = {}
    for name in needed_views(terms):
        seed_dropout(f"inside {name}")
        trunks[name] = model.trunk(views[name])
    shared: dict[str, Latents] = {}
    for name in dict.fromkeys(name for term in acting(terms) if shares_dropout(term) for name in term.views):
        seed_dropout(name)
        shared[name] = model.latents(trunks[name], views[name])
    total = torch.zeros((), device=batch.x.device)
    values: dict[str, float] = {}
    counts: dict[str, int] = {}
    for term in acting(terms):
        seed_dropout(f"term {term.title}")
        if isinstance(term, HeadTerm):
            head = model.heads[term.head]
            per_view = [
                classification_loss(head(shared[name].vec, batch.aux), carried(views[name], batch), class_weights)
                for name in term.views
            ]
            loss = torch.stack(per_view).mean()
        else:
            drawn = [
                model.latents(trunks[name], views[name]) if term.redraw_dropout else shared[name] for name in term.views
            ]
            projector = model.projectors[term.project] if term.project else None
            loss, skipped = contrast_loss(term, drawn, batch, projector, [views[name] for name in term.views])
            if skipped:
                counts[f"{term.title}/skipped"] = skipped
        values[term.title] = float(loss.detach())
        total = total + term.weight * loss
    return StepLoss(total, values, counts)


def shares_dropout(term: Term) -> bool:
    """Does the term read the one dropout draw of each view that terms share, rather than draws of its own?"""
    return isinstance(term, HeadTerm) or not term.redraw_dropout


def contrast_loss(
    term: ContrastTerm,
    latents: Sequence[Latents],
    batch: Batch,
    projector: nn.Module | None = None,
    views: Sequence[View] = (),
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
    views : sequence of View
        What `latents` were made of, for their time index, padding and labels; without them views are as the window.

    Returns
    -------
    loss : Tensor, shape ()
        Attached to the graph also when no pair is positive.
    skipped : int
        Anchors without a positive.
    """
    if term.read != "vec" and any(valid is not None for valid in (batch.valid, *(view.valid for view in views))):
        raise UsageError(
            f"The term {term.title} compares time steps, and some windows are padded",
            "terms",
            "Use read: vec, or windows without padding (short: drop)",
        )
    reads = [read(term, one, projector) for one in in_window_order(term, latents, views)]
    criterion, pairs = term.criterion, window_pairs(term, batch, views)
    relabelled = any(view.relabelled is not None for view in views)
    if criterion.name == "nt-xent":
        (first, second), ignored, lost = reads, pairs.ignored, 0
        if relabelled:
            # A window whose two views show different classes has no pair here, and nothing else to say.
            kept = ~pairs.estranged
            first, second, ignored = first[kept], second[kept], ignored[kept][:, kept]
            lost = len(kept) - len(first)
            if len(first) == 0:
                return attached_zero(*reads), lost
        score = partial(nt_xent_of_relation, term, ignore=ignored if term.relation == "same-sample" else None)
        if term.pool == "hierarchical-max":
            return criteria.hierarchical_max(score, first, second), lost
        return score(first, second), lost
    if criterion.name == "comet-id":
        ids = batch.trial if term.relation == "same-trial" else batch.patient
        alone = int((~pairs.positive.any(dim=1)).sum())
        return criteria.comet_id(reads[0], reads[1], ids, temperature=criterion.temperature), alone
    # Time courses have unit length already.
    similarity: Literal["dot", "cosine"] = "dot" if term.read == "time-course" else "cosine"
    if len(reads) == 1:
        loss, info = criteria.sup_con(
            reads[0],
            pairs.positive,
            temperature=criterion.temperature,
            similarity=similarity,
            ignore=pairs.ignored,
        )
    else:
        loss, info = criteria.sup_con_views(
            reads[0],
            reads[1],
            pairs.positive,
            temperature=criterion.temperature,
            similarity=similarity,
            ignore=pairs.ignored | pairs.estranged.diag() if relabelled else pairs.ignored,
            self_pair=criterion.self_pair,
        )
    return loss, info["skipped"]


def in_window_order(term: ContrastTerm, latents: Sequence[Latents], views: Sequence[View]) -> list[Latents]:
    """Sequences whose step t is the window's step t in every view, where the term compares steps.

    Raises
    ------
    UsageError
        A view has steps between the window's, or the encoder has other steps than the window.
    """
    if not views or term.read == "vec" or (term.read == "seq" and all(view is views[0] for view in views)):
        return list(latents)
    return [
        one if view.time_index is None else replace(one, seq=reordered(term, one.seq, view.time_index))
        for one, view in zip(latents, views, strict=True)
    ]


def reordered(term: ContrastTerm, seq: torch.Tensor, time_index: torch.Tensor) -> torch.Tensor:
    """The sequence (B, L, D) in the order of the window, given which of its steps each step shows."""
    if time_index.is_floating_point():
        raise UsageError(
            f"The term {term.title} compares time steps, and a view of it has steps between those of the window",
            "terms",
            "Use read: vec, or views without time-warp and crop-resize",
        )
    if seq.shape[1] != time_index.shape[1]:
        raise UsageError(
            f"The term {term.title} compares time steps, a view of it has them in another order, and the encoder's "
            f"{seq.shape[1]} steps are not the window's {time_index.shape[1]}",
            "terms",
            "Use read: vec, or an encoder that keeps every step",
        )
    return seq.gather(1, time_index.argsort(dim=1)[..., None].expand_as(seq))


def read(term: ContrastTerm, latents: Latents, projector: nn.Module | None) -> torch.Tensor:
    """What a criterion takes: (B, L, D) for ``seq`` and for comet-id, which makes its own time courses; else (B, D)."""
    out = latents.vec if term.read == "vec" else latents.seq
    out = out if projector is None else projector(out)
    return criteria.time_course(out) if term.read == "time-course" and term.criterion.name != "comet-id" else out


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
