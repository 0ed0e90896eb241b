"""Identity I11: segments that share nobody and leave nobody out sum to the totals.

Trees are random, books are random. Each tree and its complement are two branches of one question.
Who is in a segment is also worked out by itself, in plain Python, from what each customer is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import NewDatabase
from tests.support.asking import asked_of
from tests.support.books import FIRST_DAY, random_book
from tests.support.weight import examples
from tidemill.engine import Tidemill
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy

POLICIES: Final = (
    Policy.of(),
    Policy.of("chartmogul"),
    Policy.of("maxio"),
    Policy.of("smsb"),
    Policy.of("default", {"fx": "at_movement", "identity": "per_source"}),
)
AT: Final = date(2025, 6, 30)
SPAN: Final = {"start": FIRST_DAY, "end": AT}

_SOME: Final = {
    "country": ["CZ", "de"],
    "source": ["stripe", "lago"],
    "currency": ["USD", "eur"],
    "interval": ["month", "year"],
    "subscription_status": ["active", "canceled", "past_due"],
    "attribute.tier": ["gold", "silver"],
}
_TINY: Final = Decimal("0.000001")
_STRINGS: Final = ("=", "!=", "in", "not_in", "contains", "not_contains", "starts_with",
                   "ends_with", "is_empty", "is_not_empty")  # fmt: skip
_NUMBERS: Final = ("=", "!=", ">", ">=", "<", "<=", "in", "between", "is_empty")


@st.composite
def _conditions(draw: st.DrawFn, fields: tuple[str, ...]) -> dict[str, Any]:
    if draw(st.booleans()):
        field = draw(st.sampled_from(fields))
        operator = draw(st.sampled_from(_STRINGS))
        one = st.sampled_from(_SOME[field])
        value: Any = draw(st.lists(one, min_size=1) if operator in {"in", "not_in"} else one)
    elif draw(st.integers(0, 4)) == 0:
        field, operator, value = "active", draw(st.sampled_from(["=", "!="])), draw(st.booleans())
    else:
        figures = ("mrr", "tenure_months", "attribute.seats", "subscriptions")
        # How many subscriptions pay cannot be read off any question.
        field = draw(st.sampled_from(figures if "source" in fields else figures[:3]))
        operator = draw(st.sampled_from(_NUMBERS))
        one = st.sampled_from([0, 1, 2, 3, 10, 50])
        value = draw(one)
        if operator == "in":
            value = [value, draw(one)]
        if operator == "between":
            value = sorted([value, draw(one)])
    if operator in {"is_empty", "is_not_empty"}:
        return {"field": field, "operator": operator}
    return {"field": field, "operator": operator, "value": value}


def _trees(fields: tuple[str, ...] = tuple(_SOME)) -> st.SearchStrategy[dict[str, Any]]:
    """Trees over some of the fields of `_SOME`, and over figures."""
    return st.recursive(_conditions(fields), _joints, max_leaves=5)


def _joints(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(inner, min_size=1, max_size=3)
    return (
        st.fixed_dictionaries({"and": several})
        | st.fixed_dictionaries({"or": several})
        | st.fixed_dictionaries({"not": inner})
    )


def _attributes(events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Some customers are described."""
    owners = sorted({(e["source"], e["customer"]) for e in events if e["customer"]})
    for number, (source, customer) in enumerate(owners):
        if number % 3:
            tier, seats = ("gold", "silver")[number % 2], str(number)
            data = {"id": customer, "attributes": {"tier": tier, "seats": seats}}
            yield {
                "source": source,
                "type": "customer.attributes_set",
                "occurred_at": "2025-01-01T00:00:00Z",
                "customer": customer,
                "data": data,
            }


@dataclass(frozen=True)
class Book:
    books: Tidemill

    def ask(self, metric: str, question: str, policy: Policy, *by: str, **how: Any) -> list[Any]:
        spec = QuerySpec(by, compare=how.pop("compare", ()), segment=how.pop("segment", None))
        answer = self.books.engine.query(metric, question, spec=spec, policy=policy, **how)
        return list(answer.rows)


@pytest.fixture(scope="module")
def book(new_database: NewDatabase) -> Iterator[Book]:
    events = random_book(23, customers=16)
    with new_database() as database:
        engine = asked_of(database, [*events, *_attributes(events)])
        yield Book(Tidemill(database, engine))


@settings(
    max_examples=examples(3),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tree=_trees(), policy=st.sampled_from(POLICIES))
