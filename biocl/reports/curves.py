"""Figures of ``metrics.jsonl``: how the loss fell, and what validation patients said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from biocl.reports.pictures import INK
from biocl.reports.svg import CYCLE, WIDTH_IN, Figure, canvas, clean, inline, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = Mapping[str, Any]
APART = ("step", "loss", "mean_loss", "epoch", "lr")
MOST_TERMS = 6


def training_curves(logs: Mapping[str, Sequence[Line]], name: str) -> list[Figure]:
    """Loss and validation over steps.

    Parameters
    ----------
    logs : mapping of str to sequence of mapping
        Lines of ``metrics.jsonl`` by the name of the training; of several, only the loss is drawn.
    name : str
        Begins the ids of the figures.
    """
    losses = {title: series(log, "mean_loss") for title, log in logs.items()}
    losses = {title: points for title, points in losses.items() if points}
    if not losses:
        why = "No log of a training with loss values is at hand for this run."
        return [Figure("loss", "Training", absent=why), Figure("validation", "On the validation part", absent=why)]
    if len(losses) > 1:
        return [several_losses(losses, name), Figure("validation", "On the validation part", absent=SEVERAL)]
    [(title, points)] = losses.items()
    log = logs[title]
    return [one_loss(log, points, name), validation_curves(log, name)]


SEVERAL = "Several trainings were run (for folds, spans or variants); each one's own run folder has what was measured."


def series(log: Sequence[Line], key: str) -> list[tuple[float, float]]:
    """Steps and values of a key, where it is a number."""
    return [(line["step"], line[key]) for line in log if isinstance(line.get(key), int | float)]


def term_names(log: Sequence[Line]) -> list[str]:
    """Summands of the loss, as the log names them first."""
    found: dict[str, None] = {}
    for line in log:
        for key, value in line.items():
            if key not in APART and not key.startswith("validation/") and isinstance(value, int | float):
                found.setdefault(key)
    return list(found)


def one_loss(log: Sequence[Line], points: Sequence[tuple[float, float]], name: str) -> Figure:
    """The loss of one training, and its summands."""
    terms = term_names(log)
    shown_terms = terms[:MOST_TERMS] if len(terms) > 1 else []
    with canvas(WIDTH_IN, 2.7 + 0.19 * -(-(len(shown_terms) + 1) // 2)) as figure:
        axes = figure.add_subplot()
        for place, term in enumerate(shown_terms):
            line = series(log, term)
            style: dict[str, Any] = {"color": CYCLE[place + 1], "linewidth": 1, "marker": marker_of(line)}
            axes.plot(*zip(*line, strict=True), label=short(term, 28), **style)
        axes.plot(*zip(*points, strict=True), color=INK, linewidth=2, marker=marker_of(points), label="loss")
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        whole_steps(axes)
        clean(axes)
        figure.legend(loc="outside lower center", ncols=2)
        more = f" {len(terms) - MOST_TERMS} more terms are not drawn." if len(terms) > MOST_TERMS else ""
        parts = " and each of its terms before weighting" if shown_terms else ""
        said = f"The loss{parts}, by step.{more}"
        return Figure("loss", "Training", said, inline(figure, f"{name}-loss", f"Training. {said}"))


def marker_of(points: Sequence[tuple[float, float]]) -> str:
    """A dot where one point would make no line."""
    return "o" if len(points) == 1 else ""


def whole_steps(axes: Axes) -> None:
    """No half steps on the axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))


def several_losses(losses: Mapping[str, Sequence[tuple[float, float]]], name: str) -> Figure:
    """The loss of every training, a line each."""
    with canvas(WIDTH_IN, 2.9) as figure:
        axes = figure.add_subplot()
        for points in losses.values():
            axes.plot(*zip(*points, strict=True), color=INK, linewidth=1, alpha=0.5, marker=marker_of(points))
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        whole_steps(axes)
        clean(axes)
        said = f"The loss by step, a line for each of the {len(losses)} trainings."
        return Figure("loss", "Training", said, inline(figure, f"{name}-loss", f"Training. {said}"))


def validation_curves(log: Sequence[Line], name: str) -> Figure:
    """What was measured on validation patients: similarity of positive and negative pairs, or errors and scores."""
    keys = list(dict.fromkeys(key for line in log for key in line if key.startswith("validation/")))
    found = {key.removeprefix("validation/"): series(log, key) for key in keys}
    found = {key: points for key, points in found.items() if points}
    title = "On the validation part"
    if not found:
        why = "Nothing was measured on validation patients in this training (see train.validate_every)."
        return Figure("validation", title, absent=why)
    pairs = list(dict.fromkeys(key.rpartition("/")[0] for key in found if key.endswith(("/positive", "/negative"))))
    others = [key for key in found if not key.endswith(("/positive", "/negative"))]
    n_lines = len(pairs) + len(others)
    with canvas(WIDTH_IN, 2.7 + 0.19 * -(-n_lines // 2)) as figure:
        axes = figure.add_subplot()
        for place, term in enumerate(pairs[:MOST_TERMS]):
            for sign, line in (("positive", "-"), ("negative", "--")):
                points = found.get(f"{term}/{sign}", [])
                if points:
                    label = short(term, 28) if sign == "positive" else None
                    style: dict[str, Any] = {
                        "color": CYCLE[(place + 1) % len(CYCLE)],
                        "linestyle": line,
                        "label": label,
                    }
                    axes.plot(*zip(*points, strict=True), marker="o", markersize=3.5, **style)
        for place, key in enumerate(others[:MOST_TERMS]):
            colour = CYCLE[(place + 1 + len(pairs)) % len(CYCLE)] if n_lines > 1 else INK
            label = short(key.replace("_", " "), 28)
            axes.plot(*zip(*found[key], strict=True), marker="o", markersize=3.5, color=colour, label=label)
        axes.set_xlabel("step")
        axes.set_ylabel("cosine similarity" if not others else "score")
        whole_steps(axes)
        clean(axes)
        figure.legend(loc="outside lower center", ncols=2)
        said = (
            "How alike positive pairs (full lines) and negative pairs (dashed) are: a term has learned where the full "
            "line lies above the dashed one."
            if pairs
            else "What was measured on validation windows during training."
        )
        said += " Other lines are scores and errors of heads." if pairs and others else ""
        return Figure("validation", title, said, inline(figure, f"{name}-validation", f"{title}. {said}"))
