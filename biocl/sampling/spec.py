"""Keys of ``batch:`` in a configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from biocl.spec import Spec


class HierarchicalBatch(Spec):
    """Patients × trials × samples, re-drawn every epoch."""

    kind: Literal["hierarchical"]
    """How batches are made."""
    n_patients: int = Field(8, ge=1)
    """Patients in a batch; all get equal turns."""
    n_trials: int = Field(2, ge=1)
    """Trials of each patient in a batch."""
    n_samples: int = Field(8, ge=1)
    """Windows of each trial in a batch."""

    @property
    def batch_size(self) -> int:
        """Windows in a full batch."""
        return self.n_patients * self.n_trials * self.n_samples


class FrozenTrialsBatch(Spec):
    """COMET's own order: whole trials side by side, membership decided once."""

    kind: Literal["frozen-trials"]
    """How batches are made."""
    size: int = Field(256, ge=1)
    """Windows in a batch; the last may be shorter."""
    order_seed: int = Field(42, ge=0, le=2**32 - 1)
    """Seed of the order of trials that is decided once."""

    @property
    def batch_size(self) -> int:
        """Windows in a full batch."""
        return self.size


class RandomBatch(Spec):
    """Windows drawn without looking at patients or trials."""

    kind: Literal["random"]
    """How batches are made."""
    size: int = Field(256, ge=1)
    """Windows in a batch; the last may be shorter."""

    @property
    def batch_size(self) -> int:
        """Windows in a full batch."""
        return self.size


BatchSpec = Annotated[HierarchicalBatch | FrozenTrialsBatch | RandomBatch, Field(discriminator="kind")]
