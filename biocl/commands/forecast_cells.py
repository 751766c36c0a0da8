"""The cells of a study of forecasts: floors, and every arm as it was trained or in two steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from biocl.commands.arms import Arms
from biocl.commands.setup import build_model
from biocl.commands.study import Fold
from biocl.evaluation.finetuning import evenly, finetune_model, load_encoder
from biocl.evaluation.floors_series import (
    Blocks,
    Floats,
    day_steps,
    find_period,
    fit_ridge,
    last_value,
    seasonal_copy,
)
from biocl.evaluation.forecasters import MOST_FEATURES, Forecaster, fit_read_out, shown_by
from biocl.evaluation.protocol import FLOOR_MODE, PRETRAINED, UNTRAINED, Cell, title_of
from biocl.evaluation.receptive import receptive_field, shown_steps
from biocl.experiment import Experiment
from biocl.files import new_folder
from biocl.objectives.head_spec import ForecastingTerm
from biocl.objectives.heads import ForecastingHead
from biocl.objectives.model import Model
from biocl.objectives.weight_spec import acts
from biocl.training.data import Windows
from biocl.training.fitting import pieces
from biocl.training.spec import FinetuneSpec

FORECAST = "forecast"
"""Name of the file of a cell's forecasts."""
LAST, SEASON, RIDGE, RIDGES = "last value", "seasonal copy", "ridge, one map", "ridge, a map a channel"
FLOOR_NAMES = (LAST, SEASON, RIDGE, RIDGES)
BLOCK_VALUES = 2**21
SEASON_WINDOWS = 2000
RECEPTIVE_WINDOWS = 256


def forecasting_term(experiment: Experiment) -> ForecastingTerm | None:
    """The head that is judged: the first that acts, else the first there is."""
    terms = [term for term in experiment.terms if isinstance(term, ForecastingTerm)]
    return next((term for term in terms if acts(term.weight)), terms[0] if terms else None)


def modes_of(experiment: Experiment) -> list[str]:
    """How an arm is judged: as it was trained where a head acts, else in two steps."""
    if experiment.trains("forecasting"):
        return ["joint"]
    return [mode for mode in ("linear", "partial", "full") if mode in experiment.evaluate.modes]


def forecast_cells(title: str, arms_of: dict[int, Arms]) -> Iterator[Cell]:
    """The cells of one span: floors, then each arm by mode and seed; an untrained encoder beside those of two steps."""
    first = next(iter(arms_of.values()))
    folds = {variant: own for (_, variant), own in first.items()}
    rows = [(mode, variant or PRETRAINED) for variant, own in folds.items() for mode in modes_of(own[0].experiment)]
    two_steps = list(dict.fromkeys(mode for mode, _ in rows if mode != "joint"))
    rows += [(mode, UNTRAINED) for mode in two_steps]
    for number in range(len(folds[""])):
        for floor in FLOOR_NAMES:
            yield Cell((title,), "all", next(iter(arms_of)), FLOOR_MODE, floor, number)
        for mode, arm in rows:
            for seed in arms_of:
                yield Cell((title,), "all", seed, mode, arm, number)


