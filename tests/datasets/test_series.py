"""The forecasting sets: sizes, borders, windows, files in every form, and faults."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biocl.datasets import series
from biocl.datasets.card import read_card
from biocl.datasets.dataset import Dataset
from biocl.datasets.registry import find_dataset
from biocl.datasets.series import SERIES, Series
from biocl.errors import DataError
from biocl.splits.make import assign_and_count, make_splits
from biocl.splits.spec import NamedSplit
from biocl.store.build import build_store

FOLDER = {"etth1": "ETT-small", "etth2": "ETT-small", "exchange": "exchange_rate", "illness": "illness"}
SMALL = Series("small", "small.csv", 50, 2, 3600.0)
Write = Callable[..., Path]


def rows_of(n_rows: int, n_columns: int, step: str = "1h") -> list[str]:
    """A table in the published form, a line each."""
    import pandas as pd

    dates = pd.date_range("2016-07-01", periods=n_rows, freq=step)
    values = np.random.default_rng(0).normal(size=(n_rows, n_columns)).round(3)
    names = [f"c{number}" for number in range(n_columns - 1)] + ["OT"]
    lines = [",".join([str(date), *map(str, row)]) for date, row in zip(dates, values.tolist(), strict=True)]
    return [",".join(["date", *names]), *lines]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(rows, name)`` writes a file and gives its folder."""

    def make(rows: list[str], name: str = "small.csv") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = ("\n".join(rows) + "\n").encode()
        pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
        path.write_bytes(pack(text))
        return tmp_path

    return make


def opened(raw: Path, spec: Series = SMALL) -> series.Recording:
    [entry] = series.entries(raw, spec)
    return series.read(entry, spec)


@pytest.mark.parametrize("name", FOLDER)
def test_real_files(name: str, test_data: Path, tmp_path: Path) -> None:
    import pandas as pd

    dataset, spec, card = find_dataset(name), SERIES[name], read_card(name)
    raw = test_data / "forecasting" / FOLDER[name]
    store = build_store(dataset, raw, tmp_path / "store")
    table = store.windows
    assert (len(store), store.patient_names, store.recording_names) == (1, (name,), (name,))
    assert 1 / store.sfreq == pytest.approx(spec.interval_s)
    assert len(table) == card.windows == spec.n_rows - spec.window_steps + 1
    assert table.n_times == spec.window_steps
    assert set(table.label.tolist()) == {-1}
    assert (card.patients, card.recordings, card.classes) == (1, 1, {})
    expected = pd.read_csv(raw / spec.file).iloc[:, 1:]
    assert [channel.name for channel in store.channels] == card.channels == list(expected.columns)
    assert np.array_equal(store.signal(name), expected.to_numpy(np.float32))
    assert store.notes == ((),)
    # Published borders: windows that lie wholly inside each part.
    [split_name] = store.splits
    [split] = make_splits(NamedSplit(name=split_name, scope="time"), table, store.splits)
    rows, left_out = assign_and_count(split, table)
    first, second, end = series.borders(spec)
    sizes = {"train": (0, first), "validation": (first, second), "test": (second, end)}
    for part, (start, stop) in sizes.items():
        inside = [row for row, s in enumerate(table.start.tolist()) if start <= s and s + spec.window_steps <= stop]
        assert rows[part].tolist() == inside
        assert len(inside) == stop - start - spec.window_steps + 1
    assert left_out["overlaps another part"] == 0
    assert not split.patient_independent


def test_borders_are_the_published_ones() -> None:
    assert {name: series.borders(spec) for name, spec in SERIES.items()} == {
        "etth1": (8640, 11520, 14400),
        "etth2": (8640, 11520, 14400),
        "ettm1": (34560, 46080, 57600),
        "ettm2": (34560, 46080, 57600),
        "exchange": (5311, 6071, 7588),
        "illness": (676, 773, 966),
        "electricity": (18412, 21044, 26304),
        "weather": (36887, 42157, 52696),
        "traffic": (12280, 14036, 17544),
    }


@pytest.mark.parametrize("name", SERIES)
def test_split_files_and_cards_agree_with_the_sizes(name: str) -> None:
    dataset, spec, card = find_dataset(name), SERIES[name], read_card(name)
    [(split_name, content)] = dataset.splits.items()
    assert content["scope"] == "time"
    [fold] = content["folds"]
    first, second, end = series.borders(spec)
    for part, (start, stop) in {"train": (0, first), "validation": (first, second), "test": (second, end)}.items():
        assert fold["intervals"][part] == {name: [[start * spec.interval_s, stop * spec.interval_s]]}
    assert set(card.splits) == {split_name}
    assert f"{first - 1} / {first}-{second - 1} / {second}-{end - 1}" in card.splits[split_name]
    assert card.windows == spec.n_rows - spec.window_steps + 1
    assert card.sfreq_hz == pytest.approx(1 / spec.interval_s)
    assert (card.access, card.licence, card.source) == (dataset.access, dataset.licence, dataset.homepage)
    n_channels = sum(card.channels.values()) if isinstance(card.channels, dict) else len(card.channels)
    assert n_channels == spec.n_columns


