"""A subscription's whole state after a change, from any shape Stripe has given it."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.changes import Change
from tidemill.connectors.stripe.discounts import Reduction, read_discounts
from tidemill.connectors.stripe.items import read_item
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.shapes import billing_period, listed, price_of, refuse_if_cut
from tidemill.connectors.stripe.wire import currency, plain
from tidemill.payloads import Discount, Subscription
from tidemill.vocabulary import CollectionMethod, SubscriptionStatus

__all__ = ["read_subscription"]

_STATUSES: Final = {each.value: each for each in SubscriptionStatus} | {
    # The first payment never came: over before it began, and nothing to come back to.
    "incomplete_expired": SubscriptionStatus.CANCELED,
}
# Who ended it, by `cancellation_details.reason`. A reason not listed here leaves it unknown.
_VOLUNTARY: Final = {
    "cancellation_requested": True,
    "payment_failed": False,
    "payment_disputed": False,
}
# All reasons of which anything is known; some say nothing of who wanted it.
_REASONS: Final = frozenset({*_VOLUNTARY, "canceled_by_retention_policy"})
_PAUSES: Final = frozenset({"keep_as_draft", "mark_uncollectible", "void"})
_DAYS_UNTIL_DUE_MAX: Final = 3660
_COLLECTION: Final = {each.value: each for each in CollectionMethod}
_FETCH_ITEMS: Final = "Import the whole list, as in GET /v1/subscription_items?subscription={id}."


def read_subscription(found: Fields, change: Change, known: Known) -> Subscription | None:
    """The canonical state of a subscription; None after noting everything that is wrong."""
    before = len(found.problems)
    key, status, code = found.needed("id"), _status(found), _currency(found)
    refuse_if_cut(found, "items", _FETCH_ITEMS)
    raw_items = listed(found, "items")
    read = [read_item(raw, found, code, known) for raw in raw_items]
    charges = [each.charge for each in read if each is not None and each.charge is not None]
    reductions = read_discounts(found, raw_items, charges, code, known)
    start, end = billing_period(found, raw_items)
    details = found.fields("cancellation_details")
    reason = details.text("reason")
    # `start` and `billing` are what versions before 2019-10-17 say.
    started_at = found.instant("start_date") or found.instant("start") or found.instant("created")
    collection = found.text("collection_method") or found.text("billing") or ""
    state = partial(
        Subscription,
        id=key,
        currency=code,
        items=[each.item for each in read if each is not None],
        discounts=[_discount(each) for each in reductions],
        started_at=started_at,
        trial_start=found.instant("trial_start"),
        trial_end=found.instant("trial_end"),
        past_due_since=_past_due_since(found, change, start),
        paused_at=_paused_at(found, change),
        current_period_start=start,
        current_period_end=end,
        cancel_at_period_end=found.flag("cancel_at_period_end") or False,
        cancel_at=found.instant("cancel_at"),
        canceled_at=found.instant("canceled_at"),
        ended_at=found.instant("ended_at"),
        cancel_reason=reason,
        cancel_feedback=details.text("feedback"),
        collection_method=_COLLECTION.get(collection),
        unknown=_unknown(found) or None,
    )
    if status is None or len(found.problems) > before:
        return None
    return state(status=status, voluntary=_voluntary(status, reason))


def _unknown(found: Fields) -> dict[str, str]:
    """Words that are not known, by the canonical key they bear on."""
    said = {
        "cancel_reason": found.fields("cancellation_details").word("reason", _REASONS),
        "collection_method": found.word("collection_method", _COLLECTION),
        "paused_at": found.fields("pause_collection").word("behavior", _PAUSES),
    }
    return {key: next(iter(words.values())) for key, words in said.items() if words}


def _status(found: Fields) -> SubscriptionStatus | None:
    named = found.needed("status")
    status = _STATUSES.get(named)
    if named and status is None:
        found.refuse("status", f"{named[:40]!r} is a status this version does not know")
    return status


def _currency(found: Fields) -> str:
    """The subscription's currency; of its first price in versions that did not say it."""
    items = () if found.has("currency") else listed(found, "items")
    return currency(price_of(items[0]) if items else found)


def _discount(each: Reduction) -> Discount:
    return Discount(
        id=each.id,
        coupon=each.coupon,
        item=each.item,
        percent_off=None if each.percent_off is None else plain(each.percent_off),
        amount_off=None if each.amount_off is None else plain(each.amount_off),
        duration=each.duration,
        starts_at=each.starts_at,
        ends_at=each.ends_at,
    )


def _past_due_since(
    found: Fields, change: Change, period_start: datetime | None
) -> datetime | None:
    """When the subscription became past due.

    Only the event of the change itself says it. A later state (another change while past due, or
    one fetched) knows no more than that the bill of the current period is the one unpaid. So the
    earliest instant is taken at which that can have been: the start of the period, or, when
    invoices are sent, the day that one was due. A policy's timer that starts there runs out early
    by the hour between drafting and collecting an invoice, never late.
    """
    if found.value.get("status") != "past_due":
        return None
    if period_start is None or change.began("status", "past_due"):
        return change.at
    days = found.integer("days_until_due") if found.has("days_until_due") else 0
    grace = timedelta(days=min(max(days or 0, 0), _DAYS_UNTIL_DUE_MAX))
    return min(period_start + grace, change.at)


def _paused_at(found: Fields, change: Change) -> datetime | None:
    """Since when it is paused, by either of Stripe's two ways.

    The pause of the subscription itself is dated. The pause of its collection leaves the status as
    it is and carries no date; when it was set by an earlier change, the state is still the same
    from this event on, which is all that is counted.
    """
    if found.value.get("status") == "paused":
        paused = found.fields("status_details").fields("paused")
        return paused.instant("transitioned_at") or change.at
    return change.at if found.fields("pause_collection") else None


def _voluntary(status: SubscriptionStatus, reason: str | None) -> bool | None:
    """Whether the customer chose to leave; None when Stripe does not say."""
    if reason is None and status is SubscriptionStatus.UNPAID:
        return False
    return _VOLUNTARY.get(reason or "")
