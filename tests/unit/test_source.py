"""The digest of a stage's source: code counts, comments and docstrings do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lysoquant import source
from lysoquant.vocabulary import STAGES

CODE = '''"""Module."""
LIMIT = 3
class Thing:
    """Class."""
    size: int = 1
    """Attribute."""
    def act(self, text: str = "docstring") -> str:
        """Function."""
        return text  # comment
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose only stage is `measure`."""
    (tmp_path / "measure").mkdir()
    (tmp_path / "measure" / "code.py").write_text(CODE)
    (tmp_path / "measure" / "page.html").write_text("<p>")
    (tmp_path / "measure" / "notes.txt").write_text("notes")
    monkeypatch.setattr(source, "_PACKAGE", tmp_path)
    monkeypatch.setattr(source, "_SOURCES", {"measure": ("measure",)})
    return tmp_path / "measure"


def digest() -> str:
    source.source_digest.cache_clear()
    try:
        return source.source_digest("measure")
    finally:
        source.source_digest.cache_clear()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Module."""', '"""Another module."""'),
        ('    """Class."""\n', ""),
        ('"""Attribute."""', '"""Another attribute."""'),
        ('"""Function."""', '"""Another function."""'),
        ("  # comment", "  # another"),
        ("LIMIT = 3\n", "\n\nLIMIT   =   3\n"),
    ],
)
def test_words_about_the_code_do_not_count(package: Path, old: str, new: str) -> None:
    before = digest()
    assert old in CODE
    (package / "code.py").write_text(CODE.replace(old, new))
    (package / "notes.txt").write_text("other notes")
    assert digest() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ('text: str = "docstring"', 'text: str = "other"'),
        ("size: int = 1", "size: int = 2"),
        ("return text", "return text * 2"),
    ],
)
def test_code_counts(package: Path, old: str, new: str) -> None:
    before = digest()
    assert old in CODE
    (package / "code.py").write_text(CODE.replace(old, new))
    assert digest() != before


def test_new_and_renamed_files_and_page_templates_count(package: Path) -> None:
    seen = {digest()}
    (package / "page.html").write_text("<p>other")
    seen.add(digest())
    (package / "more.py").write_text("")
    seen.add(digest())
    (package / "more.py").rename(package / "moved.py")
    seen.add(digest())
    assert len(seen) == 4


def test_every_stage_has_a_source_of_its_own() -> None:
    digests = {stage: source.source_digest(stage) for stage in STAGES}
    assert len(set(digests.values())) == len(STAGES)
    assert all(len(value) == 16 and int(value, 16) >= 0 for value in digests.values())
    for parts in source._SOURCES.values():
        assert all((Path(source.__file__).parent / part).exists() for part in parts)
