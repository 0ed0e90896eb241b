"""The command line as a user has it: in a process of its own, or, faster, in this one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.support.known_book import as_lines
from tidemill.cli import main
from tidemill.database import Database

__all__ = ["Cli", "Inside", "Prompt", "clean_environment", "inside", "keep_known_book"]


def clean_environment() -> dict[str, str]:
    """The environment without any setting of ours."""
    ours = ("TIDEMILL_", "AUTH_", "DATABASE_URL", "CONNECTOR", "STRIPE_", "KAFKA_", "CLERK_")
    return {name: text for name, text in os.environ.items() if not name.startswith(ours)}


class Prompt(ABC):
    """Where commands are typed."""

    @abstractmethod
    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command that has ended, with what it printed."""

    def text(self, *arguments: str, stdin: str = "") -> str:
        """What a command prints that must succeed."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """The document that a command prints that must succeed."""
        return json.loads(self.text(*arguments, "--format", "json", stdin=stdin))


@dataclass(frozen=True)
class Cli(Prompt):
    """Runs `tidemill` as a process in a folder, on the embedded store below it."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        """Where its embedded store lives."""
        return self.folder / "data"

    def start(self, *arguments: str, **how: Any) -> subprocess.Popen[str]:
        """A running process; its standard streams are pipes unless `how` says otherwise."""
        program = Path(sys.executable).parent / "tidemill"
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        environment = clean_environment() | {"TIDEMILL_DATA_DIR": str(self.data_dir)}
        return subprocess.Popen(
            [str(program), *arguments],
            cwd=self.folder,
            env=environment | dict(self.settings),
            text=True,
            **pipes | how,
        )

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A process that has ended, with what it printed."""
        with self.start(*arguments) as process:
            stdout, stderr = process.communicate(stdin, timeout=120)
        assert "Traceback" not in stderr, stderr
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


@dataclass(frozen=True)
class Inside(Prompt):
    """Runs the command line in this process, on a database of a running server.

    url: empty where `settings` say where the data are.
    """

    folder: Path
    url: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command that has ended, with what it printed."""
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
        given = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
        where = {"TIDEMILL_DATABASE_URL": self.url} if self.url else {}
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(streams[0]),
            contextlib.redirect_stderr(streams[1]),
            patch("sys.stdin", given),
            patch.dict(os.environ, clean_environment() | where | dict(self.settings), clear=True),
        ):
            code = main(arguments)
        for stream in streams:
            stream.seek(0)
        stdout, stderr = (stream.read() for stream in streams)
        assert "internal_error" not in stderr, stderr
        return subprocess.CompletedProcess(arguments, code, stdout, stderr)


def inside(folder: Path, database: Database) -> Inside:
    """The command line on an open database of a test."""
    url = database.engine.url.set(drivername="postgresql")
    return Inside(folder, url.render_as_string(hide_password=False))


def keep_known_book(prompt: Prompt) -> None:
    """Import the book of `known_book`."""
    counts = prompt.json("import", "events", "-", stdin=as_lines())
    assert counts["applied"] == counts["read"] == 8
