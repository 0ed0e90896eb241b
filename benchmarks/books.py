"""The synthetic business of a run: its events in files, and the way into a fresh database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tidemill.bookkeeping import books_of, settle
from tidemill.bus import PostgresBus
from tidemill.connectors.base import Item
from tidemill.connectors.files import read_stripe_events
from tidemill.database import Database, connect
from tidemill.demo import fx_rates, generate
from tidemill.ingest import Ingested, ingest
from tidemill.rebuilding import Rebuilt, rebuild
from tidemill.settings import Settings

__all__ = ["LAST_DAY", "Size", "Store", "write_events"]

LAST_DAY = date(2025, 12, 31)
"""The last day of the business: fixed, so that two runs see the same events."""


@dataclass(frozen=True)
class Size:
    """How much business is made up."""

    customers: int
    months: int
    seed: int


def write_events(size: Size, path: Path) -> int:
    """Write the business's Stripe events to a file, one a line; returns how many there are."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for event in generate(size.customers, size.months, size.seed, end=LAST_DAY):
            file.write(json.dumps(event, separators=(",", ":")) + "\n")
            count += 1
    return count


@dataclass(frozen=True)
class Store:
    """A fresh database for one run, with what writes into it."""

    database: Database
    settings: Settings

    @classmethod
    def fresh(cls, data_dir: Path) -> Store:
        """An empty store on an embedded server of its own."""
        store = cls(connect(None, data_dir=data_dir), Settings(data_dir=data_dir))
        settle(store.database, PostgresBus(store.database), books_of(store.settings))
        return store

    @staticmethod
    def translate(path: Path) -> int:
        """Read a file of Stripe events and translate them to nowhere; returns how many it gave."""
        return sum(1 for _ in read_stripe_events(path, source="benchmark"))

    def ingest(self, path: Path, size: Size) -> Ingested:
        """Take in a file of Stripe events and the rates its currencies need: the whole path."""
        return ingest(
            self.database,
            PostgresBus(self.database),
            self._items(path, size),
            books_of(self.settings),
            source_kind="stripe",
        )

    def rebuild(self) -> Rebuilt:
        """Make every table below the log again."""
        return rebuild(self.database, PostgresBus(self.database), books_of(self.settings))

    def rows(self, table_names: Mapping[str, str]) -> dict[str, int]:
        """How many rows each of some tables has; for the report's details."""
        from sqlalchemy import func, select

        from tidemill.models import metadata

        with self.database.connect() as connection:
            return {
                label: connection.execute(
                    select(func.count()).select_from(metadata.tables[name])
                ).scalar_one()
                for label, name in table_names.items()
            }

    @staticmethod
    def _items(path: Path, size: Size) -> Iterator[Item]:
        yield from fx_rates(size.months, size.seed, end=LAST_DAY, source="benchmark")
        yield from read_stripe_events(path, source="benchmark")
