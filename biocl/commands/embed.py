"""Embeddings of a store's windows, as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from biocl.commands.prepare import check_channels, window_table, windows_spec
from biocl.commands.setup import build_model, chosen_devices
from biocl.config import load_experiment
from biocl.errors import UsageError
from biocl.evaluation.finetuning import load_encoder
from biocl.experiment import DataSpec
from biocl.files import write_bytes
from biocl.store.store import Store
from biocl.training.checkpoint import load_checkpoint
from biocl.training.data import Windows, embed
from biocl.training.optimisation import resolve_device


def embed_store(run: Path, store: Path, out: Path, *, device: str = "auto") -> str:
    """Embed every window of a store with a pretrained run.

    Parameters
    ----------
    run : Path
        Run folder of a pretraining; windows are cut, scaled and aligned as its configuration says, by what was
        fitted on its training windows.
    store : Path
        A store with the channels and sampling rate that the encoder was trained on.
    out : Path
        An ``.npz`` file: ``embedding (n, D)``, and per window ``recording, patient, trial, label`` (text; empty: none),
        ``start_s``.

    Raises
    ------
    UsageError
        The store's channels or sampling rate differ from those of the training, or `out` is no ``.npz``.
    """
    if out.suffix != ".npz":
        raise UsageError("Embeddings are written as .npz", out, "Name the file something.npz")
    experiment = load_experiment(run / "config.yaml")
    checkpoint = load_checkpoint(run / "checkpoints")
    opened = Store.open(store)
    data = every_window(experiment.data, opened)
    devices = chosen_devices(data)
    check_channels(checkpoint.state, opened, devices)
    table = window_table(opened, data)
    windows = Windows(opened, table, data.input_scale, data.align, fitted=checkpoint.fitted, devices=devices)
    model = build_model(experiment, windows, terms=[])
    load_encoder(model, checkpoint.best_weights)
    target = resolve_device(device)
    rows = np.arange(len(windows))
    vectors = embed(model.to(target), windows, rows, device=target)
    table = windows.table
    labels = np.array([*table.classes, ""])
    columns = {
        "embedding": vectors,
        "start_s": table.rows["start"] / table.sfreq,
        "trial": table.rows["trial"],
        "label": labels[table.rows["label"]],
        **{name: np.array(table.names[name])[table.rows[name]] for name in ("recording", "patient")},
    }
    write_npz(out, columns)
    said = "".join(f"; {mark}" for mark in windows.marks)
    # Which windows lacked a device depends on the run's parts, which these recordings may have nothing to do with.
    said += "; data.missing is not applied: every device is read" if data.missing else ""
    return f"{out}: {vectors.shape[0]} windows, {vectors.shape[1]} features{said}"


def every_window(data: DataSpec, store: Store) -> DataSpec:
    """The same keys, but windows without a label are kept: an embedding needs none."""
    cut = windows_spec(store, data).model_copy(update={"keep_unlabelled": True})
    return data.model_copy(update={"windows": cut})


def write_npz(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Write an ``.npz`` in one step."""
    import io

    buffer = io.BytesIO()
    np.savez(buffer, **columns)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())
