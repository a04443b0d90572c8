"""Pictures of fields: outlines and their code, contrast, bytes; decoded again as the page does."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from lysoquant.report import outline, picture, preview


def decoded_outlines(data: bytes) -> list[list[tuple[int, int]]]:
    """What assets/data.js makes of a code, as (y, x)."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while data[at] > 127:
            value |= (data[at] & 127) << shift
            at, shift = at + 1, shift + 7
        at += 1
        return value | data[at - 1] << shift

    def step() -> int:
        value = number()
        return -(value + 1) // 2 if value % 2 else value // 2

    found: list[list[tuple[int, int]]] = []
    while at < len(data):
        n = number()
        before = found[-1][0] if found else (0, 0)
        y, x = before[0] + step(), before[1] + step()
        points = [(y, x)]
        for _ in range(n - 1):
            code, at = data[at], at + 1
            y, x = (y + (code >> 4) - 8, x + (code & 15) - 8) if code else (y + step(), x + step())
            points.append((y, x))
        found.append(points)
    return found


def decoded_marks(data: bytes, columns: int) -> Iterator[tuple[int, int]]:
    place = gap = shift = 0
    for code in data:
        gap |= (code & 127) << shift
        shift += 7
        if code < 128:
            place += gap
            gap = shift = 0
            yield divmod(place, columns)


def disc(radius: float, size: int = 60) -> np.ndarray:
    y, x = np.mgrid[:size, :size] + 0.5
    return (np.hypot(y - size / 2, x - size / 2) < radius).astype(np.uint32) * 7


class TestOutlines:
    def test_a_disc_has_a_round_outline_of_its_radius(self) -> None:
        found = outline.outlines(disc(20), spacing_px=4.0)
        assert list(found) == [7]
        radii = np.hypot(*(found[7] - 30).T)
        assert len(found[7]) == round(8 * 20 / 4)
        assert radii == pytest.approx(20, abs=0.8)

    def test_it_runs_once_round(self) -> None:
        points = outline.outlines(disc(20), spacing_px=4.0)[7] - 30
        angles = np.unwrap(np.arctan2(points[:, 0], points[:, 1]))
        assert abs(angles[-1] - angles[0]) == pytest.approx(2 * np.pi * (1 - 1 / len(points)), abs=0.05)
        assert np.all(np.diff(angles) > 0), "clockwise in an image whose rows go down"

    def test_touching_labels_and_the_border_of_the_image(self) -> None:
        labels = np.zeros((10, 12), dtype=np.uint32)
        labels[:, :5], labels[:, 5:9] = 3, 4
        found = outline.outlines(labels, spacing_px=1.0)
        assert {
            label: (points.min(axis=0).tolist(), points.max(axis=0).tolist()) for label, points in found.items()
        } == {
            3: ([0.0, 0.0], [10.0, 5.0]),
            4: ([0.0, 5.0], [10.0, 9.0]),
        }

    def test_a_hole_and_a_diagonal_neighbour_are_not_followed(self) -> None:
        labels = np.zeros((9, 9), dtype=np.uint8)
        labels[1:6, 1:6] = 1
        labels[3, 3] = 0
        labels[6, 6] = 1
        points = outline.outlines(labels, spacing_px=1.0)[1]
        assert len(points) == 20
        assert points.max() == 6.0

    def test_a_single_pixel_and_nothing(self) -> None:
        one = np.zeros((4, 4), dtype=np.uint16)
        one[2, 1] = 9
        assert outline.outlines(one, spacing_px=3.0)[9].tolist() == [[2.0, 1.5], [2.5, 2.0], [3.0, 1.5], [2.5, 1.0]]
        assert outline.outlines(one * 0, spacing_px=3.0) == {}

    def test_the_code_gives_back_the_grid(self) -> None:
        curves = [np.array([[1.0, 2.0], [3.6, 5.5], [60.0, 2.0], [59.5, 2.5]]), np.array([[0.0, 0.0]])]
        data = outline.encode_outlines(curves, scale=2.0)
        assert decoded_outlines(data) == [[(2, 4), (7, 11), (120, 4), (119, 5)], [(0, 0)]]
        # Short steps have a byte; those of 113 and -7 have a zero, two bytes and one.
        assert len(data) == (3 + 1 + 4 + 1) + 3

    def test_marks_give_back_their_places_in_reading_order(self) -> None:
        centres = np.array([[3.2, 4.4], [0.0, 0.0], [99.0, 7.0], [2.0, 250.0]])
        data = outline.encode_marks(centres, size=(50, 200))
        assert list(decoded_marks(data, 200)) == [(0, 0), (2, 199), (3, 4), (49, 7)]
        assert outline.encode_marks(np.empty((0, 2)), size=(5, 5)) == b""


class TestContrast:
    def test_is_common_and_a_burnt_field_does_not_set_it(self) -> None:
        fields = [(100.0 + number % 3, 1000.0 + number) for number in range(40)] + [(900.0, 60000.0)]
        assert picture.common_contrast(fields) == (100.0, 1100.0)

    def test_a_well_done_again_leaves_it_as_it_was(self) -> None:
        fields = [(110.0, 1650.0), (112.0, 1610.0), (115.0, 1590.0)]
        assert picture.common_contrast(fields) == picture.common_contrast([*fields[:2], (117.0, 1580.0)])

    def test_of_no_field_or_a_flat_one(self) -> None:
        assert picture.common_contrast([]) == (0.0, 1.0)
        low, high = picture.common_contrast([(0.0, 0.0)])
        assert low < high

    def test_it_makes_black_and_white(self) -> None:
        plane = np.array([[50, 100], [200, 900]], dtype=np.uint16)
        grey = picture.stacked([plane, plane * 0], contrasts=[(100.0, 200.0), (0.0, 1.0)], size=(2, 2))
        assert grey.tolist() == [[0, 0], [255, 255], [0, 0], [0, 0]]


