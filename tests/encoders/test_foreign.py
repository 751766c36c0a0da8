"""Encoders of other libraries: tsai, and braindecode where it imports (and what is said elsewhere)."""

from __future__ import annotations

import subprocess
import sys
import types
import warnings
from typing import Any

import pytest
import torch
from libraries import HAS_BRAINDECODE
from pydantic import TypeAdapter, ValidationError
from torch import nn

from biocl.encoders.build import build_encoder
from biocl.encoders.encoder import Encoder
from biocl.encoders.foreign import stages_of
from biocl.encoders.spec import EncoderSpec
from biocl.errors import UsageError

N_CHANS, N_TIMES, SFREQ = 3, 128, 100.0

# Those of the README's table, made small where their default is large.
TSAI: dict[str, dict[str, Any]] = {
    "InceptionTimePlus": {"nf": 8},
    "XceptionTimePlus": {"nf": 4},
    "ResNetPlus": {"nf": 8},
    "FCNPlus": {"layers": [8, 12, 8]},
    "XCMPlus": {"nf": 8},
    "TSTPlus": {"d_model": 16, "n_heads": 2, "d_ff": 16},
    "TSiTPlus": {"d_model": 16, "n_heads": 2, "depth": 2},
    "ConvTranPlus": {},
    "PatchTST": {"d_model": 16, "n_heads": 2, "d_ff": 16},
    "LSTM_FCNPlus": {"hidden_size": 8, "conv_layers": [8, 12, 8]},
    "LSTMPlus": {"hidden_size": 8},
    "RNNAttentionPlus": {"hidden_size": 8, "rnn_layers": 1, "n_heads": 2, "encoder_layers": 1},
    "mWDNPlus": {"levels": 2},
    "MiniRocketPlus": {"num_features": 168},
    "HydraPlus": {"k": 2, "g": 4},
}
BRAINDECODE: dict[str, dict[str, Any]] = {
    "ShallowFBCSPNet": {"pool_time_length": 20},
    "Deep4Net": {"filter_time_length": 3, "filter_length_2": 3, "filter_length_3": 3, "filter_length_4": 3,
                 "pool_time_length": 2, "pool_time_stride": 2},
    "EEGNet": {},
    "EEGNeX": {},
    "EEGConformer": {"pool_time_length": 20},
    "ATCNet": {"input_window_seconds": 1.28},
    "EEGInceptionERP": {},
    "EEGITNet": {},
}  # fmt: skip
MODELS = {
    **{f"tsai/{name}": arguments for name, arguments in TSAI.items()},
    **{f"braindecode/{name}": arguments for name, arguments in BRAINDECODE.items() if HAS_BRAINDECODE},
}
FLAT = {"tsai/LSTM_FCNPlus", "tsai/MiniRocketPlus", "tsai/HydraPlus"} | {
    f"braindecode/{name}" for name in ("ATCNet", "EEGConformer", "EEGInceptionERP", "EEGITNet", "EEGNeX")
}
UNTRAINED = {"tsai/MiniRocketPlus", "tsai/HydraPlus"}
NO_EXPORT = {"tsai/TSTPlus", "tsai/MiniRocketPlus", "tsai/HydraPlus"}
every = pytest.mark.parametrize("name", MODELS)


def make(name: str, **arguments: Any) -> Encoder:
    spec = TypeAdapter(EncoderSpec).validate_python({"name": name, "arguments": arguments})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder = build_encoder(spec, n_chans=N_CHANS, n_times=N_TIMES, sfreq=SFREQ)
    assert isinstance(encoder, Encoder)
    return encoder


def windows(n_samples: int = 4) -> torch.Tensor:
    return torch.randn(n_samples, N_TIMES, N_CHANS, generator=torch.Generator().manual_seed(1)).transpose(1, 2)


