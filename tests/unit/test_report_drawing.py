"""Heat maps, strip plots and pictures: numbers in, markup and pixels out."""

from __future__ import annotations

import io
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from lysoquant.report import heatmap, montage, strip

HOSTILE = "<script>alert(1)</script>\"'{{7*7}}"


def well(name: str, value: float, *, failed: bool = False, label: str = "label") -> heatmap.Well:
    return heatmap.value_well(
        name, value=value, mark="", label=label, failed=failed, low=0, high=1, palette=heatmap.VIRIDIS
    )


class TestColours:
    def test_ends_middle_and_beyond_the_scale(self) -> None:
        shades = [heatmap.colour(v, low=0, high=1, palette=heatmap.VIRIDIS) for v in (0, 0.5, 1, -3, 7)]
        assert shades == ["#440154", "#21918c", "#fde725", "#440154", "#fde725"]

    def test_between_two_colours_is_their_mean(self) -> None:
        assert heatmap.colour(1, low=0, high=4, palette=("#000000", "#c80428")) == "#32010a"

    def test_scale_without_extent_is_its_lower_colour(self) -> None:
        assert heatmap.colour(0, low=0, high=0, palette=heatmap.CIVIDIS) == "#00224e"

    def test_nan_has_no_colour(self) -> None:
        with pytest.raises(ValueError, match="NaN"):
            heatmap.colour(math.nan, low=0, high=1, palette=heatmap.VIRIDIS)

    @pytest.mark.parametrize(("fill", "ink"), [("#440154", "#ffffff"), ("#fde725", "#1b1f24")])
    def test_ink_contrasts(self, fill: str, ink: str) -> None:
        assert heatmap.ink_on(fill) == ink


class TestPlate:
    def test_wells_at_zero_one_nan_and_failed(self) -> None:
        wells = [well("A01", 0.0), well("A02", 1.0), well("B01", math.nan), well("B02", 0.4, failed=True)]
        root = ElementTree.fromstring(heatmap.plate_svg(wells, n_rows=2, n_columns=3, title="t"))
        fills = {g.attrib["data-well"]: g.find("rect").attrib["fill"] for g in root.findall("g")}  # type: ignore[union-attr]
        assert fills == {
            "A01": "#440154",
            "A02": "#fde725",
            "B01": "url(#hatch-undefined)",
            "B02": "url(#hatch-failed)",
        }
        assert [r.attrib["fill"] for r in root.findall("rect")] == ["url(#hatch-absent)"] * 2
        assert [t.text for t in root.findall("text")] == ["1", "2", "3", "A", "B"]

    def test_wells_are_reachable_and_say_their_numbers(self) -> None:
        svg = heatmap.plate_svg([well("A01", 0.5, label="x")], n_rows=1, n_columns=1, title="t")
        g = ElementTree.fromstring(svg).find("g")
        assert g is not None
        assert (g.attrib["tabindex"], g.attrib["aria-label"], g.findtext("title")) == ("0", "x", "x")

    def test_hostile_text_stays_text(self) -> None:
        svg = heatmap.plate_svg([well("A01", 0.5, label=HOSTILE)], n_rows=1, n_columns=1, title=HOSTILE)
        root = ElementTree.fromstring(svg)
        assert root.attrib["aria-label"] == HOSTILE
        assert root.find(".//script") is None

    def test_an_empty_plate_is_all_hatched(self) -> None:
        assert heatmap.plate_svg([], n_rows=8, n_columns=12, title="t").count("hatch-absent") == 96

    @pytest.mark.parametrize(
        ("wells", "size"),
        [([], (1, 1)), (["B03"], (2, 3)), (["H12"], (8, 12)), (["A13"], (16, 24)), (["AF48"], (32, 48))],
    )
    def test_format(self, wells: list[str], size: tuple[int, int]) -> None:
        assert heatmap.plate_format(wells) == size


def lane(
    occupancy: list[float], *, counted: list[bool] | None = None, name: str = "B03", titled: bool = True
) -> strip.Lane:
    values = np.array(occupancy)
    kept = np.array([True] * len(values) if counted is None else counted, dtype=np.bool_)
    mean = float(np.nanmean(values)) if np.isfinite(values).any() else math.nan
    return strip.Lane(name, values, kept, mean, titles=["a cell"] * len(values) * titled)


