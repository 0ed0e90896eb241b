"""The canonical words every connector maps its vendor's words onto.

Members are strings, so they compare, serialise and travel to SQL as their values.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "AttributeKind",
    "Cause",
    "ChurnReason",
    "CollectionMethod",
    "Confidence",
    "DiscountDuration",
    "ExpenseCategory",
    "Interval",
    "InvoiceStatus",
    "LineKind",
    "MovementType",
    "PaymentKind",
    "PaymentMethod",
    "PricingModel",
    "Standing",
    "SubscriptionStatus",
    "UsageType",
]


class SubscriptionStatus(StrEnum):
    """What the billing system says a subscription is, after the change."""

    INCOMPLETE = "incomplete"
    """Created, but its first payment has not succeeded; it may still never start."""
    TRIALING = "trialing"
    """In its trial; nothing is owed yet."""
    ACTIVE = "active"
    """In good standing."""
    PAST_DUE = "past_due"
    """A payment failed and is being retried."""
    UNPAID = "unpaid"
    """Payment retries were given up; terminal by dunning, though the contract may still exist."""
    PAUSED = "paused"
    """Suspended by agreement; it may resume."""
    CANCELED = "canceled"
    """Ended; it never comes back under the same id."""


class MovementType(StrEnum):
    """How a signed change of MRR is classified."""

    NEW = "new"
    """A customer who was never active before becomes active."""
    EXPANSION = "expansion"
    """An active customer pays more."""
    CONTRACTION = "contraction"
    """An active customer pays less; the amount is negative."""
    CHURN = "churn"
    """An active customer stops being active; the amount is negative."""
    REACTIVATION = "reactivation"
    """A customer who was active before becomes active again."""


class Cause(StrEnum):
    """Why a level changed: an event, or the named timer that an event set."""

    EVENT = "event"
    """The state an event brought differs from the one before it."""
    STARTED = "started"
    """The start date of a subscription that was created earlier arrived."""
    DISCOUNT_STARTED = "discount_started"
    """A discount with a later start date began."""
    DISCOUNT_ENDED = "discount_ended"
    """A discount ran out."""
    TRIAL_ENDED = "trial_ended"
    """The trial's end arrived."""
    CANCEL_AT_REACHED = "cancel_at_reached"
    """The date a cancellation was scheduled for arrived."""
    PERIOD_ENDED = "period_ended"
    """The billing period of a subscription set to cancel at period end ran out."""
    PAST_DUE_TIMEOUT = "past_due_timeout"
    """The subscription was past due for as long as the policy tolerates."""
    PAID_UP_DATE = "paid_up_date"
    """The service already paid for ran out after a cancellation."""
    INVOICE_PAID = "invoice_paid"
    """The payment that the policy counts from arrived."""
    INVOICE_REFUNDED = "invoice_refunded"
    """The service period of an invoice that was refunded in full began or ended."""
    USAGE_INVOICE = "usage_invoice"
    """A finalised usage charge changed the usage part of MRR."""
    USAGE_LAPSED = "usage_lapsed"
    """No usage was invoiced for as long as the policy looks back."""
    REVALUED = "revalued"
    """A renewal took on the exchange rate of its day."""


class Standing(StrEnum):
    """Why a segment of a subscription's life counts, or does not. The first that applies."""

    REFUNDED = "refunded"
    """What was paid for it was given back in full."""
    PAID_UP = "paid_up"
    """Cancelled, but counted until the date it is paid up to."""
    NOT_STARTED = "not_started"
    """It begins later than it was written down."""
    NOT_ACTIVATED = "not_activated"
    """Its first invoice is still awaited, or unpaid."""
    STATUS = "status"
    """Its status does not count."""
    PAST_DUE_TIMEOUT = "past_due_timeout"
    """Past due for longer than the policy has patience."""
    ENDED = "ended"
    """Its cancellation has taken effect."""
    PAUSED = "paused"
    """It is paused, by its status or in its collection."""
    COUNTS = "counts"
    """Nothing speaks against it."""


class ChurnReason(StrEnum):
    """Whether the customer chose to leave."""

    VOLUNTARY = "voluntary"
    """The customer, or someone on their behalf, cancelled."""
    INVOLUNTARY = "involuntary"
    """Ended by failed payment: dunning, unpaid, or the past-due timeout."""
    UNKNOWN = "unknown"
    """The billing system does not say; never counted as voluntary."""


class Interval(StrEnum):
    """The unit of a billing period; a price repeats every `interval_count` of them."""

    DAY = "day"
    """One day."""
    WEEK = "week"
    """Seven days."""
    MONTH = "month"
    """One calendar month."""
    YEAR = "year"
    """One calendar year."""


