"""`tidemill explain customer ID`: a customer's timeline under one policy, or side by side."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from tidemill.cli.generating import Option, command_of, option
from tidemill.cli.options import POLICY, TABLE_OR_JSON
from tidemill.cli.output import as_json, say
from tidemill.cli.session import session_of
from tidemill.cli.tables import as_table
from tidemill.engine.timeline import Discount, Item, Life, Segment, Timeline, Version
from tidemill.metrics.result import json_value, utc_text
from tidemill.money import format_money
from tidemill.policy import read_overrides
from tidemill.presets import PRESETS
from tidemill.vocabulary import Standing

__all__ = ["timeline_command"]

_HELP: Final = """One customer: every state, whether it counts and why, and the movements it makes.

With several presets they stand side by side. `tidemill explain METRIC --customer ID` explains the
customer's part of a number."""

# Why a segment counts or not, in a few words; else it is the status itself.
_WORDS: Final = {
    Standing.REFUNDED: "refunded",
    Standing.PAID_UP: "paid up",
    Standing.NOT_STARTED: "not begun yet",
    Standing.NOT_ACTIVATED: "first invoice not paid",
    Standing.PAST_DUE_TIMEOUT: "past due too long",
    Standing.ENDED: "ended",
    Standing.PAUSED: "paused",
    Standing.COUNTS: "",
}
# More rows than this are read by programs, not by people.
_SHOWN_MAX: Final = 200

_OPTIONS: Final = (
    Option(
        "customer",
        Annotated[str, typer.Argument(metavar="ID", help="The customer's id, or one of them.")],
        ...,
    ),
    option(
        "preset",
        "--preset",
        kind=list[str] | None,
        metavar="NAME",
        help="A policy: a preset, preset;knob=value, or configured. Repeatable: side by side.",
        autocompletion=lambda: list(PRESETS),
    ),
    *(each for each in POLICY if each.name != "preset"),
    TABLE_OR_JSON,
)


def timeline_command() -> Any:
    """The command `explain customer`."""
    return command_of("customer", _show, _HELP, _OPTIONS)


def _show(context: typer.Context, values: dict[str, Any]) -> None:
    with session_of(context).open() as tidemill:
        found = tidemill.timeline(
            values["customer"],
            presets=values["preset"] or (),
            set=read_overrides(values["set"] or ()),
            known_at=values["known_at"],
        )
    if values["format"] == "json":
        say(as_json(found.to_dict()))
    else:
        say("\n\n".join(f"{heading}\n\n{text}" for heading, text in _sections(found)))


def _sections(found: Timeline) -> Iterator[tuple[str, str]]:
    others = [each for each in found.customers if each != found.customer]
    company = f", one company with {', '.join(others)}" if others else ""
    policies = ", ".join(each.label for each in found.lives)
    yield f"Customer {found.customer}{company}, under {policies}: what was said", _versions(found)
    statuses = {each.event_id: each.status for each in found.versions}
    yield "What it is worth a month", _segments(found.lives, statuses)
    yield "Movements", _movements(found.lives)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    if not rows:
        return "none"
    more = len(rows) - _SHOWN_MAX
    table = as_table(names, rows[:_SHOWN_MAX], right=right)
    return f"{table}\n… and {more:,} more, with --format json" if more > 0 else table


# --- what was said --------------------------------------------------------------------------------


def _versions(found: Timeline) -> str:
    rows = [
        (
            each.subscription,
            utc_text(each.occurred_at),
            each.status,
            "; ".join(_item(item, each) for item in each.items),
            "; ".join(_discount(discount, each) for discount in each.discounts),
            each.event_id,
        )
        for each in found.versions
    ]
    names = ("subscription", "valid from", "status", "items", "discounts", "event_id")
    return _table(names, rows, ())


def _item(item: Item, version: Version) -> str:
    """An item as people say it: ``3 x pro at $10.00 a month``, or every 3 months."""
    number = item.interval_count
    every = f"a {item.interval}" if number == 1 else f"every {number} {item.interval}s"
    if item.usage_type != "licensed":
        return f"{item.plan or item.item} by usage, {every}"
    price = format_money(item.unit_amount, version.currency)
    times = "" if item.quantity == 1 else f"{json_value(item.quantity, 'count')} x "
    return f"{times}{item.plan or item.item} at {price} {every}"


def _discount(discount: Discount, version: Version) -> str:
    if discount.percent_off is not None:
        off = f"{json_value(discount.percent_off, 'count')}%"
    else:
        off = format_money(discount.amount_off or 0, version.currency)
    until = f" until {utc_text(discount.ends_at)}" if discount.ends_at else ""
    of = f" of {discount.item}" if discount.item else ""
    return f"{off} off{of} {discount.duration}{until}"


# --- what policies make of it ---------------------------------------------------------------------


def _segments(lives: Sequence[Life], statuses: Mapping[str, str]) -> str:
    """A row for every instant at which any of the policies sees a segment begin."""
    subscriptions = dict.fromkeys(each.subscription for life in lives for each in life.segments)
    rows = []
    for name in subscriptions:
        known = [[each for each in life.segments if each.subscription == name] for life in lives]
        begun = {each.starts_at: each for segments in reversed(known) for each in segments}
        values = [_valued(segments, statuses) for segments in known]
        for starts_at in sorted(begun):
            cells = (value(starts_at) for value in values)
            cause = begun[starts_at]
            rows.append((name, utc_text(starts_at), *cells, cause.cause, cause.cause_event_id))
    labels = [each.label for each in lives]
    return _table(("subscription", "from", *labels, "because of", "event_id"), rows, ())


def _valued(segments: Sequence[Segment], statuses: Mapping[str, str]) -> Callable[[Any], str]:
    """What there is at an instant: the value with why, or nothing."""
    starts = [each.starts_at for each in segments]

    def at(moment: Any) -> str:
        place = bisect_right(starts, moment) - 1
        if place < 0 or (segments[place].ends_at or moment) < moment:
            return ""
        return _value(segments[place], statuses)

    return at


def _value(segment: Segment, statuses: Mapping[str, str]) -> str:
    """``$100.00``, ``$0.00 paused, kept``, ``$100.00 paid up``."""
    amount = format_money(segment.amount_minor, segment.currency)
    why = _WORDS.get(Standing(segment.standing), statuses[segment.event_id])
    kept = "kept" if segment.is_kept and not segment.amount_minor else ""
    return f"{amount} {', '.join(filter(None, (why, kept)))}".strip()


def _movements(lives: Sequence[Life]) -> str:
    """The movements of all policies, each under those that have it."""
    amounts: dict[tuple[str, ...], list[str]] = {}
    for place, life in enumerate(lives):
        for each in life.movements:
            key = (
                str(each.day), each.subscription, each.plan or each.item, each.type, each.cause,
                each.event_id,
            )  # fmt: skip
            cells = amounts.setdefault(key, [""] * len(lives))
            said = format_money(each.amount_minor, each.currency)
            cells[place] = f"{cells[place]} {said}".strip()
    ordered = sorted(amounts.items(), key=lambda each: each[0][0])
    rows = [(*key[:4], *cells, *key[4:]) for key, cells in ordered]
    labels = [each.label for each in lives]
    right = (*[False] * 4, *[True] * len(lives))
    names = ("day", "subscription", "plan", "type", *labels, "cause", "event_id")
    return _table(names, rows, right)
