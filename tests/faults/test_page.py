"""The table of faults says what its tests say, also that they failed or were not tried."""

from __future__ import annotations

from pathlib import Path

import page
import pytest

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.faults.test_disk" name="test_full[a]"><properties>
<property name="fault" value="disk full | cells" /><property name="times" value="3" />
<property name="lost" value="nothing" />
</properties></testcase>
<testcase classname="tests.faults.test_disk" name="test_full[b]"><properties>
<property name="fault" value="disk full | cells" /><property name="times" value="4" />
<property name="lost" value="nothing" />
</properties></testcase>
<testcase classname="tests.faults.test_kill" name="test_kill"><properties><property name="fault" value="kill" />
<property name="times" value="9" /></properties><failure message="assert 1 == 2">long</failure></testcase>
<testcase classname="tests.integration.test_slurm" name="test_a_node_goes_down">
<skipped message="no sbatch" /></testcase>
<testcase classname="tests.integration.test_slurm" name="test_of_something_else" />
</testsuite></testsuites>"""


@pytest.fixture
def written(tmp_path: Path) -> tuple[int, str]:
    (tmp_path / "junit.xml").write_text(JUNIT)
    (tmp_path / "page.md").write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    status = page.main([str(tmp_path / "junit.xml"), "--page", str(tmp_path / "page.md")])
    return status, (tmp_path / "page.md").read_text()


def test_rows_are_added_up_and_failures_and_what_was_not_tried_are_shown(written: tuple[int, str]) -> None:
    status, text = written
    assert status == 1
    assert [line for line in text.splitlines() if line.startswith("|")][2:] == [
        "| disk full \\| cells | 7 | nothing | `tests/faults/test_disk.py::test_full` |",
        "| kill |  | **FAILED**: assert 1 == 2 | `tests/faults/test_kill.py::test_kill` |",
        "| a node goes down |  | **not tried**: no sbatch | `tests/integration/test_slurm.py::test_a_node_goes_down` |",
    ]
    assert "2 tests with 7 faults passed, 1 failed, 1 were not tried here." in text
    assert text.startswith(f"before\n{page.BEGIN}\n")
    assert text.endswith(f"\n{page.END}\nafter\n")
    assert "old" not in text


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("no marks\n")
    with pytest.raises(SystemExit, match="put the table's marks back"):
        page.write(tmp_path / "page.md", [])
    assert (tmp_path / "page.md").read_text() == "no marks\n"
