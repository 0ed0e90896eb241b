"""Sending messages, and the brokers' word on each of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from threading import Lock, Thread
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from tidemill.bus.kafka.messages import Outgoing
from tidemill.bus.kafka.topics import as_error, client_settings
from tidemill.errors import BrokerUnreachable

__all__ = ["Sender"]

_PRODUCER: Final[dict[str, Any]] = {
    # No loss, no duplicate and no reordering, also when the producer must try again.
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    "linger.ms": 2,
    "message.max.bytes": 8_388_608,
    # A topic that is not there after this long was never made.
    "topic.metadata.propagation.max.ms": 3_000,
    # A full queue makes `send` wait: back-pressure instead of memory.
    "queue.buffering.max.kbytes": 65_536,
}
# How often to look for words on messages. The client would wait by the clock of the day: for an
# hour, once that is set back by an hour.
_LOOK_S: Final = 0.002
# Its own threads wait by that clock, too, and nothing wakes them all: who is silent for so long is
# replaced by another. Where only the brokers were slow, messages are sent twice, and kept once.
_SILENT_S: Final = 5.0
# The client gives a message up by itself; this is for a client that hangs.
_GRACE_S: Final = 5.0
# How long freeing a client that has nothing to do takes at most.
_FREEING_S: Final = 1.0


class Sender:
    """A producer, connected when the first message is sent; any number of threads may send.

    One that does not answer is replaced, and its messages are sent again. One that says that it
    can send no more is replaced, too.
    """

    def __init__(self, servers: str, *, patience_s: float = 30.0) -> None:
        """patience_s: how long the brokers may take before the attempt is given up."""
        self._servers = servers
        self._patience_s = patience_s
        self._producer: Producer | None = None
        self._starting = Lock()

    def send(self, topic: str, messages: Sequence[Outgoing]) -> None:
        """Send messages, in order; they are on all brokers in sync when this returns.

        Raises: BrokerUnreachable; some of the messages may have arrived. BrokerMisconfigured.
        """
        deadline = time.monotonic() + self._patience_s + _GRACE_S
        while time.monotonic() < deadline:
            producer = self._connected()
            try:
                words = self._words(producer, topic, messages, deadline)
            except KafkaException as error:
                words = [error.args[0]]
            failure = next((word for word in words if word is not None), None)
            if failure is None and len(words) == len(messages):
                return
            if failure is None or failure.fatal():
                self._replace(producer)
            if failure is not None:
                raise as_error(failure, self._servers)
        raise BrokerUnreachable(self._servers, "it did not acknowledge the events in time.")

    def _connected(self) -> Producer:
        with self._starting:
            if self._producer is None:
                patience = {"delivery.timeout.ms": int(self._patience_s * 1000)}
                self._producer = Producer(client_settings(self._servers) | _PRODUCER | patience)
            return self._producer

    def close(self) -> None:
        """Let the producer go; whoever sends afterwards connects another."""
        with self._starting:
            kept, self._producer = [self._producer], None
        _freeing(kept, after_s=0).join(_FREEING_S)

    def _replace(self, producer: Producer) -> None:
        """Let the next one who sends connect another, unless somebody has already."""
        with self._starting:
            if self._producer is producer:
                self._producer = None
                # By then whoever sends with it has given it up.
                _freeing([producer], after_s=self._patience_s + _GRACE_S)

    def _words(
        self, producer: Producer, topic: str, messages: Sequence[Outgoing], deadline: float
    ) -> list[KafkaError | None]:
        """What the brokers say of each message; of some nothing, where the producer fell silent."""
        # Reports may come in whichever thread polls; adding to a list is one step.
        words: list[KafkaError | None] = []
        rest = deque(messages)
        heard, known = time.monotonic(), 0
        while len(words) < len(messages):
            self._hand_over(producer, topic, rest, words)
            now = time.monotonic()
            if producer.poll(0) or len(words) > known:
                heard, known = now, len(words)
            elif now > min(deadline, heard + _SILENT_S):
                break
            else:
                time.sleep(_LOOK_S)
        return words

    def _hand_over(
        self, producer: Producer, topic: str, rest: deque[Outgoing], words: list[KafkaError | None]
    ) -> None:
        """As many messages as there is room for; those are taken from the rest."""
        while rest:
            each = rest[0]
            try:
                producer.produce(
                    topic,
                    each.value,
                    each.key,
                    each.partition,
                    on_delivery=lambda error, _: words.append(error),
                    headers=list(each.headers),
                )
            except BufferError:
                return
            rest.popleft()


def _freeing(kept: list[Producer | None], *, after_s: float) -> Thread:
    """Free what is kept, in a thread that nobody has to wait for.

    Freeing a producer waits for the threads of its client, and those may hang for an hour.
    """

    def free() -> None:
        time.sleep(after_s)
        kept.clear()

    thread = Thread(target=free, name="freeing", daemon=True)
    thread.start()
    return thread