class TestStrip:
    def test_a_dot_for_every_cell_with_an_occupancy(self) -> None:
        lanes = [lane([0.1, 0.1, 0.9, math.nan]), lane([0.5] * 40, counted=[True] * 39 + [False]), lane([math.nan])]
        svg = strip.condition_svg(lanes, mean=0.4, sd=0.1, tone="sample", title="t")
        assert len(re.findall(r'class="cell( aside)?"', svg)) == 43
        assert svg.count('class="cell aside"') == 1
        assert svg.count('class="well-mean"') == 2

    def test_cells_without_titles_are_one_path_with_a_stroke_each(self) -> None:
        lanes = [lane([0.0, 1.0, math.nan, 0.5], counted=[True, True, True, False], titled=False)]
        root = ElementTree.fromstring(strip.condition_svg(lanes, mean=0.5, sd=0.1, tone="sample", title="t"))
        drawn = {path.attrib["class"]: path.attrib["d"] for path in root.findall("path")}
        assert {kind: d.count("h0") for kind, d in drawn.items()} == {"cells": 2, "cells aside": 1}
        assert [float(x) for x in re.findall(r"M([\d.]+) ", drawn["cells"])] == [46.0, 608.0]

    def test_of_very_many_cells_every_so_many_is_drawn_evenly(self) -> None:
        lanes = [lane(list(np.linspace(0, 1, 101)), titled=False)]
        svg = strip.condition_svg(lanes, mean=0.5, sd=0.1, tone="sample", title="t", every=10)
        assert [float(x) for x in re.findall(r"M([\d.]+) ", svg)] == pytest.approx(
            [46 + 562 * share for share in np.arange(0.05, 1, 0.1)], abs=0.06
        )

    def test_dots_lie_at_their_occupancy_and_in_their_lane(self) -> None:
        root = ElementTree.fromstring(
            strip.condition_svg([lane([0.0, 1.0]), lane([0.25])], mean=0.5, sd=math.nan, tone="sample", title="t")
        )
        dots = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in root.findall("circle[@class='cell']")]
        assert [x for x, _ in dots] == [46.0, 608.0, 186.5]
        assert all(5 <= y <= 25 for _, y in dots[:2])
        assert 25 <= dots[2][1] <= 45
        assert root.find("rect") is None

    def test_the_band_is_one_deviation_to_each_side_within_the_axis(self) -> None:
        root = ElementTree.fromstring(strip.condition_svg([lane([0.9])], mean=0.9, sd=0.2, tone="sample", title="t"))
        band = root.find("rect")
        assert band is not None
        assert float(band.attrib["x"]) == pytest.approx(46 + 0.7 * 562, abs=0.06)
        assert float(band.attrib["width"]) == pytest.approx(0.3 * 562, abs=0.06)

    def test_mean_and_sd_over_wells(self) -> None:
        assert strip.mean_and_sd(np.array([0.2, 0.4, math.nan])) == pytest.approx((0.3, math.sqrt(0.02)))
        assert np.isnan(strip.mean_and_sd(np.array([0.2]))[1])
        assert np.isnan(strip.mean_and_sd(np.array([math.nan]))).all()

    def test_equal_values_are_spread_and_the_spread_is_reproducible(self) -> None:
        offsets = strip.jitter(np.full(50, 0.5))
        assert np.diff(np.sort(offsets)).min() > 0.25 / 50
        assert np.abs(offsets).max() <= 0.5
        np.testing.assert_array_equal(offsets, strip.jitter(np.full(50, 0.5)))

    def test_no_wells(self) -> None:
        svg = strip.condition_svg([], mean=math.nan, sd=math.nan, tone="sample", title=HOSTILE)
        assert ElementTree.fromstring(svg).attrib["aria-label"] == HOSTILE
        assert "circle" not in svg


class TestChoice:
    def test_nearest_to_the_median_whole_cells_first(self) -> None:
        # Median of 0, .2, .5, .5, .5, 1 is .5: three at the median, of which one is cut and one has more regions.
        chosen = montage.choose_cells(
            occupancy=np.array([0.0, 0.5, 0.5, math.nan, 0.2, 0.5, 1.0]),
            n_endolysosomes=np.array([9, 4, 8, 0, 5, 9, 9]),
            touches_border=np.array([False, False, False, False, False, True, False]),
            count=5,
        )
        assert chosen == [2, 1, 4, 0, 6]

    def test_border_cells_come_when_there_are_no_others(self) -> None:
        some = {"occupancy": np.array([0.5, 0.5]), "n_endolysosomes": np.array([1, 2])}
        assert montage.choose_cells(**some, touches_border=np.array([True, True]), count=3) == [1, 0]

    def test_nothing_to_choose(self) -> None:
        nothing = montage.choose_cells(
            occupancy=np.array([math.nan]), n_endolysosomes=np.array([0]), touches_border=np.array([False]), count=3
        )
        assert nothing == []


