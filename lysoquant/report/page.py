"""The page: contents in, one self-contained HTML document out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lysoquant.report import charts, content, montage, quality, screen, strip, tabular
from lysoquant.report.glance import glance
from lysoquant.report.methods import Done, methods
from lysoquant.report.model_card import model_card
from lysoquant.report.params import ReportSettings
from lysoquant.report.wording import duration, listing, setting

_FOLDER: Final = Path(__file__).parent
_SCRIPTS: Final = ("base", "data", "tables", "scales", "maps", "pictures", "panel", "find", "strips", "links", "start")
"""Parts of the script in the order in which they are run."""


@dataclass(frozen=True)
class Picture:
    """One cell of the montage.

    Attributes
    ----------
    caption : str
        Plate, well, field and cell.
    numbers : str
        Its occupancy and counts.
    plain, outlined : bytes
        JPEG files; empty where the picture can't be had.
    note : str
        What else a person should know of it.
    kind : str
        ``typical`` or ``strange``.
    key : str
        ``plate:well``, by which the page finds its well.
    """

    caption: str
    numbers: str
    plain: bytes
    outlined: bytes
    note: str = ""
    kind: str = "typical"
    key: str = ""


@dataclass(frozen=True)
class PictureGroup:
    """The pictured cells of one condition."""

    name: str
    median: str
    pictures: Sequence[Picture]
    is_hit: bool = False


@dataclass(frozen=True)
class Provenance:
    """What the stages' records say.

    Attributes
    ----------
    versions : mapping of str to sequence of str
        Versions by package; more than one where wells were done with different ones.
    seconds : sequence of (str, int, float)
        Stage, number of wells, seconds in all.
    models : sequence of mapping
        Each model that was used: ``sha256`` and what segment's records say of it.
    """

    versions: Mapping[str, Sequence[str]]
    seconds: Sequence[tuple[str, int, float]]
    models: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Montage:
    """The montage, the note under it, and why there is none where there is none."""

    groups: Sequence[PictureGroup]
    note: str = ""
    absence: str = ""


@dataclass(frozen=True)
class Page:
    """The page in the order in which it is written: `head`, blocks of data, `tail`."""

    head: str
    tail: str


def render(
    *,
    tables: content.Tables,
    plate_sizes: Mapping[str, tuple[int, int]],
    pictures: Montage,
    provenance: Provenance,
    settings: ReportSettings,
) -> Page:
    """The report as HTML that needs nothing but itself.

    Parameters
    ----------
    tables : content.Tables
        The project's tables.
    plate_sizes : mapping of str to tuple of int
        Rows and columns of each plate.
    pictures : Montage
        Typical and strange cells.
    provenance : Provenance
        Versions, time and models.
    settings : ReportSettings
        Title, channels and the whole configuration.

    Returns
    -------
    Page
        Equal text for equal input. Its policy forbids every connection; only its own script and style run. All text
        from plates, sheets and records is escaped. All that can be read without JavaScript is in the head.
    """
    style, script = _asset("assets/style.css"), _script()
    shown = {
        "page": _page(tables, plate_sizes, pictures, provenance, settings),
        "style": Markup(style),
        "style_hash": _policy_hash(style),
        "script_hash": _policy_hash(script),
    }
    return Page(
        head=_environment().get_template("template.html").render(shown),
        tail=f"<script>{script}</script>\n</body>\n</html>\n",
    )


def _script() -> str:
    """The parts of the page's script as one: modules can't be loaded from a file on disk."""
    return '"use strict";\n(() => {\n' + "".join(_asset(f"assets/{name}.js") for name in _SCRIPTS) + "})();\n"


def _page(
    tables: content.Tables,
    plate_sizes: Mapping[str, tuple[int, int]],
    pictures: Montage,
    provenance: Provenance,
    settings: ReportSettings,
) -> dict[str, Any]:
    plates = sorted(str(plate) for plate in tables.wells["plate"].unique())
    crop_um = settings.params.crop_um
    return {
        "title": settings.params.title,
        "plates_line": f"{'Plate' if len(plates) == 1 else 'Plates'} {listing(plates)}" if plates else "No plate",
        "one_plate": f" of plate {plates[0]}" if len(plates) == 1 else "",
        "verdict": content.verdict(tables),
        "glance": glance(tables),
        "maps": content.plate_maps(tables.wells, hits=tables.hits, sizes=plate_sizes),
        "scales": content.scales(tables.wells),
        "signs": _signs(tables),
        "has_conditions": bool((tables.wells["condition"] != "").any()),
        "strips": content.strips(tables),
        "many": content.MANY_CONDITIONS,
        "axis": strip.axis_svg(),
        "hit_chart": charts.hit_chart(tables.hits, rule=_rule(settings)) if len(tables.hits) else None,
        "hit_rule": _rule(settings),
        "hit_line": screen.hit_line(tables.hits),
        "hits": tabular.hit_table(tables.hits),
        "control_title": "Plates compared" if len(plates) > 1 else "Plate quality",
        "control_charts": charts.control_charts(tables.wells),
        "plates": tabular.plate_table(tables.plates),
        "plates_line_qc": screen.plate_line(tables.plates),
        "plate_reasons": screen.plate_reasons(tables.plates),
        "dose_charts": charts.dose_charts(tables.dose_response, tables.wells, column=_dose_column(settings)),
        "dose_response": tabular.plain_table(tables.dose_response),
        "wells": tabular.well_table(tables.wells),
        "conditions": tabular.plain_table(tables.conditions),
        "unit": setting(settings.config, "aggregate", "statistics", "unit") or "well",
        "statistics": tabular.statistics_table(tables.statistics),
        "montage": [_group_view(group) for group in pictures.groups],
        "montage_note": pictures.note,
        "no_montage": pictures.absence,
        "panel_px": montage.PANEL_PX,
        "scale_bar": f"{montage.scale_bar_um(crop_um):g} µm long, the crop {crop_um:g} µm wide",
        "cargo": settings.channels.cargo,
        "lysosome": settings.channels.lysosome,
        "quality": quality.quality(tables),
        "methods": methods(settings, _done(tables, provenance)),
        "models": [model_card(model) for model in provenance.models],
        "versions": [(name, ", ".join(found)) for name, found in provenance.versions.items()],
        "seconds": [(stage, f"{wells:,}", duration(seconds)) for stage, wells, seconds in provenance.seconds],
        "config": yaml.safe_dump(settings.config, sort_keys=False, allow_unicode=True, width=100),
    }


def _dose_column(settings: ReportSettings) -> str:
    """The well table's column with doses, which aggregate fitted curves to."""
    return str(setting(settings.config, "aggregate", "screen", "dose_column") or "dose")


