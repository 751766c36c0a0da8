"""APAVA, which COMET calls AD: 5 s epochs of 16-channel EEG of 12 people with Alzheimer's disease and 11 without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.published import published_splits
from biocl.errors import DataError
from biocl.signals.readers.matlab_checks import check_matlab
from biocl.signals.recording import Channel, Events, Recording

PEOPLE = tuple(range(1, 24))
ALZHEIMER = (1, 3, 6, 8, 9, 11, 12, 13, 15, 17, 19, 21)
SFREQ_HZ = 256.0
N_CHANS, EPOCH_LENGTH = 16, 1280


def entries(raw: Path) -> list[Entry]:
    """The 23 files ``preproctrials01.mat`` to ``preproctrials23.mat``; the number is the patient.

    Raises
    ------
    DataError
        If a file is not there.
    """
    paths = {number: raw / f"preproctrials{number:02d}.mat" for number in PEOPLE}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(PEOPLE)} APAVA files are missing, first {missing[0]}",
            raw,
            "Give the folder of the .mat files with --raw",
        )
    return [
        Entry(
            f"{number:02d}",
            f"{number:02d}",
            source=str(path),
            labels={"label": "alzheimer" if number in ALZHEIMER else "control"},
        )
        for number, path in paths.items()
    ]


def read(entry: Entry) -> Recording:
    """One person's epochs, end to end; each is an event of kind ``trial``, and no window may cross two."""
    epochs = read_epochs(Path(entry.source))
    signal = np.concatenate([epoch.T for epoch in epochs])
    seconds = EPOCH_LENGTH / SFREQ_HZ
    return Recording.from_array(
        entry.name,
        entry.patient,
        SFREQ_HZ,
        signal,
        [Channel(f"channel-{number}", "eeg", "a.u.") for number in range(1, N_CHANS + 1)],
        events=Events.of("trial", np.arange(len(epochs)) * seconds, seconds),
        labels=entry.labels,
        source=entry.source,
        notes=(f"{len(epochs)} separate epochs of {seconds:g} s lie end to end",),
    )


def read_epochs(path: Path) -> list[NDArray[np.float32]]:
    """The epochs of a file, each (16, 1280): the cells of the third field of ``data``, or of its field ``trial``.

    Raises
    ------
    DataError
        If the file is no such MATLAB file.
    """
    from scipy.io import loadmat

    check_matlab(path)
    try:
        data = loadmat(path)["data"][0, 0]
        names = data.dtype.names
        cells: Any = data["trial" if "trial" in names else names[2]]
        epochs = [np.asarray(cell, dtype=np.float32) for cell in cells[0]]
    except Exception as error:  # whatever the parser stumbles over, the file is not what it should be
        raise damaged(path, f"{type(error).__name__}: {error}") from error
    shapes = {epoch.shape for epoch in epochs}
    if shapes != {(N_CHANS, EPOCH_LENGTH)}:
        raise damaged(path, f"its epochs have the shapes {sorted(shapes)}, not ({N_CHANS}, {EPOCH_LENGTH})")
    return epochs


def damaged(path: Path, why: str) -> DataError:
    """The error for a file that does not hold the epochs."""
    return DataError(f"This is not one of the APAVA files ({why})", path, "Copy or download it again")


APAVA = Dataset(
    name="apava",
    modality="eeg",
    version="osf-jbysn",
    entries=entries,
    read=read,
    classes=("control", "alzheimer"),
    splits=published_splits("apava"),
    defaults={
        "windows": {"kind": "sliding", "length_s": 1.0, "step_s": 0.5},
        "trials": {"kind": "event", "events": "trial"},
        "classes": ["control", "alzheimer"],
    },
    licence="not stated by the source",
    citation=(
        "Escudero J, Abásolo D, Hornero R, Espino P, López M. Analysis of electroencephalograms in Alzheimer's disease "
        "patients with multiscale entropy. Physiological Measurement 27(11):1091-1106, 2006; Smith K, Abásolo D, "
        "Escudero J. Accounting for the complex hierarchical topology of EEG phase-based functional connectivity in "
        "network binarisation. PLoS ONE 12(10):e0186164, 2017"
    ),
    homepage="https://osf.io/jbysn/",
    notes=(
        "Neither channel names nor the unit are in the files, so amplitudes are unchecked. Patient 05 has one epoch, "
        "patient 23 two."
    ),
)
