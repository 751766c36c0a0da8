"""A signal that every view can be applied to, and steps as a YAML file holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from biocl.signals.recording import Channel
from biocl.views.draws import Draws
from biocl.views.make import make_view
from biocl.views.signal import SignalInfo
from biocl.views.spec import ViewSpec
from biocl.views.view import View

EEG = tuple(Channel(name, "eeg", "uV", "cap") for name in ("C3", "Cz", "C4"))
ECG = tuple(Channel(name, "ecg", "mV", "chest") for name in ("I", "II"))
IMU = tuple(
    Channel(f"{kind}_{axis}", kind, unit, "wrist")  # type: ignore[arg-type]
    for kind, unit in (("acc", "m/s2"), ("gyr", "deg/s"))
    for axis in "xyz"
)
SIGNAL = SignalInfo(250.0, (*EEG, *ECG, *IMU), ("feet", "left_hand", "right_hand", "tongue"))


@pytest.fixture
def signal() -> SignalInfo:
    """Three EEG sites, two ECG leads, one IMU; four classes, two of them sided."""
    return SIGNAL


@pytest.fixture
def draws() -> Callable[[], Draws]:
    """The random stream that a view of seed 0 has."""
    return lambda: Draws(torch.Generator().manual_seed(0), torch.device("cpu"))


@pytest.fixture
def batch() -> Callable[..., View]:
    """Noise with a mean, labels 0 to 3 in turn."""

    def make(n: int = 8, n_times: int = 125, *, seed: int = 0, device: str = "cpu") -> View:
        x = torch.randn(n, len(SIGNAL.channels), n_times, generator=torch.Generator().manual_seed(seed)) + 0.5
        return View(x.to(device), target=torch.arange(n, device=device) % 4)

    return make


@pytest.fixture
def apply() -> Callable[..., View]:
    """A view after steps as a YAML file holds them."""

    def run(view: View, *steps: Any, seed: int = 0, signal: SignalInfo | None = SIGNAL) -> View:
        generator = torch.Generator(view.x.device).manual_seed(seed)
        chain = TypeAdapter(ViewSpec).validate_python(list(steps))
        return make_view(view, chain, hidden_dim=6, generator=generator, signal=signal)

    return run
