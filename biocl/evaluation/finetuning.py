"""Gradient fine-tuning: a head, and a part or all of the encoder, chosen on validation patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from biocl.encoders.spec import DevicesSpec
from biocl.errors import UsageError
from biocl.evaluation.metrics import classification_metrics
from biocl.evaluation.values import Best, ValueTerm, score_of, value_errors
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import ClassificationTerm, HeadTerm
from biocl.objectives.heads import ClassificationHead, balanced_class_weights
from biocl.objectives.model import Model
from biocl.objectives.view_rules import view_refusal
from biocl.randomness import integer_seed
from biocl.sampling.plain import random_batches
from biocl.training.averaging import Weights
from biocl.training.data import Windows
from biocl.training.fitting import pieces
from biocl.training.loop import Metrics, Task, fit
from biocl.training.spec import FinetuneSpec, OptimSpec, TrainSpec
from biocl.views.signal import SignalInfo

MOST_TRACES = 2048
"""Windows over which mean and deviation of a predicted channel are taken, evenly chosen where there are more."""


@dataclass(frozen=True)
class Labelled:
    """Windows with the class numbers of the task at hand.

    Attributes
    ----------
    windows : Windows
    classes : tuple of str
        The task's classes, in order.
    of_table : ndarray of int, shape (n_table_classes + 1,)
        Table label to task class, -1 for none; the last entry is for the table's -1.
    """

    windows: Windows
    classes: tuple[str, ...]
    of_table: np.ndarray

    @classmethod
    def make(cls, windows: Windows, classes: list[str]) -> Labelled:
        """Keep the named classes, in that order."""
        names = list(windows.table.names["label"])
        unknown = [name for name in classes if name not in names]
        if unknown:
            raise UsageError(
                f"The class {unknown[0]!r} is not in the window table, which has {', '.join(names)}",
                "evaluate.class_sets",
                "Name classes of data.classes",
            )
        of_table = np.full(len(names) + 1, -1)
        for number, name in enumerate(classes):
            of_table[names.index(name)] = number
        return cls(windows, tuple(classes), of_table)

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """Class numbers of table rows, -1 for rows of no class of this task."""
        return self.of_table[self.windows.table.rows["label"][indices]]

    def among(self, indices: np.ndarray) -> np.ndarray:
        """The table rows among `indices` that have a class of this task."""
        return indices[self.labels(indices) >= 0]

    def patients(self, indices: np.ndarray) -> np.ndarray:
        """Patient numbers of table rows."""
        return self.windows.table.rows["patient"][indices]

    @property
    def signal(self) -> SignalInfo:
        """What the channels are, with the task's classes."""
        return replace(self.windows.signal, classes=self.classes)

    def batch(self, indices: np.ndarray, device: torch.device) -> Batch:
        """A batch whose labels are the task's class numbers."""
        batch = self.windows.batch(indices, device)
        return replace(batch, label=torch.from_numpy(self.labels(indices)).to(device))


def finetune_model(
    build: Callable[[list[HeadTerm]], Model],
    encoder_weights: Weights | None,
    data: Labelled | Windows,
    train: np.ndarray,
    validation: np.ndarray,
    spec: FinetuneSpec,
    *,
    seed: int,
    device: torch.device,
    on_log: Callable[[int, Metrics], None] = lambda step, values: None,
    term: ValueTerm | None = None,
) -> Model:
    """Train a head and what ``spec.mode`` frees of the encoder; keep the best weights on validation patients.

    Parameters
    ----------
    build : callable
        Head terms to an untrained model.
    encoder_weights : dict, optional
        Weights of a pretrained model, whose ``encoder.`` part is loaded; None trains from scratch.
    data : Labelled or Windows
        The latter for a head that forecasts or predicts a number.
    train, validation : ndarray of int
        Table rows. Without validation rows the last weights are kept.
    spec : FinetuneSpec
    seed : int
    device : torch.device
    on_log : callable
    term : ForecastingTerm, RegressionTerm, StepRegressionTerm or MultiLabelTerm, optional
        The head where it is not a classifier of ``spec.head``; its views and weight do not count.

    Returns
    -------
    Model
        In evaluation mode, with the weights that were best on validation patients: by macro-F1, or by the mean squared
        or absolute error, or the area under the curve, of what is predicted (see `score_of`).

    Raises
    ------
    UsageError
        The view of fine-tuning is none that this head can be trained on.
    """
    head = finetuned_term(spec, term)
    windows = data.windows if isinstance(data, Labelled) else data
    model = build([head])
    if encoder_weights is not None:
        load_encoder(model, encoder_weights)
    model = model.to(device)
    free_parameters(model, spec)
    fit_heads_on(model, windows, train)
    weights = None
    if isinstance(data, Labelled) and spec.head.class_weights == "balanced":
        weights = balanced_class_weights(torch.from_numpy(data.labels(train)), len(data.classes)).to(device)
    looked_at = evenly(validation, spec.validation_windows)
    best = Best()

    def plan(epoch: int) -> list[np.ndarray]:
        batches = random_batches(len(train), min(spec.batch_size, len(train)), seed=seed, epoch=epoch)
        # A last batch of one window has no batch statistics.
        return [train[batch] for batch in batches if len(batch) > 1]

    def look(now: Weights, step: int) -> Metrics:
        metrics, score = look_at(model, data, looked_at, device=device, term=term)
        best.offer(score, now)
        return metrics

    fit(
        model,
        Task([head], {"finetune": spec.view}, plan, lambda rows: data.batch(rows, device), weights, data.signal),
        TrainSpec(
            **{name: getattr(spec, name) for name in OptimSpec.model_fields},
            steps=spec.max_steps,
            average=None,
            validate_every=spec.validate_every,
        ),
        seed=integer_seed(seed, "finetune"),
        device=device,
        on_log=on_log,
        validate=look if len(looked_at) else None,
    )
    if best.weights:
        model.load_state_dict(best.weights)
    return model.eval()


