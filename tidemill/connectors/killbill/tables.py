"""The tables of Kill Bill that are read, from 0.22 on."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Date, DateTime, Integer, Numeric, Text

from tidemill.connectors.schema import WantedTable

__all__ = ["CHOICES", "ENDS", "IGNORED", "TABLES", "TEST_TAG"]

CHOICES: Final = ("CREATE", "TRANSFER", "CHANGE")
"""Events that carry a plan."""
ENDS: Final = ("CANCEL", "EXPIRED")
IGNORED: Final = ("UNCANCEL", "UNDO_CHANGE", "BCD_UPDATE")
"""Marks of an undo (what is undone is inactive itself), and the billing day."""
TEST_TAG: Final = "00000000-0000-0000-0000-000000000006"
"""tags.tag_definition_id of accounts made for tests."""

_OWN: Final = {"record_id": BigInteger, "tenant_record_id": BigInteger}
# Which rows have changed, for whoever keeps a copy; every version has it.
_MARK: Final = {"updated_date": DateTime}
_OF_ACCOUNT: Final = {**_OWN, "id": Text, "account_record_id": BigInteger}

TABLES: Final = {
    "tenants": WantedTable({"record_id": BigInteger, "id": Text, "external_key": Text}),
    "tenant_kvs": WantedTable(
        {**_OWN, "tenant_key": Text, "tenant_value": Text, "is_active": Boolean}
    ),
    "accounts": WantedTable(
        {
            **_OWN,
            "id": Text,
            "external_key": Text,
            "name": Text,
            "email": Text,
            "currency": Text,
            "country": Text,
            "created_date": DateTime,
        },
        optional={"company_name": Text, **_MARK},
    ),
    "tags": WantedTable(
        {**_OWN, "tag_definition_id": Text, "object_id": Text, "object_type": Text}
        | {"is_active": Boolean},
        optional={"created_date": DateTime, **_MARK},
    ),
    "bundles": WantedTable({**_OF_ACCOUNT}),
    "subscriptions": WantedTable(
        {**_OF_ACCOUNT, "bundle_id": Text, "external_key": Text},
        optional={"created_date": DateTime, **_MARK},
    ),
    "subscription_events": WantedTable(
        {
            **_OF_ACCOUNT,
            "event_type": Text,
            "user_type": Text,
            "effective_date": DateTime,
            "subscription_id": Text,
            "plan_name": Text,
            "phase_name": Text,
            "is_active": Boolean,
            "created_date": DateTime,
        },
        optional={"quantity": Integer, **_MARK},
    ),
    "blocking_states": WantedTable(
        {
            **_OF_ACCOUNT,
            "blockable_id": Text,
            "service": Text,
            "block_billing": Boolean,
            "effective_date": DateTime,
            "is_active": Boolean,
            "created_date": DateTime,
        },
        optional=_MARK,
    ),
    "catalog_override_plan_definition": WantedTable({**_OWN, "parent_plan_name": Text}),
    "catalog_override_plan_phase": WantedTable(
        {**_OWN, "phase_def_record_id": BigInteger, "target_plan_def_record_id": BigInteger}
    ),
    "catalog_override_phase_definition": WantedTable(
        {**_OWN, "parent_phase_name": Text, "currency": Text, "recurring_price": Numeric}
    ),
    "invoices": WantedTable(
        {
            **_OF_ACCOUNT,
            "invoice_date": Date,
            "currency": Text,
            "status": Text,
            "parent_invoice": Boolean,
            "created_date": DateTime,
        }
    ),
    "invoice_items": WantedTable(
        {
            **_OF_ACCOUNT,
            "type": Text,
            "invoice_id": Text,
            "subscription_id": Text,
            "product_name": Text,
            "plan_name": Text,
            "phase_name": Text,
            "usage_name": Text,
            "start_date": Date,
            "end_date": Date,
            "amount": Numeric,
            "rate": Numeric,
            "currency": Text,
            "created_date": DateTime,
        }
    ),
    "invoice_payments": WantedTable(
        {**_OF_ACCOUNT, "type": Text, "invoice_id": Text, "payment_id": Text, "amount": Numeric}
        | {"payment_date": DateTime},
        optional={"status": Text, "success": Boolean},
    ),
    "payment_transactions": WantedTable(
        {
            **_OF_ACCOUNT,
            "transaction_type": Text,
            "transaction_status": Text,
            "effective_date": DateTime,
            "amount": Numeric,
            "currency": Text,
            "processed_amount": Numeric,
            "processed_currency": Text,
            "payment_id": Text,
        },
        optional={"gateway_error_code": Text, "created_date": DateTime, **_MARK},
    ),
    # Of the analytics plugin.
    "analytics_subscription_transitions": WantedTable(
        {
            **_OWN,
            "account_record_id": BigInteger,
            "subscription_id": Text,
            "next_product_name": Text,
            "next_slug": Text,
            "next_billing_period": Text,
            "next_price": Numeric,
            "next_currency": Text,
            "next_service": Text,
            "next_start_date": Date,
        },
        is_optional=True,
    ),
}
"""Every table that is read: the rights that a role needs, and what must be there."""
