"""A year of made-up customers, lived through on a real Kill Bill by its REST API and test clock.

Each story is a customer of its own. What its movements must be is written by hand beside what it
does, from Kill Bill's documented behaviour; nothing here looks at what Tidemill says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import FromClause, Select, func, select

import tidemill
from tests.support.in_place import take_rates, url_of
from tests.support.killbill import CATALOG, REPRICED
from tests.support.killbill_server import KillBillServer
from tests.support.telling import rate
from tidemill.database import Database
from tidemill.relations import Relations

__all__ = ["CASH", "END", "MOVEMENTS", "TENANT", "USAGE", "check_stories", "live"]

TENANT: Final = "hooli"
_YEAR: Final = 2024
END: Final = "2024-09-15"
"""The last day of the stories."""
_HOUR: Final = "T08:00:00.000Z"
_TEST_TAG: Final = "00000000-0000-0000-0000-000000000006"
_REPRICED: Final = ("07-01", "expansion", 200)

Movement = tuple[str, str, int]
MOVEMENTS: Final[dict[str, list[Movement]]] = {
    "new": [("01-10", "new", 2000), _REPRICED],
    "annual": [("01-15", "new", 4000)],
    "upgrade": [("01-01", "new", 2000), ("02-16", "expansion", 3000)],
    "downgrade": [("01-01", "new", 5000), ("03-01", "contraction", -3000), _REPRICED],
    "cancel": [("01-01", "new", 2000), ("04-01", "churn", -2000)],
    "cancel-now": [("01-01", "new", 5000), ("03-20", "churn", -5000)],
    "again": [
        ("01-01", "new", 2000),
        ("03-01", "churn", -2000),
        ("04-01", "reactivation", 2000),
        _REPRICED,
    ],
    "trial": [("02-15", "new", 3000)],
    "trial-lost": [],
    "discount": [("01-01", "new", 1000), ("04-01", "expansion", 1000)],
    "override": [("01-01", "new", 1500)],
    "two": [
        ("01-01", "new", 2000),
        ("02-01", "expansion", 500),
        ("05-01", "contraction", -500),
        _REPRICED,
    ],
    "base-ends": [
        ("01-01", "new", 2000),
        ("02-01", "expansion", 500),
        ("06-03", "churn", -2500),
    ],
    "euro": [("01-01", "new", 1800)],
    "pause": [
        ("01-01", "new", 2000),
        ("03-10", "churn", -2000),
        ("04-05", "reactivation", 2000),
        _REPRICED,
    ],
    "undone": [("01-01", "new", 5000)],
    "change-undone": [("01-01", "new", 5000)],
    "replaced": [("01-01", "new", 5000)],
    "later": [("05-10", "new", 2200)],
    "metered": [("01-01", "new", 1000)],
    "moves-from": [("01-01", "new", 5000), ("04-10", "churn", -5000)],
    "moves-to": [("04-10", "new", 5000)],
    "refunded": [("01-01", "new", 5000)],
}
"""Customer → day, type and cents a month; under the default policy, in the customer's currency."""

USAGE: Final = {"metered": 1234}
"""Customer → cents of usage that was invoiced."""
CASH: Final = {"refunded": {"succeeded": 9 * 5000, "refunded": 2000}}
"""Customer → cents of payments, by what happened to them."""


