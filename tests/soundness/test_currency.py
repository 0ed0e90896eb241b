"""Money: exchange rates, base currency, minor units, and amounts that are no whole cents."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.support.telling import Told, item, rate, subscribed
from tidemill import quarantine
from tidemill.database import Database
from tidemill.engine.summary import Headline
from tidemill.errors import MissingRate
from tidemill.intake import Rejected
from tidemill.problems import Problem
from tidemill.replay import replay

STEPS = ("opening", "new", "expansion", "churn", "fx", "closing")
RATES = [rate(f"2025-{month}", value) for month, value in
         (("01-01", "1.10"), ("02-01", "1.20"), ("03-01", "1.05"))]  # fmt: skip


def euros(told: Told) -> Told:
    """100 euros from January at 1.10, 150 from February at 1.20, none from March at 1.05."""
    told.hear(
        *RATES,
        subscribed("eva", "2025-01-15", 10_000, currency="eur"),
        subscribed("eva", "2025-02-10", 15_000, currency="eur"),
        subscribed("eva", "2025-03-20", 15_000, "canceled", currency="eur"),
    )
    return told


# One row a month: opening, new, expansion, churn, fx, closing.
E31 = {
    "period_end": [
        (0, 11_000, 0, 0, 0, 11_000),
        (11_000, 0, 6_000, 0, 1_000, 18_000),
        (18_000, 0, 0, -15_750, -2_250, 0),
        (0, 0, 0, 0, 0, 0),
    ],
    "at_movement": [
        (0, 11_000, 0, 0, 0, 11_000),
        (11_000, 0, 6_000, 0, 0, 17_000),
        (17_000, 0, 0, -17_000, 0, 0),
        (0, 0, 0, 0, 0, 0),
    ],
    "constant": [
        (0, 11_000, 0, 0, 0, 11_000),
        (11_000, 0, 5_500, 0, 0, 16_500),
        (16_500, 0, 0, -16_500, 0, 0),
        (0, 0, 0, 0, 0, 0),
    ],
}


@pytest.mark.parametrize("fx", list(E31))
def test_t06_nothing_is_left_after_churn(told: Told, fx: str) -> None:
    """Won at 1.10, grown at 1.20, lost at 1.05: 0 is left, and every month adds up."""
    flow = euros(told).waterfall("2025-01-01", "2025-04-30", fx=fx).rows
    assert [tuple(row[name] for name in STEPS) for row in flow] == E31[fx]
    told.moved(fx=fx)
    for day in ("2025-03-20", "2025-03-31", "2025-12-31"):
        assert (told.mrr(day, fx=fx), told.customers(day, fx=fx)) == (0, 0)


@pytest.mark.parametrize("fx", ["period_end", "at_movement", "at_renewal", "constant"])
@pytest.mark.parametrize("grain", ["day", "month"])
def test_t06_levels_are_movements_and_rates(told: Told, fx: str, grain: str) -> None:
    """Whatever the knob and the grain: each closing is the level that `series` gives."""
    euros(told)
    span = {"start": "2025-01-10", "end": "2025-04-05", "grain": grain, "fx": fx}
    flow = told.ask("mrr", "waterfall", **span).rows
    levels = [row["mrr"] for row in told.ask("mrr", "series", **span).rows]
    assert [row["closing"] for row in flow] == levels
    total = sum(row[name] for row in flow for name in STEPS[1:-1])
    assert (flow[0]["opening"], total, levels[-1]) == (0, 0, 0)


def test_t23_opening_is_worth_the_rate_of_the_day_before(told: Told) -> None:
    """A range that begins on the day of a new rate: what that makes of the opening is in `fx`."""
    euros(told)
    for grain in ("day", "month"):
        first, *_ = told.waterfall("2025-02-01", "2025-02-05", grain=grain).rows
        assert tuple(first[name] for name in STEPS) == (11_000, 0, 0, 0, 1_000, 12_000)


def test_t06_two_currencies_of_one_customer(told: Told) -> None:
    """Dollars and euros of one customer: the euro rate moves the euro part alone."""
    told.hear(
        *RATES,
        subscribed("eva", "2025-01-15", 10_000, currency="eur"),
        subscribed("eva", "2025-01-15", 3_000, id="sub_2"),
        subscribed("eva", "2025-02-20", 10_000, "canceled", currency="eur"),
    )
    levels = [told.mrr(day) for day in ("2025-01-31", "2025-02-19", "2025-02-20", "2025-03-31")]
    assert levels == [14_000, 15_000, 3_000, 3_000]
    assert told.moved()[1:] == [("2025-02-20", "contraction", -12_000)]
    assert told.customers("2025-02-28") == 1


def test_t08_no_base_currency_is_built_in(store: Database) -> None:
    """Books in euros: dollars are converted with their rate, or it is named as missing."""
    told = Told(store, base="EUR")
    told.hear(
        subscribed("eva", "2025-01-10", 1_000, currency="EUR"),
        subscribed("uma", "2025-02-10", 10_000, currency="USD"),
    )
    assert told.mrr("2025-01-31") == 1_000
    for question in ("current", "series", "waterfall", "movements", "breakdown"):
        days = {"at": "2025-02-28"} if question == "current" else {
            "start": "2025-02-01", "end": "2025-02-28"}  # fmt: skip
        with pytest.raises(MissingRate) as missing:
            told.ask("mrr", question, **days)
        assert missing.value.currency == "USD"
        assert "EUR" in str(missing.value)
    told.hear(rate("2025-02-01", "0.8", quote="USD", base="EUR"))
    assert told.mrr("2025-02-28") == 9_000
    assert told.moved() == [("2025-01-10", "new", 1_000), ("2025-02-10", "new", 8_000)]
    result = told.ask("mrr", "current", at="2025-02-28")
    assert (result.columns[-1].currency, result.money) == ("EUR", "€90.00")


def test_t09_rate_that_comes_late(told: Told) -> None:
    """A rate that was missing and is loaded later: the same answers as if it had been there."""
    life = [
        subscribed("eva", "2025-01-15", 10_000, currency="EUR"),
        subscribed("eva", "2025-02-10", 15_000, currency="EUR"),
    ]

    def answers(books: Told) -> list[object]:
        flow = books.waterfall("2025-01-01", "2025-03-31", "customer", "currency").rows
        return [flow, books.moved(), books.mrr("2025-03-31")]

    told.hear(*life)
    with pytest.raises(MissingRate):
        told.mrr("2025-02-28")
    assert told.customers("2025-02-28") == 1
    told.hear(*RATES)
    late = answers(told)
    told = told.afresh()
    told.hear(*RATES, *life)
    assert answers(told) == late
    assert told.mrr("2025-03-31") == 15_750


def test_t09_replayed_event_keeps_its_customer(told: Told) -> None:
    """What was set aside and is replayed counts for the customer it was of."""
    event = subscribed("eva", "2025-02-10", 15_000)
    refused = Rejected("events.jsonl:2", "stripe", "events", "{}", (Problem("", "is cut short"),))
    done = told.hear(subscribed("eva", "2025-01-15"), refused, subscribed("bob", "2025-03-10"))
    assert done.quarantined == 0
    with told.database.connect() as connection:
        assert quarantine.waiting(connection) == 1
    (said,) = told.ask("mrr", "current", at="2025-12-31").warnings
    assert said.startswith("1 event is in quarantine")
    assert replay(told.database, told.bus, told.books, lambda _: [event]).replayed == 1
    replayed = told.waterfall("2025-01-01", "2025-03-31", "customer").rows
    assert told.ask("mrr", "current", at="2025-12-31").warnings == ()
    undisturbed = told.afresh()
    undisturbed.hear(subscribed("eva", "2025-01-15"), event, subscribed("bob", "2025-03-10"))
    assert undisturbed.waterfall("2025-01-01", "2025-03-31", "customer").rows == replayed
    assert [row["closing"] for row in replayed if row["customer"] == "eva"] == [
        10_000, 15_000, 15_000,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("amount", "interval", "count", "yearly"),
    [(10_000, "year", 1, 10_000), (10_000, "month", 3, 40_000), (100, "week", 1, 5_200),
     (10_000, "year", 3, Decimal(10_000) / 3), (10, "day", 7, Decimal(3_650) / 7)],
)  # fmt: skip
def test_t28_a_year_is_exact(
    told: Told, amount: int, interval: str, count: int, yearly: Decimal | int
) -> None:
    """100.00 a year is 8.333… a month, and its ARR is 100.00, not 99.96; so for many customers."""
    billed = [item(amount, interval=interval, interval_count=count)]
    told.hear(*(subscribed(f"c{number}", "2025-01-10", items=billed) for number in range(7)))
    assert told.ask("arr", "current", at="2025-01-31").value == round(Decimal(7 * yearly), 6)
    one = told.ask("mrr", "current", at="2025-01-31", where=["customer=c3"]).to_dict()
    assert one["rows"] == [{"mrr": f"{Decimal(yearly) / 12:.6f}"}]


def test_t28_many_changes_leave_nothing_behind(told: Told) -> None:
    """Twenty changes between prices that are no whole cents a month, then churn: exactly 0."""
    prices = [10_000, 9_999, 12_345, 1, 7]

    def state(number: int, status: str = "active") -> list[dict[str, object]]:
        price = prices[number % len(prices)]
        return [item(price, interval="year", interval_count=1 + number % 3)]

    days = [f"2025-{1 + number // 2:02}-{5 + number % 2 * 10:02}" for number in range(21)]
    told.hear(
        *(subscribed("ann", day, items=state(number)) for number, day in enumerate(days)),
        subscribed("ann", "2025-12-10", status="canceled", items=state(20)),
    )
    moved = told.moved()
    assert len(moved) == 22
    assert sum(amount for _, _, amount in moved) == 0
    assert (told.mrr("2025-12-10"), told.ask("arr", "current", at="2025-12-31").value) == (0, 0)
    flow = told.waterfall("2025-01-01", "2025-12-31").rows
    assert all(row["fx"] == 0 for row in flow)
    assert round(flow[0]["closing"], 6) == round(Decimal(prices[1]) / 12 / 2, 6)


@pytest.mark.parametrize(
    ("currency", "amount", "value", "level"),
    [
        ("JPY", 1_500, "0.0065", 975),  # ¥1,500 = $9.75
        ("KWD", 5_500, "3.25", Decimal("1787.5")),  # KWD 5.500 = $17.875
        ("EUR", 1_500, "1.1", 1_650),
        ("USD", 1_500, "1", 1_500),
    ],
)
def test_t29_everything_lost_is_100_percent(
    told: Told, currency: str, amount: int, value: str, level: Decimal | int
) -> None:
    """Currencies without or with three decimals: MRR lost over MRR before is 1, not 153.85."""
    rates = [] if currency == "USD" else [rate("2025-01-01", value, quote=currency)]
    told.hear(
        *rates,
        subscribed("ann", "2025-01-10", amount, currency=currency),
        subscribed("ann", "2025-02-10", amount, "canceled", currency=currency),
    )
    (row,) = told.waterfall("2025-02-01", "2025-02-28").rows
    assert (row["opening"], row["churn"], row["closing"]) == (level, -level, 0)
    (one,) = told.ask("mrr", "movements", start="2025-02-01", end="2025-02-28").rows
    assert (one["amount"], one["native_amount"], one["currency"]) == (-level, -amount, currency)
    ratio = told.ask("quick_ratio", "current", start="2025-01-01", end="2025-02-28").rows[0]
    assert (ratio["quick_ratio"], ratio["quick_ratio_denominator"]) == (1, level)


@pytest.mark.parametrize("base", ["JPY", "KWD"])
def test_t29_books_in_yen_or_dinar(store: Database, base: str) -> None:
    """Dollars in books whose minor unit is a yen or a thousandth of a dinar."""
    value, level = {"JPY": ("150", 1_500), "KWD": ("0.3", 3_000)}[base]
    told = Told(store, base=base)
    told.hear(
        rate("2025-01-01", value, quote="USD", base=base), subscribed("ann", "2025-01-10", 1_000)
    )
    assert told.moved() == [("2025-01-10", "new", level)]
    assert (
        told.ask("mrr", "current", at="2025-01-31").money
        == {"JPY": "¥1,500", "KWD": "KWD 3.000"}[base]
    )


def test_t41_summary_names_what_fails(told: Told) -> None:
    """One number cannot be answered: it says so by name, and the others are there."""
    told.hear(
        subscribed("uma", "2025-01-10", 5_000),
        subscribed("eva", "2025-02-10", 10_000, currency="EUR"),
    )
    summary = told.engine.summary("2025-02-28")
    found: dict[str, Headline] = {each.name: each for each in summary.headlines}
    names = {"mrr", "arr", "arpa", "net_new_mrr", "quick_ratio", "ltv"}
    assert {name for name, each in found.items() if each.error} == names
    assert {each.error.code for each in found.values() if each.error} == {"missing_rate"}
    assert (found["customers"].value, found["customers"].previous) == (2, 1)
    assert found["mrr"].value is None
    assert not summary.complete
    assert summary.to_dict()["headlines"][0]["error"]["detail"]
    told.hear(*RATES)
    whole = told.engine.summary("2025-02-28")
    assert not any(each.error for each in whole.headlines)
    assert whole.headlines[0].value == 17_000


def test_half_a_cent_on_two_items_is_rounded_up(told: Told) -> None:
    """A year at 1 and 10, 5 off: 1/22 and 5/11 a month are one half, whatever division leaves."""
    told.hear(
        subscribed(
            "ann",
            "2025-01-10",
            items=[
                item(1, interval="year"),
                item(10, interval="year", id="si_2"),
            ],
            discounts=[{"id": "di_1", "amount_off": "5", "duration": "forever"}],
        )
    )
    assert told.mrr("2025-01-31", rounding="subscription") == 1


@pytest.mark.parametrize(
    ("price", "level"),
    [
        ("0.5", 1),
        # A billionth of a cent below the half is below the half, beside or after a division.
        ("0.499999999", 0),
        ("0.500000001", 1),
    ],
)
def test_almost_half_a_cent_is_not_half_a_cent(told: Told, price: str, level: int) -> None:
    thirds = item(price, id="si_2", interval_count=3, quantity=3)
    told.hear(
        subscribed("ann", "2025-01-10", price),
        subscribed("bob", "2025-01-10", items=[item(0), thirds]),
        # Of 1 and of twice the price 1 is taken off, in proportion: twice the price is left.
        subscribed(
            "cyd",
            "2025-01-10",
            items=[
                item(1, interval_count=2),
                item(price, id="si_2", interval_count=2, quantity=2),
            ],
            discounts=[{"id": "di_1", "amount_off": "1", "duration": "forever"}],
        ),
    )
    assert told.mrr("2025-01-31", rounding="subscription") == 3 * level
