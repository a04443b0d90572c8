"""Words and units: well names there and back, reading order, the tested range of pixel sizes."""

from __future__ import annotations

import pytest

from lysoquant import errors, units, vocabulary
from lysoquant.channels import Channels
from lysoquant.layout import Layout


@pytest.mark.parametrize(
    ("row", "column", "name"), [("A", 1, "A01"), ("H", 12, "H12"), ("P", 24, "P24"), ("AF", 48, "AF48")]
)
def test_well_names_there_and_back(row: str, column: int, name: str) -> None:
    assert vocabulary.well_name(row, column) == name
    assert vocabulary.split_well(name) == (row, column)


@pytest.mark.parametrize(
    "name", ["b03", "B3", "B003", "B00", "B49", "AG01", "ZZ01", "B03\n", "", "../B03", "B03/../C04"]
)
def test_a_name_that_is_not_canonical_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a well name such as B03"):
        vocabulary.split_well(name)


def test_rows_there_and_back() -> None:
    letters = [vocabulary.row_letters(index) for index in range(32)]
    assert letters[:3] + letters[25:28] + letters[31:] == ["A", "B", "C", "Z", "AA", "AB", "AF"]
    assert [vocabulary.row_index(row) for row in letters] == list(range(32))


def test_wells_in_reading_order() -> None:
    shuffled = ["AA01", "B01", "A10", "Z01", "A02", "B12", "A01"]
    assert sorted(shuffled, key=vocabulary.well_order) == ["A01", "A02", "A10", "B01", "B12", "Z01", "AA01"]


@pytest.mark.parametrize("name", ["P1", "2021-03_plate.4", "a" * 100])
def test_plate_names(name: str) -> None:
    assert vocabulary.PLATE_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", ".hidden", "a b", "a/b", "-x", "a" * 101, "a\n"])
def test_names_that_no_folder_or_wildcard_should_have(name: str) -> None:
    assert not vocabulary.PLATE_NAME.fullmatch(name)


def test_the_contracts_words() -> None:
    assert vocabulary.STAGES == ("convert", "cells", "segment", "measure", "aggregate", "report")
    assert vocabulary.STAGES[:4] == vocabulary.BATCH_STAGES
    assert vocabulary.LABELS == ("cells", "endolysosomes", "endolysosome_classes")
    assert vocabulary.CLASS_NAMES[vocabulary.EMPTY] == "empty"
    assert vocabulary.CLASS_NAMES[vocabulary.LOADED] == "loaded"
    assert vocabulary.CLASS_COLOURS == {1: (0, 255, 255), 2: (255, 0, 255)}
    assert units.MODEL_PIXEL_SIZE_UM == 0.025
    assert units.MIN_AREA_UM2 == 0.13


@pytest.mark.parametrize(
    ("size", "accepted", "flagged"),
    [(0.04, True, False), (0.12, True, False), (0.039, True, True), (0.02, True, True), (0.24, True, True),
     (0.0199, False, True), (0.241, False, True), (float("nan"), False, True)],
)  # fmt: skip
def test_pixel_sizes(size: float, accepted: bool, flagged: bool) -> None:
    assert units.pixel_size_accepted(size) == accepted
    verdict = units.pixel_size_verdict(size)
    assert (verdict is not None) == flagged
    assert verdict is None or verdict == f"pixel size {size:g} um is outside the tested range 0.04 to 0.12 um"


def test_every_error_is_the_builtin_that_it_stands_for() -> None:
    assert issubclass(errors.ModelError, errors.InputError)
    assert issubclass(errors.InputError, ValueError)
    assert not issubclass(errors.FieldError, errors.InputError)


def test_roles_that_the_plate_lacks_are_left_out() -> None:
    assert Channels(lysosome="L", cargo="C").by_role() == {"lysosome": "L", "cargo": "C"}
    assert Channels(lysosome="L", cargo="C", nucleus="N").by_role()["nucleus"] == "N"


def test_paths_of_a_project(layout: Layout) -> None:
    results = layout.results
    assert layout.plate_store("P") == results / "P" / "P.zarr"
    assert layout.batch_record("P", "cells", "b1") == results / "P" / "records" / "cells" / "b1.json"
    assert layout.well_record("P", "cells", "B03") == results / "P" / "records" / "cells" / "wells" / "B03.json"
    assert layout.report == results / "report" / "index.html"
    assert layout.relative(results / "P" / "x") == "P/x"
    assert layout.relative(layout.project / "elsewhere") == (layout.project / "elsewhere").as_posix()
