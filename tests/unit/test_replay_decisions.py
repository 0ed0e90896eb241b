"""The replay's answers where the definitions leave room, each worked by hand.

The worked cases fix what is common; these fix what is rare. The letters are those of the decisions
named in `tests/support/replay_levels.py` and its neighbours.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import pytest

from tests.support.cases import preset_policy
from tests.support.replay import Replay, replay

_DAY = "2025-{}T00:00:00Z"


def _at(moment: str) -> str:
    """`03-05` is midnight of 5 March 2025; longer texts also name the hour."""
    return f"2025-{moment}:00Z" if "T" in moment else _DAY.format(moment)


def _item(amount: int | str = 100, **changes: Any) -> dict[str, Any]:
    item = {"id": "i1", "quantity": 1, "unit_amount": str(amount), "interval": "month"}
    return {**item, "interval_count": 1, **changes}


def _event(type_: str, moment: str, data: dict[str, Any], **envelope: Any) -> dict[str, Any]:
    at = _at(moment)
    number = f"{type_}:{moment}:{data.get('id')}:{envelope}:{data.get('status')}"
    return {
        "id": number,
        "source": "book",
        "type": type_,
        "occurred_at": at,
        "sequence": envelope.get("sequence", 0),
        "recorded_at": _at(envelope["recorded"]) if "recorded" in envelope else at,
        "customer": envelope.get("customer", "c1"),
        "data": data,
    }


def _told(*states: dict[str, Any], name: str = "s1") -> list[dict[str, Any]]:
    """A subscription's states; each changes the one before."""
    whole: dict[str, Any] = {
        "id": name,
        "status": "active",
        "currency": "USD",
        "items": [_item()],
        "started_at": _at(states[0]["at"]),
        "current_period_start": _at("01-01"),
        "current_period_end": _at("02-01"),
    }
    events = []
    for state in states:
        envelope = {k: state[k] for k in ("recorded", "sequence", "customer") if k in state}
        whole |= {k: v for k, v in state.items() if k not in {"at", *envelope}}
        events.append(_event("subscription.updated", state["at"], dict(whole), **envelope))
    return events


def _invoice(number: str, issued: str, **changes: Any) -> dict[str, Any]:
    data = {
        "id": number,
        "subscription": "s1",
        "status": "open",
        "currency": "USD",
        "total": 100,
        "issued_at": _at(issued),
        "lines": [],
    }
    data |= changes
    return _event("invoice.updated", issued, data)


def _usage(number: str, issued: str, amount: int, **changes: Any) -> dict[str, Any]:
    lines = [{"id": "l", "kind": "usage", "amount": amount}]
    return _invoice(number, issued, status="paid", lines=lines, total=amount, **changes)


def _paid(moment: str, invoice: str, amount: int, kind: str = "succeeded") -> dict[str, Any]:
    data = {"id": f"p{moment}", "invoice": invoice, "amount": amount, "currency": "USD"}
    return _event(f"payment.{kind}", moment, data)


def _rate(day: str, rate: str, quote: str = "EUR") -> dict[str, Any]:
    data = {"id": quote, "base": "USD", "quote": quote, "day": f"2025-{day}", "rate": rate}
    return _event("fx_rate.published", day, data, customer="")


def _known(events: list[dict[str, Any]], **knobs: str) -> Replay:
    return replay(events, preset_policy("default", knobs))


def _movements(events: list[dict[str, Any]], **knobs: str) -> list[str]:
    """Movements as `03-05 new 100`, in base currency."""
    told = _known(events, **knobs).movements
    return [f"{m.day:%m-%d} {m.type} {m.base}" for m in told]


