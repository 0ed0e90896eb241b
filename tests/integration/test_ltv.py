"""Lifetime value: the formula cases F01 to F06 as books; the model and what it is made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NewDatabase
from tests.support.asking import settled
from tests.support.books import LAST_DAY, random_book
from tests.support.cases import presets
from tests.support.emptied import emptied
from tests.support.hand_ledger import HandLedger
from tests.support.happenings import merged
from tests.support.ledger import keep_books
from tests.support.telling import Told, invoiced, paid, rate, subscribed
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.errors import CostDataMissing, InvalidQuery, MissingRate
from tidemill.metrics.ltv.sbg import CHURNS_MIN, Fit, fit
from tidemill.policy import Policy

FILE = Path(__file__).parents[1] / "data" / "edge_cases.json"
CASES = {
    each["id"]: each
    for each in json.loads(FILE.read_text("utf-8"), parse_float=Decimal)["formula_cases"]
}
JULY = {"start": "2025-07-01", "end": "2025-07-31"}


@pytest.fixture(scope="module")
def shared(new_database: NewDatabase) -> Iterator[Database]:
    with new_database() as database:
        yield database


def churning(database: Database, lost: dict[str, int], *, refilled: bool = True) -> MetricsEngine:
    """100 customers of 100.00; in each month some leave and, if refilled, as many join."""
    ledger, names = HandLedger(emptied(database)), (f"c{number}" for number in count())
    there = [next(names) for _ in range(100)]
    for name in there:
        ledger.move("2024-11-10", name, "new", 10_000)
    for month, gone in lost.items():
        for name in there[:gone]:
            ledger.move(f"{month}-10", name, "churn", -10_000)
        there = there[gone:]
        for _ in range(gone if refilled else 0):
            there.append(next(names))
            ledger.move(f"{month}-20", there[-1], "new", 10_000)
    return ledger.engine()


def ltv(engine: MetricsEngine, policy: str = "default", **how: Any) -> Decimal | None:
    value = engine.ltv.simple(**{**JULY, **how}, policy=Policy.parse(policy)).value
    assert value is None or isinstance(value, Decimal)
    return value


def test_f01_simple_and_with_margin(shared: Database) -> None:
    case = CASES["F01"]
    engine = churning(shared, {"2025-07": 5})
    assert ltv(engine) == case["expect"]["ltv_simple_cents"]
    wanted = case["expect"]["ltv_gm_cents"]
    assert ltv(engine, margin="0.8") == wanted
    with_margin = "default;ltv_numerator=arpa_x_margin"
    assert ltv(engine, with_margin, margin="0.8") == wanted
    with pytest.raises(CostDataMissing, match="cogs"):  # then it is that of the costs
        ltv(engine, with_margin)
    for nonsense in ("80 %", "1.5", "-1", "NaN"):
        with pytest.raises(InvalidQuery, match="margin"):
            ltv(engine, margin=nonsense)
    row = engine.ltv(**JULY).rows[0]
    # I15: LTV x churn = ARPA.
    assert round(row["ltv"] * row["churn"], 9) == row["arpa"] == 10_000


def test_f02_churn_of_the_months_before(shared: Database) -> None:
    case = CASES["F02"]
    prior = [int(100 * rate) for rate in case["inputs"]["logo_churn_prior_6"]]
    months = [f"2025-{month:02}" for month in range(1, 7)]
    engine = churning(shared, dict(zip(months, prior, strict=True)) | {"2025-07": 10})
    assert ltv(engine) == case["expect"]["ltv_current_cents"]
    assert ltv(engine, "default;ltv_churn=trailing:6") == case["expect"]["ltv_trailing6_cents"]
    series = engine.ltv.series(
        start="2025-06-01", end="2025-07-31", policy=Policy.parse("default;ltv_churn=trailing:2")
    )
    assert [row["churn"] for row in series.rows] == [Decimal("0.045"), Decimal("0.05")]
    assert "mean of the 2 months before" in " ".join(series.warnings)
    # Months before there was anybody have no churn, and are left out of the mean.
    long = engine.ltv.simple(**JULY, policy=Policy.parse("default;ltv_churn=trailing:24")).rows[0]
    assert _near(long["churn"], Fraction(sum(prior), 700))


def test_f03_without_churn_there_is_no_value(shared: Database) -> None:
    answer = churning(shared, {}).ltv.simple(**JULY)
    assert answer.value is CASES["F03"]["expect"]["ltv_simple_cents"] is None
    assert "lifetime without an end has no value" in " ".join(answer.warnings)
    assert answer.rows[0]["churn"] == 0
    before = churning(shared, {}).ltv.simple(start="2024-01-01", end="2024-01-31")
    assert before.rows[0]["arpa"] is before.value is None


def test_f04_by_net_retention(shared: Database) -> None:
    engine = churning(shared, {"2025-07": 3}, refilled=False)
    found = ltv(engine, churn="net_mrr")
    assert found == CASES["F04"]["expect"]["ltv_cents"]
    assert ltv(engine, churn="gross_mrr") == found
    assert ltv(engine, churn="net_mrr", start="2025-06-01", end="2025-06-30") is None


def test_f06_the_model(shared: Database) -> None:
    case = CASES["F06"]["expect"]
    model = Fit(1, 3)
    shares = [Decimal(model.survival(age)).quantize(Decimal("0.01")) for age in (1, 2, 3)]
    assert shares == [case["S1"], case["S2"], case["S3"]]
    assert model.payments(4) * 10_000 == case["clv_sbg_cents"]
    constant = sum(Decimal("0.75") ** age for age in range(4)) * 10_000
    assert constant == case["clv_constant_churn_cents"]
    # And as a book: 120 customers, of whom three renewals leave 90, 72 and 60.
    ledger = HandLedger(emptied(shared))
    for number in range(120):
        ledger.move("2025-01-10", f"c{number}", "new", 10_000)
    for month, first, last in (("02", 0, 30), ("03", 30, 48), ("04", 48, 60)):
        for number in range(first, last):
            ledger.move(f"2025-{month}-10", f"c{number}", "churn", -10_000)
    asked = {"start": "2025-01-01", "end": "2025-04-30", "horizon": 4}
    row = ledger.engine().ltv.contractual(**asked).rows[0]
    assert (row["lost"], row["members"], row["arpa"]) == (60, 120, 10_000)
    assert abs(row["alpha"] - 1) < Decimal("0.01")
    assert abs(row["beta"] - 3) < Decimal("0.03")
    assert row["fit_error"] < Decimal("0.0001")
    assert abs(row["ltv"] - case["clv_sbg_cents"]) < 2
    less = ledger.engine().ltv.contractual(**asked, discount="0.1", margin="0.5").rows[0]
    assert less["ltv"] < row["ltv"] / 2


def test_f05_cohort_to_date(database: Database) -> None:
    """Who paid nothing stays in the denominator."""
    told = Told(database)
    for name, amount in zip("abcd", CASES["F05"]["inputs"]["paid_by_customer_cents"], strict=True):
        told.hear(subscribed(name, "2025-01-10", 1_000))
        if amount:
            told.hear(invoiced(name, "2025-02-10", amount, id=f"in_{name}"))
    (row,) = told.ask("ltv", "cohort", start="2025-01-01", end="2025-01-31").rows
    assert (row["ltv"], row["ltv_denominator"]) == (0, 4)
    row = told.ask("ltv", "cohort", start="2025-01-01", end="2025-03-31").rows[0]
    assert row["ltv"] == CASES["F05"]["expect"]["cohort_ltv_cents"]
    signed_up = told.ask("ltv", "cohort", start="2025-01-01", end="2025-03-31", cohort_key="signup")
    assert signed_up.rows[0] == row
    with pytest.raises(InvalidQuery, match="an invoice is paid by a customer"):
        told.ask("ltv", "cohort", "plan")


def test_cohorts_money_is_what_was_paid_in_its_own_currency(database: Database) -> None:
    """Part of an open invoice counts, a draft does not; each at the rate of its day."""
    told = Told(database)
    told.hear_together(
        rate("2025-01-01", "1.50"),
        rate("2025-03-01", "2.00"),
        subscribed("ann", "2025-01-10", 1_000, currency="EUR"),
        invoiced("ann", "2025-01-10", 1_000, id="in_1", currency="EUR"),
        invoiced("ann", "2025-02-10", 1_000, id="in_2", currency="EUR", status="open",
                 amount_paid=400),
        invoiced("ann", "2025-02-11", 1_000, id="in_3", currency="EUR", status="draft"),
        paid("ann", "2025-03-05", 300, "in_1", currency="EUR", type="payment.refunded"),
        paid("ann", "2025-03-06", 999, "in_1", currency="EUR", type="payment.failed"),
    )  # fmt: skip
    (row,) = told.ask("ltv", "cohort", start="2025-01-01", end="2025-03-31").rows
    assert row["ltv"] == 1_500 + 600 - 600


@pytest.mark.parametrize("merges", [["ab", "bc"], ["ab", "bc", "ca"]])
def test_cohorts_money_is_that_of_the_whole_company(database: Database, merges: list[str]) -> None:
    """Also of one that was merged, by way of another, or in a circle; each amount once."""
    told = Told(database)
    for place, name in enumerate("abc"):
        told.hear_together(
            subscribed(name, f"2025-0{place + 1}-10", 1_000),
            invoiced(name, "2025-03-15", 10 ** (place + 2), id=f"in_{name}"),
            paid(name, "2025-03-16", 10, f"in_{name}", type="payment.refunded", id=f"re_{name}"),
        )
    apart = told.ask("ltv", "cohort", start="2025-01-01", end="2025-03-31").rows
    for names in merges:
        told.hear(merged(names[0], names[1], datetime(2025, 3, 20, tzinfo=UTC)))
    (row, *others) = told.ask("ltv", "cohort", start="2025-01-01", end="2025-03-31").rows
    assert [each["ltv_numerator"] for each in apart] == [90, 990, 9_990]
    assert (row["ltv_numerator"], row["ltv_denominator"], others) == (11_070, 1, [])
    alone = told.ask("ltv", "cohort", start="2025-01-01", end="2025-03-31", identity="per_source")
    assert alone.rows == apart


def test_too_few_churns_are_refused(shared: Database) -> None:
    engine = churning(shared, {"2025-01": CHURNS_MIN - 1}, refilled=False)
    answer = engine.ltv.contractual(start="2024-11-01", end="2025-06-30")
    assert (answer.value, answer.rows[0]["lost"]) == (None, CHURNS_MIN - 1)
    assert "fewer than 50 customers were lost" in " ".join(answer.warnings)
    nobody = engine.ltv.contractual(start="2023-01-01", end="2023-06-30")
    assert (nobody.value, nobody.rows[0]["members"]) == (None, 0)


def test_the_fit_finds_what_counts_were_made_of() -> None:
    """Exact counts of a known model, cut off at twelve renewals; also nearly alike customers."""
    for alpha, beta in ((1, 3), (0.6, 4), (2.5, 20), (50, 950)):
        made = Fit(alpha, beta)
        lost = {
            age: round(10**7 * (made.survival(age - 1) - made.survival(age)))
            for age in range(1, 13)
        }
        found = fit(lost, {12: round(10**7 * made.survival(12))})
        assert found is not None
        for age in range(1, 25):
            assert abs(found.survival(age) - made.survival(age)) < 0.002, (alpha, beta, age)
    assert fit({1: CHURNS_MIN - 1}, {5: 1000}) is None
    everybody = fit({1: 60}, {})
    assert everybody is not None
    assert everybody.survival(1) < 0.01


def test_a_missing_rate_is_an_error(database: Database) -> None:
    ledger = HandLedger(database)
    ledger.move("2025-01-10", "ann", "new", 10_000, currency="GBP")
    for question in ("simple", "contractual"):
        with pytest.raises(MissingRate):
            ledger.engine().query("ltv", question, start="2025-01-01", end="2025-06-30")


def test_every_preset_on_a_random_book(database: Database) -> None:
    """I15 with the churn and the ARPA that the other metrics give."""
    keep_books(database, random_book(61, customers=14))
    for preset in presets():
        engine = settled(database, Policy.of(preset))
        policy = engine.policy.turned({"ltv_churn": "current", "ltv_numerator": "arpa"})
        span: dict[str, Any] = {"start": "2025-02-01", "end": LAST_DAY, "policy": policy}
        churn = engine.churn.series(**span).rows
        arpa = engine.arpa.series(**span).rows
        for kind in ("logo", "gross_mrr", "net_mrr"):
            found = engine.ltv.series(**span, churn=kind).rows
            for row, lost, mean in zip(found, churn, arpa, strict=True):
                where = (preset, kind, row["period"])
                assert _near(row["arpa"], mean["arpa"]), where
                assert _near(row["churn"], lost[f"{kind}_churn"]), where
                if row["ltv"] is None:
                    assert not row["churn"] or row["churn"] < 0 or row["arpa"] is None, where
                else:
                    assert _near(row["ltv"] * row["churn"], row["arpa"]), where
        plain = engine.ltv.series(start="2025-02-01", end=LAST_DAY, margin="0.8").rows
        assert len(plain) == len(churn), preset


def _near(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return abs(Fraction(one) - Fraction(other)) <= Fraction(1, 10**6)
