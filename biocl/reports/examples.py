"""Some windows of a store, each a small figure with its units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from biocl.reports.pictures import clock, distances, draw_window, examples, shown_channels, time_unit
from biocl.reports.privacy import shown
from biocl.reports.svg import Figure, canvas, inline, short
from biocl.signals.recording import Channel
from biocl.store.gather import gather, in_window
from biocl.store.store import Store
from biocl.store.table import WindowTable

MOST_SHOWN, MOST_STEPS = 8, 1200
EACH_OF_FEW, FEW = 2, 3
WIDTH_IN = 4.2


def window_figures(
    store: Store,
    table: WindowTable,
    rows: NDArray[np.int64],
    who: Callable[[str], str],
    name: str,
    *,
    channels: Sequence[int] | None = None,
    seed: int = 0,
) -> list[Figure]:
    """Examples of windows, of every class and of different patients.

    Parameters
    ----------
    store, table
    rows : numpy.ndarray of int
        Table rows among which examples are drawn.
    who : callable
        A patient's name to what is printed.
    name : str
        Begins the ids.
    channels : sequence of int, optional
        Columns of the store that the run reads; default all.
    seed : int
    """
    if not len(rows):
        return [Figure("window-0", "Windows", absent="The training part has no windows.")]
    part = table.take(rows)
    every = list(range(len(store.channels))) if channels is None else list(channels)
    read = [store.channels[column] for column in every]
    columns = [every[place] for place in shown_channels(read)][:MOST_SHOWN]
    drawn = examples(part, seed)
    each = EACH_OF_FEW if len(drawn) <= FEW else 1
    chosen = [(title, row) for title, of_class in drawn for row in of_class[:each]]
    picked = np.array([row for _, row in chosen])
    windows = gather(store, replace(part, has_gaps=False), picked)[:, :, columns]
    inside = in_window(part.rows[picked])
    signals = [store.channels[column] for column in columns]
    apart = distances(signals, windows)
    scale = ", ".join(f"{step:g} {unit} ({kind})" for (kind, unit), step in apart.items())
    fewer = f"; {len(columns)} of {len(read)} channels" if len(columns) < len(read) else ""
    figures = []
    for place, (title, row) in enumerate(chosen):
        patient = who(part.names["patient"][part.patient[row]])
        start = clock(part.start[row] / store.sfreq)
        heading = shown(title.rpartition(" (")[0])
        said = f"{patient}, from {start}; from one line to the next is {scale}{fewer}."
        svg = draw(windows[place], inside[place], store.sfreq, signals, apart, f"{name}-window-{place}", heading)
        figures.append(Figure(f"window-{place}", heading, said, svg))
    return figures


def draw(
    window: NDArray[np.float32],
    inside: NDArray[np.bool_],
    sfreq: float,
    channels: Sequence[Channel],
    apart: dict[tuple[str, str], float],
    name: str,
    title: str,
) -> str:
    """One window (n_times, n_chans) in physical units, thinned to what an eye sees."""
    step = -(-len(window) // MOST_STEPS)
    second, unit = time_unit(len(window) / sfreq)
    plain = [replace(channel, name=short(channel.name, 18)) for channel in channels]
    with canvas(WIDTH_IN, max(1.5, 0.62 + 0.32 * len(channels))) as figure:
        axes = figure.add_subplot()
        draw_window(axes, window[::step], inside[::step], sfreq / step * second, plain, apart)
        # Peaks may reach far above the line of the channel over them.
        drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines])
        if np.isfinite(drawn).any():
            low, high = axes.get_ylim()
            axes.set_ylim(min(low + 0.3, np.nanmin(drawn) - 0.15), max(high - 0.3, np.nanmax(drawn) + 0.15))
        axes.tick_params(labelsize=8.5)
        axes.set_xlabel(unit)
        return inline(figure, name, f"A window of {title}: {len(channels)} channels over time")
