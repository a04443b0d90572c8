"""The plate map: what each well holds. Checked here once more, since a well must have exactly one row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from lysoquant.errors import ConfigError
from lysoquant.record import digest_json
from lysoquant.vocabulary import CONTROLS, WELL_NAME, well_order

KNOWN_COLUMNS = ("plate", "well", "condition", "replicate", "control")


@dataclass(frozen=True)
class MapRow:
    """One row of the plate map.

    Attributes
    ----------
    condition, replicate, control : str
        Empty where the map says nothing.
    extra : mapping of str to str
        The user's own columns.
    """

    condition: str = ""
    replicate: str = ""
    control: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlateMap:
    """The whole plate map.

    Attributes
    ----------
    rows : mapping of (plate, well) to MapRow
        By plate name and reading order.
    extra_columns : tuple of str
        Names of the user's own columns, in the order of the sheet.
    """

    rows: Mapping[tuple[str, str], MapRow]
    extra_columns: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Digest of all that it says."""
        rows = [[*key, row.condition, row.replicate, row.control, dict(row.extra)] for key, row in self.rows.items()]
        return digest_json([rows, self.extra_columns])

    def wells(self, plate: str) -> list[str]:
        """Wells that the map names for a plate."""
        return [well for name, well in self.rows if name == plate]


def read_plate_map(
    *, rows: Sequence[Mapping[str, str]], plates: Collection[str], reserved: Collection[str]
) -> PlateMap:
    """Plate map by well from the rows of the sheet.

    Parameters
    ----------
    rows : sequence of mapping of str to str
        Columns plate and well, and any of condition, replicate, control and the user's own.
    plates : collection of str
        Plates of the project.
    reserved : collection of str
        Column names of the well table, which the user's own columns must not have.

    Returns
    -------
    PlateMap
        The same whatever the order of `rows`.

    Raises
    ------
    ConfigError
        For an unknown plate, a name that is no well, a well given twice, a wrong control, a condition that is
        both negative and positive control, or a column that has the name of a column of the well table.
    """
    found: dict[tuple[str, str], MapRow] = {}
    extra_columns: dict[str, None] = {}
    for row in sorted(rows, key=lambda row: _checked_key(row, plates)):
        key = row["plate"], row["well"]
        if key in found:
            raise ConfigError(f"plate map: well {key[1]} of plate {key[0]} has two rows; keep one")
        own = {name: value or "" for name, value in row.items() if name not in KNOWN_COLUMNS}
        extra_columns |= dict.fromkeys(own)
        found[key] = _checked_row(row, own)
    for name in extra_columns:
        if name in reserved:
            raise ConfigError(f"plate map: column {name!r} has the name of a result of the well table; rename it")
    _refuse_two_controls(found)
    return PlateMap(rows=found, extra_columns=tuple(extra_columns))


def _checked_key(row: Mapping[str, str], plates: Collection[str]) -> tuple[str, tuple[int, int]]:
    plate, well = row.get("plate") or "", row.get("well") or ""
    if plate not in plates:
        raise ConfigError(
            f"plate map: plate {plate!r} is not one of {', '.join(sorted(plates))}; correct the map or plates.tsv"
        )
    if WELL_NAME.fullmatch(well) is None:
        raise ConfigError(f"plate map: {well!r} of plate {plate} is not a well name such as B03; correct it")
    return plate, well_order(well)


def _checked_row(row: Mapping[str, str], own: Mapping[str, str]) -> MapRow:
    condition, replicate, control = (row.get(name) or "" for name in KNOWN_COLUMNS[2:])
    where = f"plate map: well {row['well']} of plate {row['plate']}"
    if control not in CONTROLS:
        raise ConfigError(f"{where} has control {control!r}, not negative, positive or empty; correct it")
    return MapRow(condition=condition, replicate=replicate, control=control, extra=own)


def _refuse_two_controls(rows: Mapping[tuple[str, str], MapRow]) -> None:
    controls: dict[str, str] = {}
    for (plate, well), row in rows.items():
        if row.condition and row.control and controls.setdefault(row.condition, row.control) != row.control:
            raise ConfigError(
                f"plate map: condition {row.condition!r} is the {row.control} control in well {well} of plate {plate}"
                f" and the {controls[row.condition]} control elsewhere; keep one of the two"
            )
