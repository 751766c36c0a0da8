"""The `encoder:` key: one encoder by name, two branches under `dual:`, or one for each device under `each:`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from biocl.encoders.spec_base import Milliseconds, ReadOut, Share, Width, odd
from biocl.encoders.spec_eeg import (
    ChannelTransformerSpec,
    ConformerSpec,
    EEGNetSpec,
    IFNetSpec,
    ShallowConvNetSpec,
)
from biocl.encoders.spec_series import CoSTSpec, LSTMSpec
from biocl.spec import Spec

Kernel = Annotated[int, Field(ge=1), AfterValidator(odd)]


class DilatedCNNSpec(ReadOut):
    """The dilated CNN of TS2Vec and COMET: `depth` hidden residual blocks and one output block."""

    takes_hidden_mask: ClassVar[bool] = True

    name: Literal["dilated-cnn"] = "dilated-cnn"
    """The dilated CNN of TS2Vec and COMET: one step per sample, with a view of thousands of samples."""
    depth: Annotated[int, Field(ge=0, le=30)] = 10
    """Hidden blocks; block i has dilation 2^i."""
    hidden_dim: Width = 64
    """Channels of the hidden blocks."""
    embed_dim: Width = 320
    """Channels of the representation."""
    kernel_size: Kernel = 3
    """Taps of each convolution, an odd number."""
    causal: bool = False
    """A step sees only what is before it, and itself (a causal TCN); its view reaches as far, all of it backwards."""


class ResNet1dSpec(ReadOut):
    """A residual CNN: a mixture of channels, then one block of convolutions for each width."""

    takes_hidden_mask: ClassVar[bool] = True

    name: Literal["resnet1d"]
    """A residual CNN (Wang et al. 2017), one block of convolutions for each width."""
    widths: Annotated[list[Width], Field(min_length=1)] = [64, 128, 128]
    """Channels of each block."""
    kernels: Annotated[list[Kernel], Field(min_length=1)] = [7, 5, 3]
    """Taps of the convolutions of a block, in samples, odd numbers."""
    stride: Width = 1
    """Each block after the first keeps every so-manieth step."""


class InceptionTimeSpec(ReadOut):
    """InceptionTime: parallel kernels of several lengths in each module, a residual path every three."""

    name: Literal["inception-time"]
    """One network of InceptionTime (Ismail Fawaz et al. 2020): parallel kernels of several lengths."""
    depth: Width = 6
    """Modules; every third ends a residual path."""
    width: Width = 32
    """Channels of each kernel and of the bottleneck; a module gives one such set for each kernel and one for a pool."""
    kernels: Annotated[list[Kernel], Field(min_length=1)] = [39, 19, 9]
    """Taps of the parallel convolutions, in samples, odd numbers."""


class PatchTransformerSpec(ReadOut):
    """A Transformer whose tokens are stretches of the window, all channels joined."""

    takes_hidden_mask: ClassVar[bool] = True

    name: Literal["patch-transformer"]
    """A Transformer whose tokens are stretches of the window, all channels joined."""
    patch_ms: Milliseconds = 200
    """Length of a patch in milliseconds."""
    stride_ms: Milliseconds | None = None
    """From one patch to the next in milliseconds; default: the patch's length, no overlap."""
    width: Width = 128
    """Width of a token."""
    depth: Width = 4
    """Blocks."""
    n_heads: Width = 8
    """Attention heads; divides the width."""
    expansion: Width = 4
    """Width of the hidden layer of a block's perceptron, in token widths."""
    positions: Literal["rotary", "learned"] = "rotary"
    """How a token knows its place: rotary turns queries and keys and serves any length; learned adds one vector
    for each place, so that windows may not be longer than those it was made for."""
    block_dropout: Share = 0.1
    """Inside the blocks, in training only."""

    @model_validator(mode="after")
    def _heads_fit(self) -> PatchTransformerSpec:
        check_heads(self.width, self.n_heads)
        if self.positions == "rotary" and self.width // self.n_heads % 2:
            raise ValueError("rotary positions need an even width for each head")
        return self


