"""From forecasts on disk to tables: errors with their range over seeds, floors beside them, steps of every arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biocl.commands.arms import Arms, arm_of
from biocl.commands.forecast_cells import FORECAST, SEASON, season_of
from biocl.commands.study import Fold, load_prediction
from biocl.evaluation.forecasting import Floats, ForecastErrors, forecast_errors, over_seeds
from biocl.evaluation.intervals import bootstrap_mean
from biocl.evaluation.protocol import FLOOR_MODE, UNTRAINED, Cell, title_of
from biocl.evaluation.tables import markdown, number, with_interval
from biocl.experiment import Experiment
from biocl.training.fitting import pieces

BLOCK = 256


def tabulate_forecasts(
    cells: Sequence[Cell], arms_of: Mapping[int, Arms], folder: Path, experiment: Experiment
) -> list[dict[str, Any]]:
    """The rows of one span.

    Parameters
    ----------
    cells : sequence of Cell
    arms_of : mapping of int to Arms
        By seed.
    folder : Path
        Where the forecasts are.
    experiment : Experiment
    """
    grouped: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        grouped.setdefault((cell.mode, cell.arm), []).append(cell)
    main = arms_of[min(arms_of)][(), ""]
    windows = main[0].windows
    seasons = [season_of(fold) for fold in main]
    rows = []
    for (mode, arm), of_row in grouped.items():
        row: dict[str, Any] = {
            "span": cells[0].classes[0],
            "look_back": windows.n_times,
            "horizon": windows.table.horizon,
            "step_s": 1 / windows.table.sfreq,
            "input_scale": windows.scale,
            "part": experiment.evaluate.part,
            "mode": mode,
            "arm": arm,
            "title": own_title(mode, arm, seasons),
        }
        if (mode, arm) == (FLOOR_MODE, SEASON) and None in seasons:
            rows.append({**row, "not_run": without_season(windows.n_times, seasons)})
            continue
        errors = errors_of_row(of_row, arms_of, folder)
        named, per_patient = errors_by_patient(of_row, arms_of, folder, errors)
        rows.append(
            {
                **row,
                "seeds": list(errors),
                "n_windows": next(iter(errors.values()))[0].n_windows,
                **{name: over_seeds([getattr(one, name) for one, _ in errors.values()]) for name in ("mse", "mae")},
                "mse_per_step": np.mean([one.mse_per_step for one, _ in errors.values()], axis=0).tolist(),
                "mae_per_step": np.mean([one.mae_per_step for one, _ in errors.values()], axis=0).tolist(),
                "n_patients": len(named),
                "per_patient": bootstrap_mean(per_patient, n_draws=experiment.evaluate.bootstrap_draws).to_json(),
                **steps_of(arm_of(arms_of[of_row[0].draw], of_row[0]), of_row[0]),
            }
        )
    return rows


def own_title(mode: str, arm: str, seasons: Sequence[int | None]) -> str:
    """How a row is called; a seasonal copy says its period, or the least and the largest of those of its folds."""
    known = [period for period in seasons if period is not None]
    if (mode, arm) != (FLOOR_MODE, SEASON) or len(known) < len(seasons):
        return title_of(mode, arm)
    if min(known) == max(known):
        return f"copy of the last {known[0]} steps"
    return f"copy of the last {min(known)} to {max(known)} steps, by fold"


def without_season(n_times: int, seasons: Sequence[int | None]) -> str:
    """Why there is no seasonal copy: one of some folds alone would be of other windows than every other row."""
    lacking = [str(number) for number, period in enumerate(seasons) if period is None]
    folds = f" in fold {', '.join(lacking)}" if len(seasons) > 1 else ""
    return f"no season within a look-back of {n_times} steps{folds}"


def errors_of_row(
    cells: Sequence[Cell], arms_of: Mapping[int, Arms], folder: Path
) -> dict[int, tuple[ForecastErrors, np.ndarray]]:
    """Errors by seed, over the test windows of all folds, with every window's own squared error."""
    found = {}
    for seed in dict.fromkeys(cell.draw for cell in cells):
        own: list[np.ndarray] = []

        def pairs(seed: int = seed, own: list[np.ndarray] = own) -> Iterator[tuple[Floats, Floats]]:
            for cell in cells:
                if cell.draw == seed:
                    yield from pairs_of(cell, arm_of(arms_of[seed], cell), folder, own)

        found[seed] = forecast_errors(pairs()), np.concatenate(own)
    return found


def pairs_of(cell: Cell, fold: Fold, folder: Path, own: list[np.ndarray]) -> Iterator[tuple[Floats, Floats]]:
    """Forecasts and what came, in blocks; each window's own squared error is put into `own`."""
    said = load_prediction(folder, cell, FORECAST, lazily=True)
    assert said is not None
    for places in pieces(np.arange(len(fold.judged)), BLOCK):
        forecast, future = np.asarray(said[places]), fold.windows.future(fold.judged[places])
        own.append(((forecast.astype(np.float64) - future) ** 2).mean(axis=(1, 2)))
        yield forecast, future


