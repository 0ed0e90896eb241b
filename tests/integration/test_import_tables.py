"""`tidemill import csv`: what would be understood, what is taken in, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import Inside, inside
from tidemill.database import Database

TEXT = """\
subscription,customer,from,status,currency,amount,interval,quantity
s1,c1,2026-01-01,active,usd,10.50,month,2
s2,c2,2026-01-01,active,usd,120.00,year,1
"""


@pytest.fixture
def cli(tmp_path: Path, database: Database) -> Inside:
    (tmp_path / "books.csv").write_text(TEXT)
    return inside(tmp_path, database)


def _csv(*more: str) -> tuple[str, ...]:
    return ("import", "csv", *more, "--source", "acme")


def test_a_dry_run_shows_and_takes_nothing_in(cli: Inside) -> None:
    shown = cli.text(*_csv("subscriptions", "books.csv"), "--dry-run")
    assert "2 events would be taken in" in shown
    assert "subscription.created" in shown
    document = cli.json(*_csv("subscriptions", "books.csv"), "--dry-run")
    assert len(document["events"]) == 2
    assert cli.json("sources") == {"sources": []}


def test_a_table_becomes_mrr(cli: Inside) -> None:
    assert cli.json(*_csv("subscriptions", "books.csv"))["applied"] == 2
    assert cli.json("mrr", "--at", "2026-02-01")["rows"] == [{"mrr": "3100.000000"}]
    assert cli.json(*_csv("subscriptions", "books.csv"))["duplicate"] == 2


def test_an_unknown_kind_and_a_missing_file_are_refused(cli: Inside) -> None:
    unknown = cli.run(*_csv("subscription", "books.csv"))
    assert unknown.returncode == 2
    assert "Did you mean 'subscriptions'?" in unknown.stderr
    assert cli.run(*_csv("subscriptions")).returncode == 2
    assert "no such file" in cli.run(*_csv("subscriptions", "nowhere.csv")).stderr


def test_nothing_of_a_bad_file_is_taken_in(cli: Inside, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(TEXT + "s3,c3,2026-01-01,active,usd,ten,month,1\n")
    refused = cli.run(*_csv("subscriptions", "bad.csv"))
    assert refused.returncode == 1
    assert "bad.csv:4 amount" in refused.stderr
    assert cli.json("sources") == {"sources": []}


_COSTS = """\
day,amount,currency,category,channel,vendor
2026-01-05,"1,000.50",usd,program,ads,Search
2026-01-31,500,usd,salaries,,
2026-01-31,9,usd,cogs,,Hosting
"""


def test_costs_become_acquisition_cost(cli: Inside, tmp_path: Path) -> None:
    january = ("--start", "2026-01-01", "--end", "2026-01-31")
    cli.json(*_csv("subscriptions", "books.csv"))
    missing = cli.run("cac", *january)
    assert missing.returncode == 4
    assert "error[cost_data_missing]" in missing.stderr
    (tmp_path / "costs.csv").write_text(_COSTS)
    assert cli.json(*_csv("expenses", "costs.csv"))["applied"] == 3
    assert cli.json(*_csv("expenses", "costs.csv"))["duplicate"] == 3
    (row,) = cli.json("cac", *january)["rows"]
    assert row["cac_numerator"] == "150050.000000"
    assert row["cac_denominator"] == 2
    # The same cost with another amount is a correction.
    (tmp_path / "costs.csv").write_text(_COSTS.replace("500,usd,sal", "100,usd,sal"))
    assert cli.json(*_csv("expenses", "costs.csv"))["applied"] == 1
    assert cli.json("cac", *january)["rows"][0]["cac_numerator"] == "110050.000000"


def test_every_problem_of_a_table_of_costs_is_named(cli: Inside, tmp_path: Path) -> None:
    wrong = _COSTS + (
        "2026-02-30,1,usd,program,,\n"
        "2026-01-05,2,usd,program,ads,Search\n"
        "2026-01-06,1.005,usd,adverts,,\n"
        "2026-01-07,,xxq,tools,,\n"
    )
    (tmp_path / "costs.csv").write_text(wrong)
    refused = cli.run(*_csv("expenses", "costs.csv"))
    assert refused.returncode == 1
    for each in (
        "costs.csv:5 day",
        "costs.csv:6 expense: is the same cost as costs.csv:2",
        "costs.csv:7 category",
        "costs.csv:7 amount",
        "costs.csv:8 amount",
        "costs.csv:8 currency",
    ):
        assert each in refused.stderr
