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
