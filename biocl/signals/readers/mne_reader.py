"""EEG files to recordings through mne: EDF, BDF, GDF, BrainVision, FIF, EEGLAB, EGI and Nicolet.

EDF and BDF are read by `biocl.signals.readers.edf_reader`: mne stretches slower channels anew in every piece that is
read, and lays the pieces of an EDF+D file end to end.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.channels import unit_name
from biocl.signals.readers import mne_checks
from biocl.signals.readers.edf_reader import read_edf
from biocl.signals.readers.eeg_channels import ELECTRODES, describe
from biocl.signals.readers.triggers import annotation_events, rising_codes, trigger_events, with_gaps
from biocl.signals.recording import Events, Recording

Reader = tuple[str, dict[str, Any], mne_checks.Check]
READERS: dict[str, Reader] = {
    ".gdf": ("read_raw_gdf", {}, mne_checks.check_gdf),
    ".vhdr": ("read_raw_brainvision", {}, mne_checks.check_brainvision),
    ".ahdr": ("read_raw_brainvision", {}, mne_checks.check_brainvision),
    ".fif": ("read_raw_fif", {"on_split_missing": "raise"}, mne_checks.check_fif),
    ".set": ("read_raw_eeglab", {}, mne_checks.check_eeglab),
    ".raw": ("read_raw_egi", {}, mne_checks.check_egi),
    ".egi": ("read_raw_egi", {}, mne_checks.check_egi),
    ".mff": ("read_raw_egi", {}, mne_checks.check_egi),
    ".data": ("read_raw_nicolet", {"ch_type": "eeg"}, mne_checks.check_nicolet),
}
EDF_SUFFIXES = (".edf", ".rec", ".bdf")
SUFFIXES = (*EDF_SUFFIXES, *READERS)
# Files that stand beside the one to give.
COMPANIONS = {".eeg": ".vhdr", ".vmrk": ".vhdr", ".avg": ".vhdr", ".fdt": ".set", ".head": ".data"}
# Descriptions of annotations that mark where data are missing, and where pieces were joined.
MISSING, JOINT = "BAD_ACQ_SKIP", re.compile(r"new segment/.*|boundary|(bad|edge) boundary", re.IGNORECASE)
# What mne warns of that says nothing about the signal, or that is said in another way.
SILENT = re.compile(
    r"filter|montage|coordinate|position|DataPoints|boundary|annotation\(s\)|latencies|does not conform"
)
FROM_SI = {"nV": 1e9, "uV": 1e6, "mV": 1e3, "uS": 1e6}  # units that mne turns into V and S
MOST_VALUES = 100  # values for a byte of the file; a header that promises more is damaged
PIECE_VALUES = 2**22
MOST_NAMED = 5
MOST_CODE = 2**32


def read_mne(
    path: str | Path,
    *,
    name: str,
    patient: str,
    session: str = "1",
    labels: Mapping[str, str] | None = None,
) -> Recording:
    """Open an EEG file; reads its header, its annotations and its trigger channels only.

    Parameters
    ----------
    path : str or Path
        The file: ``.edf .rec .bdf .gdf .vhdr .ahdr .fif .fif.gz .set .raw .egi .mff .data``.
    name, patient, session : str
        The recording's name, the person, the visit.
    labels : mapping, optional
        What is known of the whole recording.

    Returns
    -------
    Recording
        Read on demand, piece by piece (a ``.set`` file that holds its own samples is in memory once it is open).
        EEG, EOG and EMG in uV, ECG in mV; other channels in the file's unit, ``NU`` where it names none.
        Annotations are events of kind ``annotation``, trigger channels events of kind ``trigger`` (label: the
        code) and no columns. Stretches that the file skips are NaN; so is the first sample behind a place where
        pieces were joined, which no window may lie across. What was mended or left out stands in `notes`.

    Raises
    ------
    DataError
        If the file is missing, empty, damaged, shorter than its header says, or of another format.
    """
    path = Path(path)
    suffix = path.suffixes[-2].lower() if path.name.lower().endswith(".fif.gz") else path.suffix.lower()
    check_there(path, suffix)
    if suffix in EDF_SUFFIXES:
        return read_edf(path, name=name, patient=patient, session=session, labels=labels)
    function, keys, check = READERS[suffix]
    found = check(path)
    raw, warned = opened(path, function, {**keys, **({"exclude": found["exclude"]} if "exclude" in found else {})})
    check_size(path, raw)
    types, _ = quietly(path, raw.get_channel_types)
    columns = [index for index, kind in enumerate(types) if kind != "stim"]
    if not columns:
        raise DataError("This file holds no signals beside triggers", path, "Give the file that holds the signals")
    units = [found["units"][i] if "units" in found else channel_unit(raw, i, types[i]) for i in columns]
    described = [describe(raw.ch_names[i], unit, types[i]) for i, (unit, _) in zip(columns, units, strict=True)]
    factors = np.array([si * factor for (_, si), (_, factor) in zip(units, described, strict=True)])
    sfreq, length_s = float(raw.info["sfreq"]), raw.n_times / float(raw.info["sfreq"])
    onset_s = np.asarray(raw.annotations.onset, dtype=np.float64) - raw.first_time
    spoken = [str(word) for word in raw.annotations.description]
    events, event_notes = annotation_events(onset_s, raw.annotations.duration, spoken, length_s)
    gaps, gap_notes = missing_stretches(events, sfreq)
    if suffix in (".raw", ".egi"):  # EGI's event channels are given as annotations already, with their codes
        events = Events.of("trigger", events.onset_s, 0.0, events.label)
    else:
        events = Events.join(events, *(triggers(path, raw, i) for i, kind in enumerate(types) if kind == "stim"))
    left_out = found.get("exclude") or []
    slow = (f"Channels slower than the fastest are left out: {', '.join(left_out)}",) if left_out else ()
    return Recording(
        name=name,
        patient=patient,
        sfreq=sfreq,
        n_times=int(raw.n_times),
        channels=tuple(channel for channel, _ in described),
        read=with_gaps(partial(read_samples, path, raw, columns, factors), gaps),
        session=session,
        events=events,
        labels=dict(labels or {}),
        file_units={
            raw.ch_names[i]: unit
            for i, (unit, _) in zip(columns, units, strict=True)
            if "units" in found or raw.ch_names[i] in raw._orig_units
        },
        source=str(path),
        notes=(*warned, *slow, *gap_notes, *event_notes),
    )


def check_there(path: Path, suffix: str) -> None:
    """The path leads to a file with content, of a format that is read here."""
    if suffix in COMPANIONS:
        raise DataError(
            f"This file stands beside a {COMPANIONS[suffix]} file, which says what is in it",
            path,
            f"Give the {COMPANIONS[suffix]} file",
        )
    if suffix not in SUFFIXES:
        raise DataError(f"{path.suffix or 'This'} is no EEG format", path, f"The formats are {' '.join(SUFFIXES)}")
    if not path.exists() or (path.is_dir() and suffix != ".mff"):
        raise DataError("This file does not exist", path, "Check the path")
    if path.is_file() and not path.stat().st_size:
        raise DataError("This file is empty", path, mne_checks.COPY_AGAIN)


def quietly(path: Path, work: Callable[[], Any]) -> tuple[Any, tuple[str, ...]]:
    """The result of a call into mne and what it warned of; whatever it stumbles over becomes one error."""
    from mne.utils import use_log_level

    with warnings.catch_warnings(record=True) as caught, use_log_level("WARNING"):
        warnings.simplefilter("always")
        try:
            result = work()
        except ImportError as error:
            raise DataError(
                f"A package that this format needs is missing ({error.name or error})",
                path,
                "Install biocl[formats]",
            ) from error
        except Exception as error:
            why = re.sub(r"\s+", " ", str(error)).strip() or "no reason given"
            raise DataError(
                f"This file is damaged or not what its name says ({type(error).__name__}: {why[:300]})",
                path,
                mne_checks.COPY_AGAIN,
            ) from error
    said = (re.sub(r"\s+", " ", str(warning.message)).strip() for warning in caught)
    return result, tuple(dict.fromkeys(text for text in said if not SILENT.search(text)))


def opened(path: Path, function: str, keys: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """mne's object for a file, no samples read, and what was noteworthy."""
    import mne

    reader = getattr(mne.io, function)
    return quietly(path, lambda: reader(str(path), preload=False, verbose="WARNING", **keys))


