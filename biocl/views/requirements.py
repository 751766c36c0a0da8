"""What each step assumes of the signal, looked at before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from biocl.errors import UsageError
from biocl.signals.devices import devices_of
from biocl.views import spec as steps
from biocl.views.signal import ELECTRIC, SignalInfo, exchangeable, mirror, mirror_classes, triads
from biocl.views.spec import Step, ViewSpec


def check_views(views: Mapping[str, ViewSpec], signal: SignalInfo, *, key: str = "views") -> None:
    """Refuse a view that this signal does not allow.

    Parameters
    ----------
    views : mapping of str to list of steps
    signal : SignalInfo
    key : str
        Where the views stand in the configuration.

    Raises
    ------
    UsageError
        Naming the step, what it assumes and what to do.
    """
    for name, chain in views.items():
        for number, step in enumerate(chain):
            cut = any(earlier.time == "cut" for earlier in chain[:number])
            check_step(step, signal, padded=signal.padded or cut, where=f"{key}.{name}.{number}")


def check_step(step: Step, signal: SignalInfo, *, padded: bool, where: str) -> None:
    """Refuse one step (see `check_views`); `padded` says whether its windows may hold padding."""
    reason = refusal(step, signal, padded=padded)
    if reason is not None:
        why, fix = reason
        raise UsageError(f"The view step {step.key()} cannot be applied to this signal: {why}", where, fix)


def refusal(step: Step, signal: SignalInfo, *, padded: bool) -> tuple[str, str] | None:
    """Why the step does not fit the signal and what to do, or None where it fits."""
    nyquist = signal.sfreq / 2
    match step:
        case steps.FrequencyShift() if abs(step.frequency_shift) >= nyquist:
            return f"{step.frequency_shift:g} Hz is not below half the sampling rate, {nyquist:g} Hz", "Shift by less"
        case steps.FourierSurrogate() if padded:
            return "windows hold padding, so their spectrum is not the signal's", "Use windows without padding"
        case steps.BandStop() if (step.high_hz or nyquist) > nyquist or (
            (step.high_hz or nyquist) - step.low_hz < step.band_stop
        ):
            return (
                f"a band of {step.band_stop:g} Hz from {step.low_hz:g} Hz on does not fit below "
                f"{min(step.high_hz or nyquist, nyquist):g} Hz, half the sampling rate being {nyquist:g} Hz",
                "Choose low_hz, high_hz and the width to suit the sampling rate",
            )
        case steps.ChannelDropout() if len(signal.channels) < 2:
            return "there is one channel only", "Leave the step out"
        case steps.DeviceDropout() if len(devices_of(signal.channels)) < 2:
            return "there is one device only", "Leave the step out, or say in the data which channels are whose"
        case steps.ChannelShuffle() if not exchangeable(signal.channels):
            return "no device has two channels of one kind and unit", "Leave the step out"
        case steps.Reflect():
            montage = lacks(lambda: mirror(signal), "Reflect EEG whose electrodes all have a partner by name")
            return montage or lacks(
                lambda: mirror_classes(signal.classes), "Reflect only where left and right are both classes"
            )
        case steps.Rotate() if signal.scale not in ("none", "kind"):
            return (
                f"its channels are scaled one by one (input_scale: {signal.scale}), so a turn would mix unequal units",
                "Set data.input_scale: kind, or none",
            )
        case steps.Rotate():
            return lacks(lambda: triads(signal), "Name the axes x, y and z in the channels' names, and their kinds")
        case steps.LeadMix() if len(signal.of_kind("ecg")) < 2:
            return "it has fewer than two ECG leads", "Leave the step out, or say that the channels are ECG"
        case steps.BaselineWander() | steps.Mains() | steps.Muscle() if not signal.of_kind(*ELECTRIC):
            return f"no channel is one of {', '.join(ELECTRIC)}", "Leave the step out, or state the channels' kinds"
        case steps.Mains() if step.frequency_hz >= nyquist:
            return f"{step.frequency_hz:g} Hz is not below half the sampling rate, {nyquist:g} Hz", "Leave the step out"
        case steps.Muscle() if step.low_hz >= nyquist:
            return f"low_hz is not below half the sampling rate, {nyquist:g} Hz", "Lower low_hz, or leave the step out"
    return None


def lacks(find: Callable[[], object], fix: str) -> tuple[str, str] | None:
    """What `find` misses, as a ValueError says it."""
    try:
        find()
    except ValueError as error:
        return str(error), fix
    return None
