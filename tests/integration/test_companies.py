"""Customers that are one company: merged and unmerged by people, and suggested by their e-mails."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.cases import canonical_events, load_cases
from tests.support.cli import Inside, Prompt, inside
from tests.support.http import serving
from tidemill.database import Database
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.errors import InvalidQuery

APRIL: Final = ("--at", "2025-04-30")
APART: Final = ("--set", "identity=per_source")


@pytest.fixture
def prompt(database: Database, tmp_path: Path) -> Inside:
    """The command line over an empty store."""
    return inside(tmp_path, database)


def e36_without_its_merge() -> str:
    """The worked case of a company in two billing systems, before anybody said that it is one."""
    [case] = [case for case in load_cases() if case.id == "E36"]
    events = [each for each in canonical_events(case) if each["type"] != "customer.merged"]
    # Learned when it was so: a report as of yesterday knows of all this, and of no merge.
    return "\n".join(
        json.dumps(each | {"recorded_at": each["occurred_at"]}, default=str) for each in events
    )


def described(source: str, customer: str, email: str | None) -> dict[str, Any]:
    return {
        "source": source,
        "type": "customer.created",
        "occurred_at": "2025-01-01T00:00:00Z",
        "customer": customer,
        "data": {"id": customer, "email": email},
    }


def movements(prompt: Prompt, *how: str) -> list[tuple[str, str, str, str]]:
    """Day, customer, type and amount of all movements."""
    range_ = ("--start", "2025-01-01", "--end", "2025-04-30")
    rows = prompt.json("mrr", "movements", *range_, *how)["rows"]
    return [(row["day"], row["customer"], row["type"], row["amount"]) for row in rows]


def test_e36_one_company_or_two(prompt: Prompt) -> None:
    prompt.text("import", "events", "-", stdin=e36_without_its_merge())
    two = [
        ("2025-01-01", "a", "new", "5000.000000"),
        ("2025-04-01", "a", "new", "2000.000000"),
    ]
    one = [two[0], ("2025-04-01", "a", "expansion", "2000.000000")]
    assert prompt.text("customers", *APRIL).strip() == "2"
    assert movements(prompt) == two
    before = datetime.now(UTC).isoformat()

    said = prompt.text("customers", "merge", "lago:a", "stripe:a")
    assert said == "lago:a and stripe:a are one company now.\n"
    assert prompt.text("customers", *APRIL).strip() == "1"
    assert movements(prompt) == one
    assert prompt.text("customers", *APRIL, *APART).strip() == "2"
    assert movements(prompt, *APART) == two
    assert prompt.text("customers", *APRIL, "--known-at", before).strip() == "2"
    prompt.text("rebuild")
    assert movements(prompt) == one

    assert prompt.json("customers", "unmerge", "lago:a")["unmerged"] is True
    assert prompt.text("customers", *APRIL).strip() == "2"
    assert movements(prompt) == two
    prompt.text("rebuild")
    assert movements(prompt) == two
    prompt.text("customers", "merge", "lago:a", "stripe:a")
    assert movements(prompt) == one


def test_saying_it_twice_changes_nothing(prompt: Prompt) -> None:
    people = [described("stripe", each, None) for each in "abc"]
    prompt.text("import", "events", "-", stdin="\n".join(map(json.dumps, people)))
    merge = ("customers", "merge")
    assert prompt.json(*merge, "stripe:b", "stripe:a")["merged"] is True
    for pair in (("stripe:b", "stripe:a"), ("stripe:a", "stripe:b")):
        assert prompt.json(*merge, *pair)["merged"] is False
    assert prompt.json(*merge, "stripe:a", "stripe:c")["merged"] is True
    # And a whole company may join another: b is one with c through a.
    assert prompt.json(*merge, "stripe:b", "stripe:c")["merged"] is False
    assert prompt.json("customers", "unmerge", "stripe:c")["unmerged"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("merge", "nobody:a", "stripe:a"), 2, "unknown_source"),
        (("merge", "stripe:a", "stripe:z"), 2, "unknown_customer"),
        (("unmerge", "stripe:z"), 2, "unknown_customer"),
        (("merge", "stripe:a", "stripe:a"), 1, "merge_refused"),
        (("merge", "stripe:b", "stripe:c"), 1, "merge_refused"),
        (("merge", "stripe", "stripe:c"), 2, "invalid_query"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(
    prompt: Prompt, arguments: tuple[str, ...], code: int, named: str
) -> None:
    people = [described("stripe", each, None) for each in "abc"]
    prompt.text("import", "events", "-", stdin="\n".join(map(json.dumps, people)))
    prompt.text("customers", "merge", "stripe:b", "stripe:a")
    done = prompt.run("customers", *arguments)
    assert done.returncode == code
    assert f"[{named}]" in done.stderr
    assert "Traceback" not in done.stderr


def test_suggestions(prompt: Prompt) -> None:
    """By e-mail before by domain, across sources only, and never by a free mailbox."""
    people = [
        described("stripe", "ann", "Ann@Acme.example"),
        described("stripe", "bob", "bob@acme.example"),
        described("lago", "ann", " ann@acme.example"),
        described("lago", "cyd", "cyd@acme.example"),
        described("stripe", "dan", "dan@gmail.com"),
        described("lago", "eve", "eve@gmail.com"),
        described("lago", "dan", "dan@gmail.com"),
        described("lago", "fay", None),
        described("lago", "gus", "not an address"),
    ]
    prompt.text("import", "events", "-", stdin="\n".join(map(json.dumps, people)))

    def suggested() -> list[tuple[str, str, str, str]]:
        found = prompt.json("customers", "suggest")["suggestions"]
        return [
            (
                "{source}:{customer}".format(**each["customer"]),
                "{source}:{customer}".format(**each["into"]),
                each["because"],
                each["value"],
            )
            for each in found
        ]

    cyd = ("lago:cyd", "stripe:ann", "same domain", "acme.example")
    assert suggested() == [
        ("lago:ann", "stripe:ann", "same e-mail", "ann@acme.example"),
        ("lago:dan", "stripe:dan", "same e-mail", "dan@gmail.com"),
        cyd,
    ]
    for merged in ("ann", "dan"):
        prompt.text("customers", "merge", f"lago:{merged}", f"stripe:{merged}")
    assert suggested() == [cyd]
    assert "lago:cyd" in prompt.text("customers", "suggest")
    prompt.text("customers", "merge", "lago:cyd", "stripe:ann")
    assert suggested() == []


def test_from_python_and_over_http(prompt: Inside, database: Database) -> None:
    people = [described(source, "ann", "ann@acme.example") for source in ("stripe", "lago")]
    prompt.text("import", "events", "-", stdin="\n".join(map(json.dumps, people)))
    books = Tidemill(database, MetricsEngine(database, base_currency="USD"))
    expected = {
        "customer": {"source": "lago", "customer": "ann"},
        "into": {"source": "stripe", "customer": "ann"},
        "because": "same e-mail",
        "value": "ann@acme.example",
    }
    assert [each.document() for each in books.merge_suggestions()] == [expected]
    with serving(books) as client:
        suggested = client.get("/api/customers/suggestions")
        assert (suggested.status_code, suggested.json()) == (200, {"suggestions": [expected]})
        assert books.merge_customers("lago:ann", "stripe:ann") is True
        assert client.get("/api/customers/suggestions").json() == {"suggestions": []}
    assert books.merge_customers("lago:ann", "stripe:ann") is False
    assert books.unmerge_customer("lago:ann") is True
    assert books.unmerge_customer("lago:ann") is False
    with pytest.raises(InvalidQuery, match="lago"):
        books.unmerge_customer("lago")


def test_the_commands_stand_beside_the_questions(prompt: Prompt) -> None:
    told = prompt.text("customers", "--help")
    assert "series" in told
    assert all(f"customers {each}" in " ".join(told.split()) for each in ("merge", "suggest"))
    assert "INTO_SOURCE:ID" in prompt.text("customers", "merge", "--help")


def test_a_merge_under_another_policy_than_configured(prompt: Inside) -> None:
    """Kept apart by configuration customers stay apart; the merge is in the log all the same."""
    apart = replace(prompt, settings={"TIDEMILL_POLICY_SET": "identity=per_source"})
    apart.text("import", "events", "-", stdin=e36_without_its_merge())
    apart.text("customers", "merge", "lago:a", "stripe:a")
    assert apart.text("customers", *APRIL).strip() == "2"
    assert apart.text("customers", *APRIL, "--set", "identity=merged").strip() == "1"
