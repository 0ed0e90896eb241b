"""A copy of a billing database held against the database itself, relation by relation."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, FromClause, Select, Table, select

from tests.support.in_place import url_of
from tidemill.bookkeeping import FACTS
from tidemill.connectors.database import Wanted
from tidemill.connectors.empty import nothing
from tidemill.connectors.of_databases import DATABASE_CONNECTORS
from tidemill.copying.facts import of_copy
from tidemill.copying.holding import Asked
from tidemill.copying.refreshing import Billing, Overlap, Refreshed
from tidemill.copying.refreshing import refresh as bring_up
from tidemill.copying.relations import copied_relations
from tidemill.database import Database, connect
from tidemill.ledger import Fact
from tidemill.policy import Policy
from tidemill.relations import COLUMNS, Relations
from tidemill.state import Books
from tidemill.state.rollups import sums_of

__all__ = ["NO_OVERLAP", "books", "differences", "refresh"]

NO_OVERLAP = Overlap(-1, -1)
"""Only what is marked later than anything seen before."""

# What a copy has of its own, or no billing database has.
_OURS = {"expenses", "fx_rates", "identities", "customer_attributes"}


def books(currency: str, policy: Policy | None = None) -> Books:
    return Books(FACTS, policy or Policy.of(), currency)


def refresh(
    store: Database, billing: Database, connector: str, held: Books, **how: Any
) -> Refreshed:
    """Bring a copy up to a billing database; without the overlap, unless it is given."""
    found = next(each for each in DATABASE_CONNECTORS if each.name == connector)
    asked = how.pop("asked", Asked())
    with connect(url_of(billing), migrate=False, read_only=True) as source:
        how = {"overlap": NO_OVERLAP} | how
        return bring_up(store, Billing(source, found, asked), held, **how)


def differences(
    store: Database, billing: Database, connector: str, held: Books, **asked: Any
) -> list[str]:
    """What the copy has that the billing database has not, and the other way; and its facts."""
    found = next(each for each in DATABASE_CONNECTORS if each.name == connector)
    told = []
    taxed = held.policy.tax == "include"
    how: dict[str, Any] = {"base_currency": held.base_currency, "taxed": taxed}
    with store.snapshot() as ours, billing.snapshot() as theirs:
        reading = found.read(theirs, asked.get("schema"), asked.get("tenant"))
        copied = copied_relations(**how)
        told_there = reading.relations(Wanted(fx_rates=_no_rates(), **how))
        for name in COLUMNS.keys() - _OURS:
            told += _between(name, _rows(ours, copied, name), _rows(theirs, told_there, name))
        for fact in held.facts:
            kept = Counter(map(tuple, ours.execute(select(fact.table))))
            again, sums = _again(fact, held)
            told += _between(fact.table.name, kept, Counter(map(tuple, ours.execute(again))))
            for rollup_table, summed in sums:
                table = Counter(map(tuple, ours.execute(select(rollup_table))))
                wanted = Counter(map(tuple, ours.execute(summed)))
                told += _between(rollup_table.name, table, wanted)
    return told


@lru_cache(maxsize=32)
def _again(fact: Fact, held: Books) -> tuple[Select[Any], list[tuple[Table, Select[Any]]]]:
    """A fact derived of the whole copy, and the sums of its rows: built once, asked often."""
    derived = fact.derive(of_copy(held, None), held.policy).subquery()
    sums = [(each.table, sums_of(each, fact.table).subquery()) for each in fact.rollups]
    return (
        select(*(derived.c[each.name] for each in fact.table.columns)),
        [
            (table, select(*(summed.c[each.name] for each in table.columns)))
            for table, summed in sums
        ],
    )


def _no_rates() -> FromClause:
    return nothing("fx_rates")


def _rows(connection: Connection, relations: Relations, name: str) -> Counter[Any]:
    relation = getattr(relations, name)
    rows = select(*(relation.c[each] for each in COLUMNS[name]))
    if name == "subscriptions":
        # One of which there is no version is in no answer, and nobody's.
        version = relations.subscription_versions
        rows = rows.where(relation.c.subscription_id.in_(select(version.c.subscription_id)))
    return Counter(map(tuple, connection.execute(rows)))


def _between(what: str, ours: Counter[Any], theirs: Counter[Any]) -> list[str]:
    extra, missing = ours - theirs, theirs - ours
    return [f"{what}: too many {row}" for row in extra] + [
        f"{what}: missing {row}" for row in missing
    ]
