"""BCI Competition IV, data set 1: two imagined movements, 59 electrodes; three of seven are artificial."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.datasets.dataset import Dataset, Entry
from biocl.errors import DataError
from biocl.signals.readers.matlab_checks import check_matlab
from biocl.signals.recording import Channel, Events, Recording

PEOPLE = tuple("abcdefg")
ARTIFICIAL = ("c", "d", "e")
CLASSES = ("left", "right", "foot")
UV_PER_STEP = 0.1
SECONDS = 4.0


def entries(raw: Path) -> list[Entry]:
    """The seven calibration files, all at 1000 Hz (``BCICIV_calib_ds1a_1000Hz.mat``) or else all at 100 Hz.

    Raises
    ------
    DataError
        If neither set is whole.
    """
    missing: list[str] = []
    for suffix in ("_1000Hz", ""):
        paths = {person: raw / f"BCICIV_calib_ds1{person}{suffix}.mat" for person in PEOPLE}
        missing = [path.name for path in paths.values() if not path.is_file()]
        if not missing:
            return [
                Entry(
                    f"ds1{person}",
                    person,
                    source=str(path),
                    labels={"origin": "artificial" if person in ARTIFICIAL else "human"},
                    revision=path.stem,
                )
                for person, path in paths.items()
            ]
    raise DataError(
        f"{len(missing)} of the {len(PEOPLE)} calibration files are missing, first {missing[0]}",
        raw,
        "Give the folder of the .mat files with --raw",
    )


def read(entry: Entry) -> Recording:
    """One person's calibration run in uV; each cue is an event of kind ``cue`` with the imagined movement."""
    path = Path(entry.source)
    content = contents(path)
    signal, sfreq = content["signal"], content["sfreq"]
    onset = content["onset"] / sfreq
    channels = [Channel(name, "eeg", "uV") for name in content["channels"]]
    return Recording(
        name=entry.name,
        patient=entry.patient,
        sfreq=sfreq,
        n_times=len(signal),
        channels=tuple(channels),
        read=partial(scaled, signal),
        events=Events.of("cue", onset, np.minimum(SECONDS, len(signal) / sfreq - onset), content["labels"]),
        labels=dict(entry.labels),
        source=entry.source,
    )


def scaled(signal: NDArray[np.int16], start: int, stop: int) -> NDArray[np.float32]:
    """Integers to uV."""
    return signal[start:stop].astype(np.float32) * np.float32(UV_PER_STEP)


def contents(path: Path) -> dict[str, Any]:
    """What a file holds: ``cnt``, the cues of ``mrk``, and rate, channels and classes of ``nfo``.

    Raises
    ------
    DataError
        If it is no such MATLAB file.
    """
    from scipy.io import loadmat

    check_matlab(path)
    try:
        found = loadmat(path, squeeze_me=True, struct_as_record=True)
        info, marks = found["nfo"], found["mrk"]
        names = [str(name) for name in info["clab"].item()]
        classes = [str(name) for name in info["classes"].item()]
        onset = np.atleast_1d(marks["pos"].item()).astype(np.int64)
        codes = np.atleast_1d(marks["y"].item())
        sfreq, signal = float(info["fs"].item()), found["cnt"]
        labels = [classes[0 if code < 0 else 1] for code in codes[np.isfinite(codes)]]
        onset = onset[np.isfinite(codes)] - 1  # MATLAB counts from 1
        right = (
            signal.shape[1] == len(names)
            and signal.dtype.kind == "i"
            and 0 < sfreq < 1e5
            and set(classes) <= set(CLASSES)
            and ((onset >= 0) & (onset < len(signal))).all()
        )
    except Exception as error:  # whatever the parser stumbles over, the file is not what it should be
        raise damaged(path, f"{type(error).__name__}: {error}") from error
    if not right:
        raise damaged(path, "its signal, channels, classes and cues do not fit together")
    return {"signal": signal, "sfreq": sfreq, "channels": names, "onset": onset, "labels": labels}


def damaged(path: Path, why: str) -> DataError:
    """The error for a file that does not hold a run."""
    return DataError(f"This is not a calibration file of the competition ({why})", path, "Copy or download it again")


BLANKERTZ2007 = Dataset(
    name="blankertz2007",
    modality="eeg",
    version="BCI Competition IV, 1",
    entries=entries,
    read=read,
    classes=CLASSES,
    defaults={
        "resample_hz": 250.0,
        "windows": {"kind": "event", "events": "cue", "before_s": 0.0, "after_s": 3.0},
        "trials": {"kind": "event", "events": "cue"},
        "classes": list(CLASSES),
    },
    licence="the competition's terms: research, with citation",
    citation=(
        "Blankertz B, Dornhege G, Krauledat M, Müller KR, Curio G. The non-invasive Berlin Brain-Computer Interface: "
        "fast acquisition of effective performance in untrained subjects. NeuroImage 37(2):539-550, 2007"
    ),
    homepage="https://www.bbci.de/competition/iv/",
    notes=(
        "Persons c, d and e are artificial signals. Everybody imagined two of left hand, right hand and foot; "
        "no two movements are common to all."
    ),
    access="request",
)
