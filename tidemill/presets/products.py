"""The presets: a table for each product, of what it does about the knobs we know of.

`read_choices` says how a row is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tidemill.presets.preset import Preset, read_choices

__all__ = ["PRESETS"]

_CHARTMOGUL = """
churn_recognition      -             D chartmogul-churn-recognition chartmogul-settings
activation             invoice_paid  D chartmogul-invoices
trials_in_mrr          -             D chartmogul-trials
past_due               -             D chartmogul-past-due
paused                 active        D chartmogul-paused
free_plans             after_paid    D chartmogul-settings
annual_refund_churns   -             U
discounts              include_all   D chartmogul-proration chartmogul-movements
tax                    -             D chartmogul-proration
usage                  last_invoice  D chartmogul-usage
weeks_per_month        -             U
days_per_month         -             U
rounding               subscription  D chartmogul-proration
movement_level         -             D chartmogul-movements
netting                window:60     D chartmogul-movements chartmogul-settings
join_churn_same_month  -             D chartmogul-churn-rate
reactivation           -             D chartmogul-movements
fx                     at_renewal    D chartmogul-currencies
arr_basis              -             U
window                 -             D chartmogul-churn-rate
logo_numerator         -             D chartmogul-churn-rate
logo_denominator       -             U
rate_population        all_movements D chartmogul-net-churn
grr_method             movements     D chartmogul-net-churn
reactivation_in_nrr    -             D chartmogul-net-churn
quick_ratio_reactivation no          T tidemill-upstream-docs
trial_rate             -             D chartmogul-trials
ltv_churn              trailing:6    D chartmogul-ltv
partial_period         linear        T tidemill-upstream-docs
"""

_BAREMETRICS = """
churn_recognition      -             I
activation             -             U
trials_in_mrr          -             I
past_due               after:30      D baremetrics-mrr
paused                 active        U
free_plans             -             D baremetrics-mrr
annual_refund_churns   -             U
discounts              include_all   D baremetrics-mrr
tax                    -             U
usage                  -             U
weeks_per_month        -             U
days_per_month         -             U
rounding               subscription  U
movement_level         -             D baremetrics-changelog
netting                none          I
join_churn_same_month  -             D baremetrics-changelog
reactivation           -             I
fx                     at_movement   U
arr_basis              -             U
window                 rolling_30d   D baremetrics-churn
logo_numerator         events_all    D baremetrics-changelog
logo_denominator       -             U
rate_population        all_movements D baremetrics-churn baremetrics-changelog
grr_method             movements     D baremetrics-churn baremetrics-changelog
reactivation_in_nrr    no            D baremetrics-changelog
quick_ratio_reactivation no          D baremetrics-changelog
trial_rate             started_in_window D baremetrics-changelog
ltv_churn              -             D baremetrics-ltv
partial_period         -             U
"""

_STRIPE = """
churn_recognition      when_scheduled T profitwell-vs-stripe
activation             -             D stripe-churn
trials_in_mrr          -             D stripe-glossary
past_due               -             D stripe-glossary
paused                 active        I
free_plans             -             D stripe-glossary
annual_refund_churns   -             U
discounts              forever_only  D stripe-discounts
tax                    -             D stripe-glossary
usage                  -             D stripe-glossary
weeks_per_month        -             U
days_per_month         -             U
rounding               subscription  U
movement_level         -             D stripe-churn
netting                none          I
join_churn_same_month  -             D stripe-churn
reactivation           -             D stripe-glossary
fx                     -             I
arr_basis              -             U
window                 rolling_30d   D stripe-churn
logo_numerator         events_all    D stripe-churn
logo_denominator       start_plus_new D stripe-churn
rate_population        all_movements I
grr_method             movements     I
reactivation_in_nrr    -             I
quick_ratio_reactivation -           I
trial_rate             ended_in_window D stripe-trials
ltv_churn              -             T profitwell-vs-stripe
partial_period         -             U
"""

_PROFITWELL = """
churn_recognition      at_period_end D profitwell-churn
activation             invoice_paid  D profitwell-vs-stripe
trials_in_mrr          -             D profitwell-vs-stripe
past_due               after:15      T profitwell-faq-mirror
paused                 contraction   D paddle-vs-maxio
free_plans             -             D profitwell-metrics
annual_refund_churns   yes           D profitwell-refunds
discounts              include_all   D profitwell-vs-stripe
tax                    -             T profitwell-faq-mirror
usage                  last_invoice  I paddle-vs-maxio
weeks_per_month        -             U
days_per_month         -             U
rounding               subscription  U
movement_level         -             I
netting                none          I
join_churn_same_month  ignore        D profitwell-vs-stripe
reactivation           -             D paddle-vs-maxio
fx                     at_movement   U
arr_basis              -             U
window                 -             I
logo_numerator         events_start_cohort I
logo_denominator       -             U
rate_population        all_movements I
grr_method             movements     I
reactivation_in_nrr    -             I
quick_ratio_reactivation -           I
trial_rate             -             U
partial_period         -             U
"""

_SMSB = """
churn_recognition      at_period_end I
activation             -             U
trials_in_mrr          -             T smsb-gaspwiki
past_due               -             U
paused                 -             U
free_plans             -             T smsb-gaspwiki
annual_refund_churns   -             U
discounts              include_all   T smsb-gaspwiki
tax                    -             I
usage                  -             T smsb-imboard
weeks_per_month        -             U
days_per_month         -             U
rounding               subscription  I
movement_level         -             U
netting                month         I
join_churn_same_month  -             U
reactivation           -             U
fx                     constant      I
arr_basis              contract_value T smsb-imboard
window                 -             U
logo_numerator         -             T smsb-gaspwiki
logo_denominator       -             U
rate_population        -             T smsb-imboard
grr_method             -             T smsb-imboard
trial_rate             -             U
ltv_numerator          arpa_x_margin T smsb-gaspwiki
partial_period         -             U
"""

_MAXIO = """
churn_recognition      -             T paddle-vs-maxio
activation             -             U
trials_in_mrr          -             I
past_due               -             D maxio-mrr-faq
paused                 active        T paddle-vs-maxio
free_plans             -             U
annual_refund_churns   -             U
discounts              include_all   T paddle-vs-maxio
tax                    -             I
usage                  -             T paddle-vs-maxio
weeks_per_month        -             U
days_per_month         -             U
rounding               subscription  U
movement_level         subscription  D maxio-churn
netting                none          T paddle-vs-maxio
join_churn_same_month  -             T paddle-vs-maxio
reactivation           within:90     T paddle-vs-maxio
fx                     at_movement   U
arr_basis              -             U
window                 -             D maxio-churn
logo_numerator         events_start_cohort D maxio-churn
logo_denominator       -             U
rate_population        all_movements I maxio-churn
grr_method             movements     I maxio-churn
reactivation_in_nrr    -             D maxio-churn
quick_ratio_reactivation -           D maxio-churn
trial_rate             -             U
partial_period         -             U
"""

_LAGO_OSS = """
discounts              -             U
tax                    include       D lago-mrr-sql
weeks_per_month        4.33          D lago-mrr-sql
days_per_month         30.44         D lago-mrr-sql
reactivation           never         D lago-mrr-sql
"""

_POSTHOG = """
netting                month         D posthog-revenue
reactivation           never         D posthog-revenue
fx                     at_movement   I posthog-revenue
arr_basis              -             D posthog-revenue
movement_level         -             D posthog-revenue
"""

_PADDLE_CLASSIC = """
discounts              exclude       D paddle-classic-mrr
usage                  -             D paddle-classic-mrr
"""

_UPSTREAM = """
usage                  trailing:3    D tidemill-upstream-docs
netting                none          D tidemill-upstream-docs
fx                     at_movement   D tidemill-upstream-docs
"""

_ALL = (
    Preset(
        "default", "Tidemill", "Exact levels, one movement per customer and day, closed cohorts."
    ),
    Preset(
        "chartmogul",
        "ChartMogul",
        "Net of all discounts, counted from the first paid invoice, rates from all movements.",
        read_choices(_CHARTMOGUL),
        (
            "Its default churn date and first-invoice rule differ between versions of its pages.",
            "Proration at invoice level is not reproduced; the preset acts on subscription states.",
            "Paused applies to Stripe, GoCardless and Chargebee sources; Recurly differs.",
        ),
    ),
    Preset(
        "baremetrics",
        "Baremetrics",
        "Past due churns after 30 days; rates look at the last 30 days.",
        read_choices(_BAREMETRICS),
        (
            "It documents trial conversion over trials started in the window; no worked case yet.",
            "It measures annual plans over 365 days.",
        ),
    ),
    Preset(
        "stripe",
        "Stripe Billing",
        "Churn on the day the cancellation is asked for; rates look at the last 30 days.",
        read_choices(_STRIPE),
        ("Whether returning customers count in its churn denominator is not stated.",),
    ),
    Preset(
        "profitwell",
        "ProfitWell",
        "Counted from payment, churned when the paid period ends.",
        read_choices(_PROFITWELL),
        (
            "The past-due window is a setting of the account; 15 days is the least it advises.",
            "The smoothing of its LTV is not disclosed and not reproduced.",
        ),
    ),
    Preset(
        "smsb",
        "SaaS Metrics Standards Board",
        "Annualised contract value, closed cohorts, constant exchange rates.",
        read_choices(_SMSB),
        ("Its own pages were not available; everything is by third parties or inferred.",),
    ),
    Preset(
        "maxio",
        "Maxio",
        "Movements per subscription; a return after 90 days is new.",
        read_choices(_MAXIO),
        (
            "It books component changes inside a period at the next renewal; not reproduced.",
            "Its LTV adapts a margin and retention formula; not reproduced.",
        ),
    ),
    Preset(
        "lago_oss",
        "Lago (open-source SQL)",
        "Weeks by 4.33, days by 30.44, taxes included, no reactivation.",
        read_choices(_LAGO_OSS),
        ("It spreads invoices over calendar months; the preset acts on subscription states.",),
    ),
    Preset(
        "posthog",
        "PostHog",
        "Month start against month end, no reactivation, no exchange-rate line.",
        read_choices(_POSTHOG),
        ("It sums recognised revenue by month; the preset acts on subscription states.",),
    ),
    Preset(
        "paddle_classic",
        "Paddle Classic",
        "List prices: discounts and metered charges are ignored.",
        read_choices(_PADDLE_CLASSIC),
        ("It converts at the exchange rate of today; choose fx=constant and a date for that.",),
    ),
    Preset(
        "tidemill_upstream",
        "Tidemill's earlier documents",
        "Usage over three months, no netting, the exchange rate of each movement.",
        read_choices(_UPSTREAM),
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({each.name: each for each in _ALL})
"""Name → preset, the default first."""
