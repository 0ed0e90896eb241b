"""Tables people can export become events, whole or not at all, every problem with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tidemill.connectors.files.tables import TABLES
from tidemill.errors import InvalidFile
from tidemill.events import Event

AT = datetime(2026, 7, 1, tzinfo=UTC)
Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return written


def _read(kind: str, *files: str) -> list[Event]:
    return TABLES[kind].read(files, "acme", AT)


def _said(event: Event) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(event.data)
    return said


def _told(events: list[Event]) -> list[tuple[str, str]]:
    return [(f"{each.occurred_at:%Y-%m-%d}", each.type) for each in events]


SUBSCRIPTIONS = """\
subscription,customer,from,status,currency,amount,interval,quantity,plan
s1,c1,2026-01-01,active,usd,10.50,month,2,basic
s1,c1,2026-03-01,active,usd,10.50,month,3,basic
s1,c1,2026-03-01,active,usd,"1,200.00",yearly,1,support
s1,c1,2026-05-01,canceled,usd,,,,
"""


def test_our_own_table_says_what_was_so_from_when_on(write: Write) -> None:
    events = _read("subscriptions", write("s.csv", SUBSCRIPTIONS))
    assert _told(events) == [
        ("2026-01-01", "subscription.created"),
        ("2026-03-01", "subscription.changed"),
        ("2026-05-01", "subscription.churned"),
    ]
    items = _said(events[1])["items"]
    assert [(each["plan"], each["quantity"], each["unit_amount"]) for each in items] == [
        ("basic", "3", "1050"),
        ("support", "1", "120000"),
    ]
    assert items[1]["interval"] == "year"
    assert _said(events[2])["ended_at"] == "2026-05-01T00:00:00Z"


def test_every_problem_is_named_with_its_line(write: Write) -> None:
    text = (
        "subscription,customer,from,status,currency,amount,interval\n"
        "s1,,2026-01-01,active,usd,10,month\n"
        "s2,c2,yesterday,active,usd,10,month\n"
        "s3,c3,2026-01-01,alive,usd,10,month\n"
        "s4,c4,2026-01-01,active,xxx,ten,fortnight\n"
    )
    with pytest.raises(InvalidFile) as error:
        _read("subscriptions", write("s.csv", text))
    found = {(each.path.rpartition("/")[2]) for each in error.value.problems}
    assert found == {
        "s.csv:2 customer",
        "s.csv:3 from",
        "s.csv:4 status",
        "s.csv:5 currency",
        "s.csv:5 amount",
        "s.csv:5 interval",
    }


def test_a_missing_column_is_named(write: Write) -> None:
    with pytest.raises(InvalidFile, match="has no column customer"):
        _read("customers", write("c.csv", "customer_id,name\nc1,One\n"))


def test_the_same_line_is_the_same_event_and_a_corrected_one_another(write: Write) -> None:
    first = _read("subscriptions", write("a.csv", SUBSCRIPTIONS))
    assert [e.id for e in _read("subscriptions", write("b.csv", SUBSCRIPTIONS))] == [
        e.id for e in first
    ]
    other = _read("subscriptions", write("c.csv", SUBSCRIPTIONS.replace("10.50", "11.00")))
    assert first[0].id != other[0].id


# --- Stripe's dashboard ---------------------------------------------------------------------------

EXPORT = """\
id,Customer ID,Customer Email,Plan,Product,Quantity,Currency,Interval,Amount,Status,Created (UTC),\
Start Date (UTC),Current Period Start (UTC),Current Period End (UTC),Trial Start (UTC),\
Trial End (UTC),Canceled At (UTC),Cancel At Period End,Ended At (UTC)
sub_1,cus_1,a@x.io,price_1,prod_1,3,usd,month,15.00,active,2026-01-01 10:00,2026-01-01 10:00,\
2026-06-01 10:00,2026-07-01 10:00,,,2026-06-10 09:00,true,
sub_2,cus_2,b@x.io,price_2,prod_1,1,jpy,every 3 months,9000,canceled,2026-01-05 00:00,\
2026-01-05 00:00,2026-04-05 00:00,2026-07-05 00:00,2026-01-05 00:00,2026-01-19 00:00,\
2026-05-01 08:00,false,2026-05-01 08:00
"""


def test_an_export_of_subscriptions_tells_starts_trials_wishes_and_ends(write: Write) -> None:
    events = _read("stripe", write("subscriptions.csv", EXPORT))
    assert _told(events) == [
        ("2026-01-01", "subscription.created"),
        ("2026-06-10", "subscription.updated"),
        ("2026-01-05", "subscription.created"),
        ("2026-01-19", "subscription.trial_converted"),
        ("2026-05-01", "subscription.churned"),
    ]
    assert _said(events[1])["cancel_at_period_end"] is True
    assert _said(events[2])["status"] == "trialing"
    yen = _said(events[3])["items"][0]
    assert (yen["unit_amount"], yen["interval"], yen["interval_count"]) == ("9000", "month", 3)
    assert {_said(each)["confidence"] for each in events} == {"inferred"}


def test_exports_of_customers_and_invoices(write: Write) -> None:
    customers = "id,Description,Email,Name,Created (UTC)\ncus_1,,a@x.io,Ann,2026-01-01 10:00\n"
    invoices = (
        "id,Amount Due,Currency,Customer,Date (UTC),Paid,Subscription,Subtotal,Tax,Total,"
        "Amount Paid,Status\n"
        "in_1,23.80,usd,cus_1,2026-01-01 10:00,true,sub_1,20.00,3.80,23.80,23.80,paid\n"
    )
    events = _read("stripe", write("c.csv", customers), write("i.csv", invoices))
    assert [each.type for each in events] == ["customer.created", "invoice.paid"]
    said = _said(events[1])
    assert (said["subtotal"], said["tax"], said["total"]) == (2000, 380, 2380)
    with pytest.raises(InvalidFile, match="no export that is known"):
        _read("stripe", write("x.csv", "a,b\n1,2\n"))


# --- ChartMogul -----------------------------------------------------------------------------------

PLANS = "Name,Interval unit,Interval count,External ID\nGold,month,1,gold\n"
CUSTOMERS = "Name,Email,Company,Country,External ID\nAnn,a@x.io,Acme,US,cus_1\n"
INVOICES = """\
Customer external ID,External ID,Invoiced at,Currency
cus_1,inv_1,2026-01-01,USD
cus_1,inv_2,2026-02-01,USD
cus_1,inv_3,2026-04-15,USD
"""
LINES = """\
Invoice external ID,Subscription external ID,Type,Amount in cents,Plan,Service period start,\
Service period end,Quantity,Tax amount in cents,Proration
inv_1,sub_1,subscription,5000,gold,2026-01-01,2026-02-01,1,0,false
inv_2,sub_1,subscription,11900,gold,2026-02-01,2026-03-01,2,1900,false
inv_2,sub_1,subscription,1500,gold,2026-01-20,2026-02-01,1,0,true
inv_3,sub_1,subscription,5000,gold,2026-04-15,2026-05-15,1,0,false
inv_3,,one_time,9900,,2026-04-15,2026-04-15,1,0,false
"""


def test_chartmogul_lines_become_states_with_ends_where_nothing_follows(write: Write) -> None:
    files = [
        write("plans.csv", PLANS),
        write("customers.csv", CUSTOMERS),
        write("invoices.csv", INVOICES),
        write("lines.csv", LINES),
    ]
    events = [e for e in _read("chartmogul", *files) if e.type.startswith("subscription.")]
    assert _told(events) == [
        ("2026-01-01", "subscription.created"),
        ("2026-02-01", "subscription.updated"),
        ("2026-03-01", "subscription.churned"),
        ("2026-04-15", "subscription.updated"),
        ("2026-05-15", "subscription.churned"),
    ]
    (item,) = _said(events[1])["items"]
    assert (item["quantity"], item["unit_amount"]) == ("2", "5000")
    assert _told(_read("chartmogul", *files))[0] == ("2026-07-01", "customer.created")

    canceled = "Subscription external ID,Cancelled at\nsub_1,2026-05-01\n"
    last = _read("chartmogul", *files, write("cancellations.csv", canceled))[-1]
    assert _told([last]) == [("2026-05-01", "subscription.churned")]


def test_chartmogul_files_that_lack_each_other_are_refused(write: Write) -> None:
    with pytest.raises(InvalidFile) as error:
        _read("chartmogul", write("lines.csv", LINES))
    said = str(error.value)
    assert "is the id of no invoice in these files" in said
    assert "'gold' is no plan in these files" in said
