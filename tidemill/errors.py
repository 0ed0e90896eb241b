"""Every deliberate error of Tidemill, in one tree.

::

    TidemillError
    ├── QueryError                    the question cannot be answered as asked
    │   ├── InvalidQuery              several problems at once
    │   ├── UnknownMetric · UnknownQuestion · UnknownMeasure · UnknownDimension · UnknownSegment
    │   ├── UnknownCommand            the command line has no command of this name
    │   ├── UnknownSource             no connected source has this name
    │   ├── UnknownCustomer           no source knows a customer of this id
    │   ├── UnknownQuarantined        nothing in the quarantine has this number
    │   ├── InvalidPolicy             several problems at once
    │   ├── UnknownPolicy · UnknownKnob
    │   ├── KnobNotSupported          a legal knob value that is not honoured yet
    │   ├── InvalidDay · InvalidInstant · InvalidRange · UnknownTimeZone
    │   ├── UnknownCurrency           not an ISO 4217 currency
    │   ├── StatementTimedOut         (Transient)
    │   ├── NotOneValue               an answer of many rows was read as one number
    │   └── MissingRate               data incomplete: no exchange rate for a day
    ├── DefinitionError               a metric, cube or segment is defined wrongly
    │   └── BooksDoNotClose           an answer contradicts itself, so it is not shown
    ├── IngestError                   something cannot be taken in (Transient or Permanent)
    │   ├── InvalidEvent              several problems at once (Permanent)
    │   ├── InvalidFile               several problems at once (Permanent)
    │   └── UnreadableFile            a file to import cannot be read (Permanent)
    └── ConfigError                   Tidemill is set up, or placed, wrongly
        ├── InvalidSettings           several problems at once
        ├── MissingExtra              an optional part is not installed
        ├── BooksInUse                the demo would stand among real data
        ├── AuthRequired              the API would be open to anyone
        ├── AddressUnavailable        the API cannot listen where it should
        ├── DatabaseUnreachable       (Transient)
        ├── DatabaseFull (Transient) · DatabaseTooOld
        ├── BrokerUnreachable         (Transient)
        ├── SchemaTooNew · SchemaTooOld · MigrationRefused
        └── EmbeddedServerError
            └── EmbeddedLockStale · EmbeddedDiskFull · EmbeddedVersionMismatch
                · EmbeddedDirectoryUnwritable

An error carries a stable ``code`` for programs, a message that says what is wrong, a ``hint`` that
says what to do about it, and the ``context`` both were made from. Whether a retry can help is
decided by type: :class:`Transient` or :class:`Permanent`. HTTP statuses and exit codes are given by
the front ends, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

from tidemill.problems import Issue, Problem, did_you_mean

__all__ = [
    "AddressUnavailable",
    "AuthRequired",
    "BooksDoNotClose",
    "BooksInUse",
    "BrokerUnreachable",
    "ConfigError",
    "DatabaseFull",
    "DatabaseTooOld",
    "DatabaseUnreachable",
    "DefinitionError",
    "EmbeddedDirectoryUnwritable",
    "EmbeddedDiskFull",
    "EmbeddedLockStale",
    "EmbeddedServerError",
    "EmbeddedVersionMismatch",
    "IngestError",
    "InvalidDay",
    "InvalidEvent",
    "InvalidFile",
    "InvalidInstant",
    "InvalidPolicy",
    "InvalidQuery",
    "InvalidRange",
    "InvalidSettings",
    "Issue",
    "KnobNotSupported",
    "ManyProblems",
    "MigrationRefused",
    "MissingExtra",
    "MissingRate",
    "NotOneValue",
    "Permanent",
    "Problem",
    "QueryError",
    "SchemaTooNew",
    "SchemaTooOld",
    "StatementTimedOut",
    "TidemillError",
    "Transient",
    "UnknownCommand",
    "UnknownCurrency",
    "UnknownCustomer",
    "UnknownDimension",
    "UnknownKnob",
    "UnknownMeasure",
    "UnknownMetric",
    "UnknownName",
    "UnknownPolicy",
    "UnknownQuarantined",
    "UnknownQuestion",
    "UnknownSegment",
    "UnknownSource",
    "UnknownTimeZone",
    "UnreadableFile",
    "did_you_mean",
]


class TidemillError(Exception):
    """The root: anything Tidemill raises on purpose.

    Attributes: ``code`` stable and documented; ``message`` what is wrong; ``hint`` the remedy, may
    be empty; ``context`` the values both were made from.
    """

    code: ClassVar[str] = "tidemill_error"

    def __init__(self, message: str, *, hint: str = "", **context: Any) -> None:
        """Keep the parts apart, so that each front end can lay them out its own way."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context: Mapping[str, Any] = context

    def __str__(self) -> str:
        """The message followed by the hint: what a traceback or a notebook shows."""
        return f"{self.message} {self.hint}" if self.hint else self.message

    def document(self) -> dict[str, Any]:
        """The error for programs: its code, what is wrong, the hint, and each single problem."""
        return {"code": self.code, "detail": self.message, "hint": self.hint, "errors": []}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state, because subclasses take other arguments than the message."""
        return _revive, (type(self), self.args), self.__dict__


def _revive(kind: type[TidemillError], args: tuple[object, ...]) -> TidemillError:
    error = kind.__new__(kind)
    error.args = args
    return error


class Transient:
    """Mixin: trying the same thing again later may work."""


class Permanent:
    """Mixin: trying the same thing again cannot work; something must change first."""


class ManyProblems(TidemillError):
    """Base of errors that report every problem found, not only the first."""

    code = "many_problems"
    subject: ClassVar[str] = "Input"

    def __init__(self, problems: Sequence[Problem], *, hint: str = "", **context: Any) -> None:
        """Take all problems; the message shows each of them."""
        assert problems, "an error about problems needs at least one"
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            message = f"{self.subject} is not valid: {self.problems[0]}"
        else:
            lines = "".join(f"\n  - {each}" for each in self.problems)
            message = f"{self.subject} is not valid; {len(self.problems)} problems:{lines}"
        super().__init__(message, hint=hint, **context)

    def document(self) -> dict[str, Any]:
        """The error for programs, with its problems as a list instead of in the text."""
        detail, _, listed = self.message.partition(":\n")
        return super().document() | {
            "detail": f"{detail}." if listed else detail,
            "errors": [each.document() for each in self.problems],
        }


class UnknownName(TidemillError):
    """Base of errors about a name that is not known; the hint suggests a near one."""

    code = "unknown_name"
    kind: ClassVar[str] = "thing"
    otherwise: ClassVar[str] = ""

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        """Name what is unknown and suggest the nearest of the `known` names."""
        names = sorted(known)
        fallback = self.otherwise or (f"Known: {', '.join(names)}." if names else "")
        hint = did_you_mean(name, names, otherwise=fallback)
        super().__init__(f"No {self.kind} is named {name!r}.", hint=hint, name=name)
        self.name = name


# --- questions ---------------------------------------------------------------------------------


class QueryError(TidemillError):
    """The question cannot be answered as it was asked."""

    code = "query_error"


class InvalidQuery(ManyProblems, QueryError):
    """The question has one or more problems; all of them are listed."""

    code = "invalid_query"
    subject = "The question"

    @property
    def issues(self) -> tuple[Issue, ...]:
        """Every problem of the question."""
        return self.problems


class UnknownMetric(UnknownName, QueryError):
    """No registered metric has this name."""

    code = "unknown_metric"
    kind = "metric"
    otherwise = "See `tidemill metrics`."


class UnknownQuestion(UnknownName, QueryError):
    """The metric has no question of this name."""

    code = "unknown_question"
    kind = "question"


class UnknownMeasure(UnknownName, QueryError):
    """The cube has no measure of this name."""

    code = "unknown_measure"
    kind = "measure"


class UnknownDimension(UnknownName, QueryError):
    """The cube has no dimension of this name."""

    code = "unknown_dimension"
    kind = "dimension"


class UnknownSegment(UnknownName, QueryError):
    """No saved segment has this name."""

    code = "unknown_segment"
    kind = "segment"
    otherwise = "See `tidemill segments`."


class UnknownCommand(UnknownName, QueryError):
    """The command line has no command of this name."""

    code = "unknown_command"
    kind = "command"
    otherwise = "See `tidemill --help`."


class UnknownSource(UnknownName, QueryError):
    """No connected source has this name."""

    code = "unknown_source"
    kind = "source"
    otherwise = "See `tidemill sources`."


class UnknownCustomer(UnknownName, QueryError):
    """No connected source knows a customer of this id."""

    code = "unknown_customer"
    kind = "customer"
    otherwise = "See `tidemill mrr --by customer`; ids are those of the billing system."


class UnknownQuarantined(QueryError):
    """Nothing in the quarantine has this number."""

    code = "unknown_quarantined"

    def __init__(self, ids: Sequence[int]) -> None:
        """Name the numbers that are not there."""
        numbers = ", ".join(map(str, ids))
        super().__init__(
            f"Nothing in the quarantine has the number {numbers}.",
            hint="See `tidemill quarantine list`.",
            ids=list(ids),
        )


class InvalidPolicy(ManyProblems, QueryError):
    """A policy has one or more unknown names or impossible values; all of them are listed."""

    code = "invalid_policy"
    subject = "The policy"


class UnknownPolicy(UnknownName, QueryError):
    """No preset has this name."""

    code = "unknown_policy"
    kind = "policy preset"
    otherwise = "See `tidemill policies`."


class UnknownKnob(UnknownName, QueryError):
    """Policies have no knob of this name."""

    code = "unknown_knob"
    kind = "policy knob"
    otherwise = "See `tidemill policies default`."


class KnobNotSupported(QueryError):
    """The knob's value is legal, but what was asked does not honour it yet."""

    code = "knob_not_supported"

    def __init__(self, knob: str, value: str, supported: Iterable[str] = ()) -> None:
        """Name the knob, the value refused and the values that do work."""
        works = [str(each) for each in supported]
        hint = f"Supported so far: {', '.join(works)}." if works else ""
        super().__init__(
            f"The policy knob {knob!r} is not supported at {value!r} yet.",
            hint=hint,
            knob=knob,
            value=value,
            supported=works,
        )


