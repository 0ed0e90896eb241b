"""Below the engine nothing knows what time it is, rolls dice or sees the environment.

"Now", randomness and settings are arguments there, so the same call gives the same number forever.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.source import PACKAGE, Module, modules
from tests.architecture.test_layers import rank

# The first layer that may look at the clock: the engine and the worker.
_ENGINE = rank("engine")

IMPURE_CALLS = {
    "date.today", "datetime.now", "datetime.today", "datetime.utcnow",
    "time.localtime", "time.monotonic", "time.perf_counter", "time.sleep", "time.time",
    "func.clock_timestamp", "func.current_date", "func.current_timestamp", "func.now",
    "func.random", "os.getenv", "os.urandom", "uuid.uuid1", "uuid.uuid4", "uuid1", "uuid4",
}  # fmt: skip
IMPURE_NAMES = {"os.environ"}
IMPURE_IMPORTS = {"random", "secrets"}

# Where it must be so, and why.
EXCEPTIONS: dict[str, str] = {
    "tidemill.settings": "the one reader of the environment",
    "tidemill.embedded.cluster": "starting and stopping a server is waiting for it",
    "tidemill.embedded.system": "the programs of a server need an environment",
    "tidemill.database": "waiting for a server that restarts takes real time",
    "tidemill.models.facts": "when a row was written defaults to the database's clock",
    "tidemill.models.inbox": "when a row was written defaults to the database's clock",
    "tidemill.models.log": "when a row was written defaults to the database's clock",
    "tidemill.bus.appending": "the log stamps `recorded_at` when an event brings none",
    "tidemill.bus.kafka.bus": "finds what its own transaction quarantined by the database's clock",
    "tidemill.bus.kafka.reading": "waiting for brokers and messages takes real time",
    "tidemill.bus.kafka.sending": "waiting for the brokers' word takes real time",
    "tidemill.connectors.stripe.client": "asking again later takes real time, and some chance",
    "tidemill.quarantine": "keeps when an event was set aside",
}


def test_nothing_below_the_engine_is_impure() -> None:
    broken = [
        f"{module.where}:{line} {what} (pass it as an argument)"
        for module in modules()
        if 0 <= rank(module.room) < _ENGINE and module.name not in EXCEPTIONS
        for line, what in _impurities(module)
    ]
    assert not broken, "\n".join(broken)


def test_exceptions_are_needed() -> None:
    known = {module.name: module for module in modules()}
    idle = [name for name in EXCEPTIONS if name in known and not any(_impurities(known[name]))]
    assert not idle, f"these are pure now, remove their exception: {idle}"


def test_only_settings_and_the_embedded_server_see_the_environment() -> None:
    allowed = {f"{PACKAGE}.settings", f"{PACKAGE}.embedded.system"}
    broken = [
        f"{module.where}:{line} {what}"
        for module in modules()
        if module.name not in allowed
        for line, what in _impurities(module)
        if what in {"os.environ", "os.getenv"}
    ]
    assert not broken, "\n".join(broken)


def _impurities(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            called = ".".join(ast.unparse(node.func).split(".")[-2:])
            if called in IMPURE_CALLS:
                yield node.lineno, called
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in IMPURE_NAMES:
            yield node.lineno, ast.unparse(node)
    for imported in module.imports():
        if imported.target.split(".")[0] in IMPURE_IMPORTS:
            yield imported.line, imported.target
