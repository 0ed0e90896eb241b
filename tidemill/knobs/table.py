"""Every knob there is, in one order.

The order of `KNOBS` is fixed and part of the interface. It follows the derivation: what history is
read, what counts, what it is worth, how changes become movements, in which currency, and what is
made of them. A difference between two policies is explained by turning the knobs in this order, so
each knob is charged with the difference that remains after those before it. New knobs join their
layer's end.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tidemill.knobs.knob import Knob

__all__ = ["KNOBS", "KNOB_NAMES"]

KNOBS: tuple[Knob, ...] = (
    # --- history: which events are read, whose, and by which clock
    Knob(
        "identity",
        ("merged", "per_source"),
        "Whether customers known to be one company in several sources count as one.",
        "history",
    ),
    Knob(
        "event_time",
        ("effective", "recorded"),
        "Which clock orders history: when it was so, or when Tidemill learned it.",
        "history",
    ),
    Knob(
        "late_events",
        ("restate", "book_when_received"),
        "After a period is closed: restate it, or post late events to the open period.",
        "history",
    ),
    Knob(
        "close_lag_days",
        ("3",),
        "How many days after its end a period is closed; only for late_events=book_when_received.",
        "history",
        "number",
        number_max=366,
    ),
    Knob(
        "tz",
        ("UTC",),
        "Zone whose midnights separate days, weeks, months and years.",
        "history",
        "zone",
    ),
    # --- state: from when to when a subscription counts
    Knob(
        "activation",
        ("status_active", "invoice_paid", "invoice_issued", "partly_paid"),
        "First instant that counts: the status, or the first invoice's payment or issue.",
        "state",
    ),
    Knob(
        "trials_in_mrr",
        ("exclude", "include", "shadow"),
        "Whether a trial counts as MRR; shadow shows it as a line of its own.",
        "state",
    ),
    Knob(
        "churn_recognition",
        ("at_cancellation", "at_period_end", "when_scheduled"),
        "Churn at the billing system's end, at the paid-up date, or when it was asked for.",
        "state",
    ),
    Knob(
        "annual_refund_churns",
        ("no", "yes"),
        "Whether an annual plan refunded and cancelled at once churns then, even with "
        "at_period_end.",
        "state",
    ),
    Knob(
        "refunds",
        ("ignore", "as_if_unpaid"),
        "Whether a full refund leaves MRR alone or restates history as never paid.",
        "state",
    ),
    Knob(
        "past_due",
        ("active", "after:N", "exclude"),
        "Whether failed payments count: until given up, for N days, or not at all.",
        "state",
        number_max=3650,
    ),
    Knob(
        "paused",
        ("churn", "contraction", "active"),
        "A pause is churn and reactivation, or a drop to nothing by a kept customer, or no change.",
        "state",
    ),
    Knob(
        "free_plans",
        ("never", "after_paid", "always"),
        "Whether someone who pays nothing is an active customer: never, if once paid, always.",
        "state",
    ),
    # --- value: what it is worth a month
    Knob(
        "discounts",
        ("exclude_once", "include_all", "forever_only", "exclude"),
        "Which discounts lower MRR: all but one-off ones, all, only permanent ones, none.",
        "value",
    ),
    Knob(
        "tax",
        ("exclude", "include"),
        "Whether tax contained in a price is part of MRR.",
        "value",
    ),
    Knob(
        "usage",
        ("exclude", "last_invoice", "trailing:N"),
        "Usage in MRR: none, the last invoice's, or the mean of the last N months.",
        "value",
        number_max=120,
    ),
    Knob(
        "weeks_per_month",
        ("52/12",),
        "How many weeks make a month (others use 4.33 or 4).",
        "value",
        "ratio",
    ),
    Knob(
        "days_per_month",
        ("365/12",),
        "How many days make a month (others use 30 or 30.44).",
        "value",
        "ratio",
    ),
    Knob(
        "rounding",
        ("exact", "subscription"),
        "Exact values rounded only for display, or whole minor units for each subscription.",
        "value",
    ),
    # --- movement: how changes of level are cut and named
    Knob(
        "movement_level",
        ("customer", "subscription"),
        "What a movement is computed on.",
        "movement",
    ),
    Knob(
        "netting",
        ("day", "none", "window:N", "month"),
        "Changes inside one day, N minutes or month collapse to one movement; or none do.",
        "movement",
        number_max=44_640,
    ),
    Knob(
        "join_churn_same_month",
        ("count", "ignore"),
        "Whether joining and leaving in one month counts, or is erased with the MRR between.",
        "movement",
    ),
    Knob(
        "reactivation",
        ("forever", "within:N", "never"),
        "Whether a return is reactivation: always, within N days, or never (then it is new).",
        "movement",
        number_max=36_500,
    ),
    # --- currency
    Knob(
        "fx",
        ("period_end", "at_movement", "at_renewal", "constant"),
        "Rates: each day's with a line for their effect, the movement's, each renewal's, or fixed.",
        "currency",
    ),
    Knob(
        "fx_constant_date",
        ("",),
        "The day whose rates are used; only for fx=constant, empty means the first rates known.",
        "currency",
        "day",
    ),
    # --- level
    Knob(
        "arr_basis",
        ("mrr_x12", "contract_value", "contract_days"),
        "ARR: twelve times MRR, annualised contract value, or contract value by its days.",
        "level",
    ),
    # --- rate: what is divided by what
    Knob("window", ("calendar", "rolling_30d"), "The window of a rate.", "rate"),
    Knob(
        "logo_numerator",
        ("net_start_cohort", "events_start_cohort", "events_all"),
        "Customers lost: of those at the start gone at the end, their churns, or all churns.",
        "rate",
    ),
    Knob(
        "logo_denominator",
        ("start", "start_plus_new"),
        "Customers at the start, or these and the new ones.",
        "rate",
    ),
    Knob(
        "rate_population",
        ("start_cohort", "all_movements"),
        "NRR and GRR from the customers of the start only, or from every movement.",
        "rate",
    ),
    Knob(
        "grr_method",
        ("cohort_min", "movements"),
        "GRR from each customer's lower value, or from the losses booked.",
        "rate",
    ),
    Knob(
        "reactivation_in_nrr",
        ("yes", "no"),
        "Whether reactivation counts in NRR; only for rate_population=all_movements.",
        "rate",
    ),
    Knob(
        "quick_ratio_reactivation",
        ("yes", "no"),
        "Whether reactivation counts as a gain in the quick ratio.",
        "rate",
    ),
    Knob(
        "nrr_window",
        ("month", "12m_cohort", "chained"),
        "NRR over the month, over the cohort of twelve months ago, or monthly ones multiplied.",
        "rate",
    ),
    Knob(
        "trial_rate",
        ("start_cohort", "ended_in_window", "started_in_window"),
        "Trials converted over those started (restated later), ended, or started in the window.",
        "rate",
    ),
    Knob(
        "cohort_key",
        ("first_paid", "signup"),
        "What puts a customer into a cohort: the first month of MRR, or of sign-up.",
        "rate",
    ),
    Knob(
        "cohort_activity",
        ("at_close", "any_in_period"),
        "Active in a month of a cohort table: at its close, or at any time in it.",
        "rate",
    ),
    Knob(
        "ltv_churn",
        ("current", "trailing:N"),
        "Churn that LTV divides by: the period's, or the mean of the N months before it.",
        "rate",
        number_max=120,
    ),
    Knob(
        "ltv_numerator",
        ("arpa", "arpa_x_margin"),
        "What LTV divides: ARPA, or ARPA times gross margin.",
        "rate",
    ),
    Knob(
        "partial_period",
        ("none", "linear", "compound"),
        "A rate of an unfinished period: as it is and flagged, scaled up, or compounded.",
        "rate",
    ),
    # --- cost
    Knob(
        "cac_scope",
        ("fully_loaded", "programme"),
        "Cost of acquisition: all of sales and marketing, or programme spend only.",
        "cost",
    ),
    Knob(
        "cac_lag_months",
        ("0",),
        "How many months spend comes before the customers it won.",
        "cost",
        "number",
        number_max=24,
    ),
)
"""Every knob, in the fixed order in which differences are explained."""

KNOB_NAMES: Mapping[str, Knob] = MappingProxyType({knob.name: knob for knob in KNOBS})
"""Name → knob, in the same order."""
