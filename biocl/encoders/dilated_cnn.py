"""The dilated residual CNN of TS2Vec and COMET, as matrix products over a time-first layout."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from biocl.encoders.encoder import Encoder
from biocl.encoders.residual_block import residual_block


class DilatedCNN(Encoder):
    """One representation per time step, from a stack of dilated residual convolutions.

    A linear layer lifts the channels to `hidden_dim`; `depth` hidden blocks and one output block
    follow, ``y = skip(x) + conv2(gelu(conv1(gelu(x))))`` with dilation ``2**i`` in block i and zero
    padding that keeps the length. There is no normalisation, and no dropout: the caller applies it to
    the output, so that one pass can serve several draws.

    Taps whose dilation reaches the window's length only ever see padding. They keep their parameters
    (weights load and save in full form, and serve longer windows) but are not computed.

    Parameters
    ----------
    n_chans : int
        Input channels.
    hidden_dim, embed_dim : int
        Channels of the hidden blocks and of the output.
    depth : int
        Number of hidden blocks. ``DilatedCNN(15)`` has 638,144 parameters.
    kernel_size : int
        Taps of each convolution, odd.
    causal : bool
        All padding in front: a step sees what is before it, and itself. As many taps are computed as see the window,
        so a window much shorter than the receptive field costs no more than it holds.

    Attributes
    ----------
    out_dim : int
        Width of the output, ``embed_dim``.
    receptive_field : int
        Input steps that one output step can see; see `receptive_field` below.

    References
    ----------
    Yue et al. 2022, TS2Vec; Wang et al. 2023, "Contrast Everything" (COMET).
    """

    def __init__(
        self,
        n_chans: int,
        *,
        hidden_dim: int = 64,
        embed_dim: int = 320,
        depth: int = 10,
        kernel_size: int = 3,
        causal: bool = False,
    ) -> None:
        super().__init__(
            "dilated-cnn",
            n_chans,
            out_dim=embed_dim,
            receptive_field=receptive_field(depth, kernel_size),
            hidden_dim=hidden_dim,
            causal=causal,
        )
        self.inlet = nn.Linear(n_chans, hidden_dim)
        widths = [hidden_dim] * (depth + 1) + [embed_dim]
        self.blocks = nn.ModuleList(
            ResidualBlock(widths[i], widths[i + 1], kernel_size, dilation=2**i, project=i == depth, causal=causal)
            for i in range(depth + 1)
        )

    def n_steps(self, n_times: int) -> int:
        """One step per sample."""
        return n_times

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Encode windows.

        Parameters
        ----------
        x : Tensor, shape (B, n_chans, n_times)
            Windows in any memory layout; not written to.
        keep : bool Tensor, shape (B, n_times) or (B, n_times, hidden_dim), optional
            False where the hidden sequence is set to zero after the linear layer (its bias too).

        Returns
        -------
        Tensor, shape (B, n_times, embed_dim)
            A transposed view of a contiguous ``(n_times, B, embed_dim)`` tensor.
        """
        steps = self.inlet(x.permute(2, 0, 1))
        if keep is not None:
            hidden = keep if keep.dim() == 3 else keep.unsqueeze(-1)
            steps = steps.masked_fill(~hidden.transpose(0, 1), 0)
        for block in self.blocks:
            steps = block(steps)
        return steps.transpose(0, 1)


class ResidualBlock(nn.Module):
    """Two dilated convolutions with a skip; see `biocl.encoders.residual_block` for the arithmetic.

    The ``nn.Conv1d`` modules hold weights in their usual form and initialisation and are not called.
    """

    def __init__(
        self, width_in: int, width_out: int, kernel_size: int, *, dilation: int, project: bool, causal: bool
    ) -> None:
        super().__init__()
        self.dilation, self.causal = dilation, causal
        self.conv1 = nn.Conv1d(width_in, width_out, kernel_size)
        self.conv2 = nn.Conv1d(width_out, width_out, kernel_size)
        self.skip = nn.Conv1d(width_in, width_out, 1) if project or width_in != width_out else None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n_times, B, width_in)`` to ``(n_times, B, width_out)``."""
        convolutions = [self.conv1, self.conv2] + ([] if self.skip is None else [self.skip])
        weights: list[Tensor] = []
        for conv in convolutions:
            assert conv.bias is not None
            weights += [conv.weight.permute(2, 1, 0).to(x.dtype), conv.bias.to(x.dtype)]
        return residual_block(x, weights, self.dilation, self.causal)


def receptive_field(depth: int, kernel_size: int = 3) -> int:
    """Number of input steps that one output step can see: 8189 at depth 10."""
    return 1 + 2 * (kernel_size - 1) * (2 ** (depth + 1) - 1)


def comet_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of the public COMET (or TS2Vec) encoder to ours.

    Parameters
    ----------
    state : mapping of str to Tensor
        State dict of their encoder, of its ``DataParallel`` or of its ``AveragedModel`` (prefixes
        ``module.`` and the counter ``n_averaged`` are dropped).

    Returns
    -------
    dict of str to Tensor
        For ``DilatedCNN.load_state_dict``; the values are the same tensors.
    """
    names = {"input_fc": "inlet", "feature_extractor.net": "blocks", ".conv.": ".", "projector": "skip"}
    renamed = {}
    for key, value in state.items():
        if key == "n_averaged":
            continue
        name = key.replace("module.", "")
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        renamed[name] = value
    return renamed
