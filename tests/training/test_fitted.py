"""Scalers and Euclidean alignment: fitted on train, known values, no look at the future, the same bits every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.datasets.dataset import Dataset, Entry
from biocl.errors import DataError
from biocl.signals.recording import Channel, Events, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.spec import EventTrials, SlidingWindows, StretchTrials, TrialWindows
from biocl.store.store import Store
from biocl.store.windows import derive_windows
from biocl.training.checkpoint import load_checkpoint, save_checkpoint
from biocl.training.data import Windows
from biocl.training.euclidean import Groups, covariances, running_means, whitener
from biocl.training.fitted import Fitted, mean_and_std
from biocl.training.spec import AlignSpec

CPU = torch.device("cpu")
ACCEPT = ConditioningSpec(nan="keep", flat="keep", range="keep")
N_CHANS, PATIENTS = 4, ("a", "b", "c", "d")
MakeStore = Callable[..., Store]


def recordings(change: Callable[[str, np.ndarray], np.ndarray] = lambda name, x: x) -> list[Recording]:
    """Two recordings of every patient, each patient mixing its sources in another way."""
    channels = [Channel(f"c{i}", "other", "NU") for i in range(N_CHANS)]
    found = []
    for number, patient in enumerate(PATIENTS):
        mixing = np.random.default_rng(number).standard_normal((N_CHANS, N_CHANS))
        for session in ("1", "2"):
            rng = np.random.default_rng([number, int(session)])
            values = rng.standard_normal((1000, N_CHANS)) @ mixing + number
            name = f"{patient}{session}"
            found.append(Recording.from_array(name, patient, 100.0, change(name, values), channels, session=session))
    return found


@pytest.fixture(scope="module")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> MakeStore:
    def make(found: list[Recording]) -> Store:
        by_name = {one.name: one for one in found}
        dataset = Dataset(
            name="memory",
            modality="other",
            version="1",
            entries=lambda raw: [Entry(r.name, r.patient, r.session, r.source) for r in found],
            read=lambda entry: by_name[entry.name],
            classes=(),
        )
        return build_store(dataset, None, tmp_path_factory.mktemp("store") / "s", ACCEPT)

    return make


@pytest.fixture(scope="module")
def store(make_store: MakeStore) -> Store:
    return make_store(recordings())


def windows_of(store: Store, scale: str = "none", mode: str | None = None, per: str = "patient") -> Windows:
    """Windows of half a second; patients a and b are the training part."""
    table = derive_windows(
        store, SlidingWindows(kind="sliding", length_s=0.5, step_s=0.4), StretchTrials(kind="stretch", length_s=2.5)
    )
    align = None if mode is None else AlignSpec(kind="euclidean", mode=mode, per=per)
    train = np.flatnonzero(table.patient < 2)
    return Windows(store, table, scale, align, train)


def rows_of(windows: Windows, patient: str) -> np.ndarray:
    return np.flatnonzero(np.array(windows.table.names["patient"])[windows.table.patient] == patient)


def mean_cov(x: np.ndarray) -> np.ndarray:
    """Mean of `numpy.cov` over windows (n, n_chans, n_times)."""
    return np.mean([np.cov(one.astype(np.float64)) for one in x], axis=0)


# Scalers


def each_step_once(windows: Windows) -> np.ndarray:
    """The signal under the training windows, (n, n_chans) float64, where windows overlap once."""
    plain = windows_of(windows.store)
    seen = {}
    for row in windows.train:
        for step, value in enumerate(plain.arrays(np.array([row]))[0].T.astype(np.float64)):
            seen[int(plain.table.recording[row]), int(plain.table.start[row]) + step] = value
    return np.stack(list(seen.values()))


def test_train_scaler_is_that_of_all_training_windows(store: Store) -> None:
    windows = windows_of(store, "train")
    signal = each_step_once(windows)
    assert len(signal) < len(windows.train) * windows.n_times
    mean, std = signal.mean(axis=0), signal.std(axis=0)
    np.testing.assert_allclose(windows.known.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(windows.known.std, std, rtol=1e-10)
    test = rows_of(windows, "d")
    expected = (windows_of(store).arrays(test) - mean[:, None]) / std[:, None]
    np.testing.assert_allclose(windows.arrays(test), expected, atol=1e-5)
    assert np.array_equal(windows.batch(test, CPU).x.numpy(), windows.arrays(test))


def test_the_scale_of_a_kind_is_one_number_and_keeps_proportions(store: Store) -> None:
    windows, plain = windows_of(store, "kind"), windows_of(store)
    kinds = [channel.kind for channel in store.channels]
    signal = each_step_once(windows)
    for kind in set(kinds):
        mine = [i for i, one in enumerate(kinds) if one == kind]
        rms = np.sqrt(np.mean([(signal[:, i] ** 2).mean() for i in mine]))
        np.testing.assert_allclose(windows.known.std[mine], rms, rtol=1e-10)
    test = rows_of(windows, "d")
    expected = plain.arrays(test) / windows.known.std[:, None]
    np.testing.assert_allclose(windows.arrays(test), expected, rtol=1e-5, atol=1e-6)


def test_what_is_fitted_does_not_change_with_validation_and_test(store: Store, make_store: MakeStore) -> None:
    other = make_store(recordings(lambda name, x: x if name[0] in "ab" else 5 * x + 3))
    for keys in ({"scale": "train"}, {"mode": "inductive"}, {"mode": "transductive", "scale": "train"}):
        here, there = windows_of(store, **keys), windows_of(other, **keys)
        for name, array in here.known.arrays().items():
            np.testing.assert_array_equal(array, there.known.arrays()[name])
        np.testing.assert_array_equal(here.arrays(here.train), there.arrays(here.train))


def test_trial_statistics_do_not_change_when_other_trials_do(store: Store, make_store: MakeStore) -> None:
    def change(name: str, x: np.ndarray) -> np.ndarray:
        x = x.copy()
        if name == "c1":
            x[250:] = 100 * x[250:] + 7  # all trials of this recording but the first
        return x if name == "c1" else 3 * x

    here, there = windows_of(store, "trial"), windows_of(make_store(recordings(change)), "trial")
    first = rows_of(here, "c")
    first = first[here.table.trial[first] == here.table.trial[first[0]]]
    assert len(first) > 3
    np.testing.assert_array_equal(here.arrays(first), there.arrays(first))
    others = rows_of(here, "c")[len(first) :]
    assert not np.array_equal(here.arrays(others), there.arrays(others))


def test_trial_scale_against_a_slow_loop(store: Store) -> None:
    windows, plain = windows_of(store, "trial"), windows_of(store)
    table = windows.table
    for row in (0, 17, len(table) - 1):
        same = np.flatnonzero(table.trial == table.trial[row])
        begin, end = table.start[same].min(), table.start[same].max() + table.n_times
        stretch = store.signal(int(table.recording[row]))[begin:end].astype(np.float64)
        expected = (plain.arrays(np.array([row]))[0] - stretch.mean(0)[:, None]) / stretch.std(0)[:, None]
        np.testing.assert_allclose(windows.arrays(np.array([row]))[0], expected, atol=1e-5)


def test_padding_counts_nowhere_and_stays_zero(make_store: MakeStore) -> None:
    trials = Events.of("trial", [0.0, 3.0, 9.0], [2.0, 5.0, 1.0])
    store = make_store([replace(one, events=trials) for one in recordings()])
    table = derive_windows(store, TrialWindows(kind="trial"), EventTrials(kind="event"))
    assert table.has_padding
    train = np.flatnonzero(table.patient < 2)
    plain = Windows(store, table, "none")
    valid = plain.batch(train, CPU).valid.numpy()
    values = plain.arrays(train).transpose(0, 2, 1)[valid].astype(np.float64)
    fitted = Windows(store, table, "train", None, train)
    np.testing.assert_allclose(fitted.known.mean, values.mean(0), rtol=1e-10)
    np.testing.assert_allclose(fitted.known.std, values.std(0), rtol=1e-10)
    every = np.arange(len(table))
    padding = ~plain.batch(every, CPU).valid.numpy()
    for keys in (("trial", None), ("train", None), ("train", AlignSpec(kind="euclidean"))):
        x = Windows(store, table, *keys, train).arrays(every).transpose(0, 2, 1)
        assert not x[padding].any()
        assert np.isfinite(x).all()
    aligned = Windows(store, table, "none", AlignSpec(kind="euclidean"), train)
    mine = train[table.patient[train] == 0]
    found = [np.cov(aligned.arrays(np.array([i]))[0][:, ~padding[i]].astype(np.float64)) for i in mine]
    np.testing.assert_allclose(np.mean(found, axis=0), np.eye(N_CHANS), atol=1e-5)


def test_missing_samples_count_nowhere_and_stay_zero(make_store: MakeStore) -> None:
    def broken(name: str, x: np.ndarray) -> np.ndarray:
        x = x.copy()
        x[305:320, 1] = np.nan
        return x

    store = make_store(recordings(broken))
    table = derive_windows(
        store,
        SlidingWindows(kind="sliding", length_s=0.5, step_s=0.5),
        StretchTrials(kind="stretch", length_s=2.5),
        most_missing=0.5,
    )
    assert table.has_gaps
    train, every = np.flatnonzero(table.patient < 2), np.arange(len(table))
    present = Windows(store, table, "none").batch(every, CPU).valid.numpy()
    assert not present.all()
    values = Windows(store, table, "none").arrays(train).transpose(0, 2, 1)[present[train]].astype(np.float64)
    np.testing.assert_allclose(Windows(store, table, "train", None, train).known.mean, values.mean(0), rtol=1e-10)
    assert np.isfinite(Windows(store, table, "trial").arrays(every)).all()
    for mode in ("inductive", "online", "transductive"):
        aligned = Windows(store, table, "trial", AlignSpec(kind="euclidean", mode=mode), train).arrays(every)
        assert np.isfinite(aligned).all()
        assert not aligned.transpose(0, 2, 1)[~present].any()
        mine = train[table.patient[train] == 0]
        found = [np.cov(aligned[i][:, present[i]].astype(np.float64)) for i in mine]
        np.testing.assert_allclose(np.mean(found, axis=0), np.eye(N_CHANS), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 59), max_size=5), seed=st.integers(0, 99))
def test_mean_and_std_do_not_depend_on_blocks(cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((60, 7, 3)) * [1, 50, 1e-3] + [1e4, 0, 1]).astype(np.float32)
    valid = rng.random((60, 7)) > 0.3
    blocks = [(x[part], valid[part]) for part in np.split(np.arange(60), sorted(set(cuts)))]
    mean, std = mean_and_std(blocks)
    np.testing.assert_allclose(mean, x[valid].astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, x[valid].astype(np.float64).std(0), rtol=1e-9)


# Alignment


@pytest.mark.parametrize("mode", ["inductive", "online", "transductive"])
@pytest.mark.parametrize("per", ["patient", "session", "recording"])
@pytest.mark.parametrize("scale", ["none", "train", "recording"])
def test_the_mean_covariance_of_aligned_training_windows_is_the_identity(
    store: Store, mode: str, per: str, scale: str
) -> None:
    windows = windows_of(store, scale, mode, per)
    numbers = Groups.of(windows.table, per).number[windows.train]
    assert len(np.unique(numbers)) == (2 if per == "patient" else 4)
    for group in np.unique(numbers):
        aligned = windows.arrays(windows.train[numbers == group])
        np.testing.assert_allclose(mean_cov(aligned), np.eye(N_CHANS), atol=1e-5)


def test_inductive_reads_an_unseen_patient_by_the_training_mean(store: Store) -> None:
    windows, plain = windows_of(store, mode="inductive"), windows_of(store)
    reference = mean_cov(plain.arrays(windows.train))
    values, vectors = np.linalg.eigh(reference)
    inverse_root = vectors @ np.diag(values**-0.5) @ vectors.T
    test = rows_of(windows, "c")
    np.testing.assert_allclose(windows.arrays(test), inverse_root @ plain.arrays(test), atol=1e-4)
    assert np.abs(mean_cov(windows.arrays(test)) - np.eye(N_CHANS)).max() > 0.1


def test_transductive_reads_a_patient_by_all_of_its_own_windows(store: Store) -> None:
    windows = windows_of(store, mode="transductive")
    for patient in "cd":
        aligned = windows.arrays(rows_of(windows, patient))
        np.testing.assert_allclose(mean_cov(aligned), np.eye(N_CHANS), atol=1e-5)


def test_online_after_k_windows_is_the_batch_reference_of_those_k(store: Store) -> None:
    windows, plain = windows_of(store, mode="online"), windows_of(store)
    rows = rows_of(windows, "d")
    order = rows[np.lexsort((windows.table.start[rows], windows.table.recording[rows]))]
    running = running_means(covariances(plain.read(order)))
    for k in (1, 2, 7, len(order)):
        reference = mean_cov(plain.arrays(order[:k]))
        np.testing.assert_allclose(running[k - 1], reference, atol=1e-8)
        found = windows.aligner.whiteners(order[k - 1 : k])[0]
        np.testing.assert_allclose(found, whitener(reference), atol=1e-8)
    shuffled = np.random.default_rng(0).permutation(rows)
    at = {row: i for i, row in enumerate(rows.tolist())}
    np.testing.assert_array_equal(windows.arrays(shuffled), windows.arrays(rows)[[at[row] for row in shuffled]])


def test_online_never_sees_the_future(store: Store, make_store: MakeStore) -> None:
    changed = make_store(recordings(lambda name, x: 9 * x if name == "d2" else x))
    here, there = windows_of(store, mode="online"), windows_of(changed, mode="online")
    rows = rows_of(here, "d")
    early = rows[here.table.recording[rows] == here.table.recording[rows].min()]
    late = np.setdiff1d(rows, early)
    np.testing.assert_array_equal(here.arrays(early), there.arrays(early))
    assert not np.allclose(here.arrays(late), there.arrays(late))
    whole = windows_of(store, mode="transductive"), windows_of(changed, mode="transductive")
    assert not np.allclose(whole[0].arrays(early), whole[1].arrays(early))


def test_average_referenced_windows_stay_finite(make_store: MakeStore) -> None:
    store = make_store(recordings(lambda name, x: x - x.mean(axis=1, keepdims=True)))
    projection = np.eye(N_CHANS) - 1 / N_CHANS
    for mode in ("inductive", "online", "transductive"):
        windows = windows_of(store, mode=mode)
        every = windows.arrays(np.arange(len(windows)))
        assert np.isfinite(every).all()
        assert np.abs(every).max() < 100
        mine = rows_of(windows, "a")
        np.testing.assert_allclose(mean_cov(every[mine]), projection, atol=1e-5)


def test_a_whitener_is_symmetric_and_undoes_its_covariance() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((5, 6, 6))
    references = root @ root.transpose(0, 2, 1)
    found = whitener(references)
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1))
    np.testing.assert_allclose(found @ references @ found, np.broadcast_to(np.eye(6), (5, 6, 6)), atol=1e-9)
    assert np.isfinite(whitener(np.zeros((3, 3)))).all()
    assert found.dtype == np.float64


def test_the_same_bits_every_time_and_for_any_number_of_threads(store: Store) -> None:
    from threadpoolctl import threadpool_limits

    first = windows_of(store, "train", "inductive")
    with threadpool_limits(limits=4, user_api="blas"):
        second = windows_of(store, "train", "inductive")
        for name, array in first.known.arrays().items():
            np.testing.assert_array_equal(array, second.known.arrays()[name])
        np.testing.assert_array_equal(first.aligner.unseen, second.aligner.unseen)
    order = np.random.default_rng(1).permutation(first.train)
    again = replace(first, train=order)
    for name, array in first.known.arrays().items():
        np.testing.assert_array_equal(array, again.known.arrays()[name])


def test_groups_are_in_time_by_session_recording_and_start(store: Store) -> None:
    table = windows_of(store).table
    mixed = table.take(np.random.default_rng(0).permutation(len(table)))
    mixed.rows["session"] %= np.where(
        mixed.rows["patient"] < 2, 1, 2
    )  # two patients have one session of two recordings
    groups = Groups.of(mixed, "patient")
    for group in range(len(groups.names)):
        rows = mixed.rows[groups.rows(group)]
        moments = list(zip(rows["session"], rows["recording"], rows["start"], strict=True))
        assert moments == sorted(moments)
        assert len(set(rows["patient"].tolist())) == 1


# In a file


def test_a_checkpoint_keeps_every_bit_and_another_store_is_read_by_it(
    store: Store, make_store: MakeStore, tmp_path: Path
) -> None:
    windows = windows_of(store, "train", "inductive")
    save_checkpoint(tmp_path, weights={}, average={}, optimiser=None, state={"step": 1}, fitted=windows.known)
    back = load_checkpoint(tmp_path).fitted
    for name, array in windows.known.arrays().items():
        np.testing.assert_array_equal(array, back.arrays()[name])
        assert array.dtype == back.arrays()[name].dtype
    everyone = np.arange(len(windows))
    read_back = replace(windows, train=None, fitted=back)
    np.testing.assert_array_equal(read_back.arrays(everyone), windows.arrays(everyone))
    # A store of the same data set with one training patient and a new one, under other numbers.
    found = {one.name: one for one in recordings()}
    new = [replace(found["d1"], name="z1", patient="z"), found["b1"]]
    other = replace(windows_of(make_store(new), "train", "inductive"), train=None, fitted=back)
    ours = windows.arrays(rows_of(windows, "b")[: len(rows_of(other, "b"))])
    np.testing.assert_array_equal(other.arrays(rows_of(other, "b")), ours)
    unseen = windows.arrays(rows_of(windows, "d")[: len(rows_of(other, "z"))])
    np.testing.assert_array_equal(other.arrays(rows_of(other, "z")), unseen)
    assert "fitted" not in {path.stem for path in save_nothing(tmp_path / "none").iterdir()}


def save_nothing(folder: Path) -> Path:
    return save_checkpoint(folder, weights={}, average={}, optimiser=None, state={"step": 1}, fitted=Fitted())


def test_marks_name_what_looks_at_test_patients() -> None:
    assert AlignSpec(kind="euclidean").mode == "inductive"
    assert AlignSpec(kind="euclidean").marks == ()
    assert "transductive" in AlignSpec(kind="euclidean", mode="transductive").marks[0]
    assert "online" in AlignSpec(kind="euclidean", mode="online").marks[0]


def test_nothing_to_fit_on_is_said(store: Store) -> None:
    with pytest.raises(DataError, match="no training windows"):
        _ = replace(windows_of(store, "train"), train=np.array([], int)).known
