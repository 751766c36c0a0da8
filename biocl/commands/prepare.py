"""From native files to a store, and from a configuration to its windows."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from biocl.config import load_data, plain
from biocl.datasets.dataset import Dataset
from biocl.datasets.registry import DATASETS, find_dataset
from biocl.errors import DataError, UsageError
from biocl.experiment import CONDITIONING, DataSpec
from biocl.files import home
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store, store_key
from biocl.store.quality import within_thresholds
from biocl.store.several_labels import with_labels
from biocl.store.spec import EventWindows, TrialsSpec, WindowsSpec
from biocl.store.store import Store
from biocl.store.table import WindowTable
from biocl.store.targets import with_target
from biocl.store.windows import derive_windows

MODALITIES = ("ecg", "eeg", "imu", "other")


def conditioning_for(dataset: Dataset, given: Mapping[str, Any]) -> ConditioningSpec:
    """The data set's own conditioning with the keys that are `given` in its place."""
    defaults = {key: value for key, value in dataset.defaults.items() if key in CONDITIONING}
    return ConditioningSpec.model_validate({**defaults, **given})


def given_conditioning(data: DataSpec) -> dict[str, Any]:
    """The conditioning keys that the configuration names (null counts as named)."""
    return data.model_dump(mode="json", include=set(CONDITIONING) & data.model_fields_set)


def stores_folder() -> Path:
    """Where stores are looked up by name."""
    return home() / "stores"


def registered_store(dataset: Dataset, conditioning: ConditioningSpec) -> Path:
    """Where the store of this data set and conditioning is, or would be."""
    return stores_folder() / f"{dataset.name}-{store_key(dataset, conditioning)[:12]}"


def prepare(
    dataset: Dataset,
    *,
    raw: Path | None = None,
    out: Path | None = None,
    conditioning: ConditioningSpec | None = None,
    download: bool = False,
    n_jobs: int = 1,
) -> Store:
    """Build the store of a data set, or open the one that is there.

    Parameters
    ----------
    dataset : Dataset
    raw : Path, optional
        Folder of the native files; default ``$BIOCL_HOME/raw/NAME``.
    out : Path, optional
        Where the store goes; default under ``$BIOCL_HOME/stores``. A store elsewhere is linked from
        there, so that configurations find it by name.
    conditioning : ConditioningSpec, optional
        Default: the data set's own.
    download : bool
        Fetch the native files first.
    n_jobs : int
        Processes.

    Raises
    ------
    DataError
        Missing or faulty files; nothing is left behind.
    """
    steps = conditioning or conditioning_for(dataset, {})
    registered = registered_store(dataset, steps)
    target = out or registered
    folder = raw or home() / "raw" / dataset.name
    if download:
        if dataset.download is None:
            raise UsageError(f"{dataset.name} cannot be downloaded by biocl", fix="Give the files with --raw DIR")
        dataset.download(folder)
    needs_files = dataset.homepage != "" and dataset.access != "embedded"
    if needs_files and not folder.is_dir() and not target.exists():
        raise DataError(f"The native files of {dataset.name} are not here", folder, how_to_get(dataset))
    if needs_files and raw is None and target == registered and not folder.is_dir():
        return Store.open(registered)  # Native files may be deleted once they are in a store.
    store = build_store(dataset, folder, target, steps, n_jobs=n_jobs)
    if target != registered:
        register(target, registered)
    return store


def how_to_get(dataset: Dataset) -> str:
    """What to do when the native files are not here."""
    words = f"Run `biocl data prepare {dataset.name} --raw DIR` with their folder"
    if dataset.download is not None:
        return f"{words}, or with --download"
    if dataset.access == "request":
        return f"Ask the owners for them ({dataset.homepage}). Then run{words.removeprefix('Run')}"
    return f"Fetch them from {dataset.homepage}. Then run{words.removeprefix('Run')}"


def register(store: Path, link: Path) -> None:
    """Let configurations find a store by name: a link under ``$BIOCL_HOME/stores``; best effort."""
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink() or not link.exists():
            fresh = link.with_name(f".{link.name}.{os.getpid()}")
            fresh.symlink_to(store.resolve(), target_is_directory=True)
            os.replace(fresh, link)
    except OSError:
        pass  # A read-only home: the store can still be named with data.store=PATH.


def open_store(data: DataSpec) -> Store:
    """The store a configuration means: by path, by name, or made now from native files."""
    if data.store is not None:
        store = Store.open(Path(data.store))
        check_named(data, store)
        return store
    assert data.dataset is not None
    dataset = find_dataset(data.dataset)
    steps = conditioning_for(dataset, given_conditioning(data))
    found = registered_store(dataset, steps)
    if found.exists():
        return Store.open(found)
    return prepare(dataset, raw=Path(data.raw) if data.raw else None, conditioning=steps)


