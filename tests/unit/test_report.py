"""The report of a project: what it says, that nothing in it is live, and when it is written again."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from report_project import TRUNCATED, FakeWell, demo_plates, settings, write_project, write_screen

from lysoquant.errors import StageError
from lysoquant.layout import Layout
from lysoquant.record import write_json
from lysoquant.report import page, wording
from lysoquant.report.step import run

HOSTILE = "<script>alert(1)</script>\"'{{7*7}}</style>&amp;"


class Reader(HTMLParser):
    """Elements, attributes and text of a page, as a browser would find them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def report(layout: Layout, plates: dict[str, dict[str, FakeWell]], **params: object) -> str:
    wells = write_project(layout, plates)
    run(layout=layout, plates=wells, settings=settings(**params), record=layout.project_record("report"))
    return layout.report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, str]:
    folder = tmp_path_factory.mktemp("demo")
    layout = Layout(project=folder, results=folder / "results")
    return layout, report(layout, demo_plates(), montage_cells=1, strange_cells=0)


class TestDemo:
    def test_the_verdict_counts(self, demo: tuple[Layout, str]) -> None:
        layout, html = demo
        wells = pd.read_parquet(layout.tables / "wells.parquet")
        said = Reader(html).text
        n, loaded = wells["n_endolysosomes"].sum(), wells["n_loaded"].sum()
        # 13 wells of 4 cells a field; 24 + 1 fields, of which 3 failed.
        assert f"13 wells on 1 plate: 88 cells with {n} endolysosomes, {loaded} of them loaded" in said
        assert "3 of 25 fields failed, 1 flagged." in said

    def test_every_cell_is_a_dot_or_is_counted(self, demo: tuple[Layout, str]) -> None:
        layout, html = demo
        cells = pd.read_parquet(layout.tables / "cells.parquet")
        assert len(re.findall(r'<circle class="cell', html)) == cells["occupancy"].notna().sum() == 84
        assert "1 well, 4 cells, 4 without endolysosomes, not drawn" in Reader(html).text

    def test_three_maps_of_a_whole_plate(self, demo: tuple[Layout, str]) -> None:
        html = demo[1]
        assert html.count('<svg class="plate"') == 3
        assert html.count('data-well="D05"') == 3
        assert html.count('class="well failed"') == 3
        maps = html.split('<svg class="plate"')[1:4]
        assert [one.split("</svg>")[0].count("hatch-absent") for one in maps] == [96 - 13] * 3

    def test_controls_come_first(self, demo: tuple[Layout, str]) -> None:
        rows = [row.strip() for row in re.findall(r'<tr data-condition="[^"]*"><th scope="row">([^<]+)', demo[1])]
        assert rows == ["LIR mutant", "active receptor", "wild type", "knock-out", "untransfected"]

    def test_one_pair_of_pictures_a_condition_with_endolysosomes(self, demo: tuple[Layout, str]) -> None:
        html = demo[1]
        assert html.count("data:image/jpeg;base64,") == 8
        assert "No endolysosome, so no picture: untransfected." in Reader(html).text

    def test_quality_names_reason_and_place(self, demo: tuple[Layout, str]) -> None:
        said = Reader(demo[1]).text
        assert f"failed {TRUNCATED} 3 screen-1 C05 field 1; D05 field 0, 1" in said
        assert "saturated 1 screen-1 E04 field 1" in said
        assert "screen-1 F03 few endolysosomes" in said

    def test_model_versions_time_and_settings(self, demo: tuple[Layout, str]) -> None:
        said = Reader(demo[1]).text
        for words in ("ab" * 32, "name rings-1", "F1 0.914", "numpy 2.3.0", "min_area_um2: 0.13"):
            assert words in said
        assert "segment 13 6 min 30 s" in said

    def test_columns_without_content_are_named(self, demo: tuple[Layout, str]) -> None:
        assert "nothing is in them: robust_z, b_score." in Reader(demo[1]).text

    def test_nothing_is_fetched(self, demo: tuple[Layout, str]) -> None:
        reader = Reader(demo[1])
        links = [value for name, value in reader.attributes if name in ("src", "href", "xlink:href", "action", "data")]
        assert {link.split(":")[0] if link.startswith("data:") else link[0] for link in links} == {"data", "#"}
        assert "http:" not in demo[1]
        assert "https:" not in demo[1]
        assert "@import" not in demo[1]
        policy = next(value for name, value in reader.attributes if value.startswith("default-src"))
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none';")

    def test_ids_are_unique_and_internal_links_lead_somewhere(self, demo: tuple[Layout, str]) -> None:
        attributes = Reader(demo[1]).attributes
        ids = [value for name, value in attributes if name == "id"]
        assert len(ids) == len(set(ids))
        assert {v[1:] for n, v in attributes if n == "href" and v.startswith("#")} <= set(ids)


