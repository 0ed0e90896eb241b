"""Runs of a reading and what they have read so far, in the database: one function a statement.

A page and the place to go on from are kept in one transaction. A process that is killed leaves a
run that the next one continues.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, extract, func, insert, select, update
from sqlalchemy.dialects import postgresql

from tidemill.connectors.stripe.backfill import Staged
from tidemill.models import (
    event_log,
    source,
    subscription,
    subscription_version,
    sync_object,
    sync_run,
)

__all__ = [
    "Run",
    "begin",
    "counts",
    "finish",
    "first_created",
    "keep",
    "last_finished",
    "last_position",
    "last_versions",
    "move",
    "observed_from",
    "owners",
    "staged",
    "staged_of",
    "staged_one",
    "takes_test_mode",
    "unfinished",
    "unlisted_customers",
]


@dataclass(frozen=True, slots=True)
class Run:
    """A reading; instants are UTC."""

    id: int
    source: str
    started_at: datetime
    since: date | None
    whole: bool
    place: Mapping[str, Any]
    finished_at: datetime | None
    report: Mapping[str, Any] | None


def _run(row: Row[Any]) -> Run:
    return Run(**dict(zip(Run.__slots__, row, strict=True)))


def unfinished(connection: Connection, name: str) -> Run | None:
    """The run of a source that was begun and not ended."""
    query = select(sync_run).where(sync_run.c.source == name, sync_run.c.finished_at.is_(None))
    row = connection.execute(query.order_by(sync_run.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _run(row)


def last_finished(connection: Connection, name: str, *, whole: bool = False) -> Run | None:
    """The latest run of a source that came to its end; with `whole` one that read everything."""
    query = select(sync_run).where(sync_run.c.source == name, sync_run.c.finished_at.is_not(None))
    if whole:
        query = query.where(sync_run.c.whole)
    row = connection.execute(query.order_by(sync_run.c.started_at.desc()).limit(1)).one_or_none()
    return None if row is None else _run(row)


def takes_test_mode(connection: Connection, name: str) -> bool:
    """Whether a source takes test mode for the books, by how it was read last; else live mode."""
    run = last_finished(connection, name)
    return run is not None and run.place.get("test_mode") is True


def begin(
    connection: Connection, name: str, started_at: datetime, *, since: date | None, whole: bool
) -> Run:
    """A new run; what an abandoned one of the source had read is dropped."""
    old = select(sync_run.c.id).where(sync_run.c.source == name, sync_run.c.finished_at.is_(None))
    connection.execute(delete(sync_object).where(sync_object.c.run_id.in_(old)))
    connection.execute(delete(sync_run).where(sync_run.c.id.in_(old)))
    row = connection.execute(
        insert(sync_run)
        .values(source=name, started_at=started_at, since=since, whole=whole, place={})
        .returning(*sync_run.c)
    ).one()
    return _run(row)


def keep(connection: Connection, run: Run, objects: Collection[Staged]) -> None:
    """Keep what was read; an object that is read again replaces what was."""
    if not objects:
        return
    rows = {
        (each.kind, each.id): {
            "run_id": run.id,
            "kind": each.kind,
            "id": each.id,
            "owner": each.owner,
            "created": each.created,
            "body": each.body,
        }
        for each in objects
    }
    new = postgresql.insert(sync_object).values(list(rows.values()))
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["run_id", "kind", "id"],
            set_={name: new.excluded[name] for name in ("owner", "created", "body")},
        )
    )


def move(connection: Connection, run: Run, place: Mapping[str, Any]) -> None:
    """Say how far a run is."""
    connection.execute(update(sync_run).where(sync_run.c.id == run.id).values(place=dict(place)))


def finish(connection: Connection, run: Run, at: datetime, report: Mapping[str, Any]) -> None:
    """End a run: what it had read is told, and need not be kept."""
    connection.execute(delete(sync_object).where(sync_object.c.run_id == run.id))
    connection.execute(
        update(sync_run).where(sync_run.c.id == run.id).values(finished_at=at, report=dict(report))
    )


# --- what has been read ---------------------------------------------------------------------------


def counts(connection: Connection, run: Run) -> dict[str, int]:
    """How many objects of each kind have been read."""
    query = select(sync_object.c.kind, func.count()).where(sync_object.c.run_id == run.id)
    return {row[0]: row[1] for row in connection.execute(query.group_by(sync_object.c.kind))}


def first_created(connection: Connection, run: Run) -> int | None:
    """When the oldest object was made, in Unix seconds; None when nothing was read."""
    query = select(func.min(sync_object.c.created)).where(sync_object.c.run_id == run.id)
    first: int | None = connection.execute(query).scalar_one()
    return first


def unlisted_customers(connection: Connection, run: Run) -> dict[str, int]:
    """Customers of subscriptions that no list shows, and when their last subscription was made."""
    listed = sync_object.alias()
    query = (
        select(sync_object.c.owner, func.max(sync_object.c.created))
        .outerjoin(
            listed,
            (listed.c.run_id == sync_object.c.run_id)
            & (listed.c.kind == "customer")
            & (listed.c.id == sync_object.c.owner),
        )
        .where(
            sync_object.c.run_id == run.id,
            sync_object.c.kind == "subscription",
            sync_object.c.owner.is_not(None),
            listed.c.id.is_(None),
        )
        .group_by(sync_object.c.owner)
        .order_by(sync_object.c.owner)
    )
    return {row[0]: row[1] or 0 for row in connection.execute(query)}


def staged(connection: Connection, run: Run, *kinds: str, batch: int = 500) -> Iterator[Staged]:
    """Every object of some kinds, in the order of their ids, a batch at a time."""
    after = ("", "")
    columns = sync_object.c
    while True:
        rows = connection.execute(
            select(columns.kind, columns.id, columns.owner, columns.created, columns.body)
            .where(
                columns.run_id == run.id,
                columns.kind.in_(kinds),
                func.row(columns.kind, columns.id) > func.row(*after),
            )
            .order_by(columns.kind, columns.id)
            .limit(batch)
        ).all()
        yield from (Staged(*row) for row in rows)
        if len(rows) < batch:
            return
        after = (rows[-1].kind, rows[-1].id)


def owners(connection: Connection, run: Run, *, batch: int = 100) -> Iterator[list[str]]:
    """The customers that have subscriptions, in order, a batch at a time."""
    after = ""
    while True:
        found = connection.execute(
            select(sync_object.c.owner)
            .where(
                sync_object.c.run_id == run.id,
                sync_object.c.kind == "subscription",
                sync_object.c.owner > after,
            )
            .group_by(sync_object.c.owner)
            .order_by(sync_object.c.owner)
            .limit(batch)
        ).scalars()
        names = [str(each) for each in found]
        if not names:
            return
        yield names
        after = names[-1]


def staged_of(connection: Connection, run: Run, customers: Sequence[str]) -> list[Staged]:
    """All objects of some customers, oldest first."""
    columns = sync_object.c
    rows = connection.execute(
        select(columns.kind, columns.id, columns.owner, columns.created, columns.body)
        .where(columns.run_id == run.id, columns.owner.in_(customers))
        .order_by(columns.kind, columns.created, columns.id)
    )
    return [Staged(*row) for row in rows]


def staged_one(connection: Connection, run: Run, kind: str, key: str) -> Staged | None:
    """An object by its id."""
    columns = sync_object.c
    row = connection.execute(
        select(columns.kind, columns.id, columns.owner, columns.created, columns.body).where(
            columns.run_id == run.id, columns.kind == kind, columns.id == key
        )
    ).one_or_none()
    return None if row is None else Staged(*row)


# --- what the books have --------------------------------------------------------------------------


def observed_from(connection: Connection, run: Run) -> dict[str, int]:
    """Subscription → its first version in the books that an event told, in Unix seconds.

    When the books had been read before, only what has come since the run began: between that and
    what they had then lies the time the run is to tell of.
    """
    version = subscription_version.c
    observed = version.confidence == "observed"
    if run.place["mode"] == "again":
        observed = and_(observed, version.id > int(run.place["heard"]))
    return _moments(connection, run.source, func.min(version.occurred_at), observed)


def last_versions(connection: Connection, run: Run) -> dict[str, int]:
    """Subscription → its latest version that the books had before a run, in Unix seconds."""
    version = subscription_version.c
    # What is only planned has numbers below zero.
    earlier = version.id.between(1, int(run.place["heard"]))
    return _moments(connection, run.source, func.max(version.occurred_at), earlier)


def last_position(connection: Connection) -> int:
    """The last place of the log; what a run tells comes after it."""
    last: int | None = connection.execute(select(func.max(event_log.c.position))).scalar_one()
    return last or 0


def _moments(connection: Connection, name: str, moment: Any, condition: Any) -> dict[str, int]:
    seconds = func.floor(extract("epoch", moment))
    rows = connection.execute(
        select(subscription.c.external_id, seconds)
        .join(subscription_version, subscription_version.c.subscription_id == subscription.c.id)
        .join(source, source.c.id == subscription.c.source_id)
        .where(source.c.name == name, condition)
        .group_by(subscription.c.external_id)
    )
    return {row[0]: int(row[1]) for row in rows}
