"""MRR: the monthly value of all counted subscriptions, how it stands and how it moved."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, ColumnElement, func, literal, select
from sqlalchemy.dialects.postgresql import array

from tidemill.ledger.movements import FX_TYPE
from tidemill.metrics.base import (
    MONTH_START,
    TODAY,
    YEAR_AHEAD,
    YEAR_OF_MONTHS,
    Behind,
    Day,
    Grain,
    Metric,
    Table,
    metric,
    question,
)
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.columns import day, instant, money, text
from tidemill.metrics.flows import WATERFALL, Flow, check_waterfall, flow_table, waterfall
from tidemill.metrics.levels import money_at, money_by_period
from tidemill.metrics.listing import Listing, listed, own
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.mrr.beside import at_risk, trial_mrr
from tidemill.metrics.query import Query
from tidemill.vocabulary import MovementType

__all__ = ["Mrr"]

_ALL_KINDS = ("customer", "item", "movement")


@metric("mrr", title="Monthly recurring revenue")
class Mrr(Metric):
    """What all counted subscriptions are worth a month, in the base currency."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)

    @question(money("mrr", "MRR at the close of the day."), default=True, standing=True)
    def current(self, q: Query, at: Day = TODAY) -> Table:
        """MRR at the close of a day.

        Args:
            at: the day; a later one than today gives what is committed so far.
        """
        return money_at(q, at, "mrr")

    @question(day("period"), money("mrr", "MRR at the period's close."))
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """MRR at the close of every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return money_by_period(q, start, end, grain, "mrr")

    @question(text("type", "The movement's type, or fx."), money("amount", "Signed."))
    def breakdown(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """How much of a range's change of MRR each type of movement made, and exchange rates.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        calendar = Calendar.of(start, end, None, q.policy.tz)
        statement, need = waterfall(q, calendar)
        whole = statement.subquery("waterfall")
        names = [*(each.value for each in MovementType), "fx"]
        part = (
            func.unnest(
                array([literal(name) for name in names]), array([whole.c[name] for name in names])
            )
            .table_valued("type", "amount", with_ordinality="part", name="part")
            .render_derived()
            .lateral()
        )
        return q.table(
            select(*q.shown_groups(whole), part.c.type, part.c.amount)
            .select_from(whole.join(part, literal(True)))
            .order_by(*q.group_order(whole), part.c.part),
            periods=calendar.periods,
            behind=Behind(start, end),
            needs=(need,),
        )

    @question(
        day("period"),
        money("opening", "MRR before the period."),
        money("new"),
        money("expansion"),
        money("reactivation"),
        money("contraction", "Negative."),
        money("churn", "Negative."),
        money("fx", "The effect of exchange rates."),
        money("closing", "MRR at the period's close."),
    )
    def waterfall(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """How MRR came from each period's opening to its closing; it always adds up.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        calendar = Calendar.of(start, end, grain, q.policy.tz)
        statement, need = waterfall(q, calendar)
        made = statement.subquery("waterfall")
        types = [made.c[each.value] for each in WATERFALL]
        columns = [made.c.period, made.c.opening, *types, made.c.fx, made.c.closing]
        return q.table(
            select(*q.shown_groups(made), *columns).order_by(*q.group_order(made), made.c.place),
            periods=calendar.periods,
            behind=Behind(start, end),
            needs=(need,),
            checks=(check_waterfall,),
        )

    @question(
        day("period"), money("net_new", "The sum of all movements, signed."), kinds=_ALL_KINDS
    )
    def net_new(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """The sum of each period's movements, without the effect of exchange rates.

        It can also be cut by what describes a movement: its type, its cause, the churn reason.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """

        def columns(period: CTE, flow: Flow) -> list[ColumnElement[Any]]:
            return [period.c.key.label("period"), flow.of().label("net_new")]

        return flow_table(q, Calendar.of(start, end, grain, q.policy.tz), columns)

    @question(money("at_risk", "MRR of subscriptions that are past due."))
    def at_risk(self, q: Query, at: Day = TODAY) -> Table:
        """MRR at risk: that of subscriptions that are past due at the close of a day.

        It is part of MRR or not as the knob `past_due` says, and the same under each of its values.

        Args:
            at: the day.
        """
        return at_risk(q, at)

    @question(money("trial_mrr", "What subscriptions on trial would be worth."))
    def trial(self, q: Query, at: Day = TODAY) -> Table:
        """Trial MRR: what subscriptions on trial at the close of a day would be worth.

        It is a line of its own, and part of MRR only under `trials_in_mrr = include`.

        Args:
            at: the day.
        """
        return trial_mrr(q, at)

    @question(day("period"), money("mrr", "MRR that is committed for the period's close."))
    def committed(
        self, q: Query, start: Day = TODAY, end: Day = YEAR_AHEAD, grain: Grain = "month"
    ) -> Table:
        """MRR as it will be, if nothing happens but what is scheduled already.

        Cancellations to come, discounts that end, phases of schedules and starts in the future are
        movements at their dates; renewals that nobody has called off go on.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return money_by_period(q, start, end, grain, "mrr")

    @question(
        day("day", "The movement's calendar day."),
        instant("occurred_at", "When the level changed."),
        text("customer", "The customer's id in the billing system."),
        text("subscription", "The subscription's id in the billing system."),
        text("plan", "The plan's id in the billing system."),
        text("type", "The type of the netted movement the row is part of."),
        money("amount", "In base currency, at the rate of the day; signed."),
        text("currency", "The subscription's currency."),
        money(
            "native_amount", "In the subscription's currency; signed.", currency_column="currency"
        ),
        text("cause", "The event, or the timer that ran out."),
        text("event_id", "The event, or the event that set the timer."),
        lists=True,
        kinds=_ALL_KINDS,
    )
    def movements(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """Every movement of a range with its cause.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        return listed(q, start, end, _movements(q))


def _movements(q: Query) -> Listing:
    """The movements with their causes; what exchange rates did is none."""
    return Listing(
        worth=q.moved,
        rates=q.rates,
        shown={
            "subscription": lambda scope: scope["subscriptions"].c.external_id,
            **{name: own(name) for name in ("plan", "type", "cause")},
        },
        ties=("customer", "subscription", "event_position", "item", "native_amount"),
        joins=("subscriptions",),
        where=(q.rows.c.type != FX_TYPE,),
    )
