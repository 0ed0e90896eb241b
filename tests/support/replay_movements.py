"""From levels to movements: what a customer (or subscription) was before and after, and its name.

The letters in the comments go on from `replay_levels`:

j. A unit is a customer after merges, or a subscription. It is active with a value above zero; the
   knobs `free_plans` and `paused=contraction` add units with a value of zero.
k. Changes of a unit's value or activity are gathered in buckets: by day or month of the policy's
   zone, by gaps of at most N minutes, or none. A bucket's movement is dated at its last change.
   Nothing before and nothing after, or the same before and after, is no movement. What happened
   inside a bucket never was: a unit is new when it was not active at the edge of any bucket before.
l. `join_churn_same_month=ignore`: activity that begins and ends in one calendar month is erased.
m. `reactivation=within:N`: a return more than N x 24 hours after the last churn is new.
n. The sign of a change in several currencies is judged in base at the rate of the bucket's day.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from tests.support.calendars import day_of
from tests.support.replay_book import Key
from tests.support.replay_levels import Level, Rules, SubscriptionLevels

__all__ = ["Moment", "Money", "Movement", "Unit", "UnitKey", "build_units"]

Money = dict[str, Fraction]
"""Currency to amount in its minor units; amounts of zero are left out."""

UnitKey = tuple[Key, Key | None]
"""Customer, and the subscription when movements are told for each."""

_ZERO = Fraction(0)
ToBase = Callable[[Mapping[str, Fraction], date], Fraction]
"""Values native amounts in base-currency minor units, at the rates of a day."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a unit is from an instant on."""

    at: datetime
    levels: Mapping[Key, Level]
    native: Money
    active: bool

    def same(self, other: Moment) -> bool:
        """Whether nothing that a movement tells is different."""
        return self.active == other.active and self.native == other.native


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """A netted, classified change of one unit; amounts are signed.

    `began_at` and `at` are the first and last change in the bucket. `base` is at the policy's
    rates; `carrying` is what it leaves in base currency under `fx=at_movement`. `reasons` splits a
    churn's base amount into voluntary, involuntary and unknown.
    """

    customer: Key
    subscription: Key | None
    type: str
    day: date
    began_at: datetime
    at: datetime
    native: Money
    base: Fraction = _ZERO
    carrying: Money = field(default_factory=dict)
    reasons: Mapping[str, Fraction] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Changes netted together, with the unit before the first and after the last of them."""

    before: Moment
    after: Moment
    began_at: datetime
    at: datetime
    day: date


class Unit:
    """A customer or a subscription through time, under one policy."""

    def __init__(
        self, key: UnitKey, parts: Sequence[SubscriptionLevels], rules: Rules, to_base: ToBase
    ) -> None:
        self.customer, self.subscription = key
        self.parts = {part.key: part for part in parts}
        self.rules = rules
        self.to_base = to_base
        moments = list(self._moments(parts))
        if rules["join_churn_same_month"] == "ignore":
            moments = self._erased(moments)
        self.moments = moments
        self.buckets = list(self._buckets())
        self.movements = list(self._valued(self._movements()))
        self._starts = [moment.at for moment in self.moments]
        self._days = [bucket.day for bucket in self.buckets]
        self._movement_days = [movement.day for movement in self.movements]

    def moment(self, day: date, close: datetime) -> Moment:
        """What the unit is at the close of a day, as its movements tell it.

        A bucket that straddles the close is dated later: the unit is still what it was before it.
        """
        later = bisect_right(self._days, day)
        if later < len(self.buckets) and self.buckets[later].began_at < close:
            close = self.buckets[later].began_at
        return self.state(close)

    def state(self, close: datetime) -> Moment:
        """What the unit really is just before an instant, whatever is netted."""
        place = bisect_left(self._starts, close)
        return self.moments[place - 1] if place else _nothing(close)

    def carrying(self, day: date) -> Money:
        """Value in base currency, by native currency, that movements up to a day have left."""
        place = bisect_right(self._movement_days, day)
        return self.movements[place - 1].carrying if place else {}

    # --- through time

    def _moments(self, parts: Sequence[SubscriptionLevels]) -> Iterator[Moment]:
        changes = sorted(
            ((level.at, part.key, level) for part in parts for level in part.levels),
            key=lambda change: change[0],
        )
        now: dict[Key, Level] = {}
        ever_paid = False
        for place, (at, key, level) in enumerate(changes):
            now[key] = level
            if place + 1 < len(changes) and changes[place + 1][0] == at:
                continue
            native = _summed(now.values())
            # Decision j: "ever" includes now.
            ever_paid = ever_paid or bool(native)
            yield Moment(at, dict(now), native, self._active(now, native, ever_paid=ever_paid))

    def _active(self, now: Mapping[Key, Level], native: Money, *, ever_paid: bool) -> bool:
        if native:
            return True
        if any(level.counted for level in now.values()) and (
            self.rules["free_plans"] == "always"
            or (self.rules["free_plans"] == "after_paid" and ever_paid)
        ):
            return True
        return ever_paid and any(level.kept for level in now.values())

    def _erased(self, moments: list[Moment]) -> list[Moment]:
        """Decision l, on the raw history; what is left is not judged again."""
        zone = self.rules.zone
        kept = list(moments)
        begin: int | None = None
        for place, moment in enumerate(moments):
            if moment.active and begin is None:
                begin = place
            if not moment.active and begin is not None:
                joined = day_of(moments[begin].at, zone)
                if joined.replace(day=1) == day_of(moment.at, zone).replace(day=1):
                    for erased in range(begin, place):
                        kept[erased] = _nothing(moments[erased].at)
                begin = None
        return kept

    # --- buckets

    def _buckets(self) -> Iterator[Bucket]:
        """Decision k."""
        changes = self._changes()
        first = 0
        for place, (_, moment) in enumerate(changes):
            following = changes[place + 1][1] if place + 1 < len(changes) else None
            if following is not None and self._together(moment.at, following.at):
                continue
            began = changes[first][1].at
            day = day_of(moment.at, self.rules.zone)
            yield Bucket(changes[first][0], moment, began, moment.at, day)
            first = place + 1

    def _changes(self) -> list[tuple[Moment, Moment]]:
        """Before and after, wherever the unit's value or activity changes."""
        if not self.moments:
            return []
        states = [_nothing(self.moments[0].at), *self.moments]
        return [(before, after) for before, after in pairwise(states) if not before.same(after)]

    def _together(self, one: datetime, other: datetime) -> bool:
        """Whether two neighbouring changes belong to one bucket."""
        netting = self.rules["netting"]
        if netting == "none":
            return False
        minutes = self.rules.number("netting")
        if minutes is not None:
            return other - one <= timedelta(minutes=minutes)
        days = [day_of(at, self.rules.zone) for at in (one, other)]
        if netting == "month":
            days = [day.replace(day=1) for day in days]
        return days[0] == days[1]

    # --- movements

    def _movements(self) -> Iterator[tuple[Bucket, Movement]]:
        ever_active = False
        churned_at: datetime | None = None
        for bucket in self.buckets:
            before, after = bucket.before, bucket.after
            change = _minus(after.native, before.native)
            if before.active and after.active:
                if not change:
                    continue
                type_ = "expansion" if self.to_base(change, bucket.day) >= 0 else "contraction"
            elif after.active:
                type_ = self._arrival(bucket.at, churned_at) if ever_active else "new"
            elif before.active:
                type_ = "churn"
                churned_at = bucket.at
            else:
                continue
            ever_active = True
            yield (
                bucket,
                Movement(
                    customer=self.customer,
                    subscription=self.subscription,
                    type=type_,
                    day=bucket.day,
                    began_at=bucket.began_at,
                    at=bucket.at,
                    native=change,
                ),
            )

    def _arrival(self, at: datetime, churned_at: datetime | None) -> str:
        """Decision m: what a return is called."""
        if self.rules["reactivation"] == "never":
            return "new"
        days = self.rules.number("reactivation")
        assert churned_at is not None
        if days is not None and at - churned_at > timedelta(days=days):
            return "new"
        return "reactivation"

    def _valued(self, movements: Iterator[tuple[Bucket, Movement]]) -> Iterator[Movement]:
        """Adds the base amounts; decision o for `at_movement`, the only one with a memory."""
        carrying: Money = {}
        for bucket, movement in movements:
            if self.rules["fx"] == "at_movement":
                before = sum(carrying.values(), _ZERO)
                carrying = self._carried(carrying, bucket)
                base = sum(carrying.values(), _ZERO) - before
            else:
                base = self.to_base(movement.native, movement.day)
            reasons = self._reasons(bucket, base) if movement.type == "churn" else {}
            yield replace(movement, base=base, carrying=dict(carrying), reasons=reasons)

    def _carried(self, carrying: Money, bucket: Bucket) -> Money:
        """More is added at the rate of the day; less releases its share of what is carried."""
        before, after = bucket.before.native, bucket.after.native
        carried: Money = {}
        for currency, amount in after.items():
            had = before.get(currency, _ZERO)
            if amount >= had:
                added = self.to_base({currency: amount - had}, bucket.day)
                carried[currency] = carrying.get(currency, _ZERO) + added
            else:
                carried[currency] = carrying[currency] * amount / had
        return carried

    def _reasons(self, bucket: Bucket, base: Fraction) -> Mapping[str, Fraction]:
        """A churn's amount by reason: each subscription's share, why it last stopped counting."""
        shares: dict[str, Fraction] = {}
        for key, level in bucket.before.levels.items():
            if level.value:
                reason = self._reason(key, bucket)
                value = self.to_base({level.currency: level.value}, bucket.day)
                shares[reason] = shares.get(reason, _ZERO) + value
        total = sum(shares.values(), _ZERO)
        return {reason: base * share / total for reason, share in shares.items()}

    def _reason(self, key: Key, bucket: Bucket) -> str:
        stopped: datetime | None = None
        counted = True
        for level in self.parts[key].levels:
            if level.at > bucket.at:
                break
            if counted and not level.counted:
                stopped = level.at
            counted = level.counted
        return "unknown" if stopped is None or counted else self.parts[key].reason(stopped)


def build_units(
    parts: Sequence[SubscriptionLevels],
    owner: Callable[[Key], Key],
    rules: Rules,
    to_base: ToBase,
    level: str,
) -> list[Unit]:
    """The units of a level: one for each customer after merges, or one for each subscription."""
    grouped: dict[UnitKey, list[SubscriptionLevels]] = {}
    for part in parts:
        customer = owner(part.customer)
        key = (customer, part.key if level == "subscription" else None)
        grouped.setdefault(key, []).append(part)
    return [Unit(key, grouped[key], rules, to_base) for key in grouped]


def _nothing(at: datetime) -> Moment:
    return Moment(at, {}, {}, active=False)


def _summed(levels: Iterable[Level]) -> Money:
    total: Money = {}
    for level in levels:
        if level.value:
            total[level.currency] = total.get(level.currency, _ZERO) + level.value
    return {currency: amount for currency, amount in total.items() if amount}


def _minus(one: Money, other: Money) -> Money:
    change = {c: one.get(c, _ZERO) - other.get(c, _ZERO) for c in one.keys() | other.keys()}
    return {currency: amount for currency, amount in sorted(change.items()) if amount}
