"""The bus: the ordered, durable, replayable log of events. The contract is in `log`."""

from __future__ import annotations

from tidemill.bus.log import PARTITIONS, Appended, Bus, Delivery, Refused, partition_of
from tidemill.bus.postgres import PostgresBus
from tidemill.bus.refusal import REFUSALS, refusal

__all__ = [
    "PARTITIONS",
    "REFUSALS",
    "Appended",
    "Bus",
    "Delivery",
    "PostgresBus",
    "Refused",
    "partition_of",
    "refusal",
]
