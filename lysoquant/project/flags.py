"""What messages of the readers say to set, as ``lysoquant init`` takes it: there are no sheets yet, but flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FLAGS: Final[Mapping[str, str]] = {
    "format in plates.tsv": "--format",
    "pattern in plates.tsv": "--pattern",
    "channel_names in plates.tsv": "--channel-names",
    "pixel_size_um in plates.tsv": "--pixel-size-um",
    "`convert.z`": "--z",
    "`convert.timepoint`": "--timepoint",
}
"""Flag of init by the words with which the readers name a setting."""


def in_flags(text: str) -> str:
    """A message with init's flags in place of settings."""
    for words, flag in FLAGS.items():
        text = text.replace(words, flag)
    return text
