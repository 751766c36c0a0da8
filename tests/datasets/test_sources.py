"""Where data sets are fetched from: over TLS, with sums that are those of the files in the test data."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from biocl.datasets.dataset import Dataset
from biocl.datasets.download import PHYSIONET, SHA256, Remote, download_files, download_physionet
from biocl.datasets.registry import dataset_names, find_dataset
from biocl.datasets.transfer import check_url
from biocl.datasets.unpack import unpack

HOMES = {"archive.ics.uci.edu", "raw.githubusercontent.com", "s3.amazonaws.com", "zenodo.org"}
KNOWN = {"etth1": "forecasting/ETT-small/ETTh1.csv", "etth2": "forecasting/ETT-small/ETTh2.csv"}


def sources(wanted: object) -> list[tuple[str, Dataset, partial[None]]]:
    """Data sets that are fetched by one of the functions of `biocl.datasets.download`."""
    found = [(name, find_dataset(name)) for name in dataset_names()]
    return [
        (name, dataset, dataset.download)
        for name, dataset in found
        if isinstance(dataset.download, partial) and dataset.download.func is wanted
    ]


SINGLE = [(name, remote) for name, _, download in sources(download_files) for remote in download.args[0]]


@pytest.mark.parametrize(("name", "remote"), SINGLE, ids=[f"{name}-{remote.place}" for name, remote in SINGLE])
def test_a_file_has_a_home_over_tls(name: str, remote: Remote) -> None:
    check_url(remote.url, local=False)
    assert urlsplit(remote.url).hostname in HOMES
    assert remote.place
    assert remote.sha256 is None or SHA256.fullmatch(remote.sha256)
    assert (remote.sha256 is not None) == (name in KNOWN), "a sum is only stated where the file is in the test data"


@pytest.mark.parametrize("name", KNOWN)
def test_a_stated_sum_is_that_of_the_file(name: str, test_data: Path) -> None:
    [remote] = [remote for known, remote in SINGLE if known == name]
    assert hashlib.sha256((test_data / KNOWN[name]).read_bytes()).hexdigest() == remote.sha256


def test_physionet_sets_name_a_project_and_their_version() -> None:
    found = sources(download_physionet)
    assert {"mitdb", "ptbdb", "ptbxl", "ludb", "ecgid", "eegmmidb"} <= {name for name, *_ in found}
    check_url(PHYSIONET, local=False)
    for _, dataset, download in found:
        [project] = download.args
        assert project.count("/") == 1
        assert dataset.homepage.rstrip("/").startswith(f"https://physionet.org/content/{project.split('/')[0]}")
        assert project.split("/")[1] == dataset.version.partition("+")[0]


def test_places_do_not_collide() -> None:
    for name, _, download in sources(download_files):
        places = [remote.place for remote in download.args[0]]
        assert len(set(places)) == len(places), name


# ------------------------------------------------------------------------------- archives in their published layout


def zipped(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def empty(*names: str) -> dict[str, bytes]:
    return dict.fromkeys(names, b"")


PEOPLE = {
    "mhealth": empty("MHEALTHDATASET/README.txt", *(f"MHEALTHDATASET/mHealth_subject{p}.log" for p in range(1, 11))),
    "opportunity": empty(
        "OpportunityUCIDataset/doc/documentation.html",
        *(
            f"OpportunityUCIDataset/dataset/S{p}-{run}.dat"
            for p in range(1, 5)
            for run in ("ADL1", "ADL2", "ADL3", "ADL4", "ADL5", "Drill")
        ),
    ),
    "pamap2": {
        "readme.pdf": b"",
        "PAMAP2_Dataset.zip": zipped(empty(*(f"PAMAP2_Dataset/Protocol/subject{p}.dat" for p in range(101, 110)))),
    },
    "physical-therapy": empty(
        *(f"s{s}/e{e}/template_times.txt" for s in range(1, 6) for e in range(1, 9)),
        *(
            f"s{s}/e{e}/u{u}/{kind}.txt"
            for s in range(1, 6)
            for e in range(1, 9)
            for u in range(1, 6)
            for kind in ("test", "template_session")
        ),
    ),
}


@pytest.mark.parametrize("name", PEOPLE)
def test_what_is_unpacked_is_where_the_reader_looks(name: str, tmp_path: Path) -> None:
    """The members are empty: only the listing is asked."""
    dataset = find_dataset(name)
    [remote] = [remote for known, remote in SINGLE if known == name]
    (tmp_path / remote.place).write_bytes(zipped(PEOPLE[name]))
    unpack(tmp_path / remote.place, remote.unpack, inside=remote.inside)
    expected = {"mhealth": 10, "opportunity": 4, "pamap2": 9, "physical-therapy": 5}[name]
    assert len({entry.patient for entry in dataset.entries(tmp_path)}) == expected


def test_eeg_trials_are_where_the_reader_looks(tmp_path: Path) -> None:
    """The UCI EEG archive holds archives of archives: halves, then people, then trials."""
    dataset = find_dataset("smni_cmi")
    [remote] = [remote for known, remote in SINGLE if known == "smni_cmi"]
    trials = {f"co2a0000364/co2a0000364.rd.{n:03d}.gz": b"" for n in range(3)}
    half = tarred({"SMNI_CMI_TRAIN/co2a0000364.tar.gz": tarred(trials)})
    other = tarred({"SMNI_CMI_TEST/co2a0000364.tar.gz": tarred(trials)})
    (tmp_path / remote.place).write_bytes(
        zipped({"README": b"", "SMNI_CMI_TRAIN.tar.gz": half, "SMNI_CMI_TEST.tar.gz": other})
    )
    unpack(tmp_path / remote.place, remote.unpack, inside=remote.inside)
    assert len(dataset.entries(tmp_path)) == 3


def tarred(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()
