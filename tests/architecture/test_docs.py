"""The documentation names only what exists: files, functions, tests, settings, pages, decisions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from lysoquant import __version__
from lysoquant.vocabulary import STAGES

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "config/README.md")
    if path.is_file()
)
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))

REFERENCE = re.compile(
    r"(?<![\w/.-])((?:lysoquant|tests|workflow|docs|envs|config)/[\w./-]+\.(?:py|md|smk|ya?ml|html|css|js|json|tsv))"
    r"(?:::([A-Za-z_]\w*(?:(?:::|\.)\w+)*))?"
)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
SETTING = re.compile(
    r"`((?:channels|convert|cells|segment|measure|aggregate|report|execution)(?:\.[a-z_]+)+)(?:: [^`]*)?`"
)
FILE_ENDINGS = (".parquet", ".csv", ".json", ".smk", ".py", ".html")


def references(text: str) -> set[tuple[str, str]]:
    """Files that a text names, each with the name within it or an empty string."""
    return {(match[1], (match[2] or "").replace("::", ".")) for match in REFERENCE.finditer(text)}


def problem(path: str, name: str) -> str | None:
    """What is wrong with a reference."""
    if not (ROOT / path).is_file():
        return f"there is no file {path}"
    if name and name not in names(path):
        return f"{path} has no {name}"
    return None


@cache
def names(path: str) -> frozenset[str]:
    """What a Python file defines, members of classes as ``Class.member``."""
    return frozenset(_defined(ast.parse((ROOT / path).read_text(encoding="utf-8")).body))


def _defined(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _defined(node.body, f"{prefix}{node.name}.")
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    problems = {problem(path, name) for path, name in references(read(page))} - {None}
    assert not problems


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target, anchor in LINK.findall(read(page)):
        linked = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert linked.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(linked), f"{page}: {target}#{anchor}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_settings_that_a_page_names_exist(page: str) -> None:
    known = set(re.findall(r"^\| `([a-z_.]+)` \|", read("config/README.md"), flags=re.MULTILINE))
    named = {name for name in SETTING.findall(read(page)) if not name.endswith(FILE_ENDINGS)}
    assert named <= known


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_its_page(stage: str) -> None:
    text = read(f"docs/{stage}.md")
    assert text.startswith(f"# {stage}\n")
    assert f"(../config/README.md#{stage})" in text
    assert any(path.startswith(f"lysoquant/{stage}/") for path, _ in references(text))


def test_every_line_of_the_method_says_what_shows_it_or_that_it_is_not_there() -> None:
    rows = [line.split("|") for line in read("docs/from-paper-to-code.md").splitlines() if line.startswith("| ")]
    body = [row for row in rows if row[1].strip() != "the paper"]
    assert len(body) > 40
    for _, quote, here, shown, _ in body:
        assert references(shown) or "Not yet" in here or "in its card" in here or "Not needed" in here, quote
        assert all(path.startswith("tests/") for path, _ in references(shown)), quote


def test_decisions_are_numbered_and_complete() -> None:
    numbers = [path.name[:4] for path in DECISIONS]
    assert numbers == [f"{number:04d}" for number in range(1, len(DECISIONS) + 1)]
    for path in DECISIONS:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {path.name[:4]} ")
        parts = ["**Context.**", "**Decision.**", "**Consequence.**"]
        assert [text.count(part) for part in parts] == [1, 1, 1]
        assert text.index(parts[0]) < text.index(parts[1]) < text.index(parts[2])
    cited = {number for page in PAGES for number in re.findall(r"\bdecision (\d{4})\b", read(page))}
    assert cited <= set(numbers)


def test_the_changelog_leads_with_what_changed_in_numbers() -> None:
    versions = re.split(r"^## ", read("CHANGELOG.md"), flags=re.MULTILINE)[1:]
    assert versions[0].startswith(__version__)
    assert all(re.search(r"^### (.*)$", version, flags=re.MULTILINE)[1] == "Numbers changed" for version in versions)
    assert re.search(rf"^version: {re.escape(__version__)}$", read("CITATION.cff"), flags=re.MULTILINE)


def test_the_check_itself_finds_what_is_missing() -> None:
    assert references("`lysoquant/units.py::EMPTY`, tests/unit/no.py") == {
        ("lysoquant/units.py", "EMPTY"),
        ("tests/unit/no.py", ""),
    }
    assert problem("lysoquant/units.py", "EMPTY") == "lysoquant/units.py has no EMPTY"
    assert problem("tests/unit/no.py", "") == "there is no file tests/unit/no.py"
    assert problem("lysoquant/io/store.py", "PlateStore.create") is None
    assert problem("lysoquant/units.py", "MIN_AREA_UM2") is None
