"""Two drawings of a study's design: where the patients went, and who is train, validation and test in which fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from biocl.reports.pictures import INK
from biocl.reports.privacy import shown
from biocl.reports.svg import ORANGE, TEAL, Figure, headed

PARTS = ("train", "validation", "test")
DEEP = "#8a6210"
"""Of words about validation, whose colour is too pale for letters."""
COLOURS = {"train": INK, "validation": "#d39b3a", "test": TEAL, "": "#e4eaf0"}
WIDTH = 400.0
LINE, PAD = 15.0, 9.0
MOST_DOTS, MOST_FOLDS = 64, 12
GREY_TEXT = "#33404d"


@dataclass(frozen=True)
class Fold:
    """Patients and windows by part of one fold; stretches of time by part where a split cuts recordings."""

    patients: Mapping[str, Sequence[str]]
    n_windows: Mapping[str, int]
    stretches: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """What the drawings say.

    Attributes
    ----------
    folds : sequence of Fold
    scope : str
        Of the split.
    n_recordings, n_patients, n_windows : int or None
        Of the store; None where it is not at hand.
    window : str
        How long a window is, in words.
    left_out : mapping of str to int
        Windows that were left out, by reason.
    labels : sequence of str
        Label sizes, modes of use and floors that come after the pretraining, one line each.
    part : str
        Who is judged.
    judges : bool
        False for a pretraining, which judges nobody.
    people : str
        ``patient``, or ``series`` where recordings are of nobody.
    learns : str
        What the second step is called.
    """

    folds: Sequence[Fold]
    scope: str
    n_recordings: int | None = None
    n_patients: int | None = None
    n_windows: int | None = None
    window: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    labels: Sequence[str] = ()
    part: str = "test"
    judges: bool = True
    people: str = "patient"
    learns: str = "Learn from labels of train"


def counted(n: int, word: str) -> str:
    """``1 patient``, ``1,600 windows``."""
    return f"{n:,} {word if n == 1 or word == 'series' else word + 's'}"


def ranged(numbers: Sequence[int], word: str) -> str:
    """``12 patients``, ``12 to 14 patients``."""
    low, high = min(numbers), max(numbers)
    return counted(low, word) if low == high else f"{low:,} to {counted(high, word)}"


def wrapped(text: str, width: float) -> list[str]:
    """Lines that are no wider than a box, by the usual width of a letter."""
    most = max(8, int(width / 5.9))
    lines: list[str] = []
    for word in shown(text).split(" "):
        while len(word) > most:
            lines, word = [*lines, word[:most]], word[most:]
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def box(
    x: float, y: float, width: float, lines: Sequence[str], colour: str = INK, dashed: bool = False
) -> tuple[str, float]:
    """A box with centred lines, the first bold; its markup and its height."""
    texts = [(line, number == 0) for number, text in enumerate(lines) for line in wrapped(text, width - 2 * PAD)]
    height = len(texts) * LINE + 2 * PAD - 3
    style = f'stroke="{colour}" stroke-width="1.2"' + (' stroke-dasharray="4 3"' if dashed else "")
    out = [f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" fill="#fff" {style}/>']
    for number, (line, bold) in enumerate(texts):
        weight = ' font-weight="600"' if bold else ""
        place = f'x="{x + width / 2:g}" y="{y + PAD + 10 + number * LINE:g}"'
        fill = f'text-anchor="middle"{weight} fill="{colour if bold else GREY_TEXT}"'
        out.append(f"<text {place} {fill}>{escape(line)}</text>")
    return "".join(out), height


def arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """A line with a head; straight down or to the right."""
    down = x == to_x
    head = (
        f"{to_x - 3.5:g},{to_y - 6:g} {to_x + 3.5:g},{to_y - 6:g}"
        if down
        else f"{to_x - 6:g},{to_y - 3.5:g} {to_x - 6:g},{to_y + 3.5:g}"
    )
    line = f'<line x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}" stroke="#6b7785" stroke-width="1.1"/>'
    return f'{line}<polygon points="{head} {to_x:g},{to_y:g}" fill="#6b7785"/>'


def drawing(parts: Sequence[str], height: float, name: str, title: str) -> str:
    """An SVG element of the page's width."""
    style = 'font-family="system-ui, -apple-system, Segoe UI, Arial, sans-serif" font-size="11.5"'
    svg = f'<svg viewBox="0 0 {WIDTH:g} {height:g}"><g {style}>{"".join(parts)}</g></svg>'
    return headed(svg, name, title)


