"""The class of a window: pooled latents (and auxiliary inputs) to logits, with the losses that train them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from biocl.encoders.devices import DeviceLatents
from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import HeadSpec
from biocl.objectives.heads.networks import HeadWithAux
from biocl.objectives.sequential import sequential_loss


class ClassificationHead(HeadWithAux):
    """Latents (B, D), joined with auxiliary inputs (B, n_aux), to logits (B, n_outputs).

    Parameters
    ----------
    spec : HeadSpec
        ``linear``, ``mlp`` (Linear-BatchNorm-ReLU-Dropout-Linear) or ``comet-released``.
    in_dim, n_outputs, n_aux : int
        Width of the latents, number of classes, number of auxiliary inputs.

    Raises
    ------
    UsageError
        There are no classes.
    """

    def __init__(self, spec: HeadSpec, *, in_dim: int, n_outputs: int, n_aux: int = 0) -> None:
        super().__init__(n_aux)
        if not n_outputs:
            raise UsageError(
                "A head predicts classes, and the windows have none",
                "data.classes",
                "Use recordings with labels, or another head: a number (data.target), a future, several labels",
            )
        self.spec = spec
        width = in_dim + n_aux
        if spec.kind == "linear":
            self.network: nn.Module = nn.Linear(width, n_outputs)
        elif spec.kind == "mlp":
            self.network = nn.Sequential(
                nn.Linear(width, spec.hidden_dim),
                nn.BatchNorm1d(spec.hidden_dim),
                nn.ReLU(),
                nn.Dropout(spec.dropout),
                nn.Linear(spec.hidden_dim, n_outputs),
            )
        else:
            self.network = CometReleasedHead(width, spec.hidden_dim, n_outputs, spec.dropout)

    def forward(self, vec: torch.Tensor, aux: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, n_outputs) of latents (B, D) and auxiliary inputs (B, n_aux)."""
        return self.network(self.joined(vec, aux))

    def predict(self, latents: Latents, batch: Batch) -> torch.Tensor:
        """Logits (B, n_outputs) of a batch."""
        return self(latents.vec, batch.aux)


class CometReleasedHead(nn.Module):
    """The fine-tuning head of COMET's public code, faults included.

    Dropout falls on the logits, and with two classes a sigmoid is applied twice, so that the "logits" of
    the softmax lie in (.5, .732) and the cross entropy cannot go below 0.584.
    """

    def __init__(self, in_dim: int, hidden_dim: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.n_outputs = n_outputs
        self.network = nn.Sequential(
            nn.Linear(in_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, n_outputs),
            nn.Dropout(dropout),
        )

    def forward(self, vec: torch.Tensor) -> torch.Tensor:
        """Latents (B, D) to (B, n_outputs)."""
        out = self.network(vec)
        return torch.sigmoid(torch.sigmoid(out)) if self.n_outputs == 2 else out


def classification_loss(
    logits: torch.Tensor, target: torch.Tensor, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross entropy over windows that have a label (`target` of -1 is left out), in float32.

    Parameters
    ----------
    logits : Tensor, shape (B, n_outputs)
    target : Tensor of int, shape (B,)
    class_weights : Tensor, shape (n_outputs,), optional
    """
    if not bool((target >= 0).any()):
        return logits.float().sum() * 0.0
    return F.cross_entropy(logits.float(), target, weight=class_weights, ignore_index=-1)


def loss_after_each_device(
    head: nn.Module,
    latents: Latents,
    aux: torch.Tensor | None,
    target: torch.Tensor,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """`sequential_loss` of the head's cross entropies before the first device and after each.

    Parameters
    ----------
    head : ClassificationHead
    latents : Latents
        Of an encoder whose vector grows device by device.
    aux : Tensor, shape (B, n_aux), optional
    target : Tensor of int, shape (B,)
        Windows without a label (-1) are left out.
    class_weights : Tensor, shape (n_outputs,), optional

    Raises
    ------
    UsageError
        The vector does not grow device by device.
    """
    if not isinstance(latents, DeviceLatents) or latents.states is None:
        raise UsageError(
            "A head predicts after each device, and this encoder joins all devices at once",
            "terms",
            "Set encoder.fusion: sequential, or after_each: false",
        )
    known = target >= 0
    states = latents.states()
    logits = torch.stack([head(state, aux).float() for state in states])[:, known]
    if logits.shape[1] == 0:
        return logits.sum() * 0.0
    errors = torch.stack(
        [F.cross_entropy(one, target[known], weight=class_weights, reduction="none") for one in logits]
    )
    states = states[:, known]
    changes = (states[1:] - states[:-1]).square().mean(dim=2)
    return sequential_loss(errors, changes, None if latents.present is None else latents.present[known])


def balanced_class_weights(labels: torch.Tensor, n_outputs: int) -> torch.Tensor:
    """Weights n / (n_present_classes * count), 0 for absent classes; `labels` are the training labels (n,)."""
    counts = torch.bincount(labels[labels >= 0], minlength=n_outputs).float()
    present = counts > 0
    weights = torch.zeros(n_outputs)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights
