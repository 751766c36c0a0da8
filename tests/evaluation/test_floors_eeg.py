"""The EEG floors reproduce their own rows on real recordings; `benchmarks/eeg_floors.py` prints all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from biocl.evaluation.floors import FLOORS, Windows
from biocl.evaluation.metrics import classification_metrics
from biocl.evaluation.probe import fit_probe
from biocl.evaluation.spec import ProbeSpec
from biocl.store.table import WindowTable
from biocl.training import data
from biocl.training.spec import InputScale


@pytest.fixture(scope="module")
def trials(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> data.Windows:
    """420 trials of 14 people, as `biocl data prepare smni_cmi` stores them."""
    from biocl.commands.prepare import prepare
    from biocl.datasets.registry import find_dataset
    from biocl.store.windows import default_windows

    raw = test_data / "eeg" / "smni_cmi"
    if not raw.is_dir():
        pytest.skip(f"smni_cmi is not under {raw}")
    store = prepare(find_dataset("smni_cmi"), raw=raw, out=tmp_path_factory.mktemp("smni") / "store")
    return data.Windows(store, default_windows(store), "none")


def left_out_one_by_one(name: str, windows: Windows, table: WindowTable) -> np.ndarray:
    """Class probabilities of every window, by a floor that has not seen its patient."""
    y, patient = table.rows["label"].astype(np.int64), table.rows["patient"]
    proba = np.zeros((len(y), 2))
    for person in np.unique(patient):
        train = patient != person
        features = FLOORS[name].compute(windows, train, 0).astype(np.float32)
        how = {"n_classes": 2, "spec": ProbeSpec(), "classifier": FLOORS[name].classifier}
        probe = fit_probe(features[train], y[train], patient[train], **how)
        proba[~train] = probe.predict_proba(features[~train])
    return proba


@pytest.mark.parametrize(
    ("name", "scale", "accuracy", "auroc"),
    [
        ("amplitude", "none", 0.655, 0.667),
        ("log-variance", "none", 0.698, 0.647),
        ("band-power", "none", 0.795, 0.851),
        ("band-power", "window", 0.669, 0.742),
        ("tangent-space", "none", 0.776, 0.802),
        ("minirocket", "none", 0.795, 0.885),
    ],
)
def test_row(trials: data.Windows, name: str, scale: InputScale, accuracy: float, auroc: float) -> None:
    table = trials.table
    assert len(np.unique(table.rows["patient"])) == 14
    assert np.bincount(table.rows["label"]).tolist() == [210, 210]
    x = data.Windows(trials.store, table, scale).arrays(np.arange(420))
    assert x.shape == (420, 64, 256)
    proba = left_out_one_by_one(name, Windows(x, table.sfreq, table.rows["recording"]), table)
    found = classification_metrics(table.rows["label"], proba, table.names["label"])
    assert found["accuracy"] == pytest.approx(accuracy, abs=0.01)
    assert found["auroc"] == pytest.approx(auroc, abs=0.01)
