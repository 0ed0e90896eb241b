"""The list of traps in README.md and the tests in this folder, compared."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    """A trap whose test is gone would be fallen into again; none can be left out in silence."""
    listed = re.findall(r"^\| ([TD]\d\d) \|", (HERE / "README.md").read_text("utf-8"), re.MULTILINE)
    assert len(set(listed)) == len(listed)
    tested = {
        trap.upper()
        for file in HERE.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and (name := re.match(r"test(_[td]\d\d)+_", node.name))
        for trap in re.findall(r"[td]\d\d", name.group())
    }
    assert tested == set(listed)


def test_no_trap_is_skipped() -> None:
    """Neither marked as skipped or expected to fail, nor left out by a condition."""
    for file in HERE.glob("test_*.py"):
        skipped = re.findall(
            r"pytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)\b", file.read_text("utf-8")
        )
        assert skipped == [], file.name
