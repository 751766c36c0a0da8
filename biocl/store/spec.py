"""Keys of ``data.windows``, ``data.trials``, ``data.target`` and ``data.quality`` in a configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from biocl.spec import Spec

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Labelled(Spec):
    """Where a window's label comes from when no event gives one, and what happens without any.

    `label` names one of the recording's own labels. Windows without a label, or with one that is none of the
    classes, are left out and counted, unless `keep_unlabelled` asks for them (their label is then -1).
    """

    label: str = "label"
    """Which of the recording's own labels counts where no event gives one."""
    keep_unlabelled: bool = False
    """Keep windows without a label, or with one that is none of the classes."""


class EventWindows(Labelled):
    """One window around every event of a kind; the event gives the label.

    With `horizon_s`, a window is there only where its future is.
    """

    kind: Literal["event"]
    """Which form this is; each has keys of its own."""
    events: str = "beat"
    """Kind of the events."""
    before_s: float = Field(ge=0, allow_inf_nan=False)
    """Seconds before the event."""
    after_s: Seconds
    """Seconds after the event."""
    horizon_s: Seconds | None = None
    """Seconds behind each window that are its future, which a forecasting head predicts; they lie in the window's own
    recording and touch no gap. A split of scope time puts a window where its future lies."""


class SlidingWindows(Labelled):
    """Windows at equal steps inside every trial (for neighbours: inside every recording).

    What is shorter than a window gives none and is counted (`short: drop`), or one padded window (`pad`). With
    `horizon_s`, a window is there only where its future is.
    """

    kind: Literal["sliding"]
    """Which form this is; each has keys of its own."""
    length_s: Seconds
    """Length in seconds."""
    step_s: Seconds
    """Seconds from one window's start to the next."""
    short: Literal["drop", "pad"] = "drop"
    """What happens to a stretch that is shorter than a window."""
    horizon_s: Seconds | None = None
    """Seconds behind each window that are its future, which a forecasting head predicts; they lie in the window's own
    trial (for neighbours: recording) and touch no gap. A split of scope time puts a window where its future lies."""

    @model_validator(mode="after")
    def _whole_past(self) -> SlidingWindows:
        if self.horizon_s is not None and self.short == "pad":
            raise ValueError("a padded window has nothing behind it: horizon_s needs short: drop")
        return self


class TrialWindows(Labelled):
    """One window at the start of every trial, as long as the longest trial unless `length_s` is given."""

    kind: Literal["trial"]
    """Which form this is; each has keys of its own."""
    length_s: Seconds | None = None
    """Length in seconds."""
    short: Literal["drop", "pad"] = "pad"
    """What happens to a stretch that is shorter than a window."""


class NeighbourTrials(Spec):
    """`n_samples` consecutive windows of a recording; the last ones, fewer, make a trial of their own."""

    kind: Literal["neighbours"]
    """Which form this is; each has keys of its own."""
    n_samples: int = Field(default=10, ge=1)
    """Consecutive windows of a trial."""


class EventTrials(Spec):
    """Stretches that events of a kind mark, with their duration."""

    kind: Literal["event"]
    """Which form this is; each has keys of its own."""
    events: str = "trial"
    """Kind of the events."""


class RecordingTrials(Spec):
    """Every recording is one trial."""

    kind: Literal["recording"]
    """Which form this is; each has keys of its own."""


class StretchTrials(Spec):
    """Recordings cut into stretches of equal length; the last one may be shorter."""

    kind: Literal["stretch"]
    """Which form this is; each has keys of its own."""
    length_s: Seconds
    """Length in seconds."""


WindowsSpec = Annotated[EventWindows | SlidingWindows | TrialWindows, Field(discriminator="kind")]
TrialsSpec = Annotated[NeighbourTrials | EventTrials | RecordingTrials | StretchTrials, Field(discriminator="kind")]


class HeartRateTarget(Spec):
    """Beats per minute inside the window: 60 over the mean interval between its beats; unknown below three beats."""

    kind: Literal["heart-rate"]
    """Which number; each kind has keys of its own."""
    events: str = "beat"
    """Kind of the events that are beats, whatever their labels."""

    @property
    def title(self) -> str:
        """How the target is called in tables."""
        return "heart rate [1/min]"


class LabelTarget(Spec):
    """One of the recording's own labels that is a number, such as the age; what is no number (>89) is unknown."""

    kind: Literal["label"]
    """Which number; each kind has keys of its own."""
    name: str = "age"
    """Which of the recording's own labels (`biocl data inspect` lists those that are numbers)."""
    range: Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=2, max_length=2)] | None = (
        None
    )
    """[least, largest] number that is believed; others are unknown. Default: all are believed."""

    @property
    def title(self) -> str:
        """How the target is called in tables."""
        return self.name

    @field_validator("range", mode="after")
    @classmethod
    def _least_first(cls, between: list[float] | None) -> list[float] | None:
        if between is not None and between[0] > between[1]:
            raise ValueError("range is [least, largest]: the first must not exceed the second")
        return between


