"""What one more event costs: the size of the books must not matter."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, column, func, select, table

from tests.support.telling import Told, described, invoiced, subscribed
from tidemill.events import Event
from tidemill.ingest import ingest
from tidemill.state import apply

CUSTOMERS = 2_000
# One customer's own rows, each read a few times; a scan of any table would read thousands.
ROWS_READ_MAX = 60


@pytest.mark.parametrize(
    "one_more",
    [
        subscribed("c7", "2025-03-10", 15_000, type="subscription.activated"),
        subscribed("newcomer", "2025-03-10", type="subscription.activated"),
        described("c7", "2025-03-10", name="Seven"),
        invoiced("c7", "2025-03-10", 2_500),
    ],
    ids=lambda event: f"{event.customer} {event.type}",
)
def test_t40_one_more_event_costs_the_same_in_large_books(told: Told, one_more: Event) -> None:
    """Applying an event reads the rows of its customer, whatever the movements of all others."""
    life = [("2025-01-10", 10_000), ("2025-02-10", 12_000)]
    events = [subscribed(f"c{n}", day, amount) for n in range(CUSTOMERS) for day, amount in life]
    assert ingest(told.database, told.bus, events, told.books).applied == 2 * CUSTOMERS
    with told.database.connect() as connection:
        # What autovacuum does elsewhere: the planner knows how large the tables are.
        autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
        autocommit.exec_driver_sql("ANALYZE")
    told.bus.append([one_more])
    with told.bus.claim("state", 100) as delivery:
        assert delivery is not None
        before = _rows_read(delivery.connection)
        assert apply(delivery.connection, delivery.rows, told.books).events == 1
        after = _rows_read(delivery.connection)
    read = {name: count - before.get(name, 0) for name, count in after.items()}
    assert {name: count for name, count in read.items() if count > ROWS_READ_MAX} == {}


def _rows_read(connection: Connection) -> dict[str, int]:
    """Table → rows that this transaction has read from it so far, by scanning or by an index."""
    stat = table(
        "pg_stat_xact_user_tables",
        *(column(name) for name in ("relname", "seq_tup_read", "idx_tup_fetch")),
    )
    read = func.coalesce(stat.c.seq_tup_read, 0) + func.coalesce(stat.c.idx_tup_fetch, 0)
    return {row.relname: row.read for row in connection.execute(select(stat, read.label("read")))}
