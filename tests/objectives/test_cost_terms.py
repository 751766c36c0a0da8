"""CoST's terms: momentum contrast of the trend, amplitude and phase contrast of the season."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from biocl.encoders.spec import DilatedCNNSpec, DualSpec, EncoderSpec, IFNetSpec
from biocl.encoders.spec_eeg import ChannelTransformerSpec
from biocl.encoders.spec_series import CoSTSpec
from biocl.errors import UsageError
from biocl.objectives import criteria
from biocl.objectives.batch import Batch
from biocl.objectives.model import Model
from biocl.objectives.spec import ContrastTerm, ProjectorSpec
from biocl.objectives.terms import make_views, step_loss
from biocl.randomness import integer_seed
from biocl.views.spec import Jitter

SPEC = CoSTSpec(name="cost", depth=1, hidden_dim=4, embed_dim=8, kernels=[1, 4], dropout=0.0)
VIEWS = {"a": [Jitter(jitter=0.5)], "b": [Jitter(jitter=0.5)]}
N, T = 4, 12


def season(read: str, **keys: Any) -> ContrastTerm:
    """Amplitude or phase contrast."""
    criterion = {"name": "nt-xent", "similarity": "dot", "temperature": 1.0}
    season = {"views": ["a", "b"], "branches": ["season"], "read": read, "relation": "same-sample", "label": read}
    return ContrastTerm(**{**season, "criterion": criterion, **keys})


TREND = ContrastTerm(
    views=["a", "b"],
    branches=["trend"],
    read="step",
    relation="same-sample",
    keys="momentum",
    queue={"size": 8},
    project="p",
    criterion={"name": "info-nce", "temperature": 0.07},
    label="trend",
)


def batch() -> Batch:
    ids = torch.arange(N)
    x = torch.randn(N, 2, T, generator=torch.Generator().manual_seed(0))
    return Batch(x, ids, ids, ids, ids * T, torch.full((N,), T), ids % 2)


def views(terms: list[ContrastTerm]) -> Any:
    return make_views(
        batch(), VIEWS, terms, hidden_dim=4, generator=torch.Generator(), seed_of=partial(integer_seed, 1)
    )


def model(terms: list[ContrastTerm], spec: EncoderSpec = SPEC) -> Model:
    torch.manual_seed(0)
    return Model(spec, n_chans=2, n_times=T, sfreq=10.0, terms=terms, projectors={"p": ProjectorSpec(out_dim=5)})


@pytest.mark.parametrize("read", ["amplitude", "phase"])
def test_season_is_contrasted_frequency_by_frequency(read: str) -> None:
    term = season(read)
    net, drawn = model([term]), views([term])
    sides = []
    for name in ("a", "b"):
        seq = F.normalize(net.latents(net.trunk(drawn[name]), drawn[name]).seq[..., 4:], dim=2)
        spectrum = torch.fft.rfft(seq, dim=1)
        sides.append(spectrum.abs() if read == "amplitude" else torch.atan2(spectrum.imag, spectrum.real))
    each = [criteria.nt_xent(*(side[None, :, f] for side in sides), similarity="dot") for f in range(T // 2 + 1)]
    out = step_loss(net, batch(), drawn, [term])
    torch.testing.assert_close(out.total, torch.stack(each).mean(), atol=1e-4, rtol=1e-4)
    out.total.backward()
    fourier = net.encoder.blocks[-1]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.encoder.parameters() if p.grad is not None)
    assert fourier.season.weight.grad.abs().max() > 0
    assert all(taps.grad is None or taps.grad.abs().max() == 0 for taps in fourier.trend.taps)


def test_the_trend_has_a_momentum_copy_and_a_queue() -> None:
    terms = [TREND, season("amplitude", weight=2.5e-4), season("phase", weight=2.5e-4)]
    net, drawn = model(terms), views(terms)
    assert net.queues["trend"].rows.shape == (8, 5)
    out = step_loss(net, batch(), drawn, terms)
    out.total.backward()
    assert set(out.terms) == {"trend", "amplitude", "phase"}
    net.follow([out.keys])
    assert int(net.queues["trend"].filled) == N
    only = step_loss(net, batch(), views([TREND]), [TREND])
    net.zero_grad()
    only.total.backward()
    assert all(taps.grad.abs().max() > 0 for taps in net.encoder.blocks[-1].trend.taps)
    assert net.encoder.blocks[-1].season.weight.grad.abs().max() == 0


def test_a_silent_season_has_finite_gradients() -> None:
    for read in ("amplitude", "phase"):
        net = model([season(read)])
        with torch.no_grad():
            net.encoder.blocks[-1].season.weight.zero_()
            net.encoder.blocks[-1].season.bias.zero_()
        step_loss(net, batch(), views([season(read)]), [season(read)]).total.backward()
        assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_steps_of_branches_need_an_encoder_whose_branches_share_them() -> None:
    with pytest.raises(UsageError, match="the encoder has main"):
        model([season("amplitude")], DilatedCNNSpec(depth=0, hidden_dim=2, embed_dim=4))
    branches = {
        "season": IFNetSpec(name="ifnet", width=2, bands=None),
        "other": DilatedCNNSpec(depth=0, hidden_dim=2, embed_dim=4),
    }
    with pytest.raises(UsageError, match="each branch of this encoder has its own"):
        model([season("amplitude")], DualSpec(dual=branches))
    with pytest.raises(ValidationError, match="one branch"):
        season("amplitude", branches=["trend", "season"])
    tokens = ChannelTransformerSpec(name="channel-transformer", hidden_dim=4, projector=[4])
    with pytest.raises(UsageError, match="compares time steps"):
        model([season("amplitude", branches=None)], tokens)
