"""Settings of the illumination correction, and which file it names for a channel."""

from __future__ import annotations

import glob
import re
from string import Formatter
from typing import Annotated, Final

from pydantic import Field, field_validator

from lysoquant.params import Params

PLACEHOLDERS: Final = ("plate", "channel")
_ANY: Final = "\0"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]|^\.+")


class IlluminationParams(Params):
    """Correction of uneven light before cells are found and intensities measured; raw pixels stay raw in the store."""

    flat_field: str = ""
    """Flat-field image of each channel, a TIFF in the project: {plate} and {channel} are filled in, the channel's label
    with "_" for what is no letter, digit, dot or dash. Empty: no correction."""
    dark: Annotated[float, Field(ge=0)] = 0.0
    """Grey value of the camera without light."""

    @field_validator("flat_field")
    @classmethod
    def _placeholders_are_known(cls, template: str) -> str:
        try:
            parts = list(Formatter().parse(template))
        except ValueError as error:
            raise ValueError(f"flat_field {template!r} ({error}): write braces only around placeholders") from None
        for _, name, width, conversion in parts:
            if name is not None and (name not in PLACEHOLDERS or width or conversion):
                raise ValueError(f"flat_field {template!r} has {{{name}}}, expected {{plate}} or {{channel}}")
        return template

    def file(self, *, plate: str, channel: str) -> str:
        """The flat-field file of a channel, relative to the project."""
        return self.flat_field.format(plate=plate, channel=safe_name(channel))

    def pattern(self, *, plate: str) -> str:
        """A glob for the flat-field files of a plate."""
        return glob.escape(self.flat_field.format(plate=plate, channel=_ANY)).replace(_ANY, "*")


def safe_name(channel: str) -> str:
    """A channel's label as part of a file's name."""
    return _UNSAFE.sub("_", channel)
