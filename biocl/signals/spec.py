"""Configuration keys of the signals room."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from biocl.spec import Spec


class ConditioningSpec(Spec):
    """What is done to a recording before it is stored; computed from that recording alone."""

    resample_hz: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """New sampling rate in Hz; null keeps the file's."""
    channels: list[str] | None = Field(default=None, min_length=1)
    """Channels to keep, by name, in this order; null keeps all."""
    nan: Literal["error", "keep"] = "error"
    """What to do about gaps (NaN stretches): stop, or keep them as gaps that no window touches."""
    flat: Literal["error", "keep"] = "error"
    """What to do about a channel that is constant over the whole recording."""
    range: Literal["error", "keep"] = "error"
    """What to do about amplitudes that no body gives in the stated unit (microvolts labelled mV)."""
