"""``config.yaml``, ``plates.tsv`` and ``wells.tsv`` as text, every setting spelled out and explained."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import yaml

from lysoquant.channels import Channels
from lysoquant.config.model import Config
from lysoquant.config.settings import Setting, settings_of
from lysoquant.config.sheets import PLATE_COLUMNS, WELL_COLUMNS, WellRow
from lysoquant.convert.params import PlateSource

_INTRO: Final = """\
Settings of one project. Every setting is here with its default; a line that is left out has its default too.
Sheets: plates.tsv (which raw plates) and wells.tsv (the plate map). All settings: config/README.md of lysoquant.
"""
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WIDTH: Final = 116

EXAMPLE_CHANNELS: Final = Channels(lysosome="lysosome", cargo="cargo", nucleus="nucleus")


def render_config(config: Config, *, reasons: Mapping[str, str] | None = None) -> str:
    """A ``config.yaml`` that loads back to an equal configuration.

    Each setting has its meaning and its allowed values in comments above it.

    Parameters
    ----------
    reasons : mapping of str to str, optional
        Why a setting has its value, by its name with dots: a further comment.
    """
    values = config.model_dump(mode="json")
    lines = _comment(_INTRO, indent=0)
    for setting in settings_of(Config):
        indent = 2 * (len(setting.key) - 1)
        lines += [""] * (setting.section is not None and indent == 0)
        lines += _comment(_explained(setting), indent=indent)
        lines += _comment((reasons or {}).get(".".join(setting.key), ""), indent=indent)
        value = "" if setting.section else f" {yaml_scalar(_value(values, setting.key))}"
        lines.append(f"{' ' * indent}{setting.key[-1]}:{value}")
    return "\n".join(lines) + "\n"


def render_plates(sources: Iterable[PlateSource]) -> str:
    """A ``plates.tsv``, one row a plate."""
    rows = [[_cell(getattr(source, column)) for column in PLATE_COLUMNS] for source in sources]
    notes = [
        f"# {name}: {' '.join((info.description or '').split())}" for name, info in PlateSource.model_fields.items()
    ]
    return "\n".join([*notes, _tsv([PLATE_COLUMNS, *rows])])


def render_wells(rows: Sequence[WellRow]) -> str:
    """A ``wells.tsv``, one row a well, with the extra columns of all rows."""
    extra = list(dict.fromkeys(name for row in rows for name in row.extra))
    table = [
        [row.plate, row.well, row.condition, row.replicate, row.control, *(row.extra.get(name, "") for name in extra)]
        for row in rows
    ]
    notes = [
        "# condition: what was done to the well, in your words; wells of one condition are pooled and compared.",
        "# replicate: a whole number from 1, or empty.",
        "# control: negative, positive, or empty for a sample.",
        "# Other columns are carried along into tables/wells.csv.",
    ]
    return "\n".join([*notes, _tsv([[*WELL_COLUMNS, *extra], *table])])


def yaml_scalar(value: object) -> str:
    """A single value as YAML on one line; text that could be read as something else is quoted."""
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and yaml.safe_load(value) == value
        text: str = value if plain else yaml.safe_dump(value, default_style='"', width=float("inf"), allow_unicode=True)
    else:
        text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _explained(setting: Setting) -> str:
    if setting.section is not None or setting.expected in ("text", "true or false"):
        return setting.description
    return f"{setting.description} ({setting.expected})"


def _comment(text: str, *, indent: int) -> list[str]:
    prefix = " " * indent + "# "
    return [prefix + part for line in text.splitlines() for part in textwrap.wrap(line, width=_WIDTH - len(prefix))]


def _value(values: Mapping[str, object], key: Sequence[str]) -> object:
    value: object = values
    for part in key:
        value = value[part] if isinstance(value, Mapping) else None
    return value


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _tsv(rows: Iterable[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, delimiter="\t", lineterminator="\n").writerows(rows)
    return stream.getvalue()
