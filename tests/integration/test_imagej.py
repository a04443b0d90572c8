"""Shapes and grey values against a real ImageJ: Analyze Particles on the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from imagej_macro import run_macro
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import ellipse, polygon
from skimage.measure import label as connected_parts

from lysoquant.measure.intensity import region_intensities
from lysoquant.measure.shape import region_shapes

PIXEL_SIZE_UM = 0.0813
COLUMNS = {
    "area_um2": "Area",
    "perimeter_um": "Perim.",
    "circularity": "Circ.",
    "solidity": "Solidity",
    "feret_um": "Feret",
    "min_feret_um": "MinFeret",
    "aspect_ratio": "AR",
    "roundness": "Round",
    "intensity_mean_grey": "Mean",
}
MACRO = """
folder = getArgument();
setBatchMode(true);
names = getFileList(folder);
for (i = 0; i < names.length; i++) {
  if (endsWith(names[i], ".mask.tif")) {
    grey = replace(names[i], ".mask.tif", ".grey.tif");
    open(folder + grey);
    run("Set Scale...", "distance=1 known=PIXEL_SIZE pixel=1 unit=um");
    open(folder + names[i]);
    run("Set Scale...", "distance=1 known=PIXEL_SIZE pixel=1 unit=um");
    setThreshold(1, 255);
    run("Set Measurements...", "area mean centroid perimeter fit shape feret's redirect=" + grey + " decimal=9");
    run("Analyze Particles...", "size=0-Infinity circularity=0.00-1.00 display clear");
    saveAs("Results", folder + replace(names[i], ".mask.tif", ".csv"));
    run("Close All");
  }
}
run("Quit");
""".replace("PIXEL_SIZE", str(PIXEL_SIZE_UM))

Mask = NDArray[np.bool_]


def ragged() -> Mask:
    """Blobs with holes, necks and diagonal bridges, from single pixels on."""
    noise = ndimage.gaussian_filter(np.random.default_rng(7).random((400, 400)), 1.6)
    return np.asarray(noise > 0.51)


def smooth() -> Mask:
    """Ellipses of every angle and rings, also cut by the image's border."""
    rng, mask = np.random.default_rng(8), np.zeros((620, 620), dtype=np.bool_)
    for row in range(14):
        for column in range(14):
            centre = 20 + 44 * row + rng.uniform(-3, 3), 20 + 44 * column + rng.uniform(-3, 3)
            radii = rng.uniform(1.5, 19, 2)
            angle = rng.choice([0, np.pi / 4, np.pi / 2, rng.uniform(0, np.pi)])
            mask[ellipse(*centre, *radii, shape=mask.shape, rotation=angle)] = True
            if min(radii) > 6 and rng.random() < 0.4:
                mask[ellipse(*centre, *(radii - 4), shape=mask.shape, rotation=angle)] = False
    return mask


def angular() -> Mask:
    """Lines, rectangles, stars and crosses: the symmetric shapes whose ellipse ImageJ's rounding decides."""
    rng, mask = np.random.default_rng(9), np.zeros((480, 480), dtype=np.bool_)
    for row in range(12):
        for column in range(12):
            top, left = 40 * row + 4, 40 * column + 4
            kind, size = (row * 12 + column) % 4, int(rng.integers(1, 30))
            if kind == 0:
                mask[top : top + int(rng.integers(1, 30)), left : left + size] = True
            elif kind == 1:
                corners = rng.integers(0, 31, (2, int(rng.integers(3, 9))))
                mask[polygon(top + corners[0], left + corners[1], mask.shape)] = True
            elif kind == 2:
                steps = np.arange(size)
                mask[top + steps, left + steps] = True
            else:
                half = size // 2
                mask[top + half, left : left + 2 * half + 1] = True
                mask[top : top + 2 * half + 1, left + half] = True
    return mask


def differences(imagej: list[str], folder: Path, masks: dict[str, Mask]) -> pd.DataFrame:
    """Largest difference of each column over all objects of each mask, relative where values are above one."""
    numbered: dict[str, NDArray[np.int64]] = {}
    for name, mask in masks.items():
        numbered[name] = connected_parts(mask, connectivity=2)
        grey = np.random.default_rng(1).integers(0, 4096, mask.shape).astype(np.uint16)
        tifffile.imwrite(folder / f"{name}.mask.tif", (mask * 255).astype(np.uint8))
        tifffile.imwrite(folder / f"{name}.grey.tif", grey)
    run_macro(imagej, MACRO, folder)
    found = []
    for name, labels in numbered.items():
        theirs = pd.read_csv(folder / f"{name}.csv")
        grey = tifffile.imread(folder / f"{name}.grey.tif")
        ours = region_shapes(labels=labels, pixel_size_um=PIXEL_SIZE_UM) | region_intensities(
            labels=labels, images={"grey": grey}, pixel_size_um=PIXEL_SIZE_UM, rim_width_um=0.2
        )
        assert len(theirs) == len(ours["label"]), name
        # Analyze Particles meets the objects in raster order, as the numbering does; centroids prove the match.
        half = PIXEL_SIZE_UM / 2
        assert np.abs(theirs["X"] - ours["centroid_x_um"] - half).max() < 1e-6
        assert np.abs(theirs["Y"] - ours["centroid_y_um"] - half).max() < 1e-6
        found.append(
            {"mask": name, "n": len(theirs)}
            | {
                own: (np.abs(theirs[other] - ours[own]) / np.maximum(1.0, np.abs(theirs[other]))).max()
                for own, other in COLUMNS.items()
            }
        )
    return pd.DataFrame(found).set_index("mask")


def test_generated_outlines_measure_as_in_imagej(imagej: list[str], tmp_path: Path) -> None:
    found = differences(imagej, tmp_path, {"ragged": ragged(), "smooth": smooth(), "angular": angular()})
    assert found["n"].sum() >= 500
    assert (found["n"] > 100).all()
    assert (found[list(COLUMNS)].to_numpy() < 1e-6).all(), found.to_string()


def test_real_outlines_measure_as_in_imagej(imagej: list[str], tmp_path: Path, real_data: Path) -> None:
    labels = sorted((real_data / "nuclei_dsb2018").glob("*_labels.tif"))
    vesicles = real_data / "hela_lysosomes" / "xy_8bit_binary__many_vesicles.tif"
    masks = {path.stem: np.squeeze(tifffile.imread(path)) > 0 for path in [*labels, vesicles]}
    found = differences(imagej, tmp_path, masks)
    assert found["n"].sum() >= 500
    assert (found[list(COLUMNS)].to_numpy() < 1e-6).all(), found.to_string()
