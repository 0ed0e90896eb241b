"""Modules, functions and argument lists stay small (house style, section 8).

Lines of a docstring are free: documenting a name must never be a reason to split it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.source import Module, modules

MODULE_LINES_MAX = 600
TEST_MODULE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
ARGUMENTS_MAX = 6

# What is over a limit today, as "path" or "path::function", with its present size. Entries may only
# shrink or go: a growing offender fails, and so does one that has become small enough.
OLD_OFFENDERS: dict[str, int] = {}

# A migration is a list of statements that is never edited again; cutting it up helps nobody.
_HISTORY = "tidemill.migrations.versions."


def test_modules_are_short() -> None:
    sizes = {m.where: _lines(m) for m in modules()}
    assert not _over(sizes, MODULE_LINES_MAX)
    sizes = {m.where: _lines(m) for folder in ("tests", "benchmarks") for m in modules(folder)}
    assert not _over(sizes, TEST_MODULE_LINES_MAX)


def test_functions_are_short() -> None:
    sizes = {
        where: (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)
        for where, node in _functions()
    }
    assert not _over(sizes, FUNCTION_LINES_MAX)


def test_argument_lists_are_short() -> None:
    # `self` and `cls` are not arguments anyone writes.
    sizes = {
        f"{where}()": sum(
            argument.arg not in {"self", "cls"}
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        )
        for where, node in _functions()
    }
    assert not _over(sizes, ARGUMENTS_MAX)


def test_old_offenders_still_exist() -> None:
    known = {m.where for folder in ("tidemill", "tests") for m in modules(folder)}
    gone = [name for name in OLD_OFFENDERS if name.split("::")[0] not in known]
    assert not gone, f"remove from OLD_OFFENDERS: {gone}"


def _over(sizes: dict[str, int], limit: int) -> list[str]:
    grown = [
        f"{where} has {size}, the limit is {max(limit, OLD_OFFENDERS.get(where, 0))}"
        for where, size in sizes.items()
        if size > max(limit, OLD_OFFENDERS.get(where, 0))
    ]
    mended = [
        f"{where} has {size}: lower or remove its entry in OLD_OFFENDERS"
        for where, size in sizes.items()
        if size < OLD_OFFENDERS.get(where, 0)
    ]
    return grown + mended


def _functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module in modules():
        if module.name.startswith(_HISTORY):
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module.where}::{node.name}", node


def _lines(module: Module) -> int:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(module.tree) if isinstance(node, documented))
    return module.text.count("\n") - sum(_docstring_lines(node) for node in nodes)


def _docstring_lines(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> int:
    if ast.get_docstring(node, clean=False) is None:
        return 0
    first = node.body[0]
    return (first.end_lineno or first.lineno) - first.lineno + 1
