"""Lists are given a page at a time: in one order, each row once, the same everywhere."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from tests.conftest import NewDatabase
from tests.support.asking import asked_of
from tests.support.cli import Inside
from tests.support.http import serving
from tests.support.known_book import rate, subscription
from tests.support.weight import everything
from tidemill.database import Database, connect
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.errors import InvalidQuery
from tidemill.metrics.paging import ROWS_MAX
from tidemill.policy import Policy

SPAN: Final = {"start": "2025-01-01", "end": "2025-03-31"}
LISTS: Final[tuple[tuple[str, str, dict[str, str]], ...]] = (
    ("cash", "transactions", {}),
    ("usage_revenue", "charges", {}),
    ("mrr", "movements", {}),
    ("churn", "customers", {"start": "2025-03-01"}),
    ("churn", "customers", {"who": "all", "start": "2025-03-01"}),
    ("trials", "list", {}),
)


def _paid(number: int, day: str, currency: str = "usd") -> dict[str, Any]:
    data = {"id": f"p_{number}", "amount": 500, "fee": number % 2 * 10, "currency": currency}
    event = {"source": "books", "type": "payment.succeeded", "data": data}
    return event | {"occurred_at": f"{day}T00:00:00Z", "customer": f"c_{number % 7}"}


def _invoiced(number: int, day: str) -> dict[str, Any]:
    # Two lines of one invoice may be alike in everything that is listed.
    lines = [{"id": f"il_{each}", "kind": "usage", "amount": 5} for each in range(3)]
    data = {
        "id": f"in_{number}",
        "subscription": f"sub_c_{number % 7}",
        "status": "paid",
        "currency": "usd",
        "subtotal": 15,
        "tax": 0,
        "total": 15,
        "lines": lines,
        "issued_at": f"{day}T00:00:00Z",
    }
    event = {"source": "books", "type": "invoice.paid", "data": data}
    return event | {"occurred_at": f"{day}T00:00:00Z", "customer": f"c_{number % 7}"}


def _book(database: Database) -> Tidemill:
    """Seven customers who come on the same day, most of whom pay the same, and leave together."""
    events = [rate("2025-01-01", "1.10")]
    for number in range(7):
        name = f"c_{number}"
        paid = {"plan": "solo", "unit_amount": "1000" if number < 5 else "2000"}
        gone = {"status": "canceled", "ended_at": "2025-03-10T00:00:00Z"}
        trial = {"status": "trialing", "trial_end": "2025-01-05T00:00:00Z"}
        events.append(subscription(name, "2025-01-02T00:00:00Z", **paid, **trial))
        events.append(subscription(name, "2025-01-05T00:00:00Z", **paid))
        if number % 3:
            events.append(subscription(name, "2025-03-10T00:00:00Z", **paid, **gone))
    events += [_paid(each, "2025-01-20" if each < 9 else "2025-02-20") for each in range(12)]
    events += [_paid(each, "2025-02-21", "eur") for each in range(12, 15)]
    events += [_invoiced(each, "2025-02-01" if each < 3 else "2025-02-02") for each in range(5)]
    engine = asked_of(database, events)
    books = Tidemill(database, engine)
    everyone = {"field": "customer", "operator": "is_not_empty"}
    for name in ("all", "again"):
        books.segments.save(name, everyone)
    return books


@pytest.fixture
def books(database: Database) -> Tidemill:
    return _book(database)


@pytest.fixture(scope="module")
def standing(new_database: NewDatabase) -> Iterator[Tidemill]:
    """The same book, for tests that only ask."""
    with new_database() as database:
        yield _book(database)


def _walk(books: Tidemill, metric: str, question: str, limit: int, **how: Any) -> list[Any]:
    """The rows of all pages, each full but for the last."""
    rows: list[Any] = []
    after = None
    while True:
        page = books.query(metric, question, limit=limit, after=after, **how)
        rows += page.rows
        after = page.following
        assert page.to_dict()["next"] == after
        if after is None:
            assert 0 < len(page.rows) <= limit
            return rows
        assert len(page.rows) == limit
        assert f"{metric} {question} goes on with after={after}" in page.warnings[0]


@pytest.mark.parametrize(("metric", "question", "changes"), LISTS)
@pytest.mark.parametrize(
    "cut",
    [{}, {"by": ["customer"]}, {"compare_segments": ["all", "again"]}, {"where": "customer!=c_0"}],
)
def test_pages_are_the_whole_list(
    standing: Tidemill, metric: str, question: str, changes: dict[str, str], cut: dict[str, Any]
) -> None:
    how = SPAN | changes | cut
    whole = standing.query(metric, question, limit="all", **how)
    assert len(whole.rows) > 3
    assert whole.following is None
    assert not any("rows are shown" in each for each in whole.warnings)
    # Every page is a question: row by row, and by threes, they are asked for in `make test-all`.
    for limit in (*((1, 3) if everything() else ()), 2, len(whole.rows), len(whole.rows) + 1):
        assert _walk(standing, metric, question, limit, **how) == list(whole.rows)


def test_a_row_that_comes_in_before_moves_nothing(books: Tidemill, database: Database) -> None:
    first = books.cash.transactions(limit=4, **SPAN)
    rest = books.cash.transactions(limit="all", after=first.following, **SPAN)
    asked_of(database, [_paid(99, "2025-01-19")])
    again = books.cash.transactions(limit="all", after=first.following, **SPAN)
    assert again.rows == rest.rows
    assert len(books.cash.transactions(**SPAN).rows) == len(first.rows) + len(rest.rows) + 2


def test_so_many_rows_are_given_when_nobody_says(
    books: Tidemill, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ROWS_MAX == 1_000
    monkeypatch.setattr("tidemill.metrics.paging.ROWS_MAX", 2)
    found = books.cash.transactions(**SPAN)
    assert len(found.rows) == 2
    explained = books.explain("cash", "transactions", **SPAN).result
    assert explained.rows == found.rows
    assert len(books.mrr.current(at="2025-03-01").rows_behind().rows) == 7


def _forged(*parts: Any) -> str:
    return urlsafe_b64encode(json.dumps(parts).encode()).decode()


@pytest.mark.parametrize(
    "after",
    [
        "", "x", "é", "§§§", _forged(), _forged(1), _forged(0, "2025-01-01T00:00:00+00:00"),
        _forged(1, "soon"), _forged(1, 5), _forged(1, "2025-01-01", "1"), _forged({"a": 1}),
        _forged("1", "2025-01-01T00:00:00+00:00"), _forged(True, "2025-01-01T00:00:00+00:00"),
        _forged(10**30, "2025-01-01T00:00:00+00:00"),
    ],
)  # fmt: skip
def test_what_is_no_place_is_refused(standing: Tidemill, after: str) -> None:
    with pytest.raises(InvalidQuery, match="is no place in this list") as caught:
        standing.cash.transactions(after=after, **SPAN)
    assert [each.path for each in caught.value.issues] == ["after"]


def test_a_place_of_a_text_that_no_column_holds(standing: Tidemill) -> None:
    for text in ("\0", "\ud800"):
        with pytest.raises(InvalidQuery, match="is no place in this list"):
            standing.churn.customers(after=_forged(1, "5", text), **SPAN)


def test_problems_of_pages_are_all_listed(standing: Tidemill) -> None:
    with pytest.raises(InvalidQuery) as caught:
        standing.cash.transactions(limit="-3", after="x", by=["plam"], **SPAN)
    assert [each.path for each in caught.value.issues] == ["dimensions", "limit", "after"]
    with pytest.raises(InvalidQuery, match="lists no rows") as caught:
        standing.mrr.series(limit=5, after="x", **SPAN)
    assert [each.path for each in caught.value.issues] == ["limit", "after"]
    for limit in (0, "", " ", "1.5", "every", -1, True):
        with pytest.raises(InvalidQuery, match="is no number of rows"):
            standing.cash.transactions(limit=limit, **SPAN)
    with pytest.raises(InvalidQuery, match="is no part of a restatement"):
        standing.diff("cash", "transactions", known_at=["2025-01-01T00:00:00Z"], after="x", **SPAN)


# --- the ways in ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def api(known: Inside) -> Iterator[httpx.Client]:
    with connect(known.url, read_only=True) as database:
        engine = MetricsEngine(database, base_currency="USD", policy=Policy.of())
        with serving(Tidemill(database, engine)) as client:
            yield client


def test_over_http(api: httpx.Client) -> None:
    path = "/api/metrics/mrr/movements"
    whole = api.get(path, params=SPAN | {"limit": "all"}).json()
    assert len(whole["rows"]) == 5
    assert whole["next"] is None
    first = api.get(path, params=SPAN | {"limit": "3"}).json()
    last = api.post(path, json=SPAN | {"limit": 3, "after": first["next"]}).json()
    assert first["rows"] + last["rows"] == whole["rows"]
    assert last["next"] is None
    refused = api.get("/api/metrics/mrr/series", params=SPAN | {"limit": "3"})
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (400, "limit")


def test_on_the_command_line(known: Inside) -> None:
    asked = ("mrr", "movements", "--start", "2025-01-01", "--end", "2025-03-31")
    whole = known.json(*asked)
    first = known.json(*asked, "--limit", "3")
    last = known.json(*asked, "--limit", "all", "--after", first["next"])
    assert first["rows"] + last["rows"] == whole["rows"]
