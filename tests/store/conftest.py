"""Small stores made of recordings in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biocl.datasets.dataset import Dataset, Entry
from biocl.signals.recording import Channel, Events, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.store import Store

ACCEPT = ConditioningSpec(nan="keep", flat="keep", range="keep")
MakeStore = Callable[..., Store]


def dataset_of(recordings: Sequence[Recording], **keys: Any) -> Dataset:
    """A data set whose recordings are in memory."""
    by_name = {recording.name: recording for recording in recordings}
    return Dataset(
        **{
            "name": "memory",
            "modality": "other",
            "version": "1",
            "entries": lambda raw: [Entry(r.name, r.patient, r.session, r.source) for r in recordings],
            "read": lambda entry: by_name[entry.name],
            "classes": (),
            **keys,
        }
    )


def recording_of(
    name: str,
    n_times: int = 100,
    n_chans: int = 2,
    sfreq: float = 10.0,
    patient: str | None = None,
    events: Events | None = None,
    **keys: Any,
) -> Recording:
    """A recording of noise around another mean in every channel."""
    rng = np.random.default_rng([len(name), *name.encode()])
    signal = rng.normal(np.arange(n_chans), 1 + np.arange(n_chans), (n_times, n_chans))
    channels = [Channel(f"c{i}", "other", "NU") for i in range(n_chans)]
    return Recording.from_array(name, patient or f"p-{name}", sfreq, signal, channels, events=events, **keys)


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """``make_dataset(recordings, **keys)``."""
    return dataset_of


@pytest.fixture
def make_recording() -> Callable[..., Recording]:
    """``make_recording(name, ...)``."""
    return recording_of


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """``make_store(recordings, **keys)`` builds a store of recordings in memory."""

    def make(recordings: Sequence[Recording], conditioning: ConditioningSpec = ACCEPT, **keys: Any) -> Store:
        number = len(list(tmp_path.glob("store-*")))
        return build_store(dataset_of(recordings, **keys), None, tmp_path / f"store-{number}", conditioning)

    return make
