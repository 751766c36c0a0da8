"""One person under two ids: suspected where headers agree, or where signals are far more alike than those of others.

Nothing of this is proof; it says where to look. A pair is suspected if

- its *headers or labels* share so much that no two people of the cohort would by chance (`MARGIN_BITS` beyond the
  number of pairs there are), and the signals, where they can be compared, do not speak against it; or
- its *signals* are as alike as those of one person, and several times more alike than either's to anybody else's.

Measured on recordings whose people are known (MIT-BIH, PTB-XL, LUDB, ECG-ID, the UCI EEG Database, two sets of IMUs):
MIT-BIH's 201 and 202 and copies under two ids in PTB-XL are found, and no other pair. Of 63 people of ECG-ID with two
recordings of 20 s each under two ids, the signals alone find 8, and nobody wrongly: that nothing is suspected does not
say that nobody is there twice. Three ids of one person hide each other from the second rule, and not from the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biocl.signals.likeness import average_beat, beat_distances, spectrum, spectrum_distances
from biocl.store.people import agreements
from biocl.store.store import Store

Floats = NDArray[np.float64]

MARGIN_BITS = 7.0
NEAREST_SHARE = 0.02
MOST_RATIO, MOST_DISTANCE, MOST_OF_WITHIN = 0.25, 0.02, 1.5
FEWEST_PATIENTS = 8
MOST_RECORDINGS = 4000
LOOK_S = 600.0


@dataclass(frozen=True)
class Likeness:
    """How alike the signals of every two patients are.

    Attributes
    ----------
    how : str
        What was compared, in words.
    patients : tuple of str
        Those whose signals could be compared.
    distance : ndarray, shape (n, n)
        The smallest over their recordings; infinite on the diagonal.
    limit : ndarray, shape (n,)
        Up to which distance a recording may be the patient's own.
    """

    how: str
    patients: tuple[str, ...]
    distance: Floats
    limit: Floats

    def ratio(self, one: int, other: int) -> float:
        """The distance of a pair in terms of the smaller one of either to anybody else; below 1 for mutual nearest."""
        rest = self.distance[[one, other]].copy()
        rest[0, other] = rest[1, one] = np.inf
        nearest = float(rest.min())
        return float(self.distance[one, other]) / nearest if nearest > 0 else np.inf


@dataclass(frozen=True)
class Suspicion:
    """Two patients who may be one person, and why."""

    patients: tuple[str, str]
    why: str


@dataclass(frozen=True)
class Identities:
    """All suspicions, and in words what was looked at."""

    suspicions: tuple[Suspicion, ...]
    looked_at: str


def suspected_identities(store: Store) -> Identities:
    """Patients who may be the same person.

    At most the first ten minutes of each recording are read.
    """
    n = len(store.patient_names)
    if n < 2:
        return Identities((), "there is one patient")
    likeness = likeness_of(store)
    found = {suspicion.patients: suspicion for suspicion in (*by_signals(likeness), *by_headers(store, likeness))}
    n_labels = len(store.meta["recordings"]["labels"])
    headers = "what headers say" if any(store.about) else f"{n_labels} labels of recordings (there are no headers)"
    said = f"{n} patients by {headers}" + (
        f" and {likeness.how}" if likeness else f", not by signals ({why_not(store)})"
    )
    return Identities(tuple(found[pair] for pair in sorted(found)), said + nearest_in_words(likeness))


def why_not(store: Store) -> str:
    """Why signals are not compared."""
    if len(store) > MOST_RECORDINGS:
        return f"more than {MOST_RECORDINGS} recordings"
    return f"fewer than {FEWEST_PATIENTS} patients with a beat or a spectrum"


def nearest_in_words(likeness: Likeness | None) -> str:
    """``; nearest: a and b (.03; the next to either .06)``."""
    if likeness is None:
        return ""
    one, other = np.unravel_index(np.argmin(likeness.distance), likeness.distance.shape)
    distance, ratio = float(likeness.distance[one, other]), likeness.ratio(int(one), int(other))
    names = sorted((likeness.patients[one], likeness.patients[other]))
    following = f"{distance / ratio:.3g}" if ratio > 0 else "far more"
    return f"; nearest: {names[0]} and {names[1]} (distance {distance:.3g}, the next to either {following})"


def by_signals(likeness: Likeness | None) -> list[Suspicion]:
    """Pairs whose signals are as alike as one person's and unlike everybody else's."""
    if likeness is None:
        return []
    found = []
    for one, other in zip(*np.nonzero(np.triu(likeness.distance <= likeness.limit[:, None])), strict=True):
        ratio, distance = likeness.ratio(int(one), int(other)), float(likeness.distance[one, other])
        if ratio <= MOST_RATIO:
            pair = ordered(likeness.patients[one], likeness.patients[other])
            times = f"{1 / ratio:.0f} times" if ratio > 1e-3 else "more than a thousand times"
            found.append(
                Suspicion(
                    pair,
                    f"their signals are {times} more alike than either is to anybody else's ({likeness.how}: "
                    f"distance {distance:.3g})",
                )
            )
    return found


def by_headers(store: Store, likeness: Likeness | None) -> list[Suspicion]:
    """Pairs whose headers or labels agree beyond chance, and whose signals do not speak against it."""
    n = len(store.patient_names)
    needed = math.log2(n * (n - 1) / 2) + MARGIN_BITS
    found = []
    for agreement in agreements(store):
        if agreement.bits < needed:
            break
        signals = said_by_signals(likeness, agreement.patients)
        if signals is None:
            continue
        lines = " and ".join(agreement.lines[:3])
        found.append(
            Suspicion(
                agreement.patients,
                f"their recordings say the same in {lines}, as two people of this cohort would once in "
                f"{2 ** (agreement.bits - needed + MARGIN_BITS):.0f} such cohorts{signals}",
            )
        )
    return found


def said_by_signals(likeness: Likeness | None, pair: tuple[str, str]) -> str | None:
    """What the signals say of a pair in words; None where they speak against it."""
    if likeness is None or not set(pair) <= set(likeness.patients):
        return ""
    one, other = (likeness.patients.index(name) for name in pair)
    every = likeness.distance[np.triu_indices(len(likeness.patients), 1)]
    rank = int((every < likeness.distance[one, other]).sum()) + 1
    if rank > max(1, NEAREST_SHARE * len(every)) and likeness.ratio(one, other) > 1:
        return None
    return f", and of {len(every)} pairs theirs is number {rank} in likeness ({likeness.how})"


def likeness_of(store: Store) -> Likeness | None:
    """Average beats where the channels are an ECG's, else spectra; None where too few patients can be compared."""
    if len(store) > MOST_RECORDINGS:
        return None
    leads = [number for number, channel in enumerate(store.channels) if channel.kind == "ecg"]
    found = compared(store, "average beat", leads) if leads else None
    return found or compared(store, "spectrum", list(range(len(store.channels))))