class TestEscaping:
    def test_hostile_names_are_never_live(self, layout: Layout) -> None:
        wells = {
            "B03": FakeWell(HOSTILE, HOSTILE, HOSTILE, n_regions=3, flags=HOSTILE),
            "B04": FakeWell(HOSTILE, "", "1", n_fields=1, flagged={0: HOSTILE}, n_regions=3),
        }
        plates = {"p": wells}
        wells["B05"] = FakeWell(f"{HOSTILE} sample", dose="1", n_regions=3)
        wells_by_plate = write_project(layout, plates)
        write_screen(layout, hits=[f"{HOSTILE} sample"])
        hostile = settings(title=HOSTILE)
        hostile = hostile.model_copy(update={"config": {HOSTILE: HOSTILE}})
        run(layout=layout, plates=wells_by_plate, settings=hostile, record=layout.project_record("report"))
        reader = Reader(layout.report.read_text(encoding="utf-8"))
        # The one script, and of data: that of the page, of one plate's cells, and of the three wells' pictures.
        assert [kind for name, kind in reader.attributes if name == "type"].count("application/json") == 5
        assert reader.tags.count("script") == 1 + 5
        assert reader.tags.count("style") == 1
        assert not [name for name, _ in reader.attributes if name.startswith("on")]
        assert "{{7*7}}" in reader.text
        assert "49" not in reader.text.split("Plates")[0]
        assert HOSTILE in reader.texts


class TestMissingPieces:
    def test_no_conditions(self, layout: Layout) -> None:
        said = Reader(report(layout, {"p": {"A01": FakeWell(n_regions=4)}})).text
        assert "The plate map names no condition" in said
        assert "No conditions: the plate map names none." in said
        assert "No comparison" in said

    def test_all_fields_failed(self, layout: Layout) -> None:
        said = Reader(report(layout, {"p": {"A01": FakeWell("wt", failed=(0,))}})).text
        assert "Nothing could be measured in 1 well on 1 plate: all 1 field failed." in said
        assert "No picture: no cell has an endolysosome." in said

    def test_no_cells_no_wells_no_tables_of_conditions(self, layout: Layout) -> None:
        wells = write_project(layout, {})
        for name in ("conditions.csv", "statistics.csv"):
            (layout.tables / name).unlink()
        run(layout=layout, plates=wells, settings=settings(), record=layout.project_record("report"))
        said = Reader(layout.report.read_text(encoding="utf-8")).text
        for words in ("There is no well to show.", "There is no cell to show.", "No model is on record."):
            assert words in said

    def test_pixels_that_cannot_be_read_are_said(self, layout: Layout) -> None:
        wells = write_project(layout, {"p": {"A01": FakeWell("wt", n_regions=4)}}, with_store=False)
        run(layout=layout, plates=wells, settings=settings(), record=layout.project_record("report"))
        html = layout.report.read_text(encoding="utf-8")
        assert "no picture: field A/01/0" in html or "no picture: field A01/0" in html
        assert "data:image/jpeg" not in html
        assert '"image":' not in html

    def test_pictures_can_be_switched_off(self, layout: Layout) -> None:
        assert (
            "No picture: report.montage_cells and report.strange_cells are 0."
            in Reader(
                report(layout, {"p": {"A01": FakeWell("wt", n_regions=4)}}, montage_cells=0, strange_cells=0)
            ).text
        )

    def test_a_condition_may_be_called_na(self, layout: Layout) -> None:
        html = report(layout, {"p": {"A01": FakeWell("NA", n_regions=4), "A02": FakeWell("nan", n_regions=4)}})
        assert '<td data-value="NA">NA</td>' in html
        assert '<td data-value="nan">nan</td>' in html

    def test_without_aggregate_it_says_what_to_run(self, layout: Layout) -> None:
        with pytest.raises(StageError, match="run `lysoquant aggregate"):
            run(layout=layout, plates={"p": ["A01"]}, settings=settings(), record=layout.project_record("report"))