class InvalidDay(QueryError):
    """A text that should be a calendar day is not one."""

    code = "invalid_day"

    def __init__(self, text: object) -> None:
        """Show what was given."""
        super().__init__(
            f"{text!r} is not a calendar day.", hint="Write days as YYYY-MM-DD.", text=str(text)
        )


class InvalidInstant(QueryError):
    """A text that should be an instant is not one, or has no offset."""

    code = "invalid_instant"

    def __init__(self, text: object) -> None:
        """Show what was given."""
        super().__init__(
            f"{text!r} is not an instant.",
            hint="Write instants with their offset, such as 2025-06-30T12:00:00Z.",
            text=str(text),
        )


class InvalidRange(QueryError):
    """A range of days ends before it starts."""

    code = "invalid_range"

    def __init__(self, start: date, end: date) -> None:
        """Show both ends."""
        super().__init__(
            f"The range ends on {end}, before it starts on {start}.",
            hint="Both ends are included; for a single day give it twice.",
            start=start.isoformat(),
            end=end.isoformat(),
        )


class UnknownTimeZone(UnknownName, QueryError):
    """No IANA time zone has this name."""

    code = "unknown_time_zone"
    kind = "time zone"
    otherwise = "Use an IANA name such as Europe/Prague."


class UnknownCurrency(QueryError):
    """The code is not an ISO 4217 currency with a minor unit."""

    code = "unknown_currency"

    def __init__(self, currency: object, known: Iterable[str] = ()) -> None:
        """Show the code and a near one."""
        fallback = "Use a three-letter ISO 4217 code such as USD."
        super().__init__(
            f"{currency!r} is not a currency.",
            hint=did_you_mean(str(currency), known, otherwise=fallback),
            currency=str(currency),
        )


