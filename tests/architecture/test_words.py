"""Text that must not be in the repository: places on somebody's machine, loose ends, raw SQL."""

from __future__ import annotations

import re

from tests.architecture.source import ROOT, modules, text_files

_MACHINE_PATH = re.compile(r"(?<![\w.<\[{$-])/(?:work|root|Users|home)/[\w.$-]+")
_REGISTRY = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.")
_LOOSE_END = re.compile(r"\b(?:TODO|FIXME)\b(?!\(#\d+\))")
_SQL_AS_TEXT = re.compile(r"noqa:[^#\n]*\b(?:S608|TID251)\b")


def test_no_machine_paths() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in text_files()
        for match in _MACHINE_PATH.finditer(_read(path))
    ]
    assert not found, "\n".join(found)


def test_no_registry_addresses() -> None:
    """Each installation brings its own package index; ours must not leak into theirs."""
    found = [str(p.relative_to(ROOT)) for p in text_files() if _REGISTRY.search(_read(p))]
    assert not found, f"addresses of a package index: {found}"


def test_loose_ends_name_an_issue() -> None:
    found = [
        f"{module.where}: {match.group()}"
        for folder in ("tidemill", "tests", "benchmarks")
        for module in modules(folder)
        for match in _LOOSE_END.finditer(module.text)
        if module.path.name != "test_words.py"
    ]
    assert not found, "write TODO(#123): " + "; ".join(found)


def test_sql_as_text_stays_in_migrations() -> None:
    """Ruff refuses `text()` and f-string SQL (TID251, S608); no line may switch that off."""
    found = [
        module.where
        for folder in ("tidemill", "benchmarks")
        for module in modules(folder)
        if ".migrations" not in module.name and _SQL_AS_TEXT.search(module.text)
    ]
    assert not found, f"SQL as text belongs in migrations: {found}"


def _read(path: object) -> str:
    return (ROOT / str(path)).read_text(encoding="utf-8", errors="replace")
