"""Provenance as RO-Crate: what went in, with which settings, model and software, and what came out, with checksums.

A Workflow Run Crate: one run of the workflow, told from the records. Where a stage's records tell more (wells, fields,
seconds), they are part of the crate as they are.
"""

from __future__ import annotations

import hashlib
import io
import mimetypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from lysoquant.errors import InputError
from lysoquant.export.source import aggregate_record, models_of, new_folder
from lysoquant.io.store import PlateStore
from lysoquant.layout import Layout
from lysoquant.progress import Progress
from lysoquant.record import Json, digest_file, digest_json, read_json

METADATA: Final = "ro-crate-metadata.json"
PROVENANCE: Final = "provenance"
"""Folder of the crate for what is no part of the project: the workflow and how to cite it."""

RO_CRATE: Final = "1.1"
"""The version on which the profiles rest."""

PROFILES: Final[Mapping[str, tuple[str, str]]] = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_CONTEXT: Final = "https://w3id.org/ro/terms/workflow-run/context"
"""Where `sha256` and the words of the profiles are defined."""

_PAPER: Final = "https://doi.org/10.1091/mbc.E20-04-0269"
_BIOSCHEMAS: Final = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_HOME: Final[Mapping[str, str]] = {
    "dask": "https://www.dask.org/",
    "numpy": "https://numpy.org/",
    "pandas": "https://pandas.pydata.org/",
    "python": "https://www.python.org/",
    "scikit-image": "https://scikit-image.org/",
    "scipy": "https://scipy.org/",
    "snakemake": "https://snakemake.github.io/",
    "statsmodels": "https://www.statsmodels.org/",
    "torch": "https://pytorch.org/",
    "zarr": "https://zarr.dev/",
}
"""Pages of the software that records name."""

_README: Final = """# {title}

{description}. `ro-crate-metadata.json` says what went in, which software ran and what came out, with checksums
(Workflow Run Crate). The plates' pixels and label images are not copied: it says where they lie and how to recognise
them. What each stage did to each well is in `results/*/records/`.
"""

_NO_LICENCE: Final = "none was given; ask the owners of the data"
"""The profiles require one; it may be a text."""

_PARQUET: Final = "application/vnd.apache.parquet"
_NGFF: Final = "https://ngff.openmicroscopy.org/{version}/"


@dataclass(frozen=True)
class Sources:
    """Where what a crate holds beside the project's own files lies.

    Attributes
    ----------
    workflow : pathlib.Path
        Folder of the Snakefile.
    citation : pathlib.Path or None
        CITATION.cff.
    raw : mapping of str to pathlib.Path
        Raw plates by plate.
    config : sequence of pathlib.Path
        The configuration and its sheets.
    title : str
        Title of the project.
    """

    workflow: Path
    citation: Path | None
    raw: Mapping[str, Path]
    config: Sequence[Path]
    title: str


def export_crate(layout: Layout, output: Path | None, *, sources: Sources, license_url: str | None = None) -> int:
    """Write a project's provenance as RO-Crate.

    Parameters
    ----------
    layout : Layout
        Paths of the project.
    output : pathlib.Path or None
        A folder that is not there yet or is empty: gets copies of all but pixels, to which it refers. None: the
        project becomes the crate.
    sources : Sources
        What lies elsewhere.
    license_url : str, optional
        Licence of the data; without it the crate says that none was given.

    Returns
    -------
    int
        Number of files with checksums.

    Raises
    ------
    InputError
        If the folder is not empty, or the project is a crate already.
    StageError
        If the project has no tables yet.
    """
    aggregated = aggregate_record(layout)
    if output is None:
        for name in (METADATA, PROVENANCE):
            if (layout.project / name).exists():
                raise InputError(
                    f"{layout.project / name} is there; move it away, or give --output for a crate elsewhere"
                )
    else:
        new_folder(output)
    maker = _Maker(layout, in_place=output is None, sources=sources)
    maker.make(aggregated, license_url)
    crate = maker.crate
    if output is not None:
        maker.add_readme()
        crate.write(output)
    else:
        for entity in crate.data_entities:
            if entity.id.startswith(f"{PROVENANCE}/"):
                entity.write(layout.project)
        crate.metadata.write(layout.project)
    return maker.n_files


