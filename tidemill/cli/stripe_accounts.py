"""Which key opens which Stripe account: a source may have one of its own, or share the only one."""

from __future__ import annotations

from tidemill.cli.output import note
from tidemill.connectors.stripe.accounts import source_account
from tidemill.connectors.stripe.client import StripeClient, Throttle
from tidemill.errors import ApiKeyMissing
from tidemill.settings import Settings

__all__ = ["client_for", "key_for"]

_VARIABLE = "STRIPE_API_KEY"


def key_for(settings: Settings, source: str, *, served: set[str] | None = None) -> str | None:
    """The key for a source, `stripe:acct_1` having that of `stripe`; None when there is none.

    A key that names no source is that of the source `stripe`. As the only one it is also that of
    any other.

    served: who else the only key may be for; anybody when None.
    """
    keys, (name, _) = settings.stripe_api_keys, source_account(source)
    shared = keys.get("stripe") if len(keys) == 1 and (served is None or name in served) else None
    return keys.get(name) or shared


def client_for(settings: Settings, source: str) -> StripeClient:
    """The way to the account of a source; a connected account's by the key of its platform.

    Close it when done.
    Raises: ApiKeyMissing.
    """
    key = key_for(settings, source)
    if key is None:
        raise ApiKeyMissing(_VARIABLE, None if not settings.stripe_api_keys else source)
    return StripeClient(
        key,
        base_url=settings.stripe_api_base,
        account=source_account(source)[1] or None,
        throttle=Throttle(settings.stripe_requests_per_second),
        waiting=_waiting,
    )


def _waiting(reason: str, pause_s: float) -> None:
    note(f"Stripe's API does not answer as it should ({reason}); trying again in {pause_s:.0f} s.")
