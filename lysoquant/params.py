"""Base of every settings model: strict, frozen, and no unknown key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """Settings of one concern. Values are checked strictly; numbers are finite; unknown keys are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
