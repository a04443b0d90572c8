"""Operators' files read, and their consensus written: label image, ImageJ ROIs, table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.annotate.consensus import TARGETS, Agreement, Consensus, agree, agreement, relative_standard_error
from lysoquant.errors import FieldError, InputError
from lysoquant.examples.crops import settle_pixel_size
from lysoquant.examples.drawn import draw_regions, read_drawing, refuse_drawn_twice
from lysoquant.examples.written import ignored_outlines, region_outlines
from lysoquant.files import open_file
from lysoquant.io.outlines import NewOutline, write_outlines
from lysoquant.io.rois import read_label_image
from lysoquant.io.stacks import open_stack, write_map
from lysoquant.metrics.matching import components
from lysoquant.metrics.summary import MeanSd, mean_sd
from lysoquant.record import write_json, write_text_atomic
from lysoquant.vocabulary import CLASS_NAMES, EMPTY, LOADED

COLUMNS: Final = (
    "image",
    "target",
    "operator",
    "iou",
    "area_um2",
    "consensus_area_um2",
    "difference_area_um2",
    "relative_standard_error",
)
"""Columns of consensus.csv; the last is of the image and target, over all operators."""


@dataclass(frozen=True)
class Scores:
    """All comparisons of one image; areas in um2.

    Attributes
    ----------
    image : str
        Its name.
    agreements : dict
        By target, one an operator.
    areas_um2, errors : dict of str to float
        Area of the consensus and relative standard error, by target.
    pixel_area_um2 : float
        Area of a pixel.
    """

    image: str
    agreements: dict[str, list[Agreement]]
    areas_um2: dict[str, float]
    errors: dict[str, float]
    pixel_area_um2: float


def build_consensus(
    operators: Sequence[Path], image: Path, output: Path, *, minimum: int = 2, pixel_size_um: float | None = None
) -> list[Scores]:
    """Compare operators with what at least `minimum` of them drew, and write both.

    Parameters
    ----------
    operators : sequence of pathlib.Path
        For each operator an ImageJ ROI zip (names begin with ``empty`` or ``loaded``; ``cell`` and ``ignore`` are
        passed over), a class map (TIFF or PNG: 0, 1 empty, 2 loaded), or a folder of such files.
    image : pathlib.Path
        The outlined TIFF; with folders, the folder of images ``NAME.tif``, and each operator has each NAME.
    output : pathlib.Path
        Gets ``classes/NAME.tif`` (class map), ``rois/NAME.zip``, ``consensus.csv`` and ``consensus.json``.
    minimum : int
        Operators that must agree.
    pixel_size_um : float, optional
        In place of the one in the image's metadata.

    Returns
    -------
    list of Scores
        One an image.

    Raises
    ------
    InputError
        If there are too few operators, or a file is missing or wrong.
    """
    if not 1 <= minimum <= len(operators) or len(operators) < 2:
        raise InputError(
            f"{len(operators)} operators and a minimum of {minimum}; expected two operators or more, and a minimum of "
            "1 to their number"
        )
    if len(set(operators)) < len(operators):
        raise InputError("an operator is named twice; give the outlines of each once")
    scores = []
    for name, picture, files in _cases(operators, image):
        scores.append(_one_image(name, picture, files, output, minimum=minimum, pixel_size_um=pixel_size_um))
    _write_tables(output, scores, operators, minimum)
    return scores


def _cases(operators: Sequence[Path], image: Path) -> list[tuple[str, Path, list[Path]]]:
    """Name, image and each operator's file."""
    folders = [path for path in (image, *operators) if path.is_dir()]
    if not folders:
        return [(image.stem, image, list(operators))]
    if len(folders) <= len(operators):
        raise InputError("some of image and operators are folders and some are files; give either for all")
    images = sorted(
        path for path in image.iterdir() if path.suffix.lower() in (".tif", ".tiff") and path.name[0] != "."
    )
    if not images:
        raise InputError(f"{image}: no .tif image; give the folder of the outlined images")
    return [(path.stem, path, [_file(folder, path.stem) for folder in operators]) for path in images]


def _file(folder: Path, name: str) -> Path:
    for ending in (".zip", ".tif", ".tiff", ".png"):
        path = folder / f"{name}{ending}"
        if path.is_file():
            return path
    raise InputError(f"{folder}: no {name}.zip or {name}.tif; every operator must have outlined every image")


