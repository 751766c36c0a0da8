"""The largest step of what dropout leaves: the law of dropout, the numbers of the maximum, the gradients of both."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from biocl.encoders import latents as latents_module
from biocl.encoders.build import build_encoder
from biocl.encoders.dropped_max import DroppedSteps
from biocl.encoders.latents import Latents, read_out
from biocl.encoders.spec import DevicesSpec, DilatedCNNSpec, DualSpec, TPNSpec
from biocl.objectives.model import Model
from biocl.signals.recording import Channel
from biocl.views.view import View

STEPS = torch.tensor([0.2, 0.9, 0.7])


def many(n: int = 300, width: int = 400) -> Tensor:
    """The same three steps for so many windows and features."""
    return STEPS[:, None].expand(n, 3, width).contiguous()


def test_the_law_of_the_largest_step() -> None:
    torch.manual_seed(0)
    found = DroppedSteps(many(), 0.3).largest * 0.7
    for value, share in ((0.9, 0.7), (0.7, 0.3 * 0.7), (0.2, 0.3**2 * 0.7), (0.0, 0.3**3)):
        assert torch.isclose(found, torch.tensor(value)).double().mean().item() == pytest.approx(share, abs=0.004)


@pytest.mark.parametrize("read_first", ["largest", "sequence"])
def test_the_law_of_the_sequence_is_dropouts(read_first: str) -> None:
    """Every pattern as often as independent draws have it, and none depends on its neighbours'."""
    torch.manual_seed(1)
    steps = DroppedSteps(many(), 0.3)
    if read_first == "largest":
        assert steps.largest.shape == (300, 400)
    kept = steps.sequence > 0
    for pattern in product([False, True], repeat=3):
        share = 0.7 ** sum(pattern) * 0.3 ** (3 - sum(pattern))
        has = (kept == torch.tensor(pattern)[:, None]).all(dim=1).double()
        assert has.mean().item() == pytest.approx(share, abs=0.004)
        for neighbours in (has[1:] * has[:-1], has[:, 1:] * has[:, :-1]):
            assert neighbours.mean().item() == pytest.approx(share**2, abs=0.004)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("size", "n_steps", "rate"), [(1, 9, 0.4), (70, 9, 0.1), (20, 2, 0.9), (3, 1, 0.5)])
def test_one_draw_one_vector_and_one_gradient(size: int, n_steps: int, rate: float, turned: bool) -> None:
    """The maximum is that of the sequence; rows that lose all their steps are zero and get no gradient."""
    torch.manual_seed(0)
    x = torch.randn(size, 5, n_steps, dtype=torch.float64).relu()
    x = (x.mT if turned else x.mT.contiguous()).requires_grad_()
    steps = DroppedSteps(x, rate)
    wanted = steps.sequence.amax(dim=1)
    torch.testing.assert_close(steps.largest, wanted, atol=0, rtol=0)
    torch.testing.assert_close(steps.sequence, x * (steps.sequence > 0) / (1 - rate))
    grad = torch.randn_like(wanted)
    (of_largest,) = torch.autograd.grad(steps.largest, x, grad)
    (of_sequence,) = torch.autograd.grad(wanted, x, grad)
    # Of steps that are zero a maximum over time has no single gradient, and what is rectified passes none on.
    torch.testing.assert_close(of_largest, of_sequence * (x > 0), atol=1e-12, rtol=1e-12)


def test_a_draw_hangs_on_the_seed_and_not_on_what_is_read_first() -> None:
    x = torch.rand(7, 11, 5)

    def made(seed: int) -> DroppedSteps:
        torch.manual_seed(seed)
        return DroppedSteps(x, 0.4)

    one, other = made(3), made(3)
    largest = one.largest
    assert torch.equal(one.sequence, other.sequence)
    assert torch.equal(largest, other.largest)
    assert not torch.equal(DroppedSteps(x, 0.4).largest, largest)
    assert not torch.equal(made(4).largest, largest)


def test_no_windows() -> None:
    steps = DroppedSteps(torch.zeros(0, 4, 3), 0.5)
    assert steps.largest.shape == (0, 3)
    assert steps.sequence.shape == (0, 4, 3)


def test_nan_is_not_hidden() -> None:
    x = torch.rand(2, 4, 3)
    x[1, 2, 0] = torch.nan
    assert DroppedSteps(x, 0.5).largest[1, 0].isnan()


@pytest.mark.parametrize("keys", [{"pool": "mean"}, {"rectified": False}, {"training": False}, {"dropout": 0.0}])
def test_elsewhere_dropout_is_pytorchs(keys: dict[str, object]) -> None:
    given = {"pool": "max", "dropout": 0.2, "training": True, "rectified": True} | keys
    x = torch.rand(3, 4, 5)
    torch.manual_seed(1)
    found = read_out(x, **given)  # type: ignore[arg-type]
    torch.manual_seed(1)
    assert torch.equal(found.seq, F.dropout(x, given["dropout"], given["training"]))  # type: ignore[arg-type]


def test_on_a_gpu_and_in_an_exported_model_dropout_is_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(3, 4, 5)
    assert isinstance(read_out(x, pool="max", dropout=0.2, training=True, rectified=True).steps, DroppedSteps)
    monkeypatch.setattr(latents_module, "plain", lambda x: True)
    assert isinstance(read_out(x, pool="max", dropout=0.2, training=True, rectified=True).steps, Tensor)


@pytest.mark.parametrize("segments", [1, 3])
def test_padding_and_segments_read_the_same_sequence(segments: int) -> None:
    torch.manual_seed(0)
    x, valid = torch.rand(4, 6, 3), torch.arange(6) < torch.tensor([6, 3, 1, 0])[:, None]
    for shown in (None, valid):
        found = read_out(x, pool="max", dropout=0.2, training=True, rectified=True, valid=shown, segments=segments)
        assert torch.equal(found.vec, Latents(found.seq, "max", shown, segments).vec)


def test_an_encoder_says_whether_its_steps_are_rectified() -> None:
    x = torch.randn(8, 6, 80)
    encoder = build_encoder(TPNSpec(name="tpn"), n_chans=6, n_times=80, sfreq=50.0)
    assert encoder.rectified
    assert encoder(x).amin() == 0
    tpn, plain = TPNSpec(name="tpn"), DilatedCNNSpec(name="dilated-cnn", depth=1)
    channels = [Channel(f"{name}_{axis}", "acc", "m/s2", name) for name in ("wrist", "ankle") for axis in "xyz"]
    kinds = {"n_chans": 6, "n_times": 80, "sfreq": 50.0, "channels": channels}

    def drawn(spec: TPNSpec | DualSpec | DevicesSpec) -> Latents:
        model = Model(spec, terms=[], **kinds).train()  # type: ignore[arg-type]
        return model.latents(model.trunk(View(x)), View(x))

    assert isinstance(drawn(tpn).steps, DroppedSteps)
    assert all(isinstance(one.steps, DroppedSteps) for one in drawn(DevicesSpec(each=tpn)).devices.values())
    pair = drawn(DualSpec(dual={"one": tpn, "two": plain}, fusion="concat"))
    assert [isinstance(one.steps, DroppedSteps) for one in pair.branches.values()] == [True, False]
    assert pair.seq is pair.branches["one"].seq
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert DroppedSteps(encoder(x), 0.1).largest.dtype == torch.float32
    assert not build_encoder(DilatedCNNSpec(name="dilated-cnn"), n_chans=6, n_times=80, sfreq=50.0).rectified
