"""Plate heat maps as SVG: numbers in, markup out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

from lysoquant.vocabulary import FAILED, FLAGGED, OK, row_index, row_letters, split_well

VIRIDIS: Final = (
    "#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c",
    "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725",
)  # fmt: skip
"""Eleven equidistant colours of viridis (S. van der Walt, N. Smith), readable without colour vision."""

CIVIDIS: Final = (
    "#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838",
)  # fmt: skip
"""Ten equidistant colours of cividis (Nuñez et al. 2018, doi:10.1371/journal.pone.0199239)."""

DIVERGING: Final = (
    "#2d004b", "#542788", "#8073ac", "#b2abd2", "#d8daeb", "#f7f7f7",
    "#fee0b6", "#fdb863", "#e08214", "#b35806", "#7f3b08",
)  # fmt: skip
"""PuOr of ColorBrewer (C. Brewer, M. Harrower), for scores: purple below 0, orange above; readable as viridis is."""

NOTHING: Final = "url(#hatch-undefined)"
"""Fill of a well that was imaged but whose number is undefined."""

STATUS_FILLS: Final = {OK: "#cfdde8", FLAGGED: "#f0b429", FAILED: "url(#hatch-failed)"}
STATUS_MARKS: Final = {OK: "", FLAGGED: "!", FAILED: "×"}

_FORMATS: Final = ((1, 1), (2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))
_PITCH: Final = 32
_GUTTER: Final = 26
_DARK: Final = "#1b1f24"


@dataclass(frozen=True)
class Well:
    """One well of a map.

    Attributes
    ----------
    name : str
        Canonical well name.
    fill, ink : str
        Colours of the well and of what is written in it.
    mark : str
        Short text written in the well.
    label : str
        The numbers in words, for the tooltip and for readers that hear the page.
    state : str
        ``value``, ``undefined`` or ``failed``.
    sign : str
        A letter in the corner: what a control or a hit is marked by.
    """

    name: str
    fill: str
    ink: str
    mark: str
    label: str
    state: str
    sign: str = ""


def plate_format(wells: Sequence[str]) -> tuple[int, int]:
    """Rows and columns of the smallest usual plate that holds the wells (1 x 1, 6, 12, 24, 48, 96, 384, 1536 wells).

    Examples
    --------
    >>> plate_format(["B03", "H12"])
    (8, 12)
    """
    places = [split_well(well) for well in wells]
    rows = max((row_index(row) + 1 for row, _ in places), default=1)
    columns = max((column for _, column in places), default=1)
    return next(size for size in _FORMATS if size[0] >= rows and size[1] >= columns)


def colour(value: float, *, low: float, high: float, palette: Sequence[str]) -> str:
    """Colour of a number, interpolated linearly in sRGB; numbers outside the scale take its end.

    Parameters
    ----------
    value : float
        A number, not NaN.
    low, high : float
        Ends of the scale; where they are equal the lower colour is meant.
    palette : sequence of str
        Equidistant colours ``#rrggbb``.

    Raises
    ------
    ValueError
        If the value is NaN, which has no place on a scale.
    """
    if math.isnan(value):
        raise ValueError("NaN has no colour on a scale; draw it as undefined")
    share = min(max((value - low) / (high - low), 0.0), 1.0) if high > low else 0.0
    place = share * (len(palette) - 1)
    left = min(int(place), len(palette) - 2)
    mixed = (
        round(a + (b - a) * (place - left)) for a, b in zip(_rgb(palette[left]), _rgb(palette[left + 1]), strict=True)
    )
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def ink_on(fill: str) -> str:
    """Black or white, whichever has the larger contrast on a colour (WCAG 2.1 relative luminance)."""
    linear = [(c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4) for c in _rgb(fill)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return _DARK if (luminance + 0.05) / 0.062 > 1.05 / (luminance + 0.05) else "#ffffff"


def value_well(
    name: str,
    *,
    value: float,
    mark: str,
    label: str,
    failed: bool,
    low: float,
    high: float,
    palette: Sequence[str],
    sign: str = "",
) -> Well:
    """A well coloured by a number: hatched in red where it failed, in grey with a dash where the number is NaN."""
    if failed:
        return Well(name, STATUS_FILLS[FAILED], _DARK, "", label, "failed", sign)
    if math.isnan(value):
        return Well(name, NOTHING, "currentColor", "–", label, "undefined", sign)
    fill = colour(value, low=low, high=high, palette=palette)
    return Well(name, fill, ink_on(fill), mark, label, "value", sign)


def status_well(name: str, *, status: str, label: str) -> Well:
    """A well coloured by its quality status; a mark says it too, for eyes that don't tell the colours apart."""
    state = "failed" if status == FAILED else "value"
    return Well(name, STATUS_FILLS[status], _DARK, STATUS_MARKS[status], label, state)