def patients_flow(study: Study, name: str) -> Figure:
    """Recordings, patients, windows and parts, with what was left out and why."""
    parts: list[str] = []
    main, side = 210.0, 158.0
    middle, y = main / 2, 2.0
    in_split = {who for fold in study.folds for people in fold.patients.values() for who in people}
    people = study.people
    if study.n_recordings is not None and study.n_patients is not None:
        lines = ["Recordings", counted(study.n_recordings, "recording"), f"of {counted(study.n_patients, people)}"]
        lines = lines if people == "patient" else lines[:2]
        said, height = box(1, y, main, lines)
        parts.append(said)
        y += height
        if study.left_out:
            reasons = [f"{n:,}: {reason}" for reason, n in study.left_out.items()]
            outside, own = box(WIDTH - side - 1, y + 10, side, ["Windows left out", *reasons], ORANGE, dashed=True)
            at = y + 10 + own / 2
            parts += [outside, arrow(middle, at, WIDTH - side - 2, at)]
            gap = own + 20
        else:
            gap = 22
        parts.append(arrow(middle, y, middle, y + gap))
        y += gap
        kept = [f"{counted(study.n_windows or 0, 'window')}{study.window}", f"{counted(study.n_patients, people)}"]
        said, height = box(1, y, main, ["Windows", *(kept if people == "patient" else kept[:1])])
        parts.append(said)
        y += height
        away = study.n_patients - len(in_split)
        used = max(sum(fold.n_windows.values()) for fold in study.folds)
        unused = (study.n_windows or 0) - used
        if away > 0 or unused > 0:
            lines = ["In no part of the split"]
            lines += [counted(away, people)] if away > 0 else []
            lines += [counted(unused, "window")] if unused > 0 else []
            outside, own = box(WIDTH - side - 1, y + 8, side, lines, ORANGE, dashed=True)
            parts += [outside, arrow(middle, y + 8 + own / 2, WIDTH - side - 2, y + 8 + own / 2)]
            gap = own + 24
        else:
            gap = 24
    else:
        said, height = box(1, y, main, ["Split", counted(len(in_split), people)])
        parts.append(said)
        y, gap = y + height, 24
    parts.append(f'<line x1="{middle:g}" y1="{y:g}" x2="{middle:g}" y2="{y + gap - 10:g}" stroke="#6b7785"/>')
    y += gap - 10
    there = [part for part in PARTS if any(fold.n_windows.get(part) for fold in study.folds)]
    width = (WIDTH - 2 - 8 * (len(there) - 1)) / max(1, len(there))
    centres = [1 + place * (width + 8) + width / 2 for place in range(len(there))]
    if there:
        low, high = min(middle, centres[0]), max(middle, centres[-1])
        parts.append(f'<line x1="{low:g}" y1="{y:g}" x2="{high:g}" y2="{y:g}" stroke="#6b7785"/>')
    tallest = 0.0
    for part, centre in zip(there, centres, strict=True):
        of_part = [fold.patients.get(part, ()) for fold in study.folds]
        lines = [part.capitalize()]
        lines += [ranged([len(one) for one in of_part], people)] if people == "patient" else []
        lines += [ranged([fold.n_windows.get(part, 0) for fold in study.folds], "window")]
        lines += ["in each fold"] if len(study.folds) > 1 else []
        if len(study.folds) > 1 and part == "test":
            lines.append(f"{len({who for one in of_part for who in one}):,} in all")
        colour = DEEP if part == "validation" else COLOURS[part]
        said, height = box(centre - width / 2, y + 14, width, lines, colour)
        parts += [arrow(centre, y, centre, y + 14), said]
        tallest = max(tallest, height)
    height = y + 14 + tallest + 2
    caption = "Where patients and windows went."
    if study.n_recordings is None:
        caption += " The store is not at hand, so recordings and what was left out are not shown."
    elif not study.left_out:
        caption += " No window was left out."
    svg = drawing(parts, height, f"{name}-flow", f"Patients' flow. {caption}")
    return Figure("flow", "Patients' flow", caption, svg)


def protocol(study: Study, name: str) -> Figure:
    """The steps from pretraining to the one look at those who are judged, above who is where in every fold."""
    first = study.folds[0]
    n = len(first.patients.get("train", ()))
    among = f" ({counted(n, 'patient')}{' in the first fold' if len(study.folds) > 1 else ''})"
    steps = [["1  Pretrain", f"on train{among if study.people == 'patient' else ''}, the test part unseen"]]
    if study.judges:
        steps += [[f"2  {study.learns}", *study.labels]] if study.labels else []
        inner = "inner validation patients (for choosing, not for reporting)"
        who = "test patients" if study.part == "test" else inner
        who = who if study.scope == "patient" else f"{study.part} part (scope {study.scope})"
        last = "whose labels are read last" if study.people == "patient" else "which is read last"
        steps += [[f"{len(steps) + 1}  Judge once", f"on the {who}, {last}"]]
    parts: list[str] = []
    y = 2.0
    for number, lines in enumerate(steps):
        said, height = box(1, y, WIDTH - 2, lines, TEAL if number == 2 else INK)
        parts.append(said)
        y += height
        if number < len(steps) - 1:
            parts.append(arrow(WIDTH / 2, y, WIDTH / 2, y + 18))
            y += 18
    y += 30
    strips, y, words = stretches(study, y) if first.stretches else squares(study, y)
    parts += strips
    caption = f"{words} Scope of the split: {study.scope}."
    svg = drawing(parts, y, f"{name}-protocol", f"Protocol. {caption}")
    return Figure("protocol", "Protocol", caption, svg)


