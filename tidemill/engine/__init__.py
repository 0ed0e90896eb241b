"""The engine: questions in, results out, and the one object that opens everything."""

from __future__ import annotations

from tidemill.engine.compare import CUSTOMERS_MAX
from tidemill.engine.comparison import Comparison
from tidemill.engine.core import MetricsEngine
from tidemill.engine.explanation import Explanation
from tidemill.engine.facade import Tidemill, choose_policy, connect
from tidemill.engine.handle import MetricHandle
from tidemill.engine.restatement import Restatement
from tidemill.engine.segments import Segments
from tidemill.engine.summary import Headline, Summary
from tidemill.engine.timeline import Timeline

__all__ = [
    "CUSTOMERS_MAX",
    "Comparison",
    "Explanation",
    "Headline",
    "MetricHandle",
    "MetricsEngine",
    "Restatement",
    "Segments",
    "Summary",
    "Tidemill",
    "Timeline",
    "choose_policy",
    "connect",
]
