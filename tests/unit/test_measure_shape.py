"""Shapes by ImageJ's definitions: hand-computed values, and a pixel-by-pixel walk as the independent way."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label as connected_parts
from skimage.measure import regionprops_table

from lysoquant.measure.shape import region_shapes

CORNER = 2 - np.sqrt(2)
"""What ImageJ takes off for a corner."""


def shape_of(picture: str, pixel_size_um: float = 1.0) -> dict[str, float]:
    rows = [[int(pixel == "#") for pixel in row] for row in picture.split()]
    measured = region_shapes(labels=np.array(rows, dtype=np.uint32), pixel_size_um=pixel_size_um)
    return {name: values.item() for name, values in measured.items()}


def disc(radius: float, size: int = 81) -> NDArray[np.uint8]:
    y, x = np.mgrid[:size, :size] - size // 2
    return (y * y + x * x <= radius * radius).astype(np.uint8)


def wand(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Vertices (x, y) of the outline, walked corner by corner from where ImageJ's wand begins."""
    mask = np.pad(mask, 1)
    y0, x0 = np.argwhere(mask)[0]
    while mask[y0, x0]:
        x0 += 1
    moves = {0: (1, 0), 1: (0, -1), 2: (-1, 0), 3: (0, 1)}
    # Pixel to the right of a walk in each direction that starts at corner (x, y).
    to_the_right = {0: (0, 0), 1: (0, -1), 2: (-1, -1), 3: (-1, 0)}

    def region_on_right(x: int, y: int, direction: int) -> bool:
        dx, dy = to_the_right[direction]
        return bool(mask[y + dy, x + dx])

    x, y, direction = int(x0), int(y0) + 1, 3
    vertices = []
    while True:
        turned = next(way % 4 for way in (direction + 1, direction, direction - 1) if region_on_right(x, y, way % 4))
        if turned != direction:
            vertices.append((x, y))
        x, y, direction = x + moves[turned][0], y + moves[turned][1], turned
        if (x, y, direction) == (int(x0), int(y0) + 1, 3):
            return vertices


def walked_perimeter(vertices: list[tuple[int, int]]) -> float:
    length = n_corners = 0
    corner = False
    for (x_before, y_before), (x, y) in zip([vertices[-1], *vertices[:-1]], vertices, strict=True):
        side = abs(x - x_before) + abs(y - y_before)
        length += side
        corner = side > 1 or not corner
        n_corners += corner
    return length - n_corners * CORNER


def widths(vertices: list[tuple[int, int]]) -> list[float]:
    """Width of the vertices across every line through two of them."""
    points = np.array(vertices, dtype=float)
    found = []
    for first, second in combinations(range(len(points)), 2):
        line = points[second] - points[first]
        if line.any():
            across = (points - points[first]) @ [-line[1], line[0]] / np.hypot(*line)
            found.append(float(np.ptp(across)))
    return found


def test_a_pixel() -> None:
    found = shape_of("#", pixel_size_um=0.5)
    assert found["area_um2"] == 0.25
    # Of four corners, one side apart, every other counts.
    assert found["perimeter_um"] == pytest.approx((4 - 2 * CORNER) * 0.5)
    assert found["circularity"] == 1.0
    assert found["solidity"] == 1.0
    assert found["eccentricity"] == 0.0
    assert found["feret_um"] == pytest.approx(np.sqrt(2) / 2)
    assert found["min_feret_um"] == pytest.approx(0.5)
    assert (found["centroid_y_um"], found["centroid_x_um"]) == (0.0, 0.0)


def test_a_square_of_four_pixels() -> None:
    found = shape_of("... .## .##")
    assert found["perimeter_um"] == pytest.approx(8 - 4 * CORNER)
    assert found["circularity"] == 1.0
    assert found["feret_um"] == pytest.approx(np.sqrt(8))
    assert found["min_feret_um"] == pytest.approx(2)
    assert (found["centroid_y_um"], found["centroid_x_um"]) == (1.5, 1.5)


