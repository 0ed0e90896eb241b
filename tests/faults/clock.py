"""A clock of their own for the processes of a run, that jumps when it is told to."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["Clock"]

_SOURCE: Final = Path(__file__).with_name("clock.c")


class Clock:
    """How far the clock of processes is from that of the machine.

    missing: why there is no such clock here; empty when there is.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._library = folder / "clock.so"
        self.set(0)
        self.missing = self._make()

    def set(self, seconds: int) -> None:
        """Let it differ by so much from now on."""
        # In place: processes have mapped this very file.
        with self._file.open("r+b" if self._file.exists() else "w+b", buffering=0) as file:
            file.write(struct.pack("=q", seconds))

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to live by it."""
        if self.missing:
            return {}
        return {"LD_PRELOAD": str(self._library), "TIDEMILL_TEST_CLOCK": str(self._file)}

    def _make(self) -> str:
        if sys.platform != "linux":
            return "clocks can be set for one process on Linux only"
        compiler = shutil.which("cc")
        if compiler is None:
            return "there is no C compiler (`cc`) to make a clock with"
        command = [compiler, "-O1", "-shared", "-fPIC", str(_SOURCE), "-o", str(self._library)]
        done = subprocess.run([*command, "-ldl"], capture_output=True, text=True, check=False)
        return f"the clock cannot be compiled: {done.stderr.strip()}" if done.returncode else ""
