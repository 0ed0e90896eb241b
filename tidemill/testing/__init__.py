"""Stand-ins for the clouds of billing systems, for tests and for trying things out.

They stop at the HTTP edge: whoever talks to one uses the real client, over a real socket.
"""

from __future__ import annotations