def check_size(path: Path, raw: Any) -> None:
    """Rate and length make sense, and the files can hold that many values."""
    sfreq = float(raw.info["sfreq"])
    if not np.isfinite(sfreq) or sfreq <= 0 or raw.n_times < 1:
        raise mne_checks.damaged(path, f"{raw.n_times} time steps at {sfreq:g} Hz")
    files = {path, *(Path(file) for file in raw.filenames if file is not None)}
    size = sum(file.stat().st_size for file in files if file.is_file())
    values = raw.n_times * len(raw.ch_names)
    if path.is_file() and values > MOST_VALUES * size:
        raise mne_checks.damaged(path, f"it announces {values} values, and the file has {size} bytes")
    stored = next((file for file in files if file.suffix.lower() == ".fdt"), None)
    if stored is not None and stored.stat().st_size < 4 * values:
        raise mne_checks.cut_short(stored, 4 * values, stored.stat().st_size)


def channel_unit(raw: Any, index: int, mne_type: str) -> tuple[str, float]:
    """The unit of a channel as the file has it, and the factor from mne's values to that unit."""
    said = raw._orig_units.get(raw.ch_names[index])
    if said is None:  # FIF, EGI, Nicolet and EEGLAB: everything is in SI units
        return ("V" if mne_type in (*ELECTRODES, "eog", "ecg", "emg", "bio") else "NU"), 1.0
    unit = "NU" if said == "n/a" else unit_name(said)
    return unit, FROM_SI.get(unit, 1.0)


