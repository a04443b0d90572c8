"""What a report's page is made of, so that two pages can be compared whatever their texts say."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from hostile import MARK

OPTIONAL: Final[frozenset[tuple[str, str]]] = frozenset()
"""Parts that sound pages of other plates have too."""


class _Parts(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.kinds: set[tuple[str, str]] = set()
        self.n_scripts = 0
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.n_scripts += tag == "script"
        for name, value in [("", None), *attrs]:
            self.kinds.add((tag, name))
            if name in ("href", "src", "xlink:href", "action", "data", "srcset"):
                self.links.append(value or "")

    handle_startendtag = handle_starttag


def parts(page: Path) -> _Parts:
    found = _Parts()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def broken_out(page: Path, good: Path) -> list[str]:
    """What a page holds that one without hostile texts does not: tags, attributes, scripts, links that lead out."""
    found, expected = parts(page), parts(good)
    new = sorted(found.kinds - expected.kinds)
    complaints = [f"the page has <{tag} {name}>" for tag, name in new if MARK in tag + name or name.startswith("on")]
    complaints += [f"the page has a new <{tag} {name}>" for tag, name in new if (tag, name) not in OPTIONAL]
    if found.n_scripts != expected.n_scripts:
        complaints.append(f"the page has {found.n_scripts} scripts, not {expected.n_scripts}")
    complaints += [
        f"the page leads to {link[:100]!r}"
        for link in found.links
        if not link.startswith(("#", "data:,", "data:image/"))
    ]
    return complaints
