"""The report in a real browser: headless Chromium, from disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_project import demo_plates, settings, write_project

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
    run(layout=layout, plates=plates, settings=settings(montage_cells=1), record=layout.project_record("report"))
    return layout.report


class Opened:
    """A page and what it had to say."""

    def __init__(self, browser: Any, path: Path, *, javascript: bool = True) -> None:
        self.page = browser.new_page(viewport={"width": 1280, "height": 900}, java_script_enabled=javascript)
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
    assert opened.page.eval_on_selector_all("img", "all => all.map(img => img.naturalWidth)") == [420] * 8


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


def test_metric_buttons_show_one_map_or_all(opened: Opened) -> None:
    for metric, n_shown in (("occupancy", 1), ("endolysosomes", 1), ("quality", 1), ("all", 3)):
        button = opened.page.locator(f'.switch [data-metric="{metric}"]')
        button.click()
        assert opened.page.locator(".maps figure:visible").count() == n_shown
        assert button.get_attribute("aria-pressed") == "true"


def test_pointer_and_arrow_keys_give_a_wells_numbers(opened: Opened) -> None:
    readout = opened.page.locator(".readout")
    wells = opened.page.locator('figure[data-metric="occupancy"] .well')
    wells.and_(opened.page.locator('[data-well="C04"]')).hover()
    assert readout.inner_text().startswith("C04 · LIR mutant · negative control · replicate 2 · occupancy 0.")
    wells.first.focus()
    for key, well in (("ArrowRight", "B04"), ("ArrowDown", "C04"), ("ArrowLeft", "C03"), ("ArrowUp", "B03")):
        opened.page.keyboard.press(key)
        assert readout.inner_text().startswith(f"{well} ·")


def test_without_javascript_all_content_is_there(browser: Any, report: Path) -> None:
    found = Opened(browser, report, javascript=False)
    assert found.page.locator(".maps figure:visible").count() == 3
    assert found.page.locator(".switch:visible").count() == 0
    assert found.page.locator("#table-wells tbody tr:visible").count() == 13
    found.page.close()


def test_an_injected_script_would_not_run(browser: Any, report: Path, tmp_path: Path) -> None:
    tampered = tmp_path / "tampered.html"
    html = report.read_text(encoding="utf-8")
    tampered.write_text(html.replace("</main>", "<script>document.title = 'owned'</script></main>"), encoding="utf-8")
    found = Opened(browser, tampered)
    assert found.page.title() == "Endolysosome occupancy"
    found.page.close()
