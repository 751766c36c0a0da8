"""The weight of a term: one number, or a line in the course of training."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from biocl.spec import Spec

Factor = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Ramp(Spec):
    """A weight that rises or falls in a straight line and then stays."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    begin: Annotated[Factor, Field(alias="from")]
    """Weight at the first step."""
    to: Factor
    """Weight from the end of the line on."""
    over: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training in which the weight changes."""

    @model_validator(mode="after")
    def _acts(self) -> Ramp:
        if self.begin == self.to == 0:
            raise ValueError("a weight that is 0 from beginning to end is written 0")
        return self


def weight_form(value: Any) -> str:
    """A mapping is a line, anything else a number; so a mistake is reported for that form."""
    return "weight-ramp" if isinstance(value, Ramp | dict) else "weight-number"


Weight = Annotated[
    Annotated[Factor, Tag("weight-number")] | Annotated[Ramp, Tag("weight-ramp")], Discriminator(weight_form)
]


def acts(weight: float | Ramp) -> bool:
    """Whether a weight is ever above 0."""
    return isinstance(weight, Ramp) or weight > 0


def weight_at(weight: float | Ramp, done: float) -> float:
    """The weight after a share `done` of the training, in [0, 1]."""
    if not isinstance(weight, Ramp):
        return weight
    return weight.begin + (weight.to - weight.begin) * min(1.0, done / weight.over)


def weight_in_words(weight: float | Ramp) -> float | str:
    """``0.5``, or ``1 to 0 over 50%``."""
    return f"{weight.begin:g} to {weight.to:g} over {weight.over:.0%}" if isinstance(weight, Ramp) else weight