class _Maker:
    """The crate's graph, entity by entity."""

    def __init__(self, layout: Layout, *, in_place: bool, sources: Sources) -> None:
        self.crate = ROCrate(version=RO_CRATE)
        self.n_files = 0
        self._layout, self._in_place, self._sources = layout, in_place, sources

    def make(self, aggregated: Json, license_url: str | None) -> None:
        """Add everything."""
        crate, sources = self.crate, self._sources
        crate.name = sources.title
        crate.description = (
            f"Endolysosome occupancy of {len(sources.raw)} plate(s), "
            f"{aggregated['counts']['wells']} wells, by lysoquant {aggregated['versions']['lysoquant']}"
        )
        crate.license = _NO_LICENCE
        if license_url:
            crate.license = crate.add(ContextEntity(crate, license_url, {"@type": "CreativeWork", "name": license_url}))
        crate.metadata.extra_contexts.append(_CONTEXT)
        crate.root_dataset["conformsTo"] = [
            crate.add(ContextEntity(crate, url, {"@type": "CreativeWork", "name": name, "version": version}))
            for url, (name, version) in PROFILES.items()
        ]
        crate.metadata["conformsTo"] = [
            {"@id": crate.metadata.profile},
            {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
        ]
        crate.root_dataset["citation"] = crate.add(
            ContextEntity(
                crate, _PAPER, {"@type": "ScholarlyArticle", "name": "LysoQuant (Morone et al. 2020)", "url": _PAPER}
            )
        )
        inputs, outputs = self._inputs(), self._outputs(aggregated)
        workflow = self._workflow(aggregated["versions"])
        workflow["input"] = [self._parameter("input", name, kind, found) for name, kind, found in inputs if found]
        workflow["output"] = [self._parameter("output", name, kind, found) for name, kind, found in outputs if found]
        action = crate.add_action(
            workflow,
            identifier="#run",
            object=[entity for _, _, found in inputs for entity in found],
            result=[entity for _, _, found in outputs for entity in found],
            properties={
                "name": f"Run of lysoquant {aggregated['versions']['lysoquant']}",
                "description": "From raw plates to tables; what each stage did to each well is in the records",
                "endTime": self._end(),
                "actionStatus": "http://schema.org/CompletedActionStatus",
            },
        )
        crate.root_dataset["mentions"] = action

    def add_readme(self) -> None:
        """For a crate of its own; a project has what its owner put there."""
        text = _README.format(title=self.crate.name, description=self.crate.description)
        properties = {
            "name": "README",
            "about": {"@id": "./"},
            "encodingFormat": "text/markdown",
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "contentSize": str(len(text.encode())),
        }
        self.crate.add_file(io.StringIO(text), "README.md", properties=properties)
        self.n_files += 1

    def _end(self) -> str:
        """When the last record that tells of the run was written."""
        records = [self._layout.project_work_record(stage) for stage in ("aggregate", "report")]
        last = max(path.stat().st_mtime for path in records if path.is_file())
        return datetime.fromtimestamp(last, UTC).isoformat(timespec="seconds")

    def _workflow(self, versions: Mapping[str, str]) -> Any:
        crate, folder = self.crate, self._sources.workflow
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != "Snakefile" and "__pycache__" not in path.parts:
                self._file(path, f"{PROVENANCE}/workflow/{path.relative_to(folder).as_posix()}")
        main = crate.add_workflow(
            folder / "Snakefile",
            f"{PROVENANCE}/workflow/Snakefile",
            main=True,
            lang="snakemake",
            lang_version=versions.get("snakemake"),
            properties={
                "name": "lysoquant",
                "version": versions["lysoquant"],
                "conformsTo": {"@id": _BIOSCHEMAS},
                **_checked(folder / "Snakefile"),
            },
        )
        self.n_files += 1
        if self._sources.citation is not None:
            self._file(self._sources.citation, f"{PROVENANCE}/CITATION.cff")
        main["softwareRequirements"] = [self._software(name, version) for name, version in sorted(versions.items())]
        return main

    def _software(self, name: str, version: str) -> Any:
        page = _HOME.get(name)
        properties = {"@type": "SoftwareApplication", "name": name, "version": version}
        properties |= {} if page is None else {"url": page}
        return self.crate.add(ContextEntity(self.crate, page or f"#{name}-{version}", properties))

    def _inputs(self) -> list[tuple[str, str, list[Any]]]:
        raw = []
        for plate, path in self._sources.raw.items():
            files = self._raw_files(plate, path)
            raw.append(
                self._elsewhere(
                    path,
                    name=f"raw plate {plate}",
                    digest=digest_json({name: found["sha256"] for name, found in files.items()}),
                    digest_of="the JSON of names and SHA-256 of the raw files that were read; records/convert has each",
                    properties={"size": len(files), "contentSize": str(sum(found["size"] for found in files.values()))},
                )
            )
        models = [
            self.crate.add(
                ContextEntity(
                    self.crate,
                    f"#model-{sha}",
                    {"@type": "PropertyValue", "name": f"model {name}", "propertyID": "sha256", "value": sha},
                )
            )
            for sha, name in models_of(self._layout).items()
        ]
        config = [self._file(path, self._inside(path)) for path in self._sources.config]
        return [("raw_plates", "Dataset", raw), ("configuration", "File", config), ("model", "Text", models)]

    def _outputs(self, aggregated: Json) -> list[tuple[str, str, list[Any]]]:
        layout = self._layout
        tables = [layout.results / name for name in aggregated["wrote"]]
        with Progress("export rocrate", total=len(tables)) as progress:
            found = []
            for path in tables:
                found.append(self._file(path, self._inside(path)))
                progress.advance(note=path.name)
        report = [self._file(layout.report, self._inside(layout.report))] if layout.report.is_file() else []
        stores, records = [], []
        for plate in self._sources.raw:
            measured = self._well_records(plate, "measure")
            digests = {well: record.get("digest") for well, record in measured.items()}
            store = layout.plate_store(plate)
            version = PlateStore.open(store).ngff_version
            stores.append(
                self._elsewhere(
                    store,
                    name=f"images and labels of {plate}",
                    digest=digest_json(digests),
                    digest_of="the JSON of wells and the digests of their measure records",
                    properties={"encodingFormat": ["application/vnd+zarr", _NGFF.format(version=version)]},
                )
            )
            records += [
                self._file(path, self._inside(path))
                for path in sorted((layout.plate_folder(plate) / "records").rglob("*.json"))
            ]
        return [
            ("tables", "File", found),
            ("report", "File", report),
            ("plates", "Dataset", stores),
            ("records", "File", records),
        ]

    def _raw_files(self, plate: str, raw: Path) -> dict[str, Json]:
        """What convert says of the raw files that it read, by name within the raw plate."""
        shared = (read_json(self._layout.plate_record(plate)) or {}).get("files", ())
        records = self._well_records(plate, "convert").values()
        told = [*shared, *(file for record in records for file in record.get("read", ()))]
        files = {str(file["path"]): file for file in told if isinstance(file, dict) and file.get("sha256")}
        return {os.path.relpath(path, raw): files[path] for path in sorted(files)}

    def _well_records(self, plate: str, stage: str) -> dict[str, Json]:
        folder = self._layout.well_record(plate, stage, "A01").parent
        found = {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}
        return {well: record for well, record in found.items() if record is not None}

    def _inside(self, path: Path) -> str:
        """Where a file of the project lies in the crate; results may lie beside the project."""
        root, found = self._layout.project.resolve(), path.resolve()
        if found.is_relative_to(root):
            return found.relative_to(root).as_posix()
        return f"results/{found.relative_to(self._layout.results.resolve()).as_posix()}"

    def _is_here(self, path: Path) -> bool:
        """Whether the crate holds a path without a copy of it."""
        return self._in_place and path.resolve().is_relative_to(self._layout.project.resolve())

    def _file(self, path: Path, place: str) -> Any:
        self.n_files += 1
        properties = {"name": place.rsplit("/", 1)[-1], **_checked(path)}
        if self._in_place and not (self._is_here(path) or place.startswith(f"{PROVENANCE}/")):
            return self.crate.add_file(path.resolve().as_uri(), properties=properties)
        return self.crate.add_file(path, place, properties=properties)

    def _elsewhere(
        self, path: Path, *, name: str, digest: str, digest_of: str, properties: Mapping[str, object]
    ) -> Any:
        """A folder of pixels, which a crate refers to and does not copy."""
        identifier = self.crate.add(
            ContextEntity(
                self.crate,
                f"#sha256-{digest}",
                {"@type": "PropertyValue", "propertyID": "sha256", "value": digest, "name": f"SHA-256 of {digest_of}"},
            )
        )
        own = {"name": name, "identifier": identifier, **properties}
        if self._is_here(path):
            return self.crate.add_dataset(path, self._inside(path), properties=own)
        return self.crate.add_dataset(path.resolve().as_uri(), properties=own)

    def _parameter(self, way: str, name: str, kind: str, found: Sequence[Any]) -> Any:
        parameter = self.crate.add_formal_parameter(name, kind, identifier=f"#{way}-{name}")
        for entity in found:
            entity["exampleOfWork"] = parameter
        return parameter


def _checked(path: Path) -> dict[str, str]:
    kind = _PARQUET if path.suffix == ".parquet" else mimetypes.guess_type(path.name)[0] or "text/plain"
    return {"sha256": digest_file(path), "contentSize": str(path.stat().st_size), "encodingFormat": kind}