class TestReruns:
    @pytest.fixture
    def plates(self, layout: Layout) -> dict[str, list[str]]:
        return write_project(layout, {"p": {"A01": FakeWell("wt", n_regions=3), "B02": FakeWell("ko", n_regions=3)}})

    def test_unchanged_is_not_written_again(self, layout: Layout, plates: dict[str, list[str]]) -> None:
        record = layout.project_record("report")
        first = run(layout=layout, plates=plates, settings=settings(), record=record)
        time = layout.report.stat().st_mtime_ns
        record.unlink()
        assert run(layout=layout, plates={"p": ["B02", "A01"]}, settings=settings(), record=record) == first
        assert layout.report.stat().st_mtime_ns == time
        assert record.is_file()

    def test_equal_input_gives_equal_bytes(self, layout: Layout, plates: dict[str, list[str]]) -> None:
        first = run(layout=layout, plates=plates, settings=settings(), record=layout.project_record("report"))
        page = layout.report.read_bytes()
        layout.report.unlink()
        again = run(layout=layout, plates=plates, settings=settings(), record=layout.project_record("report"))
        assert layout.report.read_bytes() == page
        assert again["digest"] == first["digest"]

    @pytest.mark.parametrize("change", ["settings", "tables", "pixels"])
    def test_a_change_writes_it_again(self, layout: Layout, plates: dict[str, list[str]], change: str) -> None:
        record = layout.project_record("report")

        def once(title: str) -> str:
            return str(run(layout=layout, plates=plates, settings=settings(title=title), record=record)["key"])

        first = once("a")
        if change == "tables":
            write_json(layout.project_work_record("aggregate"), {"digest": "aggregate-2"})
        if change == "pixels":
            write_json(layout.well_record("p", "segment", "A01"), {"digest": "segment-2"})
        assert once("b" if change == "settings" else "a") != first


class TestPictures:
    PLATE = {"A01": FakeWell("wt", n_fields=2, n_regions=3), "B02": FakeWell("ko", n_regions=3)}  # noqa: RUF012

    def counts(self, layout: Layout, plates: dict[str, list[str]], **params: object) -> tuple[int, int]:
        some = settings(montage_cells=0, strange_cells=0, **params)
        record = run(layout=layout, plates=plates, settings=some, record=layout.project_record("report"))
        return record["counts"]["fields"], record["counts"]["fields_made"]

    def test_are_made_once_and_again_only_where_a_record_changed(self, layout: Layout) -> None:
        plates = write_project(layout, {"p": self.PLATE})
        assert self.counts(layout, plates) == (3, 3)
        write_json(layout.project_work_record("aggregate"), {"digest": "another plate map"})
        assert self.counts(layout, plates) == (3, 0)
        write_json(layout.well_record("p", "segment", "A01"), {"digest": "segment-2"})
        assert self.counts(layout, plates) == (3, 2)
        layout.well_pictures("p", "B02").write_text("damaged")
        write_json(layout.project_work_record("aggregate"), {"digest": "a third"})
        assert self.counts(layout, plates) == (3, 1)

    def test_do_not_depend_on_the_cores_or_on_what_was_kept(self, layout: Layout) -> None:
        plates = write_project(layout, {"p": self.PLATE})
        run(layout=layout, plates=plates, settings=settings(), record=layout.project_record("report"), cores=3)
        page = layout.report.read_bytes()
        write_json(layout.project_work_record("aggregate"), {"digest": "another"})
        run(layout=layout, plates=plates, settings=settings(title="b"), record=layout.project_record("report"))
        layout.report.unlink()
        write_json(layout.project_work_record("aggregate"), {"digest": "aggregate-1", "seconds": 1.5})
        run(layout=layout, plates=plates, settings=settings(), record=layout.project_record("report"), cores=1)
        again = layout.report.read_bytes()
        blocks = [re.findall(rb'<script type="application/json".*?</script>', text) for text in (page, again)]
        assert blocks[0] == blocks[1]
        assert len(blocks[0]) == 1 + 1 + 2

    def test_the_page_stays_below_its_largest_size_and_says_what_it_left_out(self, layout: Layout) -> None:
        wells = {f"{row}{column:02d}": FakeWell("wt", n_fields=3) for row in "ABC" for column in range(1, 5)}
        plates = write_project(layout, {"p": wells})
        assert self.counts(layout, plates) == (36, 36)
        large = layout.report.stat().st_size
        assert self.counts(layout, plates, max_mb=0.4) == (24, 24), "two of three fields of every well"
        html = layout.report.read_text(encoding="utf-8")
        assert len(html.encode()) <= 400_000 < large
        assert "12 of 36 fields are left out (report.max_mb)." in html
        assert html.count("left out to keep the page small") == 12

    def test_a_field_that_cannot_be_read_has_its_reason_in_place_of_the_picture(self, layout: Layout) -> None:
        plates = write_project(layout, {"p": self.PLATE})
        field = layout.plate_store("p") / "A" / "01" / "1"
        for path in (field / "0" / "c").rglob("*"):
            if path.is_file():
                path.unlink()
        assert self.counts(layout, plates) == (2, 2)
        assert "no picture: field A01/1" in layout.report.read_text(encoding="utf-8")


