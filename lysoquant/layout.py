"""Where everything of a project lies. No other module joins these paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths of one project.

    Parameters
    ----------
    project : pathlib.Path
        The project folder (holds ``config/``).
    results : pathlib.Path
        The results folder; ``project / "results"`` unless the configuration says otherwise.
    pilot : bool
        Of a pilot: batch records, tables and the report lie in a folder of their own, which may be deleted at any time;
        plate stores, well records, part tables and logs are those of the whole.
    """

    project: Path
    results: Path
    pilot: bool = False

    @property
    def run_lock(self) -> Path:
        """Held by the run that works on the project; names it. Outside the results, which may be deleted."""
        return self.project / ".lysoquant.lock"

    @property
    def _gathered(self) -> Path:
        """Where lies what is gathered over wells. No plate can have the pilot's name: it begins with an underscore."""
        return self.results / "_pilot" if self.pilot else self.results

    def plate_folder(self, plate: str) -> Path:
        return self.results / plate

    def plate_store(self, plate: str) -> Path:
        """The plate's OME-Zarr store."""
        return self.results / plate / f"{plate}.zarr"

    def batch_record(self, plate: str, stage: str, batch: str) -> Path:
        """The small JSON that the workflow tracks: one stage, one batch of wells."""
        return self._gathered / plate / "records" / stage / f"{batch}.json"

    def project_record(self, stage: str) -> Path:
        """Record of a stage that runs once a project (aggregate, report)."""
        return self._gathered / "records" / f"{stage}.json"

    def project_work_record(self, stage: str) -> Path:
        """What a stage that runs once a project did; stays when the workflow removes its output, the record above."""
        return self._gathered / "records" / stage / "project.json"

    def plate_record(self, plate: str) -> Path:
        """Record of the plate and well metadata that convert writes before any pixel."""
        return self.results / plate / "records" / "convert" / "plate.json"

    def well_record(self, plate: str, stage: str, well: str) -> Path:
        """What a stage did to one well; lets a stage skip wells that did not change."""
        return self.results / plate / "records" / stage / "wells" / f"{well}.json"

    def raw_record(self, plate: str, batch: str) -> Path:
        """Identity of the raw files of a batch of wells, kept up to date when the DAG is built."""
        return self._gathered / plate / "records" / "raw" / f"{batch}.json"

    def raw_plan(self, plate: str, batch: str) -> Path:
        """What the raw plate says of a batch of wells, kept beside the raw record, whose digests it must have."""
        return self._gathered / plate / "records" / "raw" / "plans" / f"{batch}.json"

    def well_tables(self, plate: str, well: str) -> Path:
        """Folder of a well's part tables, written by measure."""
        return self.results / plate / "measure" / well

    def plate_tables(self, plate: str) -> Path:
        """Folder of a plate's part of the joined tables, written by aggregate."""
        return self.results / plate / "aggregate"

    def plate_stage_record(self, plate: str, stage: str) -> Path:
        """What a stage that runs once a project did for one plate."""
        return self.results / plate / "records" / stage / "plate.json"

    @property
    def tables(self) -> Path:
        return self._gathered / "tables"

    @property
    def report(self) -> Path:
        return self._gathered / "report" / "index.html"

    def well_pictures(self, plate: str, well: str) -> Path:
        """Pictures of a well's fields as the report shows them, kept for its next run."""
        return self._gathered / plate / "report" / f"{well}.json"

    def plate_contrast(self, plate: str) -> Path:
        """Grey values between which the fields of a plate lie, kept for the next report."""
        return self._gathered / plate / "report" / "contrast.json"

    @property
    def logs(self) -> Path:
        """What the workflow and its jobs said."""
        return self.results / "logs"

    def log(self, stage: str, job: str) -> Path:
        """The log of one job; ``job`` is ``<plate>.<batch>``, or the stage itself where it runs once a project."""
        return self.logs / stage / f"{job}.log"

    def workers_logs(self, stage: str) -> Path:
        """Folder for what a stage's workers on a cluster say."""
        return self.logs / stage / "workers"

    def relative(self, path: Path) -> str:
        """A path as records name it: relative to the results where it lies inside them."""
        return path.relative_to(self.results).as_posix() if path.is_relative_to(self.results) else path.as_posix()
