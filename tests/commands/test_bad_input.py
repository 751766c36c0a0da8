"""Bad input through the command line: one paragraph, the right exit code, and nothing touched or left behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from biocl.cli import main
from biocl.store.store import Store

SFREQ = 100
SECONDS = 8
PATIENTS = ("P1", "P2", "P3", "P4", "P5", "P6")
PREPARE = ("data", "prepare", "recordings.csv", "--modality", "ecg", "--out", "more/stores/new")
PRETRAIN = ("pretrain", "mine.yaml", "--out", "runs/new")
TREE = dict[str, tuple[str, int]]

CONFIG = """\
name: mine
data:
  store: stores/mine
  windows: {kind: sliding, length_s: 1.0, step_s: 0.5}
  trials: {kind: event, events: trial}
split: {file: split.json}
batch: {kind: hierarchical, n_patients: 2, n_trials: 2, n_samples: 2}
encoder: {name: dilated-cnn, depth: 2, hidden_dim: 8, embed_dim: 16}
terms:
  - {views: [clean, clean], redraw_dropout: true, relation: same-trial, criterion: {name: sup-con, temperature: 0.1}}
train: {steps: 4, lr: 1e-3, log_every: 1, checkpoint_every: 2}
finetune: {mode: linear, labels: 2 patients}
evaluate: {labels: [all], draws: 1, modes: [linear], bootstrap_draws: 20}
"""


@dataclass(frozen=True)
class Ending:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The paragraph on stderr; plain progress lines may stand above it."""
        lines = [line for line in self.err.splitlines() if not line.startswith(("pretrain: ", "evaluate: "))]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), self.err
        return lines[0]


Cli = Callable[..., Ending]


def write_record(folder: Path, name: str, seed: int) -> None:
    """A small WFDB record with two leads, its second half stronger than the first."""
    import wfdb

    chance = np.random.default_rng(seed)
    time = np.arange(SFREQ * SECONDS) / SFREQ
    beat = np.sin(2 * np.pi * 1.2 * time) * np.where(time < SECONDS / 2, 0.5, 1.0)
    signal = beat[:, None] + 0.1 * chance.standard_normal((len(time), 2))
    wfdb.wrsamp(name, SFREQ, ["mV", "mV"], ["II", "V1"], p_signal=signal, fmt=["16", "16"], write_dir=str(folder))


def run(words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ending:
    """Type a command; a traceback would leave here as an exception."""
    monkeypatch.setattr(sys, "argv", ["biocl", *words])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return Ending(int(ended.value.code or 0), out, err)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six patients' records, the table that names them, a prepared store, a configuration and a finished run."""
    desk = tmp_path_factory.mktemp("template")
    (desk / "records").mkdir()
    lines = ["path,patient,trial,label,start,end"]
    for number, patient in enumerate(PATIENTS):
        write_record(desk / "records", patient, number)
        lines += [f"records/{patient},{patient},1,rest,0,4", f"records/{patient},{patient},2,walk,4,8"]
    (desk / "recordings.csv").write_text("\n".join(lines) + "\n")
    (desk / "mine.yaml").write_text(CONFIG)
    write_split(desk / "split.json", train=PATIENTS[:3], validation=(), test=PATIENTS[3:])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk)
        patch.setenv("BIOCL_HOME", str(desk / "home"))
        for words in (
            ("data", "prepare", "recordings.csv", "--modality", "ecg", "--out", "stores/mine"),
            ("pretrain", "mine.yaml", "--out", "runs/done"),
        ):
            patch.setattr(sys, "argv", ["biocl", *words])
            with pytest.raises(SystemExit) as ended:
                main()
            assert not ended.value.code
    shutil.rmtree(desk / "home")
    return desk