class TestWording:
    def test_durations(self) -> None:
        said = [wording.duration(seconds) for seconds in (8.44, 60, 200, 7500)]
        assert said == ["8.4 s", "1 min 0 s", "3 min 20 s", "2 h 5 min"]

    def test_numbers(self) -> None:
        said = [wording.number(value) for value in (0.0, 0.61, -12.345, 1234.5, 0.00004, float("nan"))]
        assert said == ["0.000", "0.610", "−12.35", "1,234", "4.0e−05", "–"]

    def test_lists(self) -> None:
        assert [wording.listing(words) for words in ([], ["a"], ["a", "b", "c"])] == ["", "a", "a, b and c"]


def test_package_files_travel_with_the_package() -> None:
    folder = Path(wording.__file__).parent
    assert (folder / "template.html").is_file()
    assert (folder / "assets" / "style.css").is_file()
    scripts = {path.stem for path in (folder / "assets").glob("*.js")}
    assert scripts == set(page._SCRIPTS), "a part of the script that the page does not have, or the other way round"


def test_of_many_conditions_controls_and_hits_are_seen_first(tmp_path: Path) -> None:
    names = [f"{row}{column:02}" for row in "ABC" for column in range(1, 11)]
    wells = {
        name: FakeWell(condition=f"si{number:02}", occupancy=0.9 - 0.02 * number, n_regions=4)
        for number, name in enumerate(names)
    }
    wells["C10"] = FakeWell(condition="untreated", control="negative", occupancy=0.2, n_regions=4)
    layout = Layout(project=tmp_path, results=tmp_path / "results")
    plates = write_project(layout, {"P": wells})
    write_screen(layout, hits=["si27"])
    chosen = settings(montage_cells=1, strange_cells=0)
    run(layout=layout, plates=plates, settings=chosen, record=layout.project_record("report"))
    html = layout.report.read_text(encoding="utf-8")
    at_once, folded = html.split('<section id="conditions"')[1].split("</section>")[0].split("<details>")
    rows = [re.findall(r'<tr data-condition="(\w+)"', part) for part in (at_once, folded)]
    assert rows[0][:2] == ["untreated", "si27"]
    assert (len(rows[0]), len(rows[1])) == (24, 6)
    assert "6 more conditions" in folded
    montage = html.split('<section id="montage"')[1].split("</section>")[0]
    pictured = re.findall(r"<h3>(\w+)", montage)
    assert pictured[:2] == ["si27", "untreated"]
    assert len(pictured) == 24
    assert "Of 30 conditions 24 are pictured" in montage
