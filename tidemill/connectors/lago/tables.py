"""The tables of Lago that are read, from v1.0 (2024-03) on, and its numbered words."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Date, DateTime, Double, Integer, Numeric, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from tidemill.connectors.schema import WantedTable

__all__ = [
    "ACTIVE",
    "CHARGE_FEE",
    "FINALIZED",
    "FLAT_FEE",
    "INTERVALS",
    "ONCE",
    "PENDING",
    "RECURRING",
    "TABLES",
    "TERMINATED",
    "VOIDED",
]

# subscriptions.status
PENDING, ACTIVE, TERMINATED = 0, 1, 2
# fees.fee_type: usage, and the plan's flat fee
CHARGE_FEE, FLAT_FEE = 0, 2
# invoices.status
FINALIZED, VOIDED = 1, 2
# applied_coupons.frequency; 2 is forever
ONCE, RECURRING = 0, 1
INTERVALS: Final = {
    0: ("week", 1),
    1: ("month", 1),
    2: ("year", 1),
    3: ("month", 3),
    4: ("month", 6),
}
"""plans.interval → billing interval and how many of it."""

# Which rows have changed, for whoever keeps a copy; every version has it.
_MARK: Final = {"updated_at": DateTime}

_UNITS: Final = {
    "id": Uuid,
    "subscription_id": Uuid,
    "fixed_charge_id": Uuid,
    "units": Numeric,
    "deleted_at": DateTime,
}

TABLES: Final = {
    "organizations": WantedTable({"id": Uuid, "name": Text}),
    "customers": WantedTable(
        {
            "id": Uuid,
            "organization_id": Uuid,
            "external_id": Text,
            "name": Text,
            "email": Text,
            "country": Text,
            "created_at": DateTime,
        },
        optional={"firstname": Text, "lastname": Text, "account_type": Text, **_MARK},
    ),
    "plans": WantedTable(
        {
            "id": Uuid,
            "organization_id": Uuid,
            "parent_id": Uuid,
            "code": Text,
            "name": Text,
            "interval": Integer,
            "amount_cents": BigInteger,
            "amount_currency": Text,
            "trial_period": Double,
            "pay_in_advance": Boolean,
            "created_at": DateTime,
            "updated_at": DateTime,
            "deleted_at": DateTime,
        },
        optional={"bill_fixed_charges_monthly": Boolean},
    ),
    "subscriptions": WantedTable(
        {
            "id": Uuid,
            "customer_id": Uuid,
            "plan_id": Uuid,
            "external_id": Text,
            "previous_subscription_id": Uuid,
            "status": Integer,
            "subscription_at": DateTime,
            "started_at": DateTime,
            "ending_at": DateTime,
            "terminated_at": DateTime,
            "created_at": DateTime,
        },
        optional={"activated_at": DateTime, "trial_ended_at": DateTime, **_MARK},
    ),
    "fees": WantedTable(
        {
            "id": Uuid,
            "invoice_id": Uuid,
            "subscription_id": Uuid,
            "charge_id": Uuid,
            "fee_type": Integer,
            "amount_cents": BigInteger,
            "amount_currency": Text,
            "properties": JSONB,
            "created_at": DateTime,
        },
        optional={
            "amount_details": JSONB,
            "taxes_rate": Double,
            "precise_coupons_amount_cents": Numeric,
            "deleted_at": DateTime,
            **_MARK,
        },
    ),
    "invoices": WantedTable(
        {
            "id": Uuid,
            "customer_id": Uuid,
            "status": Integer,
            "issuing_date": Date,
            "total_amount_cents": BigInteger,
            "currency": Text,
            "created_at": DateTime,
        },
        optional={"self_billed": Boolean, **_MARK},
    ),
    "invoice_subscriptions": WantedTable(
        {
            "invoice_id": Uuid,
            "subscription_id": Uuid,
            "from_datetime": DateTime,
            "to_datetime": DateTime,
        },
        optional=_MARK,
    ),
    "coupons": WantedTable(
        {"id": Uuid, "limited_plans": Boolean, "limited_billable_metrics": Boolean},
        optional=_MARK,
    ),
    "coupon_targets": WantedTable(
        {"coupon_id": Uuid, "plan_id": Uuid, "deleted_at": DateTime}, optional=_MARK
    ),
    "applied_coupons": WantedTable(
        {
            "id": Uuid,
            "coupon_id": Uuid,
            "customer_id": Uuid,
            "amount_cents": BigInteger,
            "amount_currency": Text,
            "percentage_rate": Numeric,
            "frequency": Integer,
            "frequency_duration_remaining": Integer,
            "created_at": DateTime,
            "terminated_at": DateTime,
        },
        optional=_MARK,
    ),
    "payments": WantedTable(
        {
            "id": Uuid,
            "invoice_id": Uuid,
            "amount_cents": BigInteger,
            "amount_currency": Text,
            "status": Text,
            "created_at": DateTime,
        },
        optional={
            "payable_type": Text,
            "payable_id": Uuid,
            "payable_payment_status": Text,
            **_MARK,
        },
    ),
    "credit_notes": WantedTable(
        {
            "id": Uuid,
            "customer_id": Uuid,
            "invoice_id": Uuid,
            "refund_amount_cents": BigInteger,
            "refund_status": Integer,
            "refunded_at": DateTime,
            "total_amount_currency": Text,
            "status": Integer,
            "created_at": DateTime,
        },
        optional=_MARK,
    ),
    "fixed_charges": WantedTable(
        {
            "id": Uuid,
            "plan_id": Uuid,
            "parent_id": Uuid,
            "charge_model": Text,
            "properties": JSONB,
            "units": Numeric,
            "created_at": DateTime,
            "deleted_at": DateTime,
        },
        optional={"code": Text, **_MARK},
        is_optional=True,
    ),
    "fixed_charge_events": WantedTable(
        {**_UNITS, "timestamp": DateTime, "created_at": DateTime},
        optional=_MARK,
        is_optional=True,
    ),
    "subscription_fixed_charge_units_overrides": WantedTable(
        {**_UNITS}, optional=_MARK, is_optional=True
    ),
}
"""Every table that is read: the rights that a role needs, and what must be there."""
