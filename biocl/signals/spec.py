"""Configuration keys of the signals room."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from biocl.spec import Spec


class ConditioningSpec(Spec):
    """What is done to a recording before it is stored; computed from that recording alone.

    Attributes
    ----------
    resample_hz : float, optional
        New sampling rate; absent keeps the file's.
    channels : list of str, optional
        Channels to keep, by name, in this order; absent keeps all, in the file's order.
    nan : {"error", "keep"}
        What to do about gaps (NaN stretches).
    flat : {"error", "keep"}
        What to do about a channel that is constant over the whole recording.
    range : {"error", "keep"}
        What to do about amplitudes that no body gives in the stated unit (microvolts labelled mV).
    """

    resample_hz: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    channels: list[str] | None = Field(default=None, min_length=1)
    nan: Literal["error", "keep"] = "error"
    flat: Literal["error", "keep"] = "error"
    range: Literal["error", "keep"] = "error"