@every
def test_a_model_is_an_encoder(name: str) -> None:
    torch.manual_seed(0)
    encoder, x = make(name, **MODELS[name]), windows()
    before = x.clone()
    encoder.train()(x)
    out = encoder.eval()(x)
    assert out.shape == (4, encoder.n_steps(N_TIMES), encoder.out_dim)
    assert (encoder.n_steps(N_TIMES) == 1) == (name in FLAT)
    assert torch.equal(x, before)
    assert torch.equal(encoder(x), out)
    torch.testing.assert_close(encoder(x[[3, 1]]), out[[3, 1]], rtol=1e-3, atol=1e-4)
    with pytest.raises(UsageError, match="no hidden sequence"):
        encoder(x, torch.ones(4, N_TIMES, dtype=torch.bool))
    with pytest.raises(UsageError, match=f"made for windows of {N_TIMES} samples, and these have {N_TIMES + 1}"):
        encoder(torch.zeros(2, N_CHANS, N_TIMES + 1))
    with pytest.raises(UsageError, match=f"at least {N_TIMES} samples"):
        encoder(torch.zeros(2, N_CHANS, 20))


@every
def test_gradients_of_a_model(name: str) -> None:
    torch.manual_seed(0)
    encoder = make(name, **MODELS[name]).eval()
    out = encoder(windows())
    trained = [p for p in encoder.parameters() if p.requires_grad]
    assert bool(trained) == (name not in UNTRAINED)
    if trained:
        (out * torch.randn_like(out)).sum().backward()
        reached = sum(p.numel() for p in trained if p.grad is not None)
        assert reached > 0.9 * sum(p.numel() for p in trained)
        assert all(block is not encoder for block in encoder.blocks)
        assert sum(p.numel() for block in encoder.blocks for p in block.parameters() if p.requires_grad) > 0


@every
def test_saved_weights_of_a_model_are_all_there_is(name: str) -> None:
    torch.manual_seed(0)
    one = make(name, **MODELS[name]).eval()
    torch.manual_seed(0)
    same = make(name, **MODELS[name]).eval()
    torch.manual_seed(9)
    other = make(name, **MODELS[name]).eval()
    x = windows()
    with torch.no_grad():
        assert torch.equal(one(x), same(x))
        assert not torch.equal(one(x), other(x))
        other.load_state_dict(one.state_dict())
        assert torch.equal(one(x), other(x))


@every
def test_export_of_a_model(name: str) -> None:
    torch.manual_seed(0)
    encoder, x = make(name, **MODELS[name]).eval(), windows()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exported = torch.export.export(encoder, (x,)).module()
        except Exception:
            assert name in NO_EXPORT
            return
        assert name not in NO_EXPORT
        torch.testing.assert_close(exported(x), encoder(x), rtol=1e-3, atol=1e-4)


