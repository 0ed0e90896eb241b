"""Which customers are one company: said by people, kept as events, and suggested by their e-mails.

A business that bills through two systems has the same company in both. Merging them is an event of
the log like any other (``customer.merged``), so a rebuild knows of it, and a report as of an
earlier date does not. The knob ``identity = per_source`` leaves merges out of a question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, func, select

from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.errors import InvalidQuery, MergeRefused, Problem, UnknownCustomer, UnknownSource
from tidemill.events import CustomerMerged, CustomerRef, make_event
from tidemill.models import customer, customer_merge, source
from tidemill.relations import core_relations
from tidemill.state import Books
from tidemill.worker import drain

__all__ = ["FREE_MAIL", "Named", "Suggestion", "merge", "suggestions", "unmerge"]

FREE_MAIL: Final = frozenset(
    {
        "126.com", "163.com", "aol.com", "centrum.cz", "email.cz", "fastmail.com", "free.fr",
        "gmail.com", "gmx.at", "gmx.ch", "gmx.de", "gmx.net", "googlemail.com", "hey.com",
        "hotmail.co.uk", "hotmail.com", "hotmail.de", "hotmail.fr", "icloud.com", "inbox.lv",
        "interia.pl", "laposte.net", "libero.it", "live.com", "mac.com", "mail.com", "mail.ru",
        "me.com", "msn.com", "naver.com", "o2.pl", "orange.fr", "outlook.com", "pm.me",
        "proton.me", "protonmail.com", "qq.com", "rediffmail.com", "rocketmail.com", "seznam.cz",
        "t-online.de", "tutanota.com", "uol.com.br", "web.de", "wp.pl", "yahoo.co.in",
        "yahoo.co.jp", "yahoo.co.uk", "yahoo.com", "yahoo.de", "yahoo.es", "yahoo.fr", "yahoo.it",
        "yandex.com", "yandex.ru", "ymail.com", "zoho.com",
    }
)  # fmt: skip
"""Domains under which anyone has a mailbox: sharing one says nothing about who somebody is."""


@dataclass(frozen=True, slots=True, order=True)
class Named:
    """A customer as the vendor names it."""

    source: str
    customer: str

    @classmethod
    def read(cls, text: str) -> Named:
        """The customer that ``SOURCE:ID`` names.

        >>> Named.read("stripe:cus_1")
        Named(source='stripe', customer='cus_1')

        Raises: InvalidQuery when it is not written so.
        """
        name, _, number = text.partition(":")
        if not name or not number:
            hint = "Write SOURCE:ID, such as stripe:cus_1."
            raise InvalidQuery(
                [Problem("customer", f"is named by a source and an id, not {text!r}", hint)]
            )
        return cls(name, number)

    def __str__(self) -> str:
        """As it is read."""
        return f"{self.source}:{self.customer}"

    def document(self) -> dict[str, str]:
        """The customer as a JSON object."""
        return {"source": self.source, "customer": self.customer}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Two customers of different sources that may be one company.

    because: ``same e-mail``, or ``same domain``.
    value:   the e-mail or the domain that they share.
    """

    customer: Named
    into: Named
    because: str
    value: str

    def document(self) -> dict[str, Any]:
        """The suggestion as a JSON object."""
        return {
            "customer": self.customer.document(),
            "into": self.into.document(),
            "because": self.because,
            "value": self.value,
        }


def merge(
    store: Database, bus: PostgresBus, books: Books, merged: Named, into: Named, at: datetime
) -> bool:
    """Make two customers one company, `into`; whether they were not before.

    at: the instant at which it is said. It holds for all of their history.
    Raises: UnknownSource, UnknownCustomer; MergeRefused when `merged` belongs to another company
            already, because the later merge would take it out of that.
    """
    drain(bus, books)
    with store.connect() as connection:
        one, other = (_key(connection, each) for each in (merged, into))
        if one == other:
            raise MergeRefused(
                f"{merged} cannot be merged into itself.", hint="Name two customers."
            )
        if _company(connection, one) == _company(connection, other):
            return False
        last = _last(connection, one)
    if last is not None and last.into_customer is not None:
        before = Named(last.into_source, last.into_customer)
        raise MergeRefused(
            f"{merged} is one company with {before} already, and would leave it.",
            hint=f"Merge {before} into {into}, or run `tidemill customers unmerge {merged}` first.",
        )
    _tell(bus, merged, CustomerRef(source=into.source, customer=into.customer), last, at)
    drain(bus, books)
    return True


