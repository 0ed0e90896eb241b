"""Statements that one engine compiled serve all engines of the process.

A test has a database of its own, hence an engine of its own, which would compile again what the
last one did: a tenth of the time that integration tests take. All are of one kind, and talk to
servers of one version, so they would all compile the same.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.util import LRUCache

__all__ = ["share_compiled"]

_KEPT: Final = 1_000


class _Shared(LRUCache[Any, Any]):
    """A cache of statements whose keys name the kind of dialect, not the engine's own one."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_common(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_common(key), value)


def _common(key: Any) -> Any:
    dialect, *rest = key
    return (type(dialect), *rest)


def share_compiled() -> None:
    """Let every connection that is made from now on use the one cache."""
    cache = _Shared(_KEPT)

    @event.listens_for(Engine, "engine_connect")
    def _(connection: Connection) -> None:
        connection.execution_options(compiled_cache=cache)
