"""Figures of predictions: who was taken for whom, whether probabilities can be believed, and every patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from biocl.evaluation.intervals import FEWEST_PATIENTS, resample_patients
from biocl.evaluation.tables import number
from biocl.reports.pictures import INK, PALE
from biocl.reports.privacy import shown
from biocl.reports.svg import GREY, ORANGE, WIDTH_IN, Figure, canvas, clean, inline, short

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

Floats = NDArray[np.float64]
MOST_NUMBERS, MOST_CLASSES, MOST_NAMES, MOST_LINES = 10, 40, 40, 300
N_BINS, N_DRAWS = 10, 500


@dataclass(frozen=True)
class Judged:
    """Predictions of one row for the windows that were judged.

    Attributes
    ----------
    words : str
        Which row it is.
    y : numpy.ndarray of int, shape (n,)
    proba : numpy.ndarray, shape (n_repeats, n, n_classes)
        Of every draw of labels and of the split.
    patient : numpy.ndarray, shape (n,)
        Pseudonyms, or names where these are shown.
    classes : tuple of str
    share : numpy.ndarray, shape (n,), optional
        How much each window counts, where several folds judged it.
    """

    words: str
    y: NDArray[np.int64]
    proba: Floats
    patient: NDArray[np.str_]
    classes: tuple[str, ...]
    share: Floats | None = None

    @property
    def counts(self) -> Floats:
        """Windows by class (rows) and prediction (columns), means over the repeats, shape (n_classes, n_classes)."""
        n = len(self.classes)
        weights = np.ones(len(self.y)) if self.share is None else self.share
        cells = [self.y * n + one.argmax(axis=1) for one in self.proba]
        each = [np.bincount(cell, weights, minlength=n * n).reshape(n, n) for cell in cells]
        return np.asarray(np.mean(each, axis=0), dtype=np.float64)


def confusion(judged: Judged, place: str, name: str) -> Figure:
    """Windows of each class by what they were taken for: counts, and their share of the class in colour."""
    title = f"Confusion: {judged.words}"
    n = len(judged.classes)
    if n > MOST_CLASSES:
        return Figure(place, title, absent=f"A table of {n} classes has too many cells to be read.")
    counts = judged.counts
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    means = f", means over {len(judged.proba)} draws" if len(judged.proba) > 1 else ""
    said = (
        f"Windows by their class (rows) and by what they were taken for (columns): counts{means}, and share of the row."
    )
    with canvas(WIDTH_IN, min(6.5, 2.1 + 0.5 * n)) as figure:
        axes = figure.add_subplot()
        axes.pcolormesh(shares, cmap=blues(), vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
        for row, column in np.ndindex(n, n) if n <= MOST_NUMBERS else []:
            colour = "white" if shares[row, column] > 0.55 else INK
            count = f"{counts[row, column]:,.0f}"
            told = f"{count}\n{shares[row, column]:.0%}" if n <= 6 else count
            axes.text(column + 0.5, row + 0.5, told, ha="center", va="center", color=colour, fontsize=8.5)
        names = [short(label, 14 if n <= 5 else 8) for label in judged.classes]
        axes.set_xticks(np.arange(n) + 0.5, names, rotation=0 if n <= 5 else 60, ha="center" if n <= 5 else "right")
        axes.set_yticks(np.arange(n) + 0.5, [short(label, 20) for label in judged.classes])
        axes.invert_yaxis()
        axes.set_xlabel("taken for")
        axes.set_ylabel("is")
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        return Figure(place, title, said, inline(figure, f"{name}-{place}", f"{title}. {said}"))


def blues() -> Colormap:
    """From nearly white to the page's ink."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ink", ["#f4f7fa", "#9fb3c8", INK])


def calibration(judged: Judged, place: str, name: str) -> Figure:
    """Said probability against observed share, in ten bins, with an interval over patients and the windows a bin."""
    binary = len(judged.classes) == 2
    title = f"Calibration: {judged.words}"
    hit = np.stack([judged.y == 1 if binary else judged.y == one.argmax(axis=1) for one in judged.proba])
    said_p = np.stack([one[:, 1] if binary else one.max(axis=1) for one in judged.proba])
    return reliability(
        said_p,
        hit.astype(np.float64),
        judged.patient,
        place,
        name,
        title,
        f"probability of {shown_class(judged.classes[1])}" if binary else "probability of the class that was said",
        share=judged.share,
    )


def shown_class(label: str) -> str:
    """A class's name in a caption."""
    return label if len(label) <= 24 else f"{label[:23]}…"


