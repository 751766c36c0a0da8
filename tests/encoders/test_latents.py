"""Pooling over time reads what is signal, whatever stands in the padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biocl.encoders.latents import Pool, read_out


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("segments", [1, 3])
def test_padding_and_gaps_reach_no_vector(pool: Pool, segments: int) -> None:
    generator = torch.Generator().manual_seed(0)
    seq = torch.randn(20, 14, 5, generator=generator) - 3  # zeros would win a maximum
    valid = torch.rand(20, 14, generator=generator) < 0.6
    valid[3] = False
    valid[4] = True
    parts = np.array_split(np.arange(14), segments)
    expected = np.zeros((20, segments, 5), np.float32)
    for i in range(20):
        for k, part in enumerate(parts):
            shown = seq[i].numpy()[part[valid[i].numpy()[part]]]
            if len(shown):
                expected[i, k] = shown.max(axis=0) if pool == "max" else shown.mean(axis=0)
    noise = torch.where(valid[..., None], seq, torch.tensor(1e4))
    for one in (seq, noise):
        found = read_out(one, pool=pool, dropout=0.0, training=False, valid=valid, segments=segments).vec
        np.testing.assert_allclose(found.numpy(), expected.reshape(20, -1), rtol=1e-5, atol=1e-5)


def test_dropout_is_drawn_in_training_alone() -> None:
    seq = torch.ones(4, 50, 8)
    still = read_out(seq, pool="mean", dropout=0.5, training=False)
    assert torch.equal(still.seq, seq)
    torch.manual_seed(0)
    first, second = (read_out(seq, pool="mean", dropout=0.5, training=True) for _ in range(2))
    assert not torch.equal(first.seq, second.seq)
    assert set(first.seq.unique().tolist()) == {0.0, 2.0}
