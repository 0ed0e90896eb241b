"""The same aggregations on the same rows in DuckDB: about as fast as they can be on a machine.

DuckDB is for measuring only; nothing of Tidemill uses it. It gets the rows themselves, never the
roll-ups, with the columns that a question reads and amounts as floating-point numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Double, Select, cast, func, select

from benchmarks.histories import BASE
from tidemill.engine.sql import written
from tidemill.fx import daily_rates
from tidemill.metrics.own_books import day_in
from tidemill.metrics.payment_cube import payment_rows
from tidemill.models import metric_mrr_movement
from tidemill.policy import Policy
from tidemill.relations import core_relations
from tidemill.vocabulary import InvoiceStatus

if TYPE_CHECKING:
    import duckdb
    import psycopg

    from tidemill.database import Database

_SOON, _LATE = date(2015, 1, 1), date(2035, 1, 1)

__all__ = ["AGGREGATIONS", "Aggregation", "Duck"]


@dataclass(frozen=True)
class Aggregation:
    """A question, and what it adds up in DuckDB's words.

    column:  the number of its answer that `sql` gives too, in the last row: after the period or
             group, where there is one.
    by:      what the question is cut by.
    visits:  whether `sql` goes on from `_VISITS`.
    covered: whether a roll-up has it.
    """

    metric: str
    question: str
    column: str
    sql: str
    visits: bool = False
    covered: bool = True
    by: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in reports."""
        by = f" by {' and '.join(self.by)}" if self.by else ""
        return f"{self.metric} {self.question}{by}"


# Days become months, months become levels; a level is worth the rate of the day it stands on.
_LEVELS: Final = """
    WITH flow AS (
        SELECT currency, date_trunc('month', day) AS month, sum(amount) AS moved
        FROM movement WHERE day <= $end GROUP BY ALL
    ), level AS (
        SELECT month, currency, sum(moved) OVER (PARTITION BY currency ORDER BY month)
            AS level, lead(month) OVER (PARTITION BY currency ORDER BY month) AS until
        FROM flow
    ), period AS (
        SELECT unnest(generate_series($start, $end, INTERVAL 1 MONTH)) AS month
    )
    SELECT period.month, sum(level * factor)
    FROM period
    JOIN level ON level.month <= period.month AND (until IS NULL OR until > period.month)
    JOIN rate ON rate.currency = level.currency AND rate.day = last_day(period.month)
    GROUP BY ALL ORDER BY 1
"""
_VISITS: Final = """
    WITH visit AS (
        SELECT customer_id, date_trunc('month', day) AS month, sum(delta) AS net,
            min(moment) FILTER (delta > 0) AS came, min(moment) FILTER (delta < 0) AS gone
        FROM movement WHERE delta <> 0 AND day BETWEEN $start AND $end GROUP BY ALL
    ), entrant AS (
        SELECT * FROM visit WHERE came IS NOT NULL AND (gone IS NULL OR came <= gone)
    )
"""
_COHORTS: Final = """
    WITH flow AS (
        SELECT cohort, greatest(date_trunc('month', day), cohort) AS month, sum(delta) AS moved
        FROM movement
        WHERE delta <> 0 AND cohort >= date_trunc('month', $start) AND day <= $end GROUP BY ALL
    ), cell AS (
        SELECT cohort, unnest(generate_series(cohort, $end, INTERVAL 1 MONTH)) AS month
        FROM (SELECT DISTINCT cohort FROM flow)
    )
    SELECT cohort, sum(coalesce(moved, 0)) OVER (PARTITION BY cohort ORDER BY month)
    FROM cell LEFT JOIN flow USING (cohort, month) ORDER BY cohort, month
"""

