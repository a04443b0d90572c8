"""Profiles as pycytominer and CytoTable know them: ``Metadata_...`` columns, then features named CellProfiler's way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa

from lysoquant.export.names import measurement, metadata_names
from lysoquant.export.source import KEYS, WELLS, aggregate_record, new_folder, plate_map, table_parts, table_schema
from lysoquant.io.tables import parquet_writer, to_arrow, write_parquet
from lysoquant.layout import Layout
from lysoquant.progress import Progress
from lysoquant.vocabulary import CELLS, ENDOLYSOSOMES

CELL_COUNT: Final = "Metadata_Object_Count"
"""pycytominer's name for the number of cells that an aggregated profile is made of."""

_COUNTS: Final = ("n_endolysosomes", "n_empty", "n_loaded")


@dataclass(frozen=True)
class Profile:
    """Columns of a table by what they are in a profile.

    Attributes
    ----------
    level : str
        cells or endolysosomes.
    schema : pyarrow.Schema
        Of the table.
    """

    level: str
    schema: pa.Schema

    @property
    def features(self) -> list[str]:
        """Measurements and counts, by our names."""
        return [
            name
            for name, kind in zip(self.schema.names, self.schema.types, strict=True)
            if pa.types.is_floating(kind) or self._is_count(name, kind)
        ]

    @property
    def metadata(self) -> list[str]:
        """All others: keys, classes, marks."""
        features = set(self.features)
        return [name for name in self.schema.names if name not in features]

    def _is_count(self, name: str, kind: pa.DataType) -> bool:
        return pa.types.is_integer(kind) and name not in KEYS[self.level]

    def renamed(self, frame: pd.DataFrame, wells: pd.DataFrame) -> tuple[pd.DataFrame, pa.Schema]:
        """Rows with the plate map of their wells, under the names and with the types of a profile."""
        keys = list(KEYS[WELLS])
        joined = frame.merge(wells, on=keys, how="left", validate="many_to_one")
        mapped = [name for name in wells.columns if name not in keys]
        types = [*(self.schema.field(name).type for name in self.metadata), *(_type(wells[name]) for name in mapped)]
        fields = [
            pa.field(name, kind) for name, kind in zip(metadata_names([*self.metadata, *mapped]), types, strict=True)
        ]
        fields += [
            pa.field(measurement(name).feature(self.level), self.schema.field(name).type) for name in self.features
        ]
        columns = joined[[*self.metadata, *mapped, *self.features]]
        return columns.set_axis([field.name for field in fields], axis=1), pa.schema(fields)


def export_profiles(layout: Layout, output: Path) -> dict[str, int]:
    """Write cells, endolysosomes and wells as profiles.

    Parameters
    ----------
    layout : Layout
        Paths of the project.
    output : pathlib.Path
        A folder that is not there yet or is empty.

    Returns
    -------
    dict of str to int
        Rows of each file.

    Raises
    ------
    InputError
        If the folder is not empty.
    StageError
        If the tables are not there or damaged.
    """
    aggregate_record(layout)
    schemas = {level: table_schema(layout, level) for level in (CELLS, ENDOLYSOSOMES)}
    wells = plate_map(layout, beside={name for schema in schemas.values() for name in schema.names})
    new_folder(output)
    counts = {}
    aggregated = []
    with Progress("export profiles", total=3) as progress:
        for level, of_table in schemas.items():
            profile = Profile(level, of_table)
            counts[level] = 0
            _, schema = profile.renamed(profile.schema.empty_table().to_pandas(), wells)
            with parquet_writer(output / f"{level}.parquet", schema) as writer:
                for part in table_parts(layout, level):
                    frame, _ = profile.renamed(part, wells)
                    writer.write_table(to_arrow(frame, schema))
                    counts[level] += len(frame)
                    if level == CELLS:
                        aggregated.append(well_medians(part, profile.features))
            progress.advance(note=f"{counts[level]} {level}")
        frame, schema = _well_profile(pd.concat(aggregated), Profile(CELLS, schemas[CELLS]), wells)
        write_parquet(output / f"{WELLS}.parquet", frame, schema)
        counts[WELLS] = len(frame)
        progress.advance(note=f"{counts[WELLS]} {WELLS}")
    return counts


def well_medians(cells: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Median of each feature over the expressing cells of each well, undefined ones left out, and the cells' number.

    Parameters
    ----------
    cells : pandas.DataFrame
        Rows of the table of cells.
    features : sequence of str
        Columns to take the median of.
    """
    expressing = cells[cells["is_expressing"].to_numpy(bool)]
    grouped = expressing.groupby(list(KEYS[WELLS]), sort=True)
    medians = grouped[list(features)].median()
    return medians.assign(**{CELL_COUNT: grouped.size()}).reset_index()


def _well_profile(medians: pd.DataFrame, profile: Profile, wells: pd.DataFrame) -> tuple[pd.DataFrame, pa.Schema]:
    """Every well of the plate map, with undefined features where it has no cell."""
    joined = wells.merge(medians, on=list(KEYS[WELLS]), how="left", validate="one_to_one")
    joined[CELL_COUNT] = joined[CELL_COUNT].fillna(0).astype("int64")
    names = metadata_names(wells.columns)
    fields = [pa.field(name, _type(wells[column])) for name, column in zip(names, wells.columns, strict=True)]
    fields.append(pa.field(CELL_COUNT, pa.int64()))
    fields += [pa.field(measurement(name).feature(profile.level), pa.float64()) for name in profile.features]
    columns = joined[[*wells.columns, CELL_COUNT, *profile.features]]
    return columns.set_axis([field.name for field in fields], axis=1), pa.schema(fields)


def _type(values: pd.Series) -> pa.DataType:
    return pa.int64() if pd.api.types.is_integer_dtype(values) else pa.string()