class MissingRate(QueryError):
    """There is no exchange rate for a currency on a day the question needs."""

    code = "missing_rate"

    def __init__(
        self,
        currency: str,
        day: date,
        base: str = "the base currency",
        others: Sequence[tuple[str, date]] = (),
    ) -> None:
        """Name the currency and the first day without a rate, and all other such pairs."""
        pairs = [(currency, day), *others]
        days = {code: [str(when) for each, when in pairs if each == code] for code, _ in pairs}
        named = "; ".join(f"from {code} for {_first_few(each)}" for code, each in days.items())
        super().__init__(
            f"No exchange rate to {base} is known {named}.",
            hint="Load rates with `tidemill fx load FILE`; `tidemill fx show` lists what is there.",
            currency=currency,
            day=day.isoformat(),
            base=base,
            missing=[{"currency": code, "day": str(when)} for code, when in pairs],
        )
        self.currency = currency
        self.day = day


def _first_few(days: Sequence[str], few: int = 5) -> str:
    return ", ".join(days[:few]) + (f" and {len(days) - few} more" if len(days) > few else "")


class NotOneValue(QueryError):
    """One number was asked of an answer that has several, or none of that kind."""

    code = "not_one_value"

    def __init__(self, problem: str) -> None:
        """Say what the answer is instead."""
        super().__init__(problem, hint="Use `.rows`, or `.to_pandas()`.")