@dataclass
class _Lives:
    """What is to be done on which day, and what was made so far."""

    server: KillBillServer
    days: dict[str, list[Callable[[], object]]] = field(default_factory=dict)
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    subscriptions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def on(self, day: str, do: Callable[..., object], *given: Any, **named: Any) -> None:
        self.days.setdefault(f"{_YEAR}-{day}", []).append(lambda: do(*given, **named))

    def account(self, name: str, currency: str = "USD") -> dict[str, Any]:
        """Every account pays at once, by a plugin that comes with Kill Bill."""
        if name not in self.accounts:
            told = {"name": name, "externalKey": name, "currency": currency, "country": "DE"}
            made = self.accounts[name] = self.server.call("POST", "/1.0/kb/accounts", told)
            self.server.call(
                "POST", f"/1.0/kb/accounts/{made['accountId']}/paymentMethods",
                {"pluginName": "__EXTERNAL_PAYMENT__"}, follow=False, isDefault="true",
            )  # fmt: skip
        return self.accounts[name]

    def subscribe(self, name: str, plan: str, **told: Any) -> None:
        """The subscription is named as told by `key`, else as the customer."""
        key = told.pop("key", name)
        currency, price = told.pop("currency", "USD"), told.pop("price", None)
        body = {"accountId": self.account(name, currency)["accountId"], "externalKey": key}
        body |= {"planName": plan}
        if beside := told.pop("beside", None):
            body["bundleId"] = self.subscriptions[beside]["bundleId"]
        if price is not None:
            body["priceOverrides"] = [{"phaseName": f"{plan}-evergreen", "recurringPrice": price}]
        self.subscriptions[key] = self.server.call("POST", "/1.0/kb/subscriptions", body)

    def change(self, key: str, plan: str, policy: str) -> None:
        self._of(key, "PUT", body={"planName": plan}, billingPolicy=policy)

    def cancel(self, key: str, policy: str) -> None:
        """What the customer may use ends at once; billing does by the policy."""
        self._of(key, "DELETE", billingPolicy=policy, entitlementPolicy="IMMEDIATE")

    def cancel_all(self, key: str, policy: str) -> None:
        self._of(key, "DELETE", billingPolicy=policy, entitlementPolicy=policy)

    def undo(self, key: str, what: str) -> None:
        self._of(key, "PUT", f"/{what}")

    def bundle(self, key: str, what: str) -> None:
        bundle = self.subscriptions[key]["bundleId"]
        self.server.call("PUT", f"/1.0/kb/bundles/{bundle}/{what}")

    def transfer(self, key: str, to: str) -> None:
        bundle, account = self.subscriptions[key]["bundleId"], self.account(to)["accountId"]
        self.server.call(
            "POST", f"/1.0/kb/bundles/{bundle}", {"accountId": account},
            follow=False, billingPolicy="IMMEDIATE",
        )  # fmt: skip

    def tag(self, name: str, tag: str) -> None:
        account = self.account(name)["accountId"]
        self.server.call("POST", f"/1.0/kb/accounts/{account}/tags", [tag], follow=False)

    def use(self, key: str, day: str, amount: int) -> None:
        record = {"recordDate": f"{_YEAR}-{day}", "amount": amount}
        body = {
            "subscriptionId": self.subscriptions[key]["subscriptionId"],
            "unitUsageRecords": [{"unitType": "calls", "usageRecords": [record]}],
        }
        self.server.call("POST", "/1.0/kb/usages", body, follow=False)

    def refund(self, name: str, amount: int) -> None:
        account = self.account(name)["accountId"]
        paid = self.server.call("GET", f"/1.0/kb/accounts/{account}/payments")
        payment = paid[0]["paymentId"]
        self.server.call(
            "POST", f"/1.0/kb/payments/{payment}/refunds", {"amount": amount}, follow=False
        )

    def reprice(self) -> None:
        self.server.call("POST", "/1.0/kb/catalog/xml", REPRICED, follow=False)

    def _of(self, key: str, method: str, path: str = "", body: Any = None, **query: Any) -> None:
        found = self.subscriptions[key]["subscriptionId"]
        self.server.call(method, f"/1.0/kb/subscriptions/{found}{path}", body, **query)

    def play(self) -> None:
        """Day after day; on the first of each month time stops too, so that bills are dated."""
        months = {f"{_YEAR}-{month:02}-01" for month in range(1, 10)}
        for day in sorted({*self.days, *months, END}):
            self.server.clock(f"{day}{_HOUR}")
            for do in self.days.get(day, []):
                do()
            self.server.settle()


def live(server: KillBillServer) -> None:
    """Let all of them live, from the start of the year to `END`, as one tenant's customers."""
    server.tenant(TENANT)
    lives = _Lives(server)
    server.clock(f"{_YEAR}-01-01{_HOUR}")
    server.call("POST", "/1.0/kb/catalog/xml", CATALOG, follow=False)
    _plain(lives)
    _plans(lives)
    _ends(lives)
    lives.on("05-01", lives.reprice)
    lives.play()


def _plain(s: _Lives) -> None:
    s.on("01-10", s.subscribe, "new", "basic-monthly")
    s.on("01-15", s.subscribe, "annual", "pro-annual")
    s.on("05-10", s.subscribe, "later", "basic-monthly")
    s.on("02-01", s.subscribe, "trial", "trial-monthly")
    s.on("02-01", s.subscribe, "trial-lost", "trial-monthly")
    s.on("02-08", s.cancel_all, "trial-lost", "IMMEDIATE")
    s.on("01-01", s.subscribe, "discount", "promo-monthly")
    s.on("01-01", s.subscribe, "override", "basic-monthly", price=15)
    s.on("01-01", s.subscribe, "euro", "basic-monthly", currency="EUR")
    s.on("01-01", s.subscribe, "for-tests", "pro-monthly")
    s.on("01-01", s.tag, "for-tests", _TEST_TAG)
    s.on("01-01", s.subscribe, "metered", "metered-monthly")
    s.on("03-10", s.use, "metered", "03-10", 617)


