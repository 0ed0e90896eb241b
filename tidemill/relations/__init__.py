"""The named row shapes that every metric derives from, and their core-table implementation.

A *relation* is a ``FromClause`` with fixed columns (listed in `COLUMNS`). The core tables provide
them here; a database connector provides the same shapes over a billing engine's own tables. The
ledger and the metrics know nothing else about where data comes from, which is what makes both ways
in one engine.

Rules that hold for every provider:

- instants are ``timestamptz``; money is exact ``numeric`` in minor units of the row's currency;
  currencies are upper-case ISO 4217;
- test-mode rows are absent;
- a ``*_id`` is a ``bigint`` key, unique inside its relation; vendor ids are text.
"""

from tidemill.relations.billing import latest_first
from tidemill.relations.core import core_relations
from tidemill.relations.shapes import COLUMNS, Relations

__all__ = ["COLUMNS", "Relations", "core_relations", "latest_first"]
