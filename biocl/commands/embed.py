"""Embeddings of a store's windows, or of arrays, as arrays and as a file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from biocl.commands.arrays import array_store, array_windows, trained_channels
from biocl.commands.prepare import check_channels, window_table, windows_spec
from biocl.commands.setup import build_model, chosen_devices
from biocl.config import load_experiment
from biocl.errors import UsageError
from biocl.evaluation.finetuning import load_encoder
from biocl.experiment import DataSpec, Experiment
from biocl.files import scratch_folder, write_bytes
from biocl.store.spec import ChannelTarget
from biocl.store.store import Store
from biocl.store.targets import channel_columns
from biocl.training.checkpoint import Checkpoint, load_checkpoint
from biocl.training.data import Windows, embed
from biocl.training.optimisation import resolve_device


class Embedding(NamedTuple):
    """Embeddings with what is known of each window.

    Attributes
    ----------
    vectors : numpy.ndarray of float32, shape (n_windows, D)
    windows : dict of str to numpy.ndarray, each of shape (n_windows,)
        ``start_s, trial, label, recording, patient`` (label: text; empty for none).
    marks : tuple of str
        What has to be said of them.
    """

    vectors: np.ndarray
    windows: dict[str, np.ndarray]
    marks: tuple[str, ...]


def embed_store(run: Path, store: Path, out: Path, *, device: str = "auto") -> str:
    """Embed every window of a store with a pretrained run, and write an ``.npz`` file.

    Parameters
    ----------
    run, store : Path
        As in `embed_windows`.
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
    found = embed_windows(run, Store.open(store), device=device)
    write_npz(out, {"embedding": found.vectors, **found.windows})
    said = "".join(f"; {mark}" for mark in found.marks)
    return f"{out}: {found.vectors.shape[0]} windows, {found.vectors.shape[1]} features{said}"


def embed_windows(run: Path, store: Store, *, device: str = "auto") -> Embedding:
    """Embed every window of a store with a pretrained run.

    Parameters
    ----------
    run : Path
        Run folder of a pretraining; windows are cut, scaled and aligned as its configuration says, by what was
        fitted on its training windows.
    store : Store
        With the channels and sampling rate that the encoder was trained on.
    device : str

    Raises
    ------
    UsageError
        The store's channels or sampling rate differ from those of the training.
    """
    experiment = load_experiment(run / "config.yaml")
    checkpoint = load_checkpoint(run / "checkpoints")
    data = every_window(experiment.data, store)
    devices = chosen_devices(data)
    # A channel that was predicted in training is not read here either; it need not be there.
    named = channel_columns(store.channels, data.target.name) if isinstance(data.target, ChannelTarget) else []
    predicted = named[0] if named else None
    check_channels(checkpoint.state, store, devices, predicted)
    windows = Windows(
        store,
        window_table(store, data),
        data.input_scale,
        data.align,
        fitted=checkpoint.fitted,
        devices=devices,
        normalise=data.normalise,
        target_column=predicted,
    )
    vectors = encoded(experiment, checkpoint, windows, np.arange(len(windows)), device=device)
    # Which windows lacked a device depends on the run's parts, which these recordings may have nothing to do with.
    missing = ("data.missing is not applied: every device is read",) if data.missing else ()
    return Embedding(vectors, said_of(windows), (*windows.marks, *missing))


def encoded(
    experiment: Experiment, checkpoint: Checkpoint, windows: Windows, rows: np.ndarray, *, device: str = "auto"
) -> np.ndarray:
    """Embeddings (n, D) float32 of table rows by the encoder of a checkpoint."""
    model = build_model(experiment, windows, terms=[])
    load_encoder(model, checkpoint.best_weights)
    target = resolve_device(device)
    return embed(model.to(target), windows, rows, device=target)


def said_of(windows: Windows) -> dict[str, np.ndarray]:
    """What the window table says of each window, as columns with names in place of numbers."""
    table = windows.table
    return {
        "start_s": table.rows["start"] / table.sfreq,
        "trial": table.rows["trial"],
        "label": np.array([*table.classes, ""])[table.rows["label"]],
        **{name: np.array(table.names[name])[table.rows[name]] for name in ("recording", "patient")},
    }


def embed_arrays(
    run: Path, x: ArrayLike, *, patients: ArrayLike | None = None, sfreq: float | None = None, device: str = "auto"
) -> Embedding:
    """Embed windows in memory with a pretrained run.

    Parameters
    ----------
    run : Path
        Run folder of a pretraining.
    x : array_like, shape (n_windows, n_chans, n_times)
        Windows as the run's store has them: its channels in order, its units, its filters, its sampling rate. Where
        the run scales by recording or trial, all windows of a patient are scaled as one.
    patients : array_like, shape (n_windows,), optional
        Whose windows these are; without it each is a patient of its own.
    sfreq : float, optional
        Their samples per second; refused unless the encoder was trained at this rate.
    device : str

    Returns
    -------
    Embedding
        In the order of `x`; ``label`` is empty, ``start_s`` counts within the patient's windows.

    Raises
    ------
    DataError, UsageError
        The windows are not those of the training: other channels, length or rate.
    """
    experiment, checkpoint = load_experiment(run / "config.yaml"), load_checkpoint(run / "checkpoints")
    state, values = checkpoint.state, np.asarray(x)
    wanted = (len(state["channels"]), state["n_times"])
    if values.ndim != 3 or values.shape[1:] != wanted:
        raise UsageError(
            f"The encoder was trained on windows of {wanted[0]} channels and {wanted[1]} samples, and these arrays "
            f"have shape {values.shape}",
            "arrays",
            f"Give (n_windows, {wanted[0]}, {wanted[1]}): {', '.join(state['channels'])} at {state['sfreq']:g} Hz",
        )
    if sfreq is not None and sfreq != state["sfreq"]:
        raise UsageError(
            f"The encoder was trained at {state['sfreq']:g} Hz, and these arrays have {sfreq:g} Hz",
            "sfreq",
            "Resample them first",
        )
    whose = np.arange(len(values)) if patients is None else np.asarray(patients)
    with scratch_folder() as folder:
        channels = trained_channels(state)
        store = array_store(values, whose, folder / "store", sfreq=state["sfreq"], channels=channels)
        windows, rows = array_windows(store, whose, experiment.data, checkpoint.fitted)
        vectors = encoded(experiment, checkpoint, windows, rows, device=device)
        columns = {name: column[rows] for name, column in said_of(windows).items()}
    return Embedding(vectors, columns, windows.marks)


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
