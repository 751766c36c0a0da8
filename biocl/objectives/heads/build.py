"""From the head terms to modules, and from a module to its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import (
    ClassificationTerm,
    ForecastingTerm,
    HeadTerm,
    MultiLabelTerm,
    ReconstructionTerm,
    RegressionTerm,
    StepRegressionTerm,
)
from biocl.objectives.heads.classification import ClassificationHead, classification_loss, loss_after_each_device
from biocl.objectives.heads.forecasting import ForecastingHead
from biocl.objectives.heads.multi_label import MultiLabelHead
from biocl.objectives.heads.networks import HeadWithAux
from biocl.objectives.heads.reconstruction import ReconstructionHead
from biocl.objectives.heads.regression import RegressionHead
from biocl.objectives.heads.step_regression import StepRegressionHead, no_trace
from biocl.objectives.pairs import carried
from biocl.views.view import View

AnyHead = (
    ClassificationHead | MultiLabelHead | ForecastingHead | RegressionHead | StepRegressionHead | ReconstructionHead
)


@dataclass(frozen=True)
class Shapes:
    """What heads must know of windows and of the encoder that reads them.

    Attributes
    ----------
    n_chans, n_times, horizon : int
        Of a window, and steps of its future; `n_times` is 0 where it is not known.
    n_steps, seq_dim, vec_dim : int
        Steps of the encoder's sequence, width of a step and of the pooled vector.
    steps_are_time : bool
    channel_dim : int or None
        Width of a channel's own pooled vector, where the encoder reads each channel alone.
    n_outputs, n_labels, n_aux : int
        Classes, labels of which several may hold, and auxiliary inputs.
    """

    n_chans: int
    n_times: int
    horizon: int
    n_steps: int
    seq_dim: int
    vec_dim: int
    steps_are_time: bool
    channel_dim: int | None
    n_outputs: int
    n_labels: int
    n_aux: int


def build_heads(terms: Sequence[HeadTerm], shapes: Shapes) -> nn.ModuleDict:
    """The head of every term, by its title.

    Raises
    ------
    UsageError
        A head cannot read this encoder, or cannot be called so.
    """
    heads = nn.ModuleDict()
    for term in terms:
        if "." in term.title or hasattr(heads, term.title):
            raise UsageError(f"A head cannot be called {term.title!r}", "terms", "Choose another label, without a dot")
        heads[term.title] = build_head(term, shapes)
    return heads


def build_head(term: HeadTerm, shapes: Shapes) -> AnyHead:
    """The untrained head of a term."""
    match term:
        case ClassificationTerm():
            return ClassificationHead(
                term.network, in_dim=shapes.vec_dim, n_outputs=shapes.n_outputs, n_aux=shapes.n_aux
            )
        case MultiLabelTerm():
            return MultiLabelHead(term, in_dim=shapes.vec_dim, n_labels=shapes.n_labels, n_aux=shapes.n_aux)
        case ForecastingTerm():
            return ForecastingHead(
                term,
                n_chans=shapes.n_chans,
                horizon=shapes.horizon,
                n_steps=shapes.n_steps,
                seq_dim=shapes.seq_dim,
                vec_dim=shapes.vec_dim if shapes.channel_dim is None else shapes.channel_dim,
                each_channel=shapes.channel_dim is not None,
                steps_are_time=shapes.steps_are_time,
            )
        case RegressionTerm():
            return RegressionHead(term, in_dim=shapes.vec_dim, n_aux=shapes.n_aux)
        case StepRegressionTerm():
            return StepRegressionHead(
                term,
                n_times=shapes.n_times,
                n_steps=shapes.n_steps,
                seq_dim=shapes.seq_dim,
                vec_dim=shapes.vec_dim,
                n_aux=shapes.n_aux,
                steps_are_time=shapes.steps_are_time,
            )
        case ReconstructionTerm():
            return ReconstructionHead(
                term,
                n_chans=shapes.n_chans,
                n_times=shapes.n_times,
                n_steps=shapes.n_steps,
                seq_dim=shapes.seq_dim,
                steps_are_time=shapes.steps_are_time,
            )


def head_loss(
    term: HeadTerm,
    head: nn.Module,
    latents: Latents,
    view: View,
    batch: Batch,
    class_weights: Tensor | None = None,
) -> Tensor:
    """The unweighted loss of a head on one view.

    Parameters
    ----------
    term : HeadTerm
    head : Module
        From `build_heads`.
    latents : Latents
        Of the view.
    view : View
    batch : Batch
    class_weights : Tensor, shape (n_outputs,), optional
        For classification.
    """
    match head:
        case ClassificationHead():
            assert isinstance(term, ClassificationTerm)
            target = carried(view, batch)
            if term.after_each:
                return loss_after_each_device(head, latents, batch.aux, target, class_weights)
            return classification_loss(head.predict(latents, batch), target, class_weights)
        case ReconstructionHead() | StepRegressionHead():
            return head.loss(latents, batch, view)
        case ForecastingHead() | RegressionHead() | MultiLabelHead():
            return head.loss(latents, batch)
    raise TypeError(f"{type(head).__name__} is no head")


def fit_heads(
    heads: nn.ModuleDict, *, aux: Tensor | None = None, target: Tensor | None = None, trace: Tensor | None = None
) -> None:
    """Take from the training windows what heads scale by.

    Parameters
    ----------
    heads : ModuleDict
    aux : Tensor, shape (n, n_aux), optional
        Auxiliary inputs.
    target : Tensor, shape (n,), optional
        Numbers of regression, NaN where unknown.
    trace : Tensor, shape (n, n_times), optional
        Numbers of every time step, of all windows or of some evenly chosen.
    """
    for head in heads.values():
        if aux is not None and isinstance(head, HeadWithAux) and head.aux_mean.numel():
            head.fit_aux(aux)
        if isinstance(head, RegressionHead):
            if target is None:
                raise UsageError(
                    "A head predicts a number, and the windows have none",
                    "data.target",
                    "Say which number it is, such as data.target: {kind: heart-rate}",
                )
            head.fit_target(target)
        if isinstance(head, StepRegressionHead):
            if trace is None:
                raise no_trace(head.term.title)
            head.fit_target(trace)


def predicted(head: nn.Module, latents: Latents, batch: Batch) -> Tensor:
    """What a head says of a batch, (B, …): logits, forecasts or numbers, in their units."""
    assert isinstance(head, AnyHead)
    return head.predict(latents, batch)
