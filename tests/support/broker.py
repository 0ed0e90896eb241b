"""A real Kafka broker for tests: one process in KRaft mode, its jars from Maven Central.

``python -m tests.support.broker`` (`make kafka`) runs one until Ctrl-C.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import platformdirs
import pytest

__all__ = ["Broker", "Unavailable", "broker", "broker_or_skip"]

_POM: Final = Path(__file__).with_name("kafka") / "pom.xml"
# Where the jars stay between runs; another version in the POM is another folder.
_CACHE: Final = platformdirs.user_cache_path("tidemill-tests") / "kafka"
_STARTING_S: Final = 180
_STOPPING_S: Final = 30

_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


class Unavailable(Exception):
    """What a broker needs is not on this machine; the text says what."""


@dataclass
class Broker:
    """A broker in a folder of its own; it can be killed and started again."""

    folder: Path
    port: int
    controller: int
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def servers(self) -> str:
        """Its address, as ``KAFKA_BOOTSTRAP_SERVERS`` takes it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self.folder / "broker.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [*_java("-Xms128m", "-Xmx512m"), "kafka.Kafka", str(self._properties)],
                stdout=out,
                stderr=out,
            )
        deadline = time.monotonic() + _STARTING_S
        while not _answers(self.port):
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"no answer within {_STARTING_S} s: {log}"
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, by default in good order, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_STOPPING_S)
            self._process = None

    def kill(self) -> None:
        """End it as a power cut would."""
        self.stop(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send it a signal, such as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)

    def prepare(self) -> None:
        """Write its settings and an empty store."""
        text = _PROPERTIES.format(folder=self.folder, port=self.port, controller=self.controller)
        self._properties.write_text(text, encoding="utf-8")
        command = [*_java(), "kafka.tools.StorageTool", "format", "-c", str(self._properties)]
        # Any 16 bytes in URL-safe base 64 name a cluster.
        subprocess.run([*command, "-t", "dGlkZW1pbGwtdGVzdHMtMQ"], check=True, capture_output=True)

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"


@contextmanager
def broker() -> Iterator[Broker]:
    """A broker with no topics, until the block ends.

    Raises: Unavailable when Java or Maven is missing, or the jars cannot be had.
    """
    _fetch()
    with tempfile.TemporaryDirectory(prefix="kafka-") as folder:
        made = Broker(Path(folder), _free_port(), _free_port())
        made.prepare()
        made.start()
        try:
            yield made
        finally:
            made.stop()


@contextmanager
def broker_or_skip() -> Iterator[Broker]:
    """The same for a test, which is skipped where there can be none."""
    with ExitStack() as around:
        try:
            running = around.enter_context(broker())
        except Unavailable as missing:
            pytest.skip(f"no Kafka broker: {missing}")
        yield running


def _java(*options: str) -> list[str]:
    return ["java", *options, "-XX:+UseSerialGC", "-cp", f"{_jars()}/*"]


def _jars() -> Path:
    version = _POM.read_text(encoding="utf-8").partition("<version>4")[2].partition("<")[0]
    return _CACHE / f"4{version}"


def _fetch() -> None:
    """Bring the jars to this machine, once."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not installed")
    jars = _jars()
    if jars.is_dir():
        return
    jars.parent.mkdir(parents=True, exist_ok=True)
    # Into another folder first: half a set of jars must not be taken for a whole one.
    with tempfile.TemporaryDirectory(dir=jars.parent) as scratch:
        target = Path(scratch) / "jars"
        command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
        options = [f"-DoutputDirectory={target}", "-DincludeScope=runtime"]
        done = subprocess.run([*command, *options], check=False, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"Maven cannot get the broker's jars: {done.stdout[-500:]}")
        if not jars.is_dir():
            target.rename(jars)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    with broker() as running:
        print(f"export KAFKA_BOOTSTRAP_SERVERS={running.servers}   # Ctrl-C stops the broker")
        try:
            signal.pause()
        except KeyboardInterrupt:
            print()