AGGREGATIONS: Final = (
    Aggregation(
        "mrr",
        "current",
        "mrr",
        """
        SELECT sum(level * factor)
        FROM (SELECT currency, sum(amount) AS level FROM movement WHERE day <= $end GROUP BY 1)
        JOIN rate USING (currency) WHERE day = $end
        """,
    ),
    Aggregation("mrr", "series", "mrr", _LEVELS),
    Aggregation(
        "mrr",
        "net_new",
        "net_new",
        """
        SELECT date_trunc('month', day) AS month, sum(moved * factor)
        FROM (
            SELECT currency, day, type, sum(amount) AS moved
            FROM movement WHERE day BETWEEN $start AND $end GROUP BY ALL
        ) JOIN rate USING (currency, day)
        GROUP BY 1 ORDER BY 1
        """,
    ),
    Aggregation(
        "customers",
        "series",
        "customers",
        """
        WITH flow AS (
            SELECT date_trunc('month', day) AS month, sum(delta) AS moved
            FROM movement WHERE day <= $end GROUP BY 1
        ), level AS (SELECT month, sum(moved) OVER (ORDER BY month) AS level FROM flow)
        SELECT month, level FROM level WHERE month >= $start ORDER BY 1
        """,
    ),
    Aggregation(
        "mrr",
        "current",
        "mrr",
        """
        SELECT plan, sum(level * factor)
        FROM (
            SELECT plan, currency, sum(amount) AS level FROM movement WHERE day <= $end GROUP BY ALL
        ) JOIN rate USING (currency) WHERE day = $end AND abs(level) > 1e-6
        GROUP BY 1 ORDER BY 1
        """,
        by=("plan",),
    ),
    Aggregation(
        "churn",
        "logo",
        "logo_churn_numerator",
        "SELECT count(*) FROM visit WHERE month = date_trunc('month', $end) AND net < 0",
        visits=True,
    ),
    Aggregation(
        "retention",
        "series",
        "nrr_numerator",
        """
        , opening AS (
            SELECT currency, sum(amount) AS level FROM movement
            WHERE day < date_trunc('month', $end) GROUP BY 1
        ), change AS (
            SELECT m.customer_id, date_trunc('month', m.day) AS month, m.currency,
                sum(m.amount) AS moved
            FROM movement m
            ANTI JOIN entrant e
                ON e.customer_id = m.customer_id AND e.month = date_trunc('month', m.day)
            WHERE m.day BETWEEN $start AND $end GROUP BY ALL
        ), valued AS (
            SELECT month, customer_id, sum(moved * factor) AS change
            FROM change JOIN rate ON rate.currency = change.currency
                AND rate.day = CAST(month - INTERVAL 1 DAY AS DATE)
            GROUP BY ALL
        )
        SELECT month, sum(change) + (
            SELECT sum(level * factor) FROM opening JOIN rate USING (currency)
            WHERE day = CAST(date_trunc('month', $end) - INTERVAL 1 DAY AS DATE)
        ), sum(change) FILTER (change < 0)
        FROM valued GROUP BY 1 ORDER BY 1
        """,
        visits=True,
    ),
    Aggregation(
        "cash",
        "series",
        "net",
        """
        SELECT date_trunc('month', day) AS month, sum(amount * factor) FILTER
            (kind IN ('payment', 'refund', 'dispute')),
            sum(amount * factor) FILTER (kind = 'payment'),
            sum(amount * factor) FILTER (kind = 'refund')
        FROM (
            SELECT currency, day, kind, sum(amount) AS amount
            FROM payment WHERE day BETWEEN $start AND $end GROUP BY ALL
        ) JOIN rate USING (currency, day)
        GROUP BY 1 ORDER BY 1
        """,
    ),
    Aggregation(
        "mrr",
        "at_risk",
        "at_risk",
        """
        WITH last AS (
            SELECT subscription_id, max_by(status, moment) AS status
            FROM state WHERE day <= $end GROUP BY 1
        ), late AS (SELECT subscription_id FROM last WHERE status = 'past_due')
        SELECT coalesce(sum(level * factor), 0)
        FROM (
            SELECT currency, sum(amount) AS level FROM movement SEMI JOIN late
            USING (subscription_id) WHERE day <= $end GROUP BY 1
        ) JOIN rate USING (currency) WHERE day = $end
        """,
        covered=False,
    ),
    Aggregation("retention", "cohorts", "value", _COHORTS),
    Aggregation(
        "ltv",
        "cohort",
        "ltv",
        """
        WITH member AS (
            SELECT customer_id, cohort FROM movement
            WHERE type = 'new' AND delta > 0 AND day BETWEEN $start AND $end
        ), size AS (
            SELECT cohort, count(*) AS members FROM member GROUP BY 1
        ), paid AS (
            SELECT customer_id, day, currency, amount FROM invoice WHERE day <= $end
            UNION ALL
            SELECT customer_id, day, currency, amount FROM payment
            SEMI JOIN invoice USING (source_id, invoice)
            WHERE kind IN ('refund', 'dispute') AND day <= $end
        ), daily AS (
            SELECT cohort, day, currency, sum(amount) AS amount
            FROM paid JOIN member USING (customer_id) GROUP BY ALL
        )
        SELECT cohort, sum(amount * factor) / any_value(members)
        FROM daily JOIN rate USING (currency, day) JOIN size USING (cohort)
        GROUP BY 1 ORDER BY 1
        """,
        covered=False,
    ),
    Aggregation(
        "usage_revenue",
        "series",
        "usage_revenue",
        """
        SELECT date_trunc('month', day) AS month, sum(used * factor)
        FROM (
            SELECT currency, issued_on AS day, sum(usage.amount) AS used
            FROM usage JOIN invoice USING (invoice_id)
            WHERE issued_on BETWEEN $start AND $end GROUP BY ALL
        ) JOIN rate USING (currency, day)
        GROUP BY 1 ORDER BY 1
        """,
        covered=False,
    ),
)
"""What is measured beside DuckDB."""

