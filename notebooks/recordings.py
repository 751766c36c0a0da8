"""Real recordings where they are at hand, so that a notebook knows what it shows."""

from __future__ import annotations

import os
from pathlib import Path

import biocl
from biocl.commands.catalogue import state_of
from biocl.datasets.registry import find_dataset
from biocl.store.store import Store


def at_hand(name: str, folder: str) -> Store | None:
    """The store of a published data set, or None where its recordings are not here; nothing is downloaded.

    It is opened where it is prepared, and else made from its native files: those of ``biocl data prepare NAME
    --download`` or, for the tests, those of `folder` below ``BIOCL_TEST_DATA``.
    """
    dataset = find_dataset(name)
    if state_of(dataset) in ("prepared", "here"):
        return biocl.prepare(name)
    tested = os.environ.get("BIOCL_TEST_DATA")
    if tested and (Path(tested) / folder).is_dir():
        return biocl.prepare(name, raw=Path(tested) / folder)
    return None
