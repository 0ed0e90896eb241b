"""Changes: where levels differ from one instant to the next, item by item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    CTE,
    and_,
    case,
    false,
    func,
    null,
    or_,
    select,
    union_all,
)

from tidemill.ledger.versions import forever

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import ColumnElement, FromClause

__all__ = ["LINE", "changes", "in_order", "turns_of"]

# What stays the same along one line of the ledger.
LINE: Final = (
    "customer_id",
    "subscription_id",
    "source_id",
    "item",
    "plan",
    "product",
    "interval",
    "interval_count",
    "currency",
)
# What is the same for all lines of a subscription.
_OF_SUBSCRIPTION: Final = ("subscription_id", "source_id")
# What is measured along a line; each sums over the changes to its level. Levels in base currency
# are there under policies that give them rates of their own.
_MEASURES: Final = ("amount_minor", "amount_base_minor", "present")
# Why a level begins, by where it is said why it ends.
_WHY: Final = {
    "cause": "next_cause",
    "event_position": "next_position",
    "reason": "next_reason",
}
# By what renewals find the levels that last beyond one.
_OF_RENEWAL: Final = ("version_id", "is_renewed")
# What is measured at the end of a level, where that may be something else than at its beginning.
_AT_END: Final = {"amount_base_minor": "ending_base_minor"}


def in_order(rows: FromClause) -> list[ColumnElement[Any]]:
    """An order of changes of lines that does not depend on how they were found.

    Keys come last: they depend on the order in which events arrived, and that must not show.
    """
    said = [name for name in LINE if not name.endswith("_id")]
    return [rows.c[name] for name in ("occurred_at", *said, "subscription_id", "event_position")]


def changes(turns: CTE, wanted: Collection[str] | None = None) -> FromClause:
    """The instants at which an item's level changes, with the signed change and its cause.

    Every level is written at its beginning and taken back at its end. Where one goes over into the
    next of the same line, only the difference is written, and nothing where there is none (a
    renewal). What is left meets only where an item moves to another place of its subscription, so
    it is added up for those alone that have several places.
    turns:  as `turns_of` gives them.
    wanted: which of the columns of a line, where not all are; its causes are not then.
    Shape: the `LINE` columns, occurred_at, cause, event_position, reason and the measures; present
           is the change in how many subscriptions keep their customer at no value.
    """
    measures = [name for name in _MEASURES if name in turns.c]
    line = [turns.c[name] for name in LINE if name in turns.c]
    why = {} if wanted is not None else _WHY
    begun = {name: turns.c[f"{name}_change"] for name in measures}
    begins = select(
        *line,
        turns.c.seg_from.label("occurred_at"),
        *(turns.c[name] for name in why),
        *(change.label(name) for name, change in begun.items()),
    ).where(turns.c.is_changed)
    ended = {name: -turns.c[_AT_END.get(name, name)] for name in measures}
    ends = select(
        *line,
        turns.c.seg_to,
        *(turns.c[name] for name in why.values()),
        *ended.values(),
    ).where(turns.c.is_over)
    keys = begins.selected_columns.keys()[: -len(measures)]
    apart = [each.add_columns(turns.c.line).where(~turns.c.is_plain) for each in (begins, ends)]
    signed = union_all(*apart).subquery("signed")
    sums = [func.sum(signed.c[name]).label(name) for name in measures]
    return union_all(
        begins.where(turns.c.is_plain, _is_something(begun.values())),
        ends.where(turns.c.is_plain, _is_something(ended.values())),
        select(*(signed.c[name] for name in keys), *sums)
        .group_by(*(signed.c[name] for name in (*keys, "line")))
        .having(_is_something(sums)),
    ).subquery("change")


def _is_something(measured: Iterable[ColumnElement[Any]]) -> ColumnElement[bool]:
    return or_(*(each != 0 for each in measured))


def turns_of(levels: FromClause, wanted: Collection[str] | None = None) -> CTE:
    """The levels at whose beginning something changes (is_changed), or that end (is_over).

    And those that renew while they last (is_renewed), where levels say so.

    wanted: as for `changes`.
    is_plain: its subscription only ever has the first place. If not, `line` tells its line from
    others where not all columns of it are wanted.

    With `…_change`, each measure less what it was right before on the same line: all of it where
    there was nothing.
    """
    measures = [name for name in _MEASURES if name in levels.c]
    # By its place in the list, because numbers sort faster than names. Where an item moves to
    # another place its two halves meet only where changes are summed. One window for all that is
    # asked of neighbours and of the last place: each further one would be a pass of its own.
    run: dict[str, Any] = {
        "partition_by": levels.c.subscription_id,
        "order_by": (levels.c.ordinal, levels.c.seg_from),
        "rows": (None, None),
    }
    # Compared as one row value: a window call for each column would take most of the time.
    line = [levels.c[name] for name in ("ordinal", *LINE) if name not in _OF_SUBSCRIPTION]
    begun, ended = func.row(levels.c.seg_from, *line), func.row(levels.c.seg_to, *line)
    goes_on = func.lag(ended).over(**run).is_not_distinct_from(begun)
    is_continued = func.lead(begun).over(**run).is_not_distinct_from(ended)
    before = [func.lag(levels.c[_AT_END.get(name, name)]).over(**run) for name in measures]
    seen = select(
        levels,
        goes_on.label("goes_on"),
        is_continued.label("is_continued"),
        *(each.label(f"{name}_before") for each, name in zip(before, measures, strict=True)),
        (func.last_value(levels.c.ordinal).over(**run) == 0).label("is_plain"),
    ).subquery("seen")
    was = {name: seen.c[f"{name}_before"] for name in measures}
    is_other = or_(*(seen.c[name].is_distinct_from(was[name]) for name in measures))
    is_changed = or_(~seen.c.goes_on, is_other)
    is_over = and_(~seen.c.is_continued, seen.c.seg_to < forever())
    # What nobody reads of a common table expression is kept all the same.
    told = [name for name in LINE if wanted is None or name in wanted]
    why = {} if wanted is not None else _WHY
    apart = (
        null()
        if wanted is None
        else case((~seen.c.is_plain, func.row(*(seen.c[name] for name in LINE))))
    )
    return (
        select(
            *(seen.c[name] for name in (*told, "seg_from", *why, "seg_to", *why.values())),
            *(seen.c[name] for name in (*measures, *_AT_END.values()) if name in seen.c),
            *(_less(seen, name, was[name]).label(f"{name}_change") for name in measures),
            is_changed.label("is_changed"),
            is_over.label("is_over"),
            seen.c.is_plain,
            apart.label("line"),
            *(seen.c[name] for name in _OF_RENEWAL if name in seen.c),
        )
        .where(or_(is_changed, is_over, seen.c.get("is_renewed", false())))
        .cte("turn")
    )


def _less(seen: FromClause, name: str, before: ColumnElement[Any]) -> ColumnElement[Any]:
    """A measure less what it was before; a value for which there is no rate counts as nothing."""
    now = seen.c[name]
    change = func.coalesce(now - before, now, -before) if name in _AT_END else now - before
    return case((seen.c.goes_on, change), else_=now)
