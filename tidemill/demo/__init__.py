"""A coherent synthetic subscription business, as the Stripe events it would have sent.

For trying Tidemill without a billing system, for its benchmarks, and for its tests. The same seed
gives the same business, whatever the machine.
"""

from __future__ import annotations

from tidemill.demo.business import generate
from tidemill.demo.costs import costs
from tidemill.demo.rates import fx_rates

__all__ = ["costs", "fx_rates", "generate"]
