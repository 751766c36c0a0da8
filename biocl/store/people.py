"""What headers and labels say of the people: words that two patients share although they should be rare.

A store keeps the words of a header as keyed hashes, so that two recordings can be compared and names do not lie about
in another place. This is a check, not anonymisation: who knows a word can look for it.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from biocl.store.store import Store

NUMBER = "#"
"""Begins the hash of a word that holds a digit: ages, dates and codes differ between people more than prose does."""
RARE = 8
PROSE_BITS = 5.0
LINES_COUNTED = 2
Line = tuple[str, ...]


def hashed_words(dataset: str, version: str, lines: Iterable[str]) -> tuple[Line, ...]:
    """Every word of every line as 16 hexadecimal digits of its HMAC over data set and version."""
    key = f"{dataset}|{version}|header".encode()
    return tuple(tuple(hashed(key, word) for word in line.split()) for line in lines)


def hashed(key: bytes, word: str) -> str:
    """One word; what is written in capitals or not is the same."""
    mark = NUMBER if any(letter.isdigit() for letter in word) else ""
    return mark + hmac.new(key, word.lower().encode(), hashlib.sha256).hexdigest()[:16]


@dataclass(frozen=True)
class Agreement:
    """Two patients whose headers or labels agree.

    Attributes
    ----------
    patients : tuple of two str
    lines : tuple of str
        What agrees: ``line 1 of the header``, ``label age``.
    bits : float
        Minus the binary logarithm of how often two people would agree so by chance, from how common each word is among
        the other patients. Words of a line count as independent, but prose at most `PROSE_BITS` a line; of all lines
        the best `LINES_COUNTED` count, since what is written of one illness comes in groups.
    """

    patients: tuple[str, str]
    lines: tuple[str, ...]
    bits: float


def agreements(store: Store) -> list[Agreement]:
    """Pairs of patients of whom at least one rare line is equal, those that agree most first."""
    lines = lines_of(store)
    owners: dict[tuple[str, Line], set[str]] = defaultdict(set)
    words: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for patient, own in lines.items():
        for title, line in own:
            owners[title, line].add(patient)
        for title, place, word in {(title, place, word) for title, line in own for place, word in enumerate(line)}:
            words[title, place][word] += 1
    pairs = {pair for there in owners.values() if 1 < len(there) <= RARE for pair in combinations(sorted(there), 2)}
    found = []
    for one, other in sorted(pairs):
        shared = sorted(lines[one] & lines[other])
        bits = {title: 0.0 for title, _ in shared}
        for title, line in shared:
            bits[title] = max(bits[title], bits_of(title, line, words, len(lines)))
        best = sorted(bits.values(), reverse=True)[:LINES_COUNTED]
        found.append(Agreement((one, other), tuple(sorted(bits, key=lambda title: -bits[title])), sum(best)))
    return sorted(found, key=lambda agreement: -agreement.bits)


def lines_of(store: Store) -> dict[str, set[tuple[str, Line]]]:
    """Of every patient the lines of all their recordings, each with what it is called.

    Labels are looked at where no header was kept, since the one is made from the other.
    """
    found: dict[str, set[tuple[str, Line]]] = {name: set() for name in store.patient_names}
    columns = store.meta["recordings"]
    for number, patient in enumerate(columns["patient"]):
        for place, words in enumerate(store.about[number] if store.about else []):
            if words:
                found[patient].add((f"line {place + 1} of the header", tuple(words)))
        for key, values in columns["labels"].items():
            if values[number] and not any(store.about):
                found[patient].add((f"label {key}", hashed_words("", "", [values[number]])[0]))
    return found


def bits_of(title: str, line: Sequence[str], words: dict[tuple[str, int], Counter[str]], n_patients: int) -> float:
    """How surprising it is that two patients share a line, in bits.

    Of a word, how rare it is among the other patients, or how rare it is that any two of them share a word in its place
    (where every one is another, as codes are): what says more.
    """
    numbers = prose = 0.0
    for place, word in enumerate(line):
        counts = words[title, place]
        others = max(0, counts[word] - 2)
        equal = sum(n * (n - 1) // 2 for n in counts.values()) - counts[word] * (counts[word] - 1) // 2
        equal += others * (others - 1) // 2
        rest = max(1, n_patients - 2)
        rate = min((others + 0.5) / rest, (equal + 0.5) / max(1, rest * (rest - 1) // 2))
        bits = -math.log2(min(1.0, rate))
        if word.startswith(NUMBER):
            numbers += bits
        else:
            prose += bits
    if title.startswith("label") and len(line) > 1:  # several words are a description, its numbers part of it
        return min(numbers + prose, PROSE_BITS)
    return numbers + min(prose, PROSE_BITS)