@pytest.fixture
def desk(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to break, as the working folder, with the home inside it."""
    desk = tmp_path / "desk"
    shutil.copytree(template, desk)
    monkeypatch.chdir(desk)
    monkeypatch.setenv("BIOCL_HOME", str(desk / "home"))
    return desk


@pytest.fixture
def biocl(desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Type a command on the desk."""
    return lambda *words: run(words, capsys, monkeypatch)


@pytest.fixture
def refused(desk: Path, biocl: Cli) -> Cli:
    """Type a command that must be refused with nothing changed on the desk, hidden things included."""

    def type_it(*words: str, code: int) -> str:
        before = tree(desk)
        ending = biocl(*words)
        assert (ending.code, ending.out) == (code, ""), ending
        assert tree(desk) == before
        assert_clear(ending.complaint)
        return ending.complaint

    return type_it  # type: ignore[return-value]


def tree(folder: Path) -> TREE:
    """Every path below a folder, hidden ones too, with a hash and the time of change of each file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        is_file = path.is_file()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else "folder"
        found[str(path.relative_to(folder))] = (content, path.stat().st_mtime_ns if is_file else 0)
    return found


def hidden(folder: Path) -> list[str]:
    """What a reader would not see."""
    return [name for name in tree(folder) if any(part.startswith(".") for part in Path(name).parts)]


def assert_clear(text: str) -> None:
    """A paragraph says what is wrong, where, and what to do, in whole sentences."""
    assert "Traceback" not in text
    assert "Where: " in text
    what, _, rest = text.removeprefix("error: ").partition(" Where: ")
    where, _, fix = rest.partition(". ")
    assert min(len(what), len(where)) > 1
    assert len(fix.split()) >= 3, f"no advice: {text}"
    assert text.endswith((".", "?"))
    assert not any(ugly in text for ugly in ("..", "?.", "??", ". .", "None", "object at 0x", "1 stretches")), text


def write_split(path: Path, **parts: tuple[str, ...]) -> None:
    """A split file of scope patient."""
    fold = {part: list(names) for part, names in parts.items()}
    path.write_text(json.dumps({"format": 1, "name": "mine", "scope": "patient", "folds": [fold]}))


def change(path: Path, old: str, new: str) -> None:
    """Replace a piece of a text file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# ------------------------------------------------------------------------------------------------ recordings


@pytest.mark.parametrize(
    "header",
    [
        b"\x00\xff\xfe\x80 not a header",
        b"",
        b"P2 2 100 800\n",
        b"P2 2 100 800\nP2.dat 16 200/mV 16 0 1 2 0 II\n",
        b"P2 0 100 800\n",
        b"P2 2 zero 800\nP2.dat 16 200/mV 16 0 1 2 0 II\nP2.dat 16 200/mV 16 0 1 2 0 V1\n",
        b"P2 2 0 800\nP2.dat 16 200/mV 16 0 1 2 0 II\nP2.dat 16 200/mV 16 0 1 2 0 V1\n",
        b"P2 2 100\nP2.dat 16 200/mV 16 0 1 2 0 II\nP2.dat 16 200/mV 16 0 1 2 0 V1\n",
        b"P2 2 100 800\nP2.dat 17 200/mV 16 0 1 2 0 II\nP2.dat 17 200/mV 16 0 1 2 0 V1\n",
        b"P2 2 100 800\nP2.dat 16 \xb5V/\xff\xff 16 0 1 2 0 II\nP2.dat 16 200/mV\n",
    ],
    ids=["bytes", "empty", "no-signals", "one-of-two", "zero", "rate", "rate-0", "no-length", "format", "latin"],
)
def test_a_corrupted_header(header: bytes, desk: Path, refused: Cli) -> None:
    (desk / "records" / "P2.hea").write_bytes(header)
    assert "records/P2" in refused(*PREPARE, code=3)


def test_a_header_cut_anywhere_is_refused_or_complete(desk: Path, biocl: Cli) -> None:
    path = desk / "records" / "P2.hea"
    whole = path.read_bytes()
    second = whole.index(b"\n", whole.index(b"\n") + 1) + len(b"\nP2.dat ")
    before = tree(desk)
    for length in [*range(0, second, 3), second - 1]:
        path.write_bytes(whole[:length])
        ending = biocl(*PREPARE)
        assert ending.code == 3, (length, ending)
        assert_clear(ending.complaint)
        assert "P2.hea" in ending.complaint or "P2.da" in ending.complaint
    path.write_bytes(whole)
    after = tree(desk)
    assert {name: entry[0] for name, entry in after.items()} == {name: entry[0] for name, entry in before.items()}


def test_a_missing_signal_file(desk: Path, refused: Cli) -> None:
    (desk / "records" / "P2.dat").unlink()
    text = refused(*PREPARE, code=3)
    assert "missing" in text
    assert "records/P2.dat" in text


def test_a_truncated_signal_file(desk: Path, refused: Cli) -> None:
    path = desk / "records" / "P2.dat"
    path.write_bytes(path.read_bytes()[:-2])
    text = refused(*PREPARE, code=3)
    assert "cut short" in text
    assert "records/P2.dat" in text


def test_a_nan_stretch(desk: Path, refused: Cli) -> None:
    samples = np.fromfile(desk / "records" / "P2.dat", "<i2").reshape(-1, 2)
    samples[300:350, 1] = -(2**15)
    samples.tofile(desk / "records" / "P2.dat")
    text = refused(*PREPARE, code=3)
    assert "V1" in text
    assert "3.000 s to 3.500 s" in text
    assert "data.nan: keep" in text


def test_a_nan_stretch_is_stored_as_a_gap_if_the_user_says_so(desk: Path, biocl: Cli) -> None:
    samples = np.fromfile(desk / "records" / "P2.dat", "<i2").reshape(-1, 2)
    samples[300:350, 1] = -(2**15)
    samples.tofile(desk / "records" / "P2.dat")
    change(desk / "mine.yaml", "  store: stores/mine\n", "  store: stores/mine\n  nan: keep\n")
    assert biocl(*PREPARE, "--config", "mine.yaml").code == 0
    assert "gap" in Store.open(desk / "more" / "stores" / "new").event_kinds


def test_an_infinite_value(desk: Path, refused: Cli) -> None:
    signal = np.random.default_rng(0).standard_normal((800, 2)).astype(np.float32)
    signal[100, 0] = np.inf
    np.save(desk / "records" / "walk.npy", signal)
    (desk / "recordings.csv").write_text("path,patient\nrecords/walk.npy,P1\n")
    assert "channel-1" in refused(*PREPARE, "--sfreq", "100", code=3)


def test_a_flat_lead(desk: Path, refused: Cli) -> None:
    samples = np.fromfile(desk / "records" / "P2.dat", "<i2").reshape(-1, 2)
    samples[:, 0] = 0
    samples.tofile(desk / "records" / "P2.dat")
    text = refused(*PREPARE, code=3)
    assert "II is flat" in text
    assert "records/P2" in text
    assert "data.flat: keep" in text


def test_recordings_shorter_than_a_window(desk: Path, refused: Cli) -> None:
    change(desk / "mine.yaml", "length_s: 1.0", "length_s: 5.0")
    text = refused(*PRETRAIN, code=3)
    assert "shorter than a window: 12" in text
    assert "stores/mine" in text
    assert "data.windows" in text


def test_one_recording_shorter_than_a_window_is_counted(desk: Path, biocl: Cli) -> None:
    change(desk / "recordings.csv", "records/P2,P2,2,walk,4,8", "records/P2,P2,2,walk,4,5")
    ending = biocl(*PREPARE)
    assert (ending.code, ending.err) == (0, "")
    assert "shorter than a window 1" in ending.out


# ------------------------------------------------------------------------------------------------- the table


def test_a_table_that_names_a_missing_file(desk: Path, refused: Cli) -> None:
    change(desk / "recordings.csv", "records/P4,", "records/P9,")
    text = refused(*PREPARE, code=3)
    assert "records/P9.hea does not exist" in text
    assert "recordings.csv, line 8" in text


@pytest.mark.parametrize("spelling", ["records/P4", "records/P4.hea", "./records/P4", "records/../records/P4.hea"])
def test_a_table_with_two_patients_for_one_file(spelling: str, desk: Path, refused: Cli) -> None:
    change(desk / "recordings.csv", "records/P4,P4,2,", f"{spelling},P5,2,")
    text = refused(*PREPARE, code=3)
    assert "has two patients: 'P4' in line 8 and 'P5' in line 9" in text
    assert "recordings.csv" in text


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "'path'"),
        (b"path,patient\n", "no rows"),
        (b"path,person\nrecords/P1,P1\n", "'patient'"),
        (b"path,patient\nrecords/P1\n", "line 2"),
        (b"path,patient\nrecords/P1,\n", "patient is empty"),
        (b"path,patient,start,end\nrecords/P1,P1,3,2\n", "before it starts"),
        (b"path,patient,start,end\nrecords/P1,P1,0,80\n", "the file only 8 s"),
        (b"path,patient\nrecordings.csv,P1\n", "sampling rate"),
        (b"\xff\xfe\x00path", "not a CSV"),
    ],
)
def test_a_table_that_makes_no_sense(content: bytes, part: str, desk: Path, refused: Cli) -> None:
    (desk / "recordings.csv").write_bytes(content)
    assert part in refused(*PREPARE, code=3)


