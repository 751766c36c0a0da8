"""What the EEG floors reach on `smni_cmi`, alcoholic against control, each patient left out once.

    python benchmarks/eeg_floors.py --raw DIR [--floor NAME …]

The 14 patients of the part with 420 trials of 64 x 256; balanced class weights, since leaving a patient out makes the
other class the majority. Every window is predicted once; AUROC pools them all, and a patient is right when more than
half of the windows are. `biocl.evaluation.floors_eeg` holds the table that this prints.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np

SCALES = ("none", "window")


def main() -> None:
    """Print one line a floor and input scale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="folder of the native files")
    parser.add_argument("--floor", action="append", help="a floor; all of EEG by default")
    args = parser.parse_args()

    from biocl.datasets.registry import find_dataset
    from biocl.evaluation.floors import FloorArm, Windows, floor_rows, floors_for
    from biocl.evaluation.metrics import classification_metrics
    from biocl.evaluation.probe import fit_probe
    from biocl.evaluation.spec import ProbeSpec
    from biocl.signals.spec import ConditioningSpec
    from biocl.store.build import build_store
    from biocl.store.windows import default_windows
    from biocl.training import data
    from biocl.training.spec import InputScale

    def row_of(arm: FloorArm, table: data.WindowTable, windows: Windows) -> str:
        y, patient = table.rows["label"].astype(np.int64), table.rows["patient"]
        proba = np.zeros((len(y), 2))
        begin = time.process_time()
        for person in np.unique(patient):
            train = patient != person
            features = arm.floor.compute(windows, train, 0).astype(np.float32)
            probe = fit_probe(
                *(features[train], y[train], patient[train]),
                n_classes=2,
                spec=ProbeSpec(),
                classifier=arm.floor.classifier,
            )
            proba[~train] = probe.predict_proba(features[~train])
        found = classification_metrics(y, proba, table.names["label"])
        hit = proba.argmax(axis=1) == y
        right = sum(hit[patient == person].mean() > 0.5 for person in np.unique(patient))
        seconds = time.process_time() - begin
        return f"{arm.name:36} {found['accuracy']:8.3f} {found['auroc']:7.3f} {right:4d}/14 {seconds:7.1f}"

    with tempfile.TemporaryDirectory() as folder:
        dataset = find_dataset("smni_cmi")
        store = build_store(dataset, args.raw, Path(folder) / "store", ConditioningSpec(flat="keep"))
        table = default_windows(store)
        print(f"{'floor':36} {'accuracy':>8} {'AUROC':>7} {'right':>7} {'seconds':>7}")
        for scale in (one for one in get_args(InputScale) if one in SCALES):
            x = data.Windows(store, table, scale).arrays(np.arange(len(table)))
            windows = Windows(x, table.sfreq, table.rows["recording"])
            for arm in floor_rows(floors_for("eeg", windows), [scale], per_recording=False):
                wanted = arm.floor.name in args.floor if args.floor else True
                if wanted and arm.floor.name != "majority":
                    print(row_of(arm, table, windows), flush=True)


if __name__ == "__main__":
    main()
