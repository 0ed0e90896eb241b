"""Billing databases read in place: as whoever may only read, and told by the worked cases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import tidemill
from tests.support.case_answers import AS_OF, check_answers
from tests.support.cases import BASE_CURRENCY, Case, Expectation, canonical_events
from tidemill.bookkeeping import FACTS
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import Event, parse_event
from tidemill.ingest import ingest
from tidemill.policy import Policy
from tidemill.state import Books

__all__ = ["askable", "check_case", "reader_of", "rows_of", "take_rates", "url_of"]

_DEPLOY = Path(__file__).parents[2] / "deploy"


def url_of(database: Database) -> str:
    """Its address, as a user would give it."""
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def rows_of(database: Database) -> list[tuple[Any, ...]]:
    """Every table with its number of rows and the transaction that wrote the newest of them."""
    counted = []
    with database.connect() as connection:
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        for name in sorted(connection.exec_driver_sql(tables).scalars()):
            marks = "count(*), max(xmin::text::bigint), max(xmax::text::bigint)"
            newest = f'SELECT {marks} FROM "{name}"'  # noqa: S608 - our own table's name
            counted.append((name, *connection.exec_driver_sql(newest).one()))
    return counted


@contextmanager
def reader_of(database: Database, connector: str) -> Iterator[str]:
    """The address of a database for the role that is shipped for its connector."""
    role = (_DEPLOY / connector / "read-only-role.sql").read_text("utf-8")
    name = f"reader_{uuid4().hex}"
    with database.begin() as connection:
        connection.exec_driver_sql(re.sub(r"\btidemill\b", name, role))
    try:
        url = database.engine.url.set(drivername="postgresql", username=name, password="change me")
        yield url.render_as_string(hide_password=False)
    finally:
        with database.begin() as connection:
            connection.exec_driver_sql(f'DROP OWNED BY "{name}"')
            connection.exec_driver_sql(f'DROP ROLE "{name}"')


def askable(case: Case, expected: Expectation) -> bool:
    """Whether a billing database knows enough; more than that depends on whose it is."""
    policy = Policy.of(expected.preset, expected.overrides)
    if (policy.event_time, policy.late_events) != ("effective", "restate"):
        return False
    if policy.activation != "status_active" or policy.refunds != "ignore":
        return False  # invoices are written for other tests
    # It ends a subscription at once and gives the rest back: there is no paid-up date after it.
    ends = {each.get("mode") for each in case.history}
    return policy.churn_recognition != "at_period_end" or "immediate" not in ends


def take_rates(own: Database, published: list[Event]) -> None:
    """Put exchange rates into books of our own."""
    if published:
        books = Books(FACTS, Policy.of(), BASE_CURRENCY)
        ingest(own, PostgresBus(own), published, books)


def check_case(
    connector: str, billing: Database, own: Database, case: Case, asked: Iterable[Expectation]
) -> None:
    """Hold what is answered in place against a case; its exchange rates are in our own store."""
    told = [parse_event(each) for each in canonical_events(case)]
    take_rates(own, [each for each in told if each.type == "fx_rate.published"])
    for expected in asked:
        with tidemill.connect(
            url_of(own),
            source_url=url_of(billing),
            connector=connector,
            base_currency=BASE_CURRENCY,
            policy=expected.preset,
            policy_set=dict(expected.overrides),
            as_of=AS_OF,
        ) as connected:
            try:
                check_answers(connected, expected)
            except AssertionError as error:
                error.add_note(f"{expected}: {case.title}")
                raise
