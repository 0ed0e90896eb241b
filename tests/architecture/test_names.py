"""Every module says what it offers, and the list is neither too long nor too short."""

from __future__ import annotations

import ast
import re

from tests.architecture.source import Module, imported_names, modules, public_names

# Alembic runs these files itself; nobody imports a name from them.
_NOT_IMPORTED = "tidemill.migrations."


def test_all_is_sorted_and_complete() -> None:
    broken = []
    for module in modules():
        declared, public = _declared(module), public_names(module)
        listed = {name for name in declared if not name.startswith("__")}
        if module.name.startswith(_NOT_IMPORTED):
            continue
        if public - listed:
            broken.append(f"{module.where}: public, but not in __all__: {sorted(public - listed)}")
        if unknown := listed - public - imported_names(module):
            broken.append(f"{module.where}: in __all__, but not there: {sorted(unknown)}")
        if declared != sorted(declared, key=_order):
            broken.append(f"{module.where}: __all__ is not sorted")
    assert not broken, "\n".join(broken)


def _declared(module: Module) -> list[str]:
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            assert all(isinstance(name, str) for name in names)
            return list(names)
    return []


def _order(name: str) -> tuple[int, list[str | int]]:
    """Constants, then classes, then the rest, numbers by value: the order ruff writes (RUF022)."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
