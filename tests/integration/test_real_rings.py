"""The shipped model on real rings: giant vesicles under a confocal microscope, as small as endolysosomes (scale 0.25).

Nobody outlined them. The rings to be found are those that a threshold and filling find without doubt: closed,
round, of at most 5 um at that scale, which is as wide as the vacuoles of the training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label, regionprops

from lysoquant.examples.simulated import to_model
from lysoquant.metrics.matching import match_iou
from lysoquant.model.card import DEFAULT_MODEL
from lysoquant.model.cuts import TilePlan
from lysoquant.model.predict import Predictor
from lysoquant.model.preprocess import network_input
from lysoquant.model.weights import load_model
from lysoquant.segment.instances import split_objects
from lysoquant.segment.params import SegmentParams

PIXEL_SIZE_UM = 0.2405 * 0.25


def plain_rings(image: NDArray[np.generic]) -> NDArray[np.int32]:
    """Closed, round rings of 0.5 to 5 um, filled."""
    smooth = ndimage.gaussian_filter(image.astype(float), 1.5)
    ridge = smooth > ndimage.gaussian_filter(image.astype(float), 20) + 0.3 * smooth.std()
    lumens = label(ndimage.binary_fill_holes(ridge) & ~ridge)
    rings = np.zeros(image.shape, np.int32)
    for number, lumen in enumerate(regionprops(lumens), start=1):
        wide = lumen.equivalent_diameter_area * PIXEL_SIZE_UM
        round_ = 4 * np.pi * lumen.area / max(1, lumen.perimeter) ** 2
        if lumen.solidity > 0.9 and round_ > 0.8 and 0.5 < wide < 5:
            rings[ndimage.binary_dilation(lumens == lumen.label, iterations=2)] = number
    return rings


@pytest.mark.parametrize("name", ["290818-p1_t1_c1.tif", "290818-p1_t1_c2.tif"])
def test_real_rings_are_found_as_empty_endolysosomes(real_data: Path, name: str) -> None:
    path = real_data / "rings_guv" / name
    with tifffile.TiffFile(path) as file:
        image = file.pages[0].asarray()[200:600, 200:600]
    params = SegmentParams()
    everywhere = np.ones(image.shape, bool)
    predictor = Predictor(load_model(DEFAULT_MODEL), torch.device("cpu"), TilePlan(512, 64), batch_size=2)
    crop = network_input(np.zeros_like(image), image, everywhere, pixel_size_um=PIXEL_SIZE_UM)
    ((_, probabilities),) = predictor.predict([(name, crop)])
    found = split_objects(
        probabilities, foreground_threshold=params.foreground_threshold, split_depth_um=params.split_depth_um
    )
    rings = np.asarray(to_model(plain_rings(image), PIXEL_SIZE_UM), dtype=np.int32)
    matching = match_iou(rings, found.labels)
    assert matching.n_truth >= 4
    assert matching.recall >= 0.7
    assert not (found.p_loaded >= 0.5).any()  # the cargo channel is blank
