"""A picture of a store: a few windows of every class, and how the quality of its windows is distributed."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biocl.signals.quality import USUAL
from biocl.signals.recording import Channel
from biocl.store.gather import gather, in_window
from biocl.store.store import Store
from biocl.store.table import WindowTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_COLUMNS, MOST_CHANNELS, EXAMPLES = 5, 12, 2
WIDTH_IN, DPI = 12.0, 110
CHANNEL_IN, LEAST_IN, HISTOGRAM_IN = 0.28, 1.8, 1.7
INK, PALE, LIMIT = "#1b3a57", "#9fb3c8", "#c0392b"
COLOURS = {"acc": "#0b6e4f", "gyr": "#8a4f9e", "mag": "#a0522d", "eog": "#b5651d", "emg": "#8b1e3f", "resp": "#456990"}
TITLES = {
    "flat": "flat line\n(share)",
    "saturation": "saturation\n(share)",
    "nan": "missing\n(share)",
    "baseline": "below 0.5 Hz\n(share of power)",
    "kurtosis": "kurtosis",
    "line_noise": "50/60 Hz against\nneighbours (ratio)",
    "template": "template\ncorrelation",
}


def picture_of_store(
    store: Store,
    table: WindowTable,
    quality: Mapping[str, NDArray[np.floating]],
    *,
    form: str = "png",
    seed: int = 0,
) -> bytes:
    """Draw examples of windows above histograms of quality indices.

    Every column is a class (without classes, a recording), every row an example from another patient where there
    is one. Channels stand below each other at equal distances; the last line says what a distance means in each
    kind's unit. Gaps are left open, padding is shaded.

    Parameters
    ----------
    store : Store
    table : WindowTable
        Not empty.
    quality : mapping of str to ndarray, shape (n, n_chans)
        As `biocl.store.quality.window_quality` gives it.
    form : str
        ``png``, ``pdf`` or ``svg``.
    seed : int
        Of the choice of examples.

    Returns
    -------
    bytes
        The image file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = examples(table, seed)
    shown = shown_channels(store.channels)
    histograms = [name for name, values in quality.items() if np.isfinite(values).any()]
    example_in = max(LEAST_IN, CHANNEL_IN * len(shown) + 0.5)
    heights = [example_in] * max(len(rows) for _, rows in columns) + ([HISTOGRAM_IN] if histograms else [])
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + 1.1), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(2 if histograms else 1, 1, squeeze=False, height_ratios=split(heights, len(histograms)))
    draw_examples(parts[0, 0], store, table, columns, shown)
    if histograms:
        for number, name in enumerate(histograms, 1):
            axes = parts[1, 0].add_subplot(1, len(histograms), number)
            draw_histogram(axes, name, quality[name], usual_limit(name, store.channels))
    data = io.BytesIO()
    figure.savefig(data, format=form, dpi=DPI)
    return data.getvalue()


def split(heights: Sequence[float], n_histograms: int) -> list[float]:
    """Heights of the two halves of the picture."""
    return [sum(heights[:-1]) + 0.9, heights[-1] + 0.2] if n_histograms else [sum(heights)]


def examples(table: WindowTable, seed: int) -> list[tuple[str, list[int]]]:
    """Titles of the columns with a few rows of the table each, of different patients where there are several."""
    chance = np.random.default_rng(seed)
    label = table.rows["label"]
    present = [number for number in range(len(table.classes)) if (label == number).any()]
    if present:
        chosen = [(table.classes[number], np.flatnonzero(label == number)) for number in present]
    else:
        numbers = np.unique(table.recording)
        names = table.names["recording"]
        chosen = [(names[number], np.flatnonzero(table.recording == number)) for number in numbers]
    if len(chosen) > MOST_COLUMNS:
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, MOST_COLUMNS).round().astype(int)]
    found = []
    for title, rows in chosen:
        order = chance.permutation(rows)
        first = np.unique(table.patient[order], return_index=True)[1]
        ranked = np.concatenate([order[np.sort(first)], np.delete(order, first)])
        found.append((f"{title} ({len(rows)} windows)", ranked[:EXAMPLES].tolist()))
    return found


