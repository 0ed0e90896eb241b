"""The topics: their names and settings, and the brokers' errors in our words."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tidemill.bus.log import PARTITIONS
from tidemill.errors import BrokerMisconfigured, BrokerUnreachable, ConfigError

__all__ = [
    "NOT_THERE",
    "TOPIC",
    "as_error",
    "client_settings",
    "create_topics",
    "dead_letters",
    "ends_of",
]

TOPIC: Final = "tidemill.events"
"""Events on their way into the log, unless the settings name another topic."""

_COPIES: Final = 3
_TIMEOUT_S: Final = 15.0
_DAY_MS: Final = 86_400_000

_SETTINGS: Final = {
    "cleanup.policy": "delete",
    # The log keeps events for good; the topic only has to outlive an outage of the workers.
    "retention.ms": str(30 * _DAY_MS),
    # When an event was learned is when the brokers took it, not what a producer's clock says.
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(8 * 1024 * 1024),
}


def dead_letters(topic: str) -> str:
    """Where copies of everything quarantined go, for whoever watches topics."""
    return f"{topic}.dlq"


def client_settings(servers: str) -> dict[str, Any]:
    """What every client is told: where the brokers are, and to keep its complaints to itself."""
    # Errors reach the caller as exceptions; librdkafka would print them on standard error as well.
    return {"bootstrap.servers": servers, "client.id": "tidemill", "log_level": 0}


def create_topics(servers: str, topic: str = TOPIC) -> tuple[str, ...]:
    """Make the topics that are not there yet; the names of those that were made.

    With three brokers or more each event is kept by three and acknowledged by two.
    Raises: BrokerUnreachable; BrokerMisconfigured when the topic is there with another number of
            partitions, or may not be made.
    """
    admin = AdminClient(client_settings(servers))
    try:
        cluster = admin.list_topics(timeout=_TIMEOUT_S)
    except KafkaException as error:
        raise as_error(error.args[0], servers) from None
    there = cluster.topics.get(topic)
    if there is not None and len(there.partitions) != PARTITIONS:
        raise BrokerMisconfigured(
            f"The topic {topic} has {len(there.partitions)} partitions; it needs {PARTITIONS}.",
            hint="Let its events be applied, delete it, and run `tidemill migrate` again.",
        )
    copies = min(_COPIES, len(cluster.brokers))
    settings = _SETTINGS | {"min.insync.replicas": str(max(1, copies - 1))}
    missing = [name for name in (topic, dead_letters(topic)) if name not in cluster.topics]
    made = (
        admin.create_topics(
            [NewTopic(name, PARTITIONS, copies, config=settings) for name in missing]
        )
        if missing
        else {}
    )
    for future in made.values():
        try:
            future.result(timeout=_TIMEOUT_S)
        except KafkaException as error:
            # Somebody else may have been faster.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise as_error(error.args[0], servers) from None
    return tuple(missing)


def ends_of(servers: str, topic: str) -> dict[int, int]:
    """Where each partition ends now; asked without becoming a reader, who would get partitions.

    Raises: BrokerUnreachable, BrokerMisconfigured.
    """
    asking = Consumer(client_settings(servers) | {"group.id": topic})
    parts = (TopicPartition(topic, part) for part in range(PARTITIONS))
    try:
        return {
            each.partition: asking.get_watermark_offsets(each, timeout=_TIMEOUT_S)[1]
            for each in parts
        }
    except KafkaException as error:
        raise as_error(error.args[0], servers) from None
    finally:
        asking.close()


NOT_THERE: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - this is its public name
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - and this
    }
)
"""What a client says of a topic that is not there, or that a starting broker does not know yet."""

# What a client says when it is the set-up that is wrong, and waiting will not help.
_OF_THE_SETUP: Final = NOT_THERE | {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.POLICY_VIOLATION,
}


def as_error(error: KafkaError, servers: str) -> ConfigError:
    """What a broker or client complains of, as an error of ours."""
    if error.code() in _OF_THE_SETUP:
        return BrokerMisconfigured(
            f"The broker at {servers} refuses: {error.str()}.",
            hint="Run `tidemill migrate`, which makes the topics; check the rights of the client.",
        )
    return BrokerUnreachable(servers, f"{error.str()}.")