def test_what_may_not_be_shared_says_so() -> None:
    for name in SERIES:
        dataset = find_dataset(name)
        assert (dataset.download is not None) == name.startswith("ett")
        if name.startswith("ett"):
            assert "CC BY-ND" in dataset.licence
            assert "not to be shared" in dataset.notes
    assert {name for name in SERIES if find_dataset(name).access == "request"} == {
        "exchange",
        "illness",
        "weather",
        "traffic",
    }


@pytest.mark.parametrize("name", ["weather", "electricity", "traffic", "ettm1"])
def test_sets_that_are_not_here_are_read_from_their_published_layout(name: str, write: Write, tmp_path: Path) -> None:
    """The layout at another size, since the real one would take minutes to write."""
    spec = replace(SERIES[name], n_rows=200, n_columns=5)
    step = f"{int(spec.interval_s // 60)}min"
    raw = write(rows_of(200, 5, step), f"{name}/{spec.file}")
    dataset = series.data_set(name)
    small = replace(
        dataset,
        entries=series.partial(series.entries, series=spec),
        read=series.partial(series.read, series=spec),
    )
    store = build_store(small, raw, tmp_path / "store")
    assert store.signal(name).shape == (200, 5)
    assert len(store.windows) == 105
    with pytest.raises(DataError, match=rf"200 rows of 5 numbers, and the published {name}"):
        dataset.read(dataset.entries(raw)[0])


@pytest.mark.parametrize("name", ["small.csv", "small.csv.gz", "small.csv.xz", "below/small.csv"])
def test_every_form_of_the_file(name: str, write: Write) -> None:
    rows = rows_of(50, 2)
    recording = opened(write(rows, name))
    assert recording.channel_names == ("c0", "OT")
    assert {(channel.kind, channel.unit) for channel in recording.channels} == {("other", "NU")}
    expected = [[float(cell) for cell in row.split(",")[1:]] for row in rows[1:]]
    assert recording.signal() == pytest.approx(np.array(expected), abs=1e-6)
    assert recording.sfreq == pytest.approx(1 / 3600)
    assert recording.notes == ()


def test_odd_steps_in_time_are_noted_and_backward_ones_refused(write: Write) -> None:
    rows = rows_of(60, 2)
    [note] = opened(write([*rows[:11], *rows[21:]])).notes
    assert note.startswith("1 steps in time are not 3600 s long, the first behind row 10")
    repeated = [*rows[:11], rows[10], *rows[11:50]]
    assert opened(write(repeated)).notes[0].startswith("1 steps")
    with pytest.raises(DataError, match=r"time goes backwards, from row 10 to row 11 \(1 such places\)"):
        opened(write([*rows[:11], rows[3], *rows[21:60]]))
    with pytest.raises(DataError, match="A date is missing"):
        opened(write([*rows[:11], rows[11][rows[11].index(",") :], *rows[12:51]]))


def test_faulty_files_are_one_error_each(write: Write, tmp_path: Path) -> None:
    rows = rows_of(50, 2)
    with pytest.raises(DataError, match=r"small\.csv is not here.*--raw"):
        series.entries(tmp_path, SMALL)
    cut = [*rows[:30], rows[30][:25]]
    for bad, message in (
        (rows[:40], "39 rows of 2 numbers"),
        (cut, "rows of 2 numbers"),
        ([*rows[:30], rows[30].replace(",", ",x", 1), *rows[31:]], "not a table of a date and numbers"),
        ([*rows[:30], rows[30] + ",1", *rows[31:]], "not a table of a date and numbers"),
        ([rows[0].replace("date", "when"), *rows[1:]], "no column 'date'"),
        ([rows[0]], "not a table"),
        ([""], "not a table"),
        ([*rows[:5], "soon" + rows[5][19:], *rows[6:]], "not a table of a date"),
    ):
        raw = write(bad)
        with pytest.raises(DataError, match=message):
            opened(raw)
    (tmp_path / "small.csv").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(DataError):
        opened(tmp_path)
    (tmp_path / "small.csv").unlink()
    packed = gzip.compress("\n".join(rows).encode())
    for broken in (packed[:200], packed[:60] + b"\xff\xff\xff" + packed[63:], b"no gzip"):
        (tmp_path / "small.csv.gz").write_bytes(broken)
        with pytest.raises(DataError, match="not a table"):
            opened(tmp_path)


def test_an_empty_cell_is_a_gap_that_stops_the_build(write: Write, tmp_path: Path) -> None:
    rows = rows_of(50, 2)
    cells = rows[20].split(",")
    raw = write([*rows[:20], f"{cells[0]},,{cells[2]}", *rows[21:]])
    assert np.isnan(opened(raw).signal()).sum() == 1
    dataset: Dataset = replace(
        find_dataset("etth1"),
        entries=series.partial(series.entries, series=SMALL),
        read=series.partial(series.read, series=SMALL),
    )
    with pytest.raises(DataError, match=r"c0.*without values"):
        build_store(dataset, raw, tmp_path / "store")
