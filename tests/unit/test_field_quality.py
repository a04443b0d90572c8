"""Which fields are flagged by their raw images: none of a good plate, and each planted fault by its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.aggregate.field_quality import MIN_FIELDS, field_judge, judged
from lysoquant.aggregate.params import AggregateParams, AggregateSettings, FieldQualityParams
from lysoquant.convert.judge import judge, plane_numbers
from lysoquant.convert.quality import detail_fraction, signal_to_background
from lysoquant.simulate.plate import CHANNELS, PlateSettings, plate_wells, simulate_field

PX = 0.1
Planes = NDArray[np.uint16]


@pytest.fixture(scope="module")
def plate() -> list[Planes]:
    """Fields of a simulated plate: nucleus, lysosome, cargo."""
    settings = PlateSettings(n_wells=6, n_fields=1, size_px=384, seed=3)
    wells, _, _ = plate_wells(settings.n_wells)
    return [simulate_field(settings, well, 0).image for well in wells]


def settings(**limits: float) -> AggregateSettings:
    params = AggregateParams(field_quality=FieldQualityParams(**limits))
    return AggregateSettings(params=params, cargo="cargo", lysosome="lysosome", nucleus="nucleus")


def table(fields: list[Planes]) -> pa.Table:
    """What measure hands to aggregate of convert's reports."""
    rows = []
    for index, planes in enumerate(fields):
        report = judge(index, [plane_numbers(plane, pixel_size_um=PX) for plane in planes], CHANNELS, PX)
        numbers = {name: value for name, value in report.items() if isinstance(value, float)}
        rows.append({"field": index, "status": report["status"], "reason": "; ".join(report["reasons"]), **numbers})
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def verdicts(fields: list[Planes], chosen: AggregateSettings) -> list[tuple[str, str]]:
    found = table(fields)
    rows = judged(found, field_judge(found.to_pylist(), settings=chosen)).to_pylist()
    return [(row["status"], row["reason"]) for row in rows]


def test_no_field_of_a_good_plate_is_flagged(plate: list[Planes]) -> None:
    assert verdicts(plate, settings()) == [("ok", "")] * len(plate)


def blurred(planes: Planes) -> Planes:
    """Three times the depth of focus away, with the noise of the light that is left."""
    smooth = np.stack([ndimage.gaussian_filter(plane.astype(float), 0.6 / PX) for plane in planes])
    return (smooth + np.random.default_rng(1).normal(0, 8, smooth.shape)).clip(0, 65535).astype(np.uint16)


def empty(planes: Planes) -> Planes:
    return np.random.default_rng(2).normal(110, 8, planes.shape).astype(np.uint16)


def dim_lysosomes(planes: Planes) -> Planes:
    return np.stack([planes[0], empty(planes)[1], planes[2]])


def saturated(planes: Planes) -> Planes:
    return np.where(planes > np.percentile(planes, 95), 65535, planes).astype(np.uint16)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (blurred, ["out of focus: channel 'lysosome'", "expected at least 0.3 of it", "min_relative_focus"]),
        (empty, ["empty field", "expected at least 3 (aggregate.field_quality.min_signal_to_background)"]),
        (np.zeros_like, ["empty field: the best channel has a signal to background of 0,"]),
        (dim_lysosomes, ["lysosome channel 'lysosome' has a signal to background", "expected at least 3"]),
        (saturated, ["% of the pixels of a channel are saturated", "1.00% (aggregate.field_quality.max_saturated"]),
        (lambda planes: planes[[1, 0, 2]], ["channels swapped?", "(aggregate.field_quality.swap_detail_ratio)"]),
    ],
)
def test_a_planted_fault_is_flagged_with_value_limit_and_setting(
    plate: list[Planes], fault: Callable[[Any], Planes], told: list[str]
) -> None:
    found = verdicts([fault(plate[0]), *plate[1:]], settings())
    assert found[1:] == [("ok", "")] * (len(plate) - 1)
    status, reason = found[0]
    assert status == "flagged"
    assert all(part in reason for part in told), reason


def test_cargo_may_be_missing(plate: list[Planes]) -> None:
    planes = plate[0].copy()
    planes[2] = empty(planes)[2]
    assert verdicts([planes, *plate[1:]], settings())[0] == ("ok", "")


def test_limits_can_be_set(plate: list[Planes]) -> None:
    fields = [blurred(plate[0]), empty(plate[1]), plate[2][[1, 0, 2]], *plate[3:], *plate[3:]]
    off = settings(min_signal_to_background=0, min_relative_focus=0, swap_detail_ratio=100)
    assert verdicts(fields, off) == [("ok", "")] * len(fields)
    assert verdicts([saturated(plate[0]), *plate[1:]], settings(max_saturated_fraction=0.5))[0] == ("ok", "")
    strict = verdicts(plate, settings(min_focus_score=10))
    assert all("expected at least 10 (aggregate.field_quality.min_focus_score)" in reason for _, reason in strict)


def test_few_fields_say_nothing_of_the_usual_focus(plate: list[Planes]) -> None:
    fields = [blurred(plate[0]), *plate[1 : MIN_FIELDS - 1]]
    assert verdicts(fields, settings())[0] == ("ok", "")
    assert verdicts([*fields, plate[-1]], settings())[0][0] == "flagged"


def test_a_failed_field_and_one_without_numbers_are_left_as_they_are() -> None:
    fields = pa.table({"field": [0, 1], "status": ["failed", "ok"], "reason": ["no file", ""]})
    assert judged(fields, field_judge(fields.to_pylist(), settings=settings())).equals(fields)


def test_signal_does_not_follow_gain_and_offset(plate: list[Planes]) -> None:
    plane = plate[0][1].astype(np.float32)
    assert signal_to_background(plane * 4 + 500) == pytest.approx(signal_to_background(plane), rel=1e-3)
    assert signal_to_background(empty(plate[0])[0]) < 1.5


def test_detail_is_high_for_small_things_and_low_for_nuclei(plate: list[Planes]) -> None:
    for planes in plate:
        nucleus, lysosome, _ = (detail_fraction(plane, pixel_size_um=PX) for plane in planes)
        assert nucleus < 0.3
        assert lysosome > 0.6
    assert np.isnan(detail_fraction(plate[0][0][:90], pixel_size_um=PX))
