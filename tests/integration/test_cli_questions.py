"""What a user asks on the command line, against numbers worked out by hand."""

from __future__ import annotations

import csv
import io
import re

import psycopg

from tests.support.cli import Inside

JAN_TO_MAR = ("--start", "2025-01-01", "--end", "2025-03-31")


def test_one_value_is_printed_bare(known: Inside) -> None:
    assert known.text("mrr", "--at", "2025-01-31") == "$61.00\n"
    assert known.text("mrr", "current", "--at", "2025-02-28") == "$111.00\n"
    assert known.text("arr", "--at", "2025-03-31") == "$1,200.00\n"
    assert known.text("customers", "--at", "2025-02-28") == "2\n"


def test_a_range_without_a_question_is_the_series(known: Inside) -> None:
    expected = [("2025-01-01", "$61.00"), ("2025-02-01", "$111.00"), ("2025-03-01", "$100.00")]
    for arguments in (("mrr",), ("mrr", "series"), ("mrr", "--interval", "month")):
        lines = known.text(*arguments, *JAN_TO_MAR).splitlines()
        assert [tuple(line.split()) for line in lines[2:]] == expected


def test_waterfall_as_a_table_closes(known: Inside) -> None:
    lines = known.text("mrr", "waterfall", *JAN_TO_MAR).splitlines()
    assert lines[0].split() == [
        *("period", "opening", "new", "expansion", "reactivation"),
        *("contraction", "churn", "fx", "closing"),
    ]
    nothing = "$0.00"
    assert [line.split() for line in lines[2:]] == [
        ["2025-01-01", nothing, "$61.00", *[nothing] * 5, "$61.00"],
        ["2025-02-01", "$61.00", nothing, "$50.00", *[nothing] * 4, "$111.00"],
        ["2025-03-01", "$111.00", *[nothing] * 4, "-$12.00", "$1.00", "$100.00"],
    ]


def test_csv_is_rounded_or_exact(known: Inside) -> None:
    asked = ("mrr", "breakdown", "--start", "2025-03-01", "--end", "2025-03-31", "--format", "csv")
    rounded = list(csv.DictReader(io.StringIO(known.text(*asked))))
    exact = list(csv.DictReader(io.StringIO(known.text(*asked, "--exact"))))
    assert {row["type"]: row["amount"] for row in rounded} == {
        **dict.fromkeys(("new", "expansion", "contraction", "reactivation"), "0.00"),
        "churn": "-12.00",
        "fx": "1.00",
    }
    assert {row["amount"] for row in exact if row["type"] == "fx"} == {"100.000000"}


def test_movements_name_their_cause(known: Inside) -> None:
    document = known.json("mrr", "movements", *JAN_TO_MAR)
    assert [column["name"] for column in document["columns"]] == [
        *("day", "occurred_at", "customer", "subscription", "plan", "type"),
        *("amount", "currency", "native_amount", "cause", "event_id"),
    ]
    lines = sorted(
        (row["day"], row["customer"], row["type"], row["amount"], row["native_amount"])
        for row in document["rows"]
    )
    # An upgrade takes one plan away and adds another; only together they are the movement.
    assert lines == [
        ("2025-01-10", "ada", "new", "5000.000000", "5000.000000"),
        ("2025-01-15", "bert", "new", "1100.000000", "1000.000000"),
        ("2025-02-10", "ada", "expansion", "-5000.000000", "-5000.000000"),
        ("2025-02-10", "ada", "expansion", "10000.000000", "10000.000000"),
        ("2025-03-05", "bert", "churn", "-1200.000000", "-1000.000000"),
    ]
    assert all(row["cause"] == "event" and row["event_id"] for row in document["rows"])


def test_dimensions_filters_and_quick_ratio(known: Inside) -> None:
    by_country = known.json("mrr", "--at", "2025-02-28", "--by", "country")
    assert by_country["rows"] == [
        {"country": "DE", "mrr": "1100.000000"},
        {"country": "GB", "mrr": "10000.000000"},
    ]
    assert by_country["columns"][0] == {"name": "country", "unit": "text", "dimension": True}
    assert known.text("mrr", "--at", "2025-02-28", "--where", "customer=bert") == "$11.00\n"
    assert known.text("mrr", "--at", "2025-02-28", "--where", "country!=DE") == "$100.00\n"
    assert known.text("mrr", "--at", "2025-02-28", "--source", "books") == "$111.00\n"
    ratio = known.json("quick-ratio", "--start", "2025-03-01", "--end", "2025-03-31")
    [row] = ratio["rows"]
    assert row["quick_ratio"] == "0"
    assert row["quick_ratio_denominator"] == "1200.000000"


def test_an_undefined_ratio_says_so(known: Inside) -> None:
    asked = ("quick-ratio", "--start", "2025-01-01", "--end", "2025-01-31")
    [row] = known.json(*asked)["rows"]
    assert row["quick_ratio"] is None
    assert "undefined" in known.run(*asked).stderr


