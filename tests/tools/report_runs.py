"""Small stores and run folders of every kind, for pages: names that a page has to escape, and to hide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from biocl.commands.evaluate import evaluate
from biocl.commands.finetune import finetune
from biocl.commands.pretrain import pretrain
from biocl.config import load_experiment
from biocl.datasets.arrays import array_dataset
from biocl.datasets.dataset import Entry
from biocl.datasets.series import ETTH1
from biocl.datasets.synthetic import synthetic_dataset
from biocl.datasets.synthetic_spec import SyntheticSpec
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store

PEOPLE = (
    *(
        "<script>alert(1)</script>",
        'Zoë O\'Neill & "Sons"',
        "$\\frac{1}{0}$",
        "4711",
        "</svg><img src=x onerror=alert(2)>",
    ),
    *(f"MRN-{n:05d}" for n in range(90210, 90217)),
)
CLASSES = ("<b onclick=alert(3)>walk</b>", 'sit & "stand" | $x_1$')
SHORT = (
    "batch={kind: random, size: 16}",
    "encoder={name: dilated-cnn, depth: 2, hidden_dim: 4, embed_dim: 4}",
    "train={steps: 4, log_every: 1, validate_every: 2}",
    "finetune={mode: partial, max_steps: 2, validate_every: 1}",
    "evaluate={labels: [2 patients, all], draws: 2, modes: [linear], bootstrap_draws: 40, probe: {c: 0.01}}",
)
HEADS = (
    "split={kind: random, fractions: [0.4, 0.2, 0.4]}",
    "encoder={name: tpn, widths: [4, 4, 6], kernels: [5, 5, 3]}",
    "batch={kind: random, size: 16}",
    "views={clean: [], loud: [{jitter: 0.1}]}",
    "train={steps: 2, lr: 0.01}",
    "finetune={max_steps: 2, validate_every: 1}",
    "evaluate={labels: [3 patients, all], draws: 2, modes: [joint, linear], bootstrap_draws: 20, seeds: 2}",
)
CONTRAST = "{views: [clean, loud], relation: same-sample, ignore: [], criterion: {name: nt-xent}, weight: 0.1}"
HOUR, ROWS = 3600.0, 500


def hostile_store(folder: Path, people: tuple[str, ...] = PEOPLE, classes: tuple[str, ...] = CLASSES) -> Path:
    """Twelve people with four trials of three windows, two classes."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(len(people)), 12)
    y = np.tile(np.repeat(np.arange(4) % 2, 3), len(people))
    x = rng.standard_normal((len(y), 2, 24)) + rng.standard_normal(len(people))[patient, None, None]
    x += 0.8 * y[:, None, None] * np.sin(np.arange(24) / 3)
    trials = [f"t{i // 3}" for i in range(len(y))]
    channels = [Channel("<i>lead</i>", "ecg", "mV"), Channel("$b$", "ecg", "mV")]
    named = [classes[one] for one in y]
    dataset = array_dataset(x, named, [people[p] for p in patient], trials, sfreq=24.0, channels=channels)
    return build_store(dataset, None, folder / "store", ConditioningSpec()).path


def hostile_runs(folder: Path, store: Path, *more: str) -> dict[str, Path]:
    """A pretraining, a fine-tuning and a study of it, and a study in three folds."""
    keys = [f"data={{store: {store}}}", "split={kind: random, fractions: [0.35, 0.15, 0.5]}", *SHORT, *more]
    runs = {name: folder / name for name in ("pretrain", "finetune", "evaluate", "folds")}
    pretrain(load_experiment(Path("demo"), keys), runs["pretrain"])
    finetune(load_experiment(Path("demo"), keys), runs["pretrain"], runs["finetune"])
    evaluate(load_experiment(Path("demo"), keys), runs["pretrain"], runs["evaluate"])
    folds = [*keys, "split={kind: k-fold, n_folds: 3}", "evaluate.labels=[all]"]
    evaluate(load_experiment(Path("demo"), folds), None, runs["folds"])
    return runs


def numbered_store(folder: Path) -> Path:
    """Sixteen people whose signal is louder the older they are; two labels hold of some of them."""
    names = [f"MRN-{n:05d}" for n in range(70010, 70026)]

    def read(entry: Entry) -> Recording:
        number = names.index(entry.patient)
        values = np.random.default_rng(number).normal(size=(240, 2)) * (1 + number / 8)
        labels = {"age": str(20.0 + 5 * number)}
        labels |= {"loud": "yes" if number % 2 else "no", "<u>fast</u>": "yes" if number % 4 < 2 else "no"}
        channels = [Channel(name, "other", "NU") for name in "ab"]
        return Recording.from_array(entry.name, entry.patient, 20, values.astype(np.float32), channels, labels=labels)

    cut = {
        "windows": {"kind": "sliding", "length_s": 2.0, "step_s": 1.0},
        "trials": {"kind": "recording"},
        "classes": [],
    }
    dataset = replace(
        ETTH1,
        name="numbered",
        modality="other",
        entries=lambda raw: [Entry(name, patient=name, source="made") for name in names],
        read=read,
        splits={},
        defaults=cut,
    )
    return build_store(dataset, None, folder / "numbered", ConditioningSpec()).path