def reliability(
    said: Floats,
    came: Floats,
    patient: NDArray[np.str_],
    place: str,
    name: str,
    title: str,
    words: str,
    share: Floats | None = None,
) -> Figure:
    """A reliability diagram.

    Parameters
    ----------
    said, came : numpy.ndarray, shape (n_repeats, n)
        Probabilities, and whether it came so.
    patient : numpy.ndarray, shape (n,)
    place, name, title, words : str
    share : numpy.ndarray, shape (n,), optional
    """
    if not np.isfinite(said).all() or said.min() < -1e-6 or said.max() > 1 + 1e-6:
        return Figure(place, title, absent="These predictions are scores, not probabilities between 0 and 1.")
    people, whose = np.unique(patient, return_inverse=True)
    n_of, hits, sums = (by_bin(said, values, whose, len(people), share) for values in (np.ones_like(said), came, said))
    total = n_of.sum(axis=0)
    there = total > 0
    observed, mean = hits.sum(axis=0)[there] / total[there], sums.sum(axis=0)[there] / total[there]
    gap = float(np.abs(observed - mean) @ total[there] / total.sum())
    weights = np.ones(said.shape[1]) if share is None else share
    brier = float(np.average((said - came) ** 2, weights=np.broadcast_to(weights, said.shape)))
    middle = f"Expected calibration error {number(gap)}, Brier score {number(brier)}"
    with canvas(WIDTH_IN, 3.7) as figure:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=":")
        if len(people) >= FEWEST_PATIENTS:
            drawn = resample_patients(len(people), N_DRAWS, 0)
            with np.errstate(invalid="ignore", divide="ignore"):
                low, high = np.nanquantile((drawn @ hits)[:, there] / (drawn @ n_of)[:, there], [0.025, 0.975], axis=0)
            axes.vlines(mean, low, high, color=INK, linewidth=1.2, alpha=0.6)
            middle += "; bars are bootstrap intervals over patients"
        axes.plot(mean, observed, "o-", color=INK, markersize=5)
        axes.set_ylabel("observed share")
        axes.set_ylim(-0.03, 1.03)
        edges = np.linspace(0, 1, N_BINS + 1)
        below.bar(edges[:-1], total / len(said), width=0.1, align="edge", color=PALE, edgecolor="white")
        below.set_ylabel("windows")
        below.set_xlabel(shown(words))
        below.set_xlim(0, 1)
        clean(axes)
        clean(below)
        said_so = f"{middle}. On the dotted line, what was said with 70 % came true in 70 % of windows."
        return Figure(place, title, said_so, inline(figure, f"{name}-{place}", f"{title}. {said_so}"))


def by_bin(said: Floats, values: Floats, whose: NDArray[np.int64], n_people: int, share: Floats | None) -> Floats:
    """Sums of values by patient and bin of the said probability, shape (n_people, N_BINS)."""
    bins = np.clip((said * N_BINS).astype(int), 0, N_BINS - 1)
    cells = (whose[None] * N_BINS + bins).ravel()
    weighted = values if share is None else values * share
    return (
        np.bincount(cells, weighted.ravel(), minlength=n_people * N_BINS).reshape(n_people, N_BINS).astype(np.float64)
    )


def each_patient(scores: Mapping[str, Mapping[str, float]], words: str, less: bool, place: str, name: str) -> Figure:
    """Every patient's own score in two arms, a line for each.

    Parameters
    ----------
    scores : mapping of str to mapping of str to float
        By arm, the first one ours; patients by pseudonym.
    words : str
        What the score is.
    less : bool
        Less is better.
    """
    title = "Every patient"
    arms = list(scores)
    people = sorted(
        (who for who, value in scores[arms[0]].items() if np.isfinite(value)),
        key=lambda who: (scores[arms[0]][who], who),
        reverse=not less,
    )
    if not people:
        return Figure(place, title, absent="No patient has a score of their own.")
    n_people, apart = len(people), -(-len(people) // MOST_LINES)
    people, few = people[::apart], n_people <= MOST_NAMES
    with canvas(WIDTH_IN, 1.1 + (0.19 * len(people) if few else 4.0)) as figure:
        axes = figure.add_subplot()
        rows = np.arange(len(people))
        ours = np.array([scores[arms[0]][who] for who in people])
        if len(arms) > 1:
            other = np.array([scores[arms[1]].get(who, np.nan) for who in people])
            better = (ours < other) if less else (ours > other)
            for group, colour in ((better, INK), (~better, ORANGE)):
                axes.hlines(rows[group], other[group], ours[group], color=colour, linewidth=1, alpha=0.55)
            label = short(arms[1], 28)
            axes.plot(other, rows, "o", color=GREY, markersize=4 if few else 2, markerfacecolor="white", label=label)
        axes.plot(ours, rows, "o", color=INK, markersize=5 if few else 2.5, label=short(arms[0], 28))
        axes.set_yticks(rows if few else [], list(people) if few else [])
        axes.set_ylim(len(people) - 0.4, -0.6)
        axes.set_xlabel(words)
        clean(axes, "x")
        figure.legend(loc="outside lower center", ncols=2)
        worse = "" if len(arms) < 2 else f"; orange where {shown_class(arms[0])} is not the better one"
        every = "" if apart == 1 else f" (one in {apart} is drawn)"
        said = f"{n_people:,} patients{every}, each one's own {words}{worse}."
        return Figure(place, title, said, inline(figure, f"{name}-{place}", f"{title}. {said}"))


def said_and_true(true: Floats, said: Floats, words: str, target: str, place: str, name: str) -> Figure:
    """What was predicted of each patient against what is so; both are means over the patient's windows, shape (n,)."""
    title = f"Predicted and true: {words}"
    if not len(true):
        return Figure(place, title, absent="No patient has a known number.")
    low, high = float(min(true.min(), said.min())), float(max(true.max(), said.max()))
    room = 0.05 * (high - low) or 1.0
    with canvas(WIDTH_IN, 3.6) as figure:
        axes = figure.add_subplot()
        axes.plot([low - room, high + room], [low - room, high + room], color=GREY, linewidth=0.9, linestyle=":")
        axes.plot(true, said, "o", color=INK, markersize=5, alpha=0.75, markeredgewidth=0)
        axes.set_xlim(low - room, high + room)
        axes.set_ylim(low - room, high + room)
        axes.set_xlabel(f"true: {short(target, 30)}")
        axes.set_ylabel("predicted")
        clean(axes, "both")
        error = number(float(np.abs(true - said).mean()))
        who = f"A dot for each of {len(true)} patients, means over their windows"
        caption = f"{who}; mean absolute error of these means {error}. On the dotted line both are equal."
        return Figure(place, title, caption, inline(figure, f"{name}-{place}", f"{title}. {caption}"))