def plate_svg(wells: Sequence[Well], *, n_rows: int, n_columns: int, title: str) -> Markup:
    """One plate as SVG: every place of the plate, imaged wells coloured, the others hatched.

    Parameters
    ----------
    wells : sequence of Well
        Imaged wells; their names lie inside the plate.
    n_rows, n_columns : int
        Size of the plate.
    title : str
        What the map shows, for readers that hear the page.

    Returns
    -------
    markupsafe.Markup
        An ``<svg>``, which refers to the hatchings of ``template.html``.
    """
    known = {well.name: well for well in wells}
    parts = [_column_heads(n_columns), _row_heads(n_rows)]
    for row in range(n_rows):
        for column in range(n_columns):
            name = f"{row_letters(row)}{column + 1:02d}"
            x, y = _GUTTER + column * _PITCH, _GUTTER + row * _PITCH
            parts.append(_imaged(known[name], x, y) if name in known else _absent(x, y))
    width, height = _GUTTER + n_columns * _PITCH + 2, _GUTTER + n_rows * _PITCH + 2
    head = (
        f'<svg class="plate" viewBox="0 0 {width} {height}" width="{width * 1.4:g}" height="{height * 1.4:g}" '
        f'role="group" aria-label="{escape(title)}">'
    )
    return Markup(head + "".join(parts) + "</svg>")


def scale_svg(*, low: str, high: str, palette: Sequence[str], label: str) -> Markup:
    """Legend of a colour scale: a bar of the palette between the texts of its two ends."""
    steps = 44
    bar = "".join(
        f'<rect x="{i * 3}" y="0" width="3" height="10" fill="{colour(i, low=0, high=steps - 1, palette=palette)}"/>'
        for i in range(steps)
    )
    return Markup(
        '<span class="scale"><span>{low}</span><svg viewBox="0 0 132 10" width="132" height="10" role="img" '
        'shape-rendering="crispEdges" preserveAspectRatio="none" '
        'aria-label="{label}">{bar}</svg><span>{high}</span></span>'
    ).format(low=low, high=high, label=label, bar=Markup(bar))


def _rgb(fill: str) -> tuple[int, int, int]:
    return int(fill[1:3], 16), int(fill[3:5], 16), int(fill[5:7], 16)


def _column_heads(n_columns: int) -> str:
    return "".join(
        f'<text class="head" x="{_GUTTER + (i + 0.5) * _PITCH - 1:g}" y="17" text-anchor="middle">{i + 1}</text>'
        for i in range(n_columns)
    )


def _row_heads(n_rows: int) -> str:
    return "".join(
        f'<text class="head" x="{_GUTTER - 8}" y="{_GUTTER + (i + 0.5) * _PITCH + 3:g}" text-anchor="end">'
        f"{row_letters(i)}</text>"
        for i in range(n_rows)
    )


def _square(x: int, y: int, fill: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{_PITCH - 2}" height="{_PITCH - 2}" rx="4" fill="{fill}"/>'


def _absent(x: int, y: int) -> str:
    return _square(x, y, "url(#hatch-absent)")


def _imaged(well: Well, x: int, y: int) -> str:
    middle = (_PITCH - 2) / 2
    at = f'x="{x + middle:g}" y="{y + middle + 3.7:g}" text-anchor="middle"'
    mark = f'<text {at} fill="{well.ink}">{escape(well.mark)}</text>' if well.mark else ""
    corner = f'class="sign" x="{x + _PITCH - 5}" y="{y + 9}"'
    sign = f'<text {corner} fill="{well.ink}">{escape(well.sign)}</text>' if well.sign else ""
    drawn = f"{_square(x, y, well.fill)}{mark}{sign}"
    return (
        f'<g class="well {well.state}" data-well="{escape(well.name)}" tabindex="0" role="img" '
        f'aria-label="{escape(well.label)}"><title>{escape(well.label)}</title>{drawn}</g>'
    )