def compared(store: Store, what: str, columns: list[int]) -> Likeness | None:
    """The likeness of all patients by their average beats or their spectra."""
    make = average_beat if what == "average beat" else spectrum
    prints: list[Floats] = []
    whose: list[int] = []
    within: list[float] = []
    for number in range(len(store)):
        signal = np.asarray(store.signal(number)[: round(LOOK_S * store.sfreq)])[:, columns]
        own = make(signal, store.sfreq)
        if own is None:
            continue
        prints.append(own)
        within.append(0.0 if what == "average beat" else apart_within(signal, store.sfreq))
        whose.append(int(store.numbers["patient"][number]))
    patients, code = np.unique(np.array(whose, np.int64), return_inverse=True)
    if len(patients) < FEWEST_PATIENTS:
        return None
    beats = what == "average beat"
    every = beat_distances(prints, store.sfreq) if beats else spectrum_distances(prints)
    distance = np.full((len(patients), len(patients)), np.inf)
    np.minimum.at(distance, (code[:, None], code[None, :]), every)
    np.fill_diagonal(distance, np.inf)
    limit = np.full(len(patients), MOST_DISTANCE)
    if not beats:
        limit = np.zeros(len(patients))
        np.maximum.at(limit, code, MOST_OF_WITHIN * np.array(within))
    return Likeness(what, tuple(store.patient_names[i] for i in patients), distance, limit)


def apart_within(signal: NDArray[np.floating], sfreq: float) -> float:
    """Distance of the spectra of a recording's halves; 0 where they are too short."""
    middle = len(signal) // 2
    first, second = spectrum(signal[:middle], sfreq), spectrum(signal[middle:], sfreq)
    return 0.0 if first is None or second is None else float(spectrum_distances([first, second])[0, 1])


def ordered(one: str, other: str) -> tuple[str, str]:
    """A pair in the order of its names."""
    return (one, other) if one <= other else (other, one)
