"""Saved segments: names, versions, and what became of them.

Saving under a name that exists makes its next version; older ones stay and can be asked for as
``NAME@2``. Deleting is a version, too. Segments are definitions and no facts: they are not made
from the log, and a rebuild leaves them as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, collate, func, insert, select
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.errors import InvalidSegment, UnknownSegment
from tidemill.models import segment
from tidemill.problems import Problem

__all__ = [
    "SavedSegment",
    "delete_segment",
    "history_of",
    "load_segments",
    "require_name",
    "save_segment",
    "saved_segments",
]

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 _.-]{0,61}[A-Za-z0-9_.-])?")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,5}")
_LOCK: Final = int.from_bytes(b"segm", "big")


@dataclass(frozen=True, slots=True)
class SavedSegment:
    """A version of a segment; `definition` is its JSON, None where it was deleted."""

    name: str
    version: int
    definition: Any
    description: str
    saved_at: datetime

    @property
    def label(self) -> str:
        """The version as one asks for it: ``enterprise@2``."""
        return f"{self.name}@{self.version}"

    def document(self) -> dict[str, Any]:
        """The segment as JSON."""
        return {
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "definition": self.definition,
            "saved_at": self.saved_at.isoformat().replace("+00:00", "Z"),
        }


def require_name(name: str) -> None:
    """Refuse a name that could not be written in a list or a command.

    Raises: InvalidSegment.
    """
    if not _NAME.fullmatch(name):
        hint = "Up to 63 letters, digits, spaces and _ . -, beginning with a letter or digit."
        raise InvalidSegment([Problem("name", f"{name[:70]!r} cannot name a segment", hint)])


def saved_segments(connection: Connection) -> dict[str, SavedSegment]:
    """The latest version of every segment that is not deleted, by name in alphabetical order."""
    latest = (
        select(segment)
        .ext(distinct_on(segment.c.name))
        .order_by(segment.c.name, segment.c.version.desc())
        .subquery("latest")
    )
    kept = latest.c.definition.is_not(None)
    found = connection.execute(select(latest).where(kept).order_by(collate(latest.c.name, "C")))
    return {row.name: _saved(row) for row in found}


def history_of(connection: Connection, name: str) -> tuple[SavedSegment, ...]:
    """All versions of a segment, the oldest first.

    Raises: UnknownSegment, suggesting a near name.
    """
    query = select(segment).where(segment.c.name == name).order_by(segment.c.version)
    found = tuple(map(_saved, connection.execute(query))) if "\0" not in name else ()
    if not found:
        raise UnknownSegment(name, saved_segments(connection))
    return found


def load_segments(
    connection: Connection, names: Iterable[str]
) -> Mapping[str, SavedSegment | UnknownSegment]:
    """What each of these names stands for: ``NAME``, or ``NAME@VERSION``."""
    asked = list(dict.fromkeys(names))
    latest = saved_segments(connection)
    plain = [each.partition("@")[0] for each in asked if "\0" not in each]
    every = {
        (row.name, row.version): _saved(row)
        for row in connection.execute(select(segment).where(segment.c.name.in_(plain)))
    }
    loaded: dict[str, SavedSegment | UnknownSegment] = {}
    for written in asked:
        name, at, version = written.partition("@")
        found = latest.get(name)
        if at:
            number = int(version) if _VERSION.fullmatch(version) else 0
            found = every.get((name, number))
        gone = found is None or found.definition is None
        loaded[written] = UnknownSegment(written, latest) if found is None or gone else found
    return loaded


def save_segment(
    connection: Connection, name: str, definition: Any, description: str
) -> SavedSegment:
    """Keep a definition as the next version of a segment; the caller has read it as a tree."""
    return _next(connection, name, definition, description)


def delete_segment(connection: Connection, name: str) -> SavedSegment:
    """Make an end of a segment; its versions can still be asked for.

    Raises: UnknownSegment.
    """
    known = saved_segments(connection)
    if name not in known:
        raise UnknownSegment(name, known)
    return _next(connection, name, None, known[name].description)


def _next(connection: Connection, name: str, definition: Any, description: str) -> SavedSegment:
    # Two who save at once make two versions.
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK, 0)))
    number = func.coalesce(func.max(segment.c.version), 0) + 1
    version = select(number).where(segment.c.name == name).scalar_subquery()
    written = {
        "name": name,
        "version": version,
        "definition": definition,
        "description": description,
    }
    return _saved(connection.execute(insert(segment).values(written).returning(segment)).one())


def _saved(row: Any) -> SavedSegment:
    return SavedSegment(row.name, row.version, row.definition, row.description, row.saved_at)
