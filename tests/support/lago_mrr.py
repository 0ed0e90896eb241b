"""The MRR of Lago's `/analytics/mrr`, worked out on its tables from how it is defined.

Flat fees of finalized invoices, less coupons, with tax. A month's fee counts in the month of the
invoice; a longer one, paid in advance, is spread over the months from there on, 30.44 days to each,
and the last month has what is left.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from tidemill.database import Database

__all__ = ["lago_mrr"]

_MRR: Final = """
WITH flat AS (
    SELECT
        fee.id AS fee,
        plan."interval",
        invoice.issuing_date AS issued_on,
        fee.amount_cents - fee.precise_coupons_amount_cents + fee.taxes_amount_cents AS cents,
        (fee.properties ->> 'to_datetime')::date
            - (fee.properties ->> 'from_datetime')::date + 1 AS days
    FROM fees AS fee
    JOIN invoices AS invoice ON invoice.id = fee.invoice_id
    JOIN subscriptions AS subscription ON subscription.id = fee.subscription_id
    JOIN plans AS plan ON plan.id = subscription.plan_id
    WHERE fee.fee_type = 2
      AND invoice.status = 1
      AND NOT invoice.self_billed
      AND invoice.payment_dispute_lost_at IS NULL
),
monthly AS (
    SELECT date_trunc('month', issued_on)::date AS month, cents::numeric AS cents
    FROM flat WHERE "interval" = 1
),
longer AS (
    SELECT
        fee,
        month::date,
        cents,
        cents / (days / 30.44) AS a_month,
        CASE WHEN month = date_trunc('month', issued_on)
            THEN (date_trunc('month', month + interval '1 month')::date - issued_on)::numeric
                / (date_trunc('month', month + interval '1 month')::date - month::date)
            ELSE 1 END AS part,
        month = date_trunc('month', issued_on + days - 1) AS is_last
    FROM flat
    CROSS JOIN LATERAL generate_series(
        date_trunc('month', issued_on), issued_on + days - 1, interval '1 month'
    ) AS month
    WHERE "interval" > 1
),
spread AS (
    SELECT
        month,
        CASE WHEN is_last
            THEN cents - coalesce(sum(a_month * part) OVER before, 0)
            ELSE a_month * part END AS cents
    FROM longer
    WINDOW before AS (
        PARTITION BY fee ORDER BY month ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
)
SELECT to_char(month, 'YYYY-MM'), round(sum(cents) / 100, 2)
FROM (SELECT * FROM monthly UNION ALL SELECT * FROM spread) AS every_fee
GROUP BY 1 ORDER BY 1
"""


def lago_mrr(database: Database) -> dict[str, Decimal]:
    """Month → MRR in major units; of one organization and one currency."""
    with database.connect() as connection:
        return {row[0]: row[1] for row in connection.exec_driver_sql(_MRR)}
