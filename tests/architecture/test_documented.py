"""Every error has a stable code of its own and stands in the reference; so does every setting."""

from __future__ import annotations

import ast
import re
from collections import Counter

from docs.generate import REFERENCE, error_classes, settings_page
from tests.architecture.source import modules
from tidemill import errors

KINDS = list(dict.fromkeys(error_classes()))

_CODE = re.compile(r"[a-z]+(_[a-z]+)*")


def test_error_codes_are_unique() -> None:
    counted = Counter(kind.code for kind in KINDS)
    shared = sorted(code for code, count in counted.items() if count > 1)
    assert not shared, f"each error class needs a code of its own: {shared}"
    assert all(_CODE.fullmatch(code) for code in counted), sorted(counted)


def test_errors_live_in_one_package() -> None:
    """One tree, drawn at the top of `tidemill/errors/`, with every class in it."""
    names = {kind.__name__ for kind in KINDS}
    elsewhere = [
        f"{module.where}:{node.lineno} {node.name}"
        for module in modules()
        if not f"{module.name}.".startswith(f"{errors.__name__}.")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and {ast.unparse(base).rpartition(".")[2] for base in node.bases} & names
    ]
    assert not elsewhere, f"define these in tidemill/errors/: {elsewhere}"
    hidden = [each.__name__ for each in KINDS if each is not getattr(errors, each.__name__, None)]
    assert not hidden, f"import these in tidemill/errors/__init__.py: {hidden}"
    drawn = set(re.findall(r"\w+", errors.__doc__ or ""))
    missing = names - drawn - _BASES
    assert not missing, f"not in the tree at the top of tidemill/errors/: {sorted(missing)}"


def test_errors_are_documented() -> None:
    page = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    missing = [kind.code for kind in KINDS if f"`{kind.code}`" not in page]
    assert not missing, f"run `make snap`: {missing}"
    assert all(kind.__doc__ for kind in KINDS)


def test_settings_are_documented() -> None:
    page = settings_page()
    bare = [row for row in page.splitlines() if row.startswith("| `") and row.endswith("|  |")]
    assert not bare, f"settings without a description: {bare}"


# Shapes that several errors share; nothing raises them as they are.
_BASES = {"ManyProblems", "UnknownName"}
