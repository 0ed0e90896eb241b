"""An independent replay of a book of subscriptions, to judge the ledger by.

Plain Python and exact fractions, written from the definitions and not from the SQL. It looks at the
whole state of every subscription at every instant that could matter (`replay_levels`), says what
each customer was before and after (`replay_movements`), and adds up. Slow is fine; obvious is the
point.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from typing import Any

from tests.support import replay_ratios as ratios
from tests.support.calendars import day_close, day_of, month_range
from tests.support.replay_book import Book, Key, read_book
from tests.support.replay_levels import Rules, SubscriptionLevels
from tests.support.replay_movements import Moment, Movement, Unit, build_units
from tests.support.replay_rates import Rates

__all__ = ["MOVEMENT_TYPES", "Replay", "WaterfallRow", "replay"]

MOVEMENT_TYPES = ("new", "expansion", "reactivation", "contraction", "churn")

_ZERO = Fraction(0)
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class WaterfallRow:
    """One period: `opening + sum(movements) + fx = closing`; losses are negative."""

    start: date
    end: date
    opening: Fraction
    movements: Mapping[str, Fraction]
    fx: Fraction
    closing: Fraction


@dataclass(eq=False)
class Replay:
    """A book under one policy. Days are calendar days of the policy's zone; money is base minor."""

    book: Book
    rules: Rules
    base_currency: str
    horizon: date
    rates_table: Rates = field(init=False)
    parts: list[SubscriptionLevels] = field(init=False)
    units: list[Unit] = field(init=False)

    def __post_init__(self) -> None:
        self.rates_table = Rates(self.book, self.base_currency, self.rules)
        self.parts = [
            SubscriptionLevels(self.book, subscription, self.rules)
            for subscription in self.book.subscriptions.values()
        ]
        self.units = self._units(self.rules["movement_level"])

    # --- movements

    @cached_property
    def movements(self) -> list[Movement]:
        """Netted, classified changes dated up to the horizon, by instant and customer."""
        return self._in_order(self.units)

    @cached_property
    def customer_movements(self) -> list[Movement]:
        """The same for customers, whatever the policy's level: who joined, left and came back."""
        return self._in_order(self.customer_units)

    # --- levels

    def mrr_at(self, day: date) -> Fraction:
        """MRR at the close of a day, as the movements dated up to it tell it."""
        return sum((self._worth(unit, day) for unit in self.units), _ZERO)

    def mrr_by_customer(self, day: date) -> dict[Key, Fraction]:
        """The same for each customer that has any."""
        total: dict[Key, Fraction] = {}
        for unit in self.units:
            total[unit.customer] = total.get(unit.customer, _ZERO) + self._worth(unit, day)
        return {customer: worth for customer, worth in total.items() if worth}

    def state_mrr_at(self, day: date) -> Fraction:
        """MRR by the states at the very close of a day, also in the middle of a netting bucket.

        Not for `fx=at_movement`, whose values only movements know.
        """
        close = self._close(day)
        return sum((self._valued(unit, unit.state(close), day) for unit in self.units), _ZERO)

    def customers_at(self, day: date) -> int:
        """Active customers at the close of a day."""
        return len(self._active(day))

    def arr_at(self, day: date) -> Fraction:
        """ARR at the close of a day, by the knob `arr_basis`."""
        basis = self.rules["arr_basis"]
        if basis == "mrr_x12":
            return 12 * self.mrr_at(day)
        close = self._close(day)
        total = _ZERO
        for unit in self.units:
            moment = unit.moment(day, close)
            for key, level in moment.levels.items():
                yearly = unit.parts[key].yearly(moment.at, basis)
                total += yearly * self._level_factor(unit, key, level.currency, moment, day)
        return total

    # --- periods

    def waterfall(self, start: date, end: date, grain: str = "month") -> list[WaterfallRow]:
        """Opening, movements, the effect of exchange rates and closing, for each period."""
        return [self._row(*period) for period in _periods(start, end, grain)]

    def fx_rows(self, start: date, end: date) -> list[tuple[date, Key, Fraction]]:
        """The effect of exchange rates on each customer, dated at the months' ends."""
        rows = []
        for first, last in _periods(start, end, "month"):
            change = self.mrr_by_customer(last)
            for customer, worth in self.mrr_by_customer(first - timedelta(days=1)).items():
                change[customer] = change.get(customer, _ZERO) - worth
            for movement in self._between(first, last):
                change[movement.customer] = change.get(movement.customer, _ZERO) - movement.base
            rows += [(last, customer, fx) for customer, fx in sorted(change.items()) if fx]
        return rows

    def churn_reasons(self, start: date, end: date) -> dict[str, Fraction]:
        """Churned MRR (negative) between two days, inclusive, by reason."""
        split: dict[str, Fraction] = {}
        for movement in self._between(start, end):
            for reason, amount in movement.reasons.items():
                split[reason] = split.get(reason, _ZERO) + amount
        return split

    def rates(self, month: str) -> dict[str, ratios.Ratio | None]:
        """Logo churn, NRR, GRR and quick ratio of a month; None where nothing can be divided."""
        return self.rates_between(*ratios.window(self.rules, month))

    def rates_between(self, opening: date, last: date) -> dict[str, ratios.Ratio | None]:
        """The same of any days: those after the close of `opening`, up to `last`."""
        after_opening = opening + timedelta(days=1)
        window = ratios.Window(
            rules=self.rules,
            active_before=self._active(opening),
            active_after=self._active(last),
            opening=self._customer_values(opening, opening),
            closing=self._customer_values(last, opening),
            opening_mrr=self.mrr_at(opening),
            movements=self._between(after_opening, last),
            events=[m for m in self.customer_movements if after_opening <= m.day <= last],
        )
        return {
            "logo_churn": ratios.logo_churn(window),
            "nrr": ratios.nrr(window),
            "grr": ratios.grr(window),
            "quick_ratio": ratios.quick_ratio(window),
        }

    def trial_conversion(self, month: str, as_of: date | None = None) -> ratios.Ratio | None:
        """Trials converted over trials."""
        known = [trial for part in self.parts for trial in ratios.trials(part.spans)]
        return ratios.trial_conversion(known, self.rules, month, as_of)

    def cash(self, month: str) -> Fraction:
        """Payments less refunds and disputes of a month, at the rates of their days."""
        signs = {
            "succeeded": 1, "refunded": -1, "refund_failed": 1, "disputed": -1, "dispute_won": 1,
        }  # fmt: skip
        return self._in_month(
            month,
            (
                (p.at, p.currency, signs.get(p.kind, 0) * p.amount)
                for p in self.book.payments.values()
            ),
        )

    def usage_revenue(self, month: str) -> Fraction:
        """Finalised usage charges by the month of their invoice, at the rates of their days."""
        charged = (i for i in self.book.invoices.values() if i.status not in {"draft", "void"})
        return self._in_month(
            month, ((i.issued_at, i.currency, sum(i.usage.values(), _ZERO)) for i in charged)
        )

    # --- inside

    @cached_property
    def customer_units(self) -> list[Unit]:
        """Customers through time, whatever the policy's level."""
        if self.rules["movement_level"] == "customer":
            return self.units
        return self._units("customer")

    def _units(self, level: str) -> list[Unit]:
        merged = self.rules["identity"] == "merged"
        owner = self.book.owner if merged else lambda customer: customer
        return build_units(self.parts, owner, self.rules, self.rates_table.to_base, level)

    def _in_order(self, units: Iterable[Unit]) -> list[Movement]:
        movements = [m for unit in units for m in unit.movements if m.day <= self.horizon]
        return sorted(movements, key=lambda m: (m.at, m.customer, m.subscription or ("", "")))

    def _between(self, start: date, end: date) -> list[Movement]:
        # Also beyond the horizon: what is scheduled for then is known already.
        return [m for unit in self.units for m in unit.movements if start <= m.day <= end]

    def _close(self, day: date) -> datetime:
        return day_close(day, self.rules.zone)

    def _active(self, day: date) -> frozenset[Key]:
        close = self._close(day)
        return frozenset(u.customer for u in self.customer_units if u.moment(day, close).active)

    def _worth(self, unit: Unit, day: date) -> Fraction:
        if self.rules["fx"] == "at_movement":
            return sum(unit.carrying(day).values(), _ZERO)
        return self._valued(unit, unit.moment(day, self._close(day)), day)

    def _valued(self, unit: Unit, moment: Moment, day: date) -> Fraction:
        return sum(
            (
                level.value * self._level_factor(unit, key, level.currency, moment, day)
                for key, level in moment.levels.items()
                if level.value
            ),
            _ZERO,
        )

    def _level_factor(
        self, unit: Unit, key: Key, currency: str, moment: Moment, day: date
    ) -> Fraction:
        """The rate a subscription's value has on a day (decision o)."""
        if self.rules["fx"] == "at_renewal":
            at = max(moment.at, self._close(day) - _MOMENT)
            day = day_of(unit.parts[key].renewed_at(at), self.rules.zone)
        return self.rates_table.factor(currency, day)

    def _row(self, start: date, end: date) -> WaterfallRow:
        opening, closing = self.mrr_at(start - timedelta(days=1)), self.mrr_at(end)
        moved = dict.fromkeys(MOVEMENT_TYPES, _ZERO)
        for movement in self._between(start, end):
            moved[movement.type] += movement.base
        fx = closing - opening - sum(moved.values(), _ZERO)
        return WaterfallRow(start, end, opening, moved, fx, closing)

    def _customer_values(self, day: date, rate_day: date) -> dict[Key, Fraction]:
        close = self._close(day)
        natives = ratios.by_customer((u.customer, u.moment(day, close).native) for u in self.units)
        to_base = self.rates_table.to_base
        return {customer: to_base(native, rate_day) for customer, native in natives.items()}

    def _in_month(self, month: str, amounts: Iterable[tuple[datetime, str, Fraction]]) -> Fraction:
        first, last = month_range(month)
        dated = ((day_of(at, self.rules.zone), currency, x) for at, currency, x in amounts)
        return sum(
            (x * self.rates_table.market(c, day) for day, c, x in dated if first <= day <= last),
            _ZERO,
        )


