"""Restatements on the command line and over HTTP: the same document, and a page one can read."""

from __future__ import annotations

import json

from tests.support.cli import Inside
from tests.support.http import serving
from tests.support.known_book import as_lines, subscription
from tidemill.database import Database
from tidemill.engine import MetricsEngine, Tidemill

DATES = ("2025-03-01T00:00:00Z", "2025-04-01T00:00:00Z")
ASKED = ("diff", "mrr", "waterfall", "--start", "2025-01-01", "--end", "2025-02-28")
KNOWN = ("--known-at", DATES[0], "--known-at", DATES[1])

_BOOK = [
    subscription("ada", "2025-01-10T12:00:00Z", plan="basic", unit_amount="5000")
    | {"recorded_at": "2025-01-10T12:00:01Z"},
    subscription("ada", "2025-02-10T12:00:00Z", plan="pro", unit_amount="10000")
    | {"recorded_at": "2025-03-16T08:00:00Z"},
]


def _kept(cli: Inside) -> None:
    cli.text("import", "events", "-", stdin=as_lines(_BOOK))


def test_one_document_everywhere(cli: Inside, database: Database) -> None:
    _kept(cli)
    document = cli.json(*ASKED, *KNOWN)
    changed = [(each["column"], each["change"]) for each in document["restated"]]
    assert changed == [("expansion", "5000.000000"), ("closing", "5000.000000")]
    engine = MetricsEngine(database, base_currency="USD")
    days = {"start": "2025-01-01", "end": "2025-02-28"}
    with serving(Tidemill(database, engine)) as client:
        got = client.get("/api/diff/mrr/waterfall", params={**days, "known_at": DATES})
        assert got.status_code == 200, got.text
        refused = client.get("/api/diff/mrr/waterfall", params=days)
        assert client.get("/api/diff/quick-ratio", params={"known_at": DATES}).status_code == 200
    found = got.json()
    for each in ("restated", "movements", "events", "known_at"):
        assert found[each] == document[each]
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_query")


def test_a_page(cli: Inside) -> None:
    _kept(cli)
    page = cli.text(*ASKED, *KNOWN)
    assert "mrr waterfall, known at 2025-03-01T00:00:00Z and at 2025-04-01T00:00:00Z" in page
    [closing] = [line.split() for line in page.splitlines() if " closing " in line]
    assert closing == ["2025-02-01", "closing", "$50.00", "$100.00", "$50.00"]
    assert "2025-03-16T08:00:00Z   2025-02-10T12:00:00Z   subscription.changed" in page
    same = cli.text(*ASKED, "--known-at", "2025-03-20T00:00:00Z", "--known-at", DATES[1])
    assert same.endswith("Nothing was restated.\n")


def test_what_is_refused(cli: Inside) -> None:
    for options in ((), ("--known-at", DATES[0], "--known-at", DATES[0]), ("--known-at", "soon")):
        done = cli.run(*ASKED, *options)
        assert done.returncode == 2, done.stderr
    done = cli.run(*ASKED, *KNOWN, "--source", "nowhere", "--format", "json")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert json.loads(cli.run(*ASKED, *KNOWN, "--format", "json").stdout)["events"] == []
