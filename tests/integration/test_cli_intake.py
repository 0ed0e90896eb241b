"""Getting data in as a user does, and what becomes of bad input."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import date

import psycopg

from tests.support.cli import Inside
from tests.support.known_book import EVENTS, as_lines, subscription
from tidemill.demo import generate

MRR = ("mrr", "--at", "2025-02-28")


def test_files_are_taken_in_once(cli: Inside) -> None:
    (cli.folder / "books.jsonl").write_text(as_lines(), encoding="utf-8")
    (cli.folder / "more.jsonl.gz").write_bytes(gzip.compress(as_lines().encode()))
    first = cli.json("import", "events", "books.jsonl")
    expected = {"read": 8, "applied": 8, "duplicate": 0, "quarantined": 0, "ignored": 0}
    assert first == expected
    again = cli.json("import", "events", "books.jsonl", "more.jsonl.gz")
    assert again == expected | {"read": 16, "applied": 0, "duplicate": 16}
    assert cli.text(*MRR) == "$111.00\n"
    assert "8 applied" not in cli.text("import", "events", "-", stdin=as_lines())


def test_bad_lines_are_named_and_the_rest_goes_on(cli: Inside) -> None:
    unknown = subscription("cara", "2025-02-01T00:00:00Z", plan="pro", unit_amount="900")
    unknown["data"] |= {"currency": "xxx", "status": "sleeping"}
    lines = [*as_lines(EVENTS[:4]).splitlines(), "{not JSON", json.dumps(unknown), "42"]
    lines += as_lines(EVENTS[4:]).splitlines()
    (cli.folder / "books.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done = cli.run("import", "events", "books.jsonl", "--format", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["applied"] == 8
    assert json.loads(done.stdout)["quarantined"] == 3
    named = done.stderr.splitlines()
    assert [line.partition(": ")[0] for line in named] == [f"books.jsonl:{n}" for n in (5, 6, 7)]
    assert "currency" in named[1]
    assert "status" in named[1]

    listed = cli.json("quarantine", "list")["quarantined"]
    assert [each["origin"] for each in listed] == [f"books.jsonl:{n}" for n in (5, 6, 7)]
    assert len(listed[1]["problems"]) == 2
    shown = cli.text("quarantine", "show", str(listed[0]["id"]))
    assert "{not JSON" in shown
    asked = cli.run(*MRR)
    assert asked.stdout == "$111.00\n"
    assert "3 events are in quarantine" in asked.stderr
    assert cli.json(*MRR)["warnings"]


def test_quarantined_input_can_be_replayed(cli: Inside) -> None:
    assert cli.run("import", "events", "-", stdin="{not JSON\n").returncode == 1
    done = cli.run("quarantine", "replay")
    assert done.returncode == 1
    assert "1 still refused" in done.stdout
    missing = cli.run("quarantine", "show", "4711")
    assert missing.returncode == 2
    assert "error[unknown_quarantined]" in missing.stderr


def test_a_huge_line_is_refused(cli: Inside) -> None:
    text = as_lines(EVENTS[:1]) + '{"x": "' + "a" * 10_000_000 + '"}\n' + as_lines(EVENTS[1:])
    (cli.folder / "books.jsonl").write_text(text, encoding="utf-8")
    done = cli.run("import", "events", "books.jsonl")
    assert done.returncode == 1
    assert "books.jsonl:2: " in done.stderr
    assert "10,000,000" in done.stderr
    assert len(done.stderr) < 2_000
    assert cli.text(*MRR) == "$111.00\n"


def test_a_missing_file_stops_before_anything_is_taken_in(cli: Inside) -> None:
    (cli.folder / "books.jsonl").write_text(as_lines(), encoding="utf-8")
    done = cli.run("import", "events", "books.jsonl", "boooks.jsonl")
    assert done.returncode == 1
    assert "error[unreadable_file]: boooks.jsonl" in done.stderr
    assert cli.text(*MRR) == "$0.00\n"


def test_stripe_events_become_mrr(cli: Inside) -> None:
    payloads = list(generate(6, 3, 1, end=date(2026, 3, 31)))
    lines = "".join(f"{json.dumps(each)}\n" for each in payloads)
    unknown = {**payloads[0], "id": "evt_odd", "type": "radar.early_fraud_warning.created"}
    counts = cli.json("import", "stripe-events", "-", stdin=f"{lines}{json.dumps(unknown)}\n")
    assert counts["quarantined"] == 0
    assert counts["ignored"] >= 1
    assert counts["applied"] > 6
    assert cli.json("customers", "--at", "2026-03-31")["rows"][0]["customers"] > 0
    assert [each["name"] for each in cli.json("sources")["sources"]] == ["stripe"]


def test_test_mode_is_kept_apart_unless_wanted(cli: Inside) -> None:
    payloads = [{**each, "livemode": False} for each in generate(4, 2, 1, end=date(2026, 3, 31))]
    lines = "".join(f"{json.dumps(each)}\n" for each in payloads)
    cli.json("import", "stripe-events", "-", stdin=lines)
    apart = cli.json("customers", "--at", "2026-03-31")
    assert apart["rows"] == [{"customers": 0}]
    assert any("test-mode" in warning for warning in apart["warnings"])
    cli.json("import", "stripe-events", "-", "--source", "sandbox", "--test-mode", stdin=lines)
    wanted = cli.json("customers", "--at", "2026-03-31", "--source", "sandbox")
    assert wanted["rows"][0]["customers"] > 0


def test_rates_from_a_file_complete_the_books(cli: Inside) -> None:
    without = [event for event in EVENTS if event["type"] != "fx_rate.published"]
    cli.text("import", "events", "-", stdin=as_lines(without))
    refused = cli.run(*MRR, "--format", "json")
    assert refused.returncode == 4
    assert refused.stdout == ""
    error = json.loads(refused.stderr)
    assert error["code"] == "missing_rate"
    assert "EUR" in error["detail"]
    assert "2025-02-28" in error["detail"]
    assert "missing" in cli.text("fx", "show")
    assert cli.run("doctor").returncode == 1

    wrong = cli.run(
        "fx", "load", "-", stdin="day,quote,rate\n2025-13-01,EUR,1\n2025-01-01,XXX,-2\n"
    )
    assert wrong.returncode == 1
    assert wrong.stderr.count("-:") >= 2
    cli.text("fx", "load", "-", stdin="day,quote,rate\n2025-01-01,EUR,1.10\n2025-03-01,EUR,1.2\n")
    assert cli.text(*MRR) == "$111.00\n"
    cli.text("fx", "load", "-", stdin="day,base,quote,rate\n2025-01-01,USD,EUR,1.20\n")
    assert cli.text(*MRR) == "$112.00\n"


def test_rebuild_and_worker_change_nothing_that_is_right(cli: Inside) -> None:
    cli.text("import", "events", "-", stdin=as_lines())
    before = cli.json("mrr", "movements", "--start", "2025-01-01", "--end", "2025-03-31")
    assert "8 events" in cli.text("rebuild")
    cli.text("rebuild", "--metric", "quick-ratio")
    cli.text("worker", "--once")
    after = cli.json("mrr", "movements", "--start", "2025-01-01", "--end", "2025-03-31")
    assert after["rows"] == before["rows"]
    found = cli.json("doctor")
    assert found["ok"], found
    assert {"about": "facts", "level": "ok", "found": "equal a new derivation", "hint": ""} in (
        found["findings"]
    )


def test_a_change_of_policy_reaches_the_facts(cli: Inside) -> None:
    """Bert's year began at 20:00 UTC on 15 January, which is the 16th in Kathmandu."""
    late = subscription("bert", "2025-01-15T20:00:00Z", plan="basic", unit_amount="5000")
    cli.text("import", "events", "-", stdin=as_lines([late]))
    movements = ("mrr", "movements", "--start", "2025-01-01", "--end", "2025-01-31")
    assert [row["day"] for row in cli.json(*movements)["rows"]] == ["2025-01-15"]
    moved = replace(cli, settings={"TIDEMILL_TIMEZONE": "Asia/Kathmandu"})
    assert [row["day"] for row in moved.json(*movements)["rows"]] == ["2025-01-16"]
    assert "another policy" in moved.text("doctor")
    moved.text("worker", "--once")
    assert [row["day"] for row in moved.json(*movements)["rows"]] == ["2025-01-16"]
    assert "equal a new derivation" in moved.text("doctor")
    assert [row["day"] for row in cli.json(*movements)["rows"]] == ["2025-01-15"]


