"""Keys of ``data.windows`` and ``data.trials`` in a configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

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
    """One window around every event of a kind; the event gives the label."""

    kind: Literal["event"]
    """Which form this is; each has keys of its own."""
    events: str = "beat"
    """Kind of the events."""
    before_s: float = Field(ge=0, allow_inf_nan=False)
    """Seconds before the event."""
    after_s: Seconds
    """Seconds after the event."""


class SlidingWindows(Labelled):
    """Windows at equal steps inside every trial (for neighbours: inside every recording).

    What is shorter than a window gives none and is counted (`short: drop`), or one padded window (`pad`).
    """

    kind: Literal["sliding"]
    """Which form this is; each has keys of its own."""
    length_s: Seconds
    """Length in seconds."""
    step_s: Seconds
    """Seconds from one window's start to the next."""
    short: Literal["drop", "pad"] = "drop"
    """What happens to a stretch that is shorter than a window."""


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