class TPNSpec(ReadOut):
    """TPN, the CNN of ColloSSL: three convolutions without padding, for movement sensors."""

    name: Literal["tpn"]
    """The CNN of ColloSSL: three convolutions without padding, then the maximum over time."""
    widths: Annotated[list[Width], Field(min_length=1)] = [32, 64, 96]
    """Channels of each convolution."""
    kernels: Annotated[list[Width], Field(min_length=1)] = [24, 16, 8]
    """Taps of each convolution, in samples (published for 50 Hz)."""

    @model_validator(mode="after")
    def _as_many(self) -> TPNSpec:
        if len(self.widths) != len(self.kernels):
            raise ValueError("widths and kernels need the same number of entries")
        return self


class ScatteringSpec(ReadOut):
    """A fixed scattering transform and a small trained network on it, for few recordings."""

    name: Literal["scattering"]
    """A fixed scattering transform (wavelets, modulus, average) and a small trained network, for small cohorts."""
    scale_ms: Milliseconds = 250
    """Length of the average in milliseconds: shifts much below it change little. Rounded to a power of two samples."""
    per_octave: Width = 8
    """Wavelets for each octave of the first order."""
    order: Literal[1, 2] = 2
    """2 also keeps the modulations of each band."""
    hidden_dim: Width = 64
    """Channels of the trained network."""
    embed_dim: Width = 128
    """Channels of the representation."""
    depth: Width = 2
    """Residual blocks of the trained network."""


class TsaiSpec(ReadOut):
    """A model of tsai, by the name of its class: ``tsai/InceptionTimePlus``."""

    name: Annotated[str, Field(pattern=r"^tsai/[A-Za-z]\w*$")]
    """tsai/CLASS, for instance tsai/InceptionTimePlus; needs the extra: pip install "biocl[tsai]"."""
    arguments: dict[str, Any] = {}
    """Further arguments of the class, by name."""


class BraindecodeSpec(ReadOut):
    """A model of braindecode, by the name of its class: ``braindecode/EEGNet``."""

    name: Annotated[str, Field(pattern=r"^braindecode/[A-Za-z]\w*$")]
    """braindecode/CLASS, for instance braindecode/Deep4Net; needs the extra: pip install "biocl[braindecode]"."""
    arguments: dict[str, Any] = {}
    """Further arguments of the class, by name."""


def check_heads(width: int, n_heads: int) -> None:
    """Heads share the width equally."""
    if width % n_heads:
        raise ValueError(f"n_heads {n_heads} does not divide width {width}")


OWN = (
    DilatedCNNSpec,
    ResNet1dSpec,
    InceptionTimeSpec,
    PatchTransformerSpec,
    TPNSpec,
    ScatteringSpec,
    EEGNetSpec,
    ShallowConvNetSpec,
    IFNetSpec,
    ConformerSpec,
    ChannelTransformerSpec,
    LSTMSpec,
    CoSTSpec,
)
NAMES: tuple[str, ...] = tuple(get_args(spec.model_fields["name"].annotation)[0] for spec in OWN)


def encoder_form(value: Any) -> str | None:
    """Which spec a value of ``encoder:`` is checked against, so that mistakes are reported for that one."""
    if isinstance(value, DevicesSpec) or (isinstance(value, dict) and "each" in value):
        return "devices-encoder"
    if isinstance(value, ReadOut | DualSpec):
        name = getattr(value, "name", None)
    elif isinstance(value, dict):
        name = None if "dual" in value else value.get("name", "dilated-cnn")
    else:
        return None
    if name is None:
        return "dual-encoder"
    library, slash, _ = str(name).partition("/")
    if slash:
        return f"{library}-encoder" if library in ("tsai", "braindecode") else None
    return f"{name}-encoder" if name in NAMES else None


