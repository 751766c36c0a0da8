"""Heads: latents to a target, with the loss that trains them. One short file a head."""

from biocl.objectives.heads.build import AnyHead, Shapes, build_heads, fit_heads, head_loss, predicted
from biocl.objectives.heads.classification import (
    ClassificationHead,
    balanced_class_weights,
    classification_loss,
    loss_after_each_device,
)
from biocl.objectives.heads.forecasting import ForecastingHead
from biocl.objectives.heads.multi_label import MultiLabelHead
from biocl.objectives.heads.reconstruction import ReconstructionHead
from biocl.objectives.heads.regression import RegressionHead
from biocl.objectives.heads.sight import check_sight
from biocl.objectives.heads.step_regression import StepRegressionHead, at_times

__all__ = [
    "AnyHead",
    "ClassificationHead",
    "ForecastingHead",
    "MultiLabelHead",
    "ReconstructionHead",
    "RegressionHead",
    "Shapes",
    "StepRegressionHead",
    "at_times",
    "balanced_class_weights",
    "build_heads",
    "check_sight",
    "classification_loss",
    "fit_heads",
    "head_loss",
    "loss_after_each_device",
    "predicted",
]
