"""Fixed charges of Lago's plans: how many are charged for, since when, and what they cost.

Every expectation is written by hand; amounts are euro cents a month.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import NewDatabase
from tests.integration.test_lago import Told, movements, reading
from tests.support.lago import NEWEST, LagoBook, create_lago
from tidemill.database import Database

_GRADUATED = [(0, 10, "5", "2"), (11, 20, "3", "1"), (21, None, "1", "0.5")]
_YEAR = ("year", 1)


@pytest.fixture
def lago(new_database: NewDatabase) -> Iterator[LagoBook]:
    with new_database(schema=False) as database:
        yield create_lago(database)


def told(database: Database) -> Told:
    """Movements by day and type: each charge is an item of its own."""
    with reading(database) as books:
        summed: dict[tuple[str, str], int] = {}
        for day, type_, amount in movements(books):
            summed[day, type_] = summed.get((day, type_), 0) + amount
        return [(*key, amount) for key, amount in summed.items()]


def seats(b: LagoBook) -> None:
    """Three at first, five once it was said; the charge itself says ten by now."""
    pro = b.plan("pro", 4900)
    seat = b.fixed_charge(pro, 10, amount="12.5")
    s = b.subscription(b.customer("c"), pro, "s", "2024-01-10")
    b.units(s, seat, "2024-01-10T00:00:01", 3)
    b.units(s, seat, "2024-03-05", 5)


def said_ahead(b: LagoBook) -> None:
    """Of what was said for April the last word counts, and what is said for now does until then."""
    pro = b.plan("pro", 4900)
    seat = b.fixed_charge(pro, 1, amount="10")
    s = b.subscription(b.customer("c"), pro, "s", "2024-01-10")
    b.units(s, seat, "2024-04-01", 7, said="2024-03-02")
    b.units(s, seat, "2024-04-01", 2, said="2024-03-10")
    b.units(s, seat, "2024-03-05", 4, said="2024-03-05")


def said_earlier_counts_no_more(b: LagoBook) -> None:
    """Three from April on was the word of March; that of 20 March is five, from then on."""
    pro = b.plan("pro", 4900)
    seat = b.fixed_charge(pro, 1, amount="10")
    s = b.subscription(b.customer("c"), pro, "s", "2024-01-10")
    b.units(s, seat, "2024-04-01", 3, said="2024-03-02")
    b.units(s, seat, "2024-03-20", 5, said="2024-03-20")


def own_number(b: LagoBook) -> None:
    pro = b.plan("pro", 4900)
    seat = b.fixed_charge(pro, 10, amount="1")
    s = b.subscription(b.customer("c"), pro, "s", "2024-01-10")
    table = "subscription_fixed_charge_units_overrides"
    b.add(table, subscription_id=s, fixed_charge_id=seat, units=4)


def of_the_plan_it_overrides(b: LagoBook) -> None:
    """What is said of a plan's charge counts for the one made for a customer."""
    pro = b.plan("pro", 4900)
    seat = b.fixed_charge(pro, 1, amount="10")
    own = b.plan("pro", 4000, parent_id=pro)
    b.fixed_charge(own, 1, amount="8", parent_id=seat)
    s = b.subscription(b.customer("c"), own, "s", "2024-01-10")
    b.units(s, seat, "2024-02-10", 3)


def added_and_removed(b: LagoBook) -> None:
    pro = b.plan("pro", 4900)
    b.fixed_charge(pro, 1, amount="9", created_at="2024-02-15", deleted_at="2024-05-15")
    b.subscription(b.customer("c"), pro, "s", "2024-01-10")


def upgraded(b: LagoBook) -> None:
    """The other plan has charges of its own."""
    c, pro, scale = b.customer("c"), b.plan("pro", 4900), b.plan("scale", 9900)
    b.fixed_charge(pro, 2, amount="10")
    b.fixed_charge(scale, 1, amount="10")
    old = b.subscription(c, pro, "s", "2024-01-10", terminated_at="2024-02-10")
    b.subscription(
        c, scale, "s", "2024-02-10", previous_subscription_id=old, terminated_at="2024-06-10"
    )


def by_month_or_year(b: LagoBook) -> None:
    """A yearly plan's charges are by the year, or else by the month."""
    for code, more in (("year", {}), ("month", {"bill_fixed_charges_monthly": True})):
        plan = b.plan(code, 12000, _YEAR, **more)
        b.fixed_charge(plan, 2, amount="6")
        b.subscription(b.customer(code), plan, code, "2024-01-10")