def errors_by_patient(
    cells: Sequence[Cell],
    arms_of: Mapping[int, Arms],
    folder: Path,
    errors: Mapping[int, tuple[ForecastErrors, np.ndarray]],
) -> tuple[list[str], list[float]]:
    """Names of the test patients, and each one's mean squared error over its windows and the seeds."""
    own = [arm_of(arms_of[cell.draw], cell) for cell in cells if cell.draw == cells[0].draw]
    patient = np.concatenate([fold.windows.table.patient[fold.judged] for fold in own])
    names = own[0].windows.table.names["patient"]
    each = np.mean([squared for _, squared in errors.values()], axis=0)
    present = np.unique(patient)
    return [names[one] for one in present], [float(each[patient == one].mean()) for one in present]


def steps_of(fold: Fold, cell: Cell) -> dict[str, Any]:
    """Optimiser steps of a row: of its encoder, and of what came after."""
    if cell.mode == FLOOR_MODE:
        return {}
    encoder = 0 if cell.arm == UNTRAINED else int(fold.encoder.get("step", 0))
    after = fold.experiment.finetune.max_steps if cell.mode in ("partial", "full") else 0
    return {"encoder_steps": encoder, "finetune_steps": after}


def format_forecasts(results: Mapping[str, Any]) -> str:
    """The tables as text: one for each span."""
    blocks = [f"protocol: {results['protocol']}"]
    blocks += [f"MARKED: {mark}" for mark in results["marks"]]
    for span in dict.fromkeys(row["span"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["span"] == span]
        blocks += [header_of(rows), table_of(rows)]
    for span in results["not_run"]:
        blocks.append(f"look-back {span['length_s']:g} s, horizon {span['horizon_s']:g} s: not run (run: false)")
    return "\n\n".join(blocks)


def header_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """What stands over a table: look-back, horizon, test windows, what the ranges are."""
    first = next(row for row in rows if "not_run" not in row)
    length, horizon, step = first["look_back"], first["horizon"], first["step_s"]
    words = [
        f"look-back {length} steps ({span_in_words(length * step)}), horizon {horizon} steps "
        f"({span_in_words(horizon * step)})",
        f"{first['n_windows']} {first['part']} windows, none left out",
        f"input scale {first['input_scale']}",
        "mean over seeds [least, greatest]",
    ]
    if first["n_patients"] > 1:
        words.append(f"{first['n_patients']} test patients, [95% bootstrap interval over patients]")
    return "; ".join(words)


def span_in_words(seconds: float) -> str:
    """``2 days``, ``24 hours``, ``1.5 s``."""
    for size, name in ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size and abs(seconds / size - round(seconds / size)) < 1e-6:
            return f"{seconds / size:g} {name}"
    return f"{seconds:g} s"


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """One table; steps stand beside every trained row, with their ratio to the first where they differ."""
    many = any(row.get("n_patients", 1) > 1 for row in rows)
    trained = [row for row in rows if "encoder_steps" in row]
    first = steps_in_all(trained[0]) if trained else 0
    differ = len({steps_in_all(row) for row in trained}) > 1
    header = ["mode", "what", "MSE", "MAE", *(["MSE, mean over patients"] if many else []), "first step", "last step"]
    header += ["steps", *(["steps, ratio"] if differ else [])]
    lines = []
    for row in rows:
        if "not_run" in row:
            rest = [f"not run: {row['not_run']}", *[""] * (len(header) - 3)]
            lines.append([row["mode"], row["title"], *rest])
            continue
        per_step = row["mse_per_step"]
        line = [row["mode"], row["title"], with_range(row["mse"]), with_range(row["mae"])]
        line += [with_interval(row["per_patient"])] if many else []
        line += [number(per_step[0]), number(per_step[-1]), steps_in_words(row)]
        line += [f"{steps_in_all(row) / first:.2f}" if "encoder_steps" in row and first else ""] if differ else []
        lines.append(line)
    return markdown(header, lines)


def steps_in_all(row: Mapping[str, Any]) -> int:
    """Optimiser steps of a row."""
    return int(row["encoder_steps"] + row["finetune_steps"])


def steps_in_words(row: Mapping[str, Any]) -> str:
    """``600``, ``600 + 300`` (pretrained, then fine-tuned), ``600 + ridge``; nothing for a floor."""
    if "encoder_steps" not in row:
        return ""
    if row["mode"] == "linear":
        return f"{row['encoder_steps']} + ridge"
    return f"{row['encoder_steps']} + {row['finetune_steps']}" if row["finetune_steps"] else f"{row['encoder_steps']}"


def with_range(found: Mapping[str, float]) -> str:
    """``.318 [.315, .320]``, or the value alone where there is one."""
    if found["low"] == found["high"]:
        return number(found["mean"])
    return f"{number(found['mean'])} [{number(found['low'])}, {number(found['high'])}]"