def unmerge(store: Database, bus: PostgresBus, books: Books, merged: Named, at: datetime) -> bool:
    """Take the merge of a customer into another back; whether there was one.

    Customers that were merged into this one stay with it.
    Raises: UnknownSource, UnknownCustomer.
    """
    drain(bus, books)
    with store.connect() as connection:
        last = _last(connection, _key(connection, merged))
    if last is None or last.into_customer is None:
        return False
    _tell(bus, merged, None, last, at)
    drain(bus, books)
    return True


def _tell(
    bus: PostgresBus, merged: Named, into: CustomerRef | None, last: Any, at: datetime
) -> None:
    """Put the event into the log, later than what was said of this customer before."""
    if last is not None:
        at = max(at, last.occurred_at + timedelta(microseconds=1))
    payload = CustomerMerged(id=merged.customer, into=into)
    event = make_event(merged.source, "customer.merged", merged.customer, at, payload)
    bus.append([event])


def _key(connection: Connection, wanted: Named) -> int:
    names = connection.scalars(select(source.c.name)).all()
    if wanted.source not in names:
        raise UnknownSource(wanted.source, names)
    found = connection.scalar(
        select(customer.c.id)
        .join(source, source.c.id == customer.c.source_id)
        .where(source.c.name == wanted.source, customer.c.external_id == wanted.customer)
    )
    if found is None:
        raise UnknownCustomer(str(wanted))
    return int(found)


def _company(connection: Connection, key: int) -> int:
    """The customer whose books a customer is in."""
    # Which currency the books are in makes no difference to who is who.
    identities = core_relations(base_currency="USD").identities
    found = connection.scalar(
        select(identities.c.canonical_id).where(identities.c.customer_id == key)
    )
    return key if found is None else int(found)


def _last(connection: Connection, key: int) -> Any:
    """What was said last of a customer's merging, as a row; None when nothing was."""
    said = customer_merge
    order = (said.c.occurred_at, said.c.sequence, said.c.recorded_at, said.c.event_id)
    return connection.execute(
        select(said.c.into_source, said.c.into_customer, said.c.occurred_at)
        .where(said.c.customer_id == key, said.c.livemode)
        .order_by(*(each.desc() for each in order))
        .limit(1)
    ).one_or_none()


# --- suggestions ---------------------------------------------------------------------------------


def suggestions(connection: Connection) -> tuple[Suggestion, ...]:
    """Customers of different sources that share an e-mail, or the domain of a company's e-mails.

    Only suggestions: nothing is merged by itself. Each customer is suggested once, its e-mail
    before its domain, and into whoever of them was heard of first.
    """
    found: dict[Named, Suggestion] = {}
    for because in ("same e-mail", "same domain"):
        rows = connection.execute(_sharing(by_domain=because == "same domain"))
        for suggestion in _of_groups(rows, because):
            found.setdefault(suggestion.customer, suggestion)
    return tuple(found.values())


def _sharing(*, by_domain: bool) -> Select[Any]:
    """Who shares an e-mail or a domain with somebody of another source: value, customer, company.

    The longest known come first in their group.
    """
    identities = core_relations(base_currency="USD").identities
    email = func.lower(func.btrim(customer.c.email))
    domain = func.split_part(email, "@", 2)
    people = (
        select(
            customer.c.id,
            source.c.name.label("source"),
            customer.c.external_id,
            func.coalesce(identities.c.canonical_id, customer.c.id).label("company"),
            (domain if by_domain else email).label("value"),
        )
        .join(source, source.c.id == customer.c.source_id)
        .outerjoin(identities, identities.c.customer_id == customer.c.id)
        .where(domain != "", customer.c.deleted_at.is_(None))
    )
    if by_domain:
        people = people.where(domain.not_in(sorted(FREE_MAIL)))
    person = people.subquery("person")
    shared = (
        select(person.c.value)
        .group_by(person.c.value)
        .having(
            and_(
                func.min(person.c.source) != func.max(person.c.source),
                func.min(person.c.company) != func.max(person.c.company),
            )
        )
    )
    return select(person).where(person.c.value.in_(shared)).order_by(person.c.value, person.c.id)


def _of_groups(rows: Iterable[Row[Any]], because: str) -> Iterator[Suggestion]:
    for value, members in groupby(rows, lambda row: row.value):
        first, *others = members
        into, companies = Named(first.source, first.external_id), {first.company}
        for each in others:
            # A company needs one of its customers merged, and one source knows its own customers.
            if each.company not in companies and each.source != first.source:
                companies.add(each.company)
                yield Suggestion(Named(each.source, each.external_id), into, because, value)
