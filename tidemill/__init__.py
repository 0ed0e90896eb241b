"""Tidemill: subscription metrics one can check, down to the event behind each number.

::

    import tidemill

    t = tidemill.connect()  # the embedded database, or connect("postgresql://…")
    t.mrr.current(at="2025-06-30").money
    t.mrr.waterfall(start="2025-01-01", end="2025-06-30", by=["plan"]).to_pandas()
    t.explain("mrr", at="2025-06-30").behind

Names load when they are first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill import errors
    from tidemill.engine import MetricsEngine, Tidemill, connect
    from tidemill.errors import TidemillError
    from tidemill.metrics.base import Metric
    from tidemill.metrics.result import Result
    from tidemill.metrics.spec import QuerySpec
    from tidemill.policy import Policy

__all__ = [
    "Metric",
    "MetricsEngine",
    "Policy",
    "QuerySpec",
    "Result",
    "Tidemill",
    "TidemillError",
    "connect",
    "errors",
]

# Public name → the module it lives in.
_HOMES = {
    "Metric": "tidemill.metrics.base",
    "MetricsEngine": "tidemill.engine",
    "Policy": "tidemill.policy",
    "QuerySpec": "tidemill.metrics.spec",
    "Result": "tidemill.metrics.result",
    "Tidemill": "tidemill.engine",
    "TidemillError": "tidemill.errors",
    "connect": "tidemill.engine",
}


def __getattr__(name: str) -> Any:
    """Load a public name, or the package's own module of that name, on its first use."""
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in __all__:
        value = import_module(f"{__name__}.{name}")
    else:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, also those not loaded yet."""
    return sorted({*globals(), *__all__})