def read_classes(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Class map (Y, X) of one operator's file.

    Raises
    ------
    InputError
        If it is neither ROIs nor a class map of that shape.
    """
    try:
        with open_file(path) as handle:
            start = handle.read(4)
        if start[:2] == b"PK" or start == b"Iout":
            drawing = read_drawing(path)
            refuse_drawn_twice(drawing.regions, shape, where=str(path))
            table = np.array([0, *drawing.classes], np.uint8)
            return np.asarray(table[draw_regions(drawing.regions, shape)])
        labels, _ = read_label_image(path, shape=shape)
    except FieldError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a zip of ImageJ ROIs or a class map") from error
    if labels.max(initial=0) > LOADED:
        raise InputError(
            f"{path}: values up to {labels.max()}; expected a class map of 0, 1 (empty) and 2 (loaded), or ImageJ ROIs"
        )
    return labels.astype(np.uint8)


def _one_image(
    name: str, image: Path, files: Sequence[Path], output: Path, *, minimum: int, pixel_size_um: float | None
) -> Scores:
    try:
        stack = open_stack(image)
    except FieldError as error:
        raise InputError(str(error)) from error
    size = settle_pixel_size(stack.pixel_size_um, given=pixel_size_um, where=str(image))
    drawings = [read_classes(path, stack.shape) for path in files]
    consensus = agree(drawings, minimum=minimum)
    _write_consensus(output, name, consensus, pixel_size_um=size)
    agreements = {target: [agreement(own, consensus, target=target) for own in drawings] for target in TARGETS}
    areas = {target: int(np.count_nonzero(consensus.mask(target))) for target in TARGETS}
    return Scores(
        image=name,
        agreements=agreements,
        areas_um2={target: area * size**2 for target, area in areas.items()},
        errors={
            target: relative_standard_error([each.difference for each in agreements[target]], areas[target])
            for target in TARGETS
        },
        pixel_area_um2=size**2,
    )


def _write_consensus(output: Path, name: str, consensus: Consensus, *, pixel_size_um: float) -> None:
    for folder in ("classes", "rois"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    write_map(output / "classes" / f"{name}.tif", consensus.classes, pixel_size_um=pixel_size_um)
    outlines: list[NewOutline] = []
    count = 0
    for target in (EMPTY, LOADED):
        labels = components(consensus.classes, target=target)
        labels[labels > 0] += count
        table = np.full(int(labels.max(initial=0)) + 1, target, np.uint8)
        outlines += region_outlines(labels, table)
        count = max(count, len(table) - 1)
    outlines += ignored_outlines(consensus.disputed)
    write_outlines(output / "rois" / f"{name}.zip", outlines)


def summaries(scores: Sequence[Scores], n_operators: int) -> dict[str, dict[str, Any]]:
    """By target: IoU of each operator and of all, and relative standard error; each mean, SD and n over images."""
    return {
        target: {
            "operators": [
                mean_sd(each.agreements[target][number].iou for each in scores) for number in range(n_operators)
            ],
            "iou": mean_sd(one.iou for each in scores for one in each.agreements[target]),
            "relative_standard_error": mean_sd(each.errors[target] for each in scores),
        }
        for target in TARGETS
    }


def table_text(scores: Sequence[Scores], operators: Sequence[Path]) -> str:
    """The summary as lines for a terminal."""
    found = summaries(scores, len(operators))
    width = max(len("all operators"), *(len(str(path)) for path in operators))
    lines = [f"{'IoU with the consensus':<{width}}  " + "  ".join(f"{target:>22}" for target in TARGETS)]
    rows = [(str(path), [found[t]["operators"][number] for t in TARGETS]) for number, path in enumerate(operators)]
    rows.append(("all operators", [found[target]["iou"] for target in TARGETS]))
    rows.append(("relative SE", [found[target]["relative_standard_error"] for target in TARGETS]))
    lines += [f"{title:<{width}}  " + "  ".join(f"{value.text():>22}" for value in values) for title, values in rows]
    return "\n".join([*lines, f"mean ± SD (n); {len(scores)} image{'s' * (len(scores) != 1)}"])


def _write_tables(output: Path, scores: Sequence[Scores], operators: Sequence[Path], minimum: int) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in scores:
        for target in TARGETS:
            for path, one in zip(operators, each.agreements[target], strict=True):
                areas = (one.area * each.pixel_area_um2, each.areas_um2[target], one.difference * each.pixel_area_um2)
                writer.writerow([each.image, target, path, *_cells((one.iou, *areas, each.errors[target]))])
    write_text_atomic(output / "consensus.csv", text.getvalue())
    found = summaries(scores, len(operators))
    write_json(
        output / "consensus.json",
        {
            "minimum": minimum,
            "operators": [str(path) for path in operators],
            "images": [each.image for each in scores],
            "targets": {
                target: {
                    "iou": _json(values["iou"]),
                    "iou_of_operators": [_json(value) for value in values["operators"]],
                    "relative_standard_error": _json(values["relative_standard_error"]),
                }
                for target, values in found.items()
            },
            "classes": list(CLASS_NAMES),
        },
    )


def _cells(values: Iterable[float]) -> list[str]:
    """Numbers as text; what is undefined is empty."""
    return ["" if math.isnan(value) else f"{value:.6g}" for value in values]


def _json(value: MeanSd) -> dict[str, float | int | None]:
    return {name: None if math.isnan(number) else number for name, number in vars(value).items()}
