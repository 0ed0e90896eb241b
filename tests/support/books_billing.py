"""Random invoices and payments of one subscription."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from tests.support.books_choices import Choices

__all__ = ["Billing", "Log", "written"]

_DELAYS: Final = (
    timedelta(0), timedelta(0), timedelta(0), timedelta(0), timedelta(hours=1), timedelta(days=2),
    timedelta(days=10), timedelta(days=40), timedelta(days=75), timedelta(days=-5),
)  # fmt: skip
_FATES: Final = (
    "none", "none", "paid", "paid", "paid later", "open", "uncollectible", "void", "draft",
    "partly", "for nothing",
)  # fmt: skip


def written(at: datetime) -> str:
    """An instant as events tell it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(slots=True)
class Log:
    """Collects the events of a book and numbers them."""

    choices: Choices
    events: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        owner: tuple[str, str],
        type: str,
        at: datetime,
        data: dict[str, Any],
        *,
        sequence: int | None = None,
    ) -> None:
        """Writes one event down; it may be recorded late, or announced before it is so."""
        recorded_at = at + self.choices.pick(_DELAYS)
        if sequence is None:
            # What is equal here is ordered by `recorded_at` and id.
            sequence = self.choices.pick((0, 0, 0, 1, 2))
        self.events.append(
            {
                "id": self.event_id(),
                "source": owner[0],
                "type": type,
                "occurred_at": written(at),
                "sequence": sequence,
                "recorded_at": written(recorded_at),
                "customer": owner[1],
                "livemode": not self.choices.chance(1),
                "data": data,
            }
        )

    def event_id(self) -> str:
        """The id of the next event."""
        return str(uuid5(NAMESPACE_URL, f"tidemill:book:{len(self.events)}"))

    def number(self, prefix: str) -> str:
        """An id that nothing else in this book has."""
        return f"{prefix}_{len(self.events)}"


