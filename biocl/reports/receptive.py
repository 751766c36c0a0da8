"""A picture of which past a forecast looks at."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from biocl.reports.pictures import DPI, INK, PALE, time_unit

WIDTH_IN, HEIGHT_IN = 7.0, 3.2


def picture_of_receptive_field(
    field: NDArray[np.float64], steps: Sequence[int], sfreq: float, *, title: str, form: str = "png"
) -> bytes:
    """Draw a line for each step ahead over the time before the forecast.

    Parameters
    ----------
    field : numpy.ndarray, shape (len(steps), L)
        As `biocl.evaluation.receptive.receptive_field` gives it.
    steps : sequence of int
        Steps ahead, counted from 1.
    sfreq : float
        Steps a second.
    title : str
    form : str
        ``png``, ``pdf`` or ``svg``.

    Returns
    -------
    bytes
        The image file.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    length = field.shape[1]
    second, unit = time_unit(length / sfreq)
    before = (np.arange(length) - length) / (sfreq * second)
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = colormaps["viridis"](np.linspace(0, 0.85, len(steps)))
    for line, step, colour in zip(field, steps, colours, strict=True):
        axes.plot(before, line, color=colour, linewidth=1.1, label=f"{step / (sfreq * second):.4g} {unit} ahead")
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_xlabel(f"{unit} before the forecast", fontsize=8)
    axes.set_ylabel("mean |change of forecast / change of input|", fontsize=8)
    axes.set_xlim(before[0], 0)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7, length=2)
    axes.grid(color=PALE, alpha=0.4, linewidth=0.5)
    axes.legend(fontsize=7, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    data = io.BytesIO()
    figure.savefig(data, format=form, dpi=DPI)
    return data.getvalue()
