"""What besides items was so in a subscription's past: status, cancellation, pauses, discounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.history_evidence import Bill
from tidemill.connectors.stripe.shapes import discounts_of, listed

__all__ = ["Change", "discount_changes", "status_changes"]

_Json = Mapping[str, Any]

_DAY: Final = 86_400
# Stripe finalizes, or voids, an invoice on its own about an hour after making it.
_AUTOMATIC_S: Final = 2 * 3_600
# After how long a first payment that is not made lets a subscription expire.
_FIRST_PAYMENT_S: Final = 23 * 3_600


@dataclass(frozen=True, slots=True)
class Change:
    """Something that came to be so at an instant (Unix seconds)."""

    at: int
    about: tuple[str, str]
    """What it is about: ``("item", "si_1")``, ``("discount", "di_1")``, ``("term", "status")``."""
    value: Any
    """The raw item, discount or attribute; None for an item or discount that is there no more."""
    sure: bool
    """Whether instant and value are proven."""
    missed: str = ""
    """What could not be told with it, by a name of `history.UNKNOWN`."""


def status_changes(
    anchor: _Json,
    bills: Sequence[Bill],
    start: int,
    horizon: int,
    late: Callable[[int], int],
) -> Iterator[Change]:
    """Status, pauses and cancellation, from dates on the subscription and from its invoices.

    late: when something is taken to have changed that happened after the last evidence.
    """
    told = [*_statuses(anchor, bills, start, horizon), *_gaps(bills, start)]
    final = str(anchor.get("status"))
    over = final in {"canceled", "incomplete_expired"}
    yield from told
    last = max(told, key=lambda change: change.at, default=None)
    if not over and last is not None and last.value != final:
        at, sure = _into(final, anchor, bills, horizon) or (late(last.at), False)
        missed = "" if sure else "undated_status"
        yield Change(max(at, last.at), ("term", "status"), final, sure, missed)
    details = anchor.get("status_details") if final == "paused" else None
    yield Change(start, ("term", "status_details"), details, True)
    yield from _pauses(anchor, bills, start, horizon)
    yield from _cancellation(anchor, start)


def _status(at: int, value: str, *, sure: bool = True) -> Change:
    return Change(at, ("term", "status"), value, sure)


def _statuses(anchor: _Json, bills: Sequence[Bill], start: int, horizon: int) -> Iterator[Change]:
    final = str(anchor.get("status"))
    if final in {"incomplete", "incomplete_expired"}:
        yield _status(start, "incomplete")
        return
    trial_start, trial_end = _int(anchor, "trial_start"), _int(anchor, "trial_end")
    if trial_start is None or trial_end is None or trial_end <= start:
        yield _status(start, "active")
        trial_end = start
    else:
        begins = start if trial_start - start <= _DAY else trial_start
        if begins > start:
            yield _status(start, "active")
        yield _status(begins, "trialing")
        if trial_end < horizon:
            yield _status(trial_end, "active")
    for bill in bills:
        # More than one attempt: the first one failed, and the subscription was past due.
        since = bill.finalized_at
        if not (bill.attempts > 1 and bill.counts and since is not None and since > trial_end):
            continue
        yield _status(since, "past_due")
        settled = bill.paid_at or bill.ended_at
        if settled is not None and settled < horizon:
            yield _status(settled, "active")


def _gaps(bills: Sequence[Bill], start: int) -> Iterator[Change]:
    """Times for which nothing was charged, not even voided: the subscription was paused.

    When the pause began is not known; that it had by the end of the period paid last, is.
    """
    spans = sorted((line.start, line.end) for bill in bills for line in bill.lines if bill.raw)
    covered: int | None = None
    for begins, ends in spans:
        if covered is not None and covered > start and begins - covered > _DAY:
            yield Change(covered, ("term", "status"), "paused", False, "guessed_pause")
            yield _status(begins, "active", sure=False)
        covered = max(covered or ends, ends)


def _into(
    final: str, anchor: _Json, bills: Sequence[Bill], horizon: int
) -> tuple[int, bool] | None:
    """When the subscription came into the status it is in, where something tells."""
    if final == "paused":
        paused = Fields(anchor).fields("status_details").fields("paused")
        at = _int(paused.value, "transitioned_at")
        return None if at is None else (at, True)
    unpaid = [bill for bill in bills if bill.status in {"open", "uncollectible"} and bill.raw]
    if final in {"past_due", "unpaid"} and unpaid:
        since = unpaid[0].finalized_at or unpaid[0].created
        if final == "past_due":
            return since, True
        # Attempts go on for some weeks; the end of the period that was never paid is the latest.
        ends = [line.end for line in unpaid[0].lines]
        return min(max(ends, default=since), horizon - 1), False
    return None


def _pauses(anchor: _Json, bills: Sequence[Bill], start: int, horizon: int) -> Iterator[Change]:
    """Pauses of collection: as it is now, and earlier ones that left voided invoices behind."""
    about = ("term", "pause_collection")
    now = anchor.get("pause_collection")
    yield Change(start, about, None, True)
    paused_at: int | None = None
    for bill in bills:
        cycle = bill.reason in {"subscription_cycle", ""} and bill.raw
        if not cycle or bill.created >= horizon:
            continue
        automatic = bill.ended_at is not None and bill.ended_at - bill.created <= _AUTOMATIC_S
        if bill.status == "void" and automatic:
            if paused_at is None:
                paused_at = bill.created
                yield Change(
                    bill.created, about, {"behavior": "void", "resumes_at": None}, False,
                    "guessed_pause",
                )  # fmt: skip
        elif paused_at is not None and bill.counts:
            paused_at = None
            yield Change(bill.created, about, None, False)
    if now and paused_at is None:
        drafts = [b.created for b in bills if b.raw and b.status == "draft" and b.created < horizon]
        last = max((b.created for b in bills if b.raw and b.counts), default=start)
        at = min((each for each in drafts if each > last), default=last)
        yield Change(at, about, now, False, "undated_status")
    elif now and paused_at is not None:
        yield Change(paused_at, about, now, False)
    elif paused_at is not None:
        # It was over by the end, or the subscription would still say it.
        yield Change(horizon - 1, about, None, False)


def _cancellation(anchor: _Json, start: int) -> Iterator[Change]:
    """The wish to cancel: unknown before the day of the latest one, for earlier ones are gone."""
    asked = _int(anchor, "canceled_at")
    wishes = ("cancel_at", "cancel_at_period_end", "canceled_at", "cancellation_details")
    nothing = {"cancel_at_period_end": False}
    for name in wishes:
        value = anchor.get(name)
        if asked is None or asked <= start:
            yield Change(start, ("term", name), value, True)
            continue
        yield Change(start, ("term", name), nothing.get(name), True)
        if asked != _int(anchor, "ended_at"):
            yield Change(asked, ("term", name), value, True)


# --- discounts ------------------------------------------------------------------------------------


def discount_changes(
    anchor: _Json, bills: Sequence[Bill], start: int, horizon: int
) -> Iterator[Change]:
    """When each discount came, and, where it is not there any more, went."""
    held = _held(anchor)
    for key, found in held.items():
        yield Change(_begin(found, start), ("discount", key), found, True)
    for key, (found, first, last) in _invoiced(bills).items():
        if key in held:
            continue
        begins = _int(found, "start")
        yield Change(max(begins or first, start), ("discount", key), found, begins is not None)
        if _int(found, "end") is None and _lasts(found):
            yield Change(min(last, horizon - 1), ("discount", key), None, False, "lost_discount")


def _held(anchor: _Json) -> dict[str, dict[str, Any]]:
    """The discounts of the subscription and of its items, by id, as objects."""
    found: dict[str, dict[str, Any]] = {}
    whole = Fields(anchor)
    for holder, item in [
        (whole, None),
        *((each, each.text("id")) for each in listed(whole, "items")),
    ]:
        for each in discounts_of(holder)[1]:
            if isinstance(each, Mapping) and isinstance(each.get("id"), str):
                found[each["id"]] = {**each, "subscription_item": item}
    return found


def _invoiced(bills: Sequence[Bill]) -> dict[str, tuple[dict[str, Any], int, int]]:
    """Discounts that invoices show: the object, when it was first seen, and until when it held."""
    seen: dict[str, tuple[dict[str, Any], int, int]] = {}
    for bill in bills:
        if not bill.counts or not bill.raw:
            continue
        until = max((line.end for line in bill.lines if not line.proration), default=bill.created)
        for each in discounts_of(Fields(bill.raw))[1]:
            if not isinstance(each, Mapping) or not isinstance(each.get("id"), str):
                continue
            first = seen[each["id"]][1] if each["id"] in seen else bill.created
            seen[each["id"]] = (dict(each), first, until)
    return seen


def _lasts(found: _Json) -> bool:
    """Whether a discount without an end goes on until somebody takes it off."""
    coupon = found.get("coupon") or (found.get("source") or {}).get("coupon")
    return not isinstance(coupon, Mapping) or coupon.get("duration") == "forever"


def _begin(found: _Json, start: int) -> int:
    begins = _int(found, "start") or start
    return start if begins - start <= _AUTOMATIC_S else begins


def _int(found: _Json, key: str) -> int | None:
    value = found.get(key)
    return value if type(value) is int else None
