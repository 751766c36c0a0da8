"""Plots of a sweep: its history, the importance of parameters, a slice along each, the front of two objectives."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from biocl.files import write_bytes
from biocl.sweeps.results import counted, default_trial, front, importances, is_feasible, ranked, score, sign_of
from biocl.sweeps.spec import ChoiceParameter, ParameterSpec, SweepSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PALE, BEST, OWN = "#1b3a57", "#9fb3c8", "#c0392b", "#0b6e4f"
WIDTH_IN, HEIGHT_IN, DPI = 7.0, 3.6, 120
MOST_COLUMNS, LONGEST_LABEL = 3, 28


def draw_plots(study: Study, spec: SweepSpec, folder: Path) -> list[Path]:
    """Write ``history``, ``importance``, ``slice`` and, of two objectives, ``pareto`` as SVG.

    Returns
    -------
    list of Path
        The SVG files; a plot that has nothing to show is left out.
    """
    if not ranked(study):
        return []
    found = importances(study)
    plots: dict[str, Callable[[], Figure]] = {"history": lambda: history(study)}
    if found:
        plots["importance"] = lambda: importance({spec.labels_of[key]: value for key, value in found.items()})
    plots["slice"] = lambda: slices(study, spec)
    if len(spec.objectives) > 1:
        plots["pareto"] = lambda: pareto(study, spec)
    for name, draw in plots.items():
        save(draw(), folder / f"{name}.svg")
    return [folder / f"{name}.svg" for name in plots]


def save(figure: Figure, path: Path) -> None:
    """Write a figure; equal figures are equal files."""
    import matplotlib

    data = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "biocl", "svg.fonttype": "none"}):
        figure.savefig(data, format="svg", metadata={"Date": None})
    write_bytes(path, data.getvalue())


def new_figure(width_in: float = WIDTH_IN, height_in: float = HEIGHT_IN) -> Figure:
    """An empty figure that belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Axes) -> None:
    """Without the frame's upper and right side."""
    axes.spines[["top", "right"]].set_visible(False)


def history(study: Study) -> Figure:
    """The score of each trial, the best so far, and the configuration as it stands."""
    figure = new_figure()
    axes = figure.add_subplot()
    plain(axes)
    trials = counted(study)
    finished = [trial for trial in trials if is_feasible(trial)]
    others = [trial for trial in trials if trial not in finished and trial.values]
    axes.scatter([t.number for t in finished], [score(t) for t in finished], s=22, color=INK, label="finished")
    if others:
        axes.scatter([t.number for t in others], [score(t) for t in others], s=22, color=PALE, label="stopped early")
    better = max if sign_of(study) < 0 else min
    so_far = [better(score(trial) for trial in finished[: number + 1]) for number in range(len(finished))]
    axes.step([t.number for t in finished], so_far, where="post", color=BEST, label="best so far")
    own = default_trial(study)
    if own is not None:
        axes.axhline(score(own), color=OWN, linewidth=1, linestyle="--", label="configuration as it stands")
    axes.set_xlabel("trial")
    axes.set_ylabel("score of inner validation patients")
    axes.legend(frameon=False, fontsize=8)
    return figure


def importance(found: dict[str, float]) -> Figure:
    """How much each parameter tells the best trials from all."""
    names = list(found)[::-1]
    figure = new_figure(height_in=0.9 + 0.34 * len(names))
    axes = figure.add_subplot()
    plain(axes)
    bars = axes.barh(names, [found[name] for name in names], color=INK, height=0.6)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.set_xlim(0, 1.12 * max(found.values()))
    axes.set_xlabel("importance for the best quarter of the trials (PED-ANOVA; adds up to 1)")
    return figure


def slices(study: Study, spec: SweepSpec) -> Figure:
    """The score along each parameter; lighter trials came first."""
    n_columns = min(MOST_COLUMNS, len(spec.space))
    n_rows = -(-len(spec.space) // n_columns)
    figure = new_figure(WIDTH_IN * max(1.0, n_columns / 2), 2.8 * n_rows)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    best, own = ranked(study)[0], default_trial(study)
    for axes, (key, parameter) in zip(grid.flat, spec.space.items(), strict=False):
        draw_slice(axes, key, parameter, [t for t in counted(study) if is_feasible(t) and key in t.params], best, own)
    for axes in grid[:, 0]:
        axes.set_ylabel("score")
    for axes in list(grid.flat)[len(spec.space) :]:
        axes.set_visible(False)
    return figure


def draw_slice(
    axes: Axes,
    key: str,
    parameter: ParameterSpec,
    trials: list[FrozenTrial],
    best: FrozenTrial,
    own: FrozenTrial | None,
) -> None:
    """One panel of `slices`."""
    plain(axes)
    axes.set_title(parameter.label or key, fontsize=9)
    places: dict[Any, int] = {}
    if isinstance(parameter, ChoiceParameter):
        places = {name: place for place, name in enumerate(parameter.options)}
        labels = [shortened(str(value)) for value in places]
        axes.set_xticks(range(len(labels)), labels, fontsize=7, rotation=20 if max(map(len, labels)) > 8 else 0)
        axes.set_xlim(-0.5, len(labels) - 0.5)
    elif parameter.log:
        axes.set_xscale("log")
    where = [places[t.params[key]] if places else t.params[key] for t in trials]
    axes.scatter(
        where,
        [score(t) for t in trials],
        c=[t.number for t in trials],
        cmap="Blues",
        s=20,
        edgecolors=INK,
        linewidths=0.5,
        vmin=-5,
    )
    for trial, colour, sign in ((best, BEST, "*"), (own, OWN, "D")):
        if trial is not None and key in trial.params:
            at = places[trial.params[key]] if places else trial.params[key]
            axes.scatter([at], [score(trial)], color=colour, marker=sign, s=60 if sign == "*" else 28, zorder=3)


def shortened(text: str) -> str:
    """A choice as a label."""
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"


def pareto(study: Study, spec: SweepSpec) -> Figure:
    """The score against the cost, with the trials that no other beats in both."""
    figure = new_figure()
    axes = figure.add_subplot()
    plain(axes)
    finished = [trial for trial in counted(study) if trial.state is TrialState.COMPLETE and is_feasible(trial)]
    axes.scatter([t.values[1] for t in finished], [score(t) for t in finished], s=22, color=PALE, label="finished")
    best = sorted(front(study), key=lambda trial: trial.values[1])
    axes.plot([t.values[1] for t in best], [score(t) for t in best], "o-", color=BEST, markersize=5, label="front")
    own = default_trial(study)
    if own is not None and own.values is not None:
        axes.scatter([own.values[1]], [score(own)], marker="D", s=32, color=OWN, zorder=3, label="as it stands")
    axes.set_xlabel({"parameters": "parameters learned", "seconds": "seconds of training"}[spec.objectives[1]])
    axes.set_ylabel("score of inner validation patients")
    axes.legend(frameon=False, fontsize=8)
    return figure
