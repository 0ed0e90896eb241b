"""Errors as the command line shows them: what is wrong, what to do, and the exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

import typer

from tidemill.errors import TidemillError
from tidemill.problems import Problem

__all__ = ["EXITS", "ExitCode", "exit_code_of", "usage_document", "wants_json", "written"]


class ExitCode(IntEnum):
    """How a command can end."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INCOMPLETE = 4


EXITS: Final[Mapping[str, ExitCode]] = MappingProxyType(
    {
        "tidemill_error": ExitCode.FAILED,
        "query_error": ExitCode.USAGE,
        "invalid_settings": ExitCode.USAGE,
        "statement_timed_out": ExitCode.FAILED,
        "database_unreachable": ExitCode.UNREACHABLE,
        "broker_unreachable": ExitCode.UNREACHABLE,
        "api_unreachable": ExitCode.UNREACHABLE,
        "embedded_server_error": ExitCode.UNREACHABLE,
        "missing_rate": ExitCode.INCOMPLETE,
        "cost_data_missing": ExitCode.INCOMPLETE,
    }
)
"""Error code → exit code. A code that is not listed has the exit code of its class's parent."""


def exit_code_of(error: TidemillError) -> ExitCode:
    """The exit code for an error: that of its class, or of the nearest class above it.

    >>> from tidemill.errors import EmbeddedLockStale, UnknownMetric
    >>> exit_code_of(UnknownMetric("mr")).value
    2
    """
    codes = (getattr(kind, "code", "") for kind in type(error).__mro__)
    return next(EXITS[code] for code in codes if code in EXITS)


def usage_document(error: typer.TyperException) -> dict[str, Any]:
    """The command line's own complaint in the shape of `TidemillError.document`."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "tidemill"
    hint = f"See `{path} --help`."
    if getattr(error, "option_name", "") in {"--database-url", "--config"}:
        hint = f"It stands before the command: tidemill {getattr(error, 'option_name', '')} …"
    return {"code": "usage", "detail": error.format_message(), "hint": hint, "errors": []}


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the arguments ask for JSON; also where they are wrong and cannot be parsed.

    >>> wants_json(["mrr", "--format", "json"]), wants_json(["mrr", "--format=csv"])
    (True, False)
    """
    return "--format=json" in arguments or ("--format", "json") in pairwise(arguments)


def written(document: Mapping[str, Any]) -> str:
    """An error document for people, its problems one a line."""
    lines = [f"error[{document['code']}]: {document['detail']}"]
    # A single problem already stands in the sentence above.
    if len(document["errors"]) > 1:
        lines += [f"  - {Problem(**each)}" for each in document["errors"]]
    if document["hint"]:
        lines.append(f"hint: {document['hint']}")
    return "\n".join(lines)
