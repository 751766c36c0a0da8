"""`biocl data inspect`: counts, devices, notes and quality in words and JSON, and the picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from biocl.cli import app
from biocl.commands import inspect
from biocl.commands.inspect import channels_in_words, inspect_store, number_in_words
from biocl.datasets.dataset import Dataset, Entry
from biocl.errors import DataError, UsageError
from biocl.signals.recording import Channel, Events, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.store import Store

CHANNELS = [
    Channel("II", "ecg", "mV"),
    *(Channel(f"wrist-acc-{a}", "acc", "g", "wrist") for a in "xyz"),
    Channel("belt", "resp", "NU"),
]
WINDOWS = {
    "windows": {"kind": "event", "events": "beat", "before_s": 0.3, "after_s": 0.5},
    "trials": {"kind": "neighbours", "n_samples": 5},
}


def store_of(folder: Path, defaults: dict[str, object]) -> Store:
    recordings = {}
    for number in range(4):
        chance = np.random.default_rng(number)
        at = np.arange(0.7, 59.0, 0.8)
        time = np.arange(6000) / 100
        heart = sum(np.exp(-(((time - t) / 0.02) ** 2) / 2) for t in at) + 0.01 * chance.standard_normal(6000)
        acc = np.array([0, 0.6, 0.8]) + 0.05 * chance.standard_normal((6000, 3))
        signal = np.column_stack([heart, acc, np.sin(time)])
        name = f"r{number}"
        recordings[name] = Recording.from_array(
            name,
            f"P{number // 2}",
            100.0,
            signal,
            CHANNELS,
            events=Events.of("beat", at, 0.0, np.where(np.arange(len(at)) % 4 == 0, "V", "N")),
            notes=[f"{3 + number} time stamps stood twice", *(["The clock drifts"] if number == 2 else [])],
        )
    dataset = Dataset(
        name="memory",
        modality="ecg",
        version="1",
        entries=lambda raw: [Entry(r.name, r.patient) for r in recordings.values()],
        read=lambda entry: recordings[entry.name],
        classes=("N", "V"),
        defaults=defaults,
    )
    return build_store(dataset, None, folder, ConditioningSpec())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_of(tmp_path_factory.mktemp("stores") / "own", WINDOWS)


def said(*words: str) -> str:
    result = CliRunner().invoke(app, ["data", "inspect", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_json_has_counts_devices_notes_and_quality(store: Store) -> None:
    facts = json.loads(said(str(store.path), "--json"))
    assert (facts["patients"], facts["recordings"], facts["windows"], facts["trials"]) == (2, 4, 292, 60)
    assert facts["classes"] == {"N": 216, "V": 76}
    assert facts["devices"] == {
        "main": [{"name": "II", "kind": "ecg", "unit": "mV"}, {"name": "belt", "kind": "resp", "unit": "NU"}],
        "wrist": [{"name": f"wrist-acc-{a}", "kind": "acc", "unit": "m/s2"} for a in "xyz"],
    }
    assert facts["notes"] == {"3 time stamps stood twice": 4, "The clock drifts": 1}
    quality = facts["quality"]
    assert (quality["windows"], quality["of"], quality["window_s"]) == (292, 292, 0.8)
    assert set(quality["indices"]) == {"flat", "saturation", "nan", "baseline", "kurtosis", "line_noise", "template"}
    assert quality["indices"]["flat"]["median"] == 0.0
    assert quality["indices"]["baseline"] == {"applicable": False}
    assert quality["indices"]["template"]["median"] > 0.95
    assert quality["indices"]["template"]["beyond"] == 0
    assert "NaN" not in said(str(store.path), "--json")
    heart_rate = {"mean": 75.0, "std": 0.0, "least": 75.0, "largest": 75.0, "known": 24, "unknown": 0}
    assert facts["numbers"] == {"heart-rate (windows of 10 s)": heart_rate}


def test_words_say_the_same(store: Store) -> None:
    text = said(str(store.path))
    for line in (
        "patients      2",
        "device        main: ecg [mV] II; resp [NU] belt",
        "device        wrist: acc [m/s2] wrist-acc-x, wrist-acc-y, wrist-acc-z",
        "note          4 recordings, one of them: 3 time stamps stood twice",
        "note          1 recording: The clock drifts",
        "number        heart-rate (windows of 10 s): mean 75 (sd 0), 75 to 75, unknown 0 of 24",
        "quality       all 292 windows of 0.8 s",
        "Orphanidou et al. 2015",
        "not applicable",
    ):
        assert line in text, line


def test_a_sample_is_said_to_be_one_and_all_looks_at_every_window(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("biocl.store.quality.SAMPLE_WINDOWS", 40)
    text = said(str(store.path))
    assert "a sample of 40 (seed 0; --all looks at every one) of 292 windows" in text
    assert not (store.path / "quality").exists()
    assert said(str(store.path)) == text
    assert "all 292 windows" in said(str(store.path), "--all")
    assert len(list((store.path / "quality").iterdir())) == 7
    monkeypatch.setattr("biocl.store.quality.window_quality", None)  # remembered, so not computed again
    assert "all 292 windows" in said(str(store.path), "--all")


@pytest.mark.parametrize("ending", ["PNG", "svg"])
def test_a_picture_is_written(store: Store, tmp_path: Path, ending: str) -> None:
    place = tmp_path / "new" / f"store.{ending}"
    facts = json.loads(said(str(store.path), "--picture", str(place), "--json"))
    assert facts["picture"] == str(place)
    if ending.lower() == "png":
        from matplotlib.image import imread

        image = imread(place, format="png")
        assert image.shape[1] > 1000
        assert image[..., :3].std() > 0.05


def test_another_ending_or_place_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png"):
        inspect_store(store, picture=tmp_path / "store.bmp")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError):
        inspect_store(store, picture=tmp_path / "file" / "store.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_store_without_windows_of_its_own_is_looked_at_in_pieces(tmp_path: Path) -> None:
    bare = store_of(tmp_path / "bare", {})
    facts = inspect_store(bare, picture=tmp_path / "bare.png")
    assert facts["windows"] == 0
    assert "data.windows" in facts["note"]
    assert (facts["quality"]["windows"], facts["quality"]["window_s"]) == (24, 10.0)
    assert facts["quality"]["indices"]["template"]["median"] > 0.9
    assert (tmp_path / "bare.png").stat().st_size > 10_000


def test_a_number_in_words() -> None:
    found = {"mean": 62.123, "std": 17.0, "least": 18.0, "largest": 89.0, "known": 388, "unknown": 12}
    assert number_in_words(found) == "mean 62.12 (sd 17), 18 to 89, unknown 12 of 400"
    assert number_in_words({**found, "no_numbers": {">89": 10}}).endswith("unknown 12 of 400 (>89: 10)")
    assert number_in_words({"known": 0, "unknown": 3}) == "unknown 3 of 3"


def test_many_names_are_cut_short() -> None:
    names = [{"name": f"E{i}", "kind": "eeg", "unit": "uV"} for i in range(64)]
    (text,) = channels_in_words(names)
    assert text.startswith("eeg [uV] E0, E1")
    assert text.endswith("E11 … 64 in all")
    assert inspect.MOST_NAMES == 12
