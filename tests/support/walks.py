"""Billing systems at work: each day something happens, written as they write it, with its marks."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from psycopg.types.json import Jsonb

from tests.support.killbill import KillBillBook
from tests.support.lago import LagoBook

__all__ = ["KillBillWalk", "LagoWalk", "Walk", "set_rows"]

_BEGIN: Final = datetime(2024, 1, 1)  # noqa: DTZ001 - neither keeps a zone


def set_rows(book: Any, table: str, where: dict[str, Any], **values: Any) -> int:
    """Change rows in place; how many there are."""
    given = {name: Jsonb(each) if isinstance(each, dict) else each for name, each in values.items()}
    assignments = ", ".join(f'"{name}" = %({name})s' for name in given)
    conditions = " AND ".join(f'"{name}" = %(where_{name})s' for name in where) or "true"
    named = {f"where_{name}": each for name, each in where.items()}
    with book.database.begin() as connection:
        statement = f'UPDATE "{table}" SET {assignments} WHERE {conditions}'  # noqa: S608 - our own
        count: int = connection.exec_driver_sql(statement, given | named).rowcount
        return count


@dataclass
class Walk(ABC):
    """What happens follows from the seed alone."""

    seed: int
    day: int = 0
    random: random.Random = field(init=False)
    customers: list[Any] = field(default_factory=list)
    running: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    @property
    def now(self) -> datetime:
        return _BEGIN + timedelta(days=self.day, hours=self.day % 24)

    def step(self, times: int = 3) -> None:
        """Some days in which something happens each; all of it is written."""
        for _ in range(times):
            self.day += self.random.randint(1, 12)
            name = self.random.choice(["begin", *self.happenings])
            if name != "begin" and not self.running:
                name = "begin"
            getattr(self, name)()
            self.save()

    def pick(self, of: list[Any]) -> Any:
        return of[self.random.randrange(len(of))]

    @property
    @abstractmethod
    def happenings(self) -> tuple[str, ...]:
        """What can happen beside that a customer subscribes; names of methods."""

    @abstractmethod
    def begin(self) -> None:
        """A customer subscribes."""

    @abstractmethod
    def save(self) -> None:
        """Write what is kept."""


@dataclass
class LagoWalk(Walk):
    """Lago at work; of each running subscription its row, and when it was last invoiced."""

    book: LagoBook = field(kw_only=True)
    plans: list[tuple[Any, int]] = field(default_factory=list)
    coupons: list[Any] = field(default_factory=list)

    happenings = (
        "change", "end", "invoice", "invoice", "fail", "pay", "use", "give", "take", "reprice",
        "rename", "refund",
    )  # fmt: skip

    def save(self) -> None:
        for _, values in self.book.rows:
            values.setdefault("updated_at", self.now)
        self.book.save()

    def change_rows(self, table: str, where: dict[str, Any], **values: Any) -> None:
        self.save()
        set_rows(self.book, table, where, **values, updated_at=self.now)

    def begin(self) -> None:
        if not self.plans or self.random.random() < 0.2:
            trial = self.pick([0.0, 0.0, 14.0])
            interval = self.pick([("month", 1), ("month", 1), ("year", 1)])
            price = self.random.randint(5, 90) * 100
            plan = self.book.plan(
                f"plan-{len(self.plans)}", price, interval, trial_period=trial,
                created_at=self.now, updated_at=self.now,
            )  # fmt: skip
            self.plans.append((plan, price))
        if not self.customers or self.random.random() < 0.8:
            name = f"customer-{len(self.customers)}"
            self.customers.append(self.book.customer(name, created_at=self.now))
        self._subscribe(self.pick(self.customers), self.pick(self.plans), str(uuid4()))

    def _subscribe(self, customer: Any, plan: Any, name: str, **more: Any) -> None:
        row = self.book.subscription(customer, plan[0], name, self.now.isoformat(), **more)
        self.running.append({"id": row, "customer": customer, "plan": plan, "name": name})

    def change(self) -> None:
        """Another plan takes over, a moment before the old one ends."""
        old = self.running.pop(self.random.randrange(len(self.running)))
        moment = self.now + timedelta(milliseconds=40)
        self.change_rows("subscriptions", {"id": old["id"]}, status=2, terminated_at=moment)
        self._subscribe(
            old["customer"], self.pick(self.plans), old["name"], previous_subscription_id=old["id"]
        )

    def end(self) -> None:
        old = self.running.pop(self.random.randrange(len(self.running)))
        self.change_rows("subscriptions", {"id": old["id"]}, status=2, terminated_at=self.now)

    def invoice(self) -> None:
        one = self.pick(self.running)
        until = self.now + timedelta(days=30)
        self.book.flat_fee(
            one["id"], one["customer"], f"{self.now.isoformat()}Z", f"{until.isoformat()}Z",
            one["plan"][1], taxes_rate=self.pick([0, 20]),
        )  # fmt: skip
        one["invoice"] = next(
            row["id"] for table, row in reversed(self.book.rows) if table == "invoices"
        )
        self.book.add(
            "invoice_subscriptions", invoice_id=one["invoice"], subscription_id=one["id"],
            from_datetime=self.now, to_datetime=until, created_at=self.now,
        )  # fmt: skip

    def fail(self) -> None:
        self._try("failed")

    def pay(self) -> None:
        self._try("succeeded")

    def _try(self, status: str) -> None:
        one = self.pick(self.running)
        if "invoice" not in one:
            self.invoice()
            one = next(each for each in self.running if "invoice" in each)
        self.book.add(
            "payments", invoice_id=one["invoice"], payable_type="Invoice",
            payable_id=one["invoice"], amount_cents=one["plan"][1], amount_currency="EUR",
            status=status, payable_payment_status=status, created_at=self.now,
        )  # fmt: skip
        if self.random.random() < 0.3:
            self.change_rows("invoices", {"id": one["invoice"]}, total_amount_cents=one["plan"][1])

    def use(self) -> None:
        one = self.pick(self.running)
        said = {f"charges_{end}_datetime": self.now.isoformat() for end in ("from", "to")}
        self.book.usage_fee(
            one["id"], one["customer"], self.now.isoformat(), self.random.randint(1, 999),
            properties=said,
        )  # fmt: skip

    def give(self) -> None:
        self.coupons.append(
            self.book.coupon(
                self.pick(self.customers), self.now.isoformat(),
                percentage_rate=self.pick([10, 25]), frequency=self.pick([1, 2]),
            )
        )  # fmt: skip

    def take(self) -> None:
        if self.coupons:
            given = self.coupons.pop()
            self.change_rows("applied_coupons", {"id": given}, terminated_at=self.now, status=1)

    def reprice(self) -> None:
        place = self.random.randrange(len(self.plans))
        plan, price = self.plans[place]
        self.plans[place] = (plan, price + 500)
        self.change_rows("plans", {"id": plan}, amount_cents=price + 500)

    def rename(self) -> None:
        who = self.pick(self.customers)
        self.change_rows("customers", {"id": who}, name=f"Renamed {self.day}", country="de")

    def refund(self) -> None:
        one = self.pick(self.running)
        if "invoice" in one:
            self.book.add(
                "credit_notes", customer_id=one["customer"], invoice_id=one["invoice"], status=1,
                refund_status=1, refund_amount_cents=100, refunded_at=self.now,
                total_amount_currency="EUR", created_at=self.now,
            )  # fmt: skip


@dataclass
class KillBillWalk(Walk):
    """Kill Bill at work; of each running subscription its row, its account and its bundle."""

    book: KillBillBook = field(kw_only=True)

    happenings = (
        "change", "end", "undo", "pause", "resume", "quantity", "special", "invoice", "invoice",
        "pay", "fail", "use", "rename", "hide",
    )  # fmt: skip

    _PLANS = ("basic-monthly", "pro-monthly", "pro-annual")

    def save(self) -> None:
        for table, values in self.book.rows:
            values.setdefault("updated_date", self.now)
            if table not in {"subscription_events", "blocking_states"}:
                values.setdefault("created_date", self.now)
            else:
                values["created_date"] = values["updated_date"]
        self.book.save()

    def change_rows(self, table: str, where: dict[str, Any], **values: Any) -> None:
        self.save()
        set_rows(self.book, table, where, **values, updated_date=self.now)

    def begin(self) -> None:
        if not self.customers or self.random.random() < 0.8:
            self.customers.append(self.book.account(f"c{len(self.customers)}"))
        account = self.pick(self.customers)
        bundle = self.book.bundle(account)
        row = self.book.subscription(account, bundle=bundle)
        self.running.append({"row": row, "account": account, "bundle": bundle})
        plan = self.pick([*self._PLANS, "trial-monthly"])
        self._event(self.running[-1], "CREATE", plan=plan)
        if plan == "trial-monthly":
            later = (self.now + timedelta(days=14)).isoformat()
            self.book.event(
                row, "PHASE", later, asked=self.now.isoformat(), plan=plan, phase="evergreen"
            )

    def _event(self, one: Any, kind: str, **more: Any) -> None:
        if more.get("plan") == "trial-monthly":
            more["phase"] = "trial"
        self.book.event(one["row"], kind, self.now.isoformat(), **more)

    def change(self) -> None:
        self._event(self.pick(self.running), "CHANGE", plan=self.pick(list(self._PLANS)))

    def end(self) -> None:
        one = self.running.pop(self.random.randrange(len(self.running)))
        self._event(one, "CANCEL")

    def undo(self) -> None:
        """An end that was planned is taken back: its row is no longer active."""
        one = self.pick(self.running)
        planned = (self.now + timedelta(days=40)).isoformat()
        self.book.event(one["row"], "CANCEL", planned, asked=self.now.isoformat())
        ended = self.book.rows[-1][1]["id"]
        self.save()
        self.day += 1
        self.change_rows("subscription_events", {"id": ended}, is_active=False)

    def pause(self) -> None:
        self._block(billing=True)

    def resume(self) -> None:
        self._block(billing=False)

    def _block(self, *, billing: bool) -> None:
        one = self.pick(self.running)
        self.book.block(
            one["bundle"], self.now.isoformat(), billing=billing,
            account_record_id=one["account"]["record_id"],
        )  # fmt: skip

    def quantity(self) -> None:
        self._event(self.pick(self.running), "QUANTITY_UPDATE", quantity=self.random.randint(1, 9))

    def special(self) -> None:
        plan = self.book.override("pro-monthly", "evergreen", self.random.randint(10, 60))
        self._event(self.pick(self.running), "CHANGE", plan=plan)

    def invoice(self) -> None:
        one = self.pick(self.running)
        of = {"account_record_id": one["account"]["record_id"]}
        one["invoice"] = self.book.add(
            "invoices", account_id=one["account"]["id"], invoice_date=self.now, currency="USD",
            status="COMMITTED", parent_invoice=False, **of,
        )  # fmt: skip
        self._item(one, "RECURRING", 20)

    def _item(self, one: Any, kind: str, amount: int, **more: Any) -> None:
        self.book.add(
            "invoice_items", type=kind, invoice_id=one["invoice"]["id"], amount=amount,
            subscription_id=one["row"]["id"], currency="USD", start_date=self.now,
            end_date=self.now + timedelta(days=30),
            account_record_id=one["account"]["record_id"], **more,
        )  # fmt: skip

    def pay(self) -> None:
        self._try("SUCCESS")

    def fail(self) -> None:
        self._try("PAYMENT_FAILURE")

    def _try(self, status: str) -> None:
        one = self.pick(self.running)
        if "invoice" not in one:
            self.invoice()
            one = next(each for each in self.running if "invoice" in each)
        payment, of = str(uuid4()), {"account_record_id": one["account"]["record_id"]}
        self.book.add(
            "payment_transactions", transaction_type="PURCHASE", transaction_status=status,
            effective_date=self.now, amount=20, currency="USD", processed_amount=20,
            processed_currency="USD", payment_id=payment, **of,
        )  # fmt: skip
        self.book.add(
            "invoice_payments", type="ATTEMPT", invoice_id=one["invoice"]["id"],
            payment_id=payment, amount=20, payment_date=self.now, currency="USD",
            status="SUCCESS" if status == "SUCCESS" else "INIT", **of,
        )  # fmt: skip

    def use(self) -> None:
        one = self.pick(self.running)
        if "invoice" in one:
            self._item(one, "USAGE", self.random.randint(1, 9), usage_name="calls", plan_name="p")

    def rename(self) -> None:
        who = self.pick(self.customers)
        self.change_rows("accounts", {"id": who["id"]}, name=f"Renamed {self.day}", country="de")

    def hide(self) -> None:
        """An account turns out to have been made for tests."""
        if self.random.random() < 0.2:
            who = self.pick(self.customers)
            self.book.add(
                "tags", object_id=who["id"], object_type="ACCOUNT",
                tag_definition_id="00000000-0000-0000-0000-000000000006",
                account_record_id=who["record_id"],
            )  # fmt: skip