def test_a_rectangle() -> None:
    found = shape_of(" ".join(["#" * 10] * 4), pixel_size_um=0.1)
    perimeter = 2.8 - 0.4 * CORNER
    assert found["area_um2"] == pytest.approx(0.4)
    assert found["perimeter_um"] == pytest.approx(perimeter)
    assert found["circularity"] == pytest.approx(4 * np.pi * 0.4 / perimeter**2)
    assert found["feret_um"] == pytest.approx(np.sqrt(1.16))
    assert found["min_feret_um"] == pytest.approx(0.4)
    # Variances of 10 and 4 pixel centres in a row: (n^2 - 1) / 12.
    assert found["eccentricity"] == pytest.approx(np.sqrt(1 - 15 / 99))
    assert found["centroid_x_um"] == pytest.approx(0.45)
    # The ellipse of a rectangle has the rectangle's aspect ratio.
    assert found["aspect_ratio"] == pytest.approx(2.5, abs=1e-6)
    assert found["roundness"] == pytest.approx(0.4, abs=1e-6)


def test_an_l() -> None:
    found = shape_of("##.. ##.. #### ####")
    assert found["area_um2"] == 12
    # Six corners, all with a side of 2 or more before them.
    assert found["perimeter_um"] == pytest.approx(16 - 6 * CORNER)
    # The hull lacks the triangle above the step: the square of 16 less 2 * 2 / 2.
    assert found["solidity"] == pytest.approx(12 / 14)
    assert found["feret_um"] == pytest.approx(np.sqrt(32))
    # Across the diagonal from (2, 0) to (4, 2): the corner (0, 4) is 6 / sqrt(2) away; square on, it is 4.
    assert found["min_feret_um"] == pytest.approx(4)


def test_a_diamond() -> None:
    found = shape_of("..#.. .###. ##### .###. ..#..")
    # 20 corners, all one side apart: every other one counts.
    assert found["perimeter_um"] == pytest.approx(20 - 10 * CORNER)
    # The octagon around it: 25 less four corner triangles of 2 * 2 / 2.
    assert found["solidity"] == pytest.approx(13 / 17)
    assert found["feret_um"] == pytest.approx(np.sqrt(26))
    # Between the slanted sides x + y = 2 and x + y = 8.
    assert found["min_feret_um"] == pytest.approx(6 / np.sqrt(2))
    assert found["eccentricity"] == 0


def test_a_disc_is_nearly_its_circle() -> None:
    found = {name: values.item() for name, values in region_shapes(labels=disc(30.0), pixel_size_um=0.1).items()}
    assert found["area_um2"] == pytest.approx(np.pi * 9, rel=0.01)
    assert found["feret_um"] == pytest.approx(6.1, abs=0.05)
    assert found["min_feret_um"] == pytest.approx(6.1, abs=0.1)
    assert found["solidity"] > 0.96
    # ImageJ's perimeter follows the octagon of steps: about 5 % more than the circle's.
    assert found["perimeter_um"] == pytest.approx(2 * np.pi * 3 * 1.055, rel=0.02)
    assert 0.85 < found["circularity"] < 0.95


def test_a_hole_changes_area_not_outline() -> None:
    full, holed = shape_of("##### ##### ##### ##### #####"), shape_of("##### #...# #.#.# #...# #####")
    for name in ("perimeter_um", "feret_um", "min_feret_um"):
        assert holed[name] == full[name]
    # The pixel in the middle is a part of its own, so the outline's part has 16 pixels.
    assert holed["area_um2"] == 17
    assert holed["solidity"] == pytest.approx(16 / 25)
    assert holed["circularity"] == pytest.approx(4 * np.pi * 16 / full["perimeter_um"] ** 2)


