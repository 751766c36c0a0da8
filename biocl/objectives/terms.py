"""An experiment is a sum of terms over views that are encoded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from biocl.encoders.latents import Latents
from biocl.objectives.batch import Batch
from biocl.objectives.contrast import contrast_loss
from biocl.objectives.head_spec import HeadTerm
from biocl.objectives.heads import head_loss
from biocl.objectives.memories import Keys, Queue
from biocl.objectives.model import Model
from biocl.objectives.momentum import momentum_loss, uses_copy
from biocl.objectives.spec import Term
from biocl.objectives.weight_spec import Ramp, acts, weight_at
from biocl.views.make import make_view
from biocl.views.signal import SignalInfo
from biocl.views.spec import ViewSpec
from biocl.views.view import View


@dataclass(frozen=True)
class StepLoss:
    """The loss of one step: `total` carries the graph, `terms`, `counts` and `weights` are plain numbers for the log.

    `weights` are those that change in the course of training; `keys` are for the queues of terms with a momentum copy,
    by title, see `Model.follow`.
    """

    total: torch.Tensor
    terms: dict[str, float]
    counts: dict[str, int]
    weights: dict[str, float]
    keys: dict[str, Keys] = field(default_factory=dict)


def acting(terms: Sequence[Term]) -> list[Term]:
    """Terms that count: weight 0 switches a term off, with the passes that only it needs."""
    return [term for term in terms if acts(term.weight)]


def needed_views(terms: Sequence[Term]) -> list[str]:
    """Names of the views that acting terms read, each once, in order of first mention."""
    return list(dict.fromkeys(name for term in acting(terms) for name in term.views))


def encoded_views(terms: Sequence[Term]) -> list[str]:
    """Names of the views that the trained encoder reads: all but keys of a momentum copy."""
    return list(dict.fromkeys(name for term in acting(terms) for name in own_views(term)))


def key_views(terms: Sequence[Term]) -> list[str]:
    """Names of the views that the momentum copy reads."""
    return list(dict.fromkeys(term.views[1] for term in uses_copy(acting(terms))))


def own_views(term: Term) -> list[str]:
    """Those of a term's views that the trained encoder reads for it."""
    return term.views[:1] if uses_copy([term]) else term.views


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
    clean = View(batch.x, target=batch.label, valid=batch.valid, present=batch.present)
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
    signal: SignalInfo | None = None,
    done: float = 0.0,
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
        Called with a view's or term's name before it draws anything, to give it a random stream of its own.
    signal : SignalInfo, optional
        What the channels are, for criteria that look at the signal too.
    done : float
        Share of the training that is over, for weights that change in its course.

    Returns
    -------
    StepLoss
    """
    trunks = {}
    for name in encoded_views(terms):
        seed_dropout(f"inside {name}")
        trunks[name] = model.trunk(views[name])
    shared: dict[str, Latents] = {}
    for name in dict.fromkeys(name for term in acting(terms) if shares_dropout(term) for name in own_views(term)):
        seed_dropout(name)
        shared[name] = model.latents(trunks[name], views[name])
    copied = copy_latents(model, views, terms, seed_dropout)
    total = torch.zeros((), device=batch.x.device)
    values: dict[str, float] = {}
    counts: dict[str, int] = {}
    weights: dict[str, float] = {}
    keys: dict[str, Keys] = {}
    for term in acting(terms):
        seed_dropout(f"term {term.title}")
        if isinstance(term, HeadTerm):
            head = model.heads[term.title]
            per_view = [head_loss(term, head, shared[name], views[name], batch, class_weights) for name in term.views]
            loss = torch.stack(per_view).mean()
        else:
            drawn = [
                model.latents(trunks[name], views[name]) if term.redraw_dropout else shared[name]
                for name in own_views(term)
            ]
            read = [views[name] for name in term.views]
            projector = model.projector_of(term)
            if term.keys == "momentum":
                assert model.momentum is not None
                drawn.append(copied[term.views[1]])
                projectors = (projector, model.projector_of(term, model.momentum.projectors))
                queue = model.queues[term.title] if term.queue is not None else None
                assert queue is None or isinstance(queue, Queue)
                loss, skipped, new = momentum_loss(term, drawn, batch, projectors, read, queue)
                if queue is not None:
                    keys[term.title] = new
            else:
                loss, skipped = contrast_loss(term, drawn, batch, projector, read, signal)
            if skipped:
                counts[f"{term.title}/skipped"] = skipped
        values[term.title] = float(loss.detach())
        weight = weight_at(term.weight, done)
        if isinstance(term.weight, Ramp):
            weights[f"{term.title}/weight"] = weight
        total = total + weight * loss
    return StepLoss(total, values, counts, weights, keys)


@torch.no_grad()
def copy_latents(
    model: Model, views: Mapping[str, View], terms: Sequence[Term], seed_dropout: Callable[[str], None]
) -> dict[str, Latents]:
    """What the momentum copy says of the views that it reads, with dropout of its own."""
    found = {}
    for name in key_views(terms):
        assert model.momentum is not None
        encoder = model.momentum.encoder
        seed_dropout(f"inside {name}, momentum")
        trunk = model.trunk(views[name], encoder)
        seed_dropout(f"{name}, momentum")
        found[name] = model.latents(trunk, views[name], encoder)
    return found


def shares_dropout(term: Term) -> bool:
    """Does the term read the one dropout draw of each view that terms share, rather than draws of its own?"""
    return isinstance(term, HeadTerm) or not term.redraw_dropout