# --- definitions -------------------------------------------------------------------------------


class DefinitionError(TidemillError):
    """A metric, cube, segment or attribute is defined in a way that cannot work."""

    code = "definition_error"


class BooksDoNotClose(DefinitionError):
    """An answer contradicts itself (a waterfall does not add up), so it is not shown."""

    code = "books_do_not_close"

    def __init__(self, where: str, difference: object) -> None:
        """Name the row and by how much it is off."""
        problem = f"The waterfall does not close at {where}: off by {difference} minor units."
        hint = "Run `tidemill rebuild`; if that does not help, please report it."
        super().__init__(problem, hint=hint, where=where)


# --- taking data in ----------------------------------------------------------------------------


class IngestError(TidemillError):
    """Something could not be taken in; concrete classes are Transient or Permanent."""

    code = "ingest_error"


class InvalidEvent(ManyProblems, IngestError, Permanent):
    """An event breaks the contract in one or more places; all of them are listed."""

    code = "invalid_event"
    subject = "The event"


class InvalidFile(ManyProblems, IngestError, Permanent):
    """A file that is taken in as a whole, or not at all, has problems; all of them are listed."""

    code = "invalid_file"
    subject = "The file"


class UnreadableFile(IngestError, Permanent):
    """A file that is to be imported is not there, may not be read, or is damaged."""

    code = "unreadable_file"

    def __init__(self, file: str, reason: str, *, hint: str = "") -> None:
        """Name the file and why it cannot be read."""
        super().__init__(
            f"{file} cannot be read: {reason}.",
            hint=hint or "Check the name and the permissions of the file.",
            file=file,
            reason=reason,
        )


# --- set-up and surroundings -------------------------------------------------------------------


class ConfigError(TidemillError):
    """Tidemill is set up wrongly, or its surroundings do not allow it to run."""

    code = "config_error"


class InvalidSettings(ManyProblems, ConfigError):
    """One or more settings are unknown or have impossible values; all of them are listed."""

    code = "invalid_settings"
    subject = "The configuration"


class MissingExtra(ConfigError):
    """An optional part of Tidemill is needed but not installed."""

    code = "missing_extra"

    def __init__(self, extra: str, purpose: str = "") -> None:
        """Name the extra; the hint is the exact command that installs it."""
        what = purpose or "This"
        super().__init__(
            f"{what} needs an optional part of Tidemill that is not installed.",
            hint=f"Run: pip install 'tidemill[{extra}]'",
            extra=extra,
        )


class BooksInUse(ConfigError, Permanent):
    """The books hold somebody's data, so the demo business must not be put among them."""

    code = "books_in_use"


class AuthRequired(ConfigError, Permanent):
    """The API would answer anyone, or it should ask who is calling and cannot."""

    code = "auth_required"


class AddressUnavailable(ConfigError):
    """The API cannot listen at the address it was given."""

    code = "address_unavailable"


class DatabaseUnreachable(ConfigError, Transient):
    """The database does not answer, or refuses the connection."""

    code = "database_unreachable"

    def __init__(self, url: str, reason: str, *, hint: str = "") -> None:
        """Show where and why; `url` must already be free of its password."""
        remedy = "Check TIDEMILL_DATABASE_URL and that the server runs; `tidemill doctor` helps."
        super().__init__(
            f"The database at {url} cannot be reached: {reason.rstrip('.')}.",
            hint=hint or remedy,
            url=url,
            reason=reason,
        )


class DatabaseTooOld(ConfigError, Permanent):
    """The PostgreSQL server is older than Tidemill needs."""

    code = "database_too_old"

    def __init__(self, url: str, found: int, needed: int) -> None:
        """Show the major versions; `url` must already be free of its password."""
        super().__init__(
            f"The database at {url} runs PostgreSQL {found}; Tidemill needs {needed} or newer.",
            hint="Upgrade the server, or give another with TIDEMILL_DATABASE_URL.",
            url=url,
            found=found,
            needed=needed,
        )


class DatabaseFull(ConfigError, Transient):
    """The database server has no disk space left to do what was asked; nothing was changed."""

    code = "database_full"

    def __init__(self, url: str) -> None:
        """Show where; `url` must already be free of its password."""
        super().__init__(
            f"The database at {url} has no disk space left; the change was rolled back.",
            hint="Free some space on the server's disk, then run the same again.",
            url=url,
        )


