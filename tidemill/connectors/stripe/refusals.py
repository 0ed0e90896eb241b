"""What Stripe answers when it does not give what was asked for: try again, or an error of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import httpx
import msgspec

from tidemill.errors import (
    ApiAccountRefused,
    ApiKeyRefused,
    ApiPermissionMissing,
    ApiRequestRefused,
)

__all__ = ["why_again"]

_LONGEST_ORDERED_WAIT_S: Final = 120.0
_DECODER: Final = msgspec.json.Decoder(dict[str, Any])

_TOO_MANY: Final = 429
_CONFLICT: Final = 409
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_SERVER_ERROR: Final = 500
_NO_ACCOUNT: Final = "account_invalid"

# Stripe names permissions of restricted keys like `rak_subscription_read`; people see other words.
_RIGHT: Final = re.compile(r"'(?:rak_)?([a-z_]+)_(read|write)'")
_RESOURCES: Final = {
    "subscription_items": "Subscriptions",
    "subscription_schedules": "Subscriptions",
    "invoice_payments": "Invoices",
    "invoiceitems": "Invoices",
    "charges": "Charges and Refunds",
    "refunds": "Charges and Refunds",
    "core": "Events",
}


def why_again(path: str, answer: httpx.Response, account: str | None) -> tuple[str, float | None]:
    """Why to try again, and in how many seconds at the soonest, where Stripe says.

    account: the connected account that was asked of, if any.
    Raises: ApiKeyRefused, ApiAccountRefused, ApiPermissionMissing, ApiRequestRefused where asking
        again would not help.
    """
    problem = _problem(answer)
    said = str(problem.get("message") or answer.reason_phrase or "no reason given")
    status, code = answer.status_code, str(problem.get("code") or "")
    if status == _UNAUTHORIZED:
        raise ApiKeyRefused(_without_key(said))
    if status == _FORBIDDEN and account is not None and code == _NO_ACCOUNT:
        raise ApiAccountRefused(account, _without_key(said))
    if status == _FORBIDDEN:
        raise ApiPermissionMissing(_permission(path, said), path)
    wish = answer.headers.get("Stripe-Should-Retry")
    worth = status in {_TOO_MANY, _CONFLICT} or status >= _SERVER_ERROR
    if wish == "false" and status != _TOO_MANY:
        worth = False
    if not worth and wish != "true":
        raise ApiRequestRefused(path, status, _without_key(said), code)
    limit = answer.headers.get("Stripe-Rate-Limited-Reason")
    return f"{status} {limit or said}", _seconds(answer.headers.get("Retry-After"))


def _problem(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        problem = _DECODER.decode(answer.content).get("error")
    except msgspec.DecodeError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _seconds(header: str | None) -> float | None:
    """`Retry-After` in seconds; a date there, or nonsense, says nothing to us."""
    try:
        return None if header is None else min(max(float(header), 0.0), _LONGEST_ORDERED_WAIT_S)
    except ValueError:
        return None


def _permission(path: str, said: str) -> str:
    """The permission that is missing, in the dashboard's words.

    >>> _permission("/v1/credit_notes", "Having the 'rak_credit_note_read' permission would do.")
    'Credit notes: Read (rak_credit_note_read)'
    >>> _permission("/v1/charges", "No.")
    'Charges and Refunds: Read'
    """
    resource = path.split("/")[2] if path.count("/") > 1 else path
    named = _RESOURCES.get(resource, resource.replace("_", " ").capitalize())
    right = _RIGHT.search(said)
    return f"{named}: Read" + (f" (rak_{right[1]}_{right[2]})" if right else "")


def _without_key(said: str) -> str:
    """What Stripe said without the piece of the key it likes to repeat."""
    return re.sub(r"\b([sr]k)_(live|test)_\S+", r"\1_\2_…", said)