def test_what_a_later_version_keeps_besides_is_filled_by_a_worker(cli: Inside) -> None:
    """A migration brings an empty table; what is in force does not name it yet."""
    cli.text("import", "events", "-", stdin=as_lines())
    with psycopg.connect(cli.url) as earlier:
        earlier.execute("TRUNCATE metric_mrr_monthly")
        earlier.execute(
            """UPDATE policy_in_use SET document
               = jsonb_set(document, '{facts}', (document->'facts') - 'metric_mrr_monthly'::text)"""
        )
    asked = ("churn", "series", "--start", "2025-01-01", "--end", "2025-03-31")
    derived = cli.json(*asked)["rows"]
    assert "metric_mrr_monthly not filled yet" in cli.text("doctor")
    cli.text("worker", "--once")
    assert "equal a new derivation" in cli.text("doctor")
    assert cli.json(*asked)["rows"] == derived


def test_contradicting_events_are_shown_by_the_doctor(cli: Inside) -> None:
    at = "2025-01-10T12:00:00Z"
    one = subscription("ada", at, plan="basic", unit_amount="5000")
    other = subscription("ada", at, plan="basic", unit_amount="7000")
    one["id"] = "6f1f1e5e-0000-4000-8000-000000000001"
    other["id"] = "6f1f1e5e-0000-4000-8000-000000000002"
    cli.text("import", "events", "-", stdin=as_lines([one, other]))
    assert "events disagree about sub_ada" in cli.text("doctor")
