"""Damage to files, for the tests that read what is left of them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FUZZ = settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
KINDS = ("replace", "replace", "insert", "remove", "repeat", "cut", "zero")


@st.composite
def damages(draw: st.DrawFn, data: bytes, *, words: Sequence[bytes] = (), head: int | None = None) -> bytes:
    """`data` with one to three pieces changed, left out, repeated, moved in or cut off.

    Three in four of the new pieces are among `words`, and three in four places in the first `head` bytes, where
    these are given.
    """
    for _ in range(draw(st.integers(1, 3))):
        if not data:
            break
        most = min(head, len(data)) if head is not None and draw(st.integers(0, 3)) else len(data)
        start = draw(st.integers(0, most - 1))
        stop = min(len(data), start + draw(st.sampled_from([1, 1, 1, 2, 4, 8, 40])))
        new = draw(st.sampled_from(words) if words and draw(st.integers(0, 3)) else st.binary(min_size=1, max_size=4))
        data = {
            "replace": data[:start] + new + data[start + len(new) :],
            "insert": data[:start] + new + data[start:],
            "remove": data[:start] + data[stop:],
            "repeat": data[:stop] + data[start:],
            "cut": data[:start],
            "zero": data[:start] + b"\0" * (stop - start) + data[stop:],
        }[draw(st.sampled_from(KINDS))]
    return data
