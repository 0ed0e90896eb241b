"""Who is in a segment: one set of customer keys, for a whole question.

Membership is decided once, at the close of the question's last day: what the customer pays then,
and what is known of it (as of `known_at`, where that is asked). It does not change from period to
period: a series follows the same customers through time.

Every look-up finds at most one row a customer, or is a semi-join: a customer is in or is not, and
no condition can count it twice. A comparison with something unknown does not hold, and its negation
does; so a segment and its complement are everybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Date,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    case,
    cast,
    exists,
    extract,
    false,
    func,
    literal,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.metrics.base import RateNeed
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_on, whole_sum
from tidemill.money import exponent
from tidemill.periods import instants
from tidemill.segments.fields import Field
from tidemill.segments.tree import All, Condition, Either, Node, Not, conditions_of
from tidemill.vocabulary import SubscriptionStatus

__all__ = ["Ground"]

_TERMINAL: Final = (SubscriptionStatus.CANCELED.value,)


@dataclass(frozen=True)
class Ground:
    """What membership is decided on: a question's rows and relations, and the day."""

    q: Query
    on: date

    def members(self, tree: Node) -> Select[Any]:
        """The keys of the customers of which a tree holds: customer_id, each once."""
        used = [each.field for each in conditions_of(tree)]
        person, source = self._people(used)
        return select(person.c.customer_id).select_from(source).where(self._holds(tree))

    def needs(self, tree: Node) -> tuple[RateNeed, ...]:
        """The rates without which nobody can say who is in it."""
        if not any(each.field.name == "mrr" for each in conditions_of(tree)):
            return ()
        # No level is negative, so a currency's sum is zero only when nobody pays in it.
        level, rate = self._levels, rates_on(self.q.rates, self.on, "member_need_rate")
        lacking = (
            select(level.c.currency, cast(literal(self.on), Date).label("day"))
            .outerjoin_from(level, rate, rate.c.currency == level.c.currency)
            .where(rate.c.factor.is_(None), level.c.native_minor != 0)
            .distinct()
        )
        return (RateNeed(lacking, eager=True),)

    # --- conditions -----------------------------------------------------------------------------

    def _holds(self, node: Node) -> ColumnElement[bool]:
        match node:
            case All(of=several):
                return and_(*map(self._holds, several))
            case Either(of=several):
                return or_(*map(self._holds, several))
            case Not(of=inner):
                return not_(self._holds(inner))
            case Condition():
                return self._condition(node)

    def _condition(self, asked: Condition) -> ColumnElement[bool]:
        """A condition that is true or false and never unknown."""
        positive = _POSITIVE.get(asked.operator)
        if positive is not None:
            return not_(self._condition(Condition(asked.field, positive, asked.value)))
        if not asked.field.many:
            return func.coalesce(_compared(self._value(asked.field), asked), false())
        rows = self._item if asked.field.place == "item" else self._standing
        held = rows.alias()
        own = held.c.customer_id == self._person.c.customer_id
        return exists().where(own, _compared(held.c[asked.field.column], asked))

    def _value(self, asked: Field) -> ColumnElement[Any]:
        match asked.place:
            case "attribute":
                row = self._attribute(asked)
                if asked.kind == "day":
                    return cast(func.timezone(self.q.policy.tz, row.c.moment), Date)
                return row.c[{"string": "text", "number": "number", "bool": "flag"}[asked.kind]]
            case "figure":
                return self._figure(asked.name)
            case _ if asked.name == "source":
                return self._source.c.name
            case _:
                value = self._person.c[asked.column]
                return func.upper(value) if asked.upper else value

    def _figure(self, name: str) -> ColumnElement[Any]:
        if name == "mrr":
            unit = Decimal(10) ** exponent(self.q.base_currency)
            return func.coalesce(self._worth.c.level_minor, 0) / unit
        figure = self._figures
        match name:
            case "active":
                return func.coalesce(figure.c.active_count, 0) > 0
            case "tenure_months":
                return _months_until(figure.c.cohort_month, self.on)
            case "subscriptions":
                return func.coalesce(figure.c.subscription_count, 0)
            case _:
                return figure.c.cohort_month

    # --- people and what is looked up for them --------------------------------------------------

    def _people(self, used: list[Field]) -> tuple[FromClause, FromClause]:
        """Every customer with one row at most of each thing that the fields need."""
        person = self._person
        source: FromClause = person
        own = person.c.customer_id
        if any(each.name == "source" for each in used):
            same = self._source.c.source_id == person.c.source_id
            source = source.outerjoin(self._source, same)
        for each in dict.fromkeys(field for field in used if field.place == "attribute"):
            row = self._attribute(each)
            named = and_(row.c.customer_id == own, row.c.attribute == each.column)
            source = source.outerjoin(row, named)
        figures = {each.name for each in used if each.place == "figure"}
        if "mrr" in figures:
            source = source.outerjoin(self._worth, self._worth.c.customer_id == own)
        if figures - {"mrr"}:
            source = source.outerjoin(self._figures, self._figures.c.customer_id == own)
        return person, source

    @cached_property
    def _person(self) -> FromClause:
        return self.q.relations.customers.alias("person")

    @cached_property
    def _source(self) -> FromClause:
        return self.q.relations.sources.alias("person_source")

    @cached_property
    def _attribute_rows(self) -> dict[str, FromClause]:
        return {}

    def _attribute(self, asked: Field) -> FromClause:
        rows = self._attribute_rows
        if asked.column not in rows:
            rows[asked.column] = self.q.relations.customer_attributes.alias(
                f"person_attribute_{len(rows) + 1}"
            )
        return rows[asked.column]

    @cached_property
    def _levels(self) -> CTE:
        """Levels at the close of the day: customer_id, currency, native_minor."""
        rows = self.q.movements.c
        currency, amount = rows.currency, rows.amount_minor
        if self.q.carries_rates:
            currency, amount = literal(self.q.base_currency, Text), rows.amount_base_minor
        told = (
            select(rows.customer_id, currency.label("currency"), amount.label("amount"))
            .where(rows.day <= self.on)
            .subquery("told_level")
        )
        keys = (told.c.customer_id, told.c.currency)
        total = func.sum(told.c.amount).label("native_minor")
        return select(*keys, total).group_by(*keys).cte("member_level")

    @cached_property
    def _worth(self) -> CTE:
        """What each customer pays a month: customer_id, level_minor (base currency)."""
        level, rate = self._levels, rates_on(self.q.rates, self.on, "member_rate")
        return (
            select(
                level.c.customer_id,
                whole_sum(level.c.native_minor, rate.c.factor).label("level_minor"),
            )
            .outerjoin_from(level, rate, rate.c.currency == level.c.currency)
            .group_by(level.c.customer_id)
            .cte("member_worth")
        )

    @cached_property
    def _figures(self) -> CTE:
        """customer_id, active_count (0 or 1), cohort_month, subscription_count."""
        rows = self.q.movements.c
        paid = (
            select(
                rows.customer_id,
                rows.subscription_id,
                func.sum(rows.customer_delta).label("delta"),
                func.min(rows.cohort_month).label("cohort_month"),
                func.sum(rows.amount_minor).label("level"),
            )
            .where(rows.day <= self.on)
            .group_by(rows.customer_id, rows.subscription_id)
            .subquery("paid")
        )
        return (
            select(
                paid.c.customer_id,
                cast(func.sum(paid.c.delta), BigInteger).label("active_count"),
                func.min(paid.c.cohort_month).label("cohort_month"),
                func.count().filter(paid.c.level > 0).label("subscription_count"),
            )
            .group_by(paid.c.customer_id)
            .cte("member_figure")
        )

    @cached_property
    def _item(self) -> CTE:
        """What each customer pays for: customer_id and the columns of item fields."""
        rows, relations = self.q.movements.c, self.q.relations
        plan, product = relations.plans.alias("held_plan"), relations.products.alias("held_product")
        subscription = self.q.subscriptions.alias("held_subscription")
        keys = (
            *(rows.customer_id, rows.source_id, rows.subscription_id, rows.plan, rows.product),
            *(rows.interval, rows.interval_count, rows.currency),
        )
        held = (
            select(*keys)
            .where(rows.day <= self.on)
            .group_by(*keys)
            .having(func.sum(rows.amount_minor) > 0)
            .subquery("held")
        )
        own_product = func.coalesce(held.c.product, plan.c.product)
        once = held.c.interval_count == 1
        several = func.concat(held.c.interval_count, " ", held.c.interval, "s")
        return (
            select(
                held.c.customer_id,
                held.c.plan,
                plan.c.name.label("plan_name"),
                own_product.label("product"),
                product.c.name.label("product_name"),
                case((once, held.c.interval), else_=several).label("interval"),
                held.c.currency,
                subscription.c.external_id.label("subscription"),
            )
            .outerjoin_from(
                held,
                plan,
                and_(plan.c.source_id == held.c.source_id, plan.c.plan == held.c.plan),
            )
            .outerjoin(
                product,
                and_(product.c.source_id == held.c.source_id, product.c.product == own_product),
            )
            .outerjoin(subscription, subscription.c.subscription_id == held.c.subscription_id)
            .cte("member_item")
        )

    @cached_property
    def _standing(self) -> CTE:
        """What each subscription is at the close of the day: customer_id, status."""
        version = self.q.relations.subscription_versions.alias("standing_version")
        closes = instants(self.on, self.on, self.q.policy.tz).end_exclusive
        latest = (
            select(version.c.customer_id, version.c.status)
            .ext(distinct_on(version.c.subscription_id))
            .where(version.c.occurred_at < closes)
            .order_by(
                version.c.subscription_id,
                version.c.occurred_at.desc(),
                version.c.sequence.desc(),
                version.c.status.in_(_TERMINAL).desc(),
                version.c.recorded_at.desc(),
                version.c.event_id.desc(),
            )
            .subquery("latest_version")
        )
        if self.q.policy.identity != "merged":
            return select(latest).cte("member_standing")
        company = self.q.relations.identities.alias("standing_company")
        owner = func.coalesce(company.c.canonical_id, latest.c.customer_id)
        return (
            select(owner.label("customer_id"), latest.c.status)
            .outerjoin_from(latest, company, company.c.customer_id == latest.c.customer_id)
            .cte("member_standing")
        )


_POSITIVE: Final = {
    "!=": "=",
    "not_in": "in",
    "not_contains": "contains",
    "is_empty": "is_not_empty",
}
"""Operator → what it denies. Of several values it denies that any of them is so."""


def _compared(value: ColumnElement[Any], asked: Condition) -> Any:
    """A comparison that does not deny; values are bound parameters."""
    wanted = asked.value
    match asked.operator:
        case "=":
            return value == wanted
        case "in":
            return value.in_(wanted)
        case "between":
            return value.between(*wanted)
        case "contains":
            return value.icontains(wanted, autoescape=True)
        case "starts_with":
            return value.istartswith(wanted, autoescape=True)
        case "ends_with":
            return value.iendswith(wanted, autoescape=True)
        case "is_not_empty":
            filled = value.is_not(None)
            return and_(filled, value != "") if asked.field.kind == "string" else filled
        case ">":
            return value > wanted
        case ">=":
            return value >= wanted
        case "<":
            return value < wanted
        case _:
            assert asked.operator == "<=", asked.operator
            return value <= wanted


def _months_until(month: ColumnElement[Any], on: date) -> ColumnElement[Any]:
    years = on.year - cast(extract("year", month), Integer)
    return years * 12 + on.month - cast(extract("month", month), Integer)
