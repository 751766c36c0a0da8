"""Whether a class coincides with where or on what it was recorded: then nobody can tell what a model learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from biocl.splits.findings import Finding, names
from biocl.store.store import Store
from biocl.store.table import WindowTable

PLACES = {
    "device": ("device", "scanner", "machine", "amplifier", "recorder", "manufacturer", "headset"),
    "site": ("site", "center", "centre", "hospital", "lab", "laboratory", "clinic", "institution", "source"),
}
"""Labels of recordings that say on what, or where, it was recorded."""
FEWEST = 2


@dataclass(frozen=True)
class Recorded:
    """One kind of place: its kind, the label's key, and the place of every recording that has one."""

    kind: str
    key: str
    place: Mapping[int, str]


def recorded(store: Store) -> list[Recorded]:
    """The labels of a store's recordings that say where or on what they were recorded."""
    labels = store.meta["recordings"]["labels"]
    return [
        Recorded(kind, key, {number: value for number, value in enumerate(values) if value})
        for key, values in labels.items()
        for kind, words in PLACES.items()
        if key.lower() in words
    ]


def classes_of_recordings(table: WindowTable) -> dict[int, str]:
    """Of each recording whose labelled windows are of one class, which."""
    labelled = table.label >= 0
    pairs = np.unique(np.column_stack([table.recording[labelled], table.label[labelled]]), axis=0)
    number, first, count = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    return {
        int(recording): table.classes[pairs[at, 1]]
        for recording, at, n in zip(number, first, count, strict=True)
        if n == 1
    }


def confounded(known: Recorded, classes: Mapping[int, str], where: str) -> tuple[str, Finding | None]:
    """What was compared, and a warning if the place tells the class of every recording.

    Classes and places with fewer than `FEWEST` recordings do not count.
    """
    both = [(known.place[number], name) for number, name in classes.items() if number in known.place]
    places, several = Counter(place for place, _ in both), Counter(name for _, name in both)
    both = [(place, name) for place, name in both if places[place] >= FEWEST and several[name] >= FEWEST]
    table = Counter(both)
    kept_places, kept_classes = sorted({place for place, _ in both}), sorted({name for _, name in both})
    sizes = f"{len(kept_places)} {known.kind}s and {len(kept_classes)} classes of {FEWEST} recordings or more"
    said = f"label {known.key}, {sizes}"
    if len(kept_places) < 2 or len(kept_classes) < 2:
        return f"{said}, so nothing can coincide", None
    guessed = sum(max(table[place, name] for name in kept_classes) for place in kept_places) / len(both)
    majority = max(Counter(name for _, name in both).values()) / len(both)
    said += f"; it tells the class of {guessed:.0%} of {len(both)} recordings (the largest class is {majority:.0%})"
    if guessed < 1:
        return said, None
    return said, Finding(
        "warning",
        tuple(kept_places),
        f"{where}, label {known.key}",
        f"The {known.kind} tells the class of all {len(both)} recordings: {in_words(table, kept_places)}. A model that "
        f"recognises the {known.kind} looks as if it recognised the class",
        f"Add recordings of every class from every {known.kind}, or of one {known.kind} only; no split mends this",
    )


def in_words(table: Counter[tuple[str, str]], places: Sequence[str]) -> str:
    """``site A has 12 ill; site B has 10 well``."""
    return "; ".join(
        f"{place} has {names([f'{n} {name}' for (there, name), n in sorted(table.items()) if there == place])}"
        for place in places[:6]
    )
