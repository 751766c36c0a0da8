"""Keys of ``views:``: each name is a list of steps, applied in order; an empty list is the clean view.

A step is a mapping. The key that names the step holds its main setting, its other settings stand beside it:
``{frequency-shift: 0.1, p: 0.5}``. A bare name (``sign-flip``) is the step with its default.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from biocl.spec import Spec

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Decibel = Annotated[float, Field(ge=-40, le=80)]
Together = Literal["window", "channel"]


class Step(Spec):
    """What all steps share."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    # What a term must know of a step before it runs (see biocl/objectives/view_rules.py).
    time: ClassVar[Literal["kept", "reordered", "resampled", "cut"]] = "kept"
    relabels: ClassVar[bool] = False
    # Whether what follows the window still follows the view: it does not behind a scaled, flipped or turned signal.
    keeps_level: ClassVar[bool] = True

    p: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Probability that the step happens to a sample, drawn for each on its own."""

    @classmethod
    def key(cls) -> str:
        """The key of the YAML file that names the step: the first after p."""
        field = list(cls.model_fields)[1]
        return cls.model_fields[field].alias or field

    @classmethod
    def main_default(cls) -> Any:
        """The main setting of a step that is written as a bare name."""
        return list(cls.model_fields.values())[1].default


class MaskStep(Step):
    """Hide parts of every window, drawn anew for each sample."""

    mask: Literal["continuous", "binomial", "channel-continuous", "channel-binomial"] = "continuous"
    """continuous hides stretches of the window, binomial single steps; the channel- forms draw per channel
    (a continuous stretch then hides a random half of the channels)."""
    n_segments: Annotated[int, Field(ge=1)] = 5
    """Number of stretches; they may overlap (continuous forms only)."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Length of one stretch as a share of the window, or the probability of hiding a step."""
    at: Literal["hidden", "input"] = "hidden"
    """hidden masks the encoder's first hidden sequence, input the signal itself."""


class Jitter(Step):
    """Add white noise."""

    jitter: Positive = 0.05
    """Standard deviation of the noise as a share of each channel's own in the window."""


class Scale(Step):
    """Multiply by a random factor."""

    keeps_level: ClassVar[bool] = False

    scale: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """The factor is uniform between 1 minus and 1 plus this."""
    per: Together = "channel"
    """One factor for each channel, or one for the whole window."""


class SignFlip(Step):
    """Turn the signal upside down."""

    keeps_level: ClassVar[bool] = False

    sign_flip: Annotated[Together, Field(alias="sign-flip")] = "window"
    """window flips all channels of a sample, channel each with probability one half."""


class Reverse(Step):
    """Play the window backwards."""

    time: ClassVar[Literal["kept", "reordered", "resampled", "cut"]] = "reordered"

    reverse: Literal["time"] = "time"
    """What is reversed."""


class Permute(Step):
    """Cut the window into equal segments and put them in random order."""

    time: ClassVar[Literal["kept", "reordered", "resampled", "cut"]] = "reordered"

    permute: Annotated[int, Field(ge=2)] = 5
    """Number of segments (at most the window's steps; they differ by at most one step in length)."""


class Crop(Step):
    """Keep a random stretch of the window where it is; the rest becomes padding, which never reaches vec."""

    time: ClassVar[Literal["kept", "reordered", "resampled", "cut"]] = "cut"

    crop: Share = 0.5
    """Smallest share of the window that is kept; the share is uniform between this and 1."""


class CropResize(Step):
    """Stretch a random part of the window to the window's length, by linear interpolation."""

    time: ClassVar[Literal["kept", "reordered", "resampled", "cut"]] = "resampled"

    crop_resize: Annotated[Share, Field(alias="crop-resize")] = 0.5
    """Smallest share of the window that is kept; the share is uniform between this and 1."""


class TimeWarp(Step):
    """Let time run faster and slower along a smooth random course; first and last step stay."""

    time: ClassVar[Literal["kept", "reordered", "resampled", "cut"]] = "resampled"

    time_warp: Annotated[Positive, Field(alias="time-warp")] = 0.2
    """Speeds lie between 1 / (1 + this) and 1 + this, before they are made to fill the window."""
    knots: Annotated[int, Field(ge=2)] = 4
    """Points at which the speed is drawn, evenly spaced."""


class FrequencyShift(Step):
    """Move every frequency by some hertz (single side band), whatever the sampling rate."""

    keeps_level: ClassVar[bool] = False

    frequency_shift: Annotated[float, Field(alias="frequency-shift")] = 0.1
    """Hertz, negative for down; must be below half the sampling rate."""
    draw: Literal["fixed", "uniform"] = "fixed"
    """fixed shifts by exactly that, uniform by anything between minus and plus it."""


