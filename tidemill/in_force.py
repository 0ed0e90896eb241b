"""The policy in force: the one that the facts are kept under, and who may change it.

The facts are a cache of one policy in one base currency, and ``policy_in_use`` says of which. Its
latest row is in force. Only whoever derives *all* facts again may add a row that changes them; a
process that was configured otherwise before that follows the row, so that no table ever holds the
facts of two policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select

from tidemill.errors import InvalidPolicy, SchemaTooNew
from tidemill.knobs import KNOBS, LEDGER_LAYERS
from tidemill.ledger.facts import Fact, tables_of
from tidemill.models import metric_mrr_movement, policy_in_use
from tidemill.policy import POLICY_VERSION, Policy

__all__ = [
    "Books",
    "differing_knobs",
    "in_force",
    "kept_document",
    "kept_facts",
    "note",
    "same_ledger",
]

# The first of the two keys of the advisory lock on the first row: "poli" in ASCII.
_FIRST_LOCK: Final = int.from_bytes(b"poli", "big")


@dataclass(frozen=True, slots=True)
class Books:
    """What is kept up to date beside the core tables, and by which rules.

    facts:         the tables to keep, each with its derivation.
    policy:        the configured policy.
    base_currency: the currency of the books, upper-case ISO 4217.
    """

    facts: tuple[Fact, ...] = ()
    policy: Policy = field(default_factory=Policy.of)
    base_currency: str = "USD"

    def document(self) -> dict[str, Any]:
        """What decides the facts, as ``policy_in_use`` keeps it."""
        return self.policy.document() | {
            "base_currency": self.base_currency,
            "facts": sorted(table.name for table in tables_of(self.facts)),
        }


def kept_document(connection: Connection) -> dict[str, Any] | None:
    """The document in force; None when nobody has kept facts yet."""
    latest = select(policy_in_use.c.document).order_by(policy_in_use.c.configured_at.desc())
    found: dict[str, Any] | None = connection.execute(latest.limit(1)).scalar()
    return found


def kept_facts(kept: Mapping[str, Any]) -> frozenset[str]:
    """The tables that hold the facts of everybody; a metric added later has its own to be filled.

    A document that does not say is from a time when there was one.
    """
    return frozenset(kept.get("facts", [metric_mrr_movement.name]))


def note(connection: Connection, books: Books) -> None:
    """Put the policy of the books in force, unless it is.

    The caller derives all facts under it in the same transaction, or knows that they stay the same.
    """
    document = books.document()
    if kept_document(connection) != document:
        connection.execute(insert(policy_in_use).values(hash=books.policy.hash, document=document))


def in_force(connection: Connection, books: Books) -> Books:
    """The same facts under the policy in force, which is the given one where there was none.

    Raises: SchemaTooNew when it was put in force by a later Tidemill, with knobs unknown here.
    """
    if kept_document(connection) is None:
        # Of two that begin at once, the second waits here and then follows the first.
        connection.execute(select(func.pg_advisory_xact_lock(_FIRST_LOCK, 0)))
        if kept_document(connection) is None:
            note(connection, books)
            return books
    kept = kept_document(connection)
    assert kept is not None, "rows of policy_in_use are never deleted"
    if kept == books.document():
        return books
    try:
        policy = Policy(**kept["knobs"])
    except (InvalidPolicy, TypeError) as error:
        raise SchemaTooNew(f"policy {kept['version']}", f"policy {POLICY_VERSION}") from error
    return Books(books.facts, policy, kept.get("base_currency", books.base_currency))


def differing_knobs(policy: Policy, base_currency: str, kept: Mapping[str, Any]) -> tuple[str, ...]:
    """On what the ledger of a policy, in these books, differs from the one that is kept.

    Names of knobs, in the order of `KNOBS`, after ``base_currency``.
    """
    other_books = kept.get("base_currency", base_currency) != base_currency
    knobs = kept["knobs"]
    return (
        *(("base_currency",) if other_books else ()),
        *(
            knob.name
            for knob in KNOBS
            if knob.layer in LEDGER_LAYERS
            and str(getattr(policy, knob.name)) != str(knobs.get(knob.name))
        ),
    )


def same_ledger(policy: Policy, base_currency: str, kept: Mapping[str, Any]) -> bool:
    """Whether a policy's ledger, in these books, is the one kept under a policy document."""
    return not differing_knobs(policy, base_currency, kept)
