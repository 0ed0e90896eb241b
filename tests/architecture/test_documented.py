"""Every error has a stable code of its own and stands in the reference; so does every setting."""

from __future__ import annotations

import importlib
import re
from collections import Counter

import pytest

from docs.generate import REFERENCE, error_classes, settings_page
from tests.architecture.source import modules
from tidemill import errors
from tidemill.errors import TidemillError

_CODE = re.compile(r"[a-z]+(_[a-z]+)*")


@pytest.fixture(scope="module", name="kinds")
def every_kind() -> list[type[TidemillError]]:
    """Each error class, whichever module defines it."""
    for module in modules():
        if "TidemillError" in module.text or "Error)" in module.text:
            importlib.import_module(module.name)
    return list(dict.fromkeys(error_classes()))


def test_error_codes_are_unique(kinds: list[type[TidemillError]]) -> None:
    counted = Counter(kind.code for kind in kinds)
    shared = sorted(code for code, count in counted.items() if count > 1)
    assert not shared, f"each error class needs a code of its own: {shared}"
    assert all(_CODE.fullmatch(code) for code in counted), sorted(counted)


def test_errors_live_in_one_module(kinds: list[type[TidemillError]]) -> None:
    """One tree, drawn at the top of `errors.py`, with every class in it."""
    assert not [kind for kind in kinds if kind.__module__ != errors.__name__]
    drawn = set(re.findall(r"\w+", errors.__doc__ or ""))
    missing = [kind.__name__ for kind in kinds if kind.__name__ not in drawn | _BASES]
    assert not missing, f"not in the tree at the top of errors.py: {missing}"


def test_errors_are_documented(kinds: list[type[TidemillError]]) -> None:
    page = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    missing = [kind.code for kind in kinds if f"`{kind.code}`" not in page]
    assert not missing, f"run `make snap`: {missing}"
    assert all(kind.__doc__ for kind in kinds)


def test_settings_are_documented() -> None:
    page = settings_page()
    bare = [row for row in page.splitlines() if row.startswith("| `") and row.endswith("|  |")]
    assert not bare, f"settings without a description: {bare}"


# Shapes that several errors share; nothing raises them as they are.
_BASES = {"ManyProblems", "UnknownName"}
