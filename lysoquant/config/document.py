"""The documents that are made from the models: example project files, the table of settings, JSON Schemas.

``python -m lysoquant.config.document`` writes them anew at the root of a checkout; a test fails while they are out of
date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lysoquant.config.model import Config
from lysoquant.config.settings import Setting, settings_of
from lysoquant.config.sheets import WellRow
from lysoquant.config.template import EXAMPLE_CHANNELS, render_config, render_plates, render_wells, yaml_scalar
from lysoquant.convert.params import PlateSource
from lysoquant.record import write_text_atomic
from lysoquant.vocabulary import CONTROLS, PLATE_NAME

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_INTRO: Final = """\
# Settings

A project is a folder with `config/config.yaml`, `config/plates.tsv` and `config/wells.tsv`. `lysoquant init RAW_PLATE
--output PROJECT` writes all three from the plate's own metadata. The files beside this page are an example.

A wrong value, an unknown key or a duplicate key is an error that names the file, the line, the key, what was found and
what was expected. A setting that is left out has its default. Changing a setting does the stages again whose results it
changes, and no others: the section says which stage. Nothing under `execution` changes a result.

Three rules hold between settings: each role has a channel of its own; `cells.method: watershed` needs
`channels.nucleus`, and `rois` and `labels` need `cells.path`; `segment.overlap_px` is less than half of
`segment.tile_px`.

This page and the JSON Schemas in `workflow/schemas/` are made from the models by `python -m lysoquant.config.document`.
"""

_SHEETS: Final = """\
## plates.tsv

One row a raw plate; tab-separated, UTF-8; lines that begin with `#` are comments.

| column | allowed | meaning |
|---|---|---|
{plates}

A plate name is also a folder name: at most 100 letters, digits, dots, dashes and underscores, beginning with a letter
or digit; `tables`, `report`, `records`, `logs` and `benchmarks` are taken. To add a plate to a project, add its row
here and its wells to `wells.tsv`.

## wells.tsv

One row a well: the plate map. Commas or semicolons do as well as tabs, so a spreadsheet's CSV can be given to
`lysoquant init --plate-map`. With a single plate the `plate` column may be left out.

| column | allowed | meaning |
|---|---|---|
| `plate` | a plate of `plates.tsv` | plate name |
| `well` | `B03`, `B3` or `b3`; rows A to AF, columns 1 to 48 | well name; each well at most once |
| `condition` | any text | what was done to the well; wells of one condition are pooled and compared |
| `replicate` | a whole number from 1, or empty | replicate |
| `control` | `negative`, `positive` or empty | role in normalisation; a condition can't be both |
| any other | any text | carried along into `tables/wells.csv`; names of the result tables' own columns are refused |
"""


def documents() -> dict[str, str]:
    """Text of every generated file by its path below the root of a checkout."""
    return {
        "config/config.yaml": render_config(Config(channels=EXAMPLE_CHANNELS)),
        "config/plates.tsv": render_plates([PlateSource(plate="demo", path="raw/demo", format="imagexpress")]),
        "config/wells.tsv": render_wells(_example_wells()),
        "config/README.md": settings_page(),
        "workflow/schemas/config.schema.json": _json(config_schema()),
        "workflow/schemas/plates.schema.json": _json(plates_schema()),
        "workflow/schemas/wells.schema.json": _json(wells_schema()),
    }


def settings_page() -> str:
    """``config/README.md``: every setting in a table, section by section."""
    parts = [_INTRO]
    settings = list(settings_of(Config))
    top = [setting for setting in settings if len(setting.key) == 1 and setting.section is None]
    parts.append(_table("Top level", "", top))
    for section in (setting for setting in settings if len(setting.key) == 1 and setting.section is not None):
        members = [setting for setting in settings if setting.key[0] == section.key[0] and setting.section is None]
        parts.append(_table(section.dotted, section.description, members))
    columns = settings_of(PlateSource)
    plates = "\n".join(
        f"| `{column.dotted}` | {_allowed(column)} | {_escaped(column.description)} |" for column in columns
    )
    return "\n".join([*parts, _SHEETS.format(plates=plates)])


def config_schema() -> dict[str, Any]:
    """JSON Schema of ``config.yaml``, made from the models.

    It can't say what holds between settings (see ``config/README.md``); the models check that too.
    """
    return {"$schema": _DIALECT, **Config.model_json_schema()}


def plates_schema() -> dict[str, Any]:
    """JSON Schema of one row of ``plates.tsv`` with its cells as values (empty cells left out)."""
    schema = PlateSource.model_json_schema()
    schema["properties"]["plate"]["pattern"] = f"^{PLATE_NAME.pattern}$"
    return {"$schema": _DIALECT, **schema}


def wells_schema() -> dict[str, Any]:
    """JSON Schema of one row of ``wells.tsv`` with its cells as text."""
    return {
        "$schema": _DIALECT,
        "title": "WellRow",
        "description": "One row of wells.tsv: a well and its place in the experiment.",
        "type": "object",
        "properties": {
            "plate": {"type": "string", "description": "A plate of plates.tsv."},
            "well": {
                "type": "string",
                "pattern": "^([A-Za-z]|[Aa][A-Fa-f])0{0,3}([1-9]|[1-3][0-9]|4[0-8])$",
                "description": "Well name, such as B03.",
            },
            "condition": {"type": "string", "description": "What was done to the well."},
            "replicate": {"type": "string", "pattern": "^([1-9][0-9]{0,5})?$", "description": "Whole number or empty."},
            "control": {"enum": list(CONTROLS), "description": "Role in normalisation; empty for a sample."},
        },
        "required": ["plate", "well"],
        "additionalProperties": {"type": "string"},
    }


def write_documents(root: Path) -> list[Path]:
    """Write every generated file below `root`; returns their paths."""
    written = []
    for name, text in documents().items():
        write_text_atomic(root / name, text)
        written.append(root / name)
    return written


def _example_wells() -> list[WellRow]:
    plan: Mapping[str, tuple[str, str]] = {
        "B02": ("receptor", "positive"),
        "B03": ("LIR mutant", "negative"),
        "B04": ("wild type", ""),
        "B05": ("STX17 knock-out", ""),
    }
    return [
        WellRow(plate="demo", well=well, condition=condition, replicate="1", control=control)
        for well, (condition, control) in plan.items()
    ]


def _table(title: str, text: str, settings: list[Setting]) -> str:
    head = [f"## {title}", *(["", _escaped(text)] if text else []), "", "| setting | default | allowed | meaning |"]
    rows = [
        f"| `{setting.dotted}` | {_default(setting)} | {_allowed(setting)} | {_escaped(setting.description)} |"
        for setting in settings
    ]
    return "\n".join([*head, "|---|---|---|---|", *rows]) + "\n"


def _default(setting: Setting) -> str:
    return "needed" if setting.default is ... else f"`{yaml_scalar(setting.default)}`"


def _allowed(setting: Setting) -> str:
    return _escaped(re.sub(r"'([^']*)'", lambda word: f"`{yaml_scalar(word[1])}`", setting.expected))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for written in write_documents(Path.cwd()):
        print(written)
