"""Building: what is stored, that it is whole or absent, and that nothing but the data decides the bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import biocl
import biocl.store.convert as convert_module
from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.synthetic import SyntheticSpec, synthetic_dataset
from biocl.errors import DataError
from biocl.signals.recording import Channel, Events, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store, store_key
from biocl.store.describe import describe
from biocl.store.store import Store, verify
from biocl.store.workspace import workspace

COHORT = synthetic_dataset(SyntheticSpec(kind="eeg", n_patients=6, n_trials=4, n_samples=2))


def tree_hash(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*")}


def left_beside(out: Path) -> list[str]:
    """What stands in the folder of a store."""
    return sorted(path.name for path in out.parent.iterdir())


def test_what_is_stored_is_what_was_read(make_store, make_recording, monkeypatch) -> None:
    monkeypatch.setattr(convert_module, "BLOCK_VALUES", 60)  # several blocks a recording
    events = Events.of(["a", "b", "a"], [0.5, 1.0, 3.0], [0.0, 2.0, 0.0], ["x", "", "y"])
    recordings = [
        make_recording("r10", 70, session="2", labels={"label": "ill", "age": "70"}),
        make_recording("r2", 95, events=events, labels={"label": "well"}),
        make_recording("r1", 31, patient="p-r2"),
    ]
    store = make_store(recordings, classes=("ill", "well"))
    assert store.recording_names == ("r1", "r2", "r10")
    assert store.patient_names == ("p-r2", "p-r10")
    assert store.session_names == ("1", "2")
    assert store.channels == recordings[0].channels
    assert store.sfreq == 10.0
    for recording, stored in zip([recordings[2], recordings[1], recordings[0]], store.recordings, strict=True):
        read = recording.signal()
        assert np.array_equal(store.signal(recording.name), read)
        assert (stored.name, stored.patient, stored.session) == (
            recording.name,
            recording.patient,
            recording.session,
        )
        assert stored.n_times == len(read)
        assert stored.labels == recording.labels
        np.testing.assert_allclose(stored.mean, read.astype(np.float64).mean(0), rtol=1e-7)
        np.testing.assert_allclose(stored.std, read.astype(np.float64).std(0), rtol=1e-6)
    assert store.recording_labels("label") == [None, "well", "ill"]
    assert store.recording_labels("site") == [None] * 3
    assert store.events["onset_s"].tolist() == [0.5, 1.0, 3.0]
    assert store.events["recording"].tolist() == [1, 1, 1]
    assert [store.event_kinds[k] for k in store.events["kind"]] == ["a", "b", "a"]
    assert [store.event_labels[k] for k in store.events["label"]] == ["x", "", "y"]
    assert verify(store) == []
    assert not store.signals.flags.writeable


def test_a_changed_byte_is_found(make_store, make_recording) -> None:
    store = make_store([make_recording("a"), make_recording("b")])
    with open(store.path / "signals.npy", "r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")
    assert verify(Store.open(store.path)) == ["b"]


def test_the_bytes_do_not_depend_on_jobs_or_listing(tmp_path: Path) -> None:
    shuffled = replace(COHORT, entries=reversed_entries)
    for number, (dataset, n_jobs) in enumerate([(COHORT, 1), (COHORT, 3), (shuffled, 1)]):
        build_store(dataset, None, tmp_path / f"s{number}", n_jobs=n_jobs)
    trees = [tree_hash(tmp_path / f"s{number}") for number in range(3)]
    assert trees[0] == trees[1] == trees[2]
    assert left_beside(tmp_path / "s0") == ["s0", "s1", "s2"]


def reversed_entries(raw: Path) -> list[Entry]:
    """The cohort, listed from its end."""
    return COHORT.entries(raw)[::-1]


def test_the_key_says_what_was_asked_and_the_hash_what_came_out(make_store, make_recording) -> None:
    recordings = [make_recording("a"), make_recording("b")]
    first, again = make_store(recordings), make_store(recordings)
    other = make_store(recordings, ConditioningSpec(range="keep", channels=["c1", "c0"]))
    newer = make_store(recordings, version="2")
    changed = make_store([recordings[0], make_recording("b", 99)])
    assert first.key == again.key == changed.key
    assert len({first.key, other.key, newer.key}) == 3
    assert first.content_hash == again.content_hash == newer.content_hash
    assert len({first.content_hash, other.content_hash, changed.content_hash}) == 3
    assert [channel.name for channel in other.channels] == ["c1", "c0"]
    assert store_key(COHORT, ConditioningSpec()) != store_key(COHORT, ConditioningSpec(resample_hz=64.0))


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    build_store(COHORT, None, tmp_path / "s", on_progress=lambda *args: told.append(args))
    assert told == [(i + 1, 6, f"P{i + 1:03d}") for i in range(6)]


def test_an_existing_store_is_opened_or_left_alone(tmp_path: Path, make_dataset, make_recording) -> None:
    out = tmp_path / "s"
    dataset = make_dataset([make_recording("a")])
    out.mkdir()  # an empty folder is a free place
    build_store(dataset, None, out)
    before = tree_hash(out)
    unreadable = replace(dataset, read=lambda entry: 1 / 0)
    assert build_store(unreadable, None, out).path == out
    for other, conditioning in [
        (replace(dataset, version="2"), ConditioningSpec()),
        (make_dataset([make_recording("a"), make_recording("b")]), ConditioningSpec()),
        (dataset, ConditioningSpec(channels=["c0"])),
    ]:
        with pytest.raises(DataError, match="another store"):
            build_store(other, None, out, conditioning)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="not a store"):
        build_store(dataset, None, tmp_path / "mine")
    assert tree_hash(out) == before
    assert left_beside(out) == ["mine", "s"]


# --- bad recordings ---------------------------------------------------------------------------------------


def broken(change: Callable[[np.ndarray], None], good: Recording) -> Recording:
    """The recording with a changed signal."""
    samples = good.signal().copy()
    change(samples)
    return replace(good, read=lambda start, stop: samples[start:stop])


def nan_stretch(samples: np.ndarray) -> None:
    samples[20:25, 1] = np.nan


def flat(samples: np.ndarray) -> None:
    samples[:, 0] = 3.0


@pytest.mark.parametrize(("change", "words"), [(nan_stretch, ["NaN", "c1", "2.0"]), (flat, ["flat", "c0"])])
def test_an_implausible_recording_fails_the_build(
    tmp_path: Path, make_dataset, make_recording, change, words: list[str]
) -> None:
    recordings = [make_recording("a"), broken(change, make_recording("bad")), make_recording("c")]
    with pytest.raises(DataError) as caught:
        build_store(make_dataset(recordings), None, tmp_path / "s")
    for word in [*words, "bad"]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left_beside(tmp_path / "s") == []


def test_recordings_must_be_alike(tmp_path: Path, make_dataset, make_recording) -> None:
    a = make_recording("a")
    renamed = replace(make_recording("b"), channels=(Channel("c0", "other", "NU"), Channel("x", "other", "NU")))
    for other, words in [
        (replace(make_recording("b"), sfreq=20.0), "data.resample_hz"),
        (renamed, "data.channels"),
        (replace(make_recording("b"), n_times=0), "holds no samples"),
        (replace(make_recording("b"), n_times=200), "cut short"),
    ]:
        with pytest.raises(DataError, match=words):
            build_store(make_dataset([a, other]), None, tmp_path / "s")
    with pytest.raises(DataError, match="Two recordings are named 'a'"):
        build_store(make_dataset([a, a]), None, tmp_path / "s")
    with pytest.raises(DataError, match="lists no recordings"):
        build_store(make_dataset([]), None, tmp_path / "s")
    stranger = make_dataset([a], read=lambda entry: replace(a, patient="somebody"))
    with pytest.raises(DataError, match="somebody"):
        build_store(stranger, None, tmp_path / "s")
    assert left_beside(tmp_path / "s") == []


def test_a_failing_worker_fails_the_build(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no channel named 'Cz9'") as caught:
        build_store(COHORT, None, tmp_path / "s", ConditioningSpec(channels=["Cz9"]), n_jobs=2)
    assert "P001" in str(caught.value)
    assert left_beside(tmp_path / "s") == []


def test_gaps_that_are_kept_are_marked(make_store, make_recording, monkeypatch) -> None:
    monkeypatch.setattr(convert_module, "BLOCK_VALUES", 46)  # 23 steps: the gap runs over a border of blocks
    store = make_store([broken(nan_stretch, make_recording("a"))])
    gaps = store.events[store.events["kind"] == store.event_kinds.index("gap")]
    assert gaps["onset_s"].tolist() == [2.0]
    assert gaps["duration_s"].tolist() == [0.5]
    read = store.signal("a").astype(np.float64)
    np.testing.assert_allclose(store.recordings[0].mean, np.nanmean(read, axis=0), rtol=1e-6)
    np.testing.assert_allclose(store.recordings[0].std, np.nanstd(read, axis=0), rtol=1e-6)
    assert verify(store) == []


# --- interruptions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 3])
def test_a_full_disk_leaves_nothing(tmp_path: Path, make_dataset, make_recording, monkeypatch, number: int) -> None:
    calls = []
    write = convert_module.write_block

    def full(file, block) -> None:
        calls.append(1)
        if len(calls) > number:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, block)

    monkeypatch.setattr(convert_module, "write_block", full)
    with pytest.raises(DataError, match="disk is full") as caught:
        build_store(make_dataset([make_recording(f"r{i}") for i in range(5)]), None, tmp_path / "s")
    assert caught.value.exit_code == 3
    assert left_beside(tmp_path / "s") == []


def test_ctrl_c_leaves_nothing(tmp_path: Path, make_dataset, make_recording) -> None:
    def stop(done: int, total: int, name: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store(make_dataset([make_recording(f"r{i}") for i in range(5)]), None, tmp_path / "s", on_progress=stop)
    assert left_beside(tmp_path / "s") == []


BUILD = """
import sys, time
from pathlib import Path
from biocl.datasets.synthetic import SyntheticSpec, synthetic_dataset
from biocl.store.build import build_store
def tell(done, total, name):
    print(done, flush=True)
    time.sleep(0.03)
