"""Reads the source tree for the architecture tests: modules, their imports and their names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = [
    "PACKAGE",
    "ROOT",
    "Import",
    "Module",
    "imported_names",
    "modules",
    "public_names",
    "text_files",
]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "tidemill"

_SKIPPED_FOLDERS = {"__pycache__", "build", "dist", "node_modules", "results", "_build"}
_TEXT_SUFFIXES = {
    ".cfg", ".css", ".html", ".ini", ".ipynb", ".json", ".jsonl", ".mako", ".md", ".py", ".sh",
    ".sql", ".toml", ".ts", ".tsx", ".txt", ".yaml", ".yml",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One imported module or name, with the place where it stands."""

    target: str
    line: int
    at_run_time: bool
    in_function: bool


@dataclass(frozen=True)
class Module:
    """One Python file of the repository, parsed."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def where(self) -> str:
        """The path from the repository's root, as messages show it."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def is_package(self) -> bool:
        """True for an ``__init__.py``."""
        return self.path.name == "__init__.py"

    @property
    def room(self) -> str:
        """The part of the dotted name that has a layer: ``bus`` for ``tidemill.bus.postgres``."""
        return [*self.name.split("."), ""][1]

    def imports(self) -> list[Import]:
        """All imports of the file; those inside functions and type-checking blocks too."""
        return list(_imports(self.tree.body, at_run_time=True, in_function=False))


@cache
def modules(folder: str = PACKAGE) -> tuple[Module, ...]:
    """Every Python file below a folder of the repository, sorted by name."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        if _SKIPPED_FOLDERS.isdisjoint(path.relative_to(ROOT).parts):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text(encoding="utf-8")
            found.append(Module(name, path, text, ast.parse(text, str(path))))
    return tuple(found)


def public_names(module: Module) -> set[str]:
    """The public names a file defines itself."""
    return {name for name in _defined(module.tree.body) if not name.startswith("_")}


def imported_names(module: Module) -> set[str]:
    """The names a file imports from our own modules, and may therefore offer again."""
    return {
        alias.asname or alias.name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE)
        for alias in node.names
    }


def text_files() -> Iterator[Path]:
    """Every text file of the repository that people write or read, without environments."""
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            hidden = path.name.startswith(".") and path.name not in {".ci", ".github", ".gitignore"}
            if hidden or path.name in _SKIPPED_FOLDERS or path.is_symlink():
                continue
            if path.is_dir():
                folders.append(path)
            elif path.suffix in _TEXT_SUFFIXES or not path.suffix:
                yield path


def _imports(nodes: list[ast.stmt], *, at_run_time: bool, in_function: bool) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_run_time, in_function)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                target = f"{node.module}.{alias.name}"
                yield Import(target, node.lineno, at_run_time, in_function)
        inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for name, children in ast.iter_fields(node):
            if isinstance(children, list):
                real = at_run_time and not (typing_only and name == "body")
                blocks = [child for child in children if isinstance(child, ast.stmt)]
                yield from _imports(blocks, at_run_time=real, in_function=inside)
                for holder in children:
                    if isinstance(holder, ast.ExceptHandler | ast.match_case):
                        yield from _imports(holder.body, at_run_time=real, in_function=inside)


def _defined(nodes: list[ast.stmt]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            leaves = (leaf for target in node.targets for leaf in ast.walk(target))
            stored = (leaf for leaf in leaves if isinstance(leaf, ast.Name))
            yield from (leaf.id for leaf in stored if isinstance(leaf.ctx, ast.Store))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.If | ast.Try):
            yield from _defined(node.body + node.orelse)