class TestCrop:
    def test_shows_the_pixels_in_its_middle(self) -> None:
        inside = np.zeros((50, 60), dtype=bool)
        inside[20:23, 30:33] = True
        assert montage.crop_origin(inside, crop_px=11) == (16, 26)

    def test_stays_within_the_image(self) -> None:
        inside = np.zeros((50, 60), dtype=bool)
        inside[0, 0] = inside[49, 59] = inside[48, 59] = True
        y, x = montage.crop_origin(inside, crop_px=20)
        assert 0 <= y <= 30
        assert x == 40

    def test_of_a_small_image_is_padded_on_both_sides(self) -> None:
        image = np.ones((4, 6), dtype=np.uint16)
        origin = montage.crop_origin(image > 0, crop_px=8)
        assert origin == (-2, -1)
        assert montage.crop(image, origin=origin, crop_px=8).sum() == 24

    @pytest.mark.parametrize(("crop_um", "bar_um"), [(20.0, 5.0), (100.0, 20.0), (1.5, 0.5), (0.2, 0.1)])
    def test_scale_bar(self, crop_um: float, bar_um: float) -> None:
        assert montage.scale_bar_um(crop_um) == bar_um


def two_regions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crop of 105 px (a quarter of a panel): a cell in the left half, an empty and a loaded region in it."""
    cell = np.zeros((105, 105), dtype=bool)
    cell[:, :60] = True
    labels = np.zeros((105, 105), dtype=np.uint32)
    labels[10:20, 10:20], labels[50:60, 10:20], labels[50:60, 80:90] = 3, 7, 9
    plane = np.where(cell, 100, 1000).astype(np.uint16)
    plane[labels == 7] = 300
    return cell, labels, plane


class TestPanels:
    @pytest.fixture
    def panels(self) -> tuple[np.ndarray, np.ndarray]:
        cell, labels, plane = two_regions()
        return montage.panels(
            cargo=plane, lysosome=np.zeros_like(plane), cell=cell, labels=labels, classes={3: 1, 7: 2}, scale_bar_px=25
        )

    def test_outlines_have_the_papers_colours_and_lie_at_the_edges(self, panels: tuple[np.ndarray, np.ndarray]) -> None:
        for colour, top in (((0, 255, 255), 40), ((255, 0, 255), 200)):
            ys, xs = np.nonzero((panels[1] == colour).all(axis=2))
            # Four panel pixels a pixel: the square of 10 pixels spans 40 panel pixels from `top` and 40.
            assert (ys.min(), ys.max(), xs.min(), xs.max()) == (top - 1, top + 40, 39, 80)
            assert not ((ys > top + 5) & (ys < top + 35) & (xs > 45) & (xs < 75)).any()

    def test_the_plain_panel_and_other_cells_have_no_outline(self, panels: tuple[np.ndarray, np.ndarray]) -> None:
        cyan_or_magenta = (panels[0] == (0, 255, 255)).all(axis=2) | (panels[0] == (255, 0, 255)).all(axis=2)
        assert not cyan_or_magenta.any()
        assert (panels[1][:380, 250:, 2] == 0).all()

    def test_contrast_is_the_cells_own(self, panels: tuple[np.ndarray, np.ndarray]) -> None:
        plain = panels[0]
        assert plain[100, 150, 0] == 0
        assert plain[220, 60, 0] == 255

    def test_the_scale_bar_is_drawn_to_scale(self, panels: tuple[np.ndarray, np.ndarray]) -> None:
        assert ((panels[0] == 255).all(axis=2)).sum() == 5 * 100

    def test_png_round_trip_and_equal_bytes(self, panels: tuple[np.ndarray, np.ndarray]) -> None:
        data = montage.png_bytes(panels[1])
        assert data == montage.png_bytes(panels[1].copy())
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), panels[1])

    def test_an_empty_flat_crop_is_black(self) -> None:
        flat = np.full((10, 10), 7, dtype=np.uint16)
        nothing = np.zeros((10, 10), dtype=bool)
        plain, _ = montage.panels(
            cargo=flat, lysosome=flat, cell=nothing, labels=flat.astype(np.uint32) * 0, classes={}, scale_bar_px=0
        )
        assert not plain.any()