def shown_channels(channels: Sequence[Channel]) -> list[int]:
    """At most twelve columns, all kinds and devices among them: each kind of each device in turn."""
    if len(channels) <= MOST_CHANNELS:
        return list(range(len(channels)))
    groups: dict[tuple[str, str], list[int]] = {}
    for column, channel in enumerate(channels):
        groups.setdefault((channel.device, channel.kind), []).append(column)
    if len(groups) == 1:
        return np.linspace(0, len(channels) - 1, MOST_CHANNELS).round().astype(int).tolist()
    every = list(groups.values())
    if len(every) > MOST_CHANNELS:
        every = [every[i] for i in np.linspace(0, len(every) - 1, MOST_CHANNELS).round().astype(int)]
    return sorted(column for group in every for column in group[: MOST_CHANNELS // len(every)])


def draw_examples(
    part: Any, store: Store, table: WindowTable, columns: Sequence[tuple[str, list[int]]], shown: Sequence[int]
) -> None:
    """One set of axes for each example, and the line that says what a distance between channels means."""
    rows = np.array([row for _, chosen in columns for row in chosen])
    windows = dict(zip(rows.tolist(), gather(store, replace(table, has_gaps=False), rows), strict=True))
    inside = dict(zip(rows.tolist(), in_window(table.rows[rows]), strict=True))
    channels = [store.channels[column] for column in shown]
    apart = distances(channels, np.stack([windows[row][:, shown] for row in rows.tolist()]))
    second, unit = time_unit(table.n_times / store.sfreq)
    n_rows = max(len(chosen) for _, chosen in columns)
    grid = part.subplots(n_rows, len(columns), squeeze=False, sharex=True, sharey=True)
    for x, (title, chosen) in enumerate(columns):
        for y in range(n_rows):
            if y >= len(chosen):
                grid[y][x].set_axis_off()
                continue
            row = chosen[y]
            draw_window(grid[y][x], windows[row][:, shown], inside[row], store.sfreq * second, channels, apart)
            names = table.names
            who = f"patient {names['patient'][table.patient[row]]}, {clock(table.start[row] / store.sfreq)}"
            grid[y][x].set_title(f"{title}\n{who}" if y == 0 else who, fontsize=8, color=INK)
        grid[n_rows - 1][x].set_xlabel(unit, fontsize=8)
    many = f"   {len(shown)} of {len(store.channels)} channels" if len(shown) < len(store.channels) else ""
    words = "   ".join(f"{kind} {step:g} {unit}" for (kind, unit), step in apart.items())
    part.suptitle(f"{store.meta['dataset']}: from one channel to the next is   {words}{many}", fontsize=9, color=INK)


def distances(channels: Sequence[Channel], windows: NDArray[np.float32]) -> dict[tuple[str, str], float]:
    """A round number for each kind and unit: 0.6 of what nine of ten windows span at most, or more."""
    found: dict[tuple[str, str], float] = {}
    for key in dict.fromkeys((channel.kind, channel.unit) for channel in channels):
        columns = [i for i, channel in enumerate(channels) if (channel.kind, channel.unit) == key]
        part = windows[:, :, columns]
        with np.errstate(all="ignore"):
            high, low = np.nanpercentile(part, 99.5, axis=1), np.nanpercentile(part, 0.5, axis=1)
            found[key] = round_up(0.6 * float(np.nanpercentile(high - low, 90)))
    return found


def round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7, 10 and their tens; 1 for nothing."""
    if not 0 < value < math.inf:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 5, 7, 10) if step * power >= value * (1 - 1e-9))


def time_unit(length_s: float) -> tuple[float, str]:
    """Seconds of the unit that windows of this length are drawn in, and its name."""
    return (86_400.0, "days") if length_s > 172_800 else (3600.0, "hours") if length_s > 7200 else (1.0, "seconds")


def draw_window(
    axes: Axes,
    window: NDArray[np.float32],
    inside: NDArray[np.bool_],
    rate: float,
    channels: Sequence[Channel],
    apart: Mapping[tuple[str, str], float],
) -> None:
    """One window, (n_times, n_chans), its channels below each other; `rate` is per unit of the time axis."""
    time = np.arange(len(window)) / rate
    for number, channel in enumerate(channels):
        trace = np.where(inside, window[:, number].astype(np.float64), np.nan)
        colour = COLOURS.get(channel.kind, INK)
        middle = np.nanmedian(trace) if np.isfinite(trace).any() else 0.0
        axes.plot(time, (trace - middle) / apart[channel.kind, channel.unit] - number, color=colour, linewidth=0.7)
    if not inside.all():
        for start, stop in np.flatnonzero(np.diff(~inside, prepend=False, append=False)).reshape(-1, 2).tolist():
            axes.axvspan(start / rate, stop / rate, color=PALE, alpha=0.3, linewidth=0)
    names = [f"{channel.name} [{channel.unit}]" for channel in channels]
    axes.set_yticks([-number for number in range(len(channels))], names)
    axes.set_ylim(-len(channels), 1.0)
    axes.set_xlim(0, max(time[-1], 1 / rate))
    axes.tick_params(labelsize=7, length=2)
    axes.grid(axis="x", color=PALE, alpha=0.4, linewidth=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def clock(seconds: float) -> str:
    """``83.4 -> 1:23.4``: where in its recording a window begins; ``day 12`` in a long series."""
    if seconds >= 172_800:
        return f"day {seconds / 86_400:.4g}"
    tenths = round(float(seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{f'{hours}:{minutes:02d}' if hours else minutes}:{rest // 10:02d}.{rest % 10}"


def usual_limit(name: str, channels: Sequence[Channel]) -> float | None:
    """The usual threshold of an index, if it is one for any of the channels."""
    usual = USUAL[name]
    applies = not usual.kinds or any(channel.kind in usual.kinds for channel in channels)
    return (usual.most if usual.least is None else usual.least) if applies else None


def draw_histogram(axes: Axes, name: str, values: NDArray[np.floating], limit: float | None) -> None:
    """The distribution of one index over windows and channels, with its usual threshold."""
    from matplotlib.ticker import NullFormatter

    present = values[np.isfinite(values)].astype(np.float64)
    low, high = np.percentile(present, [0.5, 99.5])
    if name in ("flat", "saturation", "nan", "baseline"):
        low, high = 0.0, max(1.5 * (limit or 0), float(high), 0.02)
    elif limit is not None:
        low, high = min(float(low), limit), max(float(high), limit)
    room = 0.03 * (high - low) or 0.5
    axes.hist(np.clip(present, low, high), bins=40, range=(low - room, high + room), color=INK)
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(NullFormatter())
    if limit is not None:
        axes.axvline(limit, color=LIMIT, linewidth=1, linestyle="--")
    axes.set_title(TITLES[name], fontsize=8, color=INK)
    axes.tick_params(labelsize=7, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
