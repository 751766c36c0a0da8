"""Maps of embeddings in the plane: principal components, and UMAP where it is installed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from biocl.reports.svg import CYCLE, GREY, Figure, canvas, inline, short

Floats = NDArray[np.float64]
MOST_POINTS = 600
MOST_GROUPS = 10
SIDE_IN = 3.6
WITHOUT_UMAP = "UMAP is not installed: pip install 'biocl[viz]' adds this map."


@dataclass(frozen=True)
class Embedded:
    """Embeddings of some windows, with what they may be coloured by.

    Attributes
    ----------
    vectors : numpy.ndarray, shape (n, D)
    groups : mapping of str to sequence of str
        By what colours mean (``class``, ``patient``): each window's group.
    absent : mapping of str to str
        Colourings that there are not, and why.
    by_device : mapping of str to ndarray, shape (n, D)
        What each device says of the windows, where an encoder reads them apart.
    words : str
        Which windows these are, and whose encoder.
    seed : int
        Of UMAP.
    part : str
        What `by_device` has one of: ``device``, or ``channel``.
    """

    vectors: Floats
    groups: Mapping[str, Sequence[str]]
    absent: Mapping[str, str] = field(default_factory=dict)
    by_device: Mapping[str, Floats] = field(default_factory=dict)
    words: str = ""
    seed: int = 0
    part: str = "device"


def principal(vectors: Floats) -> tuple[Floats, Floats]:
    """First two principal components of standardised features, (n, 2), and their shares of the variance, (2,).

    The sign of a component is such that its largest entry is positive, so that a map does not depend on the machine.
    """
    spread = vectors.std(axis=0)
    z = (vectors - vectors.mean(axis=0)) / np.where(spread > 0, spread, 1)
    _, s, directions = np.linalg.svd(z, full_matrices=False)
    directions = directions[:2]
    largest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]
    share = s[:2] ** 2 / max(float((s**2).sum()), 1e-30)
    flat = np.zeros((len(z), 2))
    flat[:, : len(directions)] = z @ directions.T
    return flat, np.pad(share, (0, 2 - len(share)))


def umap_of(vectors: Floats, seed: int) -> Floats | None:
    """UMAP coordinates (n, 2) of standardised features; None where it is not installed or the windows are too few."""
    if find_spec("umap") is None or len(vectors) < 16:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap

        spread = vectors.std(axis=0)
        z = (vectors - vectors.mean(axis=0)) / np.where(spread > 0, spread, 1)
        return np.asarray(umap.UMAP(n_neighbors=15, random_state=seed, n_jobs=1).fit_transform(z), dtype=np.float64)


def embedding_maps(embedded: Embedded, name: str) -> list[Figure]:
    """A figure for each colouring and each map."""
    figures = []
    flat, share = principal(embedded.vectors)
    whole = {"pca": (flat, f"Principal components ({share[0]:.0%} and {share[1]:.0%} of the variance)")}
    other = umap_of(embedded.vectors, embedded.seed)
    if other is not None:
        whole["umap"] = (other, "UMAP, in which distances between groups mean little")
    for kind, (points, words) in whole.items():
        for meaning, group in embedded.groups.items():
            title = f"{'Embedding' if kind == 'pca' else 'UMAP'} by {meaning}"
            said = f"{words}; {embedded.words}."
            figures.append(one_map(points, group, f"{kind}-{meaning}", title, said, name))
        if kind == "pca":
            figures += device_maps(embedded, name)
    if other is None:
        few = "A map of fewer than 16 windows says nothing." if len(embedded.vectors) < 16 else WITHOUT_UMAP
        figures.append(Figure("umap", "UMAP", absent=few))
    return figures


def device_maps(embedded: Embedded, name: str) -> list[Figure]:
    """What each device says, in one plane; and the colourings that there are not."""
    figures = [Figure(f"pca-{key}", f"Embedding by {key}", absent=why) for key, why in embedded.absent.items()]
    if not embedded.by_device:
        return figures
    thin = slice(None, None, -(-len(embedded.by_device) * len(embedded.vectors) // (2 * MOST_POINTS)))
    vectors = np.concatenate([one[thin] for one in embedded.by_device.values()])
    group = [device for device, one in embedded.by_device.items() for _ in one[thin]]
    flat, share = principal(vectors)
    said = (
        f"Principal components ({share[0]:.0%} and {share[1]:.0%} of the variance) of what each {embedded.part} says "
        f"of a window, a dot each; {embedded.words}."
    )
    return [*figures, one_map(flat, group, "pca-device", f"Embedding by {embedded.part}", said, name)]


def one_map(points: Floats, group: Sequence[str], place: str, title: str, said: str, name: str) -> Figure:
    """Dots in the plane, coloured by group; of many groups the largest have colours, and the others are grey."""
    names, counts = np.unique(np.asarray(group, dtype=np.str_), return_counts=True)
    ranked = [str(names[i]) for i in np.argsort(-counts, kind="stable")]
    coloured = sorted(ranked[:MOST_GROUPS])
    rest = ranked[MOST_GROUPS:]
    whose = np.asarray(group, dtype=np.str_)
    with canvas(SIDE_IN, SIDE_IN * 0.85 + 0.19 * -(-(len(coloured) + bool(rest)) // 2)) as figure:
        axes = figure.add_subplot()
        if rest:
            dots(axes, points[~np.isin(whose, coloured)], GREY, f"{len(rest)} others", 0.35)
        for place_of, one in enumerate(coloured):
            dots(axes, points[whose == one], CYCLE[place_of % len(CYCLE)], short(one, 20), 0.75)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.margins(0.05)
        axes.autoscale_view()
        for side in axes.spines.values():
            side.set_visible(True)
            side.set_color("#d5dde5")
        figure.legend(loc="outside lower center", ncols=2, handletextpad=0.4, columnspacing=1.0, handlelength=0.9)
        return Figure(place, title, said, inline(figure, f"{name}-{place}", f"{title}. {said}"))


def dots(axes: object, points: Floats, colour: str, label: str, alpha: float) -> None:
    """All dots of a group as one path of round ends, which is a tenth of the size of as many markers."""
    from matplotlib.axes import Axes
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    assert isinstance(axes, Axes)
    if not len(points):
        return
    twice = np.repeat(points, 2, axis=0)
    twice[1::2, 0] += 1e-9 * (np.ptp(points[:, 0]) + 1)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(points))
    style = {"facecolor": "none", "edgecolor": colour, "linewidth": 3.2, "capstyle": "round", "alpha": alpha}
    axes.add_patch(PathPatch(Path(twice, codes), **style))
    axes.plot([], [], "o", color=colour, markersize=4.5, markeredgewidth=0, label=label)
    axes.update_datalim(points)