def check_named(data: DataSpec, store: Store) -> None:
    """A store given by path must be what the configuration describes."""
    if data.dataset is not None and store.meta["dataset"] != data.dataset:
        raise UsageError(
            f"This store holds {store.meta['dataset']}, but the configuration is for {data.dataset}",
            data.store,
            "Name another data.store, or change data.dataset",
        )
    conditioned = store.meta["conditioning"]
    wrong = [
        f"{key} is {conditioned.get(key)!r} in the store and {value!r} in the configuration"
        for key, value in given_conditioning(data).items()
        if conditioned.get(key) != value
    ]
    if wrong:
        raise UsageError(
            f"This store was conditioned otherwise: {'; '.join(wrong)}",
            data.store,
            "Prepare a store with `biocl data prepare NAME --config CONFIG --out STORE`, or leave these keys out",
        )


def check_channels(
    trained: Mapping[str, Any], store: Store, devices: Sequence[str] | None = None, predicted: int | None = None
) -> None:
    """An encoder reads the channels and the rate it was trained on, and nothing else.

    Of `devices` where it does, and never the column that is `predicted`.
    """
    columns = [i for i, channel in enumerate(store.channels) if devices is None or channel.device in devices]
    names = [store.channels[column].name for column in columns if column != predicted]
    if trained["channels"] != names or trained["sfreq"] != store.sfreq:
        raise UsageError(
            f"The encoder was trained on {', '.join(trained['channels'])} at {trained['sfreq']:g} Hz, and this store "
            f"holds {', '.join(names)} at {store.sfreq:g} Hz",
            store.path,
            "Prepare the store with the data.channels and data.resample_hz of the run's config.yaml",
        )


def prepare_named(
    name: str,
    *,
    raw: Path | None,
    download: bool,
    config: Path | None,
    out: Path | None,
    n_jobs: int,
    resample_hz: float | None,
    sfreq: float | None,
    modality: str,
    layout: Path | None = None,
    files: str | None = None,
) -> Store:
    """`prepare` for the command line: a data set by name, or the user's own recordings.

    Parameters
    ----------
    name : str
        A name; the path of a CSV with the columns path, patient, trial, label, start, end; or, with `files`, a folder.
    raw, download, out, n_jobs
        As in `prepare`.
    config : Path, optional
        Take the conditioning from the ``data:`` keys of this configuration, or of a file with nothing else.
    resample_hz : float, optional
        In place of the configuration's or the data set's; 0 keeps the native rate.
    sfreq, modality
        Of the user's own recordings: samples per second of files that do not know theirs; ``ecg``, ``eeg``,
        ``imu`` or ``other``, which decides the floors.
    layout : Path, optional
        A YAML file that says how to read the user's own tables.
    files : str, optional
        A template of the paths in the folder: ``sub-{patient}/{trial}_{label}.edf``.
    """
    for option, rate, may_be_zero in (("--sfreq", sfreq, False), ("--resample-hz", resample_hz, True)):
        if rate is not None and not (math.isfinite(rate) and (rate > 0 or (may_be_zero and rate == 0))):
            raise UsageError(f"A rate of {rate:g} makes no sense", option, "Give samples per second")
    if modality not in MODALITIES:
        raise UsageError(f"There is no modality {modality!r}", "--modality", f"Use one of {', '.join(MODALITIES)}")
    if files is not None or name.endswith(".csv") or (Path(name).exists() and name not in DATASETS):
        from biocl.datasets.own import own_dataset

        dataset = own_dataset(Path(name), files=files, sfreq=sfreq, modality=modality, layout=layout)
        if out is None:
            raise UsageError("A store of your own recordings needs a place", name, "Give --out STORE")
    else:
        dataset = find_dataset(name)
    given = given_conditioning(load_data(config)) if config is not None else {}
    if resample_hz is not None:
        given["resample_hz"] = resample_hz or None
    return prepare(
        dataset,
        raw=raw,
        out=out,
        conditioning=conditioning_for(dataset, given),
        download=download,
        n_jobs=n_jobs,
    )


def windows_spec(store: Store, data: DataSpec) -> Any:
    """How windows are cut: as the configuration says, or as suits the data set."""
    return data.windows or parsed(WindowsSpec, store.defaults.get("windows"), "windows")


def window_table(store: Store, data: DataSpec) -> WindowTable:
    """The run's window table: the configuration's keys over the data set's defaults."""
    trials = data.trials or parsed(TrialsSpec, store.defaults.get("trials"), "trials")
    classes = data.classes or list(store.defaults.get("classes", store.classes))
    windows = windows_spec(store, data)
    table = derive_windows(store, windows, trials, classes=classes, aux=data.aux, most_missing=data.quality.nan)
    table = within_thresholds(store, table, data.quality, aligned=isinstance(windows, EventWindows))
    if data.target is not None and data.target.kind != "channel":
        table = with_target(store, table, data.target, trials)
    return table if data.labels is None else with_labels(store, table, data.labels)


def parsed(kind: Any, value: Any, key: str) -> Any:
    """A data set's default as a spec."""
    if value is None:
        raise UsageError(
            f"This data set has no default for {key}", f"data.{key}", f"Give data.{key} in the configuration"
        )
    return TypeAdapter(kind).validate_python(plain(value))
