"""Runs one command line from its arguments to its exit code.

Whatever goes wrong comes out as `error[code]: …` and `hint: …` on standard error, and as JSON where
`--format json` was asked for. Nobody sees a traceback: a defect of ours is written to a file whose
name is shown.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import typer

from tidemill.cli.app import app
from tidemill.cli.errors import ExitCode, exit_code_of, usage_document, wants_json, written
from tidemill.cli.output import as_json, complain
from tidemill.errors import TidemillError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's own; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Being ended is no reason to leave a server running or a file behind.
    signal.signal(signal.SIGTERM, _ended_by_signal)
    for stream in (sys.stdout, sys.stderr):
        # What a terminal's encoding cannot show becomes an escape, never a failure.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    return _ended(given)


def _ended_by_signal(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _ended(arguments: list[str]) -> int:
    """The exit code of the command, after its errors have been reported."""
    command = typer.main.get_command(app)
    try:
        # Not standalone: it hands exceptions on, and the codes of those that only end the command.
        code = command.main(arguments, prog_name="tidemill", standalone_mode=False)
        return code if isinstance(code, int) else ExitCode.OK
    except TidemillError as error:
        return _reported(arguments, error.document(), exit_code_of(error))
    except typer.TyperException as error:
        # A group without a command has shown its help, and has nothing to add.
        if not error.format_message():
            return ExitCode.USAGE
        return _reported(arguments, usage_document(error), ExitCode.USAGE)
    except typer.Abort:
        return ExitCode.FAILED
    except Exception:  # noqa: BLE001 - the outermost frame: there is nobody to raise to
        return _reported(arguments, _defect(), ExitCode.FAILED)


def _reported(arguments: Sequence[str], document: dict[str, Any], code: ExitCode) -> ExitCode:
    complain(as_json(document) if wants_json(arguments) else written(document))
    return code


def _defect() -> dict[str, Any]:
    """What to say about an exception nobody planned for; its traceback goes to a file."""
    kind, error, _ = sys.exc_info()
    name = kind.__name__ if kind else "error"
    with tempfile.NamedTemporaryFile(
        "w", prefix="tidemill-", suffix=".log", encoding="utf-8", delete=False
    ) as log:
        log.write(traceback.format_exc())
    said = str(error).partition("\n")[0]
    return {
        "code": "internal_error",
        "detail": f"A defect of Tidemill: {name}{f': {said}' if said else ''}",
        "hint": f"Please report it with {log.name}, which says where it happened.",
        "errors": [],
    }
