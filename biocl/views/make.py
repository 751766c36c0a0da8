"""From the clean batch to a view: the steps of its list, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from biocl.errors import UsageError
from biocl.signals.devices import devices_of
from biocl.views import amplitude, frequency, noise, space, spec, time
from biocl.views.draws import Draws
from biocl.views.masks import apply_mask
from biocl.views.requirements import check_step
from biocl.views.signal import ELECTRIC, SignalInfo, exchangeable, mirror, mirror_classes, triads
from biocl.views.spec import MaskStep, ViewStep
from biocl.views.view import View, where


@torch.no_grad()
def make_view(
    view: View,
    steps: Sequence[ViewStep],
    *,
    hidden_dim: int | None,
    generator: torch.Generator,
    signal: SignalInfo | None = None,
) -> View:
    """Apply `steps` in order to the clean `view`; draws are per sample, from `generator`.

    Parameters
    ----------
    view : View
        Not changed.
    steps : sequence of steps
    hidden_dim : int, optional
        Width of the encoder's first hidden sequence, for masks of it.
    generator : torch.Generator
        On the view's device.
    signal : SignalInfo, optional
        What the channels are; steps that read nothing of it do without.

    Returns
    -------
    View
        Padding is 0 in it. Where a step would leave a sample without a valid step, it does not happen to that sample.

    Raises
    ------
    UsageError
        A step does not fit the signal.
    """
    if not len(view.x):  # Fourier transforms of nothing are an error in some builds of torch
        return view
    draws = Draws(generator, view.x.device)
    for step in steps:
        happens = draws.happens(len(view.x), p=step.p) if step.p < 1 else None
        if isinstance(step, MaskStep):
            new = apply_mask(view, step, hidden_dim=hidden_dim, generator=generator)
        else:
            new = changed(view, step, draws, signal)
        if new.valid is not None:
            if new.valid is not view.valid:
                some = new.valid.any(dim=1)
                happens = some if happens is None else happens & some
            new = replace(new, x=torch.where(new.valid[:, None], new.x, 0.0))
        if new.present is not None and signal is not None:
            new = replace(new, x=torch.where(new.present[:, device_numbers(signal, new.x), None], new.x, 0.0))
        view = new if happens is None else where(happens, new, view)
    return view


def device_numbers(signal: SignalInfo, x: torch.Tensor) -> torch.Tensor:
    """Of each channel the number of its device, (C,)."""
    number = {i: n for n, device in enumerate(devices_of(signal.channels)) for i in device.columns}
    return torch.tensor([number[i] for i in range(len(number))], device=x.device)


def changed(view: View, step: ViewStep, draws: Draws, signal: SignalInfo | None) -> View:
    """The view after one step that happens to every sample."""
    match step:
        case spec.Reverse():
            return time.reverse(view)
        case spec.Permute():
            return time.permute(view, n_segments=step.permute, draws=draws)
        case spec.Crop():
            return time.crop(view, share=step.crop, draws=draws)
        case spec.CropResize():
            return time.crop_resize(view, share=step.crop_resize, draws=draws)
        case spec.TimeWarp():
            return time.time_warp(view, strength=step.time_warp, knots=step.knots, draws=draws)
        case spec.DeviceDropout():
            columns = [device.columns for device in devices_of(fitting(signal, step, view).channels)]
            return space.device_dropout(view, devices=columns, share=step.device_dropout, draws=draws)
        case spec.Reflect():
            known = fitting(signal, step, view)
            return space.reflect(view, mirror=mirror(known), classes=mirror_classes(known.classes))
    return replace(view, x=changed_values(view, step, draws, signal))


def changed_values(view: View, step: ViewStep, draws: Draws, signal: SignalInfo | None) -> torch.Tensor:
    """The signal after one step that leaves labels and time alone."""
    x, valid = view.x, view.valid
    match step:
        case spec.Jitter():
            return amplitude.jitter(x, valid, share=step.jitter, draws=draws)
        case spec.Scale():
            return amplitude.scale(x, change=step.scale, per=step.per, draws=draws)
        case spec.SignFlip():
            return amplitude.sign_flip(x, per=step.sign_flip, draws=draws)
        case spec.BinDrop():
            return frequency.bin_drop(x, share=step.bin_drop, draws=draws)
        case spec.BinAdd():
            return frequency.bin_add(x, share=step.bin_add, amplitude=step.amplitude, draws=draws)
        case spec.ChannelDropout():
            return space.channel_dropout(x, share=step.channel_dropout, draws=draws)
    known = fitting(signal, step, view)
    match step:
        case spec.FrequencyShift():
            return frequency.frequency_shift(x, hz=step.frequency_shift, sfreq=known.sfreq, draw=step.draw, draws=draws)
        case spec.FourierSurrogate():
            return frequency.fourier_surrogate(x, share=step.fourier_surrogate, per=step.per, draws=draws)
        case spec.BandStop():
            return frequency.band_stop(
                x,
                width_hz=step.band_stop,
                low_hz=step.low_hz,
                high_hz=step.high_hz or known.sfreq / 2,
                sfreq=known.sfreq,
                draws=draws,
            )
        case spec.ChannelShuffle():
            return space.channel_shuffle(x, groups=exchangeable(known.channels), draws=draws)
        case spec.Rotate():
            return space.rotate(x, devices=triads(known), largest_deg=step.rotate, draws=draws)
        case spec.LeadMix():
            return space.lead_mix(x, leads=known.of_kind("ecg"), strength=step.lead_mix, draws=draws)
    return noisy(view, step, draws, known)


def noisy(view: View, step: ViewStep, draws: Draws, known: SignalInfo) -> torch.Tensor:
    """The signal with physiological noise on its electric channels."""
    columns = known.of_kind(*ELECTRIC)
    n_samples, _, n_times = view.x.shape
    match step:
        case spec.BaselineWander():
            added = noise.baseline_wander(
                (n_samples, len(columns), n_times),
                low_hz=step.low_hz,
                high_hz=step.high_hz,
                sfreq=known.sfreq,
                draws=draws,
            )
            return noise.add_at_snr(view.x, added, view.valid, columns, step.baseline_wander)
        case spec.Mains():
            hum = noise.mains((n_samples, n_times), frequency_hz=step.frequency_hz, sfreq=known.sfreq, draws=draws)
            return noise.add_at_snr(view.x, hum, view.valid, columns, step.mains)
        case spec.Muscle():
            added = noise.muscle(
                (n_samples, len(columns), n_times),
                low_hz=step.low_hz,
                high_hz=step.high_hz,
                sfreq=known.sfreq,
                draws=draws,
            )
            return noise.add_at_snr(view.x, added, view.valid, columns, step.muscle)
    raise TypeError(f"{type(step).__name__} is no step of a view")


def fitting(signal: SignalInfo | None, step: ViewStep, view: View) -> SignalInfo:
    """What is known of the signal, where the step fits it."""
    if signal is None:
        raise UsageError(
            f"The view step {step.key()} needs to know sampling rate and channels, and was told nothing",
            "views",
            "Pass make_views the signal",
        )
    check_step(step, signal, padded=view.valid is not None, where="views")
    return signal