class TestVersions:
    def test_of_one_instant_the_last_in_order_is_in_force(self) -> None:
        events = _told(
            {"at": "01-01"},
            {"at": "02-01", "items": [_item(300)], "sequence": 2},
            {"at": "02-01", "items": [_item(200)], "sequence": 1},
        )
        assert _movements(events) == ["01-01 new 100", "02-01 expansion 200"]

    def test_a_cancellation_is_last_of_its_instant(self) -> None:
        events = _told({"at": "01-01"}, {"at": "02-01", "status": "canceled"})
        events += _told({"at": "02-01", "items": [_item(900)]})
        assert _movements(events) == ["01-01 new 100", "02-01 churn -100"]

    def test_nothing_counts_before_the_start(self) -> None:
        events = _told({"at": "01-01", "started_at": _at("01-20")})
        assert _movements(events) == ["01-20 new 100"]

    def test_overtaken_versions_never_come_into_force(self) -> None:
        events = _told(
            {"at": "01-01"},
            {"at": "02-01", "items": [_item(300)], "recorded": "04-01"},
            {"at": "03-01", "items": [_item(200)]},
        )
        assert _movements(events)[1:] == ["02-01 expansion 200", "03-01 contraction -100"]
        assert _movements(events, event_time="recorded")[1:] == ["03-01 expansion 100"]
        booked = _movements(events, late_events="book_when_received")
        assert booked[1:] == ["03-01 expansion 100"]

    def test_books_close_some_days_after_the_month(self) -> None:
        for recorded, booked in (("02-04", "01-15"), ("02-04T00:01", "02-04")):
            events = _told({"at": "01-15", "recorded": recorded})
            assert _movements(events, late_events="book_when_received") == [f"{booked} new 100"]

    def test_known_at_hides_what_was_recorded_later(self) -> None:
        events = _told({"at": "01-01"}, {"at": "02-01", "status": "canceled", "recorded": "03-01"})
        then = datetime(2025, 2, 15, tzinfo=UTC)
        assert len(replay(events, preset_policy("default"), known_at=then).movements) == 1


class TestCounting:
    def test_trials_count_only_when_included(self) -> None:
        events = _told({"at": "01-01", "status": "trialing"}, {"at": "02-01", "status": "active"})
        assert _movements(events) == ["02-01 new 100"]
        assert _movements(events, trials_in_mrr="shadow") == ["02-01 new 100"]
        assert _movements(events, trials_in_mrr="include") == ["01-01 new 100"]

    def test_a_paused_trial_never_counted(self) -> None:
        events = _told(
            {"at": "01-01", "status": "trialing"},
            {"at": "01-10", "status": "paused", "paused_at": _at("01-10")},
            {"at": "02-01", "status": "active", "paused_at": None},
            {"at": "03-01", "status": "paused"},
        )
        assert _movements(events, paused="active") == ["02-01 new 100"]

    def test_paused_collection_is_a_pause(self) -> None:
        events = _told({"at": "01-01"}, {"at": "02-01", "paused_at": _at("02-01")})
        assert _movements(events)[1:] == ["02-01 churn -100"]
        assert _movements(events, paused="contraction")[1:] == ["02-01 contraction -100"]

    def test_a_paused_customer_who_cancels_churns_with_nothing(self) -> None:
        events = _told(
            {"at": "01-01"},
            {"at": "02-01", "status": "paused"},
            {"at": "02-20", "status": "canceled", "current_period_end": _at("06-01")},
        )
        known = ["02-01 contraction -100", "02-20 churn 0"]
        assert _movements(events, paused="contraction")[1:] == known
        # What did not count is not prolonged to its paid-up date either.
        late = {"paused": "contraction", "churn_recognition": "at_period_end"}
        assert _movements(events, **late)[1:] == known

    def test_past_due_is_dated_by_its_event_when_nobody_says_since(self) -> None:
        events = _told({"at": "01-01"}, {"at": "02-01T09:00", "status": "past_due"})
        known = _known(events, past_due="after:5")
        assert [m.at for m in known.movements][1:] == [datetime(2025, 2, 6, 9, tzinfo=UTC)]
        reasons = known.churn_reasons(date(2025, 1, 1), date(2025, 12, 31))
        assert reasons == {"involuntary": Fraction(-100)}

    def test_a_cancellation_date_is_reached_by_itself(self) -> None:
        events = _told(
            {"at": "01-01"}, {"at": "02-01", "cancel_at": _at("03-03"), "voluntary": True}
        )
        known = _known(events)
        assert [f"{m.day:%m-%d} {m.type}" for m in known.movements][1:] == ["03-03 churn"]
        assert set(known.churn_reasons(date(2025, 1, 1), date(2025, 12, 31))) == {"voluntary"}
        assert _movements(events, churn_recognition="when_scheduled")[1:] == ["02-01 churn -100"]

    @pytest.mark.parametrize(("period_end", "ended"), [("05-01", "05-01"), ("02-10", "03-03")])
    def test_paid_up_date_is_the_later_one(self, period_end: str, ended: str) -> None:
        scheduled = {"cancel_at": _at("03-03"), "current_period_end": _at(period_end)}
        events = _told({"at": "01-01"}, {"at": "02-01", **scheduled})
        late = _movements(events, churn_recognition="at_period_end")
        assert late[1:] == [f"{ended} churn -100"]

    def test_a_canceled_version_counts_with_its_own_items(self) -> None:
        ended = {"status": "canceled", "items": [_item(70)], "current_period_end": _at("05-01")}
        events = _told({"at": "01-01"}, {"at": "02-01", **ended})
        late = _movements(events, churn_recognition="at_period_end")
        assert late[1:] == ["02-01 contraction -30", "05-01 churn -70"]

    def test_what_had_stopped_counting_is_not_prolonged(self) -> None:
        events = _told(
            {"at": "01-01"},
            {"at": "02-01", "status": "past_due"},
            {"at": "02-20", "status": "canceled", "current_period_end": _at("05-01")},
        )
        late = _movements(events, churn_recognition="at_period_end", past_due="after:5")
        assert late[1:] == ["02-06 churn -100"]

    @pytest.mark.parametrize(("interval", "ended"), [("year", "02-01"), ("month", "05-01")])
    def test_a_refunded_annual_plan_churns_at_once(self, interval: str, ended: str) -> None:
        items = [_item(1200, interval="year"), _item(120, id="i2", interval=interval)]
        gone = {"status": "canceled", "current_period_end": _at("05-01")}
        events = _told(
            {"at": "01-01", "items": items},
            {"at": "02-01", **gone, "refunded_at_cancellation": True},
        )
        late = {"churn_recognition": "at_period_end", "annual_refund_churns": "yes"}
        assert _movements(events, **late)[1].startswith(f"{ended} churn")


