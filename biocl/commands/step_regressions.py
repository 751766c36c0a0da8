"""A number of every time step: the floors, probes and heads of such a study, and its table.

What is drawn, judged and tabulated is as for one number a window (`biocl.commands.regressions`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from biocl.commands.regressions import (
    by_size,
    differences_of,
    drawn_rows,
    few_of,
    header_of_numbers,
    judged_term,
    known_among,
    predict_by_head,
)
from biocl.commands.setup import build_model
from biocl.commands.study import Fold, encoder_of
from biocl.commands.tables import Lines, each_value
from biocl.errors import UsageError
from biocl.evaluation.floors_steps import same_step, steps_around
from biocl.evaluation.protocol import FLOOR_MODE, Cell
from biocl.evaluation.regression import METRICS, Regressor, fit_regressor
from biocl.evaluation.tables import markdown, with_interval
from biocl.objectives.head_spec import StepRegressionTerm
from biocl.objectives.heads import at_times
from biocl.objectives.model import Model
from biocl.randomness import stream
from biocl.training.fitting import pieces

MEAN, SAME, AROUND = "training mean of each step", "ridge on the step's samples", "ridge on the samples around"
FLOORS = {SAME: same_step, AROUND: steps_around}
MOST_STEPS = 20_000
"""Time steps on which a ridge is fitted, drawn from those that are labelled."""
WINDOWS_AT_ONCE = 64

Features = Callable[[np.ndarray], np.ndarray]
"""Table rows to features (n, n_times, n_features)."""


def step_floors(fold: Fold) -> list[str]:
    """The mean of each step over the labelled windows, and ridges on the window's own samples.

    Raises
    ------
    UsageError
        A key of ``evaluate:`` is about features of whole windows, or no ridge can be fitted on the encoder's steps.
    """
    spec = fold.experiment.evaluate
    for key, unset in (("per_recording", "none"), ("floor_scales", None)):
        if getattr(spec, key) != unset:
            raise UsageError(
                "This is about features of whole windows, and a number of every time step is judged",
                f"evaluate.{key}",
                "Leave it out",
            )
    if "linear" in spec.modes:
        check_steps(fold, build_model(fold.experiment, fold.windows, terms=[]))
    return [MEAN, *FLOORS]


def check_steps(fold: Fold, model: Model) -> None:
    """A ridge of every time step needs steps of the encoder in time.

    Raises
    ------
    UsageError
    """
    if not model.encoder.steps_are_time or model.encoder.n_steps(fold.windows.n_times) < 2:
        raise UsageError(
            "Mode linear is a ridge on the encoder's steps in time, and this encoder does not give several",
            "evaluate.modes",
            "Use joint, partial or full, or another encoder",
        )


def step_term(fold: Fold) -> StepRegressionTerm:
    """The head that is judged; a plain one reads steps where there are any."""
    encoder = build_model(fold.experiment, fold.windows, terms=[]).encoder
    in_time = encoder.steps_are_time and encoder.n_steps(fold.windows.n_times) > 1
    return judged_term(fold.experiment, StepRegressionTerm(head="step-regression", read="seq" if in_time else "vec"))


def predict_steps(fold: Fold, cell: Cell) -> np.ndarray:
    """Numbers (n, n_times) of the windows that a fold judges; their own only choose which windows have any."""
    rows, _ = drawn_rows(fold, cell.labels, cell.draw)
    test = known_among(fold, fold.judged)
    if cell.arm == MEAN and cell.mode == FLOOR_MODE:
        return np.tile(mean_of_steps(fold.windows.trace(rows)), (len(test), 1))
    if cell.mode not in ("linear", FLOOR_MODE):
        return predict_by_head(fold, cell, rows, test, step_term(fold))
    features = floor_features(fold, cell.arm) if cell.mode == FLOOR_MODE else encoder_features(fold, cell.arm)
    probe = fit_steps(fold, rows, features, seed=fold.experiment.seed + cell.draw)
    out = np.empty((len(test), fold.windows.n_times), np.float32)
    for piece in pieces(np.arange(len(test)), WINDOWS_AT_ONCE):
        seen = features(test[piece])
        out[piece] = probe.predict(seen.reshape(-1, seen.shape[2])).reshape(len(piece), -1)
    return out


def mean_of_steps(traces: np.ndarray) -> np.ndarray:
    """The mean (n_times,) of each step over windows (n, n_times) that know it; where none does, that of all steps."""
    known = np.isfinite(traces)
    count = known.sum(axis=0)
    overall = traces[known].mean(dtype=np.float64)
    mean = np.where(known, traces, 0).sum(axis=0, dtype=np.float64) / np.maximum(count, 1)
    return np.where(count > 0, mean, overall)


def fit_steps(fold: Fold, rows: np.ndarray, features: Features, *, seed: int) -> Regressor:
    """One ridge for all time steps of the labelled rows, on at most `MOST_STEPS` of those whose number is known."""
    windows = fold.windows
    window, step = np.nonzero(np.isfinite(windows.trace(rows)))
    if len(window) > MOST_STEPS:
        drawn = np.sort(stream(seed, "step regression", "steps").choice(len(window), MOST_STEPS, replace=False))
        window, step = window[drawn], step[drawn]
    x, y = [], []
    for piece in pieces(np.unique(window), WINDOWS_AT_ONCE):
        mine = np.isin(window, piece)
        place = np.searchsorted(piece, window[mine])
        x.append(features(rows[piece])[place, step[mine]])
        y.append(windows.trace(rows[piece])[place, step[mine]])
    patient = windows.table.patient[rows[window]]
    return fit_regressor(np.concatenate(x), np.concatenate(y), patient, spec=fold.experiment.evaluate.probe, seed=seed)


def floor_features(fold: Fold, floor: str) -> Features:
    """What a floor sees of each time step: the windows as the encoder sees them."""
    return lambda rows: FLOORS[floor](fold.windows.arrays(rows))


def encoder_features(fold: Fold, arm: str) -> Features:
    """The frozen encoder's steps at the window's time steps, joined with the auxiliary inputs."""
    model = encoder_of(fold, arm).eval()
    check_steps(fold, model)

    @torch.no_grad()
    def features(rows: np.ndarray) -> np.ndarray:
        batch = fold.windows.batch(rows, fold.device, ahead=False)
        seq = at_times(model.read(batch.x, batch.valid, batch.present).seq.float(), fold.windows.n_times)
        aux = np.repeat(fold.windows.table.aux[rows][:, None], fold.windows.n_times, axis=1)
        return np.concatenate([seq.cpu().numpy(), aux], axis=2)

    return features


def format_steps(rows: Lines, pairs: Lines) -> list[str]:
    """One table and that of its differences, sorted by the number of labels as the rows name it first."""
    unit, few = rows[0]["unit"], few_of(rows)
    own = [f"{name}, mean over {unit}" for name in ("MAE", "RMSE", "r")]
    table = markdown(
        ["labels", "mode", "what", "MAE", "r", *own, *few],
        [
            [
                *(row["labels"], row["mode"], row["title"]),
                *(with_interval(row["metrics"][name]) for name in ("mae", "r")),
                *(with_interval(row["own_metrics"][name]) for name in METRICS),
                *(each_value(row) for _ in few),
            ]
            for row in by_size(rows)
        ],
    )
    return [header_of_numbers(rows[0], "time steps"), table, *differences_of(pairs, unit, few)]
