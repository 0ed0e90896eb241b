"""What the invoices of a subscription prove about its past: which item cost what, from when on.

A *cycle* line charges an item for a whole period: from its start on, the item had that price and
quantity. A *proration* pair makes up for a change inside a period: its start is the instant of the
change, the credit takes the old state back and the charge shows the new one. Amounts are evidence
only where a price or a quantity cannot be read; MRR never comes from them (stripe.md §3.7, §4.4).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.history_evidence import Bill, Charged, Evidence
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.prices import read_price

__all__ = ["Placed", "Point", "points_of", "price_from"]

_Json = Mapping[str, Any]

_HOUR: Final = 3_600
_DAY: Final = 86_400
# Days of a period → the interval and count it is taken for when no price says so.
_PERIODS: Final = (
    (6, 8, "week", 1),
    (13, 15, "week", 2),
    (27, 32, "month", 1),
    (58, 63, "month", 2),
    (88, 93, "month", 3),
    (180, 185, "month", 6),
    (360, 367, "year", 1),
    (725, 735, "year", 2),
)


@dataclass(frozen=True, slots=True)
class Point:
    """An item's state from an instant on; without a price it was there no more."""

    at: int
    price: str | None
    quantity: int | None
    exact: bool
    """Whether the instant is proven; if not, it is the first at which the state is seen."""
    end: int
    """Until when the evidence covers the item."""
    shown: _Json = field(default_factory=dict)
    amount: Decimal = Decimal(0)
    product: str | None = None

    @property
    def gone(self) -> bool:
        """Whether the item was removed."""
        return self.price is None


def points_of(
    bills: Sequence[Bill], anchor: Mapping[str, _Json], evidence: Evidence, start: int
) -> dict[str, list[Point]]:
    """What each item was, instant after instant, as far as invoices prove it; by item id.

    anchor: the items as they are at the end of what is reconstructed, by id.
    start:  when the subscription began; what lies within an hour of it began with it.
    """
    lines = [line for bill in bills if bill.counts for line in bill.lines]
    placed = Placed(lines, anchor, evidence, start)
    groups: dict[int, list[Charged]] = defaultdict(list)
    for line in lines:
        if line.item is None:
            groups[placed.moment(line)].append(line)
    for at in sorted(groups):
        placed.place(at, groups[at])
    return placed.points()


class Placed:
    """Lines by item and instant, while prorations that name no item find theirs."""

    def __init__(
        self,
        lines: Sequence[Charged],
        anchor: Mapping[str, _Json],
        evidence: Evidence,
        start: int,
    ) -> None:
        self._anchor = anchor
        self._evidence = evidence
        self._start = start
        self._owners = {line.id: line.item for line in lines if line.item and line.id}
        self._at: dict[str, dict[int, list[Charged]]] = defaultdict(lambda: defaultdict(list))
        for line in lines:
            if line.item is not None:
                self._at[line.item][self.moment(line)].append(line)

    def moment(self, line: Charged) -> int:
        """When the state that a line proves began."""
        return self._start if abs(line.start - self._start) <= _HOUR else line.start

    def points(self) -> dict[str, list[Point]]:
        """What is proven of each item, in order of time."""
        return {item: self._points_of(item) for item in self._at}

    def place(self, at: int, lines: Sequence[Charged]) -> None:
        """Find the items of prorations of one instant; all earlier ones have theirs.

        A credit belongs to the item whose line it takes back, or else to the one that had its price
        just before. A charge with the same price as a credit is a new quantity of that item, one
        with another price a change of plan; a charge without a credit is a new item, and a credit
        without a charge the end of one.
        """
        given_back = [line for line in lines if line.amount < 0]
        charges = [line for line in lines if line.amount >= 0]
        charges.sort(key=lambda line: all(line.price != each.price for each in given_back))
        for credit in given_back:
            item = self._credited(credit, at)
            same = [each for each in charges if each.price == credit.price]
            charge = next(iter(same or charges), None)
            if charge is not None:
                charges.remove(charge)
            if item is None:
                item = self._newcomer(charge or credit, at)
            self._at[item][at] += [credit, *([charge] if charge else [])]
        for charge in charges:
            self._at[self._newcomer(charge, at)][at].append(charge)

    def _credited(self, credit: Charged, at: int) -> str | None:
        """The item that a credit takes back."""
        for line in credit.credited:
            if (owner := self._owners.get(line)) is not None:
                return owner
        fitting = [
            (state.quantity == credit.quantity, item)
            for item in self._at
            if (state := self._before(item, at)) is not None and state.price == credit.price
        ]
        return max(fitting)[1] if fitting else None

    def _before(self, item: str, at: int) -> Point | None:
        earlier = [each for each in self._points_of(item) if each.at < at]
        return earlier[-1] if earlier and not earlier[-1].gone else None

    def _newcomer(self, charge: Charged, at: int) -> str:
        """The item that begins with a charge: one that is first seen later, with its price."""
        for item in {**self._at, **dict.fromkeys(self._anchor)}:
            known = self._points_of(item)
            if known and known[0].at < at:
                continue
            held = self._anchor.get(item, {}).get("price")
            first = known[0].price if known else held.get("id") if held else None
            if first == charge.price:
                return item
        return f"{charge.price}/{at}"

    def _points_of(self, item: str) -> list[Point]:
        moments = self._at.get(item, {})
        held = self._anchor.get(item)
        made = (_point(at, moments[at], held, self._evidence) for at in sorted(moments))
        return [each for each in made if each is not None]


