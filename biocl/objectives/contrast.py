"""A contrastive term: what it reads of the latents, held against each other by its criterion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import nn

from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.objectives import criteria
from biocl.objectives.at_once import at_once_loss, collossl_loss, crossl_loss, focal_loss, gram_loss
from biocl.objectives.batch import Batch, Ids
from biocl.objectives.by_target import target_loss
from biocl.objectives.comparisons import Comparison, Side, comparisons
from biocl.objectives.criteria.scores import attached_zero, oriented
from biocl.objectives.criterion_spec import AtOnce, ByTarget, ColloSSL, CroSSL, Focal, Gram, InfoNCE, NTXent
from biocl.objectives.pairs import Pairs, pairs_of_sides
from biocl.objectives.spec import ContrastTerm, own_of
from biocl.views.signal import SignalInfo
from biocl.views.view import View

Projector = nn.Module | Mapping[str, nn.Module] | None
TINY = 1e-6  # keeps the phase of a frequency that is absent differentiable


@dataclass(frozen=True)
class PerView:
    """A projector for each view of a term."""

    projectors: Sequence[Projector]


@dataclass(frozen=True)
class Compared:
    """One comparison of a term.

    Attributes
    ----------
    reads : list of Tensor
        What each side says of the N items, (N, D) or (N, L, D).
    pairs : Pairs
        How items are paired.
    ids : Ids
        Whose they are.
    relabelled : bool
        Whether a view may have changed a label.
    present : Tensor of bool, shape (N, n_sides), or None
        Whether the device of each side is there; None where all are.
    view : int
        Place in ``term.views`` of the (first) view that is compared.
    """

    reads: list[torch.Tensor]
    pairs: Pairs
    ids: Ids
    relabelled: bool
    present: torch.Tensor | None = None
    view: int = 0


def contrast_loss(
    term: ContrastTerm,
    latents: Sequence[Latents],
    batch: Batch,
    projector: Projector = None,
    views: Sequence[View] = (),
    signal: SignalInfo | None = None,
) -> tuple[torch.Tensor, int]:
    """One contrastive term, unweighted: the mean over its comparisons that have anything to compare.

    Parameters
    ----------
    term : ContrastTerm
    latents : sequence of Latents
        One per name in ``term.views``.
    batch : Batch
        Gives the ids of the relation.
    projector : Module, or mapping of branch or device to Module, optional
    views : sequence of View
        What `latents` were made of, for their time index, padding and labels; without them views are as the window.
    signal : SignalInfo, optional
        What the channels are, for criteria that look at the signal too.

    Returns
    -------
    loss : Tensor, shape ()
        Attached to the graph also when no pair is positive.
    skipped : int
        Anchors without a positive.
    """
    losses, skipped = [], 0
    found = reads_of(term, latents, batch, projector, views, draw=True)
    for one in found:
        if isinstance(term.criterion, AtOnce):
            x = views[one.view].x if views else batch.x
            loss, lost = loss_at_once(term, one, compared_names(term, latents[0]), x, signal, projector)
        else:
            loss, lost = comparison_loss(term, one) if len(one.reads[0]) else (None, 0)
        skipped += lost
        if loss is not None:
            losses.append(loss)
    if not losses:
        return attached_zero(*(side for one in found for side in one.reads)), skipped
    return torch.stack(losses).mean(), skipped


def reads_of(
    term: ContrastTerm,
    latents: Sequence[Latents],
    batch: Batch,
    projector: Projector | PerView = None,
    views: Sequence[View] = (),
    *,
    draw: bool = False,
) -> list[Compared]:
    """Every comparison of a term.

    Parameters are those of `contrast_loss`. Of a term with ``read: step`` the step is drawn from torch's global
    stream, or it is the last.
    """
    if term.read != "vec" and any(valid is not None for valid in (batch.valid, *(view.valid for view in views))):
        raise UsageError(
            f"The term {term.title} compares time steps, and some windows are padded",
            "terms",
            "Use read: vec, or windows without padding (short: drop)",
        )
    ordered = in_window_order(term, latents, views)
    at = int(torch.randint(ordered[0].seq.shape[1], ())) if draw and term.read == "step" else -1
    found = []
    devices = list(latents[0].devices)
    branches = list(latents[0].of(device=devices[0] if devices else None).branches)
    for sides in comparisons(term, branches, devices):
        pairs, ids, relabelled = pairs_of_sides(term, sides, batch, views)
        reads = [read_side(term, side, ordered, None if term.joins else projector, at) for side in sides]
        there = presence(sides, views, devices)
        one = Compared(reads, pairs, ids, relabelled, there, sides[0][0].view)
        if term.relation == "near-target":
            assert ids.target is not None
            one = of_items(one, ~ids.target.isnan())
        found.append(one if one.present is None or isinstance(term.criterion, AtOnce) else only_present(one))
    return found


def presence(sides: Comparison, views: Sequence[View], devices: Sequence[str]) -> torch.Tensor | None:
    """Whether the device of each side is there, (N, n_sides); None where all are, or none is read apart."""
    apart = any(entry.device is not None for side in sides for entry in side)
    if not apart or all(view.present is None for view in views):
        return None
    columns = []
    for side in sides:
        of_entries = []
        for at, _, device in side:
            known = views[at].present
            every = torch.ones(len(views[at].x), dtype=torch.bool, device=views[at].x.device)
            of_entries.append(every if known is None or device is None else known[:, devices.index(device)])
        columns.append(torch.cat(of_entries))
    return torch.stack(columns, dim=1)


def only_present(one: Compared) -> Compared:
    """A comparison of the items that are there on every side."""
    assert one.present is not None
    return replace(of_items(one, one.present.all(dim=1)), present=None)


def own_pairs(one: Compared) -> tuple[Compared, int]:
    """A comparison without the items whose two views show different classes, which are no pair; and their number."""
    if not one.relabelled:
        return one, 0
    kept = ~one.pairs.estranged
    return of_items(one, kept), int((~kept).sum())


def of_items(one: Compared, kept: torch.Tensor) -> Compared:
    """A comparison of the items that are kept, (N,) bool."""
    masks = [mask[kept][:, kept] for mask in (one.pairs.positive, one.pairs.negative, one.pairs.ignored)]
    pairs = Pairs(masks[0], masks[1], masks[2], one.pairs.estranged[kept])
    present = None if one.present is None else one.present[kept]
    return replace(one, reads=[side[kept] for side in one.reads], pairs=pairs, ids=one.ids.where(kept), present=present)


def compared_names(term: ContrastTerm, latents: Latents) -> list[str]:
    """The views, branches or devices that a term compares."""
    devices = list(latents.devices)
    if term.across == "branch":
        return term.branches or list(latents.of(device=devices[0] if devices else None).branches)
    return term.views if term.across == "view" else term.devices or devices


def loss_at_once(
    term: ContrastTerm,
    one: Compared,
    names: Sequence[str],
    x: torch.Tensor,
    signal: SignalInfo | None,
    projector: Projector,
) -> tuple[torch.Tensor | None, int]:
    """The criterion of a comparison of all entries at once, None if no window has a pair; and how many had none."""
    criterion, z, ignore = term.criterion, torch.stack(one.reads), one.pairs.ignored
    if isinstance(criterion, ColloSSL):
        loss, info = collossl_loss(
            criterion, z, names, anchor=term.anchor, ids=one.ids, present=one.present, x=x, signal=signal
        )
    elif isinstance(criterion, Gram):
        loss, info = gram_loss(criterion, z, names, anchor=term.anchor, present=one.present, ignore=ignore)
    elif isinstance(criterion, Focal):
        loss, info = focal_loss(criterion, z, ids=one.ids, present=one.present, ignore=ignore)
    elif isinstance(criterion, CroSSL):
        assert isinstance(projector, nn.Module)
        loss, info = crossl_loss(criterion, z, projector, present=one.present)
    else:
        assert isinstance(criterion, AtOnce)
        loss, info = at_once_loss(criterion, z, present=one.present, ignore=ignore)
    return loss if info["anchors"] else None, info["skipped"]


def comparison_loss(term: ContrastTerm, one: Compared) -> tuple[torch.Tensor | None, int]:
    """The criterion of one comparison, None if no item has a pair; and how many anchors had none."""
    criterion, reads, pairs = term.criterion, one.reads, one.pairs
    assert not isinstance(criterion, AtOnce)
    if isinstance(criterion, ByTarget):
        assert one.ids.target is not None
        loss, info = target_loss(criterion, reads, pairs, one.ids.target)
        return loss if info["anchors"] else None, info["skipped"]
    if isinstance(criterion, NTXent | InfoNCE):
        one, lost = own_pairs(one)
        first, second = one.reads
        if len(first) == 0:
            return None, lost
        if isinstance(criterion, InfoNCE):
            ignored, temperature = one.pairs.ignored, criterion.temperature
            return criteria.info_nce(
                first, second, temperature=temperature, symmetric=criterion.symmetric, ignore=ignored
            ), lost
        score = partial(nt_xent_of_relation, term, ignore=one.pairs.ignored if term.relation == "same-sample" else None)
        if term.pool != "none":
            to_one = term.pool == "hierarchical-max-to-one"
            return criteria.hierarchical_max(score, first, second, to_one=to_one), lost
        return score(first, second), lost
    if criterion.name == "vicreg":
        agree = criteria.vicreg(
            reads[0],
            reads[1],
            valid=~pairs.estranged if one.relabelled else None,
            invariance=criterion.invariance,
            variance=criterion.variance,
            covariance=criterion.covariance,
        )
        return agree[0] if agree[1]["anchors"] else None, agree[1]["skipped"]
    if criterion.name == "comet-id":
        group = one.ids.trial if term.relation == "same-trial" else one.ids.patient
        alone = int((~pairs.positive.any(dim=1)).sum())
        return criteria.comet_id(reads[0], reads[1], group, temperature=criterion.temperature), alone
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
            ignore=pairs.ignored | pairs.estranged.diag() if one.relabelled else pairs.ignored,
            self_pair=criterion.self_pair,
        )
    return loss if info["anchors"] else None, info["skipped"]


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
        one if view.time_index is None else replace(one, steps=reordered(term, one.seq, view.time_index))
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


def read_side(
    term: ContrastTerm, side: Side, latents: Sequence[Latents], projector: Projector | PerView, at: int
) -> torch.Tensor:
    """What a criterion takes of one side: its entries one after the other on the batch axis.

    `at` is the step that ``read: step`` takes.
    """
    parts = []
    for view, branch, device in side:
        own = projector.projectors[view] if isinstance(projector, PerView) else projector
        own = own_of(own, branch, device) if isinstance(own, Mapping) else own
        parts.append(read(term, latents[view].of(branch, device), own, at))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def read(term: ContrastTerm, latents: Latents, projector: nn.Module | None, at: int = -1) -> torch.Tensor:
    """What a criterion takes: (B, L, D) for ``seq`` and for comet-id, which makes its own time courses, (B, F, D) for
    F frequencies; else (B, D)."""
    out = latents.vec if term.read == "vec" else latents.seq[:, at] if term.read == "step" else latents.seq
    out = out if projector is None else projector(out)
    if term.read in ("amplitude", "phase"):
        return of_frequencies(out, term.read)
    return criteria.time_course(out) if term.read == "time-course" and term.criterion.name != "comet-id" else out


def of_frequencies(seq: torch.Tensor, what: Literal["amplitude", "phase"]) -> torch.Tensor:
    """Amplitude or phase (B, F, D) of each frequency of a sequence (B, L, D), of every feature by itself."""
    with torch.autocast(seq.device.type, enabled=False):
        spectrum = torch.fft.rfft(oriented(seq, "cosine"), dim=1)
        return spectrum.abs() if what == "amplitude" else torch.atan2(spectrum.imag, spectrum.real + TINY)


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