class FourierSurrogate(Step):
    """Keep the amplitude spectrum and draw the phases anew. Assumes windows without padding."""

    keeps_level: ClassVar[bool] = False

    fourier_surrogate: Annotated[Share, Field(alias="fourier-surrogate")] = 1.0
    """Share of a full turn by which phases may change: 1 draws them uniformly."""
    per: Together = "window"
    """window turns all channels alike, which keeps what they have in common; channel turns each on its own."""


class BandStop(Step):
    """Take a random frequency band out; the mean is kept."""

    band_stop: Annotated[Positive, Field(alias="band-stop")] = 4.0
    """Width of the band in hertz."""
    low_hz: Annotated[float, Field(ge=0)] = 0.0
    """The band lies above this."""
    high_hz: Positive | None = None
    """The band lies below this; half the sampling rate by default."""

    @model_validator(mode="after")
    def _fits(self) -> BandStop:
        if self.high_hz is not None and self.high_hz - self.low_hz < self.band_stop:
            raise ValueError(f"a band of {self.band_stop:g} Hz does not fit between low_hz and high_hz")
        return self


class BinDrop(Step):
    """Take random bins out of the spectrum of each channel (TF-C); the mean is kept."""

    bin_drop: Annotated[float, Field(alias="bin-drop", gt=0, lt=1)] = 0.1
    """Probability of each bin."""


class BinAdd(Step):
    """Add random sinusoids to the spectrum of each channel (TF-C)."""

    bin_add: Annotated[float, Field(alias="bin-add", gt=0, lt=1)] = 0.1
    """Probability of each bin."""
    amplitude: Positive = 0.1
    """Largest amplitude that is added, as a share of the channel's largest bin."""


class ChannelDropout(Step):
    """Set random channels to zero; at least one of a sample stays."""

    channel_dropout: Annotated[float, Field(alias="channel-dropout", gt=0, lt=1)] = 0.1
    """Probability of each channel."""


class DeviceDropout(Step):
    """Take random devices away, as if they had not been worn; at least one of a sample stays. Assumes two devices."""

    device_dropout: Annotated[float, Field(alias="device-dropout", gt=0, lt=1)] = 0.3
    """Probability of each device."""


class ChannelShuffle(Step):
    """Let channels of one device, kind and unit change places. Assumes a device with two such channels."""

    keeps_level: ClassVar[bool] = False

    channel_shuffle: Annotated[Literal["device"], Field(alias="channel-shuffle")] = "device"
    """Within what channels are shuffled."""


class Reflect(Step):
    """Mirror the head: EEG electrodes change sides by name, and so do the classes left and right.

    Assumes EEG channels named after sites of the 10-10 system, each with its partner, and a left/right pair of
    classes. Other classes and other channels stay as they are.
    """

    relabels: ClassVar[bool] = True
    keeps_level: ClassVar[bool] = False

    reflect: Literal["left-right"] = "left-right"
    """The axis of the reflection."""


class Rotate(Step):
    """Turn each device in space: all its accelerometer, gyroscope and magnetometer triads together.

    Assumes channels named x, y and z, and axes of one unit (data.input_scale: kind or none).
    """

    keeps_level: ClassVar[bool] = False

    rotate: Annotated[float, Field(gt=0, le=180)] = 180.0
    """Largest angle in degrees; the axis is uniform on the sphere, the angle between 0 and this."""


class LeadMix(Step):
    """Let each ECG lead show a little of the others, as displaced electrodes do.

    Assumes at least two ECG leads.
    """

    keeps_level: ClassVar[bool] = False

    lead_mix: Annotated[Positive, Field(alias="lead-mix")] = 0.1
    """Standard deviation of the sum of what a lead takes from the others, as a share of its own part."""


class BaselineWander(Step):
    """Add slow sinusoids to electric channels (ECG, EEG, EOG, EMG): breathing, sweat, moving electrodes."""

    baseline_wander: Annotated[Decibel, Field(alias="baseline-wander")] = 5.0
    """Signal-to-noise ratio in decibels, exact for each channel of each window (signal: variance)."""
    low_hz: Positive = 0.05
    """Lowest frequency."""
    high_hz: Positive = 0.5
    """Highest frequency."""

    @model_validator(mode="after")
    def _fits(self) -> BaselineWander:
        if self.low_hz >= self.high_hz:
            raise ValueError("low_hz must be below high_hz")
        return self