def replay(
    events: Iterable[Mapping[str, Any]] | Book,
    policy: Mapping[str, str | int],
    *,
    base_currency: str = "USD",
    horizon: date = date(2100, 1, 1),
    known_at: datetime | None = None,
) -> Replay:
    """Replays canonical events (or a book read before) under a policy with all knobs resolved.

    `movements` are listed up to `horizon`; timers may date them in the future. `known_at` leaves
    out events recorded later; a book has been read with one already.
    """
    book = events if isinstance(events, Book) else read_book(events, known_at)
    return Replay(book, Rules(policy), base_currency, horizon)


def _periods(start: date, end: date, grain: str) -> Iterator[tuple[date, date]]:
    """The parts of an inclusive range of days that fall into each calendar period."""
    first = start
    while first <= end:
        last = min(_period_end(first, grain), end)
        yield first, last
        first = last + timedelta(days=1)


def _period_end(day: date, grain: str) -> date:
    match grain:
        case "day":
            return day
        case "week":
            return day + timedelta(days=6 - day.weekday())
        case "month":
            return month_range(f"{day:%Y-%m}")[1]
        case "quarter":
            return month_range(f"{day.year}-{(day.month + 2) // 3 * 3}")[1]
        case "year":
            return date(day.year, 12, 31)
        case _:
            raise ValueError(grain)
