"""Bringing a copy up to a billing database: who changed, what they are now, and what follows.

Everything is read in one snapshot of the billing database and written in one transaction of our
store, so the copy is always of one moment, and the facts are of the copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Select,
    Text,
    cast,
    column,
    delete,
    func,
    insert,
    literal,
    select,
)

from tidemill.bus.staging import Analyze, roomy
from tidemill.connectors.database import (
    DatabaseConnector,
    Reading,
    Wanted,
    require_distinct,
    require_told,
)
from tidemill.connectors.watching import Mark, Watched
from tidemill.copying import staging
from tidemill.copying.facts import follow_facts, of_copy
from tidemill.copying.holding import COPIED, Asked, Copy, copy_in, rates_position, require_same
from tidemill.copying.streaming import as_text, stream
from tidemill.database import Database
from tidemill.errors import SourceIsStore, StoreHoldsEvents
from tidemill.in_force import kept_document
from tidemill.models import copied_source, customer
from tidemill.relations import COLUMNS, Relations
from tidemill.relations.catalogue import rate_rows
from tidemill.state import Books, derive_all

__all__ = ["OVERLAP", "Billing", "Overlap", "Refreshed", "refresh"]

# The first of the two keys of the advisory lock on refreshing: "copy" in ASCII.
_LOCK: Final = int.from_bytes(b"copy", "big")
# When more than so many of all customers are to be read again, everybody is: it costs no more.
_MANY: Final = 0.2
# And so of deriving their facts again.
_MOST: Final = 0.5


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far before the latest mark changes are looked for again.

    What is written in a long transaction, or on a machine whose clock is late, has an earlier mark
    than what was seen already. Reading somebody again who has not changed costs no more than that.
    """

    seconds: float = 900.0
    rows: int = 1_000


OVERLAP: Final = Overlap()


