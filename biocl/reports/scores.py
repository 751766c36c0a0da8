"""Figures of a study's rows: what was reached beside the floors, and by how many labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from biocl.evaluation.protocol import FLOOR_MODE, PRETRAINED, UNTRAINED
from biocl.evaluation.tables import number
from biocl.reports.pictures import INK
from biocl.reports.svg import CYCLE, GREY, TEAL, WIDTH_IN, Figure, canvas, clean, inline, short

Row = Mapping[str, Any]
MOST_TASKS = 4


@dataclass(frozen=True)
class Measure:
    """The number that the figures of a kind of study show.

    Attributes
    ----------
    key : str
        In a row's ``metrics`` (of forecasts, in the row itself).
    words : str
    less : bool
        Less is better.
    bars : str
        What the bars are.
    """

    key: str
    words: str
    less: bool = False
    bars: str = "bootstrap intervals"


MEASURES = {
    "classification": Measure("macro_f1", "macro-F1 over windows"),
    "multi-label": Measure("macro_auroc", "macro AUROC over windows"),
    "regression": Measure("mae", "mean absolute error over windows", less=True),
    "forecasting": Measure("mse", "mean squared error", less=True, bars="ranges over seeds"),
}


def estimate(row: Row, measure: Measure) -> tuple[float, float, float] | None:
    """Value, low and high of a row; the value alone (low and high NaN) where there is no interval; None for nothing."""
    found = row.get("metrics", row).get(measure.key)
    value = None if found is None else found.get("value", found.get("mean"))
    if value is None or not np.isfinite(value):
        return None
    low, high = (np.nan if found.get(end) is None else float(found[end]) for end in ("low", "high"))
    return float(value), low, high


def is_floor(row: Row) -> bool:
    """Whether a row learned nothing but a floor."""
    return bool(row["mode"] == FLOOR_MODE)


def tasks_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by task and devices (of forecasts by span), each with the words that tell it from the others."""
    found: dict[str, list[Row]] = {}
    keys = [(tuple(row.get("devices", ())), tuple(row.get("classes", ())), row.get("span", "")) for row in rows]
    devices, classes = ({key[place] for key in keys} for place in (0, 1))
    for row, key in zip(rows, keys, strict=True):
        words = [" + ".join(key[0])] if len(devices) > 1 else []
        words += [" ".join(key[1])] if len(classes) > 1 else []
        words += [key[2].replace("to", " to ") + " steps"] if key[2] else []
        found.setdefault(", ".join(words), []).append(row)
    return found


def most_labels(rows: Sequence[Row]) -> str:
    """The largest label size of some rows: ``all``, or the last that is named."""
    sizes = list(dict.fromkeys(row.get("labels", "all") for row in rows))
    return "all" if "all" in sizes else sizes[-1]


def title_in(row: Row) -> str:
    """``pretrained (linear)``; a floor by its name alone."""
    return str(row["title"]) if is_floor(row) else f"{row['title']} ({row['mode']})"


def beside_floors(rows: Sequence[Row], judged: str, name: str) -> list[Figure]:
    """One figure for each task: every row at the largest label size, from our own to the floors."""
    measure = MEASURES[judged]
    figures = []
    for number_of, (words, own) in enumerate(list(tasks_of(rows).items())[:MOST_TASKS]):
        labels = most_labels(own)
        of_size = [row for row in own if row.get("labels", "all") == labels]
        found = [(row, at) for row in of_size if (at := estimate(row, measure)) is not None]
        title = "Beside the floors" + (f": {words}" if words else "")
        if not found:
            figures.append(Figure(f"floors-{number_of}", title, absent="No row of this task has a defined score."))
            continue
        found.sort(key=lambda pair: order(pair[0]))
        less = "; less is better" if measure.less else ""
        given = any(np.isfinite(at[1]) for _, at in found)
        bars = f"bars are {measure.bars}" if given else "too few patients for intervals"
        said = f"{measure.words}{'' if judged == 'forecasting' else f', {labels_in_words(labels)}'}; {bars}{less}."
        svg = draw_rows(found, measure, f"{name}-floors-{number_of}", f"{title}, {said}")
        figures.append(Figure(f"floors-{number_of}", title, said[0].upper() + said[1:], svg))
    return figures


def labels_in_words(labels: str) -> str:
    """``all labels``, ``4 patients labelled``."""
    return "all labels" if labels == "all" else f"{labels} labelled"


