"""Errors of the PostgreSQL server that comes along."""

from __future__ import annotations

from pathlib import Path

from tidemill.errors.config import ConfigError

__all__ = [
    "EmbeddedDirectoryUnwritable",
    "EmbeddedDiskFull",
    "EmbeddedLockStale",
    "EmbeddedServerError",
    "EmbeddedVersionMismatch",
]


class EmbeddedServerError(ConfigError):
    """The embedded PostgreSQL server cannot be started or used."""

    code = "embedded_server_error"


class EmbeddedLockStale(EmbeddedServerError):
    """The lock of a server that does not answer is in the way; one of a dead server never is."""

    code = "embedded_lock_stale"

    def __init__(self, lock: Path, pid: int) -> None:
        """Name the lock file and the process to end."""
        super().__init__(
            f"The PostgreSQL server that holds {lock} does not answer (process {pid}).",
            hint=f"End it with `kill -QUIT {pid}`, then try again; nothing that was saved is lost.",
            lock=str(lock),
            pid=pid,
        )


class EmbeddedDiskFull(EmbeddedServerError):
    """There is no space left where the embedded database lives."""

    code = "embedded_disk_full"

    def __init__(self, data_dir: Path) -> None:
        """Name the directory."""
        super().__init__(
            f"The disk that holds {data_dir} is full.",
            hint="Free some space, or set TIDEMILL_DATA_DIR to another disk.",
            data_dir=str(data_dir),
        )


class EmbeddedVersionMismatch(EmbeddedServerError):
    """The data directory was made by another major version of PostgreSQL."""

    code = "embedded_version_mismatch"

    def __init__(self, data_dir: Path, found: str, needed: str) -> None:
        """Name the directory and both versions."""
        super().__init__(
            f"{data_dir} holds a database of PostgreSQL {found}; this program brings {needed}.",
            hint="Set TIDEMILL_DATA_DIR to an empty directory and import again, "
            "or use the Tidemill version that made it.",
            data_dir=str(data_dir),
            found=found,
            needed=needed,
        )


class EmbeddedDirectoryUnwritable(EmbeddedServerError):
    """The data directory cannot be created or written to."""

    code = "embedded_directory_unwritable"

    def __init__(self, data_dir: Path, reason: str) -> None:
        """Name the directory and what the system said."""
        super().__init__(
            f"{data_dir} cannot be written to: {reason}",
            hint="Change its permissions, or set TIDEMILL_DATA_DIR to a directory of yours.",
            data_dir=str(data_dir),
            reason=reason,
        )
