"""Errors of set-up and surroundings: settings, databases, brokers."""

from __future__ import annotations

from tidemill.errors.root import ManyProblems, Permanent, TidemillError, Transient

__all__ = [
    "AddressUnavailable",
    "AuthRequired",
    "BooksInUse",
    "BrokerMisconfigured",
    "BrokerUnreachable",
    "ConfigError",
    "DatabaseFull",
    "DatabaseTooOld",
    "DatabaseUnreachable",
    "InvalidSettings",
    "MigrationRefused",
    "MissingExtra",
    "PositionsLost",
    "RebuildRunning",
    "SchemaTooNew",
    "SchemaTooOld",
    "WebhookSecretMissing",
]


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


class BrokerMisconfigured(ConfigError, Permanent):
    """The Kafka or Redpanda broker answers, but its topics or rights are not as they must be."""

    code = "broker_misconfigured"


class PositionsLost(ConfigError, Permanent):
    """A topic does not hold what comes next, so events would be skipped or read twice."""

    code = "positions_lost"

    def __init__(self, where: str, wanted: int, first: int, end: int) -> None:
        """Show which offset comes next and which ones there are; `end` is the one after the last.

        where: topic and partition.
        """
        super().__init__(
            f"{where} holds the offsets {first} to {end - 1}, and {wanted} comes next.",
            hint="The topic was made anew, or messages were deleted before they were read. Start "
            "one worker with --skip-missing, then send again what is missing: duplicates do no "
            "harm.",
            where=where,
            wanted=wanted,
            first=first,
            end=end,
        )


class RebuildRunning(ConfigError, Transient):
    """Another process makes the tables again; two at once would be in each other's way."""

    code = "rebuild_running"

    def __init__(self) -> None:
        """There is nothing to tell but that it is so."""
        super().__init__(
            "Another rebuild is running.", hint="Wait for it; one that was stopped is no hindrance."
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


class WebhookSecretMissing(ConfigError):
    """Deliveries to a webhook are refused, because no secret is there to tell who sends them."""

    code = "webhook_secret_missing"

    def __init__(self, source: str, given: str) -> None:
        """Name the source, and what to set."""
        super().__init__(
            f"No signing secret is configured for source {source!r}, so nothing is accepted.",
            hint=f"Set STRIPE_WEBHOOK_SECRET={given} and start again; Stripe shows the secret "
            "beside the endpoint.",
            source=source,
        )
