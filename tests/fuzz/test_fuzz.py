"""Hundreds of seeded mutations of everything that a user or an instrument gives, through the real commands.

Never a traceback, a hang, memory without bound, a wrong table, or a write outside the project. ``LYSOQUANT_FUZZ=5000``
does that many; a mutation that fails is done again by its name (see ``tests/fuzz/driver.py``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from driver import FAILED, HARMLESS, REFUSED, Scene, Verdict, do_case
from hostile import MARK, TOUCH
from pages import broken_out

DRIVER = Path(__file__).parent / "driver.py"

SHARES = {
    "raw": 105,
    "htd": 45,
    "names": 30,
    "ome": 45,
    "sheets": 60,
    "plate map": 40,
    "config": 70,
    "stores": 25,
    "annotated": 75,
    "models": 60,
    "in place": 60,
}
"""Mutations of each group."""

FAULTS = {
    "raw": "seeded mutations of raw images",
    "htd": "seeded mutations of a plate's .HTD file",
    "names": "hostile names of files, folders, channels and flags",
    "ome": "seeded mutations of OME-TIFF files",
    "sheets": "seeded mutations of plates.tsv and wells.tsv",
    "plate map": "seeded mutations of a plate map given to init",
    "config": "seeded mutations of config.yaml",
    "stores": "seeded mutations of OME-Zarr metadata, chunks and records",
    "annotated": "seeded mutations of outlined images and ROI zips",
    "models": "seeded mutations of model files",
    "in place": "seeded mutations of an OME-Zarr plate used in place, before init or after convert",
}

EXPECTED = {
    "raw": {FAILED, HARMLESS},
    "htd": {REFUSED, HARMLESS},
    "stores": {FAILED, HARMLESS},
    "annotated": {REFUSED, HARMLESS},
    "sheets": {REFUSED, HARMLESS},
    "plate map": {REFUSED, HARMLESS},
    "config": {REFUSED, HARMLESS},
    "models": {REFUSED, HARMLESS},
}
"""Outcomes that a group must have had, so that neither all nor none of its mutations were real; all three elsewhere."""


def counts() -> dict[str, int]:
    total = int(os.environ.get("LYSOQUANT_FUZZ", sum(SHARES.values())))
    return {group: max(1, round(share * total / sum(SHARES.values()))) for group, share in SHARES.items()}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    """All mutations of all groups, in one process that forks for each."""
    work = tmp_path_factory.mktemp("fuzz")
    results = work / "verdicts.jsonl"
    numbers = [f"{group}={count}" for group, count in counts().items()]
    done = subprocess.run(
        [sys.executable, str(DRIVER), "--work", str(work / "work"), "--results", str(results), *numbers],
        capture_output=True,
        text=True,
        check=False,
    )
    assert results.exists(), done.stdout + done.stderr
    found = [Verdict(**json.loads(line)) for line in results.read_text(encoding="utf-8").splitlines()]
    assert len(found) == sum(counts().values()), done.stderr[-5000:]
    return found


def test_there_are_at_least_500() -> None:
    assert sum(SHARES.values()) >= 500


@pytest.mark.parametrize("group", SHARES)
def test_mutations(verdicts: list[Verdict], group: str, record_property: Callable[[str, object], None]) -> None:
    mine = [verdict for verdict in verdicts if verdict.name.split("/")[0] == group]
    outcomes = Counter(verdict.outcome for verdict in mine)
    record_property("fault", FAULTS[group])
    record_property("times", len(mine))
    record_property(
        "lost",
        f"nothing: {outcomes[REFUSED]} refused in one line, {outcomes[FAILED]} failed or flagged their field, "
        f"{outcomes[HARMLESS]} harmless; the other wells' rows the same",
    )
    bad = {verdict.name: verdict.complaints for verdict in mine if verdict.complaints}
    assert not bad, json.dumps(bad, indent=1)[:8000]
    if len(mine) >= SHARES[group]:
        assert set(outcomes) >= EXPECTED.get(group, {REFUSED, FAILED, HARMLESS}), outcomes


# --- the checks themselves --------------------------------------------------------------------------------------------


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "case").mkdir()
    made = Scene(tmp_path / "case", tmp_path)
    made.allowed.append(made.project)
    made.begin()
    return made


def answer(monkeypatch: pytest.MonkeyPatch, command: Callable[[], int]) -> None:
    monkeypatch.setattr("lysoquant.cli.main.invoke", lambda arguments: command())


def raises() -> int:
    raise ValueError("a fault of the program")


def says(text: str, status: int = 2) -> Callable[[], int]:
    def command() -> int:
        print(text, file=sys.stderr)
        return status

    return command


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (raises, "a fault of the program"),
        (says("error: \x1b[31m a.tif"), "control characters"),
        (says("error: can't be"), "names none of"),
        (says("something of a.tif"), "without an error"),
        (says("error: a.tif", 3), "exit status 3"),
        (says("Traceback (most recent call last)", 0), "Traceback"),
        (says("error: a.tif: Unable to allocate"), "Unable to allocate"),
        (says(f"error: a.tif {'x' * 5000}"), "characters"),
    ],
)
def test_a_command_that_does_wrong_is_found(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, command: Callable[[], int], complaint: str
) -> None:
    answer(monkeypatch, command)
    scene.call("why", mentions=("a.tif",))
    assert any(complaint in each for each in scene.complaints), scene.complaints


def test_a_good_refusal_is_none(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, says("error: a.tif: can't be read; copy it again"))
    assert scene.call("why", mentions=("a.tif",)) == 2
    scene.check_places()
    assert (scene.complaints, scene.outcome) == ([], REFUSED)


@pytest.mark.parametrize("name", ["outside/new", "outside/neighbour.txt", "empty/PWNED", "tmp/left", "ESCAPED"])
def test_a_write_elsewhere_is_found(scene: Scene, name: str) -> None:
    (scene.folder / name).write_text("x")
    scene.check_places()
    assert any(name in complaint for complaint in scene.complaints)


def test_a_write_into_the_project_is_none_unless_a_shell_made_it(scene: Scene) -> None:
    scene.project.mkdir()
    (scene.project / "results").write_text("x")
    scene.check_places()
    assert not scene.complaints
    (scene.project / TOUCH).write_text("")
    scene.check_places()
    assert scene.complaints


def hangs(scene: Scene, mutation: str, random: object) -> None:
    import time

    time.sleep(60)


def dies(scene: Scene, mutation: str, random: object) -> None:
    os.abort()


def eats(scene: Scene, mutation: str, random: object) -> None:
    import numpy as np

    np.ones(2 * 2**30 + 2**28, np.uint8)


@pytest.mark.parametrize(("play", "complaint"), [(hangs, "hung"), (dies, "wait status"), (eats, "of memory")])
def test_a_child_that_hangs_dies_or_eats_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, play: Callable[..., None], complaint: str
) -> None:
    import driver

    monkeypatch.setattr(driver, "groups", lambda: {"x": driver.Group(("y",), play)})
    monkeypatch.setattr(driver, "MAX_SECONDS", 1 if play is hangs else 60)
    verdict = do_case("x/y/0", work=tmp_path, base=tmp_path)
    assert any(complaint in each for each in verdict.complaints), verdict.complaints


def test_a_text_that_breaks_out_of_a_page_is_found(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.html", tmp_path / "bad.html"
    good.write_text("<p title='a'>x</p><script>1</script>")
    for text, complaint in (
        (f"<p title='a'>x<{MARK}></p><script>1</script>", MARK),
        (f"<p title='' {MARK}='1'>x</p><script>1</script>", MARK),
        ("<p title='a' onload='1'>x</p><script>1</script>", "onload"),
        ("<p title='a'>x</p><script>1</script><script>2</script>", "2 scripts"),
        ("<p title='a'>x</p><script src='http://x'>1</script>", "http://x"),
    ):
        bad.write_text(text)
        assert any(complaint in each for each in broken_out(bad, good)), text
    assert broken_out(good, good) == []
