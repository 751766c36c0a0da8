"""Several labels at once: losses for windows of which each label holds or does not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import MultiLabelTerm
from biocl.objectives.heads.networks import HeadWithAux, build_network


class MultiLabelHead(HeadWithAux):
    """Pooled latents (B, D), joined with auxiliary inputs (B, n_aux), to a logit for every label (B, n_labels).

    Parameters
    ----------
    term : MultiLabelTerm
    in_dim, n_labels, n_aux : int
        Width of the latents, number of labels and of auxiliary inputs.

    Raises
    ------
    UsageError
        There are no labels.
    """

    def __init__(self, term: MultiLabelTerm, *, in_dim: int, n_labels: int, n_aux: int = 0) -> None:
        super().__init__(n_aux)
        if not n_labels:
            raise UsageError(
                f"The head {term.title} predicts several labels, and the windows have none",
                "data.labels",
                "Name them, as in data.labels: [NORM, MI, STTC, CD, HYP]",
            )
        self.term = term
        self.network = build_network(term.network, in_dim + n_aux, n_labels)

    def logits(self, latents: Latents, batch: Batch) -> Tensor:
        """Logits (B, n_labels) in float32."""
        out: Tensor = self.network(self.joined(latents.vec, batch.aux))
        return out.float()

    def predict(self, latents: Latents, batch: Batch) -> Tensor:
        """Probabilities (B, n_labels), each label's own; those of a softmax rank labels only."""
        return self.logits(latents, batch).sigmoid()

    def loss(self, latents: Latents, batch: Batch) -> Tensor:
        """The loss of the term over what is known."""
        assert batch.labels is not None
        logits = self.logits(latents, batch)
        match self.term.loss:
            case "softmax":
                return softmax_loss(logits, batch.labels)
            case "decoupled-softmax":
                return decoupled_softmax_loss(logits, batch.labels)
            case "asymmetric":
                return asymmetric_loss(logits, batch.labels)
        return asymmetric_loss(logits, batch.labels, focus_no=0.0, margin=0.0)


def softmax_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax over all labels, mean over those that hold: ``-mean_{p in P} (s_p - LSE_k s_k)``.

    Parameters and edge cases are those of `decoupled_softmax_loss`.
    """
    scores, holds, counted = usable(logits, labels)
    known = scores.masked_fill(~counted, -torch.inf)
    return over_held(scores - known.logsumexp(dim=1, keepdim=True), holds)


def decoupled_softmax_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Each label that holds against those that do not, and never against another that holds.

    ``-mean_{p in P} (s_p - log(e^{s_p} + sum_{k not in P} e^{s_k}))``; with one label that holds this is the cross
    entropy.

    Parameters
    ----------
    logits : Tensor, shape (B, n_labels)
    labels : Tensor of int, shape (B, n_labels)
        1 where a label holds, 0 where it does not, -1 where nobody knows: such a label is left out. Windows of which
        no label is known to hold are left out too.

    Returns
    -------
    Tensor, shape ()

    References
    ----------
    Gupta et al. 2024, "Dual-encoders for extreme multi-label classification".
    """
    scores, holds, counted = usable(logits, labels)
    # A finite floor, so that a window of which all labels hold has a gradient, which is 0.
    lowest = torch.finfo(scores.dtype).min / 4
    against = scores.masked_fill(holds | ~counted, lowest).logsumexp(dim=1, keepdim=True)
    return over_held(scores - torch.logaddexp(scores, against), holds)


def asymmetric_loss(
    logits: Tensor, labels: Tensor, *, focus_yes: float = 0.0, focus_no: float = 4.0, margin: float = 0.05
) -> Tensor:
    """Cross entropy of every label on its own, in which easy absences count little and very easy ones nothing.

    ``-(1 - p)^focus_yes log p`` where a label holds, ``-q^focus_no log(1 - q)`` with ``q = max(p - margin, 0)`` where
    it does not; ``p`` is the sigmoid of its logit. Without focus and margin this is the binary cross entropy.

    Parameters
    ----------
    logits : Tensor, shape (B, n_labels)
    labels : Tensor of int, shape (B, n_labels)
        1 where a label holds, 0 where it does not, -1 where nobody knows, which is left out of the mean.
    focus_yes, focus_no : float
    margin : float

    Returns
    -------
    Tensor, shape ()

    References
    ----------
    Ridnik et al. 2021, "Asymmetric loss for multi-label classification".
    """
    scores = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    p = scores.sigmoid()
    yes = -((1 - p) ** focus_yes) * F.logsigmoid(scores)
    if margin > 0:
        q = (p - margin).clamp(min=0)
        no = -(q**focus_no) * torch.log1p(-q)
    else:
        no = -(p**focus_no) * F.logsigmoid(-scores)
    each = torch.where(labels == 1, yes, no)[labels >= 0]
    return each.mean() if each.numel() else scores.sum() * 0.0


def usable(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of windows of which a label holds, which labels hold, and which are known; (B', n_labels) each."""
    scores = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    some = (labels == 1).any(dim=1)
    return scores[some], labels[some] == 1, labels[some] >= 0


def over_held(log_shares: Tensor, holds: Tensor) -> Tensor:
    """Minus the mean over windows of the mean over the labels that hold; 0 where there is no window."""
    if not len(log_shares):
        return log_shares.sum()
    return -(log_shares.masked_fill(~holds, 0.0).sum(dim=1) / holds.sum(dim=1)).mean()
