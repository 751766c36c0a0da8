"""Every encoder from one YAML: plan, pretrain, fine-tune, embed; what a configuration may not ask of one."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from libraries import HAS_BRAINDECODE

from biocl.commands.configs import explain_key
from biocl.commands.embed import embed_store
from biocl.commands.finetune import finetune
from biocl.commands.plan import make_plan
from biocl.commands.prepare import open_store
from biocl.commands.pretrain import pretrain
from biocl.config import load_experiment, walk_keys
from biocl.encoders.spec import NAMES
from biocl.errors import UsageError
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.training.checkpoint import load_checkpoint

CONFIG = """
name: any-encoder
data: {dataset: synthetic-ecg}
split: {kind: random, fractions: [0.5, 0.2, 0.3]}
batch: {kind: hierarchical, n_patients: 3, n_trials: 2, n_samples: 2}
views:
  one: [{mask: continuous, at: input}]
  two: [{mask: continuous, at: input}]
encoder: {name: eegnet}
projectors: {small: {hidden_dim: 8, out_dim: 4}}
terms:
  - {views: [one, two], relation: same-sample, project: small, criterion: {name: nt-xent}}
train: {steps: 2}
finetune: {mode: partial, labels: 4 patients, max_steps: 2, validation_windows: 20, batch_size: 16}
evaluate: {labels: [all], draws: 1, modes: [linear], bootstrap_draws: 20}
"""
OWN = {
    "dilated-cnn": "{name: dilated-cnn, depth: 2, hidden_dim: 4, embed_dim: 6}",
    "resnet1d": "{name: resnet1d, widths: [4, 4], stride: 2}",
    "inception-time": "{name: inception-time, depth: 3, width: 2}",
    "patch-transformer": "{name: patch-transformer, width: 8, n_heads: 2, depth: 1, patch_ms: 80}",
    "tpn": "{name: tpn, widths: [4, 4, 4]}",
    "scattering": "{name: scattering, hidden_dim: 4, embed_dim: 6, per_octave: 2, scale_ms: 100}",
    "eegnet": "{name: eegnet, kernel_ms: 100, separable_ms: 100}",
    "shallow-convnet": "{name: shallow-convnet, n_filters: 4, pool_ms: 200}",
    "ifnet": "{name: ifnet, width: 4, pool_ms: 200}",
    "eeg-conformer": "{name: eeg-conformer, width: 8, n_heads: 2, depth: 1, pool_ms: 200}",
    "channel-transformer": "{name: channel-transformer, hidden_dim: 8, projector: [8, 4]}",
    "lstm": "{name: lstm, layers: 1, width: 8}",
    "cost": "{name: cost, depth: 1, hidden_dim: 4, embed_dim: 8, kernels: [1, 4]}",
    "dual": "{dual: {cnn: {name: ifnet, width: 4, pool_ms: 200, bands: null}, "
    "transformer: {name: channel-transformer, hidden_dim: 8, projector: [8, 4]}}, fusion: concat}",
}
TSAI = {
    "InceptionTimePlus": "{nf: 4}",
    "XceptionTimePlus": "{nf: 4}",
    "ResNetPlus": "{nf: 4}",
    "FCNPlus": "{layers: [4, 4, 4]}",
    "XCMPlus": "{nf: 4}",
    "TSTPlus": "{d_model: 8, n_heads: 2, d_ff: 8}",
    "TSiTPlus": "{d_model: 8, n_heads: 2, depth: 1}",
    "ConvTranPlus": "{}",
    "PatchTST": "{d_model: 8, n_heads: 2, d_ff: 8}",
    "LSTM_FCNPlus": "{hidden_size: 4, conv_layers: [4, 4, 4]}",
    "LSTMPlus": "{hidden_size: 4}",
    "RNNAttentionPlus": "{hidden_size: 8, n_heads: 2, encoder_layers: 1}",
    "mWDNPlus": "{levels: 2}",
    "MiniRocketPlus": "{num_features: 84}",
    "HydraPlus": "{k: 2, g: 4}",
}
BRAINDECODE = {
    "ShallowFBCSPNet": "{pool_time_length: 10}",
    "Deep4Net": "{filter_time_length: 3, filter_length_2: 3, filter_length_3: 3, filter_length_4: 3, "
    "pool_time_length: 2, pool_time_stride: 2}",
    "EEGNet": "{}",
    "EEGNeX": "{}",
    "EEGConformer": "{pool_time_length: 10, filter_time_length: 5}",
    "EEGITNet": "{}",
    "EEGInceptionERP": "{}",
    "ATCNet": "{conv_block_pool_size_2: 2, tcn_depth: 1}",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for the module, so that the synthetic store is built once."""
    return tmp_path_factory.mktemp("module-home")