@pytest.mark.parametrize(("table", "code"), [("nowhere.csv", 3), ("folder.csv", 3), ("recordings.csv", 2)])
def test_a_table_that_is_not_there_or_has_no_place_to_go(table: str, code: int, desk: Path, refused: Cli) -> None:
    (desk / "folder.csv").mkdir()
    place = [] if table == "recordings.csv" else ["--out", "stores/new"]
    assert table in refused("data", "prepare", table, *place, code=code)


# ----------------------------------------------------------------------------------------- a published data set


@pytest.fixture
def mitdb_raw(desk: Path) -> Path:
    """The 48 records of MIT-BIH by name, each a few seconds of P1."""
    import wfdb

    from biocl.datasets.mitdb import RECORDS

    raw = desk / "raw"
    raw.mkdir()
    wfdb.wrann("mark", "atr", np.array([100, 200, 300]), ["N", "V", "N"], write_dir=str(desk))
    header, marks = (desk / "records" / "P1.hea").read_text(), (desk / "mark.atr").read_bytes()
    for record in RECORDS:
        (raw / f"{record}.hea").write_text(header.replace("P1", record))
        shutil.copy(desk / "records" / "P1.dat", raw / f"{record}.dat")
        (raw / f"{record}.atr").write_bytes(marks)
    return raw