def _group_view(group: PictureGroup) -> dict[str, Any]:
    pictures = [
        vars(picture) | {"plain": _base64(picture.plain), "outlined": _base64(picture.outlined)}
        for picture in group.pictures
    ]
    return vars(group) | {"pictures": pictures}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _rule(settings: ReportSettings) -> tuple[float, float] | None:
    """Largest adjusted p and least effect of a hit, where the configuration says both."""
    path = ("aggregate", "screen")
    largest_p, least = (setting(settings.config, *path, name) for name in ("max_p_adjusted", "min_effect"))
    known = isinstance(largest_p, int | float) and isinstance(least, int | float)
    return (float(largest_p), float(least)) if known else None


def _signs(tables: content.Tables) -> list[tuple[str, str]]:
    """Signs on the plates with their meaning, those that occur."""
    meanings = {
        "negative": "negative control",
        "positive": "positive control",
        "up": "hit, more occupied",
        "down": "hit, less occupied",
    }
    rows = [row for row in tables.hits.to_dict("records") if screen.is_hit(row)]
    seen = {*tables.wells["control"], *(str(row.get("direction")) for row in rows)}
    return [(screen.SIGNS[name], said) for name, said in meanings.items() if name in seen]


def _done(tables: content.Tables, provenance: Provenance) -> Done:
    return Done(
        models=provenance.models,
        versions=provenance.versions,
        n_comparisons=len(tables.statistics),
        n_tested=len(screen.tested(tables.hits)),
        n_curves=len(tables.dose_response),
        by_bulk=screen.by_bulk(tables.hits),
    )


def _policy_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def _asset(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(_FOLDER)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
