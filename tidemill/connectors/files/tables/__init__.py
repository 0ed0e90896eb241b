"""Tables that people have or can export, as events: `tidemill import csv KIND FILE…`.

A kind is a name, a reader and a sentence. The files of one kind are read together, and taken in
whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from tidemill.connectors.files.attributes import read_attributes
from tidemill.connectors.files.tables.chartmogul import read_chartmogul
from tidemill.connectors.files.tables.expenses import read_expenses
from tidemill.connectors.files.tables.own import read_customers, read_subscriptions
from tidemill.connectors.files.tables.stripe_exports import read_stripe_exports
from tidemill.events import Event

__all__ = ["TABLES", "Table"]


@dataclass(frozen=True, slots=True)
class Table:
    """A kind of table: how it is read, and what its files hold.

    read: files, name of the source, instant of what has no date of its own → events. Raises
          InvalidFile with every problem of every line, UnreadableFile.
    """

    read: Callable[[Sequence[str], str, datetime], list[Event]]
    about: str


def _attributes(files: Sequence[str], source: str, at: datetime) -> list[Event]:
    return [event for file in files for event in read_attributes(file, source=source, at=at)]


TABLES: Final[Mapping[str, Table]] = MappingProxyType(
    {
        "attributes": Table(
            _attributes, "a column customer with the ids, and a column for each attribute"
        ),
        "customers": Table(read_customers, "customer, name, email, country, created_at"),
        "subscriptions": Table(
            read_subscriptions, "a line for each state: what a subscription was, from when on"
        ),
        "expenses": Table(
            read_expenses, "costs: day, amount, currency, category, channel, vendor, description"
        ),
        "stripe": Table(
            read_stripe_exports, "exports of Stripe's dashboard: customers, subscriptions, invoices"
        ),
        "chartmogul": Table(read_chartmogul, "ChartMogul's import files, given together"),
    }
)
"""Every kind of table, by the name people type."""
