"""The bus as a Kafka or Redpanda topic in front of the event log; needs ``tidemill[kafka]``."""

from __future__ import annotations

from tidemill.errors import MissingExtra

try:
    from tidemill.bus.kafka.bus import KafkaBus
    from tidemill.bus.kafka.topics import TOPIC, create_topics, dead_letters
except ModuleNotFoundError as error:
    if error.name is None or not error.name.startswith("confluent_kafka"):
        raise
    raise MissingExtra("kafka", "The Kafka bus") from None

__all__ = ["TOPIC", "KafkaBus", "create_topics", "dead_letters"]
