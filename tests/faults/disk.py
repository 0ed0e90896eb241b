"""A small disk in memory, that can be filled and given room again; needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Disk", "NoDisk", "small_disk"]


class NoDisk(Exception):
    """None can be mounted here; the text says why."""


@dataclass(frozen=True)
class Disk:
    """A mounted disk."""

    place: Path

    def fill(self) -> None:
        """Leave not a byte."""
        with (self.place / "ballast").open("wb", buffering=0) as file:
            while free := os.statvfs(self.place).f_bavail * os.statvfs(self.place).f_frsize:
                with contextlib.suppress(OSError):
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, free)

    def relieve(self) -> None:
        """Give it room again."""
        (self.place / "ballast").unlink(missing_ok=True)


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Disk]:
    """A disk of so many megabytes at a place, until the block ends.

    Raises: NoDisk.
    """
    place.mkdir()
    options = f"size={megabytes}m,mode=0755"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoDisk("there is no `mount` here") from None
    if done.returncode:
        raise NoDisk(f"a small disk cannot be mounted: {done.stderr.strip()}")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
