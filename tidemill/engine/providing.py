"""What answers come from: our own tables, or a billing system's, read in place.

A provider gives the relations, says what is to be known beside every number, and declares what it
cannot know. Everything else is the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Protocol

from sqlalchemy import (
    Connection,
    Date,
    FromClause,
    Numeric,
    Select,
    Text,
)

from tidemill.connectors.database import Reading, Wanted, require_distinct, require_told
from tidemill.connectors.rows import relation_of
from tidemill.engine.notices import Notices, read_notices
from tidemill.errors import HistoryNotKept, NotInThisMode
from tidemill.metrics.result import Freshness
from tidemill.policy import Policy
from tidemill.relations import COLUMNS, Relations, core_relations

__all__ = ["CORE", "InPlace", "Provider"]


class Provider(Protocol):
    """What a database holds, as relations."""

    @property
    def keeps_facts(self) -> bool:
        """Whether the fact tables are there, kept under the configured policy."""
        ...

    def relations(
        self,
        *,
        base_currency: str,
        known_at: datetime | None = None,
        customers: Select[tuple[int]] | None = None,
        taxed: bool = False,
        held_at: datetime | None = None,
    ) -> Relations:
        """The relations; arguments as of `relations.core_relations`.

        taxed:   with the tax on prices, also where that takes a look at what was invoiced.
        held_at: states that do not hold right before this instant may be missing.
        """
        ...

    def notices(self, connection: Connection, known_at: datetime | None) -> Notices:
        """What is said beside every number."""
        ...

    def require_distinct(self, connection: Connection) -> None:
        """Refuse rows that nothing would tell apart; `notices` does so, too.

        Raises: KeysCollide.
        """
        ...

    def require(self, policy: Policy, known_at: datetime | None) -> None:
        """Refuse what asks for something that was never written down.

        Raises: HistoryNotKept, KnobNotSupported.
        """
        ...

    def require_own(self, what: str, *, written: bool = True) -> None:
        """Refuse what only our own tables can hold.

        written: whether it comes with events; not so what stands beside them, such as segments.
        Raises: NotInThisMode, StoreIsCopy.
        """
        ...


class _Core:
    """Our own tables, which keep everything."""

    keeps_facts = True

    def relations(
        self,
        *,
        taxed: bool = False,  # noqa: ARG002 - always are
        held_at: datetime | None = None,  # noqa: ARG002 - all are there
        **how: Any,
    ) -> Relations:
        return core_relations(**how)

    def notices(self, connection: Connection, known_at: datetime | None) -> Notices:
        return read_notices(connection, known_at)

    def require_distinct(self, connection: Connection) -> None:
        """Keys are our own."""

    def require(self, policy: Policy, known_at: datetime | None) -> None:
        """Everything is known."""

    def require_own(self, what: str, *, written: bool = True) -> None:
        """These are our own."""


CORE: Final[Provider] = _Core()
"""Our own tables."""


@dataclass(frozen=True)
class InPlace:
    """A billing system's own tables, read at request time."""

    reading: Reading
    #: Days' exchange rates (base, quote, day, rate), when there are books of our own to have them.
    rates: Sequence[tuple[str, str, date, Decimal]] = ()
    keeps_facts: bool = False

    @property
    def title(self) -> str:
        """The billing system's name."""
        return self.reading.title

    def relations(
        self,
        *,
        base_currency: str,
        known_at: datetime | None = None,
        customers: Select[tuple[int]] | None = None,
        taxed: bool = False,
        held_at: datetime | None = None,
    ) -> Relations:
        """The billing system's; what it knew earlier is not kept."""
        if known_at is not None:
            raise HistoryNotKept(self.title)
        return self.reading.relations(
            Wanted(base_currency, _rates(self.rates), customers, taxed, held_at)
        )

    def notices(self, connection: Connection, known_at: datetime | None) -> Notices:
        """How fresh the billing system is, and what is not covered.

        Raises: KeysCollide, before anything is answered.
        """
        if known_at is not None:
            raise HistoryNotKept(self.title)
        self.require_distinct(connection)
        fresh = [Freshness(name, at) for name, at in connection.execute(self.reading.freshness())]
        left_out = [
            f"Not counted: {count:,} {what}."
            for what, count in connection.execute(self.reading.left_out())
            if count
        ]
        return Notices(tuple(fresh), 0, 0, None, left_out=tuple(left_out))

    def require_distinct(self, connection: Connection) -> None:
        """Keys are made of the billing system's."""
        require_distinct(connection, self.reading)

    def require(self, policy: Policy, known_at: datetime | None) -> None:
        """Nothing tells when a change was written down."""
        if known_at is not None:
            raise HistoryNotKept(self.title)
        require_told(policy)

    def require_own(self, what: str, *, written: bool = True) -> None:  # noqa: ARG002 - neither is
        """Nothing of ours is here."""
        raise NotInThisMode(what)


def _rates(rates: Sequence[tuple[str, str, date, Decimal]]) -> FromClause:
    names = COLUMNS["fx_rates"]
    types = dict(zip(names, (Text, Text, Date, Numeric), strict=True))
    return relation_of("fx_rates", types, rates)
