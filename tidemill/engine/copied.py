"""Answers from a copy of a billing database, with the facts that are kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select

from tidemill.connectors.database import require_told
from tidemill.copying.holding import Copy, copy_in, rates_position
from tidemill.copying.relations import copied_relations
from tidemill.engine.notices import Notices
from tidemill.errors import CopyRemoved, HistoryNotKept, StoreIsCopy
from tidemill.in_force import kept_document
from tidemill.metrics.result import Freshness, utc_text
from tidemill.policy import Policy
from tidemill.relations import Relations

__all__ = ["Copied"]


@dataclass(frozen=True)
class Copied:
    """A store that holds a copy; what is known of it, and what not, is as in place."""

    title: str
    keeps_facts: bool = True

    def relations(
        self,
        *,
        base_currency: str,
        known_at: datetime | None = None,
        customers: Select[tuple[int]] | None = None,
        taxed: bool = False,
        held_at: datetime | None = None,  # noqa: ARG002 - all are there
    ) -> Relations:
        """The copy's; what the billing system knew earlier was not copied either."""
        if known_at is not None:
            raise HistoryNotKept(self.title)
        return copied_relations(base_currency=base_currency, customers=customers, taxed=taxed)

    def notices(self, connection: Connection, known_at: datetime | None) -> Notices:
        """How old the copy is, and what the billing system has beyond it."""
        if known_at is not None:
            raise HistoryNotKept(self.title)
        copy = copy_in(connection)
        kept = kept_document(connection)
        if copy is None:
            # Nothing is there, which is no answer.
            raise CopyRemoved(self.title)
        return Notices(
            freshness=(Freshness(copy.name, copy.last_event_at),),
            quarantined_count=0,
            test_event_count=0,
            facts_policy=kept and self._trusted(connection, copy, kept),
            left_out=(
                _as_of(copy),
                *(f"Not counted: {count:,} {what}." for what, count in copy.left_out if count),
            ),
        )

    def require_distinct(self, connection: Connection) -> None:
        """It was looked at when they were copied."""

    def require(self, policy: Policy, known_at: datetime | None) -> None:
        """Nothing tells when a change was written down."""
        if known_at is not None:
            raise HistoryNotKept(self.title)
        require_told(policy)

    def require_own(self, what: str, *, written: bool = True) -> None:
        """What stands beside events can be kept here, too; what comes with them cannot."""
        if written:
            raise StoreIsCopy(what, self.title)

    def _trusted(self, connection: Connection, copy: Copy, kept: dict[str, Any]) -> dict[str, Any]:
        """Under which policy facts are kept, and none of them where rates have come since."""
        if rates_position(connection) == copy.rates_position:
            return kept
        return kept | {"facts": []}


def _as_of(copy: Copy) -> str:
    return (
        f"From the copy of {copy.title} as it was at {utc_text(copy.copied_at)}; "
        f"`tidemill refresh` brings it up to date."
    )