class TestActivation:
    _STORY = (
        _invoice("zero", "01-01", total=0, status="paid", paid_at=_at("01-01")),
        _invoice("draft", "01-02", status="draft"),
        _invoice("first", "01-03", status="paid", paid_at=_at("01-20")),
        _paid("01-09", "first", 40),
        _invoice("second", "01-04", status="paid", paid_at=_at("01-05")),
    )

    @pytest.mark.parametrize(
        ("activation", "day"),
        [
            ("status_active", "01-01"),
            ("invoice_issued", "01-03"),
            ("partly_paid", "01-09"),
            ("invoice_paid", "01-20"),
        ],
    )
    def test_first_counted_instant(self, activation: str, day: str) -> None:
        events = [*_told({"at": "01-01"}), *self._STORY]
        assert _movements(events, activation=activation) == [f"{day} new 100"]

    @pytest.mark.parametrize("status", ["open", "uncollectible"])
    def test_never_while_unpaid(self, status: str) -> None:
        events = [*_told({"at": "01-01"}), _invoice("in", "01-01", status=status)]
        assert _movements(events, activation="invoice_paid") == []

    def test_an_invoice_of_the_second_period_is_not_the_first(self) -> None:
        for issued, told in (("02-01", ["01-01 new 100"]), ("01-31", [])):
            events = [*_told({"at": "01-01"}), _invoice("in", issued)]
            assert _movements(events, activation="invoice_paid") == told

    def test_refunded_in_full_is_unpaid(self) -> None:
        period = {"period_start": _at("02-01"), "period_end": _at("03-01")}
        paid = _invoice("in", "02-01", status="paid", paid_at=_at("02-01"), **period)
        events = [*_told({"at": "01-01"}), paid, _paid("03-05", "in", 60, "refunded")]
        assert _movements(events, refunds="as_if_unpaid") == ["01-01 new 100"]
        events.append(_paid("03-06", "in", 40, "refunded"))
        restated = _movements(events, refunds="as_if_unpaid")
        assert restated[1:] == ["02-01 churn -100", "03-01 reactivation 100"]