def _point(
    at: int, lines: Sequence[Charged], held: _Json | None, evidence: Evidence
) -> Point | None:
    """The state of an item that the lines starting at one instant prove."""
    cycle = [line for line in lines if not line.proration]
    charges = [line for line in lines if line.proration and line.amount >= 0]
    given_back = [line for line in lines if line.proration and line.amount < 0]
    if cycle:
        last = cycle[-1]
        quantity = _quantity(cycle, held, evidence)
        amount = sum((line.amount for line in cycle), Decimal(0))
        # A plan that is changed with its interval is billed at once, with a credit beside it.
        return _seen(at, last, quantity, amount, exact=bool(given_back))
    if charges:
        taken_back = {(line.price, line.quantity) for line in given_back}
        new = [each for each in charges if (each.price, each.quantity) not in taken_back]
        last = (new or charges)[-1]
        return _seen(at, last, last.quantity, Decimal(0), exact=True)
    return Point(at, None, None, exact=True, end=at) if given_back else None


def _seen(at: int, line: Charged, quantity: int | None, amount: Decimal, *, exact: bool) -> Point:
    return Point(
        at=at,
        price=line.price or "",
        quantity=quantity,
        exact=exact,
        end=line.end,
        shown=line.shown,
        amount=amount,
        product=line.product,
    )


def _quantity(lines: Sequence[Charged], held: _Json | None, evidence: Evidence) -> int | None:
    """The quantity that lines of one period charge for.

    A tiered price makes a line for each tier, and perhaps one for a flat amount. Of the quantities
    that come into question the one is taken at which the price gives what was charged.
    """
    known = [line.quantity for line in lines if line.quantity is not None]
    if len(lines) < 2 or not known:  # noqa: PLR2004 - several lines of one period
        return known[0] if known else None
    whole = evidence.prices.get(lines[0].price or "", {})
    price = read_price(Fields(whole), str(whole.get("currency", "")).upper(), Known())
    charged = sum((line.amount for line in lines), Decimal(0))
    now = held.get("quantity") if held else None
    likely = [sum(known), max(known), sum(known) - 1, *([now] if isinstance(now, int) else [])]
    if price is not None:
        fitting = (each for each in likely if each >= 0 and price.amount(each) == charged)
        return next(fitting, likely[0])
    return likely[0]


def price_from(point: Point, currency: str) -> dict[str, Any]:
    """A price made up from a line, for one that Stripe does not show any more.

    It costs what was charged for a whole period; the interval is that of the period.
    """
    days = round((point.end - point.at) / _DAY)
    interval, count = next(
        ((name, count) for least, most, name, count in _PERIODS if least <= days <= most),
        ("day", max(days, 1)),
    )
    units = point.quantity or 1
    return {
        "id": point.price,
        "object": "price",
        "active": False,
        "billing_scheme": "per_unit",
        "currency": currency,
        "product": point.product,
        "recurring": {"interval": interval, "interval_count": count, "usage_type": "licensed"},
        "type": "recurring",
        "unit_amount": None,
        "unit_amount_decimal": str(point.amount / units),
    }