def order(row: Row) -> int:
    """Our own rows first, floors last."""
    if is_floor(row):
        return 3
    return 0 if row["arm"] == PRETRAINED else 2 if row["arm"] == UNTRAINED else 1


def draw_rows(found: Sequence[tuple[Row, tuple[float, float, float]]], measure: Measure, name: str, title: str) -> str:
    """A dot and an interval for each row, the value beside it."""
    styles = {0: (INK, "o", INK), 1: (TEAL, "o", TEAL), 2: (INK, "o", "white"), 3: (GREY, "s", GREY)}
    with canvas(WIDTH_IN, 0.62 + 0.25 * len(found)) as figure:
        axes = figure.add_subplot()
        for place, (row, (value, low, high)) in enumerate(found):
            line, marker, fill = styles[order(row)]
            if np.isfinite(low):
                axes.plot([low, high], [place, place], color=line, linewidth=1.6, solid_capstyle="round")
            axes.plot([value], [place], marker, color=line, markerfacecolor=fill, markersize=5.5, markeredgewidth=1.3)
            axes.annotate(
                number(value),
                (1.02, place),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8.5,
                color=line,
                fontweight="bold" if order(row) == 0 else "normal",
            )
        axes.set_yticks(range(len(found)), [short(title_in(row), 30) for row, _ in found])
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.set_xlabel(measure.words)
        axes.margins(x=0.06)
        clean(axes, "x")
        return inline(figure, name, title)


def label_efficiency(rows: Sequence[Row], judged: str, name: str) -> list[Figure]:
    """One figure for each task: scores over label sizes, our own with intervals, floors in grey."""
    if judged == "forecasting":
        return [Figure("labels-0", "By how many labels", absent="Forecasts learn from all windows, without labels.")]
    measure = MEASURES[judged]
    figures = []
    sizes = list(dict.fromkeys(row["labels"] for row in rows))
    if len(sizes) < 2:
        why = f"The protocol has one label size ({', '.join(sizes)}), so there is no curve over label sizes."
        return [Figure("labels-0", "By how many labels", absent=why)]
    for number_of, (words, own) in enumerate(list(tasks_of(rows).items())[:MOST_TASKS]):
        title = "By how many labels" + (f": {words}" if words else "")
        bars = f"{measure.bars} of the experiment's own rows"
        said = f"{measure.words} by the labels of training; bars are {bars}; grey lines are floors."
        svg = draw_sizes(own, sizes, measure, f"{name}-labels-{number_of}", f"{title}, {said}")
        figures.append(Figure(f"labels-{number_of}", title, said[0].upper() + said[1:], svg))
    return figures


