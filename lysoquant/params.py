"""Base of every settings model: strict, frozen, and no unknown key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """Settings of one concern. Values are checked strictly; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)