@dataclass(slots=True)
class Billing:
    """The invoices of one subscription."""

    log: Log
    owner: tuple[str, str]
    subscription: str
    currency: str
    issued: set[datetime] = field(default_factory=set)
    silent: dict[str, bool] = field(default_factory=dict)
    """Whether the payments of an invoice do not name it, so that an allocation must."""

    @property
    def choices(self) -> Choices:
        """Where this book's choices come from."""
        return self.log.choices

    def bill(self, start: datetime, end: datetime) -> None:
        """The invoice of one billing period: none, or one of any fate, issued any time in it."""
        fate = self.choices.pick(_FATES)
        if fate == "none":
            return
        edges = (start, start, start + timedelta(hours=1), end, end - timedelta(seconds=1))
        issued_at = self._free(self.choices.pick(edges))
        amount = 0 if fate == "for nothing" else self.choices.pick((10, 100, 3))
        line = {"kind": "subscription", "amount": amount}
        invoice = self._invoice(issued_at, [line], start, end)
        if fate == "for nothing":
            self._tell("paid", issued_at, invoice, status="paid", paid_at=written(issued_at))
            return
        status = "draft" if fate == "draft" else "open"
        self._tell(
            "created" if status == "draft" else "finalized", issued_at, invoice, status=status
        )
        later = issued_at + timedelta(days=self.choices.pick((0, 1, 9, 40)))
        if fate == "partly":
            self._pay("succeeded", later, invoice, 1)
        elif fate in {"uncollectible", "void"}:
            type_ = "voided" if fate == "void" else fate
            self._tell(type_, later, invoice, status=fate)
        elif fate in {"paid", "paid later"}:
            paid_at = issued_at if fate == "paid" else later
            self._pay("succeeded", paid_at, invoice, amount)
            self._tell("paid", paid_at, invoice, status="paid", paid_at=written(paid_at))
            self._refund(paid_at, invoice, amount)

    def bill_usage(self, start: datetime) -> None:
        """Some usage invoices, at intervals of no particular length."""
        at = start
        for _ in range(self.choices.pick((0, 1, 2, 3, 5))):
            at = self._free(at + timedelta(days=self.choices.pick((30, 1, 12, 31, 70))))
            amounts = [
                self.choices.pick((100, 0, 7, 50, -60)) for _ in range(self.choices.pick((1, 2)))
            ]
            lines = [{"kind": "usage", "amount": amount} for amount in amounts]
            if self.choices.chance(30):
                lines.append({"kind": "subscription", "amount": 10})
            invoice = self._invoice(at, lines, None, None)
            status = self.choices.pick(("paid", "paid", "open", "uncollectible", "void", "draft"))
            paid_at = written(at) if status == "paid" else None
            self._tell("updated", at, invoice, status=status, paid_at=paid_at)

    def _free(self, at: datetime) -> datetime:
        """An instant at which this subscription has no invoice yet, so that the order is clear."""
        while at in self.issued:
            at += timedelta(seconds=1)
        self.issued.add(at)
        return at

    def _invoice(
        self,
        issued_at: datetime,
        lines: list[dict[str, Any]],
        start: datetime | None,
        end: datetime | None,
    ) -> dict[str, Any]:
        number = self.log.number("in")
        total = sum(line["amount"] for line in lines)
        named = self.choices.chance(50)
        return {
            "id": number,
            "subscription": self.subscription,
            "currency": self.currency,
            "subtotal": total,
            "tax": 0,
            "total": total,
            "issued_at": written(issued_at),
            "paid_at": None,
            "period_start": start and written(start),
            "period_end": end and written(end),
            "lines": [
                {"id": f"il_{place}", "subscription": self.subscription if named else None, **line}
                for place, line in enumerate(lines)
            ],
        }

    def _tell(self, label: str, at: datetime, invoice: dict[str, Any], **changes: Any) -> None:
        # The states of an invoice may share an instant and a sequence: terminal ones come last.
        terminal = changes["status"] in {"paid", "void", "uncollectible"}
        sequence = self.choices.pick((0, 1)) if terminal else 0
        self.log.add(self.owner, f"invoice.{label}", at, {**invoice, **changes}, sequence=sequence)

    def _refund(self, paid_at: datetime, invoice: dict[str, Any], amount: int) -> None:
        fates = ("none", "none", "none", "all", "some", "in two parts", "in vain", "disputed")
        fate = self.choices.pick(fates)
        at = paid_at + timedelta(days=self.choices.pick((0, 3, 20)))
        if fate in {"some", "in two parts"}:
            self._pay("refunded", at, invoice, 1)
        if fate in {"all", "in two parts"}:
            self._pay("refunded", at, invoice, amount if fate == "all" else amount - 1)
        back_at = at + timedelta(days=self.choices.pick((0, 4, 40)))
        if fate == "in vain":
            self._pay("refunded", at, invoice, amount)
            self._pay("refund_failed", back_at, invoice, self.choices.pick((amount, 1)))
        elif fate == "disputed":
            self._pay("disputed", at, invoice, amount)
            if self.choices.chance(50):
                self._pay("dispute_won", back_at, invoice, self.choices.pick((amount, 1)))

    def _pay(self, kind: str, at: datetime, invoice: dict[str, Any], amount: int) -> None:
        name, reference = invoice["id"], f"pi_{invoice['id']}"
        if name not in self.silent:
            self.silent[name] = self.choices.chance(30)
            if self.silent[name]:
                said_at = at + timedelta(days=self.choices.pick((0, -3, 5)))
                link = {"id": self.log.number("al"), "reference": reference, "invoice": name}
                self.log.add((self.owner[0], ""), "allocation.recorded", said_at, link)
        data = {
            "id": self.log.number("py"),
            "reference": reference,
            **({} if self.silent[name] else {"invoice": name}),
            "amount": amount,
            "currency": self.currency,
        }
        self.log.add(self.owner, f"payment.{kind}", at, data, sequence=0)
