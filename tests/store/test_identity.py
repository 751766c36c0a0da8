"""One person under two ids: found by headers, by signals, and in nobody's clean cohort."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.mitdb import RECORDS
from biocl.datasets.registry import find_dataset
from biocl.datasets.synthetic import Cohort, synthetic_dataset
from biocl.datasets.synthetic_spec import SyntheticSpec
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.identity import suspected_identities
from biocl.store.people import agreements, hashed_words
from biocl.store.store import Store

MINUTES = 2


@pytest.fixture(scope="module")
def records(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The first minutes of MIT-BIH as somebody brings it who takes every record for a patient."""
    mitdb, raw = find_dataset("mitdb"), test_data / "ecg" / "mitdb"

    def read(entry: Entry) -> Recording:
        recording = mitdb.read(entry)
        return replace(
            recording,
            n_times=round(MINUTES * 60 * recording.sfreq),
            events=recording.events.where(recording.events.onset_s < MINUTES * 60 - 1),
        )

    own = replace(mitdb, name="own", read=read, splits={})
    entries = [Entry(record, record, source=str(raw / record)) for record in RECORDS]
    return build_store(own, entries, tmp_path_factory.mktemp("records") / "s", ConditioningSpec(resample_hz=125.0))


def test_the_one_person_of_mitdb_is_found_and_nobody_else(records: Store) -> None:
    found = suspected_identities(records).suspicions
    assert [one.patients for one in found] == [("201", "202")]
    assert "line 1 of the header" in found[0].why
    assert "1128 pairs theirs is number 1" in found[0].why


def test_headers_are_kept_as_hashes_outside_of_the_content(records: Store) -> None:
    assert len(records.about) == len(records)
    text = (records.path / "store.json").read_text()
    assert "Hydrochlorthiazide" not in text
    assert records.about[RECORDS.index("201")][:2] == records.about[RECORDS.index("202")][:2]
    without = {key: value for key, value in records.meta.items() if key != "about"}
    old = replace(records, meta=without)
    assert old.about == []
    assert old.content_hash == records.content_hash
    assert suspected_identities(old).suspicions == ()  # by the signals alone they are the nearest, which is not enough
    assert "nearest: 201 and 202" in suspected_identities(old).looked_at


@pytest.mark.parametrize("kind", ["ecg", "eeg", "imu"])
@pytest.mark.parametrize("signature", [0.0, 1.0])
def test_a_clean_cohort_gives_none(kind: str, signature: float, tmp_path: Path) -> None:
    spec = SyntheticSpec(kind=kind, n_patients=10, n_trials=4, patient_signature=signature, seed=3)  # type: ignore[arg-type]
    store = build_store(synthetic_dataset(spec), None, tmp_path / "store", ConditioningSpec())
    assert suspected_identities(store).suspicions == ()


def halved(spec: SyntheticSpec, twice: str) -> Dataset:
    """A cohort in which one patient's recording is two halves under two ids."""
    cohort, plain = Cohort(spec), synthetic_dataset(spec)

    def entries(raw: Path | None = None) -> list[Entry]:
        return [*cohort.entries(), Entry("P999", "P999")]

    def read(entry: Entry) -> Recording:
        if entry.name not in (twice, "P999"):
            return cohort.read(entry)
        whole = cohort.read(Entry(twice, twice))
        signal, middle = whole.signal(), whole.n_times // 2
        half = signal[:middle] if entry.name == twice else signal[middle:]
        return Recording.from_array(entry.name, entry.patient, whole.sfreq, half, whole.channels)

    return replace(plain, name="halved", entries=entries, read=read)


def test_a_person_with_two_ids_is_found_by_the_beat(tmp_path: Path) -> None:
    spec = SyntheticSpec(kind="ecg", n_patients=12, n_trials=8, patient_signature=3.0, class_effect=0.0)
    store = build_store(halved(spec, "P005"), None, tmp_path / "store", ConditioningSpec())
    found = suspected_identities(store).suspicions
    assert [one.patients for one in found] == [("P005", "P999")]
    assert "average beat" in found[0].why


def test_a_person_with_two_ids_is_found_by_the_spectrum(tmp_path: Path) -> None:
    spec = SyntheticSpec(kind="eeg", n_patients=12, n_trials=16, patient_signature=3.0, class_effect=0.0)
    store = build_store(halved(spec, "P005"), None, tmp_path / "store", ConditioningSpec())
    assert [one.patients for one in suspected_identities(store).suspicions] == [("P005", "P999")]


def with_headers(lines: dict[str, tuple[str, ...]], folder: Path) -> Store:
    """Noise of many patients with headers of their own."""
    rng = np.random.default_rng(0)
    channels = (Channel("a", "other", "NU"),)

    def read(entry: Entry) -> Recording:
        plain = Recording.from_array(entry.name, entry.patient, 10.0, rng.standard_normal((40, 1)), channels)
        return replace(plain, about=lines[entry.name])

    dataset = Dataset(
        name="headers",
        modality="other",
        version="1",
        entries=lambda raw: [Entry(name, name) for name in lines],
        read=read,
        classes=(),
    )
    return build_store(dataset, None, folder / "store", ConditioningSpec())


def test_an_equal_age_is_nobody_and_an_equal_code_and_birthday_somebody(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lines = {f"p{n}": (f"{40 + n % 25} {'MF'[n % 2]}", f"{['none', 'digoxin', 'inderal'][n % 3]}") for n in range(40)}
    assert suspected_identities(with_headers(lines, tmp_path / "ages")).suspicions == ()
    coded = {
        name: (f"MCH-{int(rng.integers(1e6))} F {int(rng.integers(1, 28))}-MAY-19{30 + n} X",)
        for n, name in enumerate(lines)
    }
    coded["p7"] = coded["p31"]
    found = suspected_identities(with_headers(coded, tmp_path / "codes")).suspicions
    assert [one.patients for one in found] == [("p31", "p7")]
    assert agreements(with_headers({**coded, "p8": ("X X X X",), "p9": ("X X X X",)}, tmp_path / "x"))[0].bits > 15


def test_words_are_compared_whatever_their_case() -> None:
    assert hashed_words("d", "1", ["Age: 71"]) == hashed_words("d", "1", ["age: 71"])
    assert hashed_words("d", "1", ["71"]) != hashed_words("d", "2", ["71"])
    assert hashed_words("d", "1", ["71"])[0][0].startswith("#")