class PricingModel(StrEnum):
    """How a plan's price depends on the quantity."""

    FLAT = "flat"
    """The same unit amount for every unit."""
    TIERED = "tiered"
    """Each tier's units have that tier's price (graduated)."""
    VOLUME = "volume"
    """All units have the price of the tier the quantity falls into."""
    PACKAGE = "package"
    """Sold in packages of several units, rounded up."""
    USAGE = "usage"
    """Priced by what was used, known only afterwards."""


class UsageType(StrEnum):
    """Whether the quantity is agreed beforehand or measured."""

    LICENSED = "licensed"
    """The quantity is agreed beforehand, such as seats."""
    METERED = "metered"
    """The quantity is what was used; it counts in MRR only by policy."""


class DiscountDuration(StrEnum):
    """How long a discount applies."""

    ONCE = "once"
    """To one invoice: one billing interval from its start."""
    REPEATING = "repeating"
    """Until its end date."""
    FOREVER = "forever"
    """For as long as the subscription lasts."""


class CollectionMethod(StrEnum):
    """How invoices are collected."""

    CHARGE_AUTOMATICALLY = "charge_automatically"
    """The stored payment method is charged."""
    SEND_INVOICE = "send_invoice"
    """The customer is sent an invoice to pay."""


class InvoiceStatus(StrEnum):
    """Where an invoice is in its life."""

    DRAFT = "draft"
    """Not final; amounts may still change."""
    OPEN = "open"
    """Final and waiting to be paid."""
    PAID = "paid"
    """Paid in full, or nothing was due."""
    VOID = "void"
    """Withdrawn; as if never issued."""
    UNCOLLECTIBLE = "uncollectible"
    """Given up as a bad debt."""


class LineKind(StrEnum):
    """What an invoice line charges for."""

    SUBSCRIPTION = "subscription"
    """A recurring licensed charge."""
    USAGE = "usage"
    """A metered charge."""
    ADDON = "addon"
    """A charge that does not recur, such as a setup fee."""
    PRORATION = "proration"
    """Part of a period, after a change inside it."""
    TAX = "tax"
    """Tax as a line of its own."""
    DISCOUNT = "discount"
    """A discount as a line of its own."""
    CREDIT = "credit"
    """Balance or credit note applied."""
    OTHER = "other"
    """Anything else."""


class PaymentKind(StrEnum):
    """What happened to money."""

    SUCCEEDED = "succeeded"
    """It arrived."""
    FAILED = "failed"
    """An attempt failed."""
    REFUNDED = "refunded"
    """It was given back."""
    REFUND_FAILED = "refund_failed"
    """What was given back did not arrive, and is here again."""
    DISPUTED = "disputed"
    """The customer's bank took it back."""
    DISPUTE_WON = "dispute_won"
    """What the bank had taken back came again."""


class PaymentMethod(StrEnum):
    """How money moved."""

    CARD = "card"
    """Credit or debit card."""
    BANK_TRANSFER = "bank_transfer"
    """Pushed by the customer from a bank account."""
    DIRECT_DEBIT = "direct_debit"
    """Pulled from the customer's bank account."""
    WALLET = "wallet"
    """Apple Pay, Google Pay and similar."""
    PAYPAL = "paypal"
    """PayPal."""
    CRYPTO = "crypto"
    """A crypto currency."""
    OTHER = "other"
    """Anything else, such as cash or cheque."""


class Confidence(StrEnum):
    """How sure a connector is that a state was really so at that instant."""

    OBSERVED = "observed"
    """The billing system said so when it happened."""
    RECONSTRUCTED = "reconstructed"
    """Put together afterwards from dated records, such as invoices."""
    INFERRED = "inferred"
    """Assumed, for lack of records."""


class AttributeKind(StrEnum):
    """What the values of an attribute are."""

    STRING = "string"
    """Texts."""
    NUMBER = "number"
    """Numbers, exact."""
    BOOL = "bool"
    """True or false."""
    INSTANT = "instant"
    """Instants; a day alone is its midnight in UTC."""


class ExpenseCategory(StrEnum):
    """What a cost was for."""

    PROGRAM = "program"
    """Marketing programme spend: advertising, events, sponsorship."""
    SALARIES = "salaries"
    """Pay of sales and marketing people."""
    TOOLS = "tools"
    """Software for sales and marketing."""
    AGENCIES = "agencies"
    """Agencies and contractors."""
    OVERHEAD = "overhead"
    """Share of general cost."""
    COGS = "cogs"
    """Cost of delivering the service: hosting, support, payment fees."""
    OTHER = "other"
    """Anything else."""
