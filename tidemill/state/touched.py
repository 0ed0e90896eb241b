"""Whose facts a batch changes, and holding the facts while they are derived again.

The answer must be wide enough: a customer left out keeps facts that the history no longer gives.
And it must be closed: customers are derived from their own history alone, so whoever shares some of
it (a subscription that moved, a company of several customers, an invoice that somebody else pays)
is derived together with them.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    exists,
    func,
    or_,
    select,
    union,
)
from sqlalchemy.dialects import postgresql

from tidemill.bus.staging import Analyze, empty_staging, staging_table
from tidemill.in_force import Books
from tidemill.ledger.facts import whole_companies
from tidemill.models import (
    allocation,
    customer,
    customer_merge,
    invoice_line,
    invoice_version,
    payment,
    subscription,
    subscription_version,
)
from tidemill.relations import core_relations
from tidemill.state.merges import concerned
from tidemill.state.rows import about
from tidemill.state.schedules import planned_in

__all__ = ["TOUCHED", "Reads", "touch", "touched"]

touched: Final = staging_table(
    "touched", Column("customer_id", BigInteger, primary_key=True, autoincrement=False)
)
"""The customers whose facts a batch changes.

A table and not a subquery, so that the planner knows how many there are: it makes the difference
between looking up ten and scanning everything.
"""

TOUCHED: Final = select(touched.c.customer_id)

Reads = AbstractSet[str]
"""Names of the tables that the derivations read under the policy in force."""

# The first of the two keys of the advisory lock on the facts: "fact" in ASCII.
_FACTS_LOCK: Final = int.from_bytes(b"fact", "big")


def touch(
    connection: Connection, rows: FromClause, subjects: AbstractSet[str], books: Books, reads: Reads
) -> int:
    """Fill `touched` for a batch, and hold the facts as far as needed; how many customers it is.

    subjects: what the events are about, such as ``subscription``.
    books:    under the policy in force.
    """
    empty_staging(connection, touched)
    billed = invoice_version.name in reads
    for each in _named(rows, subjects, billed=billed):
        _add(connection, each)
    if _hold(connection, shares_much=billed or "fx_rate" in subjects):
        _add(connection, concerned(rows))
        if billed and "allocation" in subjects:
            _add(connection, _allocated(rows))
        if "fx_rate" in subjects:
            _add(connection, _valued_by_rates(books))
        _close(connection, books, billed=billed)
    return connection.execute(select(func.count()).select_from(touched)).scalar_one()


def _named(
    rows: FromClause, subjects: AbstractSet[str], *, billed: bool
) -> list[Select[tuple[int]]]:
    """The customers that the events are about; of invoices and payments only where they matter."""
    kinds = {"subscription", "invoice", "payment"} if billed else {"subscription"}
    version = subscription_version
    planned = []
    if "schedule" in subjects:
        ahead = version.c.subscription_id.in_(planned_in(rows))
        planned.append(select(version.c.customer_id).where(ahead).distinct())
    if not kinds & subjects:
        return planned
    owner = and_(
        customer.c.source_id == rows.c.source_id, customer.c.external_id == rows.c.customer
    )
    changing = or_(*(about(rows, kind) for kind in sorted(kinds & subjects)))
    found = [*planned, select(customer.c.id).join(rows, owner).where(changing).distinct()]
    if "subscription" in subjects:
        named = and_(
            subscription.c.source_id == rows.c.source_id,
            subscription.c.external_id == rows.c.subject,
        )
        moved = select(subscription.c.id).join(rows, named).where(about(rows, "subscription"))
        # All customers a subscription ever had: it leaves the one when it joins the other.
        found.append(
            select(version.c.customer_id).where(version.c.subscription_id.in_(moved)).distinct()
        )
    return found


def _allocated(rows: FromClause) -> Select[tuple[int]]:
    """Whose payments the allocations of a batch are about; they name no customer themselves."""
    shared = _of_one_reference(payment, allocation)
    return (
        select(payment.c.customer_id)
        .join(allocation, shared)
        .join(rows, rows.c.position == allocation.c.id)
        .distinct()
    )


def _of_one_reference(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    return and_(one.c.source_id == other.c.source_id, one.c.reference == other.c.reference)


def _hold(connection: Connection, *, shares_much: bool) -> bool:
    """Hold the facts until the transaction ends; whether nobody else may derive meanwhile.

    Workers hold different partitions, so different customers, and need not mind each other. But
    customers that share history may travel in several partitions: each worker would derive them
    without seeing what the others are about to commit. Then one derives at a time.

    shares_much: the policy or the batch lets customers share more than subscriptions and companies.
    """
    connection.execute(Analyze(touched))
    merged = exists(select(customer_merge.c.id))
    if not (shares_much or connection.execute(select(merged)).scalar_one()):
        connection.execute(select(func.pg_advisory_xact_lock_shared(_FACTS_LOCK, 0)))
        # Only now: the first merge of all may have been committed while this waited. And counted,
        # because the planner scans everything for one row of many that it expects to be there.
        moved = select(func.count()).select_from(_subscribed_too().subquery()).scalar_subquery()
        if not connection.execute(select(or_(merged, moved > 0))).scalar_one():
            return False
    # Two that come here with the lock shared wait for each other; the one of them that the database
    # gives up on is tried again.
    connection.execute(select(func.pg_advisory_xact_lock(_FACTS_LOCK, 0)))
    return True


def _subscribed_too() -> Select[tuple[int]]:
    """The other customers of subscriptions that touched customers ever had."""
    version, other = subscription_version, subscription_version.alias("other_version")
    own = (
        select(version.c.subscription_id, version.c.customer_id)
        .where(version.c.customer_id.in_(TOUCHED))
        .distinct()
        .subquery("own")
    )
    return select(other.c.customer_id).join(
        own,
        and_(
            own.c.subscription_id == other.c.subscription_id,
            own.c.customer_id != other.c.customer_id,
        ),
    )


def _valued_by_rates(books: Books) -> Select[tuple[int]]:
    """The customers whose ledger rests on exchange rates.

    Under a policy that carries rates those are all who ever paid in a foreign currency; under any
    other only who pays in several, because it takes rates to know the sign of changes in two.
    """
    version = subscription_version
    if books.policy.fx in ("at_movement", "at_renewal"):
        foreign = version.c.currency != books.base_currency
        return select(version.c.customer_id).where(foreign).distinct()
    identities = core_relations(base_currency=books.base_currency).identities
    company = func.coalesce(identities.c.canonical_id, version.c.customer_id)
    return (
        select(company)
        .select_from(
            version.outerjoin(identities, identities.c.customer_id == version.c.customer_id)
        )
        .group_by(company)
        .having(func.min(version.c.currency) != func.max(version.c.currency))
    )


def _close(connection: Connection, books: Books, *, billed: bool) -> None:
    """Add who shares history with the customers touched, until nobody is left."""
    identities = core_relations(base_currency=books.base_currency).identities
    shared = [_subscribed_too(), whole_companies(touched, identities)]
    if billed:
        shared += [_payers(), _billed_subscribers(), _payers_of_invoices()]
    grown = True
    while grown:
        grown = sum(_add(connection, each) for each in shared) > 0


def _own_subscriptions() -> Any:
    """The subscriptions of touched customers as invoices name them: source_id, external_id."""
    version = subscription_version
    return (
        select(subscription.c.source_id, subscription.c.external_id)
        .join(version, version.c.subscription_id == subscription.c.id)
        .where(version.c.customer_id.in_(TOUCHED))
        .distinct()
        .subquery("own_subscription")
    )


def _payers() -> Any:
    """Whose invoices bill subscriptions of touched customers."""
    own, invoice, line = _own_subscriptions(), invoice_version, invoice_line
    billed = select(invoice.c.customer_id).join(
        own,
        and_(own.c.source_id == invoice.c.source_id, own.c.external_id == invoice.c.subscription),
    )
    billed_in_part = (
        select(invoice.c.customer_id)
        .join(line, line.c.version_id == invoice.c.id)
        .join(
            own,
            and_(own.c.source_id == invoice.c.source_id, own.c.external_id == line.c.subscription),
        )
    )
    return union(billed, billed_in_part)


def _billed_subscribers() -> Any:
    """Whose subscriptions the invoices of touched customers bill."""
    invoice, line, version = invoice_version, invoice_line, subscription_version
    own = invoice.c.customer_id.in_(TOUCHED)
    named = union(
        select(invoice.c.source_id, invoice.c.subscription).where(own),
        select(invoice.c.source_id, line.c.subscription)
        .join(line, line.c.version_id == invoice.c.id)
        .where(own),
    ).subquery("named")
    return (
        select(version.c.customer_id)
        .join(subscription, subscription.c.id == version.c.subscription_id)
        .join(
            named,
            and_(
                named.c.source_id == subscription.c.source_id,
                named.c.subscription == subscription.c.external_id,
            ),
        )
        .distinct()
    )


def _payers_of_invoices() -> Any:
    """Who else is named by the invoices of touched customers, or by payments of them."""
    invoice, paid, other = invoice_version, payment, payment.alias("other_payment")
    own = union(
        select(invoice.c.source_id, invoice.c.external_id.label("invoice")).where(
            invoice.c.customer_id.in_(TOUCHED)
        ),
        select(paid.c.source_id, paid.c.invoice).where(paid.c.customer_id.in_(TOUCHED)),
        select(allocation.c.source_id, allocation.c.invoice)
        .join(paid, _of_one_reference(paid, allocation))
        .where(paid.c.customer_id.in_(TOUCHED)),
    ).subquery("own_invoice")
    return union(
        # Payments of one reference are of one invoice, if any of them names it.
        select(other.c.customer_id)
        .join(paid, _of_one_reference(paid, other))
        .where(paid.c.customer_id.in_(TOUCHED)),
        select(paid.c.customer_id)
        .join(allocation, _of_one_reference(paid, allocation))
        .join(
            own,
            and_(
                own.c.source_id == allocation.c.source_id,
                own.c.invoice == allocation.c.invoice,
            ),
        ),
        select(invoice.c.customer_id).join(
            own,
            and_(own.c.source_id == invoice.c.source_id, own.c.invoice == invoice.c.external_id),
        ),
        select(paid.c.customer_id).join(
            own, and_(own.c.source_id == paid.c.source_id, own.c.invoice == paid.c.invoice)
        ),
    )


def _add(connection: Connection, found: Any) -> int:
    """Touch more customers; how many of them are new."""
    new = postgresql.insert(touched).from_select(["customer_id"], found).on_conflict_do_nothing()
    return connection.execute(new, execution_options={"preserve_rowcount": True}).rowcount
