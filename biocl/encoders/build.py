"""From the ``encoder:`` key to a module."""

from __future__ import annotations

from biocl.encoders.dilated_cnn import DilatedCNN
from biocl.encoders.spec import EncoderSpec

Encoder = DilatedCNN


def build_encoder(spec: EncoderSpec, *, n_chans: int) -> Encoder:
    """The encoder of `spec` for windows of `n_chans` channels; weights from torch's current seed.

    The module maps ``x (B, n_chans, n_times)`` and an optional ``keep`` mask to a sequence
    ``(B, n_times, embed_dim)`` and has the attribute ``out_dim``.
    """
    return DilatedCNN(
        n_chans,
        hidden_dim=spec.hidden_dim,
        embed_dim=spec.embed_dim,
        depth=spec.depth,
        kernel_size=spec.kernel_size,
    )