def test_a_model_that_mixes_the_windows_of_a_batch_is_refused() -> None:
    with pytest.raises(UsageError, match="other features when other windows stand beside it"):
        make("tsai/TSSequencerPlus", d_model=16, depth=2)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("NoSuchModel", {}, "tsai has no model 'NoSuchModel'"),
        ("TCN", {}, "no backbone apart from its head"),
        ("InceptionTimePlus", {"colour": 3}, "cannot be made for 3 channels and 128 samples .*colour"),
    ],
)
def test_tsai_models_that_cannot_be(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(f"tsai/{name}", **arguments)


def test_tsais_collection_of_all_models_is_not_imported() -> None:
    code = (
        "import sys; from pydantic import TypeAdapter; from biocl.encoders.spec import EncoderSpec\n"
        "from biocl.encoders.build import build_encoder\n"
        "spec = TypeAdapter(EncoderSpec).validate_python({'name': 'tsai/FCNPlus'})\n"
        "build_encoder(spec, n_chans=2, n_times=64, sfreq=64.0)\n"
        "sys.stderr.write('ALL' if {'tsai.all', 'tsai.models.all', 'tsai.basics'} & set(sys.modules) else 'ONE')"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.endswith("ONE")


def test_a_missing_tsai_is_one_paragraph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'tsai, which is not installed.* pip install "biocl\[tsai\]"'):
        make("tsai/FCNPlus")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::nms does not exist"),
        OSError("libtorchvision.so: undefined symbol"),
    ],
)
def test_a_tsai_that_does_not_import_is_one_paragraph(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise error

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(UsageError, match=r"tsai is installed and cannot be imported.*built for this torch") as raised:
        make("tsai/FCNPlus")
    assert "\n" not in str(raised.value)
    assert str(error) in str(raised.value)


def test_a_missing_braindecode_is_one_paragraph(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError("No module named 'braindecode'", name="braindecode")

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(UsageError, match=r'braindecode, which is not installed.* pip install "biocl\[braindecode\]"'):
        make("braindecode/EEGNet")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Detected that PyTorch and TorchAudio were compiled with different CUDA versions."),
        OSError("libtorchaudio.so: undefined symbol"),
        ModuleNotFoundError("No module named 'torchaudio'", name="torchaudio"),
    ],
)
def test_a_braindecode_that_does_not_import_names_torchaudio(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise error

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(UsageError, match=r"matches torch, down to the CUDA version.*torch 2.11 with torchaudio 2.11"):
        make("braindecode/EEGNet")


class Classifier(nn.Module):
    """A stand-in with the form of braindecode's models."""

    def __init__(self, n_outputs: int, n_chans: int, n_times: int, sfreq: float, width: int = 4) -> None:
        super().__init__()
        self.filters = nn.Conv1d(n_chans, width, 5)
        self.norm = nn.BatchNorm1d(width)
        self.final_layer = nn.Conv1d(width, n_outputs, n_times - 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.final_layer(self.norm(self.filters(x)).unsqueeze(-1).squeeze(-1))


class Headed(Classifier):
    """One without `final_layer`."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(**facts)
        self.head = self.final_layer
        del self.final_layer


class Several(Classifier):
    """One that classifies parts of the window and averages, as ATCNet does."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(**facts)
        self.final_layer = nn.ModuleList([nn.Linear(4, facts["n_outputs"]) for _ in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.norm(self.filters(x)).tensor_split(3, dim=2)
        return torch.stack([one(part.mean(2)) for one, part in zip(self.final_layer, parts, strict=True)]).mean(0)


def test_a_braindecode_model_loses_every_one_of_its_final_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.import_module", lambda name: types.SimpleNamespace(Several=Several))
    encoder = make("braindecode/Several")
    assert (encoder.out_dim, encoder.n_steps(N_TIMES)) == (4, 1)
    assert [type(block) for block in encoder.blocks] == [nn.Conv1d, nn.BatchNorm1d]


def test_a_braindecode_model_loses_its_final_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    models = types.SimpleNamespace(Classifier=Classifier, Headed=Headed, helper=lambda: None)
    monkeypatch.setattr("importlib.import_module", lambda name: models)
    encoder = make("braindecode/Classifier", width=6)
    assert (encoder.out_dim, encoder.n_steps(N_TIMES)) == (6, N_TIMES - 4)
    assert encoder(windows()).shape == (4, N_TIMES - 4, 6)
    assert [type(block) for block in encoder.blocks] == [nn.Conv1d, nn.BatchNorm1d]
    with pytest.raises(UsageError, match="has no final_layer"):
        make("braindecode/Headed")
    for name in ("Other", "helper"):
        with pytest.raises(UsageError, match=f"braindecode has no model '{name}'"):
            make(f"braindecode/{name}")
    with pytest.raises(UsageError, match=r"cannot be made for 3 channels, 128 samples and 100 Hz .*colour"):
        make("braindecode/Classifier", colour=3)
    with pytest.raises(UsageError, match="cannot read windows of 3 channels and 128 samples"):
        make("braindecode/Classifier", n_chans=5)


@pytest.mark.parametrize("name", [f"braindecode/{name}" for name in BRAINDECODE])
def test_every_model_of_braindecode_is_made_or_says_what_is_missing(name: str) -> None:
    if HAS_BRAINDECODE:
        assert make(name, **BRAINDECODE[name.removeprefix("braindecode/")]).out_dim > 1
        return
    with pytest.raises(UsageError, match=r"braindecode.*pip install .*biocl\[braindecode\]") as raised:
        make(name)
    assert "\n" not in str(raised.value)


def test_stages_of_a_network() -> None:
    inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    assert stages_of(nn.Sequential(nn.Identity(), nn.Sequential(inner))) == ["1.0.0", "1.0.2"]
    assert stages_of(nn.Identity()) == [""]


@pytest.mark.parametrize("name", ["tsai/", "braindecode/Two words", "moabb/CSP", "tsai"])
def test_names_that_name_no_class(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(EncoderSpec).validate_python({"name": name})
