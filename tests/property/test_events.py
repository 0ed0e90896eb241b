"""Whatever is let through, the log can keep; whatever is refused, is refused with reasons.

Events are made valid and then damaged: a key changed to something else, removed, or added; bytes
of the text overwritten. Each is either refused with reasons or accepted by PostgreSQL, with every
cast that the state layer makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tidemill.errors import InvalidEvent, Problem
from tidemill.events import Event, parse_event

_NUMBERS = ["0", "-0", "1e5", "1E-400", "1e400", "1e131072", "-1e-99999", "0." + "3" * 40]
_STRINGS = ['"\\u0000"', '"\\ud800"', '"\\udc00"', '"\\ud83d\\ude00"', '"\\\\u0000"', '"\x7f"',
            '"é\\u00e9"', '"NaN"', '"-5"', '"1e3"', '"9999-12-31T23:59:59.9999999Z"',
            '"2025-04-01T00:00:00+15:59"', '"2025-04-01T00:00:00-23:00"',
            '"2025-04-01T23:59:59.9999999Z"', '"2025-04-01 00:00:00z"', '"usd"']  # fmt: skip

texts = st.text(st.characters(codec="utf-8"), max_size=12).map(json.dumps)
leaves = (
    st.sampled_from(_NUMBERS + _STRINGS + ["null", "true", "{}", "[]"])
    | texts
    | st.text(st.characters(codec="utf-8"), max_size=12).map(
        lambda text: json.dumps(text, ensure_ascii=False)
    )
    | st.integers().map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: f"[{','.join(each)}]")
        | st.dictionaries(texts, inner, max_size=3).map(
            lambda each: f"{{{','.join(f'{key}:{value}' for key, value in each.items())}}}"
        )
    ),
    max_leaves=6,
)

_ITEM = {"id": "i", "quantity": 2, "unit_amount": "10.5", "interval": "month", "interval_count": 1,
         "usage_type": "licensed", "tax_inclusive_amount": "0.5"}  # fmt: skip
_DISCOUNT = {"id": "d", "duration": "repeating", "percent_off": "10", "amount_off": None,
             "starts_at": "2025-04-01T00:00:00Z", "ends_at": None}  # fmt: skip
_DATA: dict[str, dict[str, Any]] = {
    "subscription.changed": {
        "id": "s", "status": "active", "currency": "USD", "items": [_ITEM],
        "discounts": [_DISCOUNT], "started_at": "2025-04-01T00:00:00Z", "trial_end": None,
        "current_period_start": "2025-04-01T00:00:00Z", "canceled_at": None, "voluntary": None,
    },
    "invoice.paid": {
        "id": "v", "status": "paid", "currency": "EUR", "subtotal": 5, "tax": 0, "total": 5,
        "issued_at": "2025-04-01T00:00:00Z",
        "lines": [{"id": "l", "kind": "tax", "amount": 5, "quantity": None}],
    },
    "payment.failed": {"id": "p", "amount": 5, "currency": "JPY", "fee": None, "attempt": 1},
    "customer.updated": {"id": "c", "country": "CZ", "attributes": {"a": 1}},
}  # fmt: skip

# The casts of the state layer: what must be numbers, instants, whole numbers and booleans.
_CASTS = """
SELECT d::text, (d->>'total')::numeric, (d->>'amount')::numeric, (d->>'fee')::numeric,
       (d->>'started_at')::timestamptz, (d->>'trial_end')::timestamptz,
       (d->>'canceled_at')::timestamptz, (d->>'current_period_start')::timestamptz,
       (d->>'issued_at')::timestamptz, (d->>'attempt')::integer, (d->>'voluntary')::boolean,
       (SELECT array_agg((i->>'quantity')::numeric * (i->>'unit_amount')::numeric
                         - (i->>'tax_inclusive_amount')::numeric)
          FROM jsonb_array_elements(d->'items') i),
       (SELECT array_agg((i->>'interval_count')::integer) FROM jsonb_array_elements(d->'items') i),
       (SELECT array_agg((i->>'ends_at')::timestamptz) FROM jsonb_array_elements(d->'discounts') i),
       (SELECT array_agg((i->>'percent_off')::numeric) FROM jsonb_array_elements(d->'discounts') i),
       (SELECT array_agg((i->>'amount')::numeric) FROM jsonb_array_elements(d->'lines') i)
  FROM (SELECT %s::jsonb AS d) event
