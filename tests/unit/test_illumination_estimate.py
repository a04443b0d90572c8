"""The light of a plate by its own fields: right to a few percent, and refused where the fields do not tell it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.errors import InputError
from lysoquant.illumination.estimate import MIN_FIELDS, Estimate, brightness, estimate_light
from lysoquant.illumination.flat_field import FlatFields, shape_of_fields
from lysoquant.illumination.params import IlluminationParams
from lysoquant.illumination.plate import estimate_plate
from lysoquant.io.store import PlateStore
from lysoquant.layout import Layout
from lysoquant.record import field_report, read_json, write_json

N = 256
DARK = 100
LABELS = ("nucleus", "lysosome")


def true_light() -> NDArray[np.float64]:
    """Off-centre, 40 % darker in the darkest corner than at its brightest."""
    y = np.linspace(-1, 1, N)
    light = 1 - 0.17 * ((y[:, None] - 0.2) ** 2 + y[None] ** 2)
    return light / light.mean()


def field(rng: np.random.Generator, kind: str, *, n_cells: float = 14) -> NDArray[np.uint16]:
    """Cells anywhere on a faint haze: nuclei, or cells with spots; camera noise."""
    y, x = np.mgrid[:N, :N]
    image = np.full((N, N), 30.0)
    for _ in range(rng.poisson(n_cells)):
        centre, level = rng.uniform(-15, N + 15, 2), rng.lognormal(0, 0.5)
        distance = np.hypot(y - centre[0], x - centre[1])
        image += level * (300 * (distance < 8) if kind == "nucleus" else 60 * (distance < 18))
        if kind == "lysosome":
            spots = np.rint(rng.normal(centre, 8, (30, 2))).astype(int)
            for row, column in spots[((spots >= 0) & (spots < N)).all(axis=1)]:
                image[row, column] += 2000 * level
    light = rng.poisson(ndimage.gaussian_filter(image, 1.2) * true_light())
    return np.clip(light + DARK + rng.normal(0, 5, (N, N)), 0, 65535).astype(np.uint16)


def estimated(kind: str, n_fields: int, *, seed: int, n_cells: float = 14) -> Estimate:
    rng = np.random.default_rng(seed)
    grids = [brightness(field(rng, kind, n_cells=n_cells), dark=DARK) for _ in range(n_fields)]
    return estimate_light(grids, shape=(N, N), name="plate P")


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_light_is_right_to_a_few_percent(kind: str, seed: int) -> None:
    found = estimated(kind, 32, seed=seed)
    off = found.gain / true_light() - 1
    assert found.gain.mean() == pytest.approx(1, abs=1e-4)
    assert float(np.sqrt(np.mean(off**2))) < 0.015
    assert float(np.abs(off).max()) < 0.06
    assert np.ptp(true_light()) > 0.35
    assert found.n_fields == 32


def test_too_few_fields_are_said() -> None:
    with pytest.raises(
        InputError, match=f"plate P: {MIN_FIELDS - 1} of {MIN_FIELDS - 1} positions are .* at least {MIN_FIELDS}"
    ):
        estimated("nucleus", MIN_FIELDS - 1, seed=1)
    assert brightness(np.full((N, N), DARK, np.uint16), dark=DARK) is None


def test_fields_that_are_all_cells_do_not_tell_the_light() -> None:
    with pytest.raises(InputError, match=r"differ by .*%, expected at most 3%: too few or too crowded"):
        estimated("lysosome", MIN_FIELDS, seed=1, n_cells=60)


@pytest.fixture
def plate(layout: Layout) -> Layout:
    wells = {"A01": 8, "A02": 9}
    store = PlateStore.create(layout.plate_store("P"), name="P", wells=wells, n_rows=1, n_columns=2, ngff_version="0.5")
    rng = np.random.default_rng(3)
    for well, count in wells.items():
        reports = [field_report(index) for index in range(count)]
        if well == "A02":
            reports[0] = field_report(0, status="failed", reasons=["no file"])
        for index in range(count):
            planes = np.stack([field(rng, kind, n_cells=8) for kind in LABELS])
            if reports[index]["status"] == "failed":
                planes[:] = 0
            store.field(well, index).write_image(planes, channels=LABELS, pixel_size_um=0.5, levels=1, chunk_px=256)
        write_json(layout.well_record("P", "convert", well), {"fields": reports})
    return layout


def test_an_estimate_is_frozen_in_files_that_correct_the_plate(plate: Layout) -> None:
    params = IlluminationParams(flat_field="flat/{plate}/{channel}.tif", dark=DARK)
    found = estimate_plate(layout=plate, plate="P", params=params, replace=False)
    assert [path.relative_to(plate.project).as_posix() for path, _ in found.values()] == [
        "flat/P/nucleus.tif",
        "flat/P/lysosome.tif",
    ]
    told = read_json(Path(f"{found['nucleus'][0]}.json")) or {}
    assert (told["n_fields"], told["dark"], told["channel"]) == (16, DARK, "nucleus")
    store = PlateStore.open(plate.plate_store("P"))
    lights = FlatFields.of(
        project=plate.project, plate="P", shape=shape_of_fields(store, ["A01"]), channels=LABELS, params=params
    )
    off = lights.gain("nucleus") / true_light() - 1
    assert float(np.sqrt(np.mean(off**2))) < 0.02
    before = {path: path.read_bytes() for path in plate.project.glob("flat/P/*")}
    with pytest.raises(InputError, match="there already; --replace"):
        estimate_plate(layout=plate, plate="P", params=params, replace=False)
    estimate_plate(layout=plate, plate="P", params=params, replace=True)
    assert {path: path.read_bytes() for path in plate.project.glob("flat/P/*")} == before


def test_planes_and_time_points_of_a_position_count_as_one_field(plate: Layout) -> None:
    params = IlluminationParams(flat_field="flat/{plate}/{channel}.tif", dark=DARK)
    for well in ("A01", "A02"):
        path = plate.well_record("P", "convert", well)
        record = read_json(path) or {}
        origins = [{"name": f"s{n // 2} z{n % 2}", "position": f"s{n // 2}"} for n in range(len(record["fields"]))]
        write_json(path, record | {"origins": origins})
    # 16 readable fields in 9 positions.
    with pytest.raises(InputError, match="9 of 9 positions are brighter"):
        estimate_plate(layout=plate, plate="P", params=params, replace=False)


def test_channels_need_a_file_each_and_a_plate_its_fields(plate: Layout) -> None:
    with pytest.raises(InputError, match=r"gives channels nucleus, lysosome of plate P one file; put \{channel\}"):
        estimate_plate(layout=plate, plate="P", params=IlluminationParams(flat_field="f.tif"), replace=False)
    for well in ("A01", "A02"):
        plate.well_record("P", "convert", well).unlink()
    with pytest.raises(InputError, match="no converted field"):
        estimate_plate(layout=plate, plate="P", params=IlluminationParams(flat_field="{channel}"), replace=False)
