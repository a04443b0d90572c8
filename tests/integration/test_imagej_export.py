"""What `lysoquant export imagej` writes, opened and measured by a real ImageJ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from export_project import CHANNELS, make_measured
from imagej_macro import run_macro

from lysoquant.cli.main import invoke
from lysoquant.export.imagej import region_outlines
from lysoquant.io.store import PlateStore
from lysoquant.io.tables import read_parquet

MEASURED = ("Area", "Mean", "X", "Y", "Perim.", "Circ.", "Feret", "MinFeret", "AR", "Round", "Solidity")
MACRO = """
folder = getArgument();
setBatchMode(true);
columns = newArray("COLUMNS");
file = File.open(folder + "measured.csv");
line = "zip,name,channel,colour,kind";
for (m = 0; m < columns.length; m++) line += "," + columns[m];
print(file, line);
names = getFileList(folder);
for (i = 0; i < names.length; i++) {
  if (endsWith(names[i], ".tif")) {
    open(folder + names[i]);
    getDimensions(width, height, channels, slices, frames);
    kinds = newArray("cells", "endolysosomes");
    for (k = 0; k < 2; k++) {
      zip = replace(names[i], ".tif", "_" + kinds[k] + ".zip");
      run("Remove Overlay");
      if (File.exists(folder + zip)) {
        roiManager("reset");
        roiManager("open", folder + zip);
        run("From ROI Manager");
      }
      for (c = 1; c <= channels; c++) {
        Stack.setChannel(c);
        for (r = 0; r < Overlay.size; r++) {
          Overlay.activateSelection(r);
          line = zip + "," + Roi.getName + "," + c + "," + Roi.getStrokeColor + "," + Roi.getType;
          List.setMeasurements;
          for (m = 0; m < columns.length; m++) line += "," + List.get(columns[m]);
          print(file, line);
        }
      }
    }
    run("Close All");
  }
}
File.close(file);
run("Quit");
""".replace("COLUMNS", '", "'.join(MEASURED))


def largest_difference(theirs: pd.Series, ours: pd.Series) -> float:
    assert len(theirs) == len(ours) > 0
    gap = np.abs(theirs.to_numpy() - ours.to_numpy()) / np.maximum(1.0, np.abs(theirs.to_numpy()))
    return float(gap.max())


@pytest.fixture(scope="module")
def exported(imagej: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project, and its plate P1 exported, opened and measured."""
    folder = tmp_path_factory.mktemp("imagej")
    make_measured(folder / "project")
    arguments = ["--output", str(folder / "out"), "--plate", "P1", "--images"]
    assert invoke(["export", "imagej", str(folder / "project"), *arguments]) == 0
    run_macro(imagej, MACRO, folder / "out" / "P1")
    return folder / "project", folder / "out" / "P1"


def test_imagej_measures_every_endolysosome_as_the_table_says(exported: tuple[Path, Path]) -> None:
    project, folder = exported
    theirs = pd.read_csv(folder / "measured.csv")
    theirs = theirs[theirs["zip"].str.endswith("_endolysosomes.zip")]
    results = pd.read_csv(folder / "Results.csv")
    results = results[results["Protein Channel"] == CHANNELS.index("SEC62") + 1]
    assert len(theirs) == len(results) == 252 * len(CHANNELS)
    image = theirs["zip"].str.removesuffix("_endolysosomes.zip") + ".tif"
    channel = theirs["channel"].map(lambda number: CHANNELS[number - 1])
    # ImageJ itself labels a measurement by image, outline and channel.
    ours = results.set_index("Label").loc[image + ":" + theirs["name"] + ":" + channel]
    assert set(zip(theirs["colour"], ours["Lysosome Type"], strict=True)) == {("cyan", "Empty"), ("magenta", "Loaded")}
    is_single = (theirs["kind"] == "traced").to_numpy()
    assert (is_single.sum(), (~is_single).sum()) == (748, 260)
    gaps = {name: largest_difference(theirs[name][is_single], ours[name][is_single]) for name in MEASURED}
    assert max(gaps.values()) < 1e-6, gaps
    # Of an outline of several rings the pixels are ours; ImageJ adds the lengths of all rings.
    gaps = {name: largest_difference(theirs[name][~is_single], ours[name][~is_single]) for name in MEASURED}
    assert max(gaps[name] for name in ("Area", "Mean", "X", "Y", "AR", "Round")) < 1e-6, gaps
    # The rows are those of the table that measure wrote.
    tables = [read_parquet(path) for path in sorted(project.glob("results/P1/measure/*/endolysosomes.parquet"))]
    wanted = pd.concat(tables).reset_index(drop=True)
    for number, name in enumerate(CHANNELS, start=1):
        own = results[results["Measurement Channel"] == number].reset_index(drop=True)
        assert largest_difference(own["Area"], wanted["area_um2"]) < 1e-9
        assert largest_difference(own["Mean"], wanted[f"intensity_mean_{name}"]) < 1e-9
        assert own["%Cargo Area"].notna().all() == (name == "SEC62")


def test_imagej_measures_every_cell_as_the_table_says(exported: tuple[Path, Path]) -> None:
    project, folder = exported
    theirs = pd.read_csv(folder / "measured.csv")
    theirs = theirs[theirs["zip"].str.endswith("_cells.zip")]
    tables = [read_parquet(path) for path in sorted(project.glob("results/P1/measure/*/cells.parquet"))]
    cells = pd.concat(tables).reset_index(drop=True)
    for number, name in enumerate(CHANNELS, start=1):
        own = theirs[theirs["channel"] == number].reset_index(drop=True)
        assert list(own["name"]) == [f"cell-{cell}" for cell in cells["cell"]]
        assert set(own["colour"]) == {"yellow"}
        assert largest_difference(own["Area"], cells["area_um2"]) < 1e-6
        assert largest_difference(own["Mean"], cells[f"intensity_mean_{name}"]) < 1e-6


def test_outlines_of_several_rings_are_of_regions_with_holes_or_parts(exported: tuple[Path, Path]) -> None:
    project, folder = exported
    store = PlateStore.open(project / "results" / "P1" / "P1.zarr")
    rings = region_outlines(store.field("B02", 0).read_label("endolysosomes"))
    theirs = pd.read_csv(folder / "measured.csv")
    of_field = theirs[(theirs["zip"] == "B02_f0_endolysosomes.zip") & (theirs["channel"] == 1)]
    several = {int(name.split("-")[1]) for name in of_field.loc[of_field["kind"] != "traced", "name"]}
    labels = {int(name.split("-")[1]) for name in of_field["name"]}
    assert several == {label for label in labels if len(rings[label]) > 1}
    assert several
