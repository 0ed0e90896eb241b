"""`/metrics`: what Prometheus scrapes, where the settings ask for it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.monitoring import MEDIA_TYPE, exposition, figures

__all__ = ["watching_routes"]


def watching_routes(store: Database, bus: PostgresBus) -> APIRouter:
    """The route over the books in `store`, whose events come by `bus`."""
    router = APIRouter()

    @router.get("/metrics", tags=["health"], response_class=Response)
    def watched() -> Response:
        """Lag, workers, quarantine and memory, in Prometheus' text format."""
        with store.snapshot() as connection:
            return Response(exposition(figures(connection, bus)), media_type=MEDIA_TYPE)

    return router
