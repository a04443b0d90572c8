"""A project small enough to run for real: noise with a few rings, a random network of three levels."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lysoquant.model.architecture import Architecture
from lysoquant.model.card import ModelCard
from lysoquant.model.network import UNet
from lysoquant.model.weights import save_model
from lysoquant.simulate.writers import ImageXpress
from lysoquant.vocabulary import BATCH_STAGES

ROOT = Path(__file__).parents[2]
WELLS = ("B02", "B03", "B04")
CHANNELS = ("nucleus", "lysosome", "cargo")
PIXELS = 96
PIXEL_SIZE_UM = 0.1

CONFIG = """\
channels: {lysosome: lysosome, cargo: cargo, nucleus: nucleus}
convert: {chunk_px: 64, pyramid_levels: 2}
cells: {method: field}
segment: {model: models/tiny.safetensors, tile_px: 256, overlap_px: 16}
measure: {min_area_um2: 0.13}
aggregate: {bootstrap: 100}
report: {title: First, montage_cells: 1}
execution:
  wells_per_job: {convert: 2, cells: 2, segment: 2, measure: 2}
  device: cpu
  dask: {scheduler: threads}
"""


def ring_image(seed: int) -> NDArray[np.uint16]:
    """Nucleus, lysosome and cargo planes, uint16 (3, Y, X), with rings of 0.5 um radius."""
    random = np.random.default_rng(seed)
    y, x = np.indices((PIXELS, PIXELS))
    image = random.normal(200, 8, (3, PIXELS, PIXELS))
    for centre in random.uniform(12, PIXELS - 12, (8, 2)):
        distance = np.hypot(y - centre[0], x - centre[1])
        image[1] += 900 * np.exp(-((distance - 5) ** 2))
    image[2] += 300
    image[0] += 800 * (np.hypot(y - 48, x - 48) < 20)
    return image.clip(0, 65535).astype(np.uint16)


def write_raw(folder: Path, wells: Sequence[str] = WELLS) -> None:
    """A MetaXpress export of one field a well."""
    writer = ImageXpress(folder, "P")
    writer.begin(
        wells=wells,
        n_fields=1,
        n_rows=8,
        n_columns=12,
        channels=CHANNELS,
        size_px=PIXELS,
        pixel_size_um=PIXEL_SIZE_UM,
    )
    for well in wells:
        write_field(folder, well, seed=int(well[1:]))


def write_field(folder: Path, well: str, *, seed: int) -> None:
    writer = ImageXpress(folder, "P")
    writer.write_field(ring_image(seed), well=well, index=0, channels=CHANNELS, pixel_size_um=PIXEL_SIZE_UM)


def make_project(project: Path, *, wells: Sequence[str] = WELLS) -> Path:
    """A whole project: raw plate, tiny model, configuration and sheets."""
    write_raw(project / "raw", wells)
    (project / "config").mkdir()
    (project / "config" / "config.yaml").write_text(CONFIG)
    (project / "config" / "plates.tsv").write_text("plate\tpath\tformat\nP\traw\timagexpress\n")
    rows = [f"P\t{well}\t{'treated' if well == 'B03' else 'control'}" for well in wells]
    (project / "config" / "wells.tsv").write_text("\n".join(["plate\twell\tcondition", *rows, ""]))
    torch.manual_seed(1)
    architecture = Architecture(levels=3, base_features=4)
    save_model(
        project / "models" / "tiny.safetensors", UNet(architecture), ModelCard(name="tiny", architecture=architecture)
    )
    return project


def edit_config(project: Path, old: str, new: str) -> None:
    path = project / "config" / "config.yaml"
    text = path.read_text()
    if old not in text:
        raise ValueError(f"{old!r} is not in the configuration")
    path.write_text(text.replace(old, new))


def snakemake(project: Path, *arguments: str, snakefile: Path = ROOT / "Snakefile") -> str:
    """Run plain Snakemake from the top of the repository; returns all that it says."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(project)]
    # Nothing is on the PATH but the system: the workflow itself must find the command.
    environment = os.environ | {"PATH": os.defpath, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--cores", "2", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout + done.stderr


_JOB = re.compile(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)*)", re.MULTILINE)


def jobs_in(text: str) -> set[str]:
    """Jobs that Snakemake announced, as ``rule`` or ``rule batch``; the target rule left out."""
    found = set()
    for rule, body in _JOB.findall(text):
        wildcards = re.search(r"wildcards: (.*)", body)
        values = [pair.split("=")[1] for pair in wildcards[1].split(", ")] if wildcards else []
        found.add(" ".join([rule, *(value for value in values if value != "P")]))
    return found - {"default", "all"}


def well_digests(project: Path) -> dict[str, Any]:
    """Digest of every well of every stage, and of the stages that run once.

    The page says how long the stages took, so of the report its inputs are compared.
    """
    results = project / "results"
    paths = [*results.glob("P/records/*/wells/*.json"), *results.glob("records/*.json")]
    records = {path.relative_to(results).as_posix(): json.loads(path.read_text()) for path in paths}
    return {name: record["inputs" if record["stage"] == "report" else "digest"] for name, record in records.items()}


BATCHES = ("B02-B03", "B04-B04")
ALL_JOBS = {"convert_plate", "aggregate", "report"} | {
    f"{stage} {batch}" for stage in BATCH_STAGES for batch in BATCHES
}