def finetuned_term(spec: FinetuneSpec, term: ValueTerm | None) -> HeadTerm:
    """The one term of fine-tuning: of a given head, or of the classifier that `spec` describes.

    Raises
    ------
    UsageError
        It cannot read the view of fine-tuning.
    """
    if term is None:
        return ClassificationTerm(head="classification", views=["finetune"], network=spec.head)
    head = term.model_copy(update={"views": ["finetune"], "weight": 1.0})
    refusal = view_refusal(head, {"finetune": spec.view})
    if refusal is not None:
        raise UsageError(f"The head {head.title} {refusal}", "finetune.view", "Leave the step out")
    return head


def fit_heads_on(model: Model, windows: Windows, train: np.ndarray, known: np.ndarray | None = None) -> None:
    """Fit what heads scale by on the training windows; targets on those `known` alone, where not all are."""
    table = windows.table
    learned = train if known is None else known
    traces = None if windows.target_column is None else windows.trace(evenly(learned, MOST_TRACES))
    model.fit_heads(
        aux=torch.from_numpy(table.aux[train]) if windows.n_aux else None,
        target=None if table.target is None else torch.from_numpy(table.target[learned]),
        trace=None if traces is None else torch.from_numpy(traces),
    )


def look_at(
    model: Model,
    data: Labelled | Windows,
    rows: np.ndarray,
    *,
    device: torch.device,
    term: ValueTerm | None = None,
) -> tuple[Metrics, float]:
    """What the log says of a look at validation windows, and the score by which weights are chosen (more is better)."""
    if term is None:
        assert isinstance(data, Labelled)
        proba = predict(model, data, rows, device=device)
        score = classification_metrics(data.labels(rows), proba, data.classes)["macro_f1"]
        return {"validation/macro_f1": score}, score
    windows = data.windows if isinstance(data, Labelled) else data
    errors = value_errors(model, windows, rows, device=device, title=term.title)
    return {f"validation/{name}": value for name, value in errors.items()}, score_of(term, errors)


def load_encoder(model: Model, weights: Weights) -> None:
    """Load the ``encoder.`` part of a pretrained model's weights.

    An encoder of each device takes the weights that it shares with the pretrained one, which may have had more devices.
    """
    part = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    if isinstance(model.spec, DevicesSpec):
        wanted = model.encoder.state_dict()
        part = {name: value for name, value in part.items() if name in wanted}
        missing = sorted({".".join(name.split(".")[:2]) for name in wanted if name not in part})
        if missing:
            raise UsageError(
                f"The pretrained encoder has no weights for {', '.join(missing)}: it did not read these devices",
                "evaluate.devices",
                "Judge devices that were pretrained on, or of the same kinds with share: true and another fusion",
            )
    try:
        model.encoder.load_state_dict(part)
    except RuntimeError as error:
        raise UsageError(
            "The pretrained encoder does not fit this configuration's encoder, channels or window length",
            "encoder",
            "Use the configuration that the run was pretrained with",
        ) from error


def free_parameters(model: Model, spec: FinetuneSpec) -> None:
    """Mark what trains: in mode partial the head and the encoder's last blocks, in mode full everything."""
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(spec.mode == "full")
    if spec.mode == "partial":
        for block in list(model.encoder.blocks)[-spec.n_blocks :]:
            for parameter in block.parameters():
                parameter.requires_grad_(True)


@torch.no_grad()
def predict(
    model: Model, data: Labelled, indices: np.ndarray, *, device: torch.device, batch_size: int = 512
) -> np.ndarray:
    """Class probabilities (n, n_classes) of table rows, in evaluation mode; labels are not read."""
    head = next(one for one in model.heads.values() if isinstance(one, ClassificationHead))
    was_training = model.training
    model.eval()
    try:
        out = []
        for piece in pieces(indices, batch_size):
            batch = data.windows.batch(piece, device, ahead=False)
            logits = head(model(batch.x, batch.valid, batch.present), batch.aux)
            out.append(logits.float().softmax(dim=1).cpu().numpy())
        return np.concatenate(out) if out else np.empty((0, len(data.classes)), dtype=np.float32)
    finally:
        model.train(was_training)


def evenly(indices: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the rows, evenly spaced."""
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).astype(int)]
