"""The cells that a model is least sure of, as images with its outlines, for a person to correct."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.annotate.manifest import ExportedCell, Manifest, outline_digest, pixels_digest, write_manifest
from lysoquant.errors import FieldError, InputError
from lysoquant.evaluate.run import found_objects
from lysoquant.examples.crops import make_example
from lysoquant.examples.example import Example
from lysoquant.examples.written import CHANNELS, file_name, write_example
from lysoquant.io.rois import read_outlines
from lysoquant.io.stacks import open_stack
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.model.card import check_fit
from lysoquant.model.precision import choose_device
from lysoquant.model.preprocess import CellPixels
from lysoquant.model.weights import Model, load_model
from lysoquant.progress import Progress
from lysoquant.segment.crops import CellCrop, cell_crops
from lysoquant.segment.network import make_predictor, normalization_of
from lysoquant.segment.params import SegmentParams
from lysoquant.units import pixel_size_accepted, pixel_size_verdict
from lysoquant.vocabulary import BACKGROUND, CELLS, EMPTY, LOADED

SEEN: Final = 0.05
"""Least probability of empty and loaded together at which a pixel counts for how sure the model is."""

SCORE: Final = (
    f"mean entropy of (background, empty, loaded) over the pixels where empty + loaded > {SEEN:g}, in units of log 3; "
    "0: sure everywhere, 1: no idea"
)

README: Final = """Outlines to correct
===================

Each cell is an image, NAME.tif (channels {channels}), with its outlines, NAME.zip (ImageJ ROIs).

In Fiji
1. Open NAME.tif, then drag NAME.zip onto Fiji's window: the ROI Manager lists the outlines. Tick "Show All".
2. Every name begins with what the outline is:
     empty...    an endolysosome without cargo in its lumen (cargo docked outside leaves it empty)
     loaded...   an endolysosome with cargo in its lumen
     cell...     the cell; what lies outside is not looked at
     ignore...   an area that shall not count, because nobody can tell
   Draw everything inside the membrane and out to 0.04 um beyond the ridge of the ring.
3. Wrong shape: select the outline, correct it (brush tool, or draw it anew), press "Update".
   Wrong class: "Rename" it (empty-0003 to loaded-0003). Not an endolysosome: "Delete".
   Missed: draw it, press "Add" and "Rename" it, such as loaded-new1. No two may have one name.
   Of overlapping outlines the one higher in the list keeps the shared pixels.
4. Select nothing in the list, then "More > Save" over the same NAME.zip. Leave NAME.tif as it is.

In napari: with a plug-in that reads and writes ImageJ ROI zips and keeps their names, such as napari-roi-manager
(not tried here).

Correct every endolysosome of a cell, also those that are right already: look at each. Take out NAME.tif and NAME.zip
of a cell that you did not look at. Then:

    lysoquant annotate import THIS_FOLDER TRAINING_SET
"""


@dataclass(frozen=True, eq=False)
class _Cell:
    """A cell on its way through the network."""

    plate: str
    well: str
    field: int
    crop: CellCrop
    cargo: NDArray[np.generic]
    lysosome: NDArray[np.generic]
    pixel_size_um: float


def uncertainty(probabilities: NDArray[np.float32]) -> float:
    """How unsure a model is of a cell, see :data:`SCORE`.

    Parameters
    ----------
    probabilities : float32 array (3, Y, X)
        Background, empty, loaded.

    Returns
    -------
    float
        In [0, 1]; 0 where it sees no endolysosome at all.
    """
    seen = probabilities[:, probabilities[EMPTY] + probabilities[LOADED] > SEEN].astype(np.float64)
    if not seen.size:
        return 0.0
    logarithms = np.log(seen, out=np.zeros_like(seen), where=seen > 0)
    return float(-(seen * logarithms).sum(axis=0).mean() / np.log(3))


def export_cells(
    stores: Mapping[str, PlateStore],
    out: Path,
    *,
    wells: Mapping[str, Sequence[str]],
    lysosome: str,
    cargo: str,
    model: Path,
    params: SegmentParams,
    n_cells: int,
    candidates: int,
    seed: int = 0,
    device: str = "auto",
) -> tuple[Manifest, list[str]]:
    """Write the cells of which a model is least sure.

    Parameters
    ----------
    stores : mapping of str to PlateStore
        Plates by name.
    out : pathlib.Path
        A folder that is not there yet or is empty.
    wells : mapping of str to sequence of str
        Wells of each plate to look at.
    lysosome, cargo : str
        Channels.
    model : pathlib.Path
        Model file.
    params : SegmentParams
        How cells are segmented; its `model` is not looked at.
    n_cells : int
        Cells to write; fewer where there are fewer.
    candidates : int
        Cells to look at, all of each of random fields until there are as many.
    seed : int
        Of the order of fields.
    device : {"auto", "cpu", "cuda"}
        Where the network runs.

    Returns
    -------
    manifest : Manifest
        What was written, the least sure cell first.
    notes : list of str
        Fields that could not be looked at, one line each.

    Raises
    ------
    InputError
        If the folder is not empty, the model does not fit, or there is no cell at all.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there and not empty; give a new folder")
    loaded = load_model(model)
    check_fit(loaded.card, roles={"lysosome", "cargo"})
    predictor = make_predictor(loaded, choose_device(device), params)
    notes: list[str] = []
    cells = _candidates(stores, wells, lysosome=lysosome, cargo=cargo, count=candidates, seed=seed, notes=notes)
    best: list[tuple[float, int, _Cell, Example]] = []
    looked = 0
    with Progress("cells looked at", total=candidates) as progress:
        for cell, probabilities in predictor.predict(_inputs(cells, params, loaded)):
            score = uncertainty(probabilities)
            if len(best) < n_cells or score > best[0][0]:
                # The count keeps cells from being compared; of equally unsure ones the earlier stays.
                heapq.heappush(best, (score, -looked, cell, outlined(cell, probabilities, params)))
            if len(best) > n_cells:
                heapq.heappop(best)
            looked += 1
            progress.advance()
    if not best:
        reason = notes[0] if notes else "the label `cells` is empty everywhere"
        raise InputError(f"there is no cell to look at ({reason}); run `lysoquant cells` first")
    out.mkdir(parents=True, exist_ok=True)
    written = [_write(out, cell, example, score) for score, _, cell, example in sorted(best, reverse=True)]
    manifest = Manifest(
        model=loaded.card.name, model_sha256=loaded.sha256, score=SCORE, candidates=looked, cells=tuple(written)
    )
    write_manifest(out, manifest)
    (out / "README.txt").write_text(README.format(channels=" and ".join(CHANNELS)), encoding="utf-8")
    return manifest, notes