def test_a_published_data_set_with_a_broken_file(mitdb_raw: Path, refused: Cli) -> None:
    for name, keep in (
        ("102.hea", 0),
        ("102.hea", 20),
        ("102.dat", 0),
        ("102.dat", 99),
        ("102.atr", 0),
        ("102.atr", 3),
    ):
        data = (mitdb_raw / name).read_bytes()
        (mitdb_raw / name).unlink()
        if keep:
            (mitdb_raw / name).write_bytes(data[:keep])
        assert "102." in refused("data", "prepare", "mitdb", "--raw", "raw", "--out", "stores/new", code=3)
        (mitdb_raw / name).write_bytes(data)


def test_a_published_data_set_that_is_not_here(refused: Cli) -> None:
    assert "--download" in refused("data", "prepare", "mitdb", "--out", "stores/new", code=3)
    assert "--download" in refused("data", "prepare", "mitdb", "--raw", "records", "--out", "stores/new", code=3)


# --------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("steps: 4", "stepz: 4", ["train.stepz", "line 11", "did you mean steps?"]),
        ("name: mine", "nane: mine", ["nane", "line 1", "did you mean name?"]),
        ("lr: 1e-3", "lr: fast", ["train.lr", "line 11", "number", "'fast'"]),
        ("steps: 4", "steps: -4", ["train.steps", "line 11", "greater"]),
        ("steps: 4", "steps: [4]", ["train.steps", "line 11"]),
        ("depth: 2", "depth: two", ["encoder.depth", "line 8", "'two'"]),
        ("kind: sliding", "kind: slidin", ["data.windows", "line 4", "kind is 'slidin'", "'sliding'"]),
        ("labels: 2 patients", "labels: 4", ["finetune (line 12): labels", "unit", "2 patients"]),
        ("labels: 2 patients", "labels: 4 cats", ["finetune (line 12): labels", "4 cats", "2 patients"]),
        ("labels: [all]", "labels: [4]", ["evaluate.labels", "line 13", "unit"]),
        ("encoder:", "encoder: {name: dilated-cnn}\nencoder:", ["encoder", "line 9"]),
        ("views: [clean, clean]", "views: [clean, nowhere]", ["nowhere"]),
        ("name: mine\n", "name: [mine\n", ["YAML"]),
        ("name: mine\n", "name: mi\x00ne\n", ["YAML"]),
        (CONFIG, "- a list\n", ["mapping"]),
        (CONFIG, "", ["mapping"]),
    ],
)
def test_a_configuration_with_a_mistake(old: str, new: str, parts: list[str], desk: Path, refused: Cli) -> None:
    change(desk / "mine.yaml", old, new)
    text = refused(*PRETRAIN, code=2)
    for part in ["mine.yaml", *parts]:
        assert part in text


