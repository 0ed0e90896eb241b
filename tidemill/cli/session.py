"""What one run of the command line shares: the settings, and the way to the database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from tidemill.cli.output import note
from tidemill.database import Database, connect, same_address
from tidemill.engine import Tidemill
from tidemill.engine.opening import open_engine
from tidemill.errors import NotInThisMode, SourceIsStore, StoreIsCopy
from tidemill.settings import Settings, load_settings

if TYPE_CHECKING:
    from tidemill.bus import PostgresBus
    from tidemill.state import Books

__all__ = ["Desk", "Session", "session_of"]


# A question over HTTP that takes longer is ended, so that it cannot hold up all others.
_STATEMENT_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True)
class Desk:
    """A store with all that is needed to write into it."""

    store: Database
    bus: PostgresBus
    books: Books


@dataclass
class Session:
    """The global options, and what follows from them."""

    database_url: str | None = None
    config_file: Path | None = None

    @cached_property
    def settings(self) -> Settings:
        """The settings in force.

        Raises: InvalidSettings with every problem.
        """
        return load_settings(self.config_file, database_url=self.database_url)

    def store(self, *, migrate: bool | None = None) -> Database:
        """The configured database, open; close it, or use it in a ``with`` block.

        Raises: as `tidemill.database.connect`; NotInThisMode when the only database there is is
                that of a billing system, SourceIsStore when both are the same.
        """
        url = self.settings.database_url
        if self.settings.reads_in_place and not self.settings.source_url:
            raise NotInThisMode("This command")
        billing = self.settings.source_url if self.settings.reads_in_place else None
        if billing and url and same_address(billing, url):
            # Our tables must not come to stand among the billing system's.
            raise SourceIsStore
        return connect(url, data_dir=self.settings.data_dir, migrate=migrate)

    def open(self, *, serving: bool = False) -> Tidemill:
        """The store with its engine; close it, or use it in a ``with`` block.

        serving: for requests of others: nothing can be written, no statement runs for long.
        Raises:  as `store`.
        """
        store, engine = open_engine(
            self.settings,
            read_only=serving,
            statement_timeout_s=_STATEMENT_TIMEOUT_S if serving else None,
        )
        return Tidemill(store, engine)

    def desk(self, store: Database, *, settled: bool = True, beside: bool = False) -> Desk:
        """What writes into an open store; its facts are those of the configured policy.

        settled: not so for what derives all facts again anyway.
        beside:  for what is about no customer, and so can stand beside a copy.
        Raises:  as `tidemill.bookkeeping.settle`; StoreIsCopy.
        """
        # Most commands only ask, and what writes takes its time to load.
        from tidemill.bookkeeping import books_of, settle
        from tidemill.bus import PostgresBus
        from tidemill.copying.holding import copy_in

        desk = Desk(store, PostgresBus(store), books_of(self.settings))
        with store.connect() as connection:
            copy = copy_in(connection)
        if copy is not None:
            if not beside:
                raise StoreIsCopy("This command", copy.title)
            # The facts are the copy's: they follow when it is refreshed.
            return replace(desk, books=replace(desk.books, facts=()))
        if settled and settle(desk.store, desk.bus, desk.books, telling=_tell):
            note("The facts are derived again, under the policy as configured now.")
        return desk


def _tell(differing: tuple[str, ...]) -> None:
    named = ", ".join(differing)
    note(f"The facts are kept under another policy than the configured one: {named}.")


def session_of(context: typer.Context) -> Session:
    """The session that the root command has made."""
    session = context.obj
    assert isinstance(session, Session)
    return session
