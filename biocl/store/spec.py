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
    keep_unlabelled: bool = False


class EventWindows(Labelled):
    """One window around every event of a kind; the event gives the label."""

    kind: Literal["event"]
    events: str = "beat"
    before_s: float = Field(ge=0, allow_inf_nan=False)
    after_s: Seconds


class SlidingWindows(Labelled):
    """Windows at equal steps inside every trial (for neighbours: inside every recording).

    What is shorter than a window gives none and is counted (`short: drop`), or one padded window (`pad`).
    """

    kind: Literal["sliding"]
    length_s: Seconds
    step_s: Seconds
    short: Literal["drop", "pad"] = "drop"


class TrialWindows(Labelled):
    """One window at the start of every trial, as long as the longest trial unless `length_s` is given."""

    kind: Literal["trial"]
    length_s: Seconds | None = None
    short: Literal["drop", "pad"] = "pad"


class NeighbourTrials(Spec):
    """`n_samples` consecutive windows of a recording; the last ones, fewer, make a trial of their own."""

    kind: Literal["neighbours"]
    n_samples: int = Field(default=10, ge=1)


class EventTrials(Spec):
    """Stretches that events of a kind mark, with their duration."""

    kind: Literal["event"]
    events: str = "trial"


class RecordingTrials(Spec):
    """Every recording is one trial."""

    kind: Literal["recording"]


class StretchTrials(Spec):
    """Recordings cut into stretches of equal length; the last one may be shorter."""

    kind: Literal["stretch"]
    length_s: Seconds


WindowsSpec = Annotated[EventWindows | SlidingWindows | TrialWindows, Field(discriminator="kind")]
TrialsSpec = Annotated[NeighbourTrials | EventTrials | RecordingTrials | StretchTrials, Field(discriminator="kind")]