class TestValue:
    def test_discounts_of_items_come_first_and_each_takes_from_what_is_left(self) -> None:
        items = [_item(100), _item(300, id="i2"), _item(50, id="i3", usage_type="metered")]
        discounts = [
            {"id": "all", "amount_off": "90", "duration": "forever"},
            {"id": "half", "percent_off": "50", "duration": "forever", "item": "i2"},
            {"id": "tenth", "percent_off": "10", "duration": "forever"},
            {"id": "lost", "percent_off": "100", "duration": "forever", "item": "gone"},
        ]
        events = _told({"at": "01-01", "items": items, "discounts": discounts})
        # i2: 300 - 150 = 150. Then 90 of 100 + 150 = 250: 64 + 96. Then a tenth of both.
        assert _movements(events) == ["01-01 new 144"]

    def test_an_amount_is_spread_in_proportion(self) -> None:
        items = [_item(100), _item(1200, id="i2", interval="year")]
        discounts = [{"id": "all", "amount_off": "130", "duration": "forever"}]
        events = _told({"at": "01-01", "items": items, "discounts": discounts})
        # A tenth of each period amount: 90 a month and 1080 a year.
        assert _movements(events) == ["01-01 new 180"]

    def test_once_lasts_one_interval_of_its_item(self) -> None:
        items = [_item(100), _item(700, id="i2", interval="week")]
        discounts = [{"id": "d", "percent_off": "100", "duration": "once", "item": "i2"}]
        events = _told({"at": "01-31", "items": items, "discounts": discounts})
        knobs = {"discounts": "include_all", "weeks_per_month": "4"}
        assert _movements(events, **knobs) == ["01-31 new 100", "02-07 expansion 2800"]
        del discounts[0]["item"]
        events = _told({"at": "01-31", "items": items, "discounts": discounts})
        # 31 January plus one month.
        assert _movements(events, **knobs) == ["02-28 new 2900"]

    def test_rounding_is_half_away_from_zero_and_of_the_whole(self) -> None:
        items = [_item(5, interval_count=2), _item("0.5", id="i2")]
        events = _told({"at": "01-01", "items": items[:1]}, {"at": "02-01", "items": items})
        rounded = _movements(events, rounding="subscription")
        assert rounded == ["01-01 new 3"]

    def test_usage_lasts_until_the_next_invoice(self) -> None:
        items = [_item(0, usage_type="metered", interval_count=2)]
        events = [
            *_told({"at": "01-01", "items": items}, {"at": "08-01", "status": "canceled"}),
            _usage("u1", "02-01", 40),
            _usage("u2", "06-01", 100),
        ]
        void = _usage("u3", "07-01", 5)
        void["data"]["status"] = "void"
        assert _movements([*events, void], usage="last_invoice") == [
            "02-01 new 20",
            "06-01 expansion 30",
            "08-01 churn -50",
        ]
        assert _movements(events, usage="trailing:2")[1] == "06-01 expansion 15"

    def test_contract_days_are_those_of_the_running_period(self) -> None:
        begun = {"at": "02-01", "current_period_start": _at("02-01")}
        known = _known(_told({**begun, "items": [_item(280)]}), arr_basis="contract_days")
        assert known.arr_at(date(2025, 2, 1)) == 3650


class TestMovements:
    def test_a_window_is_a_gap_not_a_length(self) -> None:
        prices = ((200, "02-01T23:00"), (300, "02-01T23:50"), (400, "02-02T00:40"))
        events = _told({"at": "01-01"}, *({"at": at, "items": [_item(p)]} for p, at in prices))
        assert _movements(events, netting="window:60")[1:] == ["02-02 expansion 300"]
        assert len(_movements(events, netting="window:49")) == 4

    def test_a_bucket_across_midnight_is_told_on_its_last_day(self) -> None:
        prices = ((200, "02-01T23:50"), (300, "02-02T00:40"))
        events = _told({"at": "01-01"}, *({"at": at, "items": [_item(p)]} for p, at in prices))
        known = _known(events, netting="window:60")
        assert known.mrr_at(date(2025, 2, 1)) == 100
        assert known.state_mrr_at(date(2025, 2, 1)) == 200
        assert known.mrr_at(date(2025, 2, 2)) == 300

    def test_what_happened_inside_a_bucket_never_was(self) -> None:
        events = _told(
            {"at": "01-01T01:00"},
            {"at": "01-01T02:00", "status": "canceled"},
            {"at": "03-01", "status": "active"},
        )
        assert _movements(events) == ["03-01 new 100"]
        assert _movements(events, netting="none")[2:] == ["03-01 reactivation 100"]

    def test_joining_and_leaving_in_one_month_is_erased(self) -> None:
        events = _told(
            {"at": "01-05"},
            {"at": "01-20", "status": "canceled"},
            {"at": "03-05", "status": "active"},
            {"at": "04-01", "status": "canceled"},
        )
        erased = _movements(events, join_churn_same_month="ignore")
        assert erased == ["03-05 new 100", "04-01 churn -100"]
        # In Honolulu the second spell ends on 31 March.
        there = _movements(events, join_churn_same_month="ignore", tz="Pacific/Honolulu")
        assert there == []

    @pytest.mark.parametrize(("back", "type_"), [("02-11", "reactivation"), ("02-11T00:01", "new")])
    def test_a_late_return_is_new(self, back: str, type_: str) -> None:
        events = _told(
            {"at": "01-01"}, {"at": "02-01", "status": "canceled"}, {"at": back, "status": "active"}
        )
        told = _movements(events, reactivation="within:10", netting="none")
        assert told[2].split()[1] == type_

    def test_free_customers(self) -> None:
        events = _told(
            {"at": "01-01", "items": [_item(0)]},
            {"at": "02-01", "items": [_item(100)]},
            {"at": "03-01", "items": [_item(0)]},
            {"at": "04-01", "status": "canceled"},
        )
        assert _movements(events) == ["02-01 new 100", "03-01 churn -100"]
        after = ["02-01 new 100", "03-01 contraction -100", "04-01 churn 0"]
        assert _movements(events, free_plans="after_paid") == after
        always = ["01-01 new 0", "02-01 expansion 100", "03-01 contraction -100", "04-01 churn 0"]
        assert _movements(events, free_plans="always") == always

    def test_churn_is_split_by_why_each_subscription_ended(self) -> None:
        events = [
            *_told({"at": "01-01"}, {"at": "02-01", "status": "canceled", "voluntary": True}),
            *_told({"at": "01-01"}, {"at": "02-01", "status": "unpaid"}, name="s2"),
            *_told({"at": "01-01"}, {"at": "02-01", "status": "canceled"}, name="s3"),
        ]
        reasons = _known(events).churn_reasons(date(2025, 2, 1), date(2025, 2, 1))
        assert reasons == dict.fromkeys(("voluntary", "involuntary", "unknown"), Fraction(-100))


