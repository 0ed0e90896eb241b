"""Segments from Python: which there are, what they may speak of, saving and deleting them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidemill.attributes import known_attributes
from tidemill.database import Database
from tidemill.errors import UnknownSegment
from tidemill.segments import (
    Field,
    SavedSegment,
    delete_segment,
    fields_of,
    history_of,
    load_segments,
    read_tree,
    require_name,
    save_segment,
    saved_segments,
)

__all__ = ["Segments"]


class Segments:
    """The saved segments; questions take them as ``segment`` and ``compare_segments``."""

    def __init__(self, store: Database) -> None:
        """Look into an open store."""
        self._store = store

    def list(self) -> tuple[SavedSegment, ...]:
        """The latest version of every segment, by name."""
        with self._store.snapshot() as connection:
            return tuple(saved_segments(connection).values())

    def show(self, name: str) -> SavedSegment:
        """A segment: its latest version, or with ``NAME@2`` that one.

        Raises: UnknownSegment, suggesting a near name.
        """
        with self._store.snapshot() as connection:
            found = load_segments(connection, [name])[name]
        if isinstance(found, UnknownSegment):
            raise found
        return found

    def history(self, name: str) -> tuple[SavedSegment, ...]:
        """Every version of a segment, the oldest first; without a definition where it was deleted.

        Raises: UnknownSegment.
        """
        with self._store.snapshot() as connection:
            return history_of(connection, name)

    def fields(self) -> tuple[Field, ...]:
        """Everything that conditions may speak of, attributes included."""
        with self._store.snapshot() as connection:
            return tuple(fields_of(known_attributes(connection)).values())

    def check(self, definition: Any) -> None:
        """Read a definition without saving it.

        Raises: InvalidSegment with every problem.
        """
        with self._store.snapshot() as connection:
            read_tree(definition, fields_of(known_attributes(connection)))

    def save(
        self, name: str, definition: Mapping[str, Any], *, description: str = ""
    ) -> SavedSegment:
        """Save a definition; under a name that exists it becomes the next version.

        Raises: InvalidSegment with every problem of name and definition.
        """
        require_name(name)
        self.check(definition)
        with self._store.writable().begin() as connection:
            return save_segment(connection, name, definition, description)

    def delete(self, name: str) -> None:
        """Make an end of a segment; its versions can still be asked for as ``NAME@2``.

        Raises: UnknownSegment.
        """
        with self._store.writable().begin() as connection:
            delete_segment(connection, name)
