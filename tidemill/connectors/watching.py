"""What tells that something has changed in a billing database since it was last read.

Each table has a mark that rises with every change: when its row was written, or its number where
rows are only ever added. What leaves no mark (a row that is deleted, one whose clock was late) is
found by comparing everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Executable, FromClause, Integer, Select, func, select

from tidemill.connectors.schema import Schema

__all__ = ["Mark", "Watched", "bare", "marked"]

Mark = datetime | int
"""An instant (UTC), or the number of a row."""


@dataclass(frozen=True)
class Watched:
    """A table of the billing system: the mark of each row, and whose numbers the row bears on.

    rows: the table joined with what tells whose its rows are.
    """

    name: str
    customer: ColumnElement[int]
    mark: ColumnElement[Any]
    rows: FromClause
    where: tuple[ColumnElement[bool], ...] = ()

    @property
    def numbered(self) -> bool:
        """Whether its marks are numbers of rows."""
        return isinstance(self.mark.type, Integer)

    def since(self, since: Mark) -> Executable:
        """The customers that its rows from a mark on bear on, each with the latest of them."""
        return (
            select(self.customer.label("customer_id"), func.max(self.mark))
            .select_from(self.rows)
            .where(self.mark >= bare(since), *self.where)
            .group_by(self.customer)
        )

    def latest(self) -> Select[tuple[Any]]:
        """Its latest mark; none where there is no row."""
        return select(func.max(self.mark)).select_from(self.rows).where(*self.where)


def marked(schema: Schema, column: str, watched: Iterable[Watched]) -> tuple[Watched, ...]:
    """These tables; none when a database lacks the column that marks changes in one of them."""
    tables = tuple(watched)
    for each in tables:
        wanted, found = schema.wanted[each.name], schema.found.get(each.name, frozenset())
        if column in wanted.optional and column not in found:
            return ()
    return tables


def bare(mark: Mark) -> Mark:
    """As the columns have it: in UTC, without saying so."""
    return mark if isinstance(mark, int) else mark.astimezone(UTC).replace(tzinfo=None)