class TestCurrency:
    _RATES = (_rate("01-01", "1.1"), _rate("02-01", "1.2"), _rate("03-01", "1"))

    def test_carrying_value_is_released_in_proportion(self) -> None:
        prices = (("02-01", 200), ("03-01", 50))
        events = [
            *self._RATES,
            *_told(
                {"at": "01-01", "currency": "EUR"},
                *({"at": at, "items": [_item(price)]} for at, price in prices),
                {"at": "04-01", "status": "canceled"},
            ),
        ]
        # 110, then 100 more at 1.2; three quarters of 230 leave, then the rest.
        assert _movements(events, fx="at_movement") == [
            "01-01 new 110",
            "02-01 expansion 120",
            "03-01 contraction -345/2",
            "04-01 churn -115/2",
        ]

    def test_sign_of_a_change_in_two_currencies_is_judged_in_base(self) -> None:
        events = [
            *self._RATES,
            *_told({"at": "01-01", "currency": "EUR"}, {"at": "02-01", "status": "canceled"}),
            *_told({"at": "02-01", "items": [_item(115)]}, name="s2"),
        ]
        known = _known(events)
        assert _movements(events)[1:] == ["02-01 contraction -5"]
        assert known.movements[1].native == {"EUR": Fraction(-100), "USD": Fraction(115)}
        # At the old rate it would have been more.
        fixed = _movements(events, fx="constant", fx_constant_date="2025-01-31")
        assert fixed[1:] == ["02-01 expansion 5"]

    def test_no_day_for_constant_means_the_first_rates(self) -> None:
        events = [*self._RATES, *_told({"at": "03-01", "currency": "EUR"})]
        assert _movements(events, fx="constant") == ["03-01 new 110"]

    def test_renewals_revalue_and_changes_do_not(self) -> None:
        period = {"current_period_start": _at("01-15"), "current_period_end": _at("02-15")}
        events = [
            *self._RATES,
            *_told(
                {"at": "01-15", "currency": "EUR", **period},
                {"at": "02-03", "items": [_item(200)]},
            ),
        ]
        known = _known(events, fx="at_renewal")
        days = {"01-31": 110, "02-10": 220, "02-15": 240, "03-14": 240, "03-15": 200}
        for day, mrr in days.items():
            assert known.mrr_at(date.fromisoformat(f"2025-{day}")) == mrr, day
        (february,) = known.waterfall(date(2025, 2, 1), date(2025, 2, 28))
        # The expansion is told at its own day's rate, 120; the rest is the effect of rates.
        assert february.movements["expansion"] == 120
        assert february.fx == 10

    def test_minor_units_of_both_currencies_count(self) -> None:
        yen = _told({"at": "01-01", "currency": "JPY", "items": [_item(1000)]})
        assert _movements([_rate("01-01", "0.0065", "JPY"), *yen]) == ["01-01 new 650"]

    def test_a_missing_rate_is_an_error(self) -> None:
        events = [_rate("02-01", "1.1"), *_told({"at": "01-01", "currency": "EUR"})]
        with pytest.raises(LookupError, match="no rate of EUR in USD on 2025-01-01"):
            _known(events)
