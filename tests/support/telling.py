"""Telling a store what happens, delivery by delivery, and asking its engine what came of it.

Everything goes the way it goes in production: each event by itself through the import into log,
tables and facts, and each question to the engine. Events are written as short as a test needs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from tests.support.emptied import emptied
from tidemill.bookkeeping import FACTS, settle
from tidemill.bus import PostgresBus
from tidemill.connectors.stripe.connector import Stripe
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.events import Event, parse_event
from tidemill.ingest import Ingested, ingest
from tidemill.intake import Ignored, Rejected
from tidemill.knobs import KNOB_NAMES
from tidemill.metrics.result import Result
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy
from tidemill.state import Books

__all__ = [
    "LATER",
    "Exact",
    "Told",
    "described",
    "invoiced",
    "item",
    "orders",
    "paid",
    "planned",
    "rate",
    "spent",
    "subscribed",
]

LATER: Final = datetime(2028, 1, 1, tzinfo=UTC)
"""An instant after everything that tests tell; questions are asked then."""

Exact = Decimal | int
"""An amount of money in minor units; tests write whole ones as int."""

_FIRST, _LAST = date(2023, 1, 1), date(2027, 12, 31)


# --- what happens ---------------------------------------------------------------------------------


def item(amount: int | str = 10_000, **more: Any) -> dict[str, Any]:
    """An item at `amount` minor units a month, unless `more` says otherwise."""
    return {"id": "si_1", "quantity": 1, "unit_amount": amount, "interval": "month"} | more


def subscribed(
    customer: str, when: str, amount: int | str = 10_000, status: str = "active", **more: Any
) -> Event:
    """The whole state of a subscription from `when` on: one item of `amount` a month.

    Others than that are `more`: keys of the payload, such as `items`, and of the envelope, such as
    `source`. The subscription is ``sub_CUSTOMER`` unless `id` says otherwise; `as_` names the event
    apart from others that say the same.
    """
    data = {
        "id": f"sub_{customer}",
        "status": status,
        "currency": "USD",
        "items": [item(amount)],
    }
    return _event("subscription.updated", customer, when, data, more)


def described(customer: str, when: str, **more: Any) -> Event:
    """``customer.updated``: its name, its country."""
    return _event("customer.updated", customer, when, {"id": customer}, more)


def planned(plan: str, when: str, **more: Any) -> Event:
    """``plan.updated``: the catalogue's word about a plan."""
    data = {
        "id": plan,
        "currency": "USD",
        "interval": "month",
        "interval_count": 1,
        "unit_amount": 0,
        "pricing_model": "flat",
        "usage_type": "licensed",
    }
    return _event("plan.updated", "", when, data, more)


def rate(day: str, value: str, quote: str = "EUR", base: str = "USD", **more: Any) -> Event:
    """``fx_rate.published``: one `quote` is worth `value` of `base` from the day on."""
    data = {"base": base, "quote": quote, "day": day, "rate": value}
    return _event("fx_rate.published", "", f"{day}T00:00:00Z", data, more)


def invoiced(customer: str, when: str, amount: int, kind: str = "usage", **more: Any) -> Event:
    """``invoice.updated``: an invoice of one line, paid unless `status` says otherwise."""
    line = {"id": "il_1", "kind": kind, "amount": amount}
    data = {
        "id": f"in_{when}",
        "subscription": f"sub_{customer}",
        "status": "paid",
        "currency": "USD",
        "subtotal": amount,
        "tax": 0,
        "total": amount,
        "issued_at": _instant(when),
        "lines": [line],
    }
    return _event("invoice.updated", customer, when, data, more)


def paid(customer: str, when: str, amount: int, invoice: str, **more: Any) -> Event:
    """``payment.succeeded``, or another `type` of payment, for an invoice."""
    data = {"id": f"py_{when}", "invoice": invoice, "amount": amount, "currency": "USD"}
    return _event("payment.succeeded", customer, when, data, more)


def spent(day: str, amount: int, category: str = "program", **more: Any) -> Event:
    """``expense.recorded``: a cost of a day, in USD unless `currency` says otherwise."""
    data = {"id": f"{category} {day}", "day": day, "amount": amount, "currency": "USD"}
    return _event("expense.recorded", "", f"{day}T00:00:00Z", {**data, "category": category}, more)


