"""Errors of reading from a billing system's API."""

from __future__ import annotations

from tidemill.errors.config import ConfigError
from tidemill.errors.ingest import IngestError
from tidemill.errors.root import Permanent, TidemillError, Transient

__all__ = [
    "ApiAccountRefused",
    "ApiKeyMissing",
    "ApiKeyRefused",
    "ApiKeyWrongMode",
    "ApiPermissionMissing",
    "ApiRequestRefused",
    "ApiUnreachable",
    "SyncUnderway",
    "VendorError",
]


class VendorError(TidemillError):
    """A billing system's API cannot be read, or not with the key that is configured."""

    code = "vendor_error"


class ApiKeyMissing(VendorError, ConfigError, Permanent):
    """No key for the billing system's API is configured."""

    code = "api_key_missing"

    def __init__(self, variable: str, source: str | None = None) -> None:
        """Name the setting that is missing; or the source that none of its keys is for."""
        problem = (
            f"{variable} is not set" if source is None else f"{variable} has none for {source}"
        )
        value = "a restricted key" if source is None else f"{source}=KEY, a restricted key"
        super().__init__(
            f"No API key is configured: {problem}.",
            hint=f"Set {variable} to {value} with read access; see "
            "docs/how-to/connect-stripe.md for the permissions it needs.",
            variable=variable,
        )


class ApiKeyRefused(VendorError, ConfigError, Permanent):
    """The billing system does not know the key, or it has expired."""

    code = "api_key_refused"

    def __init__(self, reason: str) -> None:
        """Show what the vendor said; the key itself is never part of it."""
        super().__init__(
            f"The API key is not accepted: {reason.rstrip('.')}.",
            hint="Check STRIPE_API_KEY: a revoked or rolled key must be replaced.",
            reason=reason,
        )


class ApiKeyWrongMode(VendorError, ConfigError, Permanent):
    """A test-mode key would be read into live books, or the reverse."""

    code = "api_key_wrong_mode"

    def __init__(self, *, key_is_live: bool, source: str) -> None:
        """Say which of the two is which."""
        key, books = ("live", "test") if key_is_live else ("test", "live")
        remedy = "leave out --test-mode" if key_is_live else "add --test-mode"
        super().__init__(
            f"The API key is of {key} mode, while the source {source!r} takes {books} mode for "
            "the books; nothing was read.",
            hint=f"Configure a key of {books} mode, or {remedy} and name another --source.",
            source=source,
        )


class ApiPermissionMissing(VendorError, ConfigError, Permanent):
    """The key may not read something that is needed."""

    code = "api_permission_missing"

    def __init__(self, permission: str, path: str) -> None:
        """Name the permission as the vendor's dashboard does."""
        super().__init__(
            f"The API key lacks the permission {permission!r}, which reading {path} needs.",
            hint="Edit the restricted key in Stripe's dashboard (Developers, API keys) and add "
            "it; what has been read so far is kept, so the same command goes on from there.",
            permission=permission,
            path=path,
        )


class ApiAccountRefused(VendorError, ConfigError, Permanent):
    """The key does not open the connected account that is to be read."""

    code = "api_account_refused"

    def __init__(self, account: str, reason: str) -> None:
        """Name the account, and show what the vendor said."""
        super().__init__(
            f"The API key does not open the account {account!r}: {reason.rstrip('.')}.",
            hint="Compare the account with those in the platform's dashboard (Connect): it may "
            "have another id, or have let go of the platform.",
            account=account,
            reason=reason,
        )


class ApiRequestRefused(VendorError, IngestError, Permanent):
    """The billing system refused a request; asking again would not help."""

    code = "api_request_refused"

    def __init__(self, path: str, status: int, reason: str, vendor_code: str = "") -> None:
        """Show the request, the HTTP status and what the vendor said."""
        super().__init__(
            f"GET {path} was refused ({status}): {reason}",
            hint="If the object was deleted meanwhile, run the same command again; else report "
            "this message.",
            path=path,
            status=status,
            vendor_code=vendor_code,
        )
        self.status = status
        self.vendor_code = vendor_code


class ApiUnreachable(VendorError, IngestError, Transient):
    """The billing system did not answer, or only with errors of its own, however often asked."""

    code = "api_unreachable"

    def __init__(self, path: str, reason: str, attempts: int) -> None:
        """Show the request, the last failure and how often it was tried."""
        super().__init__(
            f"GET {path} failed {attempts} times; the last time: {reason.rstrip('.')}.",
            hint="What has been read so far is kept; run the same command again later.",
            path=path,
            reason=reason,
            attempts=attempts,
        )


class SyncUnderway(VendorError, IngestError, Transient):
    """Another process is reading the same source."""

    code = "sync_underway"

    def __init__(self, source: str) -> None:
        """Name the source."""
        super().__init__(
            f"Another process is reading the source {source!r} already.",
            hint="Wait for it to end; two at once would only slow each other down.",
            source=source,
        )