def test_of_several_parts_the_largest_gives_the_outline() -> None:
    found = shape_of("#....## .....## #......")
    assert found["area_um2"] == 6
    assert found["perimeter_um"] == pytest.approx(8 - 4 * CORNER)
    assert found["feret_um"] == pytest.approx(np.sqrt(8))
    assert found["centroid_x_um"] == pytest.approx((5 + 6 + 5 + 6) / 6)
    equal = shape_of("##.#. ....# .....")
    # The two pixels in a row come first; of their corners the one that follows a counted one by one side is left out.
    assert equal["perimeter_um"] == pytest.approx(6 - 3 * CORNER)
    assert equal["feret_um"] == pytest.approx(np.sqrt(5))


def test_corners_that_touch_are_one_part() -> None:
    # Eight-connected, as ImageJ's wand: the outline crosses where the two pixels touch.
    found = shape_of("#. .#")
    assert found["feret_um"] == pytest.approx(np.sqrt(8))
    assert found["solidity"] == pytest.approx(2 / 3)


def test_touching_labels_are_measured_apart() -> None:
    labels = np.zeros((6, 9), dtype=np.uint32)
    labels[1:5, 1:4] = 7
    labels[1:5, 4:9] = 3
    found = region_shapes(labels=labels, pixel_size_um=1.0)
    assert found["label"].tolist() == [3, 7]
    assert found["perimeter_um"] == pytest.approx([18 - 4 * CORNER, 14 - 4 * CORNER])
    assert found["feret_um"] == pytest.approx([np.sqrt(41), 5])
    assert found["min_feret_um"] == pytest.approx([4, 3])


def test_nothing_in_nothing_out() -> None:
    found = region_shapes(labels=np.zeros((5, 4), dtype=np.uint32), pixel_size_um=0.1)
    assert {len(values) for values in found.values()} == {0}


@pytest.fixture(scope="module")
def crowd() -> NDArray[np.int64]:
    """Ragged blobs with holes, necks and diagonal bridges, among them ones at the image's border."""
    noise = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(60, 80)), 1.2)
    blobs: NDArray[np.int64] = connected_parts(noise > 0.12, connectivity=2)
    return blobs


def test_every_outline_is_the_one_that_a_walk_around_it_finds(crowd: NDArray[np.int64]) -> None:
    found = region_shapes(labels=crowd, pixel_size_um=1.0)
    assert len(found["label"]) > 20
    for row, number in enumerate(found["label"].tolist()):
        vertices = wand(crowd == number)
        assert found["perimeter_um"][row] == pytest.approx(walked_perimeter(vertices)), number
        if len(vertices) < 60:
            distances = [np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in combinations(vertices, 2)]
            assert found["feret_um"][row] == pytest.approx(max(distances)), number
            assert found["min_feret_um"][row] == pytest.approx(min(widths(vertices))), number


def test_where_definitions_agree_so_does_scikit_image(crowd: NDArray[np.int64]) -> None:
    found = region_shapes(labels=crowd, pixel_size_um=0.5)
    other = regionprops_table(crowd, properties=("label", "area", "centroid", "eccentricity"), spacing=(0.5, 0.5))
    assert found["label"].tolist() == other["label"].tolist()
    np.testing.assert_allclose(found["area_um2"], other["area"])
    np.testing.assert_allclose(found["centroid_y_um"], other["centroid-0"])
    np.testing.assert_allclose(found["centroid_x_um"], other["centroid-1"])
    np.testing.assert_allclose(found["eccentricity"], other["eccentricity"], atol=1e-6)


def test_feret_of_many_large_regions_is_that_of_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.concatenate([disc(r).astype(np.int64) * number for number, r in enumerate((5, 30, 12), start=1)])
    at_once = region_shapes(labels=labels, pixel_size_um=1.0)
    monkeypatch.setattr("lysoquant.measure.shape._PAIRS_AT_ONCE", 1)
    for name, values in region_shapes(labels=labels, pixel_size_um=1.0).items():
        np.testing.assert_array_equal(values, at_once[name])
