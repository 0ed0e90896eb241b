"""Attributes equal what Python reads in the same events, whatever their order and date."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Select, bindparam, cast, select
from sqlalchemy.dialects.postgresql import JSONB

from tests.conftest import NewDatabase
from tests.support.happenings import at
from tests.support.tables import exact_tables, named_tables
from tests.support.weight import examples
from tidemill import models
from tidemill.attribute_rows import members, readings
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import Event, parse_event
from tidemill.rebuilding import rebuild
from tidemill.relations import core_relations
from tidemill.state import Books
from tidemill.worker import drain

_FEW = settings(
    max_examples=examples(6),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_VALUES: Final = st.sampled_from(
    [
        *("big", "", "10", "10.50", "-3", "007", "true", "FALSE", "2024-02-29", "2023-02-29"),
        *("2025-06-30T12:00:00Z", "2025-06-30T12:00:00+05:45", "2025-06-31", "12345678901234567"),
        *(3, 0.5, True, False, None),
    ]
)
_NAMES: Final = st.sampled_from(["size", "tier", "since"])


def _event(draw: st.DrawFn, number: int) -> Event:
    about = draw(st.sampled_from(["customer.updated", "customer.attributes_set", "pin"]))
    when, known = (at(draw(st.integers(1, 4))) for _ in range(2))
    envelope = {
        "id": uuid5(NAMESPACE_URL, f"attribute {number}"),
        "source": "stripe",
        "occurred_at": when,
        "recorded_at": max(when, known),
        "sequence": draw(st.integers(0, 1)),
    }
    if about == "pin":
        kind = draw(st.sampled_from(["string", "number", "bool", "instant", None]))
        data = {"id": draw(_NAMES), "kind": kind}
        return parse_event(envelope | {"type": "attribute.pinned", "data": data})
    customer = draw(st.sampled_from(["ada", "bert"]))
    values = draw(st.dictionaries(_NAMES, _VALUES, max_size=3))
    live = draw(st.sampled_from([True, True, True, False]))
    said = {"type": about, "customer": customer, "livemode": live}
    return parse_event(envelope | said | {"data": {"id": customer, "attributes": values}})


@st.composite
def _events(draw: st.DrawFn) -> list[Event]:
    return [_event(draw, number) for number in range(draw(st.integers(1, 12)))]


def _keep(database: Database, events: Iterable[Event]) -> None:
    bus = PostgresBus(database)
    for event in events:
        bus.append([event])
        drain(bus, Books())


# --- what Python makes of it ----------------------------------------------------------------------


def _order(event: Event) -> tuple[Any, ...]:
    return event.occurred_at, event.sequence, event.recorded_at, event.id


def _texts(events: Sequence[Event]) -> dict[tuple[str, str], str]:
    """(customer, name) → the value that holds, as text."""
    found: dict[tuple[str, str], Any] = {}
    for customer in ("ada", "bert"):
        own = [e for e in events if e.customer == customer]
        said = [e for e in own if e.type == "customer.updated"]
        if said and (last := max(said, key=_order)).livemode:
            found |= {(customer, name): value for name, value in _given(last).items()}
        put = [e for e in own if e.type == "customer.attributes_set" and e.livemode]
        for name in {name for event in put for name in _given(event)}:
            last = max((e for e in put if name in _given(e)), key=_order)
            if _given(last)[name] not in (None, ""):
                found[customer, name] = _given(last)[name]
    return {key: _text(value) for key, value in found.items() if value not in (None, "")}


def _given(event: Event) -> dict[str, Any]:
    return dict(msgspec.json.decode(event.data)["attributes"])


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _now(query: Select[Any], database: Database) -> dict[tuple[str, str], str]:
    with database.connect() as connection:
        return {(row.customer, row.attribute): row.text for row in connection.execute(query)}


def _asked(known_at: datetime | None) -> Select[Any]:
    rows = core_relations(base_currency="USD", known_at=known_at).customer_attributes
    named = models.customer.c.external_id.label("customer")
    return select(named, rows).join(rows, rows.c.customer_id == models.customer.c.id)


@pytest.fixture(scope="module")
def reader(new_database: NewDatabase) -> Iterator[Callable[[Any], Any]]:
    """Reads a JSON value in PostgreSQL."""
    member = members(cast(bindparam("value", type_=JSONB), JSONB))
    query = select(*(each.label(name) for name, each in readings(member).items()))
    with new_database() as database, database.connect() as connection:
        yield lambda said: connection.execute(query, {"value": {"it": said}}).one()


# --- the laws ------------------------------------------------------------------------------------


@_FEW
@given(events=_events(), data=st.data())
def test_values_are_those_of_the_latest_words_in_any_order_of_arrival(
    new_database: NewDatabase, events: list[Event], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(events))
    with new_database() as database:
        _keep(database, events)
        assert _now(_asked(None), database) == _texts(events)
        with database.connect() as connection:
            straight, kept = named_tables(connection), exact_tables(connection)
        rebuild(database, PostgresBus(database), Books())
        with database.connect() as connection:
            assert exact_tables(connection) == kept
    with new_database() as database:
        _keep(database, [*shuffled, *shuffled[:3]])
        with database.connect() as connection:
            other = named_tables(connection)
    for table in ("customer_attribute", "attribute", "attribute_pin"):
        assert other[table] == straight[table], table


@_FEW
@given(events=_events(), day=st.integers(1, 5))
def test_what_was_known_is_what_had_been_recorded(
    new_database: NewDatabase, events: list[Event], day: int
) -> None:
    with new_database() as database:
        _keep(database, events)
        known = [each for each in events if each.recorded_at and each.recorded_at <= at(day)]
        assert _now(_asked(at(day)), database) == _texts(known)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    day=st.dates(date(1000, 1, 1)),
    clock=st.none() | st.times(),
    # Days that no calendar has, too: they must be texts, and not fail.
    nudge=st.sampled_from(["", "-31", "-30", "-29", "x"]),
)
def test_moments_are_read_as_python_reads_them(
    reader: Any, day: date, clock: time | None, nudge: str
) -> None:
    text = day.isoformat()
    if nudge and nudge != "x":
        text = text[:-3] + nudge
    if clock is not None:
        text += f"T{clock.isoformat()}Z"
    text += "x" * (nudge == "x")
    try:
        wanted = datetime.fromisoformat(text)
    except ValueError:
        wanted = None
    if wanted is not None and wanted.tzinfo is None:
        wanted = wanted.replace(tzinfo=UTC)
    assert reader(text).moment == wanted


@settings(max_examples=300, deadline=None)
@given(text=st.from_regex(r"-?[0-9]{0,17}(\.[0-9]{0,11})?", fullmatch=True))
def test_numbers_are_read_unless_they_look_like_names(reader: Any, text: str) -> None:
    plain = re.fullmatch(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?", text)
    assert reader(text).number == (Decimal(text) if plain else None)


def test_json_numbers_and_booleans_are_what_they_are(reader: Any) -> None:
    assert reader(12345678901234567).number == 12345678901234567
    assert (reader(True).flag, reader("FALSE").flag, reader("yes").flag) == (True, False, None)
    assert (reader(0.5).text, reader(False).text, reader("").text) == ("0.5", "false", None)
    assert reader(20250630).moment is None