if __name__ == "__main__":
    cohort = synthetic_dataset(SyntheticSpec(kind="eeg", n_patients=6, n_trials=4, n_samples=2))
    print("begin", flush=True)
    build_store(cohort, None, Path(sys.argv[1]), n_jobs=int(sys.argv[2]), on_progress=tell)
    print("end", flush=True)
"""


def test_a_killed_build_loses_nothing(tmp_path: Path) -> None:
    """Killed at random points, then run again: the store is the one of an undisturbed build."""
    script = tmp_path / "build.py"
    script.write_text(BUILD)
    out = tmp_path / "places" / "s"
    out.parent.mkdir()
    rng = np.random.default_rng(7)
    for attempt in range(5):
        child = subprocess.Popen(
            [sys.executable, str(script), str(out), "2" if attempt == 1 else "1"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(biocl.__file__).parents[1])},
        )
        for _ in range(1 + int(rng.integers(6))):
            assert child.stdout.readline()
        time.sleep(float(rng.uniform(0, 0.04)))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert [name for name in left_beside(out) if not name.startswith(".")] in ([], ["s"])
        if out.exists():  # on a very slow machine it may have come to its end
            assert verify(Store.open(out)) == []
        else:
            with pytest.raises(DataError, match="no prepared store"):
                Store.open(out)
    build_store(COHORT, None, out)
    build_store(COHORT, None, tmp_path / "undisturbed")
    assert tree_hash(out) == tree_hash(tmp_path / "undisturbed")
    assert left_beside(out) == ["s"]


def test_two_builders_do_not_meet(tmp_path: Path, make_dataset, make_recording) -> None:
    out = tmp_path / "s"
    dataset = make_dataset([make_recording("a")])
    with workspace(out) as folder:
        (folder / "half").write_text("written by the first")
        with pytest.raises(DataError, match="Another process is preparing"):
            build_store(dataset, None, out)
        assert (folder / "half").exists()
    assert left_beside(out) == ["s"]


def test_remains_of_a_builder_killed_after_the_rename_are_removed(tmp_path: Path, make_dataset, make_recording) -> None:
    out = tmp_path / "s"
    dataset = make_dataset([make_recording("a")])
    build_store(dataset, None, out)
    (tmp_path / ".s.partial").mkdir()
    (tmp_path / ".s.partial" / "lock").touch()
    build_store(dataset, None, out)
    assert left_beside(out) == ["s"]


# --- opening ----------------------------------------------------------------------------------------------


def test_opening_says_what_is_wrong(tmp_path: Path, make_store, make_recording) -> None:
    with pytest.raises(DataError, match="biocl data prepare"):
        Store.open(tmp_path / "nowhere")
    store = make_store([make_recording("a")])
    whole = (store.path / "signals.npy").read_bytes()
    (store.path / "signals.npy").write_bytes(whole[:-40])
    with pytest.raises(DataError, match="damaged"):
        Store.open(store.path)
    (store.path / "signals.npy").unlink()
    with pytest.raises(DataError, match="damaged"):
        Store.open(store.path)
    (store.path / "store.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="another format"):
        Store.open(store.path)


def test_a_store_travels_to_other_processes_by_its_path(make_store, make_recording) -> None:
    store = make_store([make_recording("a", 5000)])
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent).signals, store.signals)


def test_opening_many_recordings_takes_milliseconds(make_store, make_recording) -> None:
    beats = Events.of("beat", np.arange(10) / 10)
    store = make_store([make_recording(f"r{i}", 10, patient=f"p{i % 99}", events=beats) for i in range(2_000)])
    times = []
    for _ in range(5):
        start = time.perf_counter()
        Store.open(store.path)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05  # about 0.003 s where nothing else runs


def test_describe(tmp_path: Path) -> None:
    store = build_store(COHORT, None, tmp_path / "s")
    text = describe(store)
    assert text["patients"] == text["recordings"] == 6
    assert text["windows"] == 6 * 4 * 2 == sum(text["classes"].values())
    assert text["trials"] == 24
    assert text["classes"] == {"class-0": 24, "class-1": 24}
    assert text["events"] == {"trial": 24}


def test_a_data_set_without_default_windows_is_prepared_all_the_same(make_store, make_recording, make_dataset) -> None:
    bare = make_store([make_recording("a")])
    with pytest.raises(DataError, match="no default windows"):
        bare.windows  # noqa: B018
    too_long = {"windows": {"kind": "sliding", "length_s": 99.0, "step_s": 1.0}}
    with pytest.raises(DataError, match="shorter than a window: 1"):
        make_store([make_recording("a")], defaults=too_long).windows  # noqa: B018
    assert isinstance(make_dataset([]), Dataset)
