"""A fake Stripe: an account in memory, behind an HTTP server that answers as Stripe's API does."""

from __future__ import annotations

from tidemill.testing.stripe.account import FakeAccount
from tidemill.testing.stripe.faults import Fault, Key
from tidemill.testing.stripe.server import FakeStripe, Seen

__all__ = ["FakeAccount", "FakeStripe", "Fault", "Key", "Seen"]
