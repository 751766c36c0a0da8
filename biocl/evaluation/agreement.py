"""Do devices agree on a moment? The cosine of what two devices say of one window, and of different ones.

A score after fine-tuning can hide an inverted loss: an encoder that pulls other moments together than it should may
classify as well as one that does not. Labels are not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from biocl.objectives.model import Model
from biocl.randomness import stream
from biocl.training.data import Windows
from biocl.training.fitting import pieces
from biocl.views.view import View


@dataclass(frozen=True)
class Agreement:
    """Mean cosine over pairs of devices.

    Attributes
    ----------
    aligned : float
        Of one window on two devices.
    shuffled : float
        Of a window on one device and another window of the same patient on the other.
    """

    aligned: float
    shuffled: float

    def to_json(self) -> dict[str, Any]:
        """Both numbers."""
        return {"aligned": self.aligned, "shuffled": self.shuffled}


@torch.no_grad()
def agreement(
    model: Model, windows: Windows, indices: np.ndarray, *, device: torch.device, seed: int = 0
) -> Agreement | None:
    """Mean cosines of table rows `indices`, in evaluation mode; None where fewer than two devices are read.

    Windows that a device of a pair lacks do not count for that pair, nor do windows of a patient with one alone.
    """
    vectors = device_vectors(model, windows, indices, device=device)
    if len(vectors) < 2:
        return None
    present = windows.present(indices)
    partner = other_window(windows.table.rows["patient"][indices], seed)
    aligned, shuffled = [], []
    for (i, one), (j, other) in combinations(enumerate(F.normalize(v, dim=1) for v in vectors.values()), 2):
        both = present[:, i] & present[:, j]
        aligned.append(float((one * other).sum(dim=1)[torch.from_numpy(both)].mean()))
        met = (partner >= 0) & present[:, i] & present[partner, j]
        shuffled.append(float((one * other[torch.from_numpy(partner)]).sum(dim=1)[torch.from_numpy(met)].mean()))
    if np.isnan(aligned).all() or np.isnan(shuffled).all():
        return None  # no two devices share a window
    return Agreement(float(np.nanmean(aligned)), float(np.nanmean(shuffled)))


@torch.no_grad()
def device_vectors(
    model: Model, windows: Windows, indices: np.ndarray, *, device: torch.device, batch_size: int = 256
) -> dict[str, torch.Tensor]:
    """What each device says of table rows `indices`, (n, D) each, in evaluation mode."""
    was_training = model.training
    model.eval()
    found: dict[str, list[torch.Tensor]] = {}
    try:
        for piece in pieces(indices, batch_size):
            batch = windows.batch(piece, device)
            view = View(batch.x, valid=batch.valid, present=batch.present)
            for name, latents in model.latents(model.trunk(view), view).devices.items():
                found.setdefault(name, []).append(latents.vec.float().cpu())
    finally:
        model.train(was_training)
    return {name: torch.cat(parts) for name, parts in found.items()}


def other_window(patient: np.ndarray, seed: int) -> np.ndarray:
    """For each window another one of the same patient, (n,); -1 where there is none."""
    rng = stream(seed, "agreement")
    out = np.full(len(patient), -1)
    for one in np.unique(patient):
        mine = rng.permutation(np.flatnonzero(patient == one))
        if len(mine) > 1:
            out[mine] = np.roll(mine, 1)
    return out