def missing_stretches(events: Events, sfreq: float) -> tuple[list[tuple[int, int]], tuple[str, ...]]:
    """Time steps that are skipped, or lie first behind a joint, and a note on each kind."""
    begin = np.rint(events.onset_s * sfreq).astype(np.int64)
    length = np.maximum(np.rint(events.duration_s * sfreq).astype(np.int64), 1)
    skipped = events.label == MISSING
    joined = np.array([JOINT.fullmatch(label) is not None for label in events.label], dtype=bool) & (begin > 0)
    gaps: list[tuple[int, int]] = []
    for at, n in zip(begin[skipped].tolist(), length[skipped].tolist(), strict=True):  # mne may name a skip twice
        if gaps and at <= gaps[-1][1]:
            gaps[-1] = (gaps[-1][0], max(gaps[-1][1], at + n))
        else:
            gaps.append((at, at + n))
    notes = []
    if skipped.any():
        notes.append(f"The file skips {sum(end - at for at, end in gaps) / sfreq:g} s; they are gaps")
    gaps += [(at, at + 1) for at in begin[joined].tolist()]
    if joined.any():
        places = ", ".join(f"{onset:g} s" for onset in events.onset_s[joined][:MOST_NAMED])
        more = " and more" if joined.sum() > MOST_NAMED else ""
        notes.append(f"Pieces were joined at {places}{more}; the first sample behind is a gap")
    return sorted(gaps), tuple(notes)


def pieces(path: Path, raw: Any, column: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """One channel as integers, a piece at a time."""
    step = max(1, PIECE_VALUES // len(raw.ch_names))
    for start in range(0, raw.n_times, step):
        stop = min(start + step, raw.n_times)
        values = np.abs(samples(path, raw, [column], start, stop)[0])
        yield start, np.where(values < MOST_CODE, values, 0).astype(np.int64)


def triggers(path: Path, raw: Any, column: int) -> Events:
    """The events of one trigger channel."""
    steps, codes = rising_codes(pieces(path, raw, column))
    return trigger_events(steps / float(raw.info["sfreq"]), codes)


def samples(path: Path, raw: Any, columns: Sequence[int], start: int, stop: int) -> NDArray[np.float64]:
    """mne's values of some channels, shape (n_chans, stop - start)."""
    values, _ = quietly(path, lambda: raw.get_data(picks=list(columns), start=start, stop=stop, verbose="WARNING"))
    if values.shape != (len(columns), stop - start):
        raise DataError(
            f"Samples {start} to {stop} are not all there ({values.shape[1]} of {stop - start})",
            path,
            mne_checks.COPY_AGAIN,
        )
    found: NDArray[np.float64] = values
    return found


def read_samples(
    path: Path, raw: Any, columns: Sequence[int], factors: NDArray[np.float64], start: int, stop: int
) -> NDArray[np.float32]:
    """Time steps `start` to `stop` in the channels' units, shape (stop - start, n_chans)."""
    if stop <= start:
        return np.empty((0, len(columns)), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        block = (samples(path, raw, columns, start, stop).T * factors).astype(np.float32)
    block[~np.isfinite(block)] = np.nan
    return block
