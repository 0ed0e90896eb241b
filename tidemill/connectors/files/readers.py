"""From the records of a file to events: every record becomes an event, a refusal or a reason.

Nothing stops at a bad record: it is given as `Rejected` with file, line and all its problems, and
the next one is read. A copy of an event is given again, so that whoever takes it in can count it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from tidemill.connectors.base import Item
from tidemill.connectors.files.lines import Record, opened, records
from tidemill.connectors.stripe.survey import Survey
from tidemill.errors import InvalidEvent
from tidemill.events import parse_event
from tidemill.intake import Ignored, Rejected
from tidemill.problems import Problem

__all__ = ["KINDS", "read_again", "read_events", "read_stripe_events"]

KINDS: Final = ("events", "stripe-events")
"""The kinds of records, as `tidemill import` and the quarantine name them."""

_DECODER: Final = msgspec.json.Decoder()


def read_events(file: str | Path | BinaryIO, *, source: str) -> Iterator[Item]:
    """The canonical events of a file (``-`` is standard input), in the order they stand there.

    source: names the source of events that do not name theirs.
    Raises: UnreadableFile when the file is not there, may not be read, or is damaged.
    """
    with opened(file) as (name, stream):
        for record in records(name, stream):
            yield _event(record, source)


def read_stripe_events(
    file: str | Path | BinaryIO, *, source: str, test_mode: bool = False
) -> Iterator[Item]:
    """The canonical events that the raw Stripe events of a file stand for, in the file's order.

    The file is read two or three times: what events say about each other (the order of changes
    within a second, coupons that are only named) is found first, so that neither the order of the
    file nor its size matters.

    source:    name of the source the events belong to.
    test_mode: True takes test-mode events for the books; False keeps them apart from all metrics.
    Raises:    UnreadableFile when the file is not there, may not be read, or is damaged.
    """
    with opened(file) as (name, stream):
        survey = Survey()
        for record in records(name, stream):
            survey.look(record.body)
        if survey.unsettled:
            survey.settle(record.body for record in records(name, stream))
        for record in records(name, stream):
            yield from _stripe_event(record, survey, source, test_mode=test_mode)


def read_again(kind: str, body: str, *, source: str, test_mode: bool = False) -> Iterator[Item]:
    """What a record that was kept aside means now.

    kind, body: as `Rejected` had them.
    """
    record = Record("", body.encode(errors="replace"))
    if kind == "stripe-events":
        yield from _stripe_event(record, Survey(), source, test_mode=test_mode)
    elif kind == "events":
        yield _event(record, source)
    else:
        problem = Problem("", f"nothing here reads {kind!r}")
        yield Rejected("", source, kind, body, (problem,))


def _event(record: Record, source: str) -> Item:
    if record.problem is not None:
        return _rejected(record, "events", source, (record.problem,))
    try:
        return parse_event(record.body, default_source=source)
    except InvalidEvent as error:
        return _rejected(record, "events", source, error.problems)


def _stripe_event(
    record: Record, survey: Survey, source: str, *, test_mode: bool
) -> Iterator[Item]:
    raw = _decoded(record)
    if isinstance(raw, Problem):
        yield _rejected(record, "stripe-events", source, (raw,))
        return
    translation = survey.translate(raw, source=source, test_mode=test_mode)
    yield from translation.events
    if translation.problems:
        yield _rejected(record, "stripe-events", source, translation.problems)
    elif translation.ignored is not None:
        kind = raw.get("type")
        shown = kind[:100] if isinstance(kind, str) else ""
        yield Ignored(record.origin, shown, translation.ignored)


def _decoded(record: Record) -> dict[str, Any] | Problem:
    """The record as a JSON object, or why it is none."""
    if record.problem is not None:
        return record.problem
    try:
        raw = _DECODER.decode(record.body)
    except UnicodeDecodeError as error:
        return Problem("", f"is not UTF-8 (byte {error.start})")
    except RecursionError:
        return Problem("", "is nested too deeply")
    except msgspec.DecodeError as error:
        return Problem("", f"is not one JSON object: {error}")
    return raw if isinstance(raw, dict) else Problem("", "must be a JSON object")


def _rejected(record: Record, kind: str, source: str, problems: tuple[Problem, ...]) -> Rejected:
    return Rejected(record.origin, source, kind, record.shown, problems)