class Mains(Step):
    """Add mains hum to electric channels (ECG, EEG, EOG, EMG), of one phase for all channels of a sample."""

    mains: Decibel = 10.0
    """Signal-to-noise ratio in decibels, exact for each channel of each window (signal: variance)."""
    frequency_hz: Positive = 50.0
    """50 in most of the world, 60 in the Americas; must be below half the sampling rate."""


class Muscle(Step):
    """Add band-limited noise to electric channels (ECG, EEG, EOG, EMG), as muscles do."""

    muscle: Decibel = 10.0
    """Signal-to-noise ratio in decibels, exact for each channel of each window (signal: variance)."""
    low_hz: Positive = 20.0
    """Lowest frequency of the noise; must be below half the sampling rate."""
    high_hz: Positive = 150.0
    """Highest frequency of the noise; what lies above half the sampling rate is left out."""

    @model_validator(mode="after")
    def _fits(self) -> Muscle:
        if self.low_hz >= self.high_hz:
            raise ValueError("low_hz must be below high_hz")
        return self


KINDS: tuple[type[Step], ...] = (
    MaskStep,
    Jitter,
    Scale,
    SignFlip,
    Reverse,
    Permute,
    Crop,
    CropResize,
    TimeWarp,
    FrequencyShift,
    FourierSurrogate,
    BandStop,
    BinDrop,
    BinAdd,
    ChannelDropout,
    DeviceDropout,
    ChannelShuffle,
    Reflect,
    Rotate,
    LeadMix,
    BaselineWander,
    Mains,
    Muscle,
)
STEPS = {step.key(): step for step in KINDS}
"""Steps by the key that names them."""


def named(value: Any) -> Any:
    """A bare name as a mapping, and one readable sentence where a mapping names no step or several."""
    if isinstance(value, str):
        value = {value: STEPS[value].main_default() if value in STEPS else None}
    if isinstance(value, Step):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"a step is a mapping such as {{jitter: 0.05}} or a bare name, not {value!r}")
    names = [key for key in value if key in STEPS]
    if len(names) > 1:
        raise ValueError(f"{' and '.join(names)} are two steps: give each a list item of its own")
    if not names:
        near = [found for key in value for found in difflib.get_close_matches(str(key), STEPS, n=1)]
        hint = f"did you mean {near[0]}?" if near else f"the steps are {', '.join(STEPS)}"
        raise ValueError(f"{', '.join(map(str, value)) or 'an empty mapping'} names no step of a view; {hint}")
    return value


def step_form(value: Any) -> str | None:
    """Which kind of step a mapping is, so that a mistake is reported for that kind."""
    if isinstance(value, Step):
        return f"step-{value.key()}"
    if isinstance(value, dict):
        return next((f"step-{key}" for key in value if key in STEPS), None)
    return None


ViewStep = Annotated[
    Annotated[
        Annotated[MaskStep, Tag("step-mask")]
        | Annotated[Jitter, Tag("step-jitter")]
        | Annotated[Scale, Tag("step-scale")]
        | Annotated[SignFlip, Tag("step-sign-flip")]
        | Annotated[Reverse, Tag("step-reverse")]
        | Annotated[Permute, Tag("step-permute")]
        | Annotated[Crop, Tag("step-crop")]
        | Annotated[CropResize, Tag("step-crop-resize")]
        | Annotated[TimeWarp, Tag("step-time-warp")]
        | Annotated[FrequencyShift, Tag("step-frequency-shift")]
        | Annotated[FourierSurrogate, Tag("step-fourier-surrogate")]
        | Annotated[BandStop, Tag("step-band-stop")]
        | Annotated[BinDrop, Tag("step-bin-drop")]
        | Annotated[BinAdd, Tag("step-bin-add")]
        | Annotated[ChannelDropout, Tag("step-channel-dropout")]
        | Annotated[DeviceDropout, Tag("step-device-dropout")]
        | Annotated[ChannelShuffle, Tag("step-channel-shuffle")]
        | Annotated[Reflect, Tag("step-reflect")]
        | Annotated[Rotate, Tag("step-rotate")]
        | Annotated[LeadMix, Tag("step-lead-mix")]
        | Annotated[BaselineWander, Tag("step-baseline-wander")]
        | Annotated[Mains, Tag("step-mains")]
        | Annotated[Muscle, Tag("step-muscle")],
        Discriminator(step_form),
    ],
    BeforeValidator(named),
]
"""One step of a view."""
ViewSpec = list[ViewStep]
"""One augmented version of a batch of windows."""
