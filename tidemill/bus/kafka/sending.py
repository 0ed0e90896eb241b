"""Sending messages, and the brokers' word on each of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock
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
_POLL_S: Final = 0.05
# The client gives a message up by itself; this is for a client that hangs.
_GRACE_S: Final = 5.0


class Sender:
    """A producer, connected when the first message is sent; any number of threads may send."""

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
        producer = self._connected()
        # Reports may come in whichever thread polls; adding to a list is one step.
        words: list[KafkaError | None] = []
        deadline = time.monotonic() + self._patience_s + _GRACE_S
        for each in messages:
            self._hand_over(producer, topic, each, words)
        while len(words) < len(messages) and time.monotonic() < deadline:
            producer.poll(_POLL_S)
        failure = next((word for word in words if word is not None), None)
        if failure is not None:
            raise as_error(failure, self._servers)
        if len(words) < len(messages):
            raise BrokerUnreachable(self._servers, "it did not acknowledge the events in time.")

    def _connected(self) -> Producer:
        with self._starting:
            if self._producer is None:
                patience = {"delivery.timeout.ms": int(self._patience_s * 1000)}
                self._producer = Producer(client_settings(self._servers) | _PRODUCER | patience)
            return self._producer

    def _hand_over(
        self, producer: Producer, topic: str, each: Outgoing, words: list[KafkaError | None]
    ) -> None:
        while True:
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
                producer.poll(_POLL_S)
            except KafkaException as error:
                raise as_error(error.args[0], self._servers) from None
            else:
                return
