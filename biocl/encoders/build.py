"""From the ``encoder:`` key to a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from biocl.encoders import spec as specs
from biocl.encoders import spec_eeg as eeg
from biocl.encoders import spec_series as series
from biocl.encoders.devices import DeviceEncoder
from biocl.encoders.dilated_cnn import DilatedCNN
from biocl.encoders.dual import DualEncoder
from biocl.encoders.encoder import Encoder
from biocl.encoders.spec_base import ReadOut
from biocl.errors import UsageError
from biocl.signals.devices import devices_of, each_channel
from biocl.signals.recording import Channel

JointEncoder = DualEncoder | DeviceEncoder
AnyEncoder = Encoder | JointEncoder


def build_encoder(
    spec: specs.EncoderSpec,
    *,
    n_chans: int,
    n_times: int | None = None,
    sfreq: float | None = None,
    channel_names: Sequence[str] | None = None,
    channels: Sequence[Channel] | None = None,
) -> AnyEncoder:
    """The encoder of `spec` for windows of ``n_times`` samples of `n_chans` channels; weights from torch's seed.

    Parameters
    ----------
    spec : EncoderSpec
    n_chans : int
        Channels of a window.
    n_times : int, optional
        Samples of a window. The dilated CNN alone does not ask for it.
    sfreq : float, optional
        Samples a second, for lengths in milliseconds. The dilated CNN alone does not ask for it.
    channel_names : sequence of str, optional
        For encoders that know where electrodes sit.
    channels : sequence of Channel, optional
        For an encoder of each device: which channels are whose.

    Returns
    -------
    Encoder, DualEncoder or DeviceEncoder
        Maps ``x (B, n_chans, n_times)`` and an optional ``keep`` mask to a sequence (B, L, out_dim); see
        `biocl.encoders.encoder.Encoder`. The other two give one sequence for each branch or device.

    Raises
    ------
    UsageError
        The window is too short for the encoder, a device's rate does not divide the windows', or the library of a
        foreign encoder is missing.
    """

    if isinstance(spec, specs.DevicesSpec):
        if channels is None or n_times is None:
            raise ValueError("an encoder of each device needs channels and n_times")
        return of_devices(spec, channels, n_times, sfreq)
    return of_window(spec, n_chans, n_times, sfreq, channel_names)


def of_devices(
    spec: specs.DevicesSpec, channels: Sequence[Channel], n_times: int, sfreq: float | None
) -> DeviceEncoder:
    """An encoder for each different device; of equal ones the first one's channels make it."""
    devices = devices_of(channels, steps_between(spec.rates, sfreq))
    if spec.of == "channel":
        devices = each_channel(channels, alike=spec.share)
    encoders: dict[str, Encoder | DualEncoder] = {}
    for device in devices:
        key = device.key(shared=spec.share)
        if key not in encoders:
            names = [channels[i].name for i in device.columns]
            rate = None if sfreq is None else sfreq / device.every
            encoders[key] = of_window(spec.each, len(device.columns), device.n_times(n_times), rate, names)
    return DeviceEncoder(spec, devices, encoders, n_times)


def steps_between(rates: Mapping[str, float], sfreq: float | None) -> dict[str, int]:
    """Every how manieth step of the windows each named device has a sample.

    Raises
    ------
    UsageError
        A rate does not divide that of the windows.
    """
    if rates and sfreq is None:
        raise ValueError("rates of devices need sfreq")
    found = {}
    for name, rate in rates.items():
        assert sfreq is not None
        found[name] = max(1, round(sfreq / rate))
        if abs(found[name] * rate - sfreq) > 1e-6 * sfreq:
            raise UsageError(
                f"The device {name!r} is said to have {rate:g} samples a second, and the windows' {sfreq:g} are no "
                "multiple of that",
                f"encoder.rates.{name}",
                "Give the rate at which it was recorded, and set data.resample_hz to a common multiple of all rates",
            )
    return found