def _plans(s: _Lives) -> None:
    s.on("01-01", s.subscribe, "upgrade", "basic-monthly")
    s.on("02-16", s.change, "upgrade", "pro-monthly", "IMMEDIATE")
    s.on("01-01", s.subscribe, "downgrade", "pro-monthly")
    s.on("02-10", s.change, "downgrade", "basic-monthly", "END_OF_TERM")
    s.on("01-01", s.subscribe, "two", "basic-monthly")
    s.on("02-01", s.subscribe, "two", "extra-monthly", key="two-extra", beside="two")
    s.on("04-12", s.cancel, "two-extra", "END_OF_TERM")
    s.on("01-01", s.subscribe, "change-undone", "pro-monthly")
    s.on("02-10", s.change, "change-undone", "basic-monthly", "END_OF_TERM")
    s.on("02-20", s.undo, "change-undone", "undoChangePlan")
    s.on("01-01", s.subscribe, "replaced", "basic-monthly")
    s.on("01-01", s.change, "replaced", "pro-monthly", "IMMEDIATE")
    s.on("01-01", s.subscribe, "moves-from", "pro-monthly")
    s.on("04-10", s.transfer, "moves-from", "moves-to")


def _ends(s: _Lives) -> None:
    s.on("01-01", s.subscribe, "cancel", "basic-monthly")
    s.on("03-20", s.cancel, "cancel", "END_OF_TERM")
    s.on("01-01", s.subscribe, "cancel-now", "pro-monthly")
    s.on("03-20", s.cancel_all, "cancel-now", "IMMEDIATE")
    s.on("01-01", s.subscribe, "again", "basic-monthly")
    s.on("02-15", s.cancel, "again", "END_OF_TERM")
    s.on("04-01", s.subscribe, "again", "basic-monthly", key="again-2")
    s.on("01-01", s.subscribe, "base-ends", "basic-monthly")
    s.on("02-01", s.subscribe, "base-ends", "extra-monthly", key="base-extra", beside="base-ends")
    s.on("06-03", s.cancel_all, "base-ends", "IMMEDIATE")
    s.on("01-01", s.subscribe, "pause", "basic-monthly")
    s.on("03-10", s.bundle, "pause", "pause")
    s.on("04-05", s.bundle, "pause", "resume")
    s.on("01-01", s.subscribe, "undone", "pro-monthly")
    s.on("05-20", s.cancel_all, "undone", "END_OF_TERM")
    s.on("05-25", s.undo, "undone", "uncancel")
    s.on("01-01", s.subscribe, "refunded", "pro-monthly")
    s.on("03-05", s.refund, "refunded", 20)


def check_stories(url: str, own: Database) -> None:
    """Hold what is answered in place against the stories.

    url: the address of Kill Bill's database. own: books of our own, for the exchange rate.
    """
    take_rates(own, [rate(f"{_YEAR}-01-01", "1.10")])
    with tidemill.connect(
        url_of(own),
        source_url=url,
        connector="killbill",
        base_currency="USD",
        as_of=datetime.fromisoformat(END + _HOUR) + timedelta(days=1),
    ) as books:
        answer = books.mrr.movements(start="2023-01-01", end=END)
        # A change of plan is told as two rows of one movement, for what went and what came.
        told: dict[str, dict[tuple[str, str], int]] = {name: {} for name in MOVEMENTS}
        for row in answer.rows:
            of = told[row["customer"].removeprefix("killbill:")]
            key = f"{row['day']:%m-%d}", row["type"]
            of[key] = of.get(key, 0) + int(row["native_amount"])
        listed = {name: [(*key, to) for key, to in of.items()] for name, of in told.items()}
        assert listed == MOVEMENTS
        assert answer.warnings == ()
        with books.database.snapshot() as connection:
            relations = books.engine.provider.relations(base_currency="USD")
            lines, payments = relations.usage_lines, relations.payments
            used = connection.execute(_by_customer(relations, lines))
            assert {name: int(amount) for name, amount in used} == USAGE
            asked = _by_customer(relations, payments, payments.c.kind)
            cash: dict[str, dict[str, int]] = {}
            for name, kind, amount in connection.execute(asked):
                cash.setdefault(name, {})[kind] = int(amount)
            assert {name: cash[name] for name in CASH} == CASH


def _by_customer(relations: Relations, told: FromClause, *by: Any) -> Select[Any]:
    """Amounts by customer's name, and what else is said."""
    customers = relations.customers
    return (
        select(customers.c.external_id, *by, func.sum(told.c.amount))
        .join(told, told.c.customer_id == customers.c.customer_id)
        .group_by(customers.c.external_id, *by)
    )