def test_json_is_as_agreed(known: Inside) -> None:
    document = known.json("mrr", "--at", "2025-01-31")
    agreed = {
        *("metric", "question", "params", "columns", "rows", "policy", "as_of", "known_at"),
        *("complete", "warnings", "freshness"),
    }
    assert agreed <= set(document)
    assert document["metric"] == "mrr"
    assert document["question"] == "current"
    assert document["params"] == {"at": "2025-01-31"}
    assert document["columns"] == [{"name": "mrr", "unit": "money", "currency": "USD"}]
    assert document["rows"] == [{"mrr": "6100.000000"}]
    assert document["policy"]["preset"] == "default"
    assert document["policy"]["hash"].startswith("sha256:")
    assert document["complete"] is True
    assert document["warnings"] == []
    assert document["freshness"] == [{"source": "books", "last_event_at": "2025-03-05T12:00:00Z"}]


def test_sql_runs_as_it_is_printed(known: Inside) -> None:
    written = known.text("mrr", "--at", "2025-01-31", "--sql")
    with psycopg.connect(known.url) as connection:
        assert connection.execute(written.encode()).fetchone() == (6100,)


def test_explain_goes_down_to_the_events(known: Inside) -> None:
    text = known.text("explain", "mrr", "--at", "2025-01-31", "--customer", "bert")
    for part in ("Formula", "Policy", "SQL", "$11.00", "bert", "sub_bert", "2025-01-15"):
        assert part in text
    assert "ada" not in text
    document = known.json("explain", "mrr", "waterfall", *JAN_TO_MAR)
    assert document["behind"]["metric"] == "mrr"
    assert document["behind"]["question"] == "movements"
    assert document["result"]["rows"][2]["closing"] == "10000.000000"
    assert document["formula"]


def test_knobs_and_presets_make_another_policy(known: Inside) -> None:
    usual = known.json("mrr", "--at", "2025-01-31")
    turned = known.json("mrr", "--at", "2025-01-31", "--set", "tax=include")
    assert turned["policy"]["set"] == {"tax": "include"}
    assert turned["policy"]["hash"] != usual["policy"]["hash"]
    assert turned["rows"] == usual["rows"]


def test_the_past_can_be_asked_as_it_was_known(known: Inside) -> None:
    document = known.json("mrr", "--at", "2025-01-31", "--known-at", "2025-01-01T00:00:00Z")
    assert document["known_at"] == "2025-01-01T00:00:00Z"
    assert document["rows"] == [{"mrr": "0.000000"}]


def test_an_unfinished_day_is_flagged(known: Inside) -> None:
    done = known.run("mrr")
    assert done.stdout == "$100.00\n"
    assert "warning: " in done.stderr
    assert known.json("mrr")["complete"] is False


def test_summary_shows_each_number_with_its_change(known: Inside) -> None:
    text = known.text("summary", "--at", "2025-02-28")
    mrr = next(line.split() for line in text.splitlines() if line.startswith("mrr"))
    assert mrr == ["mrr", "$111.00", "$61.00", "$50.00", "+82.0", "%", "$0.00", "$111.00"]
    assert "closing" in text
    document = known.json("summary", "--at", "2025-02-28")
    assert document["headlines"][0]["change"] == "5000.000000"
    assert document["headlines"][2]["value"] == 2


def test_catalogue_lists_what_can_be_asked(known: Inside) -> None:
    assert "waterfall" in known.text("metrics")
    assert "dimension" in known.text("metrics", "mrr")
    names = [each["name"] for each in known.json("metrics")["metrics"]]
    assert names[:2] == ["mrr", "arr"]
    listed = known.text("policies")
    assert [line.split()[:6] for line in listed.splitlines() if line.startswith("chartmogul")] == [
        ["chartmogul", "ChartMogul", "22", "2", "0", "5"]
    ]
    assert listed.rstrip().endswith(": default")
    assert known.json("policies")["configured"]["preset"] == "default"
    told = known.text("policies", "maxio")
    assert "netting" in told
    assert "28 knobs" in told
    number = re.search(r"movement_level .* documented \[(\d+)\]", told)
    assert number
    assert f"[{number[1]}] help.chargify.com/reports/churn-analytics.html" in told
    assert known.json("policies", "maxio")["choices"][0]["evidence"]
    assert [each["name"] for each in known.json("sources")["sources"]] == ["books"]
    assert "2025-01-01" in known.text("fx", "show")


def test_a_type_of_churn_is_a_question(known: Inside) -> None:
    march = ("--start", "2025-03-01", "--end", "2025-03-31")
    [row] = known.json("churn", *march)["rows"]
    assert row == {
        "logo_churn": "0.5",
        "logo_churn_numerator": 1,
        "logo_churn_denominator": 2,
    }
    assert known.json("churn", "--type", "logo", *march)["rows"] == [row]
    revenue = known.json("churn", *march, "--type=revenue")
    assert revenue["question"] == "gross_mrr"
    assert revenue["rows"] == known.json("churn", "gross-mrr", *march)["rows"]
    # EUR 10.00 at the rate of the day before the month.
    assert revenue["rows"][0]["gross_mrr_churn_numerator"] == "1100.000000"
    explained = known.json("explain", "churn", "--type", "revenue", *march)
    assert explained["question"] == "gross_mrr"
    refused = known.run("churn", "--type", "revenues")
    assert refused.returncode == 2
    assert "'revenue'" in refused.stderr