"""


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The text of a valid event after some accidents."""
    type = draw(st.sampled_from(sorted(_DATA)))
    data = {key: json.dumps(value) for key, value in _DATA[type].items()}
    for key in ("items", "discounts", "lines"):
        if key in data and draw(st.booleans()):
            inner = {k: json.dumps(v) for k, v in _DATA[type][key][0].items()}
            data[key] = f"[{_object(_with_accident(draw, inner))}]"
    event = {
        "source": '"s"',
        "type": json.dumps(type),
        "customer": '"c"',
        "occurred_at": '"2025-04-01T00:00:00Z"',
        "sequence": "0",
        "data": _object(_with_accident(draw, data)),
    }
    if draw(st.integers(0, 4)) == 0:
        event = _with_accident(draw, event)
    text = bytearray(_object(event).encode())
    if draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(text) - 1))
        text[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(text)


def _with_accident(draw: st.DrawFn, members: dict[str, str]) -> dict[str, str]:
    accident = draw(st.sampled_from(["none", "change", "remove", "add"]))
    key = draw(st.sampled_from(sorted(members)))
    match accident:
        case "change":
            return members | {key: draw(anything)}
        case "remove":
            return {name: value for name, value in members.items() if name != key}
        case "add":
            return members | {draw(st.sampled_from(["new", "a b", "ё"])): draw(anything)}
    return members


def _object(members: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(key)}: {value}" for key, value in members.items()) + "}"


@pytest.fixture(scope="module", name="session")
def a_session(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


def read(text: bytes) -> Event | None:
    """The event, or None when it is refused, which must be with reasons."""
    problems: tuple[Problem, ...] = ()
    try:
        event = parse_event(text)
    except InvalidEvent as error:
        event, problems = None, error.problems
    # Quick reading and patient listing must agree; the library's own words are the last resort.
    assert (event is not None) == (not problems)
    assert not any("`$" in problem.problem or "Expected" in problem.problem for problem in problems)
    return event


@given(damaged())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(b'{"source":"s","type":"payment.failed","customer":"c","occurred_at":"2025-04-01T00:00:00Z",'
         b'"data":{"id":"p","amount":1,"currency":"USD","z":"\\\\u0000"}}')  # fmt: skip
def test_what_is_accepted_the_log_can_keep(session: psycopg.Connection, text: bytes) -> None:
    event = read(text)
    if event is None:
        return
    names = (event.source, event.type, event.customer, event.subject)
    row = session.execute("SELECT %s::text, %s::text, %s::text, %s::text", names).fetchone()
    assert row == names
    kept = session.execute(_CASTS, [event.data.decode()]).fetchone()
    assert kept is not None
    # Of a repeated key both keep the last value.
    assert json.loads(kept[0]).keys() == json.loads(event.data).keys()
    if event.type != "customer.updated":
        assert json.loads(kept[0])["id"] == event.subject


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    assert read(text) is None


@given(anything)
def test_any_json_is_read_or_refused(text: str) -> None:
    assert read(text.encode("utf-8", "surrogatepass")) is None


@given(damaged())
def test_reading_twice_gives_the_same(text: bytes) -> None:
    assert read(text) == read(text)


@given(damaged())
def test_an_accepted_event_written_again_is_accepted_again(text: bytes) -> None:
    event = read(text)
    if event is None:
        return
    again = {
        "id": str(event.id), "source": event.source, "type": event.type,
        "occurred_at": event.occurred_at.isoformat(), "sequence": event.sequence,
        "customer": event.customer, "livemode": event.livemode, "data": json.loads(event.data),
    }  # fmt: skip
    copy = parse_event(json.dumps(again).encode())
    assert (copy.id, copy.subject, copy.occurred_at) == (event.id, event.subject, event.occurred_at)