def regression_run(folder: Path, store: Path, name: str = "regression") -> Path:
    data = f"data={{store: {store}, target: {{kind: label, name: age}}, input_scale: none}}"
    keys = [data, *HEADS, f"terms=[{{head: regression, views: [clean]}}, {CONTRAST}]"]
    evaluate(load_experiment(Path("demo"), keys), None, folder / name)
    return folder / name


def labels_run(folder: Path, store: Path, name: str = "labels", *more: str) -> Path:
    data = f"data={{store: {store}, labels: [loud, <u>fast</u>], input_scale: none}}"
    keys = [data, *HEADS, f"terms=[{{head: multi-label, views: [clean]}}, {CONTRAST}]", *more]
    evaluate(load_experiment(Path("demo"), keys), None, folder / name)
    return folder / name


def series_store(folder: Path) -> Path:
    """One series with a day's rhythm, cut in time."""
    hours = np.arange(ROWS)[:, None]
    values = np.sin(2 * np.pi * (hours + np.array([0, 5])) / 24) + 0.1 * np.random.default_rng(0).normal(size=(ROWS, 2))
    channels = [Channel(name, "other", "NU") for name in "ab"]
    recording = Recording.from_array("series", "series", 1 / HOUR, values.astype(np.float32), channels)
    parts = {"train": (0, 300), "validation": (300, 400), "test": (400, ROWS)}
    fold = {
        "fold": 0,
        **{part: ["series"] for part in parts},
        "intervals": {part: {"series": [[a * HOUR, b * HOUR]]} for part, (a, b) in parts.items()},
    }
    split = {"format": 1, "scope": "time", "gap_s": 0.0, "allow_shared": [], "marks": [], "folds": [fold]}
    dataset = replace(
        ETTH1,
        name="made-series",
        entries=lambda raw: [Entry("series", patient="series", source="made")],
        read=lambda entry: recording,
        splits={"cut": split},
    )
    return build_store(dataset, None, folder / "series", ConditioningSpec()).path


def forecast_run(folder: Path, store: Path, name: str = "forecast") -> Path:
    windows = f"{{kind: sliding, length_s: {48 * HOUR}, step_s: 3600, horizon_s: {12 * HOUR}}}"
    keys = [
        f"data={{store: {store}, windows: {windows}, input_scale: train, normalise: instance}}",
        *HEADS,
        "split={name: cut, scope: time}",
        "encoder={each: {name: patch-transformer, patch_ms: 14400000, width: 8, depth: 1, n_heads: 2}, of: channel}",
        f"terms=[{{head: forecasting, views: [clean]}}, {CONTRAST}]",
        "variants={two-step: {terms.0.weight: 0}}",
        "evaluate.modes=[linear]",
    ]
    evaluate(load_experiment(Path("demo"), keys), None, folder / name)
    return folder / name


def devices_run(folder: Path) -> Path:
    """Ten patients with a wrist and an ankle unit, each read by an encoder of its own."""
    spec = SyntheticSpec(kind="imu", n_patients=10, n_trials=4, n_samples=3)
    store = build_store(synthetic_dataset(spec), None, folder / "imu", ConditioningSpec()).path
    keys = [
        f"data={{store: {store}}}",
        *HEADS,
        "encoder={each: {name: tpn, widths: [4, 4, 6], kernels: [5, 5, 3]}, fusion: concat}",
        f"terms=[{CONTRAST}]",
        "evaluate={labels: [all], modes: [linear], bootstrap_draws: 10, probe: {c: 0.01}, devices: [each, all]}",
    ]
    evaluate(load_experiment(Path("demo"), keys), None, folder / "devices")
    return folder / "devices"


def every_kind(folder: Path) -> Mapping[str, Path]:
    """A study of numbers, of several labels, of forecasts, and of devices."""
    numbered = numbered_store(folder)
    return {
        "regression": regression_run(folder, numbered),
        "labels": labels_run(folder, numbered),
        "forecast": forecast_run(folder, series_store(folder)),
        "devices": devices_run(folder),
    }