def draw_sizes(own: Sequence[Row], sizes: Sequence[str], measure: Measure, name: str, title: str) -> str:
    """A line for each row over label sizes."""
    lines = sorted(dict.fromkeys((order(row), row["mode"], row["arm"], title_in(row)) for row in own))
    modes = list(dict.fromkeys(row["mode"] for row in own if not is_floor(row)))
    variants = list(dict.fromkeys(arm for rank, _, arm, _ in lines if rank == 1))
    n_legend = -(-len(lines) // 2)
    with canvas(WIDTH_IN, 2.7 + 0.19 * n_legend) as figure:
        axes = figure.add_subplot()
        for rank, mode, arm, words in lines:
            of_line = {row["labels"]: row for row in own if (row["mode"], row["arm"]) == (mode, arm)}
            at = [estimate(of_line[size], measure) if size in of_line else None for size in sizes]
            x = np.array([place for place, one in enumerate(at) if one is not None], dtype=float)
            values = np.array([one for one in at if one is not None], dtype=float).reshape(-1, 3)
            if rank == 3:
                floors = [floor for place, _, floor, _ in lines if place == 3]
                dashes = ("-", "--", "-.", ":")[floors.index(arm) % 4]
                axes.plot(x, values[:, 0], color=GREY, linewidth=0.9, linestyle=dashes, label=short(words, 26))
                continue
            many = len(modes) + 1 if rank == 1 else 0
            colour = CYCLE[(many + variants.index(arm) if rank == 1 else modes.index(mode)) % len(CYCLE)]
            style: dict[str, Any] = {
                "color": colour,
                "linestyle": "--" if rank == 2 else "-",
                "label": short(words, 26),
            }
            style |= {"marker": "o", "markersize": 4, "markerfacecolor": "white" if rank == 2 else colour}
            axes.plot(x, values[:, 0], **style)
            if rank == 0 and np.isfinite(values[:, 1]).any():
                shift = 0.04 * (modes.index(mode) - (len(modes) - 1) / 2)
                axes.vlines(x + shift, values[:, 1], values[:, 2], color=colour, linewidth=1.2, alpha=0.7)
        axes.set_xticks(range(len(sizes)), [short(size) for size in sizes])
        axes.set_xlim(-0.25, len(sizes) - 0.75)
        axes.set_ylabel(measure.words)
        clean(axes)
        figure.legend(loc="outside lower center", ncols=2, handlelength=2.2, columnspacing=1.2)
        return inline(figure, name, title)


def errors_ahead(rows: Sequence[Row], name: str) -> list[Figure]:
    """One figure for each span of a study of forecasts: the error at every step ahead."""
    figures = []
    for number_of, (words, own) in enumerate(list(tasks_of(rows).items())[:MOST_TASKS]):
        ran = [row for row in own if "mse_per_step" in row]
        title = f"Error at every step ahead: {words}"
        if not ran:
            figures.append(Figure(f"ahead-{number_of}", title, absent="No row of this span was run."))
            continue
        with canvas(WIDTH_IN, 2.7 + 0.19 * -(-len(ran) // 2)) as figure:
            axes = figure.add_subplot()
            learned = [row for row in ran if not is_floor(row)]
            for row in ran:
                steps = np.arange(1, len(row["mse_per_step"]) + 1)
                floor = is_floor(row)
                place = [other for other in ran if is_floor(other) == floor].index(row)
                axes.plot(
                    steps,
                    row["mse_per_step"],
                    color=GREY if floor else CYCLE[place % len(CYCLE)],
                    linewidth=0.9 if floor else 1.5,
                    linestyle=("-", "--", "-.", ":")[place % 4] if floor else "-" if place < len(CYCLE) else "--",
                    label=short(title_in(row), 28),
                    zorder=2 if floor else 3 + len(learned) - place,
                )
            axes.set_xlabel("steps ahead")
            axes.set_ylabel("mean squared error")
            axes.set_ylim(bottom=0)
            axes.margins(x=0)
            clean(axes)
            figure.legend(loc="outside lower center", ncols=2, handlelength=2.2, columnspacing=1.2)
            said = "Mean squared error over windows, channels and seeds; grey lines are floors."
            svg = inline(figure, f"{name}-ahead-{number_of}", f"{title}. {said}")
        figures.append(Figure(f"ahead-{number_of}", title, said, svg))
    return figures


def areas_by_label(rows: Sequence[Row], name: str) -> Figure:
    """Of several labels: the area under the ROC curve of each, our own rows and the best floor."""
    title = "Each label"
    labels = most_labels(rows)
    own = [row for row in rows if row["labels"] == labels and row["arm"] in (PRETRAINED, UNTRAINED)]
    if not own:
        return Figure("areas", title, absent="No row of the experiment itself was judged.")
    names = own[0]["classes"]
    with canvas(WIDTH_IN, 1.2 + 0.34 * len(names) + 0.19 * -(-len(own) // 2)) as figure:
        axes = figure.add_subplot()
        for place, row in enumerate(own):
            hollow = row["arm"] == UNTRAINED
            modes = list(dict.fromkeys(one["mode"] for one in own))
            colour = CYCLE[modes.index(row["mode"]) % len(CYCLE)]
            shift = (place - (len(own) - 1) / 2) * 0.7 / len(own)
            for line, label in enumerate(names):
                at = estimate(row, Measure(f"auroc {label}", ""))
                if at is None:
                    continue
                if np.isfinite(at[1]):
                    axes.plot([at[1], at[2]], [line + shift] * 2, color=colour, linewidth=1.1, alpha=0.7)
                axes.plot(
                    [at[0]],
                    [line + shift],
                    "o",
                    color=colour,
                    markersize=4.5,
                    markerfacecolor="white" if hollow else colour,
                    label=short(title_in(row), 28) if line == 0 else None,
                )
        axes.axvline(0.5, color=GREY, linewidth=0.9, linestyle=":")
        axes.set_yticks(range(len(names)), [short(label) for label in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("AUROC over windows (.5 is chance)")
        clean(axes, "x")
        figure.legend(loc="outside lower center", ncols=2)
        said = f"Area under the ROC curve of each label, {labels_in_words(labels)}; bars are bootstrap intervals."
        return Figure("areas", title, said, inline(figure, f"{name}-areas", f"{title}. {said}"))
