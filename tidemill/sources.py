"""Connected sources: naming one before anything comes from it, and what each has brought.

Most sources come to be with their first event. One is connected by hand to say beforehand what
cannot be seen in its events: that the vendor's test mode is its books.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql

from tidemill.connectors.of_events import CONNECTORS
from tidemill.connectors.stripe.client import API_VERSION
from tidemill.connectors.stripe.meanings import EVENT_TYPES
from tidemill.doctor import sources
from tidemill.errors import InvalidSource
from tidemill.inbox.report import report
from tidemill.models import source
from tidemill.problems import Problem, did_you_mean
from tidemill.unknown_words import unknown_words

__all__ = ["Connected", "connect_source", "connected", "overview", "webhook_help"]

# No colon: behind one stands the connected account of a source.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class Connected:
    """A source: its name, the connector it is of, and whether test mode is its books."""

    name: str
    kind: str
    test_mode: bool


def connect_source(connection: Connection, wanted: Connected) -> Connected:
    """Connect a source; one that is connected just so stays as it is.

    Raises: InvalidSource with every problem.
    """
    kinds = [each.name for each in CONNECTORS]
    problems = []
    if not _NAME.fullmatch(wanted.name):
        hint = "Lower-case letters, digits, - and _, at most 63; such as stripe-eu."
        problems.append(Problem("name", f"{wanted.name[:80]!r} cannot be a source's name", hint))
    if wanted.kind not in kinds:
        hint = did_you_mean(wanted.kind, kinds, otherwise=f"Known: {', '.join(kinds)}.")
        problems.append(Problem("kind", f"no connector is named {wanted.kind[:80]!r}", hint))
    if problems:
        raise InvalidSource(problems)
    row = {"name": wanted.name, "kind": wanted.kind, "test_mode": wanted.test_mode}
    connection.execute(postgresql.insert(source).values(row).on_conflict_do_nothing())
    found = next(each for each in connected(connection) if each.name == wanted.name)
    if found != wanted:
        what = f"{found.kind}, {'test' if found.test_mode else 'live'} mode"
        hint = "Its events are in the log as they are; connect another name."
        raise InvalidSource([Problem("name", f"{found.name!r} is connected already: {what}", hint)])
    return found


def connected(connection: Connection) -> list[Connected]:
    """Every source, by name."""
    rows = connection.execute(
        select(source.c.name, source.c.kind, source.c.test_mode).order_by(source.c.name)
    )
    return [Connected(row.name, row.kind, row.test_mode) for row in rows]


def overview(connection: Connection, secrets: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Every source as a JSON object: what came from it, and what its webhook has received.

    secrets: source → the signing secrets of its webhook; only whether there are any is told.
    """
    modes = {each.name: each.test_mode for each in connected(connection)}
    received = {each.source: each for each in report(connection)}
    found = {each.name: _written(asdict(each)) for each in sources(connection)}
    for name in sorted(received.keys() | secrets.keys() - found.keys()):
        found.setdefault(name, {"name": name, "kind": "stripe", "events": 0, "customers": 0})
    words = unknown_words(connection)
    for name, one in found.items():
        one["unknown_words"] = [each.document() for each in words if each.source == name]
        one["test_mode"] = modes.get(name, False)
        got = received.get(name)
        webhook = {"secret_configured": bool(secrets.get(name))}
        one["webhook"] = webhook | ({} if got is None else _written(got.document()))
    return [found[name] for name in sorted(found)]


def webhook_help(path: str) -> dict[str, Any]:
    """How to connect Stripe: where to send what.

    path: how the paths of webhooks begin.
    """
    return {
        "stripe": {
            "path": f"{path}stripe",
            "path_of_another_source": f"{path}stripe/{{source}}",
            "secret": "STRIPE_WEBHOOK_SECRET",
            "payload_style": "snapshot",
            "api_version": API_VERSION,
            "events": list(EVENT_TYPES),
        }
    }


def _written(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its instants as text."""
    return {
        name: value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        if isinstance(value, datetime)
        else value
        for name, value in row.items()
    }
