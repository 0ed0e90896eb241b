"""`import tidemill`: the promised names, and next to no time."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tidemill
from tidemill import errors


def test_every_public_name_can_be_had() -> None:
    assert tidemill.__all__ == sorted(tidemill.__all__, key=lambda name: (name.islower(), name))
    for name in tidemill.__all__:
        assert getattr(tidemill, name) is not None
        assert name in dir(tidemill)
    assert tidemill.errors is errors
    assert tidemill.TidemillError is errors.TidemillError
    assert set(tidemill.__all__) >= {
        *("connect", "Tidemill", "MetricsEngine", "Metric", "QuerySpec"),
        *("Policy", "Result", "errors"),
    }


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        _ = tidemill.conect


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, tidemill; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {
        "sqlalchemy",
        "psycopg",
        "pydantic",
        "msgspec",
        "sqlglot",
        "pandas",
        "typer",
        "fastapi",
    }
    assert not heavy & set(loaded)


def test_an_engine_loads_no_optional_library() -> None:
    code = "import sys, tidemill.engine; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"sqlglot", "pandas", "polars", "pyarrow", "alembic", "babel"} & set(loaded)