def of_window(
    spec: ReadOut | specs.DualSpec,
    n_chans: int,
    n_times: int | None,
    sfreq: float | None,
    names: Sequence[str] | None,
) -> Encoder | DualEncoder:
    """One encoder, or two branches, that read all channels of a window."""
    if not isinstance(spec, specs.DualSpec):
        return checked(spec, n_chans, n_times, sfreq, names)
    if n_times is None:
        raise ValueError("two branches need n_times")
    branches = {name: checked(branch, n_chans, n_times, sfreq, names) for name, branch in spec.dual.items()}
    return DualEncoder(spec, branches, n_times)


def checked(
    spec: ReadOut, n_chans: int, n_times: int | None, sfreq: float | None, names: Sequence[str] | None
) -> Encoder:
    """One encoder that was asked whether it takes windows of this length."""
    if isinstance(spec, specs.DilatedCNNSpec):
        return dilated_cnn(spec, n_chans)
    if n_times is None or sfreq is None:
        raise ValueError("every encoder but the dilated CNN needs n_times and sfreq")
    encoder = build_one(spec, n_chans, n_times, sfreq, names)
    encoder.check_length(n_times)
    return encoder


def dilated_cnn(spec: specs.DilatedCNNSpec, n_chans: int) -> DilatedCNN:
    """The one encoder that asks neither for a length nor for a rate."""
    return DilatedCNN(
        n_chans,
        hidden_dim=spec.hidden_dim,
        embed_dim=spec.embed_dim,
        depth=spec.depth,
        kernel_size=spec.kernel_size,
        causal=spec.causal,
    )


def build_one(spec: ReadOut, n_chans: int, n_times: int, sfreq: float, channel_names: Sequence[str] | None) -> Encoder:
    """One encoder; its file is imported here, so that none pays for the others."""
    match spec:
        case specs.ResNet1dSpec():
            from biocl.encoders.resnet1d import ResNet1d

            return ResNet1d(spec, n_chans)
        case specs.InceptionTimeSpec():
            from biocl.encoders.inception_time import InceptionTime

            return InceptionTime(spec, n_chans)
        case specs.PatchTransformerSpec():
            from biocl.encoders.patch_transformer import PatchTransformer

            return PatchTransformer(spec, n_chans, n_times, sfreq)
        case specs.TPNSpec():
            from biocl.encoders.tpn import TPN

            return TPN(spec, n_chans)
        case specs.ScatteringSpec():
            from biocl.encoders.scattering import ScatteringEncoder

            return ScatteringEncoder(spec, n_chans, n_times, sfreq)
        case eeg.EEGNetSpec():
            from biocl.encoders.eegnet import EEGNet

            return EEGNet(spec, n_chans, sfreq)
        case eeg.ShallowConvNetSpec():
            from biocl.encoders.shallow_convnet import ShallowConvNet

            return ShallowConvNet(spec, n_chans, sfreq)
        case eeg.IFNetSpec():
            from biocl.encoders.ifnet import IFNet

            return IFNet(spec, n_chans, sfreq)
        case eeg.ConformerSpec():
            from biocl.encoders.eeg_conformer import EEGConformer

            return EEGConformer(spec, n_chans, n_times, sfreq)
        case eeg.ChannelTransformerSpec():
            from biocl.encoders.channel_transformer import ChannelTransformer

            return ChannelTransformer(spec, n_chans, n_times, channel_names)
        case series.LSTMSpec():
            from biocl.encoders.lstm import LSTM

            return LSTM(spec, n_chans, n_times)
        case series.CoSTSpec():
            from biocl.encoders.cost import CoST

            return CoST(spec, n_chans, n_times)
        case specs.TsaiSpec():
            from biocl.encoders.tsai_adapter import TsaiEncoder

            return TsaiEncoder(spec, n_chans, n_times)
        case specs.BraindecodeSpec():
            from biocl.encoders.braindecode_adapter import BraindecodeEncoder

            return BraindecodeEncoder(spec, n_chans, n_times, sfreq)
    raise UsageError(f"There is no encoder {spec.name!r}", "encoder.name")