def blocks_of(windows: Windows, rows: np.ndarray) -> Blocks:
    """Look-backs and futures of table rows, a bounded number at a time."""
    steps = windows.n_times + windows.table.horizon

    def blocks() -> Iterator[tuple[Floats, Floats]]:
        for piece in pieces(rows, max(1, BLOCK_VALUES // (windows.n_chans * steps))):
            yield windows.arrays(piece), windows.future(piece)

    return blocks


def season_of(fold: Fold) -> int | None:
    """Period of the seasonal copy in steps: as configured, a day, or what train says; None where there is none."""
    windows, asked = fold.windows, fold.experiment.evaluate.season_s
    if asked is not None:
        steps = round(asked * windows.table.sfreq)
        return steps if 1 <= steps <= windows.n_times else None
    return day_steps(windows.table.sfreq, windows.n_times) or find_period(
        blocks_of(windows, evenly(fold.parts["train"], SEASON_WINDOWS))
    )


def floor_of(fold: Fold, name: str) -> Callable[[Floats], Floats] | None:
    """Look-backs to forecasts; None where a floor does not exist here."""
    windows = fold.windows
    horizon = windows.table.horizon
    if name == LAST:
        return lambda x: last_value(x, horizon)
    if name == SEASON:
        period = season_of(fold)
        return None if period is None else lambda x: seasonal_copy(x, horizon, period)
    train, validation = (blocks_of(windows, fold.parts[part]) for part in ("train", "validation"))
    return fit_ridge(train, validation, windows.n_chans, shared=name == RIDGE)


def predict_floor(fold: Fold, name: str) -> np.ndarray:
    """Forecasts (n_test, n_chans, horizon) of a floor; none of them where it does not exist here."""
    floor = floor_of(fold, name)
    shape = (0, fold.windows.n_chans, fold.windows.table.horizon)
    if floor is None:
        return np.empty(shape, np.float32)
    rows = fold.judged
    size = max(1, BLOCK_VALUES // (fold.windows.n_chans * fold.windows.n_times))
    said = [floor(fold.windows.arrays(piece)).astype(np.float32) for piece in pieces(rows, size)]
    return np.concatenate([np.empty(shape, np.float32), *said])


def forecaster_of(fold: Fold, cell: Cell) -> Forecaster:
    """What forecasts in a cell, trained and chosen without a look at the test part."""
    term = forecasting_term(fold.experiment) or ForecastingTerm(head="forecasting", read="vec")
    if cell.mode == "joint":
        assert fold.pretrained is not None
        model = build_model(fold.experiment, fold.windows).to(fold.device)
        model.load_state_dict(fold.pretrained)
        return made(fold, model.eval(), term.title)
    weights = None if cell.arm == UNTRAINED else fold.pretrained
    if cell.mode != "linear":
        spec = FinetuneSpec(**{**fold.experiment.finetune.model_dump(), "mode": cell.mode})
        model = finetune_model(
            lambda terms: build_model(fold.experiment, fold.windows, terms),
            weights,
            fold.windows,
            fold.parts["train"],
            fold.parts["validation"],
            spec,
            seed=fold.experiment.seed,
            device=fold.device,
            term=term,
        )
        return made(fold, model, term.title)
    model, head = frozen(fold, term)
    if weights is not None:
        load_encoder(model, weights)
    train, validation = fold.parts["train"], fold.parts["validation"]
    read = fit_read_out(model, head, fold.windows, train, validation, fold.device)
    return Forecaster(model, read, fold.windows, fold.device)


def made(fold: Fold, model: Model, title: str) -> Forecaster:
    """A model that forecasts by its own head."""
    head = model.heads[title]
    assert isinstance(head, ForecastingHead)
    return Forecaster(model, head.predict, fold.windows, fold.device)


def frozen(fold: Fold, term: ForecastingTerm) -> tuple[Model, ForecastingHead]:
    """An untrained model in evaluation mode, and the head whose read-out a ridge takes; pooled where it is too wide."""
    for read in (term.read, "vec"):
        if read == "aligned":  # one step of the encoder a step ahead: not what a ridge of every step takes
            continue
        own = term.model_copy(update={"read": read, "weight": 1.0})
        model = build_model(fold.experiment, fold.windows, [own]).to(fold.device).eval()
        head = model.heads[own.title]
        assert isinstance(head, ForecastingHead)
        batch = fold.windows.batch(fold.parts["train"][:1], fold.device)
        width = shown_by(head, model.read(batch.x, batch.valid, batch.present)).shape[-1]
        if width <= MOST_FEATURES or read == "vec":
            return model, head
    raise AssertionError("the pooled vector can always be read")


def save_receptive(folder: Path, cell: Cell, forecaster: Forecaster, rows: np.ndarray) -> None:
    """Keep which past a cell's forecasts look at, over evenly chosen windows: ``.npz``, and a picture, PNG and SVG."""
    from biocl.reports.receptive import picture_of_receptive_field

    final = folder / cell.file
    if final.exists():
        return
    windows, looked_at = forecaster.windows, evenly(rows, RECEPTIVE_WINDOWS)
    steps = shown_steps(windows.table.horizon)
    field = np.zeros((len(steps), windows.n_times))
    for batch in forecaster.batches(looked_at, size=32):
        found = receptive_field(partial(forecaster.forecast, batch=batch), [batch.x], steps)
        field += found * len(batch.x) / len(looked_at)
    title = f"{title_of(cell.mode, cell.arm)} ({cell.mode}), {windows.n_times} to {windows.table.horizon}"
    with new_folder(final) as partial_folder:
        np.savez(partial_folder / "field.npz", field=field, steps_ahead=np.array(steps), sfreq=windows.table.sfreq)
        for form in ("png", "svg"):
            picture = picture_of_receptive_field(field, steps, windows.table.sfreq, title=title, form=form)
            (partial_folder / f"field.{form}").write_bytes(picture)
