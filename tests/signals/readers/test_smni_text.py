"""UCI's trials as text: values, channels, labels, and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from biocl.errors import DataError
from biocl.signals.readers.smni_text import read_smni

NAME = "eeg/smni_cmi/SMNI_CMI_TRAIN/co2a0000364/co2a0000364.rd.000.gz"


def lines(n: int = 5, stimulus: str = "S2 nomatch,", ms: str = "3.906000") -> list[str]:
    found = ["# co2c0000337.rd", f"# 120 trials, 3 chans, {n + 160} samples 368 post_stim samples", f"# {ms} msecs uV"]
    found.append(f"# {stimulus} trial 12")
    for number, name in enumerate(("FP1", "X", "nd")):
        found.append(f"# {name} chan {number}")
        found += [f"12 {name} {step} {number + step / 10:.3f}" for step in range(n)]
    return found


def write(path: Path, content: list[str]) -> Path:
    data = ("\n".join(content) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_a_published_trial_against_a_slow_reader(test_data: Path) -> None:
    path = test_data / NAME
    recording = read_smni(path, name="r", patient="p", labels={"label": "alcoholic"})
    with gzip.open(path, "rt") as file:
        rows = [line.split() for line in file if not line.startswith("#")]
    columns: dict[str, list[float]] = {}
    for _, name, step, value in rows:
        assert int(step) == len(columns.setdefault(name, []))
        columns[name].append(float(value))
    assert recording.channel_names == tuple(columns)
    np.testing.assert_array_equal(recording.signal(), np.array(list(columns.values()), dtype=np.float32).T)
    assert (recording.sfreq, recording.n_times) == (256.0, 256)
    kinds = [channel.kind for channel in recording.channels]
    assert (kinds.count("eeg"), kinds.count("eog"), kinds.count("other")) == (61, 2, 1)
    assert {channel.unit for channel in recording.channels} == {"uV"}
    assert dict(recording.labels) == {
        "label": "alcoholic",
        "subject": "co2a0000364",
        "stimulus": "S1",
        "trial": "0",
        "response": "ok",
    }
    assert recording.events.kind.tolist() == ["stimulus"]
    assert recording.events.duration_s.tolist() == [1.0]


@pytest.mark.parametrize(
    ("stimulus", "label", "response"),
    [
        ("S1 obj ,", "S1", "ok"),
        ("S2 match ,", "S2 match", "ok"),
        ("S2 nomatch,", "S2 no match", "ok"),
        ("S2 nomatch err,", "S2 no match", "err"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_stimuli(tmp_path: Path, stimulus: str, label: str, response: str, suffix: str) -> None:
    path = write(tmp_path / f"co2c0000337.rd.012{suffix}", lines(stimulus=stimulus))
    recording = read_smni(path, name="r", patient="p")
    assert recording.labels["stimulus"] == recording.events.label[0] == label
    assert recording.labels["response"] == response
    np.testing.assert_allclose(recording.signal()[:, 1], [1, 1.1, 1.2, 1.3, 1.4], rtol=1e-6)


def test_other_rates_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rd.012", lines(ms="3.000000"))
    assert read_smni(path, name="r", patient="p").sfreq == pytest.approx(333.333, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:-1], r"samples"),
        (lambda rows: rows[:15], "announces 3 channels and describes 2"),
        (lambda rows: [*rows[:-1], rows[-1][:-6]], "channel nd is cut short"),
        (lambda rows: [*rows[:7], rows[7].replace("12", "13", 1), *rows[8:]], "channel FP1"),
        (lambda rows: [*rows[:6], rows[7], rows[6], *rows[8:]], "out of order"),
        (lambda rows: [*rows[:6], rows[6][:-3] + "x.1", *rows[7:]], "not a number"),
        (lambda rows: [*rows[:6], rows[6][:-5] + "nan", *rows[7:]], "not a number"),
        (lambda rows: [row.replace("FP1", "X") for row in rows], "one name"),
        (lambda rows: rows[1:], "Line 1 of this trial"),
        (lambda rows: [row.replace("msecs", "secs") for row in rows], "Line 3 of this trial"),
        (lambda rows: [row.replace("3.906", "0.000") for row in rows], "make no EEG"),
        (lambda rows: [row.replace("S2", "S3") for row in rows], "Line 4 of this trial"),
        (lambda rows: rows[:3], "Line 4 of this trial is not what it should be: not there"),
    ],
)
def test_a_bad_trial_is_one_paragraph(tmp_path: Path, change: Callable[[list[str]], list[str]], said: str) -> None:
    path = write(tmp_path / "a.rd.012.gz", change(lines()))
    with pytest.raises(DataError, match=said) as refused:
        read_smni(path, name="r", patient="p")
    assert str(path) in str(refused.value)


def test_a_bad_archive_is_one_paragraph(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rd.012.gz", lines())
    whole = path.read_bytes()
    for content, said in ((whole[:-9], "cannot be unpacked"), (whole[9:], "cannot be unpacked"), (b"", "is empty")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=said):
            read_smni(path, name="r", patient="p")
    with pytest.raises(DataError, match="does not exist"):
        read_smni(tmp_path / "b.gz", name="r", patient="p")