def _candidates(
    stores: Mapping[str, PlateStore],
    wells: Mapping[str, Sequence[str]],
    *,
    lysosome: str,
    cargo: str,
    count: int,
    seed: int,
    notes: list[str],
) -> Iterator[_Cell]:
    """All cells of fields in random order, until there are enough."""
    fields = [
        (plate, well, index)
        for plate, store in stores.items()
        for well in wells[plate]
        for index in range(store.n_fields(well))
    ]
    found = 0
    for number in np.random.default_rng(seed).permutation(len(fields)):
        plate, well, index = fields[number]
        try:
            here = list(_field_cells(stores[plate].field(well, index), (plate, well, index), lysosome, cargo))
        except FieldError as error:
            notes.append(str(error))
            continue
        yield from here[: count - found]
        found += len(here)
        if found >= count:
            return


def _field_cells(field: FieldStore, place: tuple[str, str, int], lysosome: str, cargo: str) -> Iterator[_Cell]:
    crops = list(cell_crops(field.read_label(CELLS)))
    if not crops:
        return
    if not pixel_size_accepted(field.pixel_size_um):
        raise FieldError(f"field {field.name}: {pixel_size_verdict(field.pixel_size_um)}")
    planes = [field.read(channel) for channel in (cargo, lysosome)]
    for crop in crops:
        red, green = (plane[crop.box] for plane in planes)
        yield _Cell(*place, crop=crop, cargo=red, lysosome=green, pixel_size_um=field.pixel_size_um)


def _inputs(cells: Iterator[_Cell], params: SegmentParams, model: Model) -> Iterator[tuple[_Cell, CellPixels]]:
    for cell in cells:
        yield (
            cell,
            CellPixels(
                cell.cargo,
                cell.lysosome,
                cell.crop.inside,
                pixel_size_um=cell.pixel_size_um,
                normalization=normalization_of(params, model),
                in_channels=model.card.architecture.in_channels,
            ),
        )


def outlined(cell: _Cell, probabilities: NDArray[np.float32], params: SegmentParams) -> Example:
    """A cell with the objects that the model found, as segment finds them, at the model's pixel size."""
    labels, is_loaded = found_objects(probabilities, params=params)
    return make_example(
        name=f"{cell.plate}_{cell.well}_f{cell.field}_c{cell.crop.cell}",
        cargo=cell.cargo,
        lysosome=cell.lysosome,
        inside=cell.crop.inside,
        pixel_size_um=cell.pixel_size_um,
        regions=labels,
        classes=np.array([BACKGROUND, *np.where(is_loaded, LOADED, EMPTY)], np.uint8),
        ignored=np.zeros(labels.shape, bool),
    )


def _write(out: Path, cell: _Cell, example: Example, score: float) -> ExportedCell:
    image = write_example(out, example)
    stack = open_stack(image)
    rows, columns = cell.crop.box
    return ExportedCell(
        name=file_name(example.name),
        plate=cell.plate,
        well=cell.well,
        field=cell.field,
        cell=cell.crop.cell,
        box=(rows.start, rows.stop, columns.start, columns.stop),
        pixel_size_um=cell.pixel_size_um,
        uncertainty=score,
        pixels_sha256=pixels_digest(stack),
        outlines={
            outline.name: outline_digest(outline, stack.shape, pixel_size_um=cell.pixel_size_um)
            for outline in read_outlines(image.with_suffix(".zip"))
        },
    )