_RATES: Final = """
    CREATE TABLE rate AS
    SELECT currency, CAST(day AS DATE) AS day, CAST(factor AS DOUBLE) AS factor
    FROM (
        SELECT currency, factor, unnest(generate_series(
            greatest(valid_from, $start), least(valid_to_exclusive - 1, $end), INTERVAL 1 DAY
        )) AS day
        FROM span
    )
"""


class Duck:
    """DuckDB in memory with the rows of a book."""

    def __init__(self, database: Database, folder: Path) -> None:
        """Copy the rows over.

        folder: a place for the files between.
        """
        import duckdb

        self._connection: duckdb.DuckDBPyConnection = duckdb.connect()
        for name, rows in _tables().items():
            path = folder / f"{name}.csv"
            _export(database, rows, path)
            self._connection.read_csv(str(path), header=True).create(name)
            path.unlink()
        self._connection.execute(_RATES, {"start": _SOON, "end": _LATE})

    def asking(self, aggregation: Aggregation, start: date, end: date) -> Callable[[], list[Any]]:
        """A call that adds up and gives the rows."""
        sql = "".join([_VISITS, aggregation.sql] if aggregation.visits else [aggregation.sql])
        wanted = {"start": start, "end": end}
        used = {name: day for name, day in wanted.items() if f"${name}" in sql}

        def ask() -> list[Any]:
            return self._connection.execute(sql, used).fetchall()

        return ask

    def close(self) -> None:
        """Forget the rows."""
        self._connection.close()


def _tables() -> Mapping[str, Select[Any]]:
    relations, policy = core_relations(base_currency=BASE), Policy.of()
    fact, paid = metric_mrr_movement.c, payment_rows(relations, policy).subquery()
    invoice, version = relations.invoices.c, relations.subscription_versions.c
    used = relations.usage_lines.c
    rates = daily_rates(relations.fx_rates, BASE)
    return {
        "movement": select(
            fact.customer_id,
            fact.subscription_id,
            fact.cohort_month.label("cohort"),
            fact.day,
            fact.occurred_at.label("moment"),
            fact.type,
            fact.currency,
            fact.plan,
            cast(fact.amount_minor, Double).label("amount"),
            fact.customer_delta.label("delta"),
        ),
        "payment": select(
            paid.c.customer_id,
            paid.c.source_id,
            paid.c.invoice,
            paid.c.day,
            paid.c.currency,
            paid.c.kind,
            cast(paid.c.amount_minor, Double).label("amount"),
        ),
        "state": select(
            version.subscription_id,
            version.status,
            version.occurred_at.label("moment"),
            day_in(version.occurred_at, policy).label("day"),
        ),
        "invoice": select(
            invoice.invoice_id,
            invoice.customer_id,
            invoice.source_id,
            invoice.invoice,
            day_in(invoice.issued_at, policy).label("issued_on"),
            day_in(func.coalesce(invoice.paid_at, invoice.issued_at), policy).label("day"),
            invoice.currency,
            cast(invoice.amount_paid, Double).label("amount"),
        ).where(invoice.status == InvoiceStatus.PAID.value),
        "usage": select(used.invoice_id, cast(used.amount, Double).label("amount")),
        "span": select(rates),
    }


def _export(database: Database, rows: Select[Any], path: Path) -> None:
    """Write rows to a CSV file, whatever their number."""
    with database.connect() as connection, path.open("wb") as file:
        # The driver is psycopg; SQLAlchemy does not say so.
        driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
        command = f"COPY ({written(rows)}) TO STDOUT (FORMAT CSV, HEADER)"
        with driver.cursor() as cursor, cursor.copy(command.encode()) as copy:
            for block in copy:
                file.write(block)
