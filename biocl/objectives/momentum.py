"""MoCo: keys by a momentum copy of the encoder, and the terms that are told from them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.objectives import criteria
from biocl.objectives.batch import Batch
from biocl.objectives.contrast import PerView, Projector, own_pairs, reads_of
from biocl.objectives.criteria.scores import attached_zero, oriented
from biocl.objectives.criterion_spec import InfoNCE
from biocl.objectives.memories import Keys, Queue
from biocl.objectives.pairs import kept_apart
from biocl.objectives.spec import ContrastTerm, Term
from biocl.views.view import View

if TYPE_CHECKING:
    from biocl.encoders.build import AnyEncoder


class MomentumCopy(nn.Module):
    """An encoder and projectors that follow the trained ones: ``copy = m copy + (1 - m) trained`` after every step.

    Batch norms of the copy have statistics of their own, of what the copy reads in training.

    Parameters
    ----------
    encoder : Encoder, DualEncoder or DeviceEncoder
    projectors : mapping of str to Module
        Those that its terms use.
    share : float
        m, what the copy keeps of itself.
    """

    def __init__(self, encoder: AnyEncoder, projectors: Mapping[str, nn.Module], share: float) -> None:
        super().__init__()
        self.share = share
        # Copies draw nothing, so what is drawn afterwards is what it is without them.
        self.encoder: AnyEncoder = copy.deepcopy(encoder)
        self.projectors = nn.ModuleDict({name: copy.deepcopy(module) for name, module in projectors.items()})
        self.requires_grad_(False)

    @torch.no_grad()
    def start(self, trained: nn.Module) -> None:
        """Be what is trained, its statistics too."""
        known = dict(trained.named_parameters()) | dict(trained.named_buffers())
        for name, own in [*self.named_parameters(), *self.named_buffers()]:
            own.copy_(known[name])

    @torch.no_grad()
    def follow(self, trained: nn.Module) -> None:
        """A small step towards what is trained."""
        known = dict(trained.named_parameters())
        for name, own in self.named_parameters():
            own.lerp_(known[name], 1 - self.share)


def uses_copy(terms: Iterable[Term]) -> list[ContrastTerm]:
    """The terms whose keys are the momentum copy's."""
    return [term for term in terms if isinstance(term, ContrastTerm) and term.keys == "momentum"]


def momentum_copy(
    encoder: AnyEncoder, projectors: Mapping[str, nn.Module], terms: Sequence[Term]
) -> MomentumCopy | None:
    """The one copy that all terms with ``keys: momentum`` share, None where there is none.

    Raises
    ------
    UsageError
        They ask for copies that follow at different speeds.
    """
    asking = uses_copy(terms)
    if not asking:
        return None
    shares = sorted({term.momentum for term in asking})
    if len(shares) > 1:
        raise UsageError(
            f"Terms ask for momentum {' and '.join(map(str, shares))}, and share one momentum copy",
            "terms",
            "Give them the same momentum",
        )
    names = {name for term in asking for name in term.projectors}
    return MomentumCopy(encoder, {name: module for name, module in projectors.items() if name in names}, shares[0])


def momentum_loss(
    term: ContrastTerm,
    latents: Sequence[Latents],
    batch: Batch,
    projectors: tuple[Projector, Projector],
    views: Sequence[View] = (),
    queue: Queue | None = None,
) -> tuple[torch.Tensor, int, Keys]:
    """One term with keys of the momentum copy, unweighted.

    A query is told from the other keys of the batch and from those of the queue, but for pairs that the term ignores.
    Nothing is written: the caller pushes the new keys when the optimiser has made its step.

    Parameters
    ----------
    term : ContrastTerm
    latents : sequence of two Latents
        Of the first view by the trained encoder, and of the second by its copy.
    batch : Batch
    projectors : the trained projector and its copy
    views : sequence of View
    queue : Queue, optional

    Returns
    -------
    loss : Tensor, shape ()
    skipped : int
        Windows whose two views are no pair, or that are told from nothing.
    new : Keys
        For the queue.
    """
    criterion = term.criterion
    assert isinstance(criterion, InfoNCE)
    (one,) = reads_of(term, latents, batch, PerView(projectors), views, draw=True)
    one, lost = own_pairs(one)
    query, key = one.reads
    new = Keys.of(oriented(key, "cosine"), one.ids)
    if not len(query):
        return attached_zero(query), lost, new
    memory = memory_ignore = None
    told_from = one.pairs.negative.any(dim=1)
    if queue is not None and len(remembered := queue.read()):
        memory, memory_ignore = remembered.keys, kept_apart(term.ignored, one.ids, remembered)
        told_from = told_from | ~memory_ignore.all(dim=1)
    loss = criteria.info_nce(
        query,
        new.keys,
        temperature=criterion.temperature,
        ignore=one.pairs.ignored,
        memory=memory,
        memory_ignore=memory_ignore,
    )
    return loss, lost + int((~told_from).sum()), new