def squares(study: Study, y: float) -> tuple[list[str], float, str]:
    """A square for every patient, a row for every fold; of many patients, bars."""
    folds = list(study.folds)[:MOST_FOLDS]
    everyone = sorted(
        {who for fold in folds for people in fold.patients.values() for who in people},
        key=lambda who: ([who not in fold.patients.get("test", ()) for fold in folds], place_of(folds[0], who), who),
    )
    parts: list[str] = [f'<text x="1" y="{y - 6:g}" fill="#33404d">{row_words(len(everyone), len(folds))}</text>']
    left = 46.0 if len(folds) > 1 else 1.0
    side = (WIDTH - left - 1) / max(1, len(everyone))
    height = min(16.0, max(9.0, side))
    for number, fold in enumerate(folds):
        if len(folds) > 1:
            parts.append(f'<text x="1" y="{y + height - 3:g}" fill="#33404d" font-size="10">fold {number + 1}</text>')
        runs = [(place_of(fold, who), 1) for who in everyone]
        x = left
        for part, n in merged(runs) if len(everyone) > MOST_DOTS else runs:
            gap = 1.5 if side > 4 else 0.0
            style = f'fill="{COLOURS[part]}" rx="{1.5 if side > 4 else 0}"'
            size = f'width="{max(0.5, n * side - gap):.2f}" height="{height:g}"'
            parts.append(f'<rect x="{x:.2f}" y="{y:g}" {size} {style}/>')
            x += n * side
        y += height + 3
    legend, y = legend_of(study, y + 14)
    more = f" {len(study.folds) - len(folds)} more folds are not drawn." if len(study.folds) > len(folds) else ""
    return [*parts, *legend], y, f"Every patient's part in {'every fold' if len(folds) > 1 else 'the split'}.{more}"


def row_words(n_patients: int, n_folds: int) -> str:
    """What stands over the squares."""
    return f"{counted(n_patients, 'patient')}{f' in {n_folds} folds' if n_folds > 1 else ''}, by part:"


def place_of(fold: Fold, who: str) -> str:
    """The part that a patient is in; test where in several."""
    return next((part for part in reversed(PARTS) if who in fold.patients.get(part, ())), "")


def merged(runs: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Neighbours of one part together."""
    out: list[tuple[str, int]] = []
    for part, n in runs:
        if out and out[-1][0] == part:
            out[-1] = (part, out[-1][1] + n)
        else:
            out.append((part, n))
    return out


def stretches(study: Study, y: float) -> tuple[list[str], float, str]:
    """A line of time for every fold, with the stretches of each part."""
    folds = list(study.folds)[:MOST_FOLDS]
    end = max(stop for fold in folds for own in fold.stretches.values() for _, stop in own)
    parts = [f'<text x="1" y="{y - 6:g}" fill="#33404d">from the first sample to the last, by part:</text>']
    for fold in folds:
        parts.append(f'<rect x="1" y="{y:g}" width="{WIDTH - 2:g}" height="16" fill="{COLOURS[""]}" rx="2"/>')
        for part, own in fold.stretches.items():
            for start, stop in own:
                x, width = 1 + (WIDTH - 2) * start / end, (WIDTH - 2) * (stop - start) / end
                parts.append(f'<rect x="{x:.2f}" y="{y:g}" width="{width:.2f}" height="16" fill="{COLOURS[part]}"/>')
        y += 20
    legend, y = legend_of(study, y + 14)
    return [*parts, *legend], y, "Which stretch of time is in which part."


def legend_of(study: Study, y: float) -> tuple[list[str], float]:
    """Colours of the parts."""
    x, out = 1.0, []
    for part in [part for part in PARTS if any(fold.n_windows.get(part) for fold in study.folds)]:
        out.append(f'<rect x="{x:g}" y="{y - 9:g}" width="11" height="11" fill="{COLOURS[part]}" rx="2"/>')
        out.append(f'<text x="{x + 16:g}" y="{y:g}" fill="#33404d">{part}</text>')
        x += 40 + 6.2 * len(part)
    return out, y + 6
