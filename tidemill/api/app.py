"""The application: routes, health, errors as problem documents."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy import literal, select
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from tidemill.api.answers import answer
from tidemill.api.attributes import attribute_routes
from tidemill.api.errors import MEDIA_TYPE, problem, problem_of, status_of
from tidemill.api.receiving import Receiving
from tidemill.api.routes import metric_routes
from tidemill.api.segments import segment_routes
from tidemill.api.sources import source_routes
from tidemill.api.watching import watching_routes
from tidemill.api.webhooks import PATH, webhook_routes
from tidemill.bus import PostgresBus
from tidemill.engine import Tidemill
from tidemill.errors import SchemaTooNew, SchemaTooOld, TidemillError
from tidemill.heartbeat import heard
from tidemill.metrics.result import utc_text
from tidemill.migrations.schema import SchemaState, schema_state
from tidemill.monitoring import lag_s
from tidemill.problems import Problem
from tidemill.sync.reconciliations import latest

__all__ = ["LOOPBACK_NAMES", "create_app"]

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]", "::1")
"""What a caller on this machine may call us."""

# No more requests at once than the pool has connections: the others wait their turn.
_THREADS: Final = 10

_log = logging.getLogger("uvicorn.error")


def create_app(
    tidemill: Tidemill,
    *,
    hosts: Sequence[str] = LOOPBACK_NAMES,
    receiving: Receiving | None = None,
    watched: PostgresBus | None = None,
) -> FastAPI:
    """The API over an open Tidemill, which stays the caller's to close.

    hosts:     names under which it may be called. Without this check any web page could have a name
               of its own point here and read the books through the visitor's browser.
    receiving: how webhooks are received; without it every delivery is refused.
    watched:   the bus of the books that `/metrics` tells of; without it there is no such route.
    """
    receiving = receiving or Receiving()
    app = _Api(
        title="Tidemill",
        version=version("tidemill"),
        summary="Subscription analytics you can check, down to the event behind each number.",
        lifespan=_lifespan,
        redoc_url=None,
    )
    app.add_middleware(_HostCheck, allowed_hosts=list(hosts), www_redirect=False)
    app.add_exception_handler(TidemillError, _refused)
    app.add_exception_handler(RequestValidationError, _not_readable)
    app.add_exception_handler(HTTPException, _not_there)
    app.add_exception_handler(Exception, _defect)
    # Routes are tried in turn, and there are many: the one that is called most comes first.
    app.include_router(webhook_routes(receiving))
    _health(app, tidemill)
    if watched is not None:
        app.include_router(watching_routes(tidemill.database, watched))
    app.include_router(attribute_routes(tidemill))
    app.include_router(segment_routes(tidemill))
    app.include_router(metric_routes(tidemill))
    app.include_router(source_routes(tidemill.database, receiving))
    app.get("/", include_in_schema=False)(_welcome)
    return app


def _welcome() -> Response:
    """Somebody opened the address in a browser."""
    return RedirectResponse("/docs")


class _HostCheck(TrustedHostMiddleware):
    """The check of names; not for webhooks, which come from outside and are signed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PATH):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The description; problems are given their own media type, which FastAPI cannot."""
        fresh = self.openapi_schema is None
        described = super().openapi()
        if fresh:
            operations = (each for path in described["paths"].values() for each in path.values())
            for operation in operations:
                # Whatever is wrong with a request is said with a 400.
                operation["responses"].pop("422", None)
                for response in operation["responses"].values():
                    content = response.get("content", {})
                    if MEDIA_TYPE in content:
                        content[MEDIA_TYPE] = content.pop("application/json")
            for unused in ("HTTPValidationError", "ValidationError"):
                described["components"]["schemas"].pop(unused, None)
        return described


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    yield


def _health(app: FastAPI, tidemill: Tidemill) -> None:
    def alive() -> Response:
        """Whether the process answers."""
        return answer({"status": "ok"})

    def ready() -> Response:
        """Whether questions can be answered: the database is there, and its schema fits."""
        with tidemill.database.connect() as connection:
            connection.execute(select(literal(1)))
        state = schema_state(tidemill.database.engine)
        if state is SchemaState.BEHIND:
            raise SchemaTooOld(None, "the newest")
        if state is SchemaState.AHEAD:
            raise SchemaTooNew("unknown", "the newest")
        with tidemill.database.connect() as connection:
            lag = lag_s(connection, PostgresBus(tidemill.database))
            workers = [
                {"name": each.name, "heard_s_ago": round(each.age_s, 1), "trouble": each.trouble}
                for each in heard(connection)
            ]
            compared = [
                {**each, "compared_at": utc_text(each["compared_at"])}
                for each in latest(connection)
            ]
        return answer(
            {
                "status": "ready",
                "lag_s": round(lag, 1),
                "workers": workers,
                "comparisons": compared,
            }
        )

    for path in ("/healthz", "/health", "/health/live"):
        app.get(path, tags=["health"], include_in_schema=path == "/healthz")(alive)
    for path in ("/readyz", "/health/ready"):
        app.get(path, tags=["health"], include_in_schema=path == "/readyz")(ready)


# --- errors ---------------------------------------------------------------------------------------


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, TidemillError)
    return answer(problem_of(error), status_of(type(error)), MEDIA_TYPE)


def _not_readable(_: Request, error: Exception) -> Response:
    """A body that is no JSON object; everything else is checked by the engine."""
    assert isinstance(error, RequestValidationError)
    problems = [
        Problem(".".join(str(part) for part in each["loc"]), str(each["msg"])).document()
        for each in error.errors()
    ]
    document = problem(
        HTTPStatus.BAD_REQUEST,
        "The request cannot be read",
        code="invalid_request",
        detail="The request cannot be read.",
        errors=problems,
    )
    return answer(document, HTTPStatus.BAD_REQUEST, MEDIA_TYPE)


def _not_there(_: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    document = problem(
        status,
        status.phrase,
        code=status.name.lower(),
        detail=f"{error.detail}.",
        hint="See /docs.",
    )
    return answer(document, status, MEDIA_TYPE)


def _defect(request: Request, error: Exception) -> Response:
    """A defect of ours: the server's log says where, the caller only that there is one."""
    _log.error("defect at %s %s", request.method, request.url.path, exc_info=error)
    document: dict[str, Any] = problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "A defect of Tidemill",
        code="internal_error",
        detail="A defect of Tidemill stopped the answer.",
        hint="The server's log says where; please report it.",
    )
    return answer(document, HTTPStatus.INTERNAL_SERVER_ERROR, MEDIA_TYPE)
