"""Errors of reading a billing system's own database in place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tidemill.errors.config import ConfigError
from tidemill.errors.query import QueryError
from tidemill.errors.root import ManyProblems, Permanent
from tidemill.problems import Problem

__all__ = [
    "CopyOfAnother",
    "CopyRemoved",
    "HistoryNotKept",
    "KeysCollide",
    "NotInThisMode",
    "SchemaNotUnderstood",
    "SourceIsStore",
    "StoreHoldsEvents",
    "StoreIsCopy",
    "TenantNotChosen",
]


class HistoryNotKept(QueryError):
    """The question is about what was known when, and the billing system does not keep that."""

    code = "history_not_kept"

    def __init__(self, title: str) -> None:
        """Name the billing system."""
        super().__init__(
            f"{title} does not keep what was known on an earlier date.",
            hint="Ask without known_at; only books that Tidemill keeps itself can be asked that.",
            source=title,
        )


class NotInThisMode(ConfigError, Permanent):
    """Something was asked for that only Tidemill's own tables can hold."""

    code = "not_in_this_mode"

    def __init__(self, what: str) -> None:
        """Say what it is."""
        super().__init__(
            f"{what} needs a database of Tidemill's own, and a billing system's is read in place.",
            hint="Unset TIDEMILL_CONNECTOR, or give the billing system's address as "
            "TIDEMILL_SOURCE_URL.",
            what=what,
        )


class SchemaNotUnderstood(ManyProblems, ConfigError):
    """The database is not the billing system's, of a version that is not known, or not readable."""

    code = "schema_not_understood"
    subject = "The billing database"

    def __init__(self, title: str, problems: Sequence[Problem]) -> None:
        """Name the billing system and everything that is missing."""
        hint = (
            "Check the address, TIDEMILL_SOURCE_SCHEMA, and that the role may SELECT from these: "
            "see docs/how-to/read-a-billing-database.md."
        )
        super().__init__(problems, hint=hint, source=title)


class TenantNotChosen(ConfigError, Permanent):
    """The billing database holds several tenants, or not the one that was named."""

    code = "tenant_not_chosen"

    def __init__(self, title: str, wanted: str | None, known: Iterable[str]) -> None:
        """Show what was asked for and what there is."""
        names = list(known)
        said = f"has no tenant {wanted!r}" if wanted else "holds several tenants, or none"
        super().__init__(
            f"The database of {title} {said}.",
            hint=f"Set TIDEMILL_SOURCE_TENANT to one of: {', '.join(names)}." if names else "",
            source=title,
            known=names,
        )


class KeysCollide(ConfigError, Permanent):
    """Two rows of the billing database would be told apart by nothing."""

    code = "keys_collide"

    def __init__(self, title: str, relation: str) -> None:
        """Name the relation."""
        super().__init__(
            f"Two rows of {relation} in the database of {title} have the same 64-bit hash.",
            hint="This is a chance of one in millions; please report it.",
            source=title,
            relation=relation,
        )


class SourceIsStore(ConfigError, Permanent):
    """A billing database is to be copied into itself."""

    code = "source_is_store"

    def __init__(self) -> None:
        """Nothing to name: both addresses lead to one database."""
        super().__init__(
            "The billing system's database and Tidemill's own are the same.",
            hint="Give Tidemill a database of its own as TIDEMILL_DATABASE_URL, or unset that: "
            "then the copy stands in the embedded one.",
        )


class StoreHoldsEvents(ConfigError, Permanent):
    """A store whose customers came with events cannot become a copy."""

    code = "store_holds_events"

    def __init__(self, title: str) -> None:
        """Name the billing system that was to be copied."""
        super().__init__(
            f"There are customers in this database already, so it cannot hold a copy of {title}.",
            hint="Give the copy a database of its own: `createdb tidemill_copy`, and its address "
            "as TIDEMILL_DATABASE_URL.",
            source=title,
        )


class StoreIsCopy(ConfigError, Permanent):
    """A copy of a billing database takes in no events about customers."""

    code = "store_is_a_copy"

    def __init__(self, what: str, title: str) -> None:
        """Say what was asked for, and what the store is a copy of."""
        super().__init__(
            f"{what} needs books that take in events, and this database holds a copy of {title}.",
            hint="Give it a database of its own as TIDEMILL_DATABASE_URL, or remove the copy with "
            "`tidemill refresh --drop`.",
            what=what,
            source=title,
        )


class CopyOfAnother(ConfigError, Permanent):
    """The store holds a copy of other books than those that are configured."""

    code = "copy_of_another"

    def __init__(self, title: str, schema: str | None, tenant: str | None) -> None:
        """Say what it is a copy of."""
        named = {"TIDEMILL_SOURCE_SCHEMA": schema, "TIDEMILL_SOURCE_TENANT": tenant}
        said = ", ".join(f"{name}={value or '(not set)'}" for name, value in named.items())
        super().__init__(
            f"This database holds a copy of {title} as of {said}, and the settings name another.",
            hint="Set them as they were, give the other copy a database of its own, or remove this "
            "one with `tidemill refresh --drop`.",
            source=title,
            schema=schema,
            tenant=tenant,
        )


class CopyRemoved(ConfigError, Permanent):
    """The copy that was asked has been removed since."""

    code = "copy_removed"

    def __init__(self, title: str) -> None:
        """Name the billing system."""
        super().__init__(
            f"The copy of {title} has been removed since this was started.",
            hint="Start it again: the billing database is read in place then.",
            source=title,
        )
