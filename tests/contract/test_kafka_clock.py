"""A producer outlives the clock of the day being set back."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.clock import Clock
from tests.support.broker import Broker, broker_or_skip
from tidemill.bus.kafka.topics import create_topics

# Sends a message for each line it is told, and says so.
_PROGRAM: Final = """\
import sys
from tidemill.bus.kafka.messages import Outgoing
from tidemill.bus.kafka.sending import Sender

sender = Sender(sys.argv[1])
for line in sys.stdin:
    sender.send(line.strip(), [Outgoing(0, b"value", b"key")])
    print("sent", flush=True)
"""
_HOUR_S: Final = 3_600
# Longer than a producer may be silent, shorter than it would be.
_PATIENCE_S: Final = 40


@pytest.fixture
def running() -> Iterator[Broker]:
    with broker_or_skip() as started:
        yield started


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    made = Clock(tmp_path)
    if made.missing:
        pytest.skip(made.missing)
    return made


@pytest.fixture
def sending(running: Broker, clock: Clock) -> Iterator[subprocess.Popen[str]]:
    """Who sends, by that clock."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, running.servers],
        env={**os.environ, **clock.environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def _sends(sending: subprocess.Popen[str], topic: str) -> bool:
    """Whether a message is acknowledged before long."""
    assert sending.stdin is not None
    assert sending.stdout is not None
    sending.stdin.write(f"{topic}\n")
    sending.stdin.flush()
    said, _, _ = select.select([sending.stdout], [], [], _PATIENCE_S)
    return bool(said) and sending.stdout.readline() == "sent\n"


@pytest.mark.slow
def test_a_producer_sends_on_when_the_clock_was_set_back_while_the_broker_was_away(
    running: Broker, clock: Clock, sending: subprocess.Popen[str]
) -> None:
    for topic in ("one", "other"):
        create_topics(running.servers, topic)
    assert _sends(sending, "one")
    clock.set(_HOUR_S)
    # While there is nothing to do the client's threads look at the clock once a second.
    time.sleep(1.5)
    running.kill()
    time.sleep(1.5)
    clock.set(0)
    running.start()
    assert _sends(sending, "other")
    assert _sends(sending, "one")
