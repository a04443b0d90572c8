"""Cells that people outlined, as examples for training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lysoquant.errors import InputError
from lysoquant.examples.example import Example
from lysoquant.examples.from_ome_zarr import fields_of, store_examples
from lysoquant.examples.from_rois import folder_examples


def read_examples(
    path: Path, *, lysosome: str | None = None, cargo: str | None = None, pixel_size_um: float | None = None
) -> Iterator[Example]:
    """Every outlined cell of a folder, one after another.

    What the folder is, its content says:

    * An OME-Zarr plate or image (NGFF 0.4 or 0.5) with the labels ``endolysosomes`` and ``endolysosome_classes`` as
      lysoquant writes them. Its cells are those of the label ``cells``, or the whole image where there is none. Labels
      come to the model's pixel size by the nearest, source pixel round(i / s).
    * A folder of ``NAME.tif`` (grey uint8 or uint16 channels; ImageJ or OME) with ``NAME.zip`` beside it, the outlines
      as ImageJ ROIs: rectangles, ovals, polygons, freehand, composites. A name begins with ``empty``, ``loaded``,
      ``cell`` or ``ignore`` (in any case); without a ``cell`` the whole image is one; ``ignore`` gives weight 0.
      Outlines are drawn at the model's pixel size. Of overlapping ones the earlier in the file keeps the pixels.

    Regions are cut to their cell; under the smallest annotated area of the paper they are ignored.

    Parameters
    ----------
    path : pathlib.Path
        The folder.
    lysosome, cargo : str, optional
        Names of the channels; default: those that are called lysosome and cargo.
    pixel_size_um : float, optional
        Pixel size in place of the one in the metadata.

    Yields
    ------
    Example
        Read when it is asked for.

    Raises
    ------
    InputError
        One line that names the file, the fault and the remedy, when the cell that has it is reached.
    """
    if not path.is_dir():
        what = "is a file" if path.exists() else "is not there"
        raise InputError(f"{path}: {what}; expected an OME-Zarr folder, or a folder of images with ImageJ ROI zips")
    fields = fields_of(path)
    count = 0
    for example in (
        folder_examples(path, lysosome=lysosome, cargo=cargo, pixel_size_um=pixel_size_um)
        if fields is None
        else store_examples(fields, lysosome=lysosome, cargo=cargo, pixel_size_um=pixel_size_um)
    ):
        count += 1
        yield example
    if not count:
        raise InputError(f"{path}: no cell in any field; run `lysoquant cells`, or outline cells")
