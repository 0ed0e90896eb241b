"""A program that reads a fake Stripe into the books, to be killed while it does.

``python -m tests.support.sync_program URL STRIPE`` prints a line at each step, and the outcome at
the end. Chunks and batches are small, so that there are many moments to be killed in.
"""

from __future__ import annotations

import json
import sys

from tests.support.import_program import BOOKS, small_steps
from tests.support.stripe_account import KEY, clock
from tidemill.bus import PostgresBus
from tidemill.connectors.stripe.client import StripeClient, Throttle
from tidemill.database import connect
from tidemill.sync import Asked, Into, sync_stripe

__all__ = ["main"]


def main(url: str, stripe: str) -> None:
    """Read the account and say how far it is."""
    small_steps()
    print("begins", flush=True)
    with (
        connect(url, migrate=False) as database,
        StripeClient(KEY, base_url=stripe, throttle=Throttle(0)) as client,
    ):
        done = sync_stripe(
            Into(database, PostgresBus(database), BOOKS),
            client,
            Asked(),
            progress=lambda step: print(step.doing, flush=True),
            clock=clock,
        )
    print("done", json.dumps(done.document(), default=str), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
