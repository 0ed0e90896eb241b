"""Writing events into the log, so that they become visible in the order of their positions.

*Commit order is not identity order.* A transaction may draw position 7, and commit after another
has committed position 8. A reader that has seen 8 would then never look at 7 again. Therefore a
writer locks the partitions it writes to before it draws positions, and holds them until it commits:
within a partition, positions become visible in order. Locks are taken in ascending order, so two
writers cannot wait for each other. This deserves suspicion, and has contract tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    Insert,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    cast,
    func,
    select,
)
from sqlalchemy.dialects import postgresql

from tidemill import models
from tidemill.bus.log import Appended, Refused, partition_of
from tidemill.bus.refusal import REFUSALS, refusal
from tidemill.bus.staging import copy_into, empty_staging, roomy, staging_table
from tidemill.events import Event

__all__ = ["append", "written"]

# The first of the two keys of the advisory locks on partitions: "tide" in ASCII.
_LOCKS: Final = int.from_bytes(b"tide", "big")

_log = models.event_log

# What `append` copies in. `data` stays text here, so that JSON that PostgreSQL cannot hold fails in
# the INSERT, where it costs a savepoint, as any other value.
_incoming = staging_table(
    "incoming",
    Column("ordinal", Integer, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("partition", SmallInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("customer", Text, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", DateTime(timezone=True)),
    Column("livemode", Boolean, nullable=False),
    Column("data", Text, nullable=False),
)
# As one text: eleven names in quotes would take eleven lines.
_TYPES: Final = (
    "int4 uuid int4 int2 text text text timestamptz int4 timestamptz bool text".split()  # noqa: SIM905
)


def append(connection: Connection, batch: Sequence[Event], source_kind: str) -> Appended:
    """Put events in the log, in the order given, in the caller's transaction. See `Bus.append`."""
    sources = _source_ids(connection, {event.source for event in batch}, source_kind)
    partitions = [partition_of(event.source, event.customer) for event in batch]
    _lock_partitions(connection, sorted(set(partitions)))
    roomy(connection)
    rows = [
        (event, sources[event.source], partition)
        for event, partition in zip(batch, partitions, strict=True)
    ]
    refused: list[Refused] = []
    stored = _store(connection, rows, refused)
    return Appended(stored, len(batch) - stored - len(refused), tuple(refused))


def _source_ids(connection: Connection, names: set[str], kind: str) -> dict[str, int]:
    """The keys of sources by name; those seen for the first time are created."""
    source = models.source
    wanted = select(source.c.name, source.c.id).where(source.c.name.in_(names))
    known = {row.name: row.id for row in connection.execute(wanted)}
    missing = [{"name": name, "kind": kind} for name in sorted(names - known.keys())]
    if missing:
        connection.execute(postgresql.insert(source).values(missing).on_conflict_do_nothing())
        known = {row.name: row.id for row in connection.execute(wanted)}
    return known


def _lock_partitions(connection: Connection, partitions: list[int]) -> None:
    """Hold the partitions until the transaction ends. The array keeps them in ascending order."""
    each = func.unnest(cast(partitions, postgresql.ARRAY(Integer))).column_valued("partition")
    connection.execute(select(func.pg_advisory_xact_lock(_LOCKS, each)))


_Row = tuple[Event, int, int]


def _store(connection: Connection, rows: Sequence[_Row], refused: list[Refused]) -> int:
    """Write rows to the log and count the new ones; what it cannot hold is found by halving."""
    try:
        with connection.begin_nested():
            return _insert(connection, rows)
    except REFUSALS as error:
        problem = refusal(error)
        if problem is None:
            raise
        if len(rows) == 1:
            refused.append(Refused(rows[0][0], problem))
            return 0
    middle = len(rows) // 2
    stored = _store(connection, rows[:middle], refused)
    return stored + _store(connection, rows[middle:], refused)


def _insert(connection: Connection, rows: Sequence[_Row]) -> int:
    empty_staging(connection, _incoming)
    copy_into(connection, _incoming, _TYPES, map(_line, range(len(rows)), rows))
    names = [each.name for each in _incoming.columns if each.name not in ("ordinal", "data")]
    taken: dict[str, Any] = {name: _incoming.c[name] for name in names}
    # The instant of this row, not of the transaction: later in the batch is learned later.
    taken["recorded_at"] = func.coalesce(_incoming.c.recorded_at, func.clock_timestamp())
    taken["data"] = cast(_incoming.c.data, postgresql.JSONB)
    new = select(*taken.values()).order_by(_incoming.c.ordinal)
    statement = postgresql.insert(_log).from_select([*taken], new)
    return written(connection, statement.on_conflict_do_nothing(index_elements=["id"]))


def written(connection: Connection, statement: Insert) -> int:
    """How many rows an INSERT … SELECT wrote; SQLAlchemy forgets it unless asked to remember."""
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def _line(ordinal: int, row: _Row) -> tuple[Any, ...]:
    event, source_id, partition = row
    return (
        ordinal,
        event.id,
        source_id,
        partition,
        event.type,
        event.subject,
        event.customer,
        event.occurred_at,
        event.sequence,
        event.recorded_at,
        event.livemode,
        event.data.decode(),
    )