def orders(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Some orders of arrival; each event is first in one of them and, of three, last in one."""
    for place in range(len(events)):
        yield [*events[place:], *events[:place]]
    if len(events) > 2:
        yield list(reversed(events))


def _event(
    type_: str, customer: str, when: str, data: Mapping[str, Any], more: dict[str, Any]
) -> Event:
    at = _instant(when)
    envelope = {"source": "stripe", "type": type_, "occurred_at": at, "customer": customer}
    given = {name: more.pop(name) for name in _ENVELOPE & more.keys()}
    if name := more.pop("as_", None):
        given["id"] = uuid5(NAMESPACE_URL, f"{type_} {name}")
    return parse_event({"recorded_at": at} | envelope | given | {"data": {**data, **more}})


_ENVELOPE: Final = {"source", "type", "sequence", "recorded_at", "livemode"}


def _instant(when: str) -> str:
    """An instant as events write it; a day alone means its noon in UTC."""
    return when if "T" in when else f"{when}T12:00:00Z"


# --- what came of it ------------------------------------------------------------------------------


class Told:
    """A store that is told what happens, and its engine.

    Days are text, amounts minor units of the base currency. Knobs of another policy are given by
    name: ``told.mrr("2025-01-31", discounts="exclude")``.
    """

    def __init__(
        self, database: Database, *, base: str = "USD", policy: Policy | None = None
    ) -> None:
        self.database = database
        self.books = Books(FACTS, policy or Policy.of(), base)
        self.bus = PostgresBus(database)
        settle(database, self.bus, self.books)
        self.engine = MetricsEngine(
            database, base_currency=base, policy=self.books.policy, as_of=LATER
        )

    def afresh(self) -> Told:
        """The same store emptied, to be told something else."""
        return Told(emptied(self.database), base=self.books.base_currency, policy=self.books.policy)

    def hear(self, *items: Event | Rejected | Ignored) -> Ingested:
        """Take events in one by one, as they come; the counts of the last."""
        done = Ingested()
        for each in items:
            done = ingest(self.database, self.bus, [each], self.books)
        return done

    def hear_together(self, *items: Event) -> Ingested:
        """Take events in as one delivery, as an import does; for books that are only asked about.

        What is kept is the same (`tests/property/test_kept_facts.py`), in a fraction of the time.
        """
        return ingest(self.database, self.bus, items, self.books)

    def hear_stripe(self, *raw: Mapping[str, Any]) -> None:
        """Take raw Stripe events in one by one, as webhooks do."""
        for each in raw:
            translation = Stripe().translate(each, source="stripe", test_mode=True)
            assert not translation.problems, translation.problems
            self.hear(*translation.events)

    def mrr(self, at: str, **knobs: str) -> Exact:
        """MRR at the close of a day."""
        value = self.ask("mrr", "current", at=at, **knobs).value
        assert isinstance(value, Decimal)
        return value

    def customers(self, at: str, **knobs: str) -> int:
        """Active customers at the close of a day."""
        value = self.ask("customers", "current", at=at, **knobs).value
        assert isinstance(value, int)
        return value

    def moved(self, **knobs: str) -> list[tuple[str, str, Exact]]:
        """All netted movements: day, type, amount in base currency; checked against the levels.

        A change of plan at the same price is a movement of nothing, and left out.
        """
        span = {"start": _FIRST, "end": _LAST}
        rows = self.ask("mrr", "movements", **span, **knobs).rows
        if not knobs:  # under another policy they are derived anyway
            known = self.ask("mrr", "movements", **span, known_at=LATER).rows
            assert rows == known, "kept facts are not what the history gives"
        netted: dict[tuple[str, str, str], Exact] = {}
        for row in rows:
            key = (str(row["day"]), row["customer"], row["type"])
            netted[key] = netted.get(key, 0) + row["amount"]
        self._check_levels(sum(netted.values()), **knobs)
        named = ((key[0], key[2], amount) for key, amount in netted.items())
        return [each for each in named if each[2] != 0 or each[1] != "expansion"]

    def _check_levels(self, moved: Exact, **knobs: str) -> None:
        """The last level is movements and exchange rates, asked for alone and by the waterfall."""
        level = self.ask("mrr", "current", at=_LAST, **knobs).value
        rows = self.waterfall(str(_FIRST), str(_LAST), grain="year", **knobs).rows
        fx = sum(row["fx"] for row in rows)
        assert round(rows[-1]["closing"], 6) == level
        assert round(moved + fx, 6) == level, (moved, fx, level)

    def waterfall(self, start: str, end: str, *by: str, **how: Any) -> Result:
        """From opening to closing, month by month unless `grain` says otherwise."""
        return self.ask("mrr", "waterfall", *by, start=start, end=end, **how)

    def ask(self, metric: str, question: str, *by: str, **how: Any) -> Result:
        """A question; `by` are dimensions, and among `how` are `where` and knobs of the policy."""
        spec = QuerySpec(by, how.pop("where", ()))
        policy = self.books.policy
        knobs = {name: how.pop(name) for name in list(how) if name in KNOB_NAMES}
        under = policy.turned(knobs) if knobs else policy
        return self.engine.query(metric, question, spec=spec, policy=under, **how)
