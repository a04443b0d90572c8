"""The report in a real browser: headless Chromium, from disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_at_scale import CLICKS, PLATE, screen_of
from report_project import FakeWell, demo_plates, settings, write_project, write_screen

from lysoquant.layout import Layout
from lysoquant.report.step import run

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def _no_browser(reason: str) -> None:
    if os.environ.get("LYSOQUANT_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{reason}, and LYSOQUANT_REQUIRE_BROWSER is 1")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _no_browser("playwright is not installed")
    if not CHROMIUM.exists():
        _no_browser(f"there is no {CHROMIUM}")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    layout = Layout(project=folder, results=folder / "results")
    plates = write_project(layout, demo_plates())
    write_screen(layout, hits=["wild type"])
    some = settings(montage_cells=1, strange_cells=1)
    run(layout=layout, plates=plates, settings=some, record=layout.project_record("report"))
    return layout.report


class Opened:
    """A page and what it had to say."""

    def __init__(self, browser: Any, path: Path, *, javascript: bool = True, scheme: str = "light") -> None:
        size = {"width": 1280, "height": 900}
        self.path = path
        self.page = browser.new_page(viewport=size, java_script_enabled=javascript, color_scheme=scheme)
        self.page.set_default_timeout(8000)
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    found = Opened(browser, report)
    yield found
    found.page.close()


def test_opens_from_disk_with_a_clean_console_and_no_network(opened: Opened, report: Path, tmp_path: Path) -> None:
    picture = tmp_path / "report.png"
    opened.page.screenshot(path=str(picture), full_page=True, caret="initial")
    assert opened.said == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [report.as_uri()]
    assert picture.stat().st_size > 50_000
    assert opened.page.eval_on_selector_all("img", "all => all.map(img => img.naturalWidth)") == [420] * 16


def test_nothing_is_wider_than_the_window(opened: Opened) -> None:
    for width in (1280, 800, 400):
        opened.page.set_viewport_size({"width": width, "height": 900})
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_sorting_by_click_both_ways_keeps_the_undefined_last(opened: Opened) -> None:
    def column() -> list[str]:
        found: list[str] = opened.page.eval_on_selector_all(
            "#table-wells tbody tr", f"rows => rows.map(row => row.cells[{index}].dataset.value)"
        )
        return found

    keys = opened.page.eval_on_selector_all("#table-wells thead th", "all => all.map(th => th.title)")
    index = keys.index("occupancy_mean")
    heading = opened.page.locator('#table-wells th[title="occupancy_mean"]')
    for order in ("descending", "ascending"):
        heading.locator("button").click()
        values = column()
        numbers = [float(value) for value in values[:-2]]
        assert numbers == sorted(numbers, reverse=order == "descending")
        assert values[-2:] == ["", ""]
        assert heading.get_attribute("aria-sort") == order
    opened.page.locator('#table-wells th[title="well"] button').click()
    assert heading.get_attribute("aria-sort") is None
    assert opened.said == []


def well(opened: Opened, name: str) -> Any:
    return opened.page.locator(f'#live .well[data-well="{name}"]')


def focused(opened: Opened) -> str:
    return str(opened.page.evaluate("document.activeElement.dataset.well || document.activeElement.id"))


def test_any_measurement_as_heat_map(opened: Opened) -> None:
    def fills() -> dict[str, str]:
        found: dict[str, str] = opened.page.eval_on_selector_all(
            "#live .well",
            "all => Object.fromEntries(all.map(g => [g.dataset.well, g.querySelector('rect').getAttribute('fill')]))",
        )
        return found

    options = opened.page.eval_on_selector_all("#measure option", "all => all.map(each => each.textContent)")
    assert options[:3] == ["Occupancy", "Endolysosomes", "Cells"]
    for name in ("dose", "Endolysosomes’ area, µm² (mean of cells)", "Touches the border (share of cells)"):
        assert name in options
    assert "Robust z" not in options, "a measurement without a number is offered"
    first = fills()
    assert (first["D05"], first["F03"]) == ("url(#hatch-failed)", "url(#hatch-undefined)")
    opened.page.select_option("#measure", label="Touches the border (share of cells)")
    # One of four cells of every field touches the border.
    assert {fill for name, fill in fills().items() if name != "D05"} == {"#3b528a"}
    assert opened.page.locator("#legend svg").get_attribute("aria-label") == (
        "Touches the border (share of cells) from 0.00 to 1.00"
    )
    opened.page.select_option("#measure", label="Occupancy")
    assert fills() == first
    opened.page.locator("#stretch").click()
    stretched = [fill for name, fill in fills().items() if name not in ("D05", "F03")]
    assert {"#440154", "#fde725"} <= set(stretched), "the least and the most occupied well have the ends of the scale"
    opened.page.select_option("#measure", label="dose")
    assert fills()["C03"] == "url(#hatch-undefined)"
    assert fills()["D03"] == "#440154"
    assert opened.said == []


def test_pointer_and_arrow_keys_give_a_wells_numbers(opened: Opened) -> None:
    tip = opened.page.locator("#tip")
    well(opened, "C04").hover()
    assert tip.inner_text().startswith("C04 · LIR mutant · negative control · replicate 2\noccupancy 0.")
    opened.page.mouse.move(5, 5)
    assert not tip.is_visible()
    assert opened.page.locator('#live .well[tabindex="0"]').count() == 1
    well(opened, "B03").focus()
    steps = (("ArrowRight", "B04"), ("ArrowDown", "C04"), ("ArrowLeft", "C03"), ("ArrowUp", "B03"), ("End", "B05"))
    for key, name in steps:
        opened.page.keyboard.press(key)
        assert focused(opened) == name
        assert tip.inner_text().startswith(f"{name} ·")
        assert opened.page.locator('#live .well[tabindex="0"]').count() == 1


def test_a_well_opens_by_click_or_enter_and_closes_by_escape(opened: Opened) -> None:
    panel = opened.page.locator("#panel")
    assert "No well is open" in panel.inner_text()
    well(opened, "E04").click()
    assert panel.locator("h3").inner_text().split() == ["E04", "screen-1"]
    assert panel.locator(".field").count() == 2
    assert panel.locator(".field.flagged").count() == 1
    assert panel.locator(".cells-of-well tbody tr").count() == 8
    assert focused(opened) == "panel"
    panel.locator(".field").nth(1).click()
    assert "1.4 % of the pixels of SEC62 are saturated" in panel.locator(".caption").inner_text()
    opened.page.keyboard.press("Escape")
    assert "No well is open" in panel.inner_text()
    well(opened, "C05").focus()
    opened.page.keyboard.press("Enter")
    assert panel.locator("h3").inner_text().startswith("C05")
    assert panel.locator(".why").inner_text() == "failed fields"
    panel.locator(".field").nth(1).click()
    assert "failed, so there is no picture" in panel.locator(".caption").inner_text()
    panel.locator(".close").click()
    assert focused(opened) == "C05"
    assert opened.said == []


BRIGHTEST = """() => {
  const shown = document.querySelector(".pixels");
  const canvas = Object.assign(document.createElement("canvas"), { width: shown.width, height: shown.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(shown, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const found = [0, 0, 0];
  data.forEach((value, i) => { if (i % 4 < 3 && value > found[i % 4]) found[i % 4] = value; });
  return found;
}"""


def test_a_fields_pixels_and_outlines_can_be_switched(opened: Opened) -> None:
    well(opened, "B03").click()
    panel = opened.page.locator("#panel")
    opened.page.wait_for_function("document.querySelector('.pixels').width === 320")
    # A field of 320 pixels has 320 in the picture; the outlines' grid is twice as fine.
    assert panel.locator(".overlay").get_attribute("viewBox") == "0 0 640 640"
    assert panel.locator(".overlay .outline").count() == 4
    cells = pd.read_parquet(opened.path.parents[1] / "tables" / "cells.parquet")
    own = cells[(cells["well"] == "B03") & (cells["field"] == 0)]
    drawn = {kind: panel.locator(f".overlay .{kind}").get_attribute("d").count("M") for kind in ("empty", "loaded")}
    assert drawn == {"empty": own["n_empty"].sum(), "loaded": own["n_loaded"].sum()}
    red, green, blue = opened.page.evaluate(BRIGHTEST)
    assert min(red, green) > 200
    assert blue == 0
    panel.locator('select[aria-label="Channels"]').select_option("cargo")
    opened.page.wait_for_timeout(200)
    red, green, blue = opened.page.evaluate(BRIGHTEST)
    assert red == green == blue > 200
    panel.locator("label.box", has_text="endolysosomes").locator("input").click()
    assert not panel.locator(".overlay .empty").is_visible()
    panel.locator("label.box", has_text="cells").locator("input").click()
    assert panel.locator(".overlay .outline:visible").count() == 0
    # A row of the list of cells shows its cell, by pointer and by keys.
    panel.locator(".cells-of-well tbody tr").nth(5).click()
    assert panel.locator(".outline.lit").get_attribute("data-cell") == "2"
    assert panel.locator('.field[aria-pressed="true"]').get_attribute("aria-label") == "Field 1, ok"
    opened.page.keyboard.press("ArrowUp")
    assert panel.locator(".outline.lit").get_attribute("data-cell") == "1"
    assert opened.said == []


def test_finding_and_filtering(opened: Opened) -> None:
    dim = opened.page.locator("#live .well.dim")
    opened.page.keyboard.press("/")
    assert focused(opened) == "find"
    opened.page.keyboard.type("knock")
    assert dim.count() == 13 - 3
    opened.page.keyboard.press("Escape")
    assert dim.count() == 0
    opened.page.keyboard.type("c4")
    assert dim.count() == 12
    opened.page.keyboard.press("Enter")
    assert opened.page.locator("#panel h3").inner_text().startswith("C04")
    opened.page.select_option("#condition", label="wild type")
    assert dim.count() == 10
    opened.page.locator("#clear").click()
    assert dim.count() == 0


def test_conditions_by_any_measurement_of_cells(opened: Opened) -> None:
    row = opened.page.locator('.strips tr[data-condition="wild type"]')
    first = row.inner_html()
    opened.page.select_option("#strip-measure", label="endolysosomes’ area, µm²")
    assert row.locator(".well-mean").count() == 2, "two of three wells have cells"
    n_dots = row.locator("path.cells").evaluate_all(
        "all => all.map(path => path.getAttribute('d').split('h0').length - 1)"
    )
    assert n_dots == [8, 8], "two fields of four cells in either well"
    assert "±" in row.locator("td.num").inner_text()
    opened.page.select_option("#strip-measure", label="occupancy")
    assert row.inner_html() == first
    row.locator(".well-mean").first.click()
    assert opened.page.locator("#panel h3").inner_text().startswith("D03")


def test_hits_lead_to_their_wells(opened: Opened) -> None:
    assert opened.page.locator("#hits svg circle").count() == 2, "one of three has no effect"
    hit = opened.page.locator("#hits svg circle.hit")
    assert hit.get_attribute("data-condition") == "wild type"
    hit.focus()
    opened.page.keyboard.press("Enter")
    assert opened.page.locator("#live .well.dim").count() == 10
    assert opened.page.locator("#panel h3").inner_text().startswith("D03")
    opened.page.keyboard.press("Escape")
    assert opened.page.evaluate("document.activeElement.dataset.condition") == "wild type"
    opened.page.locator("#table-hits button.link", has_text="knock-out").click()
    assert opened.page.locator("#panel h3").inner_text().startswith("E03")
    opened.page.locator("#table-wells button.link", has_text="B04").click()
    assert opened.page.locator("#panel h3").inner_text().startswith("B04")
    assert opened.said == []


def test_hits_and_controls_are_seen_on_the_plate_and_told_in_the_panel(opened: Opened) -> None:
    signs = opened.page.eval_on_selector_all(
        "#live .well .sign", "all => all.map(text => `${text.closest('.well').dataset.well}${text.textContent}`)"
    )
    assert {"B03+", "C03−", "D03▲"} <= set(signs)
    assert not any(sign.startswith("E") for sign in signs), "no sign of what is no hit"
    opened.page.select_option("#condition", label="hits (3 wells)")
    assert opened.page.locator("#live .well:not(.dim)").count() == 3
    opened.page.locator("#clear").click()
    well(opened, "D03").click()
    told = opened.page.locator("#panel .screened")
    assert told.inner_text().startswith("hit wild type: hit, effect 0.")
    assert opened.page.locator("#panel .cell-strip .tick").all_text_contents() == ["0", "0.25", "0.5", "0.75", "1"]
    told.locator("button.link", has_text="D04").click()
    assert opened.page.locator("#panel h3").inner_text().startswith("D04")
    well(opened, "E03").click()
    assert opened.page.locator("#panel .screened").inner_text().startswith("knock-out: no hit")
    well(opened, "B03").click()
    assert opened.page.locator("#panel .screened").count() == 0
    assert opened.said == []


def test_the_methods_can_be_copied(opened: Opened) -> None:
    opened.page.locator("#copy-methods").click()
    assert opened.page.evaluate("window.getSelection().toString()").startswith("Images of RAB7 (lysosome)")
    assert opened.page.locator("#copied").inner_text() in ("Copied.", "Selected; copy it with Ctrl+C.")


def test_print_shows_the_static_maps_and_all_sections(opened: Opened) -> None:
    opened.page.emulate_media(media="print")
    assert opened.page.locator(".maps figure:visible").count() == 3
    assert opened.page.locator("#panel:visible, .bar:visible, nav:visible").count() == 0
    assert opened.page.locator("main > section:visible").count() == 9
    assert opened.page.locator("#table-hits .minor").count() > 0
    assert opened.page.locator("#table-hits .minor:visible").count() == 0, "what would make a table too wide for paper"
    opened.page.emulate_media(media="screen")
    opened.page.select_option("#measure", label="Cells")
    opened.page.emulate_media(media="print")
    assert opened.page.locator("#live svg.plate:visible").count() == 1, "a chosen measurement is printed too"


CONTRASTS = """() => {
  const luminance = (element) => {
    const linear = getComputedStyle(element).color.match(/\\d+/g).slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = "var(--page)";
  const page = luminance(probe);
  return ["body", ".lead", "nav a", ".tag.failed", ".tag.flagged", ".tag.positive", "svg.chart .axis"].map((name) => {
    const text = luminance(document.querySelector(name));
    return (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_by_wcag(browser: Any, report: Path, scheme: str) -> None:
    found = Opened(browser, report, scheme=scheme)
    assert min(found.page.evaluate(CONTRASTS)) >= 4.5
    found.page.close()


def test_without_javascript_all_content_is_there(browser: Any, report: Path) -> None:
    found = Opened(browser, report, javascript=False)
    assert found.page.locator(".maps figure:visible").count() == 3
    assert found.page.locator(".bar:visible, .live-only:visible, #panel:visible").count() == 0
    assert found.page.locator("#table-wells tbody tr:visible").count() == 13
    assert found.page.locator("#hits svg:visible, #dose svg:visible").count() == 2
    found.page.close()


def test_a_project_without_wells_opens_cleanly(browser: Any, tmp_path: Path) -> None:
    layout = Layout(project=tmp_path, results=tmp_path / "results")
    run(layout=layout, plates=write_project(layout, {}), settings=settings(), record=layout.project_record("report"))
    found = Opened(browser, layout.report)
    assert found.said == []
    assert found.page.locator(".explorer:visible").count() == 0
    assert "There is no well to show." in found.page.inner_text("main")
    found.page.close()


def test_an_injected_script_would_not_run(browser: Any, report: Path, tmp_path: Path) -> None:
    tampered = tmp_path / "tampered.html"
    html = report.read_text(encoding="utf-8")
    tampered.write_text(html.replace("</main>", "<script>document.title = 'owned'</script></main>"), encoding="utf-8")
    found = Opened(browser, tampered)
    assert found.page.title() == "Endolysosome occupancy"
    found.page.close()


def test_a_plate_of_384_wells_answers_a_click_at_once(browser: Any, tmp_path: Path) -> None:
    """Tables and pictures of 384 wells; what nine fields a well take is measured by report_at_scale.py."""
    source = Layout(project=tmp_path / "source", results=tmp_path / "source")
    write_project(source, {"p": {"A01": FakeWell("a", n_fields=2), "A02": FakeWell("b", n_fields=1)}})
    layout, names = screen_of(source, "p", tmp_path / "screen", n_wells=384, n_fields=1)
    some = settings(montage_cells=1, strange_cells=0)
    record = run(layout=layout, plates={PLATE: names}, settings=some, record=layout.project_record("report"), cores=2)
    assert record["counts"]["fields"] == 384
    assert layout.report.stat().st_size < 45_000_000
    found = Opened(browser, layout.report)
    assert found.page.locator("#live .well").count() == 384
    assert found.page.locator("#panel *").count() == 1, "nothing of a well is made before it is looked at"
    times = [filled for filled, _ in found.page.evaluate(CLICKS, names[::16])]
    assert len(times) == 24
    # Some 10 ms; the bound holds on a machine that is busy with other tests.
    assert sorted(times)[len(times) // 2] < 100
    assert found.page.locator("#panel .cells-of-well tbody tr").count() == 4
    assert found.page.locator("#live .well.open").count() == 1
    assert found.said == []
    found.page.close()
