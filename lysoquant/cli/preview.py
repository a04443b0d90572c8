"""``lysoquant cells --preview``: the cells of a few fields as a picture, to choose settings by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from lysoquant.config import Project
from lysoquant.errors import InputError

_SECTIONS: Final = ("cells", "channels", "convert", "illumination")
"""What the cells of a field depend on."""

preview_options: Final[list[Callable[[Any], Any]]] = [
    click.option(
        "--preview",
        metavar="WELL,...",
        help="Find the cells of a field of each of these wells (B03, or PLATE/B03), write a picture and no result; "
        "takes the raw plate where a well is not converted.",
    ),
    click.option("--field", type=click.IntRange(min=0), help="With --preview: the field, from 0.  [default: 0]"),
    click.option(
        "--set",
        "given",
        metavar="KEY=VALUE",
        multiple=True,
        help="With --preview: a setting to try, such as cells.max_radius_um=25. The configuration stays as it is.",
    ),
    click.option(
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        help="With --preview: the PNG.  [default: RESULTS/preview/...]",
    ),
]


def show_preview(
    project: Project,
    wells: str | None,
    *,
    others: Mapping[str, object],
    plate: str | None,
    field: int | None,
    given: tuple[str, ...],
    output: Path | None,
) -> bool:
    """Write the picture and say what is on it; returns whether a preview was asked for.

    Parameters
    ----------
    others : mapping of str to object
        Options of the stage that a preview does not take, by name.

    Raises
    ------
    InputError
        If options do not go together, or a well, field or setting is wrong.
    StageError
        If the field can't be read.
    """
    if wells is None:
        asked = [
            name for name, value in (("--field", field), ("--set", given), ("--output", output)) if value or value == 0
        ]
        if asked:
            raise InputError(f"{' and '.join(asked)}: only with --preview WELL")
        return False
    taken = [name for name, value in others.items() if value is not None]
    if taken:
        raise InputError(f"--preview does not go with {', '.join(taken)}; it writes a picture and no result")
    # Imported here: it needs numpy and the image libraries.
    from lysoquant.project.preview import preview_cells, wells_to_show

    tried = project.with_settings(given, sections=_SECTIONS)
    shown = wells_to_show(tried, wells, plate=plate)
    previews, path = preview_cells(tried, shown, field=field or 0, given=given, output=output)
    for preview in previews:
        click.echo(preview.line)
        for doubt in preview.found.doubts:
            click.echo(f"  look: {doubt}")
    click.echo(f"picture: {path}")
    return True
