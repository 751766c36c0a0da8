"""Whether devices agree on a moment, for every encoder of a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from biocl.commands.arms import reads_devices_apart
from biocl.commands.study import Fold, encoder_of
from biocl.evaluation.agreement import agreement
from biocl.evaluation.protocol import PRETRAINED, UNTRAINED


def agreements(folds: Sequence[Fold]) -> list[dict[str, Any]]:
    """Mean cosines over folds of what two devices say, of the windows judged; nothing where devices are not read apart.

    Parameters
    ----------
    folds : sequence of Fold
        Those with an encoder of their own: of the experiment and of its variants.
    """
    apart = [fold for fold in folds if reads_devices_apart(fold.experiment)]
    rows = {}
    for arm in (PRETRAINED, *dict.fromkeys(fold.variant for fold in apart if fold.variant), UNTRAINED):
        variant = "" if arm in (PRETRAINED, UNTRAINED) else arm
        found = [
            agreement(encoder_of(fold, arm), fold.windows, fold.judged, device=fold.device, seed=fold.experiment.seed)
            for fold in apart
            if fold.variant == variant
        ]
        told = [one for one in found if one is not None]
        if told:
            rows[arm] = {
                "aligned": float(np.mean([one.aligned for one in told])),
                "shuffled": float(np.mean([one.shuffled for one in told])),
                "n_folds": len(told),
                "folds": [one.to_json() for one in told],
            }
    return [{"arm": arm, **row} for arm, row in rows.items()]