@pytest.fixture(autouse=True)
def _module_home(home: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCL_HOME", str(home))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "any.yaml"
    path.write_text(CONFIG)
    return path


def the_whole_way(experiment: Experiment, folder: Path) -> None:
    """Pretrain, fine-tune and embed in two steps each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = pretrain(experiment, folder / "pretrain")
        assert read_json(run / "results.json")["steps"] == 2
        assert "patient-independent" in finetune(experiment, run, folder / "finetune")
        store = open_store(experiment.data)
        embed_store(run, store.path, folder / "out.npz")
    with np.load(folder / "out.npz") as columns:
        assert np.isfinite(columns["embedding"]).all()
        assert columns["embedding"].std(axis=0).max() > 0


def test_every_own_encoder_is_here() -> None:
    assert set(OWN) == {*NAMES, "dual"}


@pytest.mark.parametrize("name", OWN)
def test_the_whole_way_with(name: str, config: Path, tmp_path: Path) -> None:
    the_whole_way(load_experiment(config, [f"encoder={OWN[name]}"]), tmp_path)


@pytest.mark.parametrize("name", TSAI)
def test_the_whole_way_with_tsais(name: str, config: Path, tmp_path: Path) -> None:
    encoder = f"encoder={{name: tsai/{name}, pool: mean, arguments: {TSAI[name]}}}"
    the_whole_way(load_experiment(config, [encoder]), tmp_path)


@pytest.mark.parametrize("name", BRAINDECODE)
def test_the_whole_way_with_braindecodes(name: str, config: Path, tmp_path: Path) -> None:
    encoder = f"encoder={{name: braindecode/{name}, pool: mean, arguments: {BRAINDECODE[name]}}}"
    experiment = load_experiment(config, [encoder])
    if HAS_BRAINDECODE:
        the_whole_way(experiment, tmp_path)
        return
    with pytest.raises(UsageError, match=r"braindecode.*pip install .*biocl\[braindecode\]") as raised:
        pretrain(experiment, tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["scattering", "dual"])
def test_plan_with(name: str, config: Path) -> None:
    plan = make_plan(load_experiment(config, [f"encoder={OWN[name]}"]))
    assert plan["pretrain"]["steps"] == 2


def test_plan_counts_the_steps_that_an_encoder_gives(config: Path) -> None:
    terms = "terms=[{views: [one, two], relation: same-time-step, read: seq, criterion: {name: nt-xent}}]"
    experiment = load_experiment(config, [f"encoder={OWN['patch-transformer']}", terms, "evaluate.modes=[linear]"])
    n_times = int(make_plan(experiment)["data"]["window"].split()[0])
    plan = make_plan(experiment)
    patch = round(0.08 * plan["data"]["sfreq"])
    assert plan["terms"][0]["negatives"] == 2 * (n_times // patch) - 2


@pytest.mark.parametrize("name", ["eegnet", "patch-transformer", "dual"])
def test_a_run_with_dropout_inside_the_encoder_resumes_exactly(name: str, config: Path, tmp_path: Path) -> None:
    experiment = load_experiment(config, [f"encoder={OWN[name]}", "train.steps=4", "train.checkpoint_every=2"])
    whole = pretrain(experiment, tmp_path / "whole")
    broken = tmp_path / "broken"
    shutil.copytree(whole, broken)
    for path in sorted((broken / "checkpoints").glob("step-*"))[1:]:
        shutil.rmtree(path)
    # Whatever was drawn meanwhile must not matter.
    torch.manual_seed(99)
    if not sorted((broken / "checkpoints").glob("step-*"))[0].name.endswith("2"):
        pytest.fail("the first checkpoint is not that of step 2")
    pretrain(experiment, broken, resume=True)
    one, other = (load_checkpoint(run / "checkpoints").weights for run in (whole, broken))
    assert all(torch.equal(one[key], other[key]) for key in one)


def refusal(config: Path, *overrides: str) -> str:
    with pytest.raises(UsageError) as raised:
        load_experiment(config, overrides)
    return str(raised.value)


def test_hidden_masks_are_refused_by_the_configuration(config: Path) -> None:
    hidden = "views={one: [{mask: continuous}], two: [{mask: continuous}]}"
    assert "the view one masks the encoder's hidden sequence" in refusal(config, hidden)
    assert load_experiment(config, [hidden, f"encoder={OWN['resnet1d']}"])
    assert "finetune.view" in refusal(config, "finetune.view=[{mask: binomial, share: 0.5}]")


def test_mistakes_under_encoder_are_named(config: Path) -> None:
    assert "encoder.n_temporel" in refusal(config, "encoder={name: eegnet, n_temporel: 3}")
    assert "did you mean n_temporal?" in refusal(config, "encoder={name: eegnet, n_temporel: 3}")
    unknown = refusal(config, "encoder={name: egnet}")
    assert "name should be one of dilated-cnn, " in unknown
    assert "tsai/CLASS, braindecode/CLASS, or the key be dual" in unknown
    assert "encoder.dual.b.foo" in refusal(config, "encoder={dual: {a: {name: tpn}, b: {name: tpn, foo: 1}}}")
    assert "at least 2 items" in refusal(config, "encoder={dual: {a: {name: tpn}}}")
    assert "letters, digits" in refusal(config, "encoder={dual: {a.b: {name: tpn}, c: {name: tpn}}}")


def test_windows_that_are_too_short_are_refused_before_anything_is_written(config: Path, tmp_path: Path) -> None:
    experiment = load_experiment(config, ["encoder={name: shallow-convnet, pool_ms: 100000}"])
    with pytest.raises(UsageError, match="needs windows of at least"):
        pretrain(experiment, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_encoder_without_weights_needs_something_behind_it(config: Path, tmp_path: Path) -> None:
    experiment = load_experiment(
        config, ["encoder={name: tsai/MiniRocketPlus, arguments: {num_features: 84}}", "terms.0.project=null"]
    )
    with pytest.raises(UsageError, match="No term reaches a weight to train"):
        pretrain(experiment, tmp_path / "run")


def test_every_key_of_every_encoder_explains_itself() -> None:
    keys = [(key, info) for key, info, _ in walk_keys(Experiment) if key.startswith("encoder.")]
    assert len({key for key, _ in keys}) > 40
    assert not [key for key, info in keys if not info.description]
    text = explain_key("encoder.depth")
    assert "encoder.depth [dilated-cnn]: int (default 10)" in text
    assert "encoder.depth [eeg-conformer]: int (default 6)\n    Blocks." in text
    assert "encoder.fusion: none | concat | gate | cross-attention" in explain_key("encoder.fusion")
