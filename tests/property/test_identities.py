"""The identities of the definitions, one test each, on random books under every preset.

`docs/reference/definitions.md` lists them. A test runs under the policies for which its identity is
said to hold; `holding` reads those off the knobs that break it. Each book is loaded once and asked
all identities. Where an identity speaks of levels, customers or what was known, the independent
replay is the other side of it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from tests.conftest import NewDatabase
from tests.support.cases import customer_label
from tests.support.ledger import Row
from tests.support.seen import END, MONTHS, START, Month, Seen, engine_of, money, near, seen
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy
from tidemill.presets import PRESETS
from tidemill.vocabulary import ChurnReason, MovementType

POLICIES = (
    *PRESETS,
    "default;netting=month;fx=constant",
    "default;free_plans=after_paid;paused=contraction;tz=America/New_York",
    "default;movement_level=subscription;netting=month;fx=at_renewal",
    "default;window=rolling_30d;netting=window:600;trials_in_mrr=include",
    "maxio;free_plans=always",
)
BOOKS, CHUNKS = 14, 15
"""Books under one policy in the default run, and how many times that in `make test-all`."""

Loaded = tuple[Database, list[Seen]]
TYPES = [each.value for each in MovementType]


@pytest.fixture(scope="module")
def shared(new_database: NewDatabase) -> Iterator[Database]:
    """One database for all books: emptying it is quicker than making another."""
    with new_database() as database:
        yield database


@pytest.fixture(scope="module")
def books(shared: Database, request: pytest.FixtureRequest) -> Loaded:
    """Books of their own for every policy, looked at once."""
    text, chunk = request.param
    place = POLICIES.index(text) + len(POLICIES) * chunk
    return shared, list(seen(shared, Policy.parse(text), range(place * BOOKS, (place + 1) * BOOKS)))


def holding(holds: Callable[[Policy], bool] = lambda _: True) -> pytest.MarkDecorator:
    """Under every policy for which the identity holds; the books of one after another."""
    params = [
        pytest.param(
            (text, chunk),
            id=text if not chunk else f"{text}-{chunk}",
            marks=[pytest.mark.slow] if chunk else [],
        )
        for chunk in range(CHUNKS)
        for text in POLICIES
        if holds(Policy.parse(text))
    ]
    return pytest.mark.parametrize("books", params, indirect=True, scope="module")


def pays_to_be_there(policy: Policy) -> bool:
    """Nobody is active at no value."""
    return policy.free_plans == "never" and policy.paused != "contraction"


# --- levels and movements -------------------------------------------------------------------------


@holding()
def test_i01_waterfall_closes(books: Loaded) -> None:
    """Opening, new, expansion, reactivation, contraction, churn and fx are the closing."""
    for one in books[1]:
        closing = None
        for row in one.waterfall:
            moved = sum(Fraction(row[name]) for name in (*TYPES, "fx"))
            assert near(Fraction(row["opening"]) + moved, row["closing"]), one.where
            assert closing is None or near(row["opening"], closing), one.where
            closing = row["closing"]
        for row, month in zip(one.waterfall, MONTHS, strict=True):
            assert near(row["closing"], one.judge.mrr_at(month.last)), one.where


@holding()
def test_i02_movements_of_a_customer_are_its_level(books: Loaded) -> None:
    """Also after churn, when nothing may be left; in base currency where rates are carried."""
    for one in books[1]:
        carries = one.policy.fx in ("at_movement", "at_renewal")
        for month in MONTHS:
            found, wanted = one.levels(month.last), one.replayed(month.last)
            assert found.keys() == wanted.keys(), one.where
            for customer, native in found.items():
                assert native.keys() == wanted[customer].keys(), one.where
                assert all(near(native[each], wanted[customer][each]) for each in native), one.where
            if carries:
                _same_in_base(one, month)
            if pays_to_be_there(one.policy):
                gone = {row.customer for row in one.rows} - one.active(month.last)
                assert not gone & found.keys(), one.where


def _same_in_base(one: Seen, month: Month) -> None:
    found: dict[str, Fraction] = defaultdict(Fraction)
    for row in one.rows:
        if row.day <= month.last:
            found[row.customer] += Fraction(row.amount_base or 0)
    for key, wanted in one.judge.mrr_by_customer(month.last).items():
        assert near(found.pop(customer_label(*key)), wanted), one.where
    assert all(near(rest, 0) for rest in found.values()), one.where


@holding(lambda policy: policy.movement_level == "customer")
def test_i03_customers_are_those_before_and_who_came_less_who_left(books: Loaded) -> None:
    for one in books[1]:
        for month in MONTHS:
            came, left = _turning(one, month, 1), _turning(one, month, -1)
            assert {row.type for row in came} <= {"new", "reactivation"}, one.where
            assert {row.type for row in left} <= {"churn"}, one.where
            before, after = len(one.active(month.eve)), len(one.active(month.last))
            assert before + len(came) - len(left) == after, one.where
            assert one.judge.customers_at(month.last) == after, one.where


def _turning(one: Seen, month: Month, sign: int) -> list[Row]:
    return [row for row in one.movements(month) if row.customer_delta * sign > 0]


@holding(lambda policy: policy.movement_level == "customer" and policy.reactivation == "forever")
def test_who_comes_is_new_the_first_time_and_never_again(books: Loaded) -> None:
    """So one row of everybody tells when they joined their cohort."""
    for one in books[1]:
        came = [row for row in one.rows if row.customer_delta > 0]
        new = sorted((row.customer, row.day) for row in came if row.type == "new")
        first = {who: min(row.day for row in came if row.customer == who) for who, _ in new}
        assert {row.customer for row in came} == first.keys(), one.where
        assert new == sorted(first.items()), one.where


@holding(pays_to_be_there)
def test_i04_active_is_worth_something(books: Loaded) -> None:
    for one in books[1]:
        for month in MONTHS:
            assert one.active(month.last) == one.levels(month.last).keys(), one.where


# --- retention and churn --------------------------------------------------------------------------


def _of_cohort(one: Seen, month: Month) -> tuple[Fraction, Fraction, Fraction]:
    """Of those there at the opening: MRR then, what was lost and what moved; rates of that day."""
    there = one.active(month.eve)
    opening = sum(
        (
            one.base(native, month.eve)
            for who, native in one.levels(month.eve).items()
            if who in there
        ),
        Fraction(0),
    )
    rows = [row for row in one.movements(month) if row.customer in there]
    lost = one.base(money(row for row in rows if row.type in ("contraction", "churn")), month.eve)
    return opening, lost, one.base(money(rows), month.eve)


@holding()
def test_i05_cohort_nrr_is_made_of_movements(books: Loaded) -> None:
    """Neutral to exchange rates: movements are valued as the opening is."""
    for one in books[1]:
        for row, month in zip(one.cohort, MONTHS, strict=True):
            opening, _, moved = _of_cohort(one, month)
            assert near(row["nrr_denominator"], opening), (one.where, month)
            assert near(row["nrr_numerator"], opening + moved), (one.where, month)


@holding(lambda p: p.rate_population == "start_cohort" and p.window == "calendar")
def test_i06_reported_nrr_is_the_cohorts(books: Loaded) -> None:
    for one in books[1]:
        for reported, cohort in zip(one.retention, one.cohort, strict=True):
            assert reported["nrr"] == cohort["nrr"], one.where


@holding(
    lambda p: (
        (p.netting, p.fx, p.movement_level) == ("month", "constant", "customer")
        and p.grr_method == "cohort_min"
    )
)
def test_i07_netted_by_month_grr_is_made_of_movements(books: Loaded) -> None:
    for one in books[1]:
        for row, month in zip(one.retention, MONTHS, strict=True):
            opening, lost, _ = _of_cohort(one, month)
            assert near(row["grr_denominator"], opening), (one.where, month)
            assert near(row["grr_numerator"], opening + lost), (one.where, month)


@holding(lambda p: p.grr_method == "cohort_min" and p.rate_population == "start_cohort")
def test_i08_grr_is_a_share_and_no_more_than_nrr(books: Loaded) -> None:
    for one in books[1]:
        for row in one.retention:
            if row["grr"] is not None:
                assert 0 <= row["grr"] <= 1, one.where
                assert row["grr"] <= row["nrr"], one.where


@holding()
def test_i09_churn_is_what_retention_leaves(books: Loaded) -> None:
    pairs = (("gross_mrr_churn", "grr"), ("net_mrr_churn", "nrr"))
    for one in books[1]:
        for lost, kept in zip(one.churn, one.retention, strict=True):
            for churn, retention in pairs:
                assert (lost[churn] is None) == (kept[retention] is None), one.where
                if lost[churn] is not None:
                    assert near(Fraction(lost[churn]) + Fraction(kept[retention]), 1), one.where


@holding(
    lambda p: (
        (p.logo_numerator, p.logo_denominator, p.window)
        == ("net_start_cohort", "start", "calendar")
    )
)
def test_i10_who_is_lost_and_who_is_kept_are_all_there_were(books: Loaded) -> None:
    for one in books[1]:
        for row, month in zip(one.churn, MONTHS, strict=True):
            there, kept = one.active(month.eve), one.active(month.eve) & one.active(month.last)
            assert row["logo_churn_denominator"] == len(there), (one.where, month)
            assert row["logo_churn_numerator"] + len(kept) == len(there), (one.where, month)
            assert row["logo_churn"] is None or 0 <= row["logo_churn"] <= 1, one.where


# --- parts and wholes -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(books: Loaded) -> MetricsEngine:
    """An engine over one book of each policy, for what has to be asked in its own words.

    The book has costs as well.
    """
    database, found = books
    one = max(found, key=lambda each: len(each.rows))
    return engine_of(database, replace(one, events=[*one.events, *_costs()]))


def _costs() -> Iterator[dict[str, Any]]:
    """What is spent in every month."""
    for place, month in enumerate(MONTHS, start=1):
        for category, amount in (("program", 7_000), ("salaries", 9_000), ("cogs", 300)):
            day = month.last.isoformat()
            told = {"source": "stripe", "sequence": 0, "customer": "", "livemode": True}
            yield told | {
                "id": str(uuid5(NAMESPACE_URL, f"{category} {day}")),
                "type": "expense.recorded",
                "occurred_at": f"{day}T00:00:00Z",
                "recorded_at": f"{day}T00:00:00Z",
                "data": {
                    "id": f"{category} {day}",
                    "day": day,
                    "amount": amount * place,
                    "currency": "USD",
                    "category": category,
                },
            }


def _asked(engine: MetricsEngine, metric: str, question: str, *by: str, **how: Any) -> Any:
    spec = QuerySpec(by)
    return engine.query(metric, question, spec=spec, policy=engine.policy, **how).rows


@holding()
def test_i11_segments_sum_to_the_whole(engine: MetricsEngine) -> None:
    """Disjoint segments that hold everybody: MRR, movements, and customers by what is theirs."""
    span = {"start": START, "end": END}
    for by in ("plan", "currency", "country"):
        (whole,) = _asked(engine, "mrr", "current", at=END)
        parts = _asked(engine, "mrr", "current", by, at=END)
        assert near(sum(Fraction(row["mrr"]) for row in parts), whole["mrr"]), by
    rows = _asked(engine, "mrr", "breakdown", "plan", **span)
    for row in _asked(engine, "mrr", "breakdown", **span):
        of_type = [Fraction(each["amount"]) for each in rows if each["type"] == row["type"]]
        assert near(sum(of_type), row["amount"]), row["type"]
    (all_of_them,) = _asked(engine, "customers", "current", at=END)
    found = _asked(engine, "customers", "current", "country", at=END)
    assert sum(row["customers"] for row in found) == all_of_them["customers"]


@holding(lambda policy: policy.trials_in_mrr != "include")
def test_i12_cohorts_sum_to_the_whole(engine: MetricsEngine) -> None:
    """MRR by the month in which customers began, and each customer in one of these months."""
    (whole,) = _asked(engine, "mrr", "current", at=END)
    parts = _asked(engine, "mrr", "current", "cohort_month", at=END)
    assert near(sum(Fraction(row["mrr"]) for row in parts), whole["mrr"])
    late = END + timedelta(days=900)
    rows = _asked(engine, "mrr", "movements", "cohort_month", start=START.replace(2024), end=late)
    cohorts: dict[str, set[Any]] = defaultdict(set)
    for row in rows:
        cohorts[row["customer"]].add(row["cohort_month"])
    assert all(len(months) == 1 and None not in months for months in cohorts.values())


@holding(lambda policy: policy.trials_in_mrr != "include" and policy.cohort_key == "first_paid")
def test_i12_tables_of_cohorts_sum_to_the_whole(engine: MetricsEngine) -> None:
    """The latest cells of all cohorts are MRR and customers; their sizes, all who ever were."""
    span = {"start": START.replace(2024), "end": END}
    (mrr,) = _asked(engine, "mrr", "current", at=END)
    (customers,) = _asked(engine, "customers", "current", at=END)
    last: dict[Any, Any] = {}
    for measure, whole in (("mrr", mrr["mrr"]), ("customers", customers["customers"])):
        rows = _asked(engine, "retention", "cohorts", **span, measure=measure)
        last = {row["cohort"]: row for row in rows}  # rows are in the order of their ages
        assert near(sum(Fraction(row["value"]) for row in last.values()), whole), measure
    moved = _asked(engine, "mrr", "movements", "cohort_month", **span)
    ever = {row["customer"] for row in moved if row["cohort_month"] <= END}
    assert sum(row["size"] for row in last.values()) == len(ever)


@holding()
def test_i13_movements_of_subscriptions_and_of_customers_have_one_total(books: Loaded) -> None:
    """For each customer and calendar bucket; a window may end elsewhere for each subscription."""
    for one in books[1]:
        if one.by_subscription is None:
            continue
        assert _totals(one, one.rows) == _totals(one, one.by_subscription), one.where


def _totals(one: Seen, rows: list[Row]) -> dict[Any, dict[str, Fraction]]:
    """Native totals, rounded to where dust has no part in them."""
    buckets: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        bucket = row.day.replace(day=1) if one.policy.netting == "month" else row.day
        buckets[row.customer, bucket].append(row)
    totals = {key: money(rows) for key, rows in buckets.items()}
    return {
        key: {currency: round(amount, 6) for currency, amount in total.items()}
        for key, total in totals.items()
        if total
    }


@holding(lambda policy: policy.arr_basis == "mrr_x12")
def test_i14_arr_is_twelve_months_of_mrr(engine: MetricsEngine) -> None:
    (mrr,) = _asked(engine, "mrr", "current", at=END)
    (arr,) = _asked(engine, "arr", "current", at=END)
    assert near(arr["arr"], 12 * Fraction(mrr["mrr"]))


@holding()
def test_i15_mrr_is_what_customers_pay_on_average_times_customers(engine: MetricsEngine) -> None:
    """Customers as the policy counts them, also those who pay nothing."""
    (mrr,) = _asked(engine, "mrr", "current", at=END)
    (customers,) = _asked(engine, "customers", "current", at=END)
    (arpa,) = _asked(engine, "arpa", "current", at=END)
    if customers["customers"]:
        assert near(Fraction(arpa["arpa"]) * customers["customers"], mrr["mrr"])
    else:
        assert arpa["arpa"] is None


@holding(lambda policy: policy.ltv_churn == "current" and policy.ltv_numerator == "arpa")
def test_i15_lifetime_value_times_churn_is_arpa(engine: MetricsEngine) -> None:
    """With a margin, ARPA times margin; with the costs of the same days, LTV:CAC is LTV / CAC."""
    for row in _asked(engine, "ltv", "series", start=START, end=END, margin="0.8"):
        if row["ltv"] is not None:
            worth = Fraction(row["ltv"]) * Fraction(row["churn"])
            assert near(worth, Fraction(row["arpa"]) * Fraction(8, 10))
        else:
            assert not row["churn"] or row["churn"] < 0 or row["arpa"] is None
    for month in MONTHS:
        span = {"start": month.eve + timedelta(days=1), "end": month.last}
        (ratio,) = _asked(engine, "cac", "ltv_cac", **span)
        (ltv,) = _asked(engine, "ltv", "simple", **span)
        assert ratio["ltv_cac_numerator"] == ltv["ltv"]
        if ratio["ltv_cac"] is not None:
            cost = Fraction(ratio["ltv_cac"]) * Fraction(ratio["spend"])
            assert near(cost, Fraction(ltv["ltv"]) * ratio["new_customers"])


@holding(lambda policy: policy.window == "calendar")
def test_i15_payback_is_cost_over_what_the_new_ones_leave(engine: MetricsEngine) -> None:
    """CAC / (ASP x margin), and CAC times new customers is what was spent."""
    for month in MONTHS:
        span = {"start": month.eve + timedelta(days=1), "end": month.last}
        (cac,) = _asked(engine, "cac", "current", **span)
        (asp,) = _asked(engine, "asp", "current", **span)
        (payback,) = _asked(engine, "cac", "payback", **span, margin="0.5")
        if cac["cac"] is None or not asp["asp"]:
            assert payback["payback_months"] is None
            continue
        assert near(Fraction(cac["cac"]) * cac["cac_denominator"], cac["cac_numerator"])
        months = Fraction(payback["payback_months"])
        assert near(months * Fraction(asp["asp"]) / 2, cac["cac"])


@holding()
def test_i16_no_effect_of_rates_that_did_not_move(books: Loaded, engine: MetricsEngine) -> None:
    """None with constant rates, none on what is paid in base currency."""
    for one in books[1]:
        if one.policy.fx in ("constant", "at_movement"):
            assert all(near(row["fx"], 0) for row in one.waterfall), one.where
    rows = _asked(engine, "mrr", "waterfall", "currency", start=START, end=END)
    assert all(near(row["fx"], 0) for row in rows if row["currency"] == "USD")


@holding()
def test_i17_what_was_known_is_what_was_reported(books: Loaded) -> None:
    """A report of a knowledge date is what the replay makes of what was recorded by then."""
    database, found = books
    one = found[-1]
    engine = engine_of(database, one)
    known = sorted({datetime.fromisoformat(event["recorded_at"]) for event in one.events})
    dice = random.Random(len(known))
    for at in dice.sample(known, min(3, len(known))):
        judge = one.known(at)
        rows = engine.query(
            "mrr", "waterfall", start=START, end=END, policy=one.policy, known_at=at
        ).rows
        for row, wanted in zip(rows, judge.waterfall(START, END), strict=True):
            assert near(row["opening"], wanted.opening), (one.where, at)
            assert near(row["closing"], wanted.closing), (one.where, at)
            assert all(near(row[name], wanted.movements[name]) for name in TYPES), (one.where, at)


@holding()
def test_i18_finer_grains_add_up(engine: MetricsEngine) -> None:
    """Days make months and months make quarters, in every type of movement."""
    first, last = START.replace(month=4), END
    sums = [
        {name: sum(Fraction(row[name]) for row in rows) for name in (*TYPES, "fx")}
        for grain in ("day", "month", "quarter")
        for rows in [_asked(engine, "mrr", "waterfall", start=first, end=last, grain=grain)]
    ]
    days, months, quarters = sums
    assert all(near(days[name], months[name]) for name in days)
    assert all(near(months[name], quarters[name]) for name in days)


@holding()
def test_i19_churn_is_voluntary_or_not_or_unknown(books: Loaded) -> None:
    """Every churn has one of three reasons and nothing else has any; sums are the replay's."""
    for one in books[1]:
        for row in one.rows:
            assert (row.churn_reason is None) == (row.type != "churn"), one.where
            assert row.churn_reason in {None, *(each.value for each in ChurnReason)}, one.where
        # Rows of a wider bucket keep the reasons of their own instants; only their sum is netted.
        plain = one.policy.netting == "none" and one.policy.fx != "at_movement"
        if plain and one.policy.churn_recognition != "when_scheduled":
            for month in MONTHS:
                assert _by_reason(one, month) == _replayed_reasons(one, month), one.where


def _by_reason(one: Seen, month: Month) -> dict[str, Fraction]:
    split: dict[str, Fraction] = defaultdict(Fraction)
    for row in one.movements(month, "churn"):
        split[str(row.churn_reason)] += one.base({row.currency: Fraction(row.amount)}, row.day)
    return {reason: round(amount, 6) for reason, amount in split.items() if round(amount, 6)}


def _replayed_reasons(one: Seen, month: Month) -> dict[str, Fraction]:
    split = one.judge.churn_reasons(month.eve + timedelta(days=1), month.last)
    return {reason: round(amount, 6) for reason, amount in split.items() if round(amount, 6)}


@holding()
def test_i20_every_movement_has_a_cause(books: Loaded) -> None:
    """An event of the log, or a timer of one."""
    for one in books[1]:
        for row in one.rows:
            assert row.cause, one.where
            assert row.event_position in one.positions, one.where