def graduated(b: LagoBook) -> None:
    """12 units: 5 + 10 of 2, and 3 + 2 of 1."""
    pro = b.plan("pro", 0)
    b.fixed_charge(pro, 12, charge_model="graduated", ranges=_GRADUATED)
    b.subscription(b.customer("c"), pro, "s", "2024-01-10")


def graduated_of_none(b: LagoBook) -> None:
    pro = b.plan("pro", 0)
    b.fixed_charge(pro, 0, charge_model="graduated", ranges=_GRADUATED)
    b.subscription(b.customer("c"), pro, "s", "2024-01-10")


def volume(b: LagoBook) -> None:
    """12 units: 3 + 12 of 1."""
    pro = b.plan("pro", 0)
    b.fixed_charge(pro, 12, charge_model="volume", ranges=_GRADUATED)
    b.subscription(b.customer("c"), pro, "s", "2024-01-10")


def with_a_coupon(b: LagoBook) -> None:
    c, pro = b.customer("c"), b.plan("pro", 4000)
    b.fixed_charge(pro, 1, amount="10")
    b.subscription(c, pro, "s", "2024-01-10")
    b.coupon(c, "2024-01-01", percentage_rate=10)


def repriced_meanwhile(b: LagoBook) -> None:
    """A change of seats keeps the flat price that held then."""
    c, pro = b.customer("c"), b.plan("pro", 4900, updated_at="2024-03-20T00:00:00")
    seat = b.fixed_charge(pro, 1, amount="10")
    s = b.subscription(c, pro, "s", "2024-02-01")
    b.flat_fee(s, c, "2024-02-01T00:00:00Z", "2024-02-29T23:59:59.999Z", 3900)
    b.flat_fee(s, c, "2024-03-01T00:00:00Z", "2024-03-31T23:59:59.999Z", 3900)
    b.units(s, seat, "2024-02-10", 2)
    b.units(s, seat, "2024-04-10", 3)


EXAMPLES: list[tuple[Callable[[LagoBook], None], Told]] = [
    (seats, [("01-10", "new", 4900 + 3750), ("03-05", "expansion", 2500)]),
    (
        said_ahead,
        [("01-10", "new", 5900), ("03-05", "expansion", 3000), ("04-01", "contraction", -2000)],
    ),
    (said_earlier_counts_no_more, [("01-10", "new", 5900), ("03-20", "expansion", 4000)]),
    (own_number, [("01-10", "new", 5300)]),
    (of_the_plan_it_overrides, [("01-10", "new", 4800), ("02-10", "expansion", 1600)]),
    (
        added_and_removed,
        [("01-10", "new", 4900), ("02-15", "expansion", 900), ("05-15", "contraction", -900)],
    ),
    (
        upgraded,
        [("01-10", "new", 6900), ("02-10", "expansion", 4000), ("06-10", "churn", -10900)],
    ),
    (by_month_or_year, [("01-10", "new", 1000 + 100 + 1000 + 1200)]),
    (graduated, [("01-10", "new", 3000)]),
    (graduated_of_none, [("01-10", "new", 500)]),
    (volume, [("01-10", "new", 1500)]),
    (with_a_coupon, [("01-10", "new", 4500)]),
    (
        repriced_meanwhile,
        [
            ("02-01", "new", 4900),
            ("02-10", "expansion", 1000),
            ("04-01", "expansion", 1000),
            ("04-10", "expansion", 1000),
        ],
    ),
]


@pytest.mark.parametrize(("write", "wanted"), EXAMPLES, ids=[each.__name__ for each, _ in EXAMPLES])
def test_example(lago: LagoBook, write: Callable[[LagoBook], None], wanted: Told) -> None:
    write(lago)
    lago.save()
    assert told(lago.database) == wanted


def test_a_change_names_the_row_that_says_so(lago: LagoBook) -> None:
    seats(lago)
    lago.save()
    with reading(lago.database) as books:
        assert [each.type for each in books.timeline("c").versions] == [
            "lago.subscriptions",
            "lago.fixed_charge_events",
        ]


@pytest.mark.parametrize("version", [(1, 32), (1, 33), (1, 40), NEWEST])
def test_versions_of_the_schema(new_database: NewDatabase, version: tuple[int, int]) -> None:
    """Before there were fixed charges, with them, and with their codes."""
    with new_database(schema=False) as database:
        book = create_lago(database, version)
        pro = book.plan("pro", 4900)
        if version >= (1, 33):
            book.fixed_charge(pro, 1, amount="10")
        book.subscription(book.customer("c"), pro, "s", "2024-01-10")
        book.save()
        with_charge = version >= (1, 33)
        assert told(database) == [("01-10", "new", 5900 if with_charge else 4900)]
