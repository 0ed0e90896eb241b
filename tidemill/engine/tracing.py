"""Reading one customer's timeline: the ledger's own steps, restricted to the customer's company."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, Text, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from tidemill.engine.providing import Provider
from tidemill.engine.timeline import (
    Discount,
    Item,
    Life,
    Movement,
    Segment,
    Timeline,
    Value,
    Version,
)
from tidemill.errors import UnknownCustomer
from tidemill.ledger import derive, segment_levels, whole_companies
from tidemill.policy import Policy
from tidemill.relations import Relations

__all__ = ["trace"]


def trace(
    connection: Connection,
    name: str,
    policies: Mapping[str, Policy],
    *,
    base_currency: str,
    provider: Provider,
    known_at: datetime | None = None,
) -> Timeline:
    """The timeline of the customers of this vendor id, and of those that are one company with them.

    policies: label → policy. One that keeps merged customers apart tells of the named ones only.
    Raises:   UnknownCustomer; KnobNotSupported.
    """
    everyone = provider.relations(base_currency=base_currency, known_at=known_at)
    customer, source = everyone.customers, everyone.sources
    key = customer.c.customer_id
    # Through the sources, because the index on customers begins with them.
    of_source = customer.c.source_id == source.c.source_id
    of_name = select(key).join(source, of_source).where(customer.c.external_id == name)
    named = _keys(connection, of_name)
    if not named:
        raise UnknownCustomer(name)
    wanted = select(key).where(key.in_(named)).subquery()
    company = _keys(connection, whole_companies(wanted, everyone.identities))
    sharing = [*company, *_keys(connection, _sharing(everyone, company))]
    tracing = _Tracing(
        connection,
        provider.relations(
            base_currency=base_currency,
            known_at=known_at,
            customers=select(func.unnest(cast(sharing, ARRAY(BigInteger))).label("customer_id")),
            taxed=any(policy.tax == "include" for policy in policies.values()),
        ),
    )
    names = select(customer.c.external_id).where(key.in_(company)).distinct()
    lives = [
        tracing.life(label, policy, company if policy.identity == "merged" else named)
        for label, policy in policies.items()
    ]
    return Timeline(
        customer=name,
        customers=tuple(sorted(connection.execute(names).scalars())),
        versions=tuple(tracing.versions(company)),
        lives=tuple(lives),
        known_at=known_at,
    )


def _keys(connection: Connection, query: Any) -> list[int]:
    return sorted(connection.execute(query).scalars())


def _sharing(everyone: Relations, customers: list[int]) -> Select[tuple[int]]:
    """Whose a subscription of these customers ever was: its versions end where others' begin."""
    version = everyone.subscription_versions
    other = version.alias("other_version")
    own = select(version.c.subscription_id).where(version.c.customer_id.in_(customers))
    return (
        select(other.c.customer_id)
        .where(other.c.subscription_id.in_(own), other.c.customer_id.not_in(customers))
        .distinct()
    )


@dataclass(frozen=True, slots=True)
class _Tracing:
    """Reads from relations that are restricted to few customers."""

    connection: Connection
    relations: Relations

    def versions(self, customers: list[int]) -> Iterator[Version]:
        """Every version, whether it was ever in force or not."""
        version, customer = self.relations.subscription_versions, self.relations.customers
        subscription, source = self.relations.subscriptions, self.relations.sources
        event = self.relations.events
        items = self._by_version(self.relations.version_items, Item)
        discounts = self._by_version(self.relations.discounts, Discount)
        found = self.connection.execute(
            select(
                version,
                event.c.type,
                source.c.name.label("source"),
                customer.c.external_id.label("customer"),
                subscription.c.external_id.label("subscription"),
            )
            .join(event, event.c.position == version.c.version_id)
            .join(source, source.c.source_id == version.c.source_id)
            .join(customer, customer.c.customer_id == version.c.customer_id)
            .join(subscription, subscription.c.subscription_id == version.c.subscription_id)
            .where(version.c.customer_id.in_(customers))
            .order_by(
                version.c.subscription_id,
                version.c.occurred_at,
                version.c.sequence,
                version.c.recorded_at,
                version.c.event_id,
            )
        )
        for row in found:
            yield Version(
                event_id=str(row.event_id),
                type=row.type,
                source=row.source,
                customer=row.customer,
                subscription=row.subscription,
                occurred_at=row.occurred_at,
                recorded_at=row.recorded_at,
                status=row.status,
                currency=row.currency,
                items=tuple(items.get(row.version_id, ())),
                discounts=tuple(discounts.get(row.version_id, ())),
            )

    def life(self, label: str, policy: Policy, customers: list[int]) -> Life:
        """What a policy makes of the versions."""
        return Life(
            label,
            policy,
            tuple(self._segments(policy, customers)),
            tuple(self._movements(policy, customers)),
        )

    def _by_version(self, part: Any, kind: Any) -> dict[int, list[Any]]:
        """Version → its items or discounts, in their order; only the fields of `kind` are read."""
        names = list(kind.__slots__)
        columns = [part.c[name] for name in names]
        query = select(part.c.version_id, *columns).order_by(part.c.version_id, part.c.ordinal)
        found: dict[int, list[Any]] = {}
        for row in self.connection.execute(query):
            found.setdefault(row[0], []).append(kind(*row[1:]))
        return found

    def _segments(self, policy: Policy, customers: list[int]) -> Iterator[Segment]:
        piece = segment_levels(self.relations, policy).subquery("piece")
        event, subscription = self.relations.events, self.relations.subscriptions
        version, begun = event.alias("version_event"), event.alias("cause_event")
        found = self.connection.execute(
            select(
                piece,
                subscription.c.external_id.label("subscription"),
                cast(version.c.id, Text).label("event_id"),
                cast(begun.c.id, Text).label("cause_event_id"),
            )
            .join(subscription, subscription.c.subscription_id == piece.c.subscription_id)
            .join(version, version.c.position == piece.c.version_id)
            .join(begun, begun.c.position == piece.c.event_position)
            .where(piece.c.customer_id.in_(customers))
            .order_by(piece.c.subscription_id, piece.c.seg_from, piece.c.item, piece.c.plan)
        )
        for _, rows in groupby(found, key=lambda row: (row.version_id, row.seg_from)):
            items = list(rows)
            row = items[0]
            yield Segment(
                subscription=row.subscription,
                event_id=row.event_id,
                cause=row.cause,
                cause_event_id=row.cause_event_id,
                starts_at=row.seg_from,
                ends_at=row.seg_to,
                valid_from=row.valid_from,
                valid_to=row.valid_to,
                counts=row.counts,
                is_kept=row.present,
                standing=row.standing,
                currency=row.currency,
                values=tuple(
                    Value(each.item, each.plan, each.amount_minor)
                    for each in items
                    if each.item is not None
                ),
            )

    def _movements(self, policy: Policy, customers: list[int]) -> Iterator[Movement]:
        row = derive(self.relations, policy).subquery("movement")
        event, subscription = self.relations.events, self.relations.subscriptions
        names = [each for each in Movement.__slots__ if each in row.c]
        found = self.connection.execute(
            select(
                *(row.c[each] for each in names),
                subscription.c.external_id.label("subscription"),
                cast(event.c.id, Text).label("event_id"),
            )
            .join(subscription, subscription.c.subscription_id == row.c.subscription_id)
            .join(event, event.c.position == row.c.event_position)
            .where(row.c.customer_id.in_(customers))
            .order_by(row.c.occurred_at, row.c.subscription_id, row.c.event_position, row.c.item)
        )
        for each in found.mappings():
            yield Movement(**each)
