"""Order and spelling of names: patients, recordings, classes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts ``p2`` before ``p10`` and depends on nothing but the name."""
    pieces = (piece for piece in re.split(r"(\d+)", name) if piece)
    return (*((0, int(p), p) if p.isdecimal() and p.isascii() else (1, 0, p) for p in pieces), (2, 0, name))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence with the nearest known name, or with the first known ones; empty if nothing is known."""
    names = sorted(set(known), key=natural_key)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"Known: {shown}" if names else ""