class ElapsedTarget(Spec):
    """How much of its trial has passed at the window's middle, from 0 to 1; for trials that are movements."""

    kind: Literal["elapsed"]
    """Which number; each kind has keys of its own."""

    @property
    def title(self) -> str:
        """How the target is called in tables."""
        return "share of the trial elapsed"


class ChannelTarget(Spec):
    """A channel of the recording is the number of every time step, in its own unit; no encoder or floor reads it.

    Windows are cut as without it: what data.quality says of gaps and thresholds holds for this channel too.
    """

    kind: Literal["channel"]
    """Which number; each kind has keys of its own."""
    name: str
    """Which channel (`biocl data inspect` lists them), as DEVICE/CHANNEL where several devices have one of that name.
    It need not belong to one of data.devices."""


TargetSpec = Annotated[HeartRateTarget | LabelTarget | ElapsedTarget | ChannelTarget, Field(discriminator="kind")]


class MissingSpec(Spec):
    """A device is taken away from some windows, as if it had been switched off there: its samples are 0, and encoders
    that know which devices are there are told.

    It is taken from what is read, after scaling: statistics of a recording or trial are those of the whole.
    """

    device: str
    """Which device (`biocl data inspect` lists them)."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the recordings (see of) of each part that lack it, drawn by seed; at least one does."""
    of: Literal["recording", "trial", "window"] = "recording"
    """What lacks the device as a whole."""
    classes: Annotated[list[str], Field(min_length=1)] | None = None
    """Only windows of these classes lack it, so that its absence tells the class. Default: all."""
    parts: Annotated[list[Literal["train", "validation", "test"]], Field(min_length=1)] = [
        "train",
        "validation",
        "test",
    ]
    """Whose windows lack it: those that are trained on, those that steps are chosen on, those that are judged."""

    @property
    def said(self) -> str:
        """The rule as a phrase."""
        share = "all" if self.share == 1 else f"{self.share:.0%}"
        classes = f" of class {', '.join(self.classes)}" if self.classes else ""
        parts = f" ({', '.join(self.parts)})" if len(set(self.parts)) < 3 else ""
        return f"{self.device} is taken away from {share} of the {self.of}s{classes}{parts}"


Share = Annotated[float, Field(ge=0, le=1)]
Bound = Annotated[float, Field(allow_inf_nan=False)] | None


class QualitySpec(Spec):
    """Windows beyond a threshold in any channel are left out and counted; by default none is.

    `biocl data inspect STORE` shows how the indices are distributed and what usual thresholds would leave out.
    """

    flat: Share | None = None
    """Largest share of a window on a flat line (runs of 0.1 s and more without change)."""
    saturation: Share | None = None
    """Largest share of a window clipped at the recording's extremes."""
    nan: Share | None = None
    """Largest share of a window inside a gap of the recording; null leaves out every window that touches one.
    Missing samples that are kept are gathered as 0 after scaling, and are masked like padding."""
    baseline: Share | None = None
    """Largest share of the power up to 40 Hz that lies below 0.5 Hz; for ECG, EEG, EOG, EMG."""
    kurtosis: Annotated[list[Bound], Field(min_length=2, max_length=2)] | None = None
    """Least and largest kurtosis, [5, null] for ECG; 3 is that of Gaussian noise, null is no bound."""
    line_noise: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Largest ratio of the power at 50 or 60 Hz to that of its neighbours; for ECG, EEG, EOG, EMG."""
    template: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Least correlation of an ECG window with its recording's median beat (event windows), or of its beats with
    each other. Ectopic beats are unlike the median beat: this key selects against arrhythmia."""

    @field_validator("kurtosis", mode="after")
    @classmethod
    def _least_first(cls, kurtosis: list[float | None] | None) -> list[float | None] | None:
        if kurtosis is not None and None not in kurtosis and kurtosis[0] > kurtosis[1]:  # type: ignore[operator]
            raise ValueError("kurtosis is [least, largest]: the first must not exceed the second")
        return kurtosis

    @property
    def bounds(self) -> dict[str, tuple[float | None, float | None]]:
        """Least and largest value of each index that has a threshold, without `nan` (gaps are known by arithmetic)."""
        kurtosis = self.kurtosis or [None, None]
        every = {
            "flat": (None, self.flat),
            "saturation": (None, self.saturation),
            "baseline": (None, self.baseline),
            "kurtosis": (kurtosis[0], kurtosis[1]),
            "line_noise": (None, self.line_noise),
            "template": (self.template, None),
        }
        return {name: pair for name, pair in every.items() if pair != (None, None)}
