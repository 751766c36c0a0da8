"""RealWorld (HAR) 2016: fifteen people, eight activities, phones and a watch at seven positions, 50 Hz."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile

import numpy as np

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.imu import COPY, axes, missing_files, read_columns
from biocl.datasets.listing import absent_note
from biocl.errors import DataError
from biocl.signals.clock import TimedSignal, align
from biocl.signals.recording import ChannelKind, Recording

ACTIVITIES = ("climbingdown", "climbingup", "jumping", "lying", "running", "sitting", "standing", "walking")
# Without the forearm, which some recordings lack.
POSITIONS = ("chest", "head", "shin", "thigh", "upperarm", "waist")
SENSORS: dict[ChannelKind, str] = {"acc": "m/s2", "gyr": "rad/s"}
N_SUBJECTS = 15
SFREQ = 50.0
MEMBER = re.compile(r"(?:acc|gyroscope)_([a-z]+(?:_\d+)?)_([a-z]+)\.csv", re.IGNORECASE)
UNREADABLE = (BadZipFile, OSError, KeyError, RuntimeError, EOFError)  # RuntimeError: encrypted, or a method unknown
Member = tuple[str, str, str]  # archive, archive inside it or nothing, file


def entries(raw: Path) -> list[Entry]:
    """The recordings of which every position has acceleration and turning rate.

    Some activities were recorded in several pieces, each an archive inside the archive and a recording of its
    own. Nothing is unpacked. What a recording that is left out lacks stands in the first entry's notes.

    Raises
    ------
    DataError
        If an archive is not there or cannot be read, or no recording is complete.
    """
    folder = raw if (raw / "proband1").is_dir() else raw / "realworld2016_dataset"
    people = [f"proband{number}" for number in range(1, N_SUBJECTS + 1)]
    archives = [f"{p}/data/{s}_{a}_csv.zip" for p in people for a in ACTIVITIES for s in SENSORS]
    missing = [name for name in archives if not (folder / name).is_file()]
    if missing:
        raise missing_files(missing, len(archives), raw)
    found, absent = [], []
    for person in people:
        for activity in ACTIVITIES:
            data = folder / person / "data"
            members = {sensor: members_of(data / f"{sensor}_{activity}_csv.zip") for sensor in SENSORS}
            for piece in sorted({piece for one in members.values() for piece, _ in one}):
                name = f"{person}-{piece.replace('_', '-')}"
                keys = [(sensor, position) for position in POSITIONS for sensor in SENSORS]
                if any((piece, position) not in members[sensor] for sensor, position in keys):
                    absent.append(name)
                    continue
                files = [[sensor, position, *members[sensor][piece, position]] for sensor, position in keys]
                source = json.dumps({"folder": str(data), "files": files})
                found.append(Entry(name, person, source=source, labels={"label": activity}))
    if not found:
        raise DataError("No recording has all positions", folder, COPY)
    return [replace(found[0], notes=absent_note(absent, len(found) + len(absent), "the folder")), *found[1:]]


def members_of(archive: Path) -> dict[tuple[str, str], Member]:
    """Files of an archive, and of the archives in it, by piece and position."""
    found: dict[tuple[str, str], Member] = {}
    try:
        with ZipFile(archive) as outer:
            inner = {"": outer.namelist()}
            for name in outer.namelist():
                if name.lower().endswith(".zip"):
                    with outer.open(name) as file, ZipFile(file) as nested:
                        inner[name] = nested.namelist()
    except UNREADABLE as error:
        raise DataError(f"This archive cannot be read ({error})", archive, COPY) from error
    for nested_name, names in inner.items():
        for name in names:
            if match := MEMBER.fullmatch(name.rpartition("/")[2]):
                found[match[1].lower(), match[2].lower()] = (archive.name, nested_name, name)
    return found


@contextmanager
def opened(folder: Path, member: Member) -> Iterator[IO[bytes]]:
    """A file inside an archive, read where it is."""
    archive, nested, name = member
    try:
        with ZipFile(folder / archive) as outer:
            if not nested:
                with outer.open(name) as file:
                    yield file
                return
            with outer.open(nested) as inside, ZipFile(inside) as inner, inner.open(name) as file:
                yield file
    except UNREADABLE as error:
        raise DataError(f"The file {name} cannot be read ({error})", folder / archive, COPY) from error


def read(entry: Entry) -> Recording:
    """One activity: six positions at 50 Hz on the clock of their time stamps, 36 channels.

    Raises
    ------
    DataError
        If a file is missing or unreadable, or its clock makes no sense.
    """
    source = json.loads(entry.source)
    folder = Path(source["folder"])
    signals = []
    for sensor, position, *member in source["files"]:
        where = f"{folder / member[0]}, {member[2]}"
        with opened(folder, (member[0], member[1], member[2])) as file:
            columns = ["attr_time", "attr_x", "attr_y", "attr_z"]
            table = read_columns(file, columns, delimiter=",", n_columns=5, where=where).numbers
        signals.append(
            TimedSignal(
                f"{position}-{sensor}",
                table[:, 0] / 1000,
                table[:, 1:].astype(np.float32),
                axes(position, (sensor, SENSORS[sensor])),
            )
        )
    found = align(signals, SFREQ, where=f"{folder}, recording {entry.name}")
    return Recording.from_array(
        entry.name,
        entry.patient,
        SFREQ,
        found.values,
        [replace(channel, device=channel.device.partition("-")[0]) for channel in found.channels],
        labels=entry.labels,
        source=str(folder),
        notes=found.notes,
    )


REALWORLD = Dataset(
    name="realworld",
    modality="imu",
    version="2016",
    entries=entries,
    read=read,
    classes=ACTIVITIES,
    defaults={
        "nan": "keep",
        "windows": {"kind": "sliding", "length_s": 3.0, "step_s": 3.0},
        "trials": {"kind": "recording"},
        "classes": list(ACTIVITIES),
    },
    licence="see the source",
    citation=(
        "Sztyler T, Stuckenschmidt H. On-body localization of wearable devices: an investigation of position-aware "
        "activity recognition. PerCom 2016, 1-9"
    ),
    homepage="https://www.uni-mannheim.de/dws/research/projects/activity-recognition/dataset/dataset-realworld/",
    notes="Each phone stamps with its own clock; positions are aligned as far as these clocks agree.",
)