OneEncoder = (
    Annotated[DilatedCNNSpec, Tag("dilated-cnn-encoder")]
    | Annotated[ResNet1dSpec, Tag("resnet1d-encoder")]
    | Annotated[InceptionTimeSpec, Tag("inception-time-encoder")]
    | Annotated[PatchTransformerSpec, Tag("patch-transformer-encoder")]
    | Annotated[TPNSpec, Tag("tpn-encoder")]
    | Annotated[ScatteringSpec, Tag("scattering-encoder")]
    | Annotated[EEGNetSpec, Tag("eegnet-encoder")]
    | Annotated[ShallowConvNetSpec, Tag("shallow-convnet-encoder")]
    | Annotated[IFNetSpec, Tag("ifnet-encoder")]
    | Annotated[ConformerSpec, Tag("eeg-conformer-encoder")]
    | Annotated[ChannelTransformerSpec, Tag("channel-transformer-encoder")]
    | Annotated[LSTMSpec, Tag("lstm-encoder")]
    | Annotated[CoSTSpec, Tag("cost-encoder")]
    | Annotated[TsaiSpec, Tag("tsai-encoder")]
    | Annotated[BraindecodeSpec, Tag("braindecode-encoder")]
)


def choice(keys: str) -> Discriminator:
    """How the form of an encoder is told, where a mistake is told of these keys too."""
    return Discriminator(
        encoder_form,
        custom_error_type="unknown_encoder",
        custom_error_message=f"name should be one of {', '.join(NAMES)}, tsai/CLASS, braindecode/CLASS{keys}",
    )


BranchSpec = Annotated[OneEncoder, choice("")]


class DualSpec(Spec):
    """Two encoders that read the same view, each with its own read-out."""

    dual: Annotated[dict[str, BranchSpec], Field(min_length=2, max_length=2)]
    """Two encoders by a name of your choice, for instance cnn and transformer; the first is the main one."""
    fusion: Literal["none", "concat", "gate", "cross-attention"] = "concat"
    """What predicts: none the first branch alone (the second only serves contrast between branches), concat both
    vectors side by side, gate a learned mixture of both, feature by feature, cross-attention both after the steps
    of each have read those of the other."""
    fused_dim: Width = 128
    """Width of the mixture (gate) and of the attention (cross-attention)."""
    n_heads: Width = 4
    """Heads of the attention (cross-attention); divides fused_dim."""

    @property
    def takes_hidden_mask(self) -> bool:
        """Whether a view may mask the first hidden sequence: where both branches have one."""
        return all(branch.takes_hidden_mask for branch in self.dual.values())

    @field_validator("dual")
    @classmethod
    def _names(cls, dual: dict[str, Any]) -> dict[str, Any]:
        for name in dual:
            if not name.isidentifier():
                raise ValueError(f"a branch is called by a word of letters, digits and _, not {name!r}")
        return dual

    @model_validator(mode="after")
    def _heads_fit(self) -> DualSpec:
        check_heads(self.fused_dim, self.n_heads)
        return self


EachSpec = Annotated[OneEncoder | Annotated[DualSpec, Tag("dual-encoder")], choice(", or the key be dual")]


class DevicesSpec(Spec):
    """An encoder for each device (`Channel.device`), and what joins their vectors."""

    takes_hidden_mask: ClassVar[bool] = False

    each: EachSpec
    """The encoder of a device, which reads that device's channels alone: one by name, or two branches under dual."""
    of: Literal["device", "channel"] = "device"
    """What the encoder is one of: each device, or each channel, which is then read alone."""
    share: bool = True
    """One set of weights for all devices with the same kinds of channels, so that it serves any number of them (of
    channel: for all channels, whatever their kind); false gives each its own."""
    fusion: Literal["concat", "mean", "sequential"] = "concat"
    """What predicts: concat all vectors side by side, with zeros for an absent device, mean over the devices that are
    there, sequential a state that each device that is there updates in turn (MultiModN)."""
    state_dim: Width = 64
    """Width of the state (sequential)."""
    rates: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    """Samples a second of devices that were recorded more slowly than the clock on which all were put: each is read at
    its own rate, which divides the clock's, so that milliseconds of its encoder are right and steps fewer. Devices of
    different rate share no weights. Default: the clock's rate."""

    @model_validator(mode="after")
    def _one_rate(self) -> DevicesSpec:
        if self.rates and self.of == "channel":
            raise ValueError("channels are read on one clock: rates needs of: device")
        return self


EncoderSpec = Annotated[
    OneEncoder | Annotated[DualSpec, Tag("dual-encoder")] | Annotated[DevicesSpec, Tag("devices-encoder")],
    choice(", or the key be dual or each"),
]
