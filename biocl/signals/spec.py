"""Configuration keys of the signals room."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from biocl.spec import Spec

NOTCH_LEAST_APART_HZ = 3.0
Hertz = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class BandpassSpec(Spec):
    """Edges of the band that passes unchanged; either may be null, which leaves that side open."""

    low_hz: Hertz | None = None
    """What is slower fades out, below this edge over a quarter of it (at least 2 Hz, at most down to 0)."""
    high_hz: Hertz | None = None
    """What is faster fades out, above this edge over a quarter of it (at least 2 Hz, at most up to half the rate)."""

    @model_validator(mode="after")
    def _is_a_band(self) -> BandpassSpec:
        if self.low_hz is None and self.high_hz is None:
            raise ValueError("bandpass needs low_hz or high_hz; leave it out for none")
        if self.low_hz is not None and self.high_hz is not None and self.low_hz >= self.high_hz:
            raise ValueError(f"low_hz {self.low_hz:g} is not below high_hz {self.high_hz:g}, so nothing would pass")
        return self


class MeanBaseline(Spec):
    """The mean of each channel over the whole recording is subtracted."""

    kind: Literal["mean"]
    """Which form this is; each has keys of its own."""


class RunningMedianBaseline(Spec):
    """The slow drift of each channel is subtracted: a running median of a running median, centred."""

    kind: Literal["running-median"]
    """Which form this is; each has keys of its own."""
    windows_s: list[Annotated[float, Field(gt=0, le=60)]] = Field(default=[0.2, 0.6], min_length=1, max_length=3)
    """Lengths in seconds of the medians, one after the other. The default takes the wander out of an ECG: 0.2 s
    removes QRS and P waves from the estimate of the drift, 0.6 s the T waves."""


BaselineSpec = Annotated[MeanBaseline | RunningMedianBaseline, Field(discriminator="kind")]


class ConditioningSpec(Spec):
    """What is done to a recording before it is stored; computed from that recording alone.

    Whatever the order in a file, the steps are: units, channels, reference, notch_hz, bandpass, resample_hz,
    baseline, scale (`biocl.signals.conditioning` says why).
    """

    resample_hz: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """New sampling rate in Hz; null keeps the file's."""
    channels: list[str] | None = Field(default=None, min_length=1)
    """Channels to keep, by name, in this order; null keeps all."""
    reference: Literal["average"] | Annotated[list[str], Field(min_length=1)] | None = None
    """EEG only: subtract from every EEG channel the mean of all kept EEG channels (average), or of the named ones,
    which are read even if data.channels leaves them out. A channel that is the only reference becomes zero and is
    left out."""
    notch_hz: Hertz | list[Hertz] | None = None
    """Line frequency, or several, taken out of every channel: 0.5 Hz to both sides gone, 1.5 Hz to both sides whole."""
    notch_harmonics: bool = False
    """Take out the multiples of notch_hz below half the sampling rate, too."""
    bandpass: BandpassSpec | None = None
    """Band that is kept of every channel, by a filter of linear phase that moves nothing in time."""
    baseline: BaselineSpec | None = None
    """What is subtracted as the level of each channel: its mean over the recording, or its slow drift."""
    scale: Literal["none", "recording", "robust"] = "none"
    """z-score of each channel into the store: by mean and standard deviation of the recording, or by its median and
    the spread of its middle half (robust). The stored unit is then SD. See data.input_scale for scaling when read."""
    units: Literal["standard", "file"] = "standard"
    """Convert every channel to the standard unit of its kind (ECG mV; EEG, EOG, EMG uV; acceleration m/s2, turning
    deg/s, magnetic field uT; others stay), or keep the file's units."""
    nan: Literal["error", "keep"] = "error"
    """What to do about gaps (NaN stretches): stop, or keep them as gaps that no window touches."""
    flat: Literal["error", "keep"] = "error"
    """What to do about a channel that is constant over the whole recording."""
    range: Literal["error", "keep"] = "error"
    """What to do about amplitudes that no body gives in the stated unit (microvolts labelled mV)."""

    @field_validator("notch_hz", mode="after")
    @classmethod
    def _notches_are_a_list(cls, notch_hz: float | list[float] | None) -> list[float] | None:
        if notch_hz is None:
            return None
        listed = sorted(set(notch_hz if isinstance(notch_hz, list) else [notch_hz]))
        if not listed:
            raise ValueError("an empty list is no frequency; leave notch_hz out for none")
        close = [pair for pair in pairwise(listed) if pair[1] - pair[0] < NOTCH_LEAST_APART_HZ]
        if close:
            raise ValueError(
                f"{close[0][0]:g} and {close[0][1]:g} Hz are less than {NOTCH_LEAST_APART_HZ:g} Hz apart, so their "
                "notches would overlap; give one frequency, or use bandpass"
            )
        return listed

    @model_validator(mode="after")
    def _harmonics_of_something(self) -> ConditioningSpec:
        if self.notch_harmonics and self.notch_hz is None:
            raise ValueError("notch_harmonics needs notch_hz")
        return self

    @property
    def notches(self) -> tuple[float, ...]:
        """The frequencies of `notch_hz`, in order."""
        listed = self.notch_hz if isinstance(self.notch_hz, list) else []
        return tuple(listed)