def test_a_configuration_in_another_encoding(desk: Path, refused: Cli) -> None:
    (desk / "mine.yaml").write_bytes(b"name: M\xfcller\n" + CONFIG.encode())
    assert "UTF-8" in refused(*PRETRAIN, code=2)


@pytest.mark.parametrize("name", ["mein.yaml", "runs", "stores/mine"])
def test_a_configuration_that_is_not_there(name: str, refused: Cli) -> None:
    assert name in refused("pretrain", name, "--out", "runs/new", code=2)


def test_the_other_verbs_refuse_the_same_configuration(desk: Path, refused: Cli) -> None:
    change(desk / "mine.yaml", "steps: 4", "stepz: 4")
    words = [
        ("plan",),
        ("finetune", "--from", "runs/done"),
        ("evaluate", "--from", "runs/done"),
        ("config", "validate"),
    ]
    for verb in words:
        at = 2 if verb[0] == "config" else 1
        assert "did you mean steps?" in refused(*verb[:at], "mine.yaml", *verb[at:], code=2)
    assert "did you mean steps?" in refused(*PREPARE, "--config", "mine.yaml", code=2)


# ---------------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize(
    "words",
    [
        PRETRAIN,
        ("plan", "mine.yaml"),
        ("finetune", "mine.yaml", "--from", "runs/done", "--out", "runs/new"),
        ("evaluate", "mine.yaml", "--from", "runs/done", "--out", "runs/new"),
    ],
    ids=lambda words: words[0],
)
def test_a_split_with_a_shared_patient(words: tuple[str, ...], desk: Path, refused: Cli) -> None:
    write_split(desk / "split.json", train=PATIENTS[:4], validation=(), test=PATIENTS[3:])
    text = refused(*words, code=4)
    assert "'P4' is in train and in test" in text
    assert "split.json" in text


@pytest.mark.parametrize("verb", ["finetune", "evaluate"])
def test_an_encoder_that_saw_the_test_patients(verb: str, desk: Path, refused: Cli) -> None:
    write_split(desk / "split.json", train=PATIENTS[3:], validation=(), test=PATIENTS[:3])
    text = refused(verb, "mine.yaml", "--from", "runs/done", "--out", "runs/new", code=4)
    assert "3 of 3 test patients: P1, P2, P3" in text


def test_a_published_overlap_is_marked_also_if_the_study_pretrains_itself(desk: Path, biocl: Cli) -> None:
    """Patient P1 stands on both sides with different recordings, as the split file allows and says."""
    lines = (desk / "recordings.csv").read_text()
    (desk / "recordings.csv").write_text(lines.replace("records/P6,P6", "records/P6,P1"))
    assert biocl(*PREPARE).code == 0
    change(desk / "mine.yaml", "stores/mine", "more/stores/new")
    only = {"train": {"P1": ["records/P1"]}, "test": {"P1": ["records/P6"]}}
    fold = {"train": ["P1", "P2", "P3"], "test": ["P1", "P4", "P5"], "only": only}
    split = {"format": 1, "name": "mine", "scope": "patient", "folds": [fold], "allow_shared": ["P1"]}
    (desk / "split.json").write_text(json.dumps(split))
    for verb in ("finetune", "evaluate"):
        ending = biocl(verb, "mine.yaml", "--out", f"alone/{verb}/run")
        assert ending.code == 0
        assert "pretrained on test patients P1" in ending.out


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", 3),
        ("[]", 2),
        ('{"format": 1, "name": "x", "folds": [{"train": ["P1"], "tset": ["P2"]}]}', 2),
        ('{"format": 1, "name": "x", "folds": [{"train": ["P1"], "test": ["P7"]}]}', 2),
        ('{"format": 1, "name": "x", "folds": [{"train": "P1"}]}', 2),
        ('{"format": 1, "name": "x", "folds": []}', 2),
    ],
)
def test_a_split_file_that_makes_no_sense(content: str, code: int, desk: Path, refused: Cli) -> None:
    (desk / "split.json").write_text(content)
    assert "split" in refused(*PRETRAIN, code=code)