def test_a_segment_and_its_complement_are_everybody(
    book: Book, tree: dict[str, Any], policy: Policy
) -> None:
    book.books.segments.save("in", tree)
    book.books.segments.save("out", {"not": tree})
    both = ("in", "out")
    for metric, question, params in (
        ("mrr", "current", {"at": AT}),
        ("customers", "current", {"at": AT}),
        ("mrr", "breakdown", SPAN),
        ("mrr", "waterfall", SPAN),
        ("mrr", "net_new", SPAN),
    ):
        whole = _summed(book.ask(metric, question, policy, **params))
        parts = _summed(book.ask(metric, question, policy, compare=both, **params))
        assert _equal(parts, whole), (metric, question)
    asked = book.ask("churn", "logo", policy, compare=both, start=date(2025, 5, 1), end=AT)
    everybody = book.ask("churn", "logo", policy, start=date(2025, 5, 1), end=AT)
    for side in ("logo_churn_numerator", "logo_churn_denominator"):
        assert sum(row[side] for row in asked) == everybody[0][side]
    # A branch is what the segment alone is.
    for name in both:
        alone = book.ask("mrr", "current", policy, segment=name, at=AT)[0]["mrr"]
        branch = book.ask("mrr", "current", policy, compare=[name], at=AT)
        assert abs(alone - sum(row["mrr"] for row in branch)) < _TINY


@settings(
    max_examples=examples(8),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tree=_trees(("country", "currency", "interval", "attribute.tier")))
def test_who_is_in_a_segment_is_who_a_reader_would_put_there(
    book: Book, people: Mapping[str, Mapping[str, list[Any]]], tree: dict[str, Any]
) -> None:
    book.books.segments.save("in", tree)
    rows = book.ask("mrr", "current", Policy.of(), "customer", segment="in", at=AT)
    paying = {name for name, person in people.items() if person["mrr"] != [0]}
    assert {row["customer"] for row in rows} == {
        name for name in paying if _holds(tree, people[name])
    }


@pytest.fixture(scope="module")
def people(book: Book) -> dict[str, dict[str, list[Any]]]:
    """What each customer is, asked dimension by dimension: name → field → values."""
    default = Policy.of()
    named: dict[str, dict[str, list[Any]]] = {}
    level: dict[str, Decimal] = defaultdict(Decimal)
    fields = (
        "country",
        "attribute.tier",
        "attribute.seats",
        "currency",
        "interval",
        "cohort_month",
    )
    for row in book.ask("mrr", "current", default, "customer", *fields, at=AT):
        person = named.setdefault(row["customer"], {each: [] for each in _EVERY})
        level[row["customer"]] += row["mrr"]
        for each in fields:
            if row[each] != "unknown" and row[each] not in person[each]:
                person[each].append(row[each])
    for name, person in named.items():
        person["mrr"], person["active"] = [level[name] / 100], [True]
        (month,) = person["cohort_month"]
        person["tenure_months"] = [(AT.year - month.year) * 12 + AT.month - month.month]
        person["attribute.seats"] = [int(each) for each in person["attribute.seats"]]
    return named


_EVERY: Final = (*_SOME, "attribute.seats", "cohort_month")


# --- an evaluator of its own ----------------------------------------------------------------------


def _holds(tree: Mapping[str, Any], person: Mapping[str, list[Any]]) -> bool:
    if "and" in tree:
        return all(_holds(each, person) for each in tree["and"])
    if "or" in tree:
        return any(_holds(each, person) for each in tree["or"])
    if "not" in tree:
        return not _holds(tree["not"], person)
    operator, wanted = tree["operator"], tree.get("value")
    denied = {"!=": "=", "not_in": "in", "not_contains": "contains", "is_empty": "is_not_empty"}
    if operator in denied:
        return not _holds({**tree, "operator": denied[operator]}, person)
    if tree["field"] in {"country", "currency"} and wanted is not None:
        upper = [each.upper() for each in wanted] if isinstance(wanted, list) else wanted.upper()
        wanted = upper
    return any(_fits(value, operator, wanted) for value in person[tree["field"]])


def _fits(value: Any, operator: str, wanted: Any) -> bool:
    match operator:
        case "=":
            return bool(value == wanted)
        case "in":
            return value in wanted
        case "contains":
            return wanted.lower() in value.lower()
        case "starts_with":
            return bool(value.lower().startswith(wanted.lower()))
        case "ends_with":
            return bool(value.lower().endswith(wanted.lower()))
        case "between":
            return bool(wanted[0] <= value <= wanted[1])
        case "is_not_empty":
            return True
        case ">":
            return bool(value > wanted)
        case ">=":
            return bool(value >= wanted)
        case "<":
            return bool(value < wanted)
        case _:
            return bool(value <= wanted)


def _summed(rows: list[Mapping[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Amounts by period and type, over whatever segments there are."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = (row.get("period"), row.get("type"))
        line = found.setdefault(key, defaultdict(Decimal))
        for name, value in row.items():
            if name not in {"segment", "period", "type"}:
                line[name] += value
    return found


def _equal(parts: dict[Any, dict[str, Any]], whole: dict[Any, dict[str, Any]]) -> bool:
    return all(
        abs(parts.get(key, {}).get(name, 0) - value) < _TINY
        for key, line in whole.items()
        for name, value in line.items()
    )
