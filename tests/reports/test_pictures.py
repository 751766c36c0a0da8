"""Pictures of stores: they open, show what they should, and cope with odd stores."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biocl.datasets.dataset import Dataset, Entry
from biocl.reports.pictures import clock, distances, examples, picture_of_store, round_up, shown_channels
from biocl.signals.recording import Channel, ChannelKind, Events, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.quality import window_quality
from biocl.store.spec import RecordingTrials, SlidingWindows
from biocl.store.store import Store
from biocl.store.table import WindowTable
from biocl.store.windows import derive_windows

MakeStore = Callable[..., Store]


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """A store of six patients' recordings of 20 s at 50 Hz, of two classes."""

    def make(channels: list[Channel], n_recordings: int = 6, classes: tuple[str, ...] = ("rest", "walk")) -> Store:
        recordings = {}
        for number in range(n_recordings):
            chance = np.random.default_rng(number)
            signal = (1 + np.arange(len(channels))) * chance.standard_normal((1000, len(channels)))
            signal[300:350] = np.nan
            events = Events.of("trial", [0.0, 10.0], 10.0, ["rest", "walk"])
            name = f"r{number}"
            recordings[name] = Recording.from_array(name, f"P{number}", 50.0, signal, channels, events=events)
        dataset = Dataset(
            name="memory",
            modality="other",
            version="1",
            entries=lambda raw: [Entry(r.name, r.patient) for r in recordings.values()],
            read=lambda entry: recordings[entry.name],
            classes=classes,
        )
        keep = ConditioningSpec(nan="keep", flat="keep", range="keep")
        return build_store(dataset, None, tmp_path / f"store-{len(list(tmp_path.iterdir()))}", keep)

    return make


def table_of(store: Store, length_s: float = 4.0) -> WindowTable:
    from biocl.store.spec import EventTrials

    windows = SlidingWindows(kind="sliding", length_s=length_s, step_s=length_s, short="pad")
    return derive_windows(store, windows, EventTrials(kind="event"), most_missing=1.0)


def pixels(data: bytes) -> np.ndarray:
    from matplotlib.image import imread

    return np.asarray(imread(io.BytesIO(data), format="png"))


ECG = [Channel("II", "ecg", "mV"), Channel("V1", "ecg", "mV")]


def test_a_picture_opens_and_is_not_empty(make_store: MakeStore) -> None:
    store = make_store(ECG)
    table = table_of(store)
    values = window_quality(store, table, aligned=False)
    picture = pixels(picture_of_store(store, table, values))
    height, width = picture.shape[:2]
    assert 1200 <= width <= 1500
    assert 400 <= height <= 1500
    ink = (picture[..., :3].mean(axis=2) < 0.5).mean()
    assert 0.005 < ink < 0.5
    assert picture_of_store(store, table, values) == picture_of_store(store, table, values)
    assert picture_of_store(store, table, values, seed=1) != picture_of_store(store, table, values)


@pytest.mark.parametrize(("form", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_forms(make_store: MakeStore, form: str, start: bytes) -> None:
    store = make_store(ECG, n_recordings=2)
    assert picture_of_store(store, table_of(store), {}, form=form).startswith(start)


def test_names_units_seconds_classes_and_patients_are_written(make_store: MakeStore) -> None:
    store = make_store([Channel("wrist-x", "acc", "m/s2", "wrist"), Channel("Cz", "eeg", "uV")])
    table = table_of(store)
    values = window_quality(store, table, aligned=False)
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        text = picture_of_store(store, table, values, form="svg").decode()
    for word in ("wrist-x [m/s2]", "Cz [uV]", "seconds", "rest (", "walk (", "patient P", "kurtosis", "acc ", "eeg "):
        assert word in text, word


def test_examples_are_of_different_patients_in_every_class(make_store: MakeStore) -> None:
    table = table_of(make_store(ECG))
    columns = examples(table, 0)
    assert [title.split()[0] for title, _ in columns] == ["rest", "walk"]
    for number, (title, rows) in enumerate(columns):
        assert (table.label[rows] == number).all()
        assert len(set(table.patient[rows].tolist())) == 2
        assert f"({int((table.label == number).sum())} windows)" in title


def test_without_classes_the_columns_are_recordings(make_store: MakeStore) -> None:
    store = make_store(ECG, n_recordings=8)
    windows = SlidingWindows(kind="sliding", length_s=4.0, step_s=4.0, keep_unlabelled=True)
    table = derive_windows(store, windows, RecordingTrials(kind="recording"), classes=())
    columns = examples(table, 0)
    assert [title.split()[0] for title, _ in columns] == ["r0", "r2", "r4", "r5", "r7"]
    assert picture_of_store(store, table, {})


def test_many_channels_are_thinned_with_every_kind_among_them(make_store: MakeStore) -> None:
    kinds: tuple[tuple[ChannelKind, str], ...] = (("acc", "m/s2"), ("gyr", "deg/s"))
    many = [Channel(f"u{d}-{k}-{a}", k, unit, f"u{d}") for d in range(5) for k, unit in kinds for a in "xyz"]
    shown = shown_channels(many)
    assert len(shown) <= 12
    assert {many[i].device for i in shown} == {f"u{d}" for d in range(5)}
    assert {many[i].kind for i in shown} == {"acc", "gyr"}
    more = [replace(c, name=f"{c.name}{k}", kind=k) for c in many[::6] for k in ("acc", "gyr", "mag", "emg")]
    assert {more[i].device for i in shown_channels(more)} == {f"u{d}" for d in range(5)}
    assert len(shown_channels(more)) == 12
    eeg = [Channel(f"E{i}", "eeg", "uV") for i in range(64)]
    assert len(shown_channels(eeg)) == 12
    store = make_store(many, n_recordings=2)
    assert pixels(picture_of_store(store, table_of(store), {})).shape[0] < 1500


def test_padding_gaps_and_flat_channels_are_no_error(make_store: MakeStore) -> None:
    store = make_store(ECG)
    table = table_of(store, 12.0)  # longer than a trial: padded
    assert table.has_padding
    assert picture_of_store(store, table, window_quality(store, table, aligned=False))
    silent = replace(store, signals=np.zeros_like(store.signals))
    assert picture_of_store(silent, table, {})
    absent = replace(store, signals=np.full_like(store.signals, np.nan))
    assert picture_of_store(absent, table, {})


@pytest.mark.parametrize(
    ("value", "round_number"), [(0.26, 0.3), (0.5, 0.5), (0.51, 0.7), (7.1, 10), (0, 1), (np.nan, 1)]
)
def test_distances_are_round(value: float, round_number: float) -> None:
    assert round_up(value) == pytest.approx(round_number)


def test_a_distance_belongs_to_a_kind_in_its_unit() -> None:
    windows = np.random.default_rng(0).standard_normal((4, 500, 3)).astype(np.float32) * [1.0, 1.0, 300.0]
    channels = [*ECG, Channel("Cz", "eeg", "uV")]
    found = distances(channels, windows)
    assert found == {("ecg", "mV"): 5.0, ("eeg", "uV"): 1000.0}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0:00.0"), (83.44, "1:23.4"), (59.97, "1:00.0"), (3725.0, "1:02:05.0"), (1e6, "day 11.57")],
)
def test_times_are_read_as_a_clock_shows_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text
