"""Where it was read what products do; add a page here before a preset refers to it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["SOURCES"]

_CM = "help.chartmogul.com/hc/en-us/articles/"
_ST = "support.stripe.com/questions/"
_BM = "help.baremetrics.com/en/articles/"
_MX = "help.chargify.com/reports/"

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "chartmogul-movements": f"{_CM}4416682609426-Understanding-MRR-movements",
        "chartmogul-churn-rate": f"{_CM}207340419-Churn-rate-formulas",
        "chartmogul-net-churn": f"{_CM}4414075567250-Chart-Net-MRR-Churn-Rate",
        "chartmogul-churn-recognition": "help.chartmogul.com/article/242-churn-recognition",
        "chartmogul-settings": f"{_CM}15384089786524-Configuring-Subscription-Analytics-settings",
        "chartmogul-past-due": "help.chartmogul.com/article/303-handling-past-due-subscriptions",
        "chartmogul-currencies": f"{_CM}201520952-How-ChartMogul-handles-subscriptions-billed-"
        "in-foreign-currencies",
        "chartmogul-proration": "dev.chartmogul.com/docs/how-mrr-is-calculated-from-prorated-"
        "invoices",
        "chartmogul-usage": "dev.chartmogul.com/docs/implementing-usage-based-billing",
        "chartmogul-paused": f"{_CM}360015688860-Handling-paused-subscriptions-in-ChartMogul",
        "chartmogul-invoices": "help.chartmogul.com/article/243-invoice-handling",
        "chartmogul-ltv": f"{_CM}203359061-Chart-Customer-Lifetime-Value-LTV",
        "chartmogul-trials": f"{_CM}115000865205-Metric-Trial-to-paid-conversion-rate",
        "stripe-glossary": "docs.stripe.com/billing/subscriptions/analytics/glossary",
        "stripe-churn": f"{_ST}calculating-churn-rate-in-billing",
        "stripe-trials": f"{_ST}calculating-trial-conversion-rate-in-billing",
        "stripe-discounts": f"{_ST}impact-of-discounts-and-coupons-on-monthly-recurring-revenue-"
        "mrr-in-billing",
        "baremetrics-mrr": f"{_BM}5380330-monthly-recurring-revenue",
        "baremetrics-churn": f"{_BM}5380347-user-and-revenue-churn",
        "baremetrics-changelog": "changelog.baremetrics.com",
        "baremetrics-ltv": "help.baremetrics.com/know-your-metrics/lifetime-value",
        "profitwell-vs-stripe": "learn.profitwell.com/article/gf9qqkyplu-profitwell-vs-stripe",
        "paddle-vs-maxio": "www.paddle.com/help/profitwell-metrics/measure/compare/"
        "profitwell-vs-maxio",
        "profitwell-churn": "paddle.com/help/profitwell-metrics/measure/subscription-retention/"
        "churn",
        "profitwell-metrics": "learn.profitwell.com/category/WoBCXt3Wpj-calculating-metrics",
        "profitwell-faq-mirror": "bssubs.net/profit-well-faqs-for-paddle-users.html",
        "profitwell-refunds": "learn.profitwell.com/article/ecb3zzxewx-refunds",
        "paddle-classic-mrr": "www.paddle.com/help/manage/reporting/"
        "what-is-monthly-recurring-revenue-mrr",
        "smsb-imboard": "docs.imboard.ai/docs/ontology/customers/net_revenue_retention/",
        "smsb-gaspwiki": "gaspwiki.pages.dev/v1/metrics/core",
        "maxio-churn": f"{_MX}churn-analytics.html",
        "maxio-mrr-faq": f"{_MX}mrr-faq.html",
        "lago-mrr-sql": "github.com/getlago/lago-api app/models/analytics/mrr.rb",
        "posthog-revenue": "github.com/PostHog/posthog products/data_modeling/skills/"
        "modeling-revenue-metrics/references/revenue-metric-definitions.md",
        "tidemill-upstream-docs": "github.com/ondraz/tidemill docs/definitions.md",
    }
)
"""Short name of a reference → where it was read."""
