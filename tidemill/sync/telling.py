"""From what a run has read to events: everything it tells, in an order of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, select

from tidemill.connectors.base import Item
from tidemill.connectors.stripe.backfill import EVENTS_KEPT_S, Staged
from tidemill.connectors.stripe.client import Json
from tidemill.connectors.stripe.completing import completed
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.shapes import is_cut
from tidemill.connectors.stripe.survey import Survey
from tidemill.connectors.stripe.told import Teller, items_of, learn
from tidemill.models import payment, source
from tidemill.payers import payers
from tidemill.sync import runs
from tidemill.sync.changed import as_of_dates
from tidemill.sync.runs import Run
from tidemill.sync.states import latest_states

__all__ = ["events_from", "shown", "tell", "teller_for"]

_THINGS: Final = ("product", "price", "customer")
_MONEY: Final = ("invoice", "charge", "dispute", "credit_note")


def events_from(run: Run) -> int:
    """Since when a run knows every event Stripe has, in Unix seconds."""
    return int(run.place.get("events_from") or run.started_at.timestamp() - EVENTS_KEPT_S)


def teller_for(connection: Connection, run: Run, *, test_mode: bool) -> Teller:
    """Who tells what a run has read, knowing what the books know already."""
    known = Known()
    for found in runs.staged(connection, run, "price", "coupon", "subscription"):
        learn(known, found)
    return Teller(
        source=run.source,
        test_mode=test_mode,
        known=known,
        events_from=events_from(run),
        read_at=int(run.place["read_at"]),
        observed=runs.observed_from(connection, run),
    )


def shown(connection: Connection, run: Run) -> Known:
    """Prices, coupons and discounts as they were when they were read.

    Later deliveries of a webhook only name them; one that comes late shows what is older.
    """
    known, read_at = Known(), int(run.place["read_at"])
    for found in runs.staged(connection, run, "price", "coupon", "subscription"):
        known.learn(found.value(), read_at)
    return known


def tell(connection: Connection, run: Run, teller: Teller) -> Iterator[Item]:
    """Everything a run has read, as events: what is sold, who buys, the past, money, the events.

    The same run tells the same, however often.
    """
    if run.whole:
        yield from _things(connection, run, teller)
        yield from _histories(connection, run, teller)
        for found in runs.staged(connection, run, "subscription_schedule"):
            yield from teller.plan(found)
        yield from _money(connection, run, teller)
    else:
        yield from _newcomers(connection, run, teller)
    yield from _events(connection, run, teller)


def _things(connection: Connection, run: Run, teller: Teller) -> Iterator[Item]:
    batch: list[Staged] = []
    told = _created_lately(connection, run)
    for found in runs.staged(connection, run, *_THINGS):
        if found.id in told:
            continue
        if found.value().get("deleted") is True:
            yield from teller.deleted_customer(found.id, _last_seen(connection, run, found.id))
            continue
        batch.append(found)
        if len(batch) >= _BATCH:
            yield from _batch(connection, run, teller, batch)
            batch = []
    yield from _batch(connection, run, teller, batch)


# Nested lists of which events hold the first members only, and whose they are.
_LISTS: Final = {"lines": "invoice", "items": "subscription"}
_BATCH: Final = 500


def _created_lately(connection: Connection, run: Run) -> set[str]:
    """What an event that is left tells the beginning of: it need not be told twice."""
    created = {f"{kind}.created" for kind in _THINGS}
    events = (each.value() for each in runs.staged(connection, run, "event"))
    return {str(each["data"]["object"]["id"]) for each in events if each.get("type") in created}


def _last_seen(connection: Connection, run: Run, customer: str) -> int:
    """When a deleted customer's last subscription ended, or was made (Unix seconds)."""
    objects = runs.staged_of(connection, run, [customer])
    made = [each for each in objects if each.kind == "subscription"]
    return max((each.value().get("ended_at") or each.created or 0 for each in made), default=0)


