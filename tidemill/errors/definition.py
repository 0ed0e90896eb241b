"""Errors of definitions: a metric, cube or segment that cannot work, or contradicts itself."""

from __future__ import annotations

from tidemill.errors.root import TidemillError

__all__ = [
    "BooksDoNotClose",
    "DefinitionError",
]


class DefinitionError(TidemillError):
    """A metric, cube, segment or attribute is defined in a way that cannot work."""

    code = "definition_error"


class BooksDoNotClose(DefinitionError):
    """An answer contradicts itself (a waterfall does not add up), so it is not shown."""

    code = "books_do_not_close"

    def __init__(self, where: str, difference: object) -> None:
        """Name the row and by how much it is off."""
        problem = f"The waterfall does not close at {where}: off by {difference} minor units."
        hint = "Run `tidemill rebuild`; if that does not help, please report it."
        super().__init__(problem, hint=hint, where=where)
