"""Whether a webhook delivery comes from Stripe: the `Stripe-Signature` header.

``t=1714000000,v1=5257a8…`` where v1 is the HMAC-SHA256 of ``1714000000.<body>`` under the whole
signing secret (stripe.md §2.3). Fifteen lines of the standard library; Stripe's own package would
bring a client of its whole API along, and lets signatures from the far future pass.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

__all__ = ["TOLERANCE_S", "refusal", "signed"]

TOLERANCE_S: Final = 300
"""How far the time in a signature may be from ours, either way. Each retry is signed anew."""

_SCHEME: Final = "v1"
_DIGITS_MAX: Final = 12


def refusal(header: str | None, body: bytes, secrets: Sequence[str], now: float) -> str | None:
    """Why a delivery is not believed to come from Stripe; None when it is.

    header:  the `Stripe-Signature`; None when there is none.
    body:    the bytes as they came.
    secrets: the signing secrets that are valid now, several while one is being replaced.
    now:     in Unix seconds.
    """
    if header is None:
        return "it carries no Stripe-Signature"
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value.encode() for name, _, value in parts if name == _SCHEME]
    when = times[0] if len(times) == 1 else ""
    if not given or not (when.isascii() and when.isdigit() and len(when) <= _DIGITS_MAX):
        return f"its Stripe-Signature has no time or no {_SCHEME} signature"
    expected = [_digest(secret, when, body) for secret in secrets]
    # Every pair is compared, each in constant time: how long it takes tells nothing.
    pairs = [hmac.compare_digest(one, other) for one in expected for other in given]
    if not any(pairs):
        return "no signature of it fits a signing secret"
    if abs(now - int(when)) > TOLERANCE_S:
        return f"it was signed more than {TOLERANCE_S} s from now; check the clock of this machine"
    return None


def signed(body: bytes, secret: str, at: int) -> str:
    """The header Stripe would send with a body at a time (Unix seconds): for tests and fakes."""
    return f"t={at},{_SCHEME}={_digest(secret, str(at), body).decode()}"


def _digest(secret: str, when: str, body: bytes) -> bytes:
    message = b".".join((when.encode(), body))
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest().encode()
