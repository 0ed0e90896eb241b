"""What is watched: how far the tables are behind the log, who works on it, what waits for people.

`figures` reads it in one go; `exposition` writes it in Prometheus' text format
(https://prometheus.io/docs/instrumenting/exposition_formats/).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, func, select

from tidemill import quarantine
from tidemill.bus import PostgresBus
from tidemill.heartbeat import heard, memory_peak_bytes
from tidemill.models import delivery
from tidemill.worker import CONSUMER

__all__ = ["MEDIA_TYPE", "Figure", "exposition", "figures", "lag_s"]

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_HELP: Final[dict[str, tuple[str, str]]] = {
    "tidemill_log_pending_events": ("gauge", "Events of the log that are not applied yet."),
    "tidemill_log_lag_seconds": ("gauge", "Since when the oldest of them was known; 0: none is."),
    "tidemill_inbox_pending_deliveries": ("gauge", "Webhooks that are not taken in yet."),
    "tidemill_quarantine_waiting": ("gauge", "Pieces of input kept aside with their reasons."),
    "tidemill_workers": ("gauge", "Workers that were heard of in the last half minute."),
    "tidemill_worker_heartbeat_age_seconds": ("gauge", "Since when a worker was not heard of."),
    "tidemill_worker_troubled": ("gauge", "1 where something keeps a worker from working."),
    "tidemill_worker_applied_events_total": ("counter", "Events applied since it started."),
    "tidemill_worker_quarantined_events_total": ("counter", "Events quarantined since then."),
    "tidemill_worker_batches_total": ("counter", "Batches applied since then."),
    "tidemill_worker_memory_peak_bytes": ("gauge", "The most memory it ever had resident."),
    "tidemill_api_memory_peak_bytes": ("gauge", "The same of the process that answers."),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that is watched, under a name of `_HELP`."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def figures(connection: Connection, bus: PostgresBus) -> Iterator[Figure]:
    """Every figure of these books and of this process; figures of one name stand together."""
    yield Figure("tidemill_log_pending_events", bus.pending(connection, CONSUMER))
    yield Figure("tidemill_log_lag_seconds", lag_s(connection, bus))
    new = select(func.count()).where(delivery.c.state == "new")
    yield Figure("tidemill_inbox_pending_deliveries", connection.execute(new).scalar_one())
    yield Figure("tidemill_quarantine_waiting", quarantine.waiting(connection))
    workers = heard(connection)
    yield Figure("tidemill_workers", sum(not each.silent for each in workers))
    told = [
        {
            "heartbeat_age_seconds": each.age_s,
            "troubled": float(each.trouble is not None),
            "applied_events_total": each.applied,
            "quarantined_events_total": each.quarantined,
            "batches_total": each.batches,
            "memory_peak_bytes": each.memory_peak_bytes,
        }
        for each in workers
    ]
    for name in told[0] if told else ():
        for each, values in zip(workers, told, strict=True):
            yield Figure(f"tidemill_worker_{name}", values[name], {"worker": each.name})
    yield Figure("tidemill_api_memory_peak_bytes", memory_peak_bytes())


def lag_s(connection: Connection, bus: PostgresBus) -> float:
    """Since when the oldest event that is not applied yet was known, in seconds; 0 without one.

    By the server's clock, and cheap however many events wait. An event that brings the instant at
    which it was recorded counts from that.
    """
    since = connection.execute(select(func.clock_timestamp() - bus.oldest(CONSUMER))).scalar()
    return 0.0 if since is None else max(0.0, since.total_seconds())


def exposition(found: Iterable[Figure]) -> str:
    """The figures as Prometheus reads them."""
    lines: list[str] = []
    last = ""
    for each in found:
        if each.name != last:
            kind, said = _HELP[each.name]
            lines += [f"# HELP {each.name} {said}", f"# TYPE {each.name} {kind}"]
            last = each.name
        labels = ",".join(f'{name}="{_escaped(text)}"' for name, text in each.labels.items())
        lines.append(f"{each.name}{{{labels}}} {each.value:.15g}" if labels else _bare(each))
    return "\n".join(lines) + "\n"


def _bare(figure: Figure) -> str:
    return f"{figure.name} {figure.value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
