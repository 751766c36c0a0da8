"""The strict base of every configuration key: unknown keys and wrong types are errors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A typed, immutable piece of a configuration file.

    The text under an attribute is what ``biocl config explain KEY`` prints.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, validate_default=True, use_attribute_docstrings=True
    )
