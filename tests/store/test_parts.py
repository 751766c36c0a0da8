"""Windows derived in parts are those derived at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from biocl.datasets.registry import find_dataset
from biocl.store import parts
from biocl.store.build import build_store
from biocl.store.spec import TrialsSpec, WindowsSpec
from biocl.store.store import Store
from biocl.store.windows import derive_windows

EVENT = {"kind": "event", "events": "beat", "before_s": 0.3, "after_s": 0.5}
SLIDING = {"kind": "sliding", "length_s": 2.0, "step_s": 1.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build_store(find_dataset("synthetic-ecg"), None, tmp_path_factory.mktemp("store") / "ecg")


@pytest.mark.parametrize(
    ("windows", "trials", "aux"),
    [
        (EVENT, {"kind": "event", "events": "trial"}, "rr-intervals"),
        (EVENT, {"kind": "neighbours", "n_samples": 7}, None),
        (SLIDING, {"kind": "recording"}, None),
        (SLIDING, {"kind": "stretch", "length_s": 30.0}, None),
        ({"kind": "trial"}, {"kind": "event", "events": "trial"}, None),
        ({"kind": "trial", "length_s": 3.0}, {"kind": "event", "events": "trial"}, None),
    ],
)
def test_parts_make_the_whole(
    windows: dict[str, Any], trials: dict[str, Any], aux: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, held = TypeAdapter(WindowsSpec).validate_python(windows), TypeAdapter(TrialsSpec).validate_python(trials)
    found = []
    for size in (1000, 1, 3):
        monkeypatch.setattr(parts, "PART", size)
        classes = None if held.kind in ("event", "neighbours") else []
        found.append(derive_windows(store, cut, held, classes, aux=aux))
    whole, *others = found
    for other in others:
        assert np.array_equal(other.rows, whole.rows)
        assert np.array_equal(other.aux, whole.aux)
        assert (other.names, other.dropped, other.aux_names) == (whole.names, whole.dropped, whole.aux_names)
        assert other.digest() == whole.digest()


def test_the_pieces_hold_every_recording(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", 3)
    pieces = list(parts.in_parts(store))
    assert [name for piece in pieces for name in piece.recording_names] == list(store.recording_names)
    assert sum(len(piece.events) for piece in pieces) == len(store.events)
    assert all(piece.events["recording"].max() < len(piece) for piece in pieces)
