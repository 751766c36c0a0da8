"""How many windows of a study lack a device that was taken away, and of which classes they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from biocl.commands.arms import Arms
from biocl.commands.study import Fold
from biocl.evaluation.protocol import PRETRAINED
from biocl.store.presence import device_columns


def lacking_windows(arms: Arms) -> list[dict[str, Any]]:
    """For the experiment, each variant and each device that is taken away: shares of the windows, over all folds.

    Returns
    -------
    list of dict
        ``arm``, ``device`` and, of training windows (``train``) and of those judged (``test`` or ``validation``),
        ``share`` and ``classes``: the classes that lack it, empty where all do or none does.
    """
    rows = []
    for name in dict.fromkeys(name for _, name in arms):
        folds = next(folds for (_, variant), folds in arms.items() if variant == name)
        for device in dict.fromkeys(rule.device for rule in folds[0].cohort.missing):
            parts = ("train", folds[0].experiment.evaluate.part)
            found = {part: lacking_in(folds, part, device) for part in parts}
            rows.append({"arm": name or PRETRAINED, "device": device, **found})
    return rows


def lacking_in(folds: Sequence[Fold], part: str, device: str) -> dict[str, Any]:
    """Share and classes of the windows of a part, over all folds, that lack a device."""
    number = list(device_columns(folds[0].cohort.windows.store.channels)).index(device)
    table = folds[0].cohort.windows.table
    lacks, labels = [], []
    for fold in folds:
        missing = fold.windows.missing
        assert missing is not None
        lacks.append(missing[fold.parts[part], number])
        labels.append(table.label[fold.parts[part]])
    gone, label = np.concatenate(lacks), np.concatenate(labels)
    of_class = {name: gone[label == i].any() for i, name in enumerate(table.classes) if (label == i).any()}
    some = any(of_class.values()) and not all(of_class.values())
    return {
        "share": float(gone.mean()) if len(gone) else 0.0,
        "classes": [name for name, lacking in of_class.items() if lacking] if some else [],
    }
