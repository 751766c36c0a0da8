"""Keys of ``views:``: each name is a list of steps, applied in order; an empty list is the clean view."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from biocl.spec import Spec


class MaskStep(Spec):
    """Hide parts of every window, drawn anew for each sample."""

    mask: Literal["continuous", "binomial", "channel-continuous", "channel-binomial"]
    """continuous hides stretches of the window, binomial single steps; the channel- forms draw per channel
    (a continuous stretch then hides a random half of the channels)."""
    n_segments: Annotated[int, Field(ge=1)] = 5
    """Number of stretches; they may overlap (continuous forms only)."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Length of one stretch as a share of the window, or the probability of hiding a step."""
    at: Literal["hidden", "input"] = "hidden"
    """hidden masks the encoder's first hidden sequence, input the signal itself."""


ViewStep = MaskStep
ViewSpec = list[ViewStep]
