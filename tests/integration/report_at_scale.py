"""The report of a screen of 384 wells and nine fields, from the fields of a project that was run: size, time, clicks.

    python tests/integration/report_at_scale.py demo/project OUT [--wells 384] [--fields 9] [--cores 2]

Fields are hard links to those of the project; every well has its own table rows. Takes minutes, so it is no test.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import pandas as pd

from lysoquant.config.load import load_project
from lysoquant.io.store import PlateStore
from lysoquant.layout import Layout
from lysoquant.record import write_json
from lysoquant.report.params import ReportSettings
from lysoquant.report.step import run
from lysoquant.vocabulary import row_letters

PLATE = "screen"
CLICKS = """async (keys) => {
  const times = [];
  for (const key of keys) {
    const well = document.querySelector(`#live .well[data-well="${key}"]`);
    const before = performance.now();
    well.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    const filled = performance.now();
    const canvas = document.querySelector(".pixels");
    while (canvas && canvas.width === 300) await new Promise((done) => setTimeout(done, 1));
    times.push([filled - before, performance.now() - before]);
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  }
  return times;
}"""


def screen_of(source: Layout, plate: str, out: Path, *, n_wells: int, n_fields: int) -> tuple[Layout, list[str]]:
    """Write the store, the tables and the records of a screen whose fields are those of a plate."""
    layout = Layout(project=out, results=out / "results")
    names = [f"{row_letters(index // 24)}{index % 24 + 1:02d}" for index in range(n_wells)]
    old = PlateStore.open(source.plate_store(plate))
    fields = [(well, index) for well in old.wells for index in range(old.n_fields(well))]
    store = PlateStore.create(
        layout.plate_store(PLATE), name=PLATE, wells=dict.fromkeys(names, n_fields), n_rows=16, n_columns=24
    )
    tables = {name: pd.read_parquet(source.tables / f"{name}.parquet") for name in ("cells", "fields", "endolysosomes")}
    parts = {name: dict(iter(table.groupby(["well", "field"]))) for name, table in tables.items()}
    rows: dict[str, list[pd.DataFrame]] = {name: [] for name in tables}
    for number, well in enumerate(names):
        own: dict[str, list[pd.DataFrame]] = {name: [] for name in tables}
        for index in range(n_fields):
            key = fields[(number * n_fields + index) % len(fields)]
            shutil.copytree(old.field(*key).path, store.field(well, index).path, copy_function=os.link)
            place = {"plate": PLATE, "well": well, "field": index}
            for name in tables:
                own[name].append(parts[name][key].assign(**place))
        folder = layout.well_tables(PLATE, well)
        folder.mkdir(parents=True)
        pd.concat(own["endolysosomes"]).to_parquet(folder / "endolysosomes.parquet")
        for name in tables:
            rows[name] += own[name]
        for stage in ("convert", "cells", "segment", "measure"):
            record: dict[str, Any] = {"stage": stage, "digest": f"{stage} of {well}", "seconds": 1.0}
            write_json(layout.well_record(PLATE, stage, well), record)
    layout.tables.mkdir(parents=True)
    whole = {name: pd.concat(parts) for name, parts in rows.items()}
    for name, table in whole.items():
        table.to_parquet(layout.tables / f"{name}.parquet")
    _write_wells(layout, names, whole["cells"], n_fields)
    write_json(layout.project_work_record("aggregate"), {"digest": "one", "counts": {"wells": n_wells}})
    return layout, names


def _write_wells(layout: Layout, names: list[str], cells: pd.DataFrame, n_fields: int) -> None:
    rng = np.random.default_rng(1)
    numbers = cells.groupby("well")[["n_endolysosomes", "n_empty", "n_loaded"]].sum()
    occupancy = cells.groupby("well")["occupancy"].agg(["mean", "std"])
    wells = pd.DataFrame({"plate": PLATE, "well": names})
    wells["row"], wells["column"] = wells["well"].str[0], wells["well"].str[1:].astype(int)
    wells["condition"] = [f"compound {number // 3 + 1:03d}" for number in range(len(names))]
    controls = {1: ("untreated", "negative"), 24: ("blocked", "positive")}
    for column, (condition, control) in controls.items():
        wells.loc[wells["column"] == column, ["condition", "control"]] = condition, control
    wells["control"] = wells["control"].fillna("") if "control" in wells else ""
    wells["replicate"], wells["flags"], wells["reason"] = "", "", ""
    wells["n_fields"], wells["n_fields_failed"] = n_fields, 0
    wells["n_cells"] = cells.groupby("well").size().reindex(names).to_numpy()
    for name in numbers:
        wells[name] = numbers[name].reindex(names).to_numpy()
    wells["occupancy_mean"] = occupancy["mean"].reindex(names).to_numpy() + rng.normal(0, 0.03, len(names))
    wells["occupancy_mean"] = wells["occupancy_mean"].clip(0, 1)
    wells["occupancy_sd"] = occupancy["std"].reindex(names).to_numpy()
    wells["occupancy_pooled"] = wells["n_loaded"] / wells["n_endolysosomes"]
    wells["robust_z"], wells["b_score"] = rng.normal(size=(2, len(names)))
    wells.to_parquet(layout.tables / "wells.parquet")
    hits = wells[wells["control"] == ""].groupby("condition", as_index=False)["occupancy_mean"].mean()
    hits["effect"] = hits["occupancy_mean"] - hits["occupancy_mean"].median()
    hits["p_adjusted"] = rng.uniform(0.001, 1, len(hits)) ** 2
    hits["is_hit"] = hits["p_adjusted"] < 0.01
    hits["direction"] = np.where(hits["is_hit"], np.where(hits["effect"] > 0, "up", "down"), "")
    hits["rank"] = hits["p_adjusted"].rank(method="first").astype(int)
    keys = (wells["plate"] + ":" + wells["well"]).groupby(wells["condition"]).agg(" ".join)
    hits["wells"] = hits["condition"].map(keys)
    hits.to_csv(layout.tables / "hits.csv", index=False)


def clicks(page: Path, names: list[str], picture: Path) -> tuple[float, list[tuple[float, float]]]:
    """Seconds until the page is there; of each click the milliseconds until the panel is there and its picture."""
    from playwright.sync_api import sync_playwright

    arguments = ["--headless", "--no-sandbox", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        opened = browser.new_page(viewport={"width": 1440, "height": 1000})
        started = time.perf_counter()
        opened.goto(page.as_uri())
        seconds = time.perf_counter() - started
        found: list[tuple[float, float]] = opened.evaluate(CLICKS, names)
        opened.screenshot(path=str(picture))
        browser.close()
    return seconds, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--wells", type=int, default=384)
    parser.add_argument("--fields", type=int, default=9)
    parser.add_argument("--cores", type=int, default=2)
    asked = parser.parse_args()
    loaded = load_project(asked.project.absolute())
    settings = loaded.settings("report")
    assert isinstance(settings, ReportSettings)
    layout, names = screen_of(
        loaded.layout, next(iter(loaded.plates)), asked.out.absolute(), n_wells=asked.wells, n_fields=asked.fields
    )
    for said in ("first", "after a changed plate map"):
        write_json(layout.project_work_record("aggregate"), {"digest": said, "counts": {"wells": len(names)}})
        started = time.perf_counter()
        record = run(
            layout=layout,
            plates={PLATE: names},
            settings=settings,
            record=layout.project_record("report"),
            cores=asked.cores,
        )
        print(f"{said}: {time.perf_counter() - started:.0f} s, {record['counts']}")
    print(f"page: {layout.report.stat().st_size / 1e6:.1f} MB")
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    seconds, times = clicks(layout.report, names[:: max(1, len(names) // 40)], asked.out / "page.png")
    print(f"opened in {seconds:.1f} s")
    for said, index in (("panel filled", 0), ("picture drawn", 1)):
        own = [each[index] for each in times]
        print(
            f"{said}: median {median(own):.0f} ms, 95 % within {quantiles(own, n=20)[-1]:.0f} ms of {len(own)} clicks"
        )


if __name__ == "__main__":
    main()
