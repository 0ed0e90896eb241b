"""Attributes from Python: which there are, their values, setting and pinning them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import FromClause, select

from tidemill.attributes import (
    AttributeInfo,
    AttributeValue,
    known_attributes,
    listed_attributes,
    values_of,
)
from tidemill.attributes.saying import Given, pinning, setting
from tidemill.bus import PostgresBus
from tidemill.companies import Named
from tidemill.database import Database
from tidemill.errors import InvalidQuery, Issue, UnknownAttribute, UnknownSource
from tidemill.events import Event
from tidemill.ingest import ingest
from tidemill.models import source
from tidemill.periods import parse_instant
from tidemill.problems import did_you_mean
from tidemill.relations import core_relations
from tidemill.state import Books
from tidemill.vocabulary import AttributeKind

__all__ = ["VALUES_MAX", "Attributes"]

VALUES_MAX: Final = 100
"""So many values of an attribute are listed unless more are asked for."""


class Attributes:
    """The attributes of customers; each is a dimension ``attribute.NAME`` of every question."""

    def __init__(
        self, store: Database, base_currency: str, desk: Callable[[], tuple[PostgresBus, Books]]
    ) -> None:
        """Look into an open store; `desk` gives what writes, when something is written."""
        self._store = store
        self._base_currency = base_currency
        self._desk = desk

    def list(self, *, known_at: datetime | str | None = None) -> tuple[AttributeInfo, ...]:
        """Every attribute with its kind and how many customers have a value, by name."""
        return tuple(self._listed(known_at).values())

    def show(self, name: str, *, known_at: datetime | str | None = None) -> AttributeInfo:
        """One attribute.

        Raises: UnknownAttribute, suggesting a near name.
        """
        listed = self._listed(known_at)
        if name not in listed:
            raise UnknownAttribute(name, listed)
        return listed[name]

    def values(
        self,
        name: str,
        *,
        like: str = "",
        limit: int = VALUES_MAX,
        known_at: datetime | str | None = None,
    ) -> tuple[AttributeValue, ...]:
        """The values of an attribute, the most frequent first.

        like:  only those that contain this text, in any case.
        limit: at most so many.
        Raises: UnknownAttribute.
        """
        with self._store.snapshot() as connection:
            known = known_attributes(connection)
            if name not in known:
                raise UnknownAttribute(name, known)
            rows = self._relation(known_at)
            # No text that PostgreSQL refuses can be part of a value.
            if "\0" in like or any("\ud800" <= each <= "\udfff" for each in like):
                return ()
            found = values_of(connection, rows, known[name], like=like, values_max=max(0, limit))
        return tuple(found)

    def pin(self, name: str, kind: str | None) -> AttributeInfo:
        """Say of which kind an attribute is; None lets its first value decide again.

        Values that cannot be read as the kind are unknown as long as it holds.
        Raises: UnknownAttribute; InvalidQuery when there is no such kind.
        """
        kinds = [each.value for each in AttributeKind]
        if kind is not None and kind not in kinds:
            hint = did_you_mean(kind, kinds, otherwise=f"Choose one of {', '.join(kinds)}.")
            raise InvalidQuery([Issue("kind", f"{kind!r} is not a kind of attribute", hint)])
        self.show(name)
        chosen = None if kind is None else AttributeKind(kind)
        self._say([pinning(name, chosen, datetime.now(UTC))])
        return self.show(name)

    def set(
        self,
        customer: str,
        values: Mapping[str, Given],
        *,
        at: datetime | str | None = None,
    ) -> None:
        """Set attributes of a customer, written ``source:id``; null takes one back.

        They stand before what the billing system says, until they are taken back.

        at: when it became so; now when left out. Of two, the later one counts.
        Raises: InvalidQuery, UnknownSource; InvalidEvent naming every value that is none.
        """
        named = Named.read(customer)
        with self._store.snapshot() as connection:
            sources = connection.scalars(select(source.c.name)).all()
        if named.source not in sources:
            raise UnknownSource(named.source, sources)
        moment = datetime.now(UTC) if at is None else parse_instant(at)
        self._say([setting(named.source, named.customer, values, moment)])

    def _say(self, events: Iterable[Event]) -> None:
        bus, books = self._desk()
        ingest(self._store.writable(), bus, events, books)

    def _listed(self, known_at: datetime | str | None) -> dict[str, AttributeInfo]:
        with self._store.snapshot() as connection:
            return listed_attributes(connection, self._relation(known_at))

    def _relation(self, known_at: datetime | str | None) -> FromClause:
        moment = None if known_at is None else parse_instant(known_at)
        relations = core_relations(base_currency=self._base_currency, known_at=moment)
        return relations.customer_attributes
