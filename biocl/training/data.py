"""From row numbers of the window table to a batch of tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from biocl.objectives.batch import Batch
from biocl.objectives.model import Model
from biocl.store.gather import Scale, gather
from biocl.store.store import Store
from biocl.store.table import WindowTable


@dataclass(frozen=True)
class Windows:
    """A store, its window table, and how windows are scaled when they are gathered.

    Attributes
    ----------
    store : Store
    table : WindowTable
    scale : str
        ``none``, ``window`` or ``recording``.
    """

    store: Store
    table: WindowTable
    scale: Scale

    def __len__(self) -> int:
        return len(self.table)

    @property
    def n_chans(self) -> int:
        """Channels of a window."""
        return int(self.store.signals.shape[1])

    @property
    def n_times(self) -> int:
        """Samples of a window."""
        return self.table.n_times

    @property
    def n_aux(self) -> int:
        """Auxiliary inputs a window."""
        return self.table.aux.shape[1]

    def arrays(self, indices: np.ndarray) -> np.ndarray:
        """Scaled windows (B, n_chans, n_times) of table rows `indices`, float32."""
        return gather(self.store, self.table, indices, scale=self.scale).transpose(0, 2, 1)

    def batch(self, indices: np.ndarray, device: torch.device) -> Batch:
        """Everything a step needs of table rows `indices`."""
        rows = self.table.rows[indices]
        x = torch.from_numpy(gather(self.store, self.table, indices, scale=self.scale)).to(device)

        def column(name: str) -> torch.Tensor:
            return torch.from_numpy(rows[name].astype(np.int64)).to(device)

        return Batch(
            x=x.transpose(1, 2),
            recording=column("recording"),
            patient=column("patient"),
            trial=column("trial"),
            start=column("start"),
            length=column("length"),
            label=column("label"),
            aux=None if not self.n_aux else torch.from_numpy(self.table.aux[indices]).to(device),
            valid=valid_steps(rows, device),
        )


def valid_steps(rows: np.ndarray, device: torch.device) -> torch.Tensor | None:
    """Boolean (B, n_times), False on padding; None when nothing is padded."""
    if (rows["valid_length"] == rows["length"]).all():
        return None
    steps = np.arange(int(rows["length"][0]))
    first = rows["valid_start"][:, None]
    return torch.from_numpy((steps >= first) & (steps < first + rows["valid_length"][:, None])).to(device)


def pieces(indices: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive runs of at most `size` indices."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


@torch.no_grad()
def embed(
    model: Model, windows: Windows, indices: np.ndarray, *, device: torch.device, batch_size: int = 256
) -> np.ndarray:
    """Embeddings (n, D) float32 of table rows `indices`, in evaluation mode.

    The embedding of a window depends neither on its batch nor on the order.
    """
    was_training = model.training
    model.eval()
    try:
        out = np.empty((len(indices), model.vec_dim), dtype=np.float32)
        done = 0
        for piece in pieces(indices, batch_size):
            batch = windows.batch(piece, device)
            out[done : done + len(piece)] = model(batch.x, batch.valid).float().cpu().numpy()
            done += len(piece)
        return out
    finally:
        model.train(was_training)
