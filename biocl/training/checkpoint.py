"""Checkpoints: safetensors and a JSON sidecar, complete or absent, with everything an exact resume needs."""

from __future__ import annotations

import hashlib
import hmac
import io
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from biocl.errors import DataError, UsageError
from biocl.files import new_folder, read_json, write_json
from biocl.training.fitted import Fitted

KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read back.

    Attributes
    ----------
    weights, average : dict of str to Tensor
        The model after the last step, and the average of the weights (empty when there is none).
    optimiser : dict
        State of the optimiser.
    state : dict
        Step, epoch, position in the epoch, number of averaged iterates, and what the sidecar says of data.
    fitted : Fitted
        Scaler and alignment of the training windows.
    """

    weights: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    state: dict[str, Any]
    fitted: Fitted = field(default_factory=Fitted)

    @property
    def best_weights(self) -> dict[str, torch.Tensor]:
        """The averaged weights where there are any, else the last ones."""
        return self.average or self.weights


def patient_hashes(dataset: str, version: str, patients: Iterable[str]) -> list[str]:
    """Keyed hashes of patients, equal across runs on the same data set and version.

    They let a later evaluation see that a test patient was trained on. This is a check, not anonymisation:
    who knows the data set can hash its patient list.
    """
    key = f"biocl:{dataset}:{version}".encode()
    return sorted(hmac.new(key, patient.encode(), "sha256").hexdigest()[:32] for patient in patients)


def digests_of(weights: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """SHA-256 (hex) of the weights of each part of a model: ``encoder``, ``projectors``, ``heads``."""
    hashed: dict[str, Any] = {}
    for name, value in sorted(weights.items()):
        part = hashed.setdefault(name.partition(".")[0], hashlib.sha256())
        part.update(name.encode())
        part.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return {part: one.hexdigest() for part, one in hashed.items()}


def save_checkpoint(
    folder: Path,
    *,
    weights: Mapping[str, torch.Tensor],
    average: Mapping[str, torch.Tensor],
    optimiser: Mapping[str, Any] | None,
    state: Mapping[str, Any],
    fitted: Fitted | None = None,
) -> Path:
    """Write ``folder/step-N`` in one step and remove all but the newest two."""
    final = folder / f"step-{state['step']:07d}"
    if final.exists():
        shutil.rmtree(final)
    with new_folder(final) as partial:
        save_tensors(partial / "model.safetensors", weights)
        if average:
            save_tensors(partial / "average.safetensors", average)
        if optimiser is not None:
            buffer = io.BytesIO()
            torch.save(optimiser, buffer)
            (partial / "optimiser.pt").write_bytes(buffer.getbuffer())
        save_fitted(partial, fitted)
        write_json(partial / "state.json", dict(state))
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def save_fitted(folder: Path, fitted: Fitted | None) -> None:
    """Write ``fitted.safetensors`` (float64) if anything was fitted."""
    if fitted is not None and (arrays := fitted.arrays()):
        save_tensors(folder / "fitted.safetensors", {name: torch.from_numpy(array) for name, array in arrays.items()})


def load_fitted(folder: Path) -> Fitted:
    """What `save_fitted` wrote; nothing where there is no file."""
    path = folder / "fitted.safetensors"
    if not path.exists():
        return Fitted()
    return Fitted.from_arrays({name: tensor.numpy() for name, tensor in load_file(path).items()})


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors as safetensors; Python does the writing, so that a full disk is told from other errors."""
    path.write_bytes(save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def load_checkpoint(folder: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read the newest checkpoint of a run's ``checkpoints`` folder (or of one ``step-N`` folder)."""
    found = [folder] if (folder / "state.json").is_file() else checkpoints(folder)
    if not found:
        raise UsageError(
            "This run has no checkpoint",
            folder,
            "Run `biocl pretrain` to its first checkpoint, or name another run",
        )
    path = found[-1]
    try:
        average = path / "average.safetensors"
        optimiser = path / "optimiser.pt"
        return Checkpoint(
            weights=load_file(path / "model.safetensors", device=str(device)),
            average=load_file(average, device=str(device)) if average.exists() else {},
            optimiser=torch.load(optimiser, map_location="cpu", weights_only=True) if optimiser.exists() else {},
            state=read_json(path / "state.json"),
            fitted=load_fitted(path),
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise DataError(
            f"This checkpoint cannot be read: {error}",
            path,
            "Delete this folder to fall back to the one before",
        ) from error
