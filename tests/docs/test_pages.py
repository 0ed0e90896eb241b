"""The documentation is current: generated pages equal the code, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import PAGES, REFERENCE

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("name", PAGES)
def test_generated_page_is_current(name: str) -> None:
    path = REFERENCE / name
    assert path.exists(), "run `make snap`"
    assert path.read_text(encoding="utf-8") == PAGES[name](), "run `make snap`"


def test_links_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
    assert pages
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in _LINK.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not dead, "\n".join(dead)


def test_every_page_can_be_found() -> None:
    """A page nobody links to is read by nobody."""
    pages = {page.resolve() for page in ROOT.glob("docs/**/*.md")}
    linked = {
        (page.parent / target).resolve()
        for page in [*pages, ROOT / "README.md"]
        for target in _LINK.findall(page.read_text(encoding="utf-8"))
    }
    lost = sorted(str(page.relative_to(ROOT)) for page in pages - linked)
    assert not lost, f"no page links to {lost}"


def test_make_targets_named_in_the_docs_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
    named = {
        target
        for page in pages
        for target in re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8"))
    }
    assert named <= known, f"no such target: {sorted(named - known)}"