class StatementTimedOut(QueryError, Transient):
    """A statement ran longer than the time limit of this connection and was ended."""

    code = "statement_timed_out"

    def __init__(self) -> None:
        """Say what happened; the SQL is in the log of the caller, not here."""
        super().__init__(
            "The database was not done within the time limit.",
            hint="Ask for a shorter range or fewer dimensions, or raise the limit.",
        )


class BrokerUnreachable(ConfigError, Transient):
    """The Kafka or Redpanda broker does not answer."""

    code = "broker_unreachable"

    def __init__(self, servers: str, reason: str) -> None:
        """Show where and why."""
        super().__init__(
            f"The broker at {servers} cannot be reached: {reason}",
            hint="Check KAFKA_BOOTSTRAP_SERVERS and that the broker runs.",
            servers=servers,
            reason=reason,
        )


class SchemaTooNew(ConfigError):
    """The database was migrated by a newer Tidemill than this one."""

    code = "schema_too_new"

    def __init__(self, revision: str, head: str) -> None:
        """Show the revision found and the newest one this program knows."""
        super().__init__(
            f"The database schema is at revision {revision}, newer than this program ({head}).",
            hint="Upgrade Tidemill: pip install --upgrade tidemill",
            revision=revision,
            head=head,
        )


class SchemaTooOld(ConfigError):
    """The database schema is behind this program, or empty."""

    code = "schema_too_old"

    def __init__(self, revision: str | None, head: str) -> None:
        """Show the revision found, none when the database is empty, and the one needed."""
        found = f"at revision {revision}" if revision else "empty"
        super().__init__(
            f"The database schema is {found}; this program needs {head}.",
            hint="Run `tidemill migrate`.",
            revision=revision,
            head=head,
        )


class MigrationRefused(ConfigError, Permanent):
    """The database does not let its schema be brought to the newest version; nothing changed."""

    code = "migration_refused"

    def __init__(self, reason: str, *, hint: str) -> None:
        """Show what the database said and what to do about it."""
        super().__init__(f"The schema cannot be migrated: {reason}.", hint=hint, reason=reason)


class EmbeddedServerError(ConfigError):
    """The embedded PostgreSQL server cannot be started or used."""

    code = "embedded_server_error"


class EmbeddedLockStale(EmbeddedServerError):
    """The lock of a server that does not answer is in the way; one of a dead server never is."""

    code = "embedded_lock_stale"

    def __init__(self, lock: Path, pid: int) -> None:
        """Name the lock file and the process to end."""
        super().__init__(
            f"The PostgreSQL server that holds {lock} does not answer (process {pid}).",
            hint=f"End it with `kill -QUIT {pid}`, then try again; nothing that was saved is lost.",
            lock=str(lock),
            pid=pid,
        )


class EmbeddedDiskFull(EmbeddedServerError):
    """There is no space left where the embedded database lives."""

    code = "embedded_disk_full"

    def __init__(self, data_dir: Path) -> None:
        """Name the directory."""
        super().__init__(
            f"The disk that holds {data_dir} is full.",
            hint="Free some space, or set TIDEMILL_DATA_DIR to another disk.",
            data_dir=str(data_dir),
        )


class EmbeddedVersionMismatch(EmbeddedServerError):
    """The data directory was made by another major version of PostgreSQL."""

    code = "embedded_version_mismatch"

    def __init__(self, data_dir: Path, found: str, needed: str) -> None:
        """Name the directory and both versions."""
        super().__init__(
            f"{data_dir} holds a database of PostgreSQL {found}; this program brings {needed}.",
            hint="Set TIDEMILL_DATA_DIR to an empty directory and import again, "
            "or use the Tidemill version that made it.",
            data_dir=str(data_dir),
            found=found,
            needed=needed,
        )


class EmbeddedDirectoryUnwritable(EmbeddedServerError):
    """The data directory cannot be created or written to."""

    code = "embedded_directory_unwritable"

    def __init__(self, data_dir: Path, reason: str) -> None:
        """Name the directory and what the system said."""
        super().__init__(
            f"{data_dir} cannot be written to: {reason}",
            hint="Change its permissions, or set TIDEMILL_DATA_DIR to a directory of yours.",
            data_dir=str(data_dir),
            reason=reason,
        )