def _batch(connection: Connection, run: Run, teller: Teller, batch: list[Staged]) -> Iterator[Item]:
    """Objects that carry no date of their last change, dated by what the books have of them."""
    dates = {}
    if run.place.get("mode") == "again":
        first = [(each, list(teller.thing(each))) for each in batch]
        dates = as_of_dates(connection, run.source, first, teller.read_at)
    for found in batch:
        at = dates.get((found.kind, found.id), 0)
        if at is not None:
            yield from teller.thing(found, as_of=at or None)


def _histories(connection: Connection, run: Run, teller: Teller) -> Iterator[Item]:
    after: dict[str, int] = {}
    if run.place.get("mode") == "again" and not run.place.get("gap"):
        yield from _newcomers(connection, run, teller)
        return
    if run.place.get("mode") == "again":
        after = runs.last_versions(connection, run)
    for customers in runs.owners(connection, run):
        objects = runs.staged_of(connection, run, customers)
        for found in objects:
            if found.kind == "invoice":
                learn(teller.known, found)
        keys = [each.id for each in objects if each.id in after]
        had = latest_states(connection, run.source, keys, heard=int(run.place["heard"]))
        states = {key: state for key, (state, _) in had.items()}
        yield from teller.histories(objects, after=after, had=states)


def _newcomers(connection: Connection, run: Run, teller: Teller) -> Iterator[Item]:
    """Subscriptions the books have never heard of, though no event of them is left to tell."""
    have = runs.last_versions(connection, run)
    for customers in runs.owners(connection, run):
        objects = runs.staged_of(connection, run, customers)
        new = [each for each in objects if each.kind != "subscription" or each.id not in have]
        yield from teller.histories(new, after={})


def _money(connection: Connection, run: Run, teller: Teller) -> Iterator[Item]:
    for found in runs.staged(connection, run, *_MONEY):
        yield from teller.thing(found)
        yield from teller.undone(found)
    told = _told_by_charges(connection, run.source)
    for found in runs.staged(connection, run, "refund"):
        # Since the day from which events are kept they tell it, in the words of their version.
        recent = (found.created or 0) >= teller.events_from
        charge = found.value().get("charge")
        key = charge.get("id") if isinstance(charge, dict) else charge
        if not recent:
            if key not in told:
                yield from teller.thing(found)
            yield from teller.undone(found)


def _told_by_charges(connection: Connection, name: str) -> set[str]:
    """Charges whose refunds the books have under the charge's name: told by older versions."""
    query = (
        select(payment.c.external_id)
        .join(source, source.c.id == payment.c.source_id)
        .where(
            source.c.name == name,
            payment.c.kind == "refunded",
            payment.c.external_id.contains("/refunded/"),
        )
    )
    return {str(each).partition("/")[0] for each in connection.execute(query).scalars()}


# --- events ---------------------------------------------------------------------------------------


def _events(connection: Connection, run: Run, teller: Teller) -> Iterator[Item]:
    survey = Survey()
    survey.known = teller.known
    for found in runs.staged(connection, run, "event"):
        survey.look(found.body.encode())
    if survey.unowned:
        _remember_payers(connection, run, survey)
    if survey.unsettled:
        survey.settle(each.body.encode() for each in runs.staged(connection, run, "event"))
    for found in runs.staged(connection, run, "event"):
        raw = _whole(connection, run, found.value())
        made = survey.translate(raw, source=run.source, test_mode=teller.test_mode)
        yield from items_of(raw, made, run.source)


def _remember_payers(connection: Connection, run: Run, survey: Survey) -> None:
    """Whose money refunds and disputes are about: as the books have it, or a charge was read."""
    survey.known.payers.update(payers(connection, run.source, survey.unowned))
    for found in runs.staged(connection, run, "charge"):
        survey.known.pay(found.value())


def _whole(connection: Connection, run: Run, event: Json) -> Json:
    """The event with what its nested lists lack, of which events hold only the first ten members.

    The rest is as it was when it was read, as it is for a webhook whose object is read again.
    """
    data: Any = event.get("data")
    found: Any = data.get("object") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        return event
    for key, kind in _LISTS.items():
        if found.get("object") == kind and is_cut(found.get(key)):
            held = runs.staged_one(connection, run, kind, str(found.get("id")))
            return event if held is None else completed(event, {"object": held.value()})
    return event
