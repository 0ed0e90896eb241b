"""Errors as problem documents (RFC 9457), and the HTTP status of every error code."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from tidemill.errors import TidemillError

__all__ = ["MEDIA_TYPE", "STATUS", "problem", "problem_of", "status_of"]

MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final[Mapping[str, HTTPStatus]] = MappingProxyType(
    {
        "tidemill_error": HTTPStatus.INTERNAL_SERVER_ERROR,
        # The question is at fault.
        "query_error": HTTPStatus.BAD_REQUEST,
        "unknown_metric": HTTPStatus.NOT_FOUND,
        "unknown_question": HTTPStatus.NOT_FOUND,
        "unknown_quarantined": HTTPStatus.NOT_FOUND,
        "unknown_attribute": HTTPStatus.NOT_FOUND,
        "unknown_segment": HTTPStatus.NOT_FOUND,
        "ingest_error": HTTPStatus.BAD_REQUEST,
        "signature_refused": HTTPStatus.UNAUTHORIZED,
        "body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        # The question is fine, the data do not suffice for a whole answer.
        "missing_rate": HTTPStatus.CONFLICT,
        "cost_data_missing": HTTPStatus.CONFLICT,
        # Tidemill is at fault.
        "definition_error": HTTPStatus.INTERNAL_SERVER_ERROR,
        # Its surroundings are.
        "config_error": HTTPStatus.SERVICE_UNAVAILABLE,
        "invalid_settings": HTTPStatus.INTERNAL_SERVER_ERROR,
        "missing_extra": HTTPStatus.NOT_IMPLEMENTED,
        "statement_timed_out": HTTPStatus.GATEWAY_TIMEOUT,
        "database_full": HTTPStatus.INSUFFICIENT_STORAGE,
    }
)
"""Error code → HTTP status. A code that is not listed has the status of its class's parent."""


def status_of(kind: type[TidemillError]) -> HTTPStatus:
    """The HTTP status of an error class: its own, or that of the nearest class above it.

    >>> from tidemill.errors import InvalidPolicy, UnknownMetric
    >>> int(status_of(UnknownMetric)), int(status_of(InvalidPolicy))
    (404, 400)
    """
    codes = (getattr(each, "code", "") for each in kind.__mro__)
    return next(STATUS[code] for code in codes if code in STATUS)


def problem_of(error: TidemillError) -> dict[str, Any]:
    """The problem document of one of our errors."""
    title = (type(error).__doc__ or "").partition("\n")[0].rstrip(".")
    return problem(status_of(type(error)), title, **error.document())


def problem(
    status: int, title: str, *, code: str, detail: str, hint: str = "", errors: Any = ()
) -> dict[str, Any]:
    """A problem document from its parts; `title` is the same for every problem of a kind."""
    return {
        "type": f"urn:tidemill:error:{code}",
        "title": title,
        "status": int(status),
        "code": code,
        "detail": detail,
        "hint": hint,
        "errors": list(errors),
    }