def test_a_split_file_that_cannot_be_read(desk: Path, refused: Cli) -> None:
    (desk / "split.json").unlink()
    assert "split.json" in refused(*PRETRAIN, code=3)
    (desk / "split.json").mkdir()
    assert "split.json" in refused(*PRETRAIN, code=3)


# ------------------------------------------------------------------------------------------ places and runs


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "evaluate"])
def test_a_run_folder_that_exists(verb: str, refused: Cli) -> None:
    words = () if verb == "pretrain" else ("--from", "runs/done")
    text = refused(verb, "mine.yaml", *words, "--out", "runs/done", code=2)
    assert "runs/done" in text
    assert "--out" in text
    assert "runs/done" in refused(verb, "mine.yaml", *words, "--out", "runs/done", "--resume", "seed=1", code=2)
    assert "records" in refused(verb, "mine.yaml", *words, "--out", "records", "--resume", code=2)


@pytest.mark.parametrize(
    "words",
    [
        ("finetune", "mine.yaml", "--from", "records"),
        ("evaluate", "mine.yaml", "--from", "records"),
        ("evaluate", "mine.yaml", "--from", "nowhere"),
        ("finetune", "mine.yaml", "--from", "runs/done", "--labels", "4"),
        ("finetune", "mine.yaml", "--from", "runs/done", "--labels", "40 patients"),
        ("finetune", "mine.yaml", "--from", "runs/done", "--mode", "line"),
        ("evaluate", "mine.yaml", "evaluate.labels=[40 patients]", "--from", "runs/done"),
        ("evaluate", "mine.yaml", "evaluate.class_sets=[[rest, sleep]]", "--from", "runs/done"),
        ("pretrain", "mine.yaml", "data.classes=[rest, sleep]"),
        ("pretrain", "mine.yaml", "--device", "tpu"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_leaves_no_run_folder(words: tuple[str, ...], refused: Cli) -> None:
    """Or the corrected command would be told that its run folder exists."""
    refused(*words, "--out", "runs/new", code=2)


def test_a_store_that_exists(desk: Path, refused: Cli) -> None:
    assert "stores/mine" in refused(*PREPARE[:-1], "stores/mine", "--resample-hz", "50", code=3)
    assert "records" in refused(*PREPARE[:-1], "records", code=3)


def test_a_damaged_store(desk: Path, refused: Cli) -> None:
    path = desk / "stores" / "mine" / "signals.npy"
    path.write_bytes(path.read_bytes()[:-8])
    assert "stores/mine" in refused(*PRETRAIN, code=3)
    shutil.rmtree(desk / "stores" / "mine")
    assert "stores/mine" in refused(*PRETRAIN, code=3)


def test_a_damaged_checkpoint(desk: Path, refused: Cli) -> None:
    newest = sorted((desk / "runs" / "done" / "checkpoints").iterdir())[-1]
    (newest / "model.safetensors").write_bytes(b"cut")
    assert newest.name in refused("evaluate", "mine.yaml", "--from", "runs/done", "--out", "runs/new", code=3)


OUTPUTS = {
    "prepare": PREPARE[:-1],
    "pretrain": PRETRAIN[:-1],
    "finetune": ("finetune", "mine.yaml", "--from", "runs/done", "--out"),
    "evaluate": ("evaluate", "mine.yaml", "--from", "runs/done", "--out"),
    "embed": ("embed", "runs/done", "stores/mine", "-o"),
    "copy": ("config", "copy", "demo"),
}


@pytest.mark.parametrize("verb", OUTPUTS)
def test_a_place_below_a_file(verb: str, refused: Cli) -> None:
    assert "mine.yaml/x" in refused(*OUTPUTS[verb], "mine.yaml/x/y.npz", code=3)


@pytest.mark.parametrize(
    ("verb", "code"), [("prepare", 3), ("pretrain", 2), ("finetune", 2), ("evaluate", 2), ("copy", 2)]
)
def test_a_place_that_is_a_file(verb: str, code: int, refused: Cli) -> None:
    assert "split.json" in refused(*OUTPUTS[verb], "split.json", code=code)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("verb", OUTPUTS)
def test_a_place_that_cannot_be_written(
    verb: str, number: int, desk: Path, refused: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "locked").mkdir()
    real_mkdir, real_open = os.mkdir, os.open

    def refuse(path: object) -> None:
        if f"{os.sep}locked{os.sep}" in os.path.abspath(str(path)):
            raise OSError(number, os.strerror(number), str(path))

    def mkdir(path, *rest, **keys):  # type: ignore[no-untyped-def]
        refuse(path)
        return real_mkdir(path, *rest, **keys)

    def opened(path, flags, *rest, **keys):  # type: ignore[no-untyped-def]
        if flags & (os.O_WRONLY | os.O_RDWR):
            refuse(path)
        return real_open(path, flags, *rest, **keys)

    # Not by permissions: whoever runs the tests as root may write anywhere.
    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "open", opened)
    text = refused(*OUTPUTS[verb], "locked/new.npz", code=3)
    assert "cannot be written" in text
    assert "locked/" in text


# -------------------------------------------------------------------------------------------------- full disk


@contextmanager
def no_room_after(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond this: the system refuses the write, also to code that is not Python."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def full_at_sync(number: int) -> Iterator[list[int]]:
    """The disk is full from the given fsync on, counted from 0; yields a list with one item a call."""
    calls: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield calls


@pytest.mark.parametrize(("room", "jobs"), [(0, 1), (100, 1), (1000, 1), (1000, 2), (38_500, 1)])
def test_prepare_on_a_full_disk(room: int, jobs: int, desk: Path, refused: Cli) -> None:
    with no_room_after(room):
        text = refused(*PREPARE, "--jobs", str(jobs), code=3)
    assert "disk is full" in text
    assert "more/stores/new" in text


def test_prepare_on_a_disk_that_is_full_at_any_point(desk: Path, biocl: Cli) -> None:
    """The store is whole or absent, and preparing again makes the same."""
    before = tree(desk)
    number, codes = 0, []
    while not codes or codes[-1]:
        with full_at_sync(number):
            ending = biocl(*PREPARE)
        codes.append(ending.code)
        number += 1
        if ending.code:
            assert ending.code == 3
            assert "disk is full" in ending.complaint
            assert_clear(ending.complaint)
            if (desk / "more" / "stores" / "new").exists():
                shutil.rmtree(desk / "more")  # full after it had its name: it is complete
                break
            assert tree(desk) == before
    assert number > 5
    assert biocl(*PREPARE).code == 0
    assert (
        Store.open(desk / "more" / "stores" / "new").content_hash == Store.open(desk / "stores" / "mine").content_hash
    )
    assert not hidden(desk / "more")


@pytest.mark.parametrize("room", [0, 700, 1500])
def test_no_run_folder_is_begun_on_a_full_disk(room: int, refused: Cli) -> None:
    for verb in ("pretrain", "finetune", "evaluate"):
        with no_room_after(room):
            text = refused(*OUTPUTS[verb], "more/runs/new", code=3)
        assert "disk is full" in text
        assert "more/runs/new" in text


@pytest.mark.parametrize("file", ["model.safetensors", "optimiser.pt"])
def test_pretrain_on_a_full_disk_goes_on_where_it_stopped(file: str, desk: Path, biocl: Cli) -> None:
    """The system refuses the write inside safetensors or torch, which have errors of their own."""
    newest = sorted((desk / "runs" / "done" / "checkpoints").iterdir())[-1]
    with no_room_after((newest / file).stat().st_size - 100):
        ending = biocl(*PRETRAIN)
    assert ending.code == 3
    assert_clear(ending.complaint)
    assert "disk is full" in ending.complaint
    assert "runs/new/checkpoints/step-" in ending.complaint
    assert "--resume" in ending.complaint
    assert not hidden(desk)
    assert not list((desk / "runs" / "new" / "checkpoints").glob("*"))
    assert biocl(*PRETRAIN, "--resume").code == 0
    assert_same_run(desk)


def test_pretrain_on_a_disk_that_is_full_at_any_point(desk: Path, biocl: Cli) -> None:
    before = tree(desk)
    with full_at_sync(10**6) as calls:
        assert biocl(*PRETRAIN).code == 0
    shutil.rmtree(desk / "runs" / "new")
    stages = set()
    for number in [*range(1, len(calls) - 1, 3), len(calls) - 1]:
        with full_at_sync(number):
            ending = biocl(*PRETRAIN)
        assert ending.code == 3
        assert_clear(ending.complaint)
        assert "disk is full" in ending.complaint
        assert not hidden(desk)
        if not (desk / "runs" / "new").exists():
            stages.add("nothing begun")
            assert tree(desk) == before
            continue
        stages.add(f"{len(list((desk / 'runs' / 'new').glob('checkpoints/*')))} checkpoints")
        assert biocl(*PRETRAIN, "--resume").code == 0
        assert_same_run(desk)
        shutil.rmtree(desk / "runs" / "new")
    assert stages == {"nothing begun", "0 checkpoints", "1 checkpoints", "2 checkpoints"}


def assert_same_run(desk: Path) -> None:
    """The run that met a full disk ended as the one that did not."""
    done, new = desk / "runs" / "done", desk / "runs" / "new"
    for name in ("metrics.jsonl", "results.json", "split.json"):
        assert (new / name).read_bytes() == (done / name).read_bytes()
    for path in (done / "checkpoints").rglob("*.safetensors"):
        assert path.read_bytes() == (new / path.relative_to(done)).read_bytes()


def test_evaluate_on_a_full_disk_goes_on_where_it_stopped(desk: Path, biocl: Cli) -> None:
    words = (*OUTPUTS["evaluate"], "runs/new")
    with full_at_sync(10**6) as calls:
        assert biocl(*words).code == 0
    whole = tree(desk / "runs" / "new")
    shutil.rmtree(desk / "runs" / "new")
    done = tree(desk)
    for number in [0, 8, len(calls) - 2]:
        with full_at_sync(number):
            ending = biocl(*words)
        assert ending.code == 3
        assert_clear(ending.complaint)
        assert "disk is full" in ending.complaint
        assert not hidden(desk)
        assert {name: entry for name, entry in tree(desk).items() if not name.startswith("runs/new")} == done
        if (desk / "runs" / "new").exists():
            assert biocl(*words, "--resume").code == 0
            found = tree(desk / "runs" / "new")
            assert {name: entry[0] for name, entry in found.items()} == {
                name: entry[0] for name, entry in whole.items()
            }
            shutil.rmtree(desk / "runs" / "new")
        else:
            assert number == 0


def test_predictions_on_a_full_disk(desk: Path, biocl: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy forgets the reason of a write that stops in the middle; the paragraph may not."""
    from biocl.commands import study

    real = study.save_prediction

    def without_room(*cell: object) -> None:
        with no_room_after(150):
            real(*cell)  # type: ignore[arg-type]

    monkeypatch.setattr(study, "save_prediction", without_room)
    monkeypatch.setattr("biocl.commands.evaluate.save_prediction", without_room)
    ending = biocl(*OUTPUTS["evaluate"], "runs/new")
    assert ending.code == 3
    assert "disk is full" in ending.complaint
    assert not hidden(desk)
    assert not (desk / "runs" / "new" / "cells").exists()


def test_other_files_on_a_full_disk(desk: Path, refused: Cli) -> None:
    for words in ((*OUTPUTS["embed"], "vectors.npz"), (*OUTPUTS["copy"], "copy.yaml")):
        with no_room_after(300):
            assert "disk is full" in refused(*words, code=3)