@dataclass(frozen=True, slots=True)
class Billing:
    """The billing database to copy, opened to read only, and which of the books in it."""

    database: Database
    connector: DatabaseConnector
    asked: Asked = field(default_factory=Asked)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh has done.

    how:     the first copy; a comparison of everybody; or only of who has changed since the last.
    read:    customers that were read again.
    changed: those whose rows were not as they were copied.
    rows:    rows that were written for them.
    derived: customers whose facts were derived again.
    """

    title: str
    how: Literal["first", "everybody", "changes"]
    read: int
    changed: int
    rows: int
    derived: int
    copied_at: datetime

    def document(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return asdict(self) | {"copied_at": self.copied_at.isoformat()}


def refresh(
    store: Database,
    billing: Billing,
    books: Books,
    *,
    full: bool = False,
    overlap: Overlap = OVERLAP,
    telling: Callable[[str], None] | None = None,
) -> Refreshed:
    """Make the store a copy of the billing database as it is now, with its facts.

    full:    compares everybody, also who shows no mark of a change.
    telling: called with what is being done.
    Whoever comes while another refreshes waits for it. Stopping it leaves all as it was.

    Raises: SourceIsStore, StoreHoldsEvents, CopyOfAnother; as `DatabaseConnector.read`;
            KnobNotSupported; KeysCollide; DatabaseUnreachable; StatementTimedOut.
    """
    require_told(books.policy)
    source, connector, asked = billing.database, billing.connector, billing.asked
    tell = telling or (lambda _: None)
    with store.begin() as writing:
        writing.execute(select(func.pg_advisory_xact_lock(_LOCK, 0)))
        roomy(writing)
        with source.snapshot() as reading:
            _require_apart(writing, reading)
            held = copy_in(writing)
            _require_fitting(writing, held, connector, asked)
            for each in (reading, writing):
                each.execute(select(func.set_config("client_encoding", "UTF8", True)))
            told = connector.read(reading, asked.schema, asked.tenant)
            require_distinct(reading, told)
            reader = _Reader(store, source, writing, reading, told, books.base_currency)
            read = reader.read(held, full=full, overlap=overlap, tell=tell)
            copy = reader.copy(connector, asked, held, read)
        tell("comparing with the copy")
        return _put_in_place(writing, books, held, copy, read, tell)


def _require_apart(writing: Connection, reading: Connection) -> None:
    """Refuse to copy a database into itself; each says which it is, whatever the addresses say."""
    which = select(func.pg_postmaster_start_time(), func.current_database())
    if writing.execute(which).one() == reading.execute(which).one():
        raise SourceIsStore


def _require_fitting(
    writing: Connection, held: Copy | None, connector: DatabaseConnector, asked: Asked
) -> None:
    if held is None:
        # Facts are of one set of relations: customers that came with events would lose theirs.
        if writing.execute(select(customer.c.id).limit(1)).first() is not None:
            raise StoreHoldsEvents(connector.title)
    else:
        require_same(held, connector.name, asked)


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read: of whom (None: of everybody), as of when, and the marks of it."""

    whom: Sequence[int] | None
    marks: Mapping[str, Mark]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads a billing database in one snapshot into the staging tables of our store."""

    store: Database
    source: Database
    writing: Connection
    reading: Connection
    told: Reading
    base_currency: str

    def read(
        self, held: Copy | None, *, full: bool, overlap: Overlap, tell: Callable[[str], None]
    ) -> _Read:
        tell("looking for what has changed")
        watched, now = self.told.watched(), self._now()
        fingerprint = _fingerprint(self._queries(None))
        is_new = held is None or held.fingerprint != fingerprint
        if held is None or is_new or full or not watched:
            whom, marks = None, self._latest(watched)
        else:
            whom, marks = self._changed(watched, held, overlap)
        # A clock that is ahead must not hide what comes.
        marks = {
            name: min(at, now) if isinstance(at, datetime) else at for name, at in marks.items()
        }
        staging.empty(self.writing)
        if whom is None or whom:
            self._stage(whom, tell)
        return _Read(whom, marks, fingerprint)

    def copy(
        self, connector: DatabaseConnector, asked: Asked, held: Copy | None, read: _Read
    ) -> Copy:
        """What our store will hold."""
        now = self._now()
        fresh = self.reading.execute(self.told.freshness()).all()
        left_out = [(what, count) for what, count in self.reading.execute(self.told.left_out())]
        sources = self._relations(None, taxed=False).sources
        return Copy(
            source_id=self.reading.execute(select(sources.c.source_id)).scalar_one(),
            name=connector.name,
            title=connector.title,
            schema_name=asked.schema,
            tenant=asked.tenant,
            fingerprint=read.fingerprint,
            marks={
                name: at if isinstance(at, int) else at.isoformat()
                for name, at in read.marks.items()
            },
            copied_at=now,
            compared_at=held.compared_at if held and read.whom is not None else now,
            last_event_at=fresh[0][1] if fresh else None,
            left_out=left_out,
            rates_position=rates_position(self.writing),
        )

    def _now(self) -> datetime:
        found: datetime = self.reading.execute(select(func.now())).scalar_one()
        return found

    def _latest(self, watched: Sequence[Watched]) -> dict[str, Mark]:
        found = {each.name: self.reading.execute(each.latest()).scalar() for each in watched}
        return {name: _instant(at) for name, at in found.items() if at is not None}

    def _changed(
        self, watched: Sequence[Watched], held: Copy, overlap: Overlap
    ) -> tuple[list[int] | None, dict[str, Mark]]:
        marks: dict[str, Mark] = {name: _mark(at) for name, at in held.marks.items()}
        whom: set[int] = set()
        for each in watched:
            since = _before(marks.get(each.name), overlap, numbered=each.numbered)
            for key, at in self.reading.execute(each.since(since)):
                whom.add(key)
                marks[each.name] = max(_instant(at), marks.get(each.name, _instant(at)))
        known = self.writing.execute(
            select(func.count()).select_from(COPIED["customers"])
        ).scalar_one()
        return (None if len(whom) > _MANY * known + 1_000 else sorted(whom)), marks

    def _stage(self, whom: Sequence[int] | None, tell: Callable[[str], None]) -> None:
        ends = (self.source, self.reading), (self.store, self.writing)
        for relation, query in self._queries(whom):
            tell(f"reading {relation.replace('_', ' ')}")
            stream(*ends, query, staging.STAGED[relation])
        if whom is not None:
            keys = select(_keys(whom).c.customer_id)
            self.writing.execute(insert(staging.scope).from_select(["customer_id"], keys))
        staging.analyze(self.writing)

    def _queries(self, whom: Sequence[int] | None) -> Iterator[tuple[str, Select[Any]]]:
        """What is read of each relation, of everybody or of these customers."""
        keys = None if whom is None else select(_keys(whom).c.customer_id)
        plain, taxed = (self._relations(keys, taxed=taxed) for taxed in (False, True))
        for relation in staging.STAGED:
            rows = getattr(taxed, relation)
            query = select(*(rows.c[name] for name in COLUMNS[relation]))
            if relation == "customers" and keys is not None:
                query = query.where(rows.c.customer_id.in_(keys))
            if relation != "discounts":
                yield relation, query
                continue
            for is_taxed, relations in ((False, plain), (True, taxed)):
                given = relations.discounts
                names = (given.c[name] for name in COLUMNS[relation])
                yield relation, select(literal(is_taxed).label("taxed"), *names)

    def _relations(self, keys: Any, *, taxed: bool) -> Relations:
        return self.told.relations(Wanted(self.base_currency, rate_rows(None), keys, taxed))


def _put_in_place(
    writing: Connection,
    books: Books,
    held: Copy | None,
    copy: Copy,
    read: _Read,
    tell: Callable[[str], None],
) -> Refreshed:
    """Replace what differs, derive what follows from it, and note how far the copy is."""
    first, everybody = held is None, read.whom is None
    changed = rows = derived = 0
    if everybody or read.whom:
        changed = staging.find_changed(writing, everybody=everybody, first=first)
        staging.replace_catalogue(writing)
    known = writing.execute(select(func.count()).select_from(COPIED["customers"])).scalar_one()
    if _is_new_ledger(writing, books, held, copy) or changed > _MOST * known:
        tell("deriving the facts of everybody")
        rows = staging.replace(writing, first=first)
        for table in COPIED.values():
            writing.execute(Analyze(table))
        derive_all(writing, books, of_copy)
        derived = writing.execute(
            select(func.count()).select_from(COPIED["customers"])
        ).scalar_one()
    elif changed:
        tell(f"deriving the facts of {changed:,} customers")

        def replace() -> None:
            nonlocal rows
            rows = staging.replace(writing, first=False)

        payments = staging.staged_rows("payments")
        derived = follow_facts(writing, books, payments, staging.CHANGED, replace)
    writing.execute(delete(copied_source))
    writing.execute(insert(copied_source).values(**asdict(copy)))
    return Refreshed(
        title=copy.title,
        how="first" if first else "everybody" if everybody else "changes",
        read=_read_count(writing, read),
        changed=changed,
        rows=rows,
        derived=derived,
        copied_at=copy.copied_at,
    )


def _is_new_ledger(writing: Connection, books: Books, held: Copy | None, copy: Copy) -> bool:
    """Whether all facts must be derived again, whoever has changed."""
    return (
        held is None
        or held.rates_position != copy.rates_position
        or kept_document(writing) != books.document()
    )


def _read_count(writing: Connection, read: _Read) -> int:
    if read.whom is not None:
        return len(read.whom)
    everybody = select(func.count()).select_from(staging.STAGED["customers"])
    count: int = writing.execute(everybody).scalar_one()
    return count


def _fingerprint(queries: Iterator[tuple[str, Select[Any]]]) -> str:
    """What differs when anything but rows does: the statements, the catalogue, the columns."""
    digest = hashlib.sha256()
    for relation, query in queries:
        digest.update(f"{relation}\n{as_text(query)}\n".encode())
    return digest.hexdigest()


def _keys(customers: Sequence[int]) -> Any:
    """Keys at hand as rows: one text, because thousands of numbers are slow to read in a list."""
    text = cast(literal("{" + ",".join(map(str, customers)) + "}", Text), ARRAY(BigInteger))
    return func.unnest(text).table_valued(column("customer_id", BigInteger)).render_derived()


def _before(mark: Mark | None, overlap: Overlap, *, numbered: bool) -> Mark:
    """From which mark on to look for changes."""
    if mark is None:
        return 0 if numbered else datetime.min.replace(tzinfo=UTC)
    if isinstance(mark, int):
        return mark - overlap.rows
    return mark - timedelta(seconds=overlap.seconds)


def _instant(found: Any) -> Mark:
    """A mark as a column has it: instants are in UTC there, without saying so."""
    return found if isinstance(found, int) else found.replace(tzinfo=UTC)


def _mark(kept: Any) -> Mark:
    return kept if isinstance(kept, int) else datetime.fromisoformat(kept)