class TestSize:
    def test_steps_of_the_allowance(self) -> None:
        assert picture.allowance(384 * 9 * 9700, 384 * 9) == 9253
        assert picture.allowance(384 * 9 * 9700 * 0.99, 384 * 9) == 9253, "a few wells more change no picture"
        assert picture.allowance(5999, 1) == 0
        assert picture.allowance(1e12, 1) == picture.LEAST_BYTES * 64

    def test_edges(self) -> None:
        assert [picture.picture_edge(allowed) for allowed in (100, 6000, 60_000, 1e6)] == [128, 192, 640, 768]
        assert picture.size_within((2048, 1024), 512) == (512, 256)
        assert picture.size_within((100, 80), 512) == (100, 80)

    @pytest.mark.parametrize(("edge", "level"), [(2048, 0), (1024, 1), (300, 2), (256, 3), (100, 3)])
    def test_the_coarsest_level_with_enough_pixels_is_read(self, edge: int, level: int) -> None:
        assert picture.level_for((2048, 2048), 4, edge) == level

    def test_a_picture_has_at_most_the_bytes_it_may_have(self) -> None:
        noise = np.random.default_rng(3).integers(0, 255, (256, 128)).astype(np.uint8)
        free = picture.encoded(noise, allowed=10**6)
        assert Image.open(io.BytesIO(free)).size == (128, 256)
        less = picture.encoded(noise, allowed=len(free) // 2)
        assert len(less) <= len(free) // 2
        small = picture.encoded(noise, allowed=900)
        assert len(small) <= 900
        width, height = Image.open(io.BytesIO(small)).size
        assert (height, width < 128) == (2 * width, True)

    def test_equal_pictures_have_equal_bytes(self) -> None:
        grey = (np.arange(64 * 64) % 251).astype(np.uint8).reshape(64, 64)
        assert picture.encoded(grey, allowed=10**6) == picture.encoded(grey.copy(), allowed=10**6)


class TestShownFields:
    WELLS = {("p", "A01"): 9, ("p", "A02"): 9, ("p", "A03"): 2}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("n_bytes", "shown"), [(20, [9, 9, 2]), (19, [6, 6, 2]), (6, [2, 2, 2]), (2, [1, 1, 0]), (0.9, [0, 0, 0])]
    )
    def test_as_many_as_there_is_room_for(self, n_bytes: float, shown: list[int]) -> None:
        found = preview.shown_fields(self.WELLS, room=n_bytes * picture.LEAST_BYTES)
        assert list(found.values()) == shown


def view(n_regions: int, allowed: int, *, edge: int = 256) -> dict[str, object]:
    """A field with two cells and a lattice of small regions, every third one loaded."""
    cells = np.zeros((edge, edge), dtype=np.uint32)
    cells[4:-4, 4 : edge // 2], cells[4:-4, edge // 2 : -4] = 5, 8
    labels = np.zeros((edge, edge), dtype=np.uint32)
    centres = [(6 + 8 * (number // 30), 6 + 8 * (number % 30)) for number in range(n_regions)]
    for number, (y, x) in enumerate(centres, start=1):
        labels[y - 2 : y + 3, x - 2 : x + 3] = number
    labels[-3:, -3:] = n_regions + 1
    plane = (labels > 0).astype(np.uint16) * 1000
    return preview.field_view(
        4,
        planes=[plane, plane],
        contrasts=[(0.0, 1000.0), (0.0, 2000.0)],
        shape=(edge, edge),
        cells=cells,
        endolysosomes=labels,
        regions=preview.Regions(
            label=np.arange(1, n_regions + 1),
            is_loaded=np.arange(n_regions) % 3 == 0,
            centre_px=np.array(centres, dtype=np.float64).reshape(-1, 2),
        ),
        allowed=allowed,
    )


def size_of(found: dict[str, object]) -> int:
    texts = [found["image"], found["empty"], found["loaded"], found["cells"]["lines"]]  # type: ignore[index]
    return sum(len(str(text)) * 3 // 4 for text in texts)


class TestFieldView:
    def test_outlines_of_the_counted_regions_by_class(self) -> None:
        found = view(30, 60_000)
        assert (found["field"], found["size"], found["shape"], found["note"]) == (4, [256, 256], "outlines", "")
        assert found["cells"]["numbers"] == [5, 8]  # type: ignore[index]
        curves = {kind: decoded_outlines(base64.b64decode(str(found[kind]))) for kind in ("empty", "loaded")}
        assert {kind: len(some) for kind, some in curves.items()} == {"empty": 20, "loaded": 10}
        # The first region spans pixels 4 to 8, so 8 to 18 on a grid of half pixels.
        assert {y for y, _ in curves["loaded"][0]} <= set(range(8, 19))

    @pytest.mark.parametrize(("n_regions", "allowed", "shape"), [(600, 20_000, "outlines"), (600, 6_000, "marks")])
    def test_it_keeps_to_its_bytes_and_marks_what_it_cannot_outline(
        self, n_regions: int, allowed: int, shape: str
    ) -> None:
        found = view(n_regions, allowed)
        assert found["shape"] == shape
        assert size_of(found) <= allowed

    def test_too_many_for_marks_are_said(self) -> None:
        found = view(900, 2_000)
        assert (found["shape"], found["empty"], found["loaded"]) == ("none", "", "")
        assert found["note"] == "its 900 endolysosomes are too many to be outlined in a page of this size"
        assert size_of(found) <= 2_000

    def test_a_field_without_cells(self) -> None:
        found = view(0, 10_000)
        assert (found["empty"], found["loaded"], found["shape"]) == ("", "", "outlines")
