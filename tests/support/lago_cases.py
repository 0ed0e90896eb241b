"""The worked cases as Lago would hold them, and which it cannot hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.support.cases import Case
from tests.support.lago import INTERVALS, LagoBook, utc

__all__ = ["NOT_HELD", "write_case"]

NOT_HELD: Final[dict[str, str]] = {
    "E05": "the flat fee has no quantity",
    "E19": "there are no fortnightly and no daily plans",
    "E23": "a trial cannot be extended, or ended before its time",
    "E25": "a failed payment changes no subscription",
    "E26": "a failed payment changes no subscription",
    "E27": "subscriptions cannot be paused",
    "E36": "there is one billing system in a database",
}
"""Case → why Lago has no rows that would say it."""


def write_case(book: LagoBook, case: Case) -> None:
    """The rows of a history that Lago can hold."""
    _Writing(book).write(case)


class _Writing:
    """Rows under way: they are saved when the whole history is known."""

    def __init__(self, book: LagoBook) -> None:
        self.book = book
        self.customers: dict[str, Any] = {}
        self.plans: dict[tuple[Any, ...], Any] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.actions: dict[str, Mapping[str, Any]] = {}

    def write(self, case: Case) -> None:
        for action in case.history:
            getattr(self, action["action"])(action)
        self.book.save()

    def subscribe(self, action: Mapping[str, Any]) -> None:
        customer = action["customer"]
        if customer not in self.customers:
            self.customers[customer] = self.book.customer(customer)
        self._begin(action, dict(action), {})
        if "discount" in action:
            self._discount(action, action["discount"])

    def _begin(
        self, action: Mapping[str, Any], terms: dict[str, Any], more: Mapping[str, Any]
    ) -> None:
        interval = (terms["interval"], terms["interval_count"])
        assert terms["quantity"] == 1
        assert interval in INTERVALS
        # Prices are without tax: that comes on top, when the price is billed.
        net = terms["amount_cents"] - terms.get("tax_cents", 0)
        priced = (net, interval, terms["currency"])
        if priced not in self.plans:
            code = f"plan {len(self.plans) + 1}"
            self.plans[priced] = self.book.plan(
                code, net, interval, amount_currency=terms["currency"]
            )
        name = action["subscription"]
        self.actions[name] = terms
        self.book.subscription(
            self.customers[action["customer"]], self.plans[priced], name, action["at"], **more
        )
        row = self.rows[name] = self.book.rows[-1][1]
        if terms.get("tax_cents"):
            self.book.flat_fee(
                row["id"],
                row["customer_id"],
                action["at"],
                action["at"],
                net,
                amount_currency=terms["currency"],
                taxes_rate=100 * terms["tax_cents"] / net,
            )

    def change(self, action: Mapping[str, Any]) -> None:
        """Another plan: a period that ends, and one that follows it."""
        name = action["subscription"]
        before = self.rows[name]
        self._end(before, action["at"])
        terms = dict(self.actions[name]) | {
            key: action[key]
            for key in ("amount_cents", "interval", "interval_count", "quantity")
            if key in action
        }
        self._begin(action, terms, {"previous_subscription_id": before["id"]})

    def cancel(self, action: Mapping[str, Any]) -> None:
        at_end = action["mode"] == "at_period_end"
        row = self.rows[action["subscription"]]
        self._end(row, action["service_period_end"] if at_end else action["at"])

    def uncancel(self, action: Mapping[str, Any]) -> None:
        row = self.rows[action["subscription"]]
        row["terminated_at"], row["status"] = None, 1

    def discount_add(self, action: Mapping[str, Any]) -> None:
        self._discount(action, action["discount"])

    def _discount(self, action: Mapping[str, Any], raw: Mapping[str, Any]) -> None:
        months = raw.get("months")
        more: dict[str, Any] = {}
        if months is not None:
            # Its last invoice ends it: at the start of the last month it takes something off.
            year, month = int(action["at"][:4]), int(action["at"][5:7]) + int(months) - 1
            more = {
                "frequency_duration_remaining": 0,
                "status": 1,
                "terminated_at": f"{year}-{month:02}{action['at'][7:]}",
            }
        self.book.coupon(
            self.customers[action["customer"]],
            action["at"],
            frequency={"once": 0, "repeating": 1, "forever": 2}[raw["duration"]],
            percentage_rate=raw.get("percent_off"),
            amount_cents=raw.get("amount_off_cents"),
            amount_currency=self.actions[action["subscription"]]["currency"],
            **more,
        )

    def invoice_paid(self, action: Mapping[str, Any]) -> None:
        """Invoices and payments move no level under the policies that are asked."""

    one_time = refund = invoice_paid

    def usage_invoice(self, action: Mapping[str, Any]) -> None:
        """What was used is charged on the invoice that follows, on top of the flat fee."""
        row = self.rows[action["subscription"]]
        self.book.usage_fee(
            row["id"],
            row["customer_id"],
            action["at"],
            action["amount_cents"],
            currency=self.actions[action["subscription"]]["currency"],
        )

    def _end(self, row: dict[str, Any], at: str) -> None:
        row["terminated_at"], row["status"] = utc(at), 2
