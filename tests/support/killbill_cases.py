"""The worked cases as Kill Bill would hold them, and which it cannot hold."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from tests.support.cases import Case
from tests.support.killbill import KillBillBook, catalog
from tests.support.lago import utc
from tidemill.money import exponent

__all__ = ["NOT_HELD", "write_case"]

_NO_COUPONS: Final = "there are no coupons: a discount is a phase or a price of its own"
NOT_HELD: Final[dict[str, str]] = {
    "E09": "what has ended never comes back under its own name: who returns has another",
    "E13": _NO_COUPONS,
    "E14": _NO_COUPONS,
    "E15": _NO_COUPONS,
    "E16": _NO_COUPONS,
    "E17": _NO_COUPONS,
    "E22": "prices are without tax",
    "E23": "a trial cannot be extended",
    "E25": "a failed payment changes no subscription",
    "E26": "a failed payment changes no subscription",
    "E36": "there is one billing system in a database",
}
"""Case → why Kill Bill has no rows that would say it."""
_PERIODS: Final = {
    ("day", 1): "DAILY",
    ("week", 1): "WEEKLY",
    ("week", 2): "BIWEEKLY",
    ("month", 1): "MONTHLY",
    ("month", 3): "QUARTERLY",
    ("year", 1): "ANNUAL",
}


def write_case(book: KillBillBook, case: Case) -> None:
    """The rows of a history that Kill Bill can hold, with a catalogue of its prices."""
    _Writing(book).write(case)


class _Writing:
    """Rows under way: they are saved when the whole history is known."""

    def __init__(self, book: KillBillBook) -> None:
        self.book = book
        self.accounts: dict[tuple[str, str], dict[str, Any]] = {}
        self.plans: dict[tuple[Any, ...], str] = {}
        self.xml: list[str] = []
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.bundles: dict[str, dict[str, Any]] = {}
        self.terms: dict[str, dict[str, Any]] = {}
        self.cancels: dict[str, dict[str, Any]] = {}

    def write(self, case: Case) -> None:
        for action in case.history:
            getattr(self, action["action"])(action)
        text = catalog("2020-01-01T00:00:00Z", *self.xml)
        self.book.add("tenant_kvs", tenant_key="CATALOG", tenant_value=text)
        self.book.save()

    def subscribe(self, action: Mapping[str, Any]) -> None:
        of = action["customer"], action["currency"]
        if of not in self.accounts:
            customer, currency = of
            self.accounts[of] = self.book.add(
                "accounts", external_key=customer, name=customer, currency=currency
            )
        account, name = self.accounts[of], action["subscription"]
        self.bundles[name] = self.book.bundle(account)
        self.subscriptions[name] = self.book.subscription(account, bundle=self.bundles[name])
        self.subscriptions[name]["external_key"] = name
        self.terms[name] = dict(action)
        self._event(action, "CREATE", plan=self._plan(self.terms[name]))
        self._quantity(action, before=1)

    def change(self, action: Mapping[str, Any]) -> None:
        """Another plan, another quantity, or both."""
        terms = self.terms[action["subscription"]]
        before = terms["quantity"]
        priced = {"amount_cents", "interval", "interval_count"} & action.keys()
        terms |= {name: action[name] for name in (*priced, "quantity") if name in action}
        if priced:
            self._event(action, "CHANGE", plan=self._plan(terms))
        self._quantity(action, before)

    def _quantity(self, action: Mapping[str, Any], before: int) -> None:
        quantity = self.terms[action["subscription"]]["quantity"]
        if quantity != before:
            self._event(action, "QUANTITY_UPDATE", quantity=quantity)

    def cancel(self, action: Mapping[str, Any]) -> None:
        at_end = action["mode"] == "at_period_end"
        at = action["service_period_end"] if at_end else action["at"]
        self._event(action, "CANCEL", at=at, asked=action["at"])
        self.cancels[action["subscription"]] = self.book.rows[-1][1]

    def uncancel(self, action: Mapping[str, Any]) -> None:
        self.cancels[action["subscription"]]["is_active"] = False
        self._event(action, "UNCANCEL")

    def pause(self, action: Mapping[str, Any]) -> None:
        self.book.block(self.bundles[action["subscription"]], action["at"], billing=True)

    def resume(self, action: Mapping[str, Any]) -> None:
        self.book.block(self.bundles[action["subscription"]], action["at"], billing=False)

    def invoice_paid(self, action: Mapping[str, Any]) -> None:
        """Invoices and payments move no level under the policies that are asked."""

    one_time = refund = invoice_paid

    def usage_invoice(self, action: Mapping[str, Any]) -> None:
        """What was used is an item of the invoice that follows."""
        row = self.subscriptions[action["subscription"]]
        currency = self.terms[action["subscription"]]["currency"]
        of = {"account_record_id": row["account_record_id"], "currency": currency}
        invoice = self.book.add(
            "invoices", status="COMMITTED", created_date=utc(action["at"]), **of
        )
        self.book.add(
            "invoice_items", type="USAGE", invoice_id=invoice["id"], subscription_id=row["id"],
            amount=Decimal(action["amount_cents"]).scaleb(-exponent(currency)), **of,
        )  # fmt: skip

    def _event(self, action: Mapping[str, Any], kind: str, **more: Any) -> None:
        at = more.pop("at", action["at"])
        row = self.subscriptions[action["subscription"]]
        asked = more.pop("asked", action.get("recorded_at", action["at"]))
        self.book.event(row, kind, at, asked=asked, **more)

    def _plan(self, terms: Mapping[str, Any]) -> str:
        period = _PERIODS[terms["interval"], terms["interval_count"]]
        currency = terms["currency"]
        priced = terms["amount_cents"], period, currency
        if priced not in self.plans:
            name = self.plans[priced] = f"plan{len(self.plans) + 1}"
            value = Decimal(terms["amount_cents"]).scaleb(-exponent(currency))
            price = f"<price><currency>{currency}</currency><value>{value}</value></price>"
            self.xml.append(
                f'<plan name="{name}"><product>Product</product><finalPhase type="EVERGREEN">'
                f"<recurring><billingPeriod>{period}</billingPeriod>"
                f"<recurringPrice>{price}</recurringPrice></recurring></finalPhase></plan>"
            )
        return self.plans[priced]
