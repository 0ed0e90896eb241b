"""Charts: their data are the answer's, exact to the last step; what cannot be drawn is refused."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from tidemill import reports
from tidemill.errors import BooksDoNotClose, MissingExtra, NoChart
from tidemill.metrics.columns import Column, average, count, day, instant, money, ratio, text
from tidemill.metrics.result import Result, Row
from tidemill.policy import Policy
from tidemill.reports.drawing import axis
from tidemill.reports.palette import EARLIER, GAIN, LOSS, PALETTE, look
from tidemill.reports.picking import chart_of

MRR = money("mrr").in_base("USD")
PLAN = Column("plan", "text", dimension=True)
PERIOD = day("period")
STEPS = (
    "opening", "new", "expansion", "reactivation", "contraction", "churn", "fx", "closing",
)  # fmt: skip
WATERFALL = (PERIOD, *(money(name).in_base("USD") for name in STEPS))
COHORTS = (
    day("cohort"),
    count("size"),
    count("opening"),
    count("offset"),
    count("value"),
    Column("rate", "ratio", nullable=True, undefined="of nothing", share=True),
)
QUARTER = {"start": date(2025, 5, 1), "end": date(2025, 7, 31), "grain": "month"}


def result(columns: Sequence[Column], rows: Sequence[Row], **changed: Any) -> Result:
    answer: dict[str, Any] = {
        "metric": "mrr",
        "question": "current",
        "params": {},
        "policy": Policy.of(),
        "as_of": datetime(2025, 7, 10, 12, tzinfo=UTC),
        "_sql": lambda: "SELECT 1",
        "_plot": reports.plot,
    }
    return Result(columns=tuple(columns), rows=tuple(rows), **(answer | changed))


def named(columns: Sequence[Column], *values: Sequence[Any]) -> list[Row]:
    return [dict(zip([each.name for each in columns], row, strict=True)) for row in values]


def months(*values: Any, plan: str | None = None) -> list[Row]:
    group = {} if plan is None else {"plan": plan}
    return [group | {"period": date(2025, 5 + i, 1), "mrr": v} for i, v in enumerate(values)]


def waterfall(*rows: Sequence[int], **changed: Any) -> Result:
    amounts = [[date(2025, 5 + i, 1), *map(Decimal, row)] for i, row in enumerate(rows)]
    asked = {"question": "waterfall", "params": QUARTER}
    return result(WATERFALL, named(WATERFALL, *amounts), **(asked | changed))


# --- heads and axes ---------------------------------------------------------------------------


def test_the_head_says_when_in_utc() -> None:
    asked_at = datetime(2025, 7, 10, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    figure = reports.series(result((PERIOD, MRR), months(1), params=QUARTER, as_of=asked_at))
    assert "as of 2025-07-09 19:45 UTC" in figure.layout.title.subtitle.text


def test_an_axis_names_a_few_figures_and_of_many_only_the_unit() -> None:
    many = [money(name).in_base("USD") for name in ("net", "payments", "refunds", "fees")]
    assert axis(many[:2])["title"]["text"] == "net, payments (USD)"
    assert axis(many)["title"]["text"] == "(USD)"
    assert axis([count(name) for name in "abcd"])["title"]["text"] == ""


# --- series -----------------------------------------------------------------------------------


def test_a_series_is_a_line_and_its_unfinished_end_is_dashed() -> None:
    rows = months(Decimal("100050.4"), Decimal(0), Decimal(-20_000))
    figure = reports.series(result((PERIOD, MRR), rows, params=QUARTER, complete=False))
    over, rest = figure.data
    assert over.x == (date(2025, 5, 1), date(2025, 6, 1))
    assert over.y == (1000.504, 0.0)
    assert over.customdata == ("$1,000.50", "$0.00")
    assert over.line.dash == "solid"
    assert rest.x == (date(2025, 6, 1), date(2025, 7, 1))
    assert rest.y == (0.0, -200.0)
    assert (rest.line.dash, rest.showlegend, rest.line.color) == ("dash", False, over.line.color)
    assert figure.layout.yaxis.title.text == "mrr (USD)"
    assert "can still change" in figure.layout.title.subtitle.text


def test_what_was_known_decides_what_is_unfinished() -> None:
    asked = {"params": QUARTER, "complete": False, "known_at": datetime(2025, 5, 20, tzinfo=UTC)}
    figure = reports.series(result((PERIOD, MRR), months(1, 2, 3), **asked))
    (only,) = figure.data
    assert only.line.dash == "dash"
    assert only.showlegend is None


def test_a_line_for_each_group_in_its_own_colour() -> None:
    rows = [*months(100, 200, plan="<b>pro</b>"), *months(300, None, plan="team")]
    pro, team = reports.series(result((PLAN, PERIOD, MRR), rows, params=QUARTER)).data
    assert (pro.name, team.name) == ("&lt;b&gt;pro&lt;/b&gt;", "team")
    assert [pro.line.color, team.line.color] == list(PALETTE[:2])
    assert team.y == (3.0, None)


def test_units_have_panels_of_their_own_and_no_sides() -> None:
    declared = (PERIOD, MRR, *average("arpa", undefined="nobody"), count("customers"))
    columns = tuple(each.in_base("USD") for each in declared)
    row = named(columns, [date(2025, 5, 1), 100, Decimal(50), 100, 2, 2])
    figure = reports.series(result(columns, row, params=QUARTER))
    assert [(each.name, each.yaxis) for each in figure.data] == [
        ("mrr", "y"), ("arpa", "y"), ("customers", "y2"),
    ]  # fmt: skip


def test_an_earlier_range_is_dotted_at_the_same_places() -> None:
    columns = (
        PERIOD, day("period_compared"), MRR, money("mrr_compared").in_base("USD"),
        money("mrr_change").in_base("USD"), Column("mrr_change_rate", "ratio", share=True),
    )  # fmt: skip
    row = [date(2025, 5, 1), date(2024, 5, 1), 500, 400, 100, Decimal("0.25")]
    compared = {"start": date(2024, 5, 1), "end": date(2024, 5, 31)}
    asked = result(columns, named(columns, row), params=QUARTER, compared=compared)
    now, then = asked.plot().data
    assert (now.y, then.y) == ((5.0,), (4.0,))
    assert now.x == then.x
    assert (then.line.dash, then.line.color) == ("dot", EARLIER)


def test_retention_at_an_age_is_unfinished_when_the_age_is() -> None:
    columns = tuple(each for each in COHORTS if each.name != "offset")
    cells = [[date(2025, m, 1), 2, 2, 1, Decimal("0.5")] for m in (5, 6)]
    params = QUARTER | {"age": 1}
    asked = result(columns, named(columns, *cells), params=params, complete=False)
    traces = [each for each in asked.plot().data if each.name == "rate"]
    assert [each.line.dash for each in traces] == ["solid", "dash"]
    so_far = result(columns, named(columns, *cells), params=QUARTER, complete=False)
    traces = [each for each in so_far.plot().data if each.name == "rate"]
    assert [(each.line.dash, len(each.x)) for each in traces] == [("dash", 2)]


def test_more_lines_than_can_be_told_apart_are_refused() -> None:
    rows = [row for i in range(43) for row in months(1, 2, plan=f"p{i:02}")]
    columns = (PLAN, PERIOD, MRR)
    traces = reports.series(result(columns, rows[:84], params=QUARTER)).data
    assert len({(each.line.color, each.marker.symbol) for each in traces}) == 42
    with pytest.raises(NoChart, match="43 groups"):
        reports.series(result(columns, rows, params=QUARTER))


# --- waterfall --------------------------------------------------------------------------------


def test_a_waterfall_goes_from_opening_to_closing() -> None:
    asked = waterfall(
        (0, 10_000, 0, 0, 0, 0, 0, 10_000), (10_000, 0, 0, 0, -500, -9_000, 0, 500), complete=False
    )
    (trace,) = reports.waterfall(asked).data
    bars = list(zip(*trace.x, trace.measure, trace.y, trace.customdata, strict=True))
    assert bars == [
        ("2025-05-01", "opening", "absolute", 0.0, "$0.00"),
        ("2025-05-01", "new", "relative", 100.0, "$100.00"),
        ("2025-05-01", "contraction", "relative", 0.0, "$0.00"),
        ("2025-05-01", "churn", "relative", 0.0, "$0.00"),
        ("2025-05-01", "closing", "absolute", 100.0, "$100.00"),
        ("2025-06-01", "new", "relative", 0.0, "$0.00"),
        ("2025-06-01", "contraction", "relative", -5.0, "-$5.00"),
        ("2025-06-01", "churn", "relative", -90.0, "-$90.00"),
        ("2025-06-01", "closing", "absolute", 5.0, "$5.00"),
    ]
    assert trace.decreasing.marker.color == LOSS


def test_a_waterfall_that_does_not_close_is_not_drawn() -> None:
    with pytest.raises(BooksDoNotClose, match="2025-05-01: off by 1 "):
        waterfall((0, 10_000, 0, 0, 0, 0, 0, 10_001)).plot()
    gap = ((0, 5, 0, 0, 0, 0, 0, 5), (6, 0, 0, 0, 0, 0, 0, 6))
    with pytest.raises(BooksDoNotClose, match="2025-06-01: off by 1 "):
        waterfall(*gap).plot()


def test_a_period_that_is_not_over_says_so() -> None:
    still = (5, 0, 0, 0, 0, 0, 0, 5)
    (trace,) = waterfall(still, still, still, complete=False).plot().data
    assert trace.x[0][-1] == "2025-07-01*"
    assert trace.x[0][0] == "2025-05-01"


def test_groups_have_waterfalls_below_each_other_up_to_a_limit() -> None:
    def of(count: int) -> Result:
        columns = (PLAN, *WATERFALL)
        rows = [[f"p{i}", date(2025, 5, 1), 0, i, 0, 0, 0, 0, 0, i] for i in range(count)]
        return result(columns, named(columns, *rows), question="waterfall", params=QUARTER)

    figure = of(3).plot()
    assert [each.yaxis for each in figure.data] == ["y", "y2", "y3"]
    assert [each.text for each in figure.layout.annotations] == ["p0", "p1", "p2"]
    with pytest.raises(NoChart, match="13 groups"):
        of(13).plot()


# --- bars, funnel, cohorts, number ------------------------------------------------------------


def test_bars_keep_the_order_and_losses_their_colour() -> None:
    columns = (text("type"), money("amount").in_base("JPY"))
    asked = result(columns, named(columns, ["new", 1234], ["churn", -200], [None, None]))
    (bars,) = reports.breakdown(asked).data
    assert bars.y == ("new", "churn", "unknown")
    assert bars.x == (1234.0, -200.0, None)
    assert bars.text == ("¥1,234", "-¥200", "")
    assert bars.marker.color == (GAIN, LOSS, GAIN)


def test_several_figures_without_groups_are_a_bar_each() -> None:
    columns = (money("net").in_base("USD"), money("fees").in_base("USD"), count("payments"))
    amounts, counts = reports.breakdown(result(columns, named(columns, [900, -100, 3]))).data
    assert (amounts.y, amounts.x) == (("net", "fees"), (9.0, -1.0))
    assert (counts.y, counts.x, counts.xaxis) == (("payments",), (3.0,), "x2")


def test_bars_of_an_earlier_range_stand_beside() -> None:
    columns = (PLAN, MRR, *(money(f"mrr_{side}").in_base("USD") for side in ("compared", "change")))
    compared = {"start": date(2024, 5, 1), "end": date(2024, 5, 31)}
    asked = result(columns, named(columns, ["pro", 500, None, None]), compared=compared)
    now, then = reports.breakdown(asked).data
    assert (now.x, then.x) == ((5.0,), (None,))
    assert then.name == "mrr compared"


def test_a_funnel_has_the_counts_as_stages() -> None:
    columns = (
        count("started"), count("converted"),
        *ratio("rate", undefined="none", of="count", share=True),
    )  # fmt: skip
    asked = result(columns, named(columns, [10, 4, Decimal("0.4"), 4, 10]), question="funnel")
    (trace,) = asked.plot().data
    assert (trace.y, trace.x) == (("started", "converted"), (10, 4))


def test_cohorts_are_a_heat_map_with_gaps_for_the_future() -> None:
    may, june = date(2025, 5, 1), date(2025, 6, 1)
    cells = [
        [may, 4, 4, 0, 4, Decimal(1)], [may, 4, 4, 1, 3, Decimal("0.75")],
        [may, 4, 4, 2, 3, Decimal("0.75")], [june, 0, 0, 0, 0, None], [june, 0, 0, 1, 0, None],
    ]  # fmt: skip
    asked = result(
        COHORTS, named(COHORTS, *cells), question="cohorts", params=QUARTER, complete=False
    )
    (trace,) = asked.plot().data
    assert trace.y == ("2025-05-01 (4)", "2025-06-01 (0)")
    assert trace.x == (0, 1, 2)
    assert [list(line) for line in trace.z] == [[1.0, 0.75, 0.75], [None, None, None]]
    assert [list(line) for line in trace.text] == [
        ["100.00 %", "75.00 %", "75.00 %*"],
        ["", "*", ""],
    ]


def test_a_number_is_written_as_people_read_it() -> None:
    figure = result((MRR,), named((MRR,), [Decimal("1245000.4")])).plot()
    assert [each.text for each in figure.layout.annotations] == ["$12,450.00"]
    assert not figure.data


def test_a_number_beside_an_earlier_one() -> None:
    columns = (MRR, *(money(f"mrr_{side}").in_base("USD") for side in ("compared", "change")))
    compared = {"start": date(2024, 5, 1), "end": date(2024, 5, 31)}
    figure = result(columns, named(columns, [500, 700, -200]), compared=compared).plot()
    written = [each.text for each in figure.layout.annotations]
    assert written == ["$5.00", "was $7.00", "change -$2.00"]


# --- picking, and what is missing -------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "rows", "picked"),
    [
        ((MRR,), 1, reports.number),
        (ratio("quick_ratio", undefined="of nothing", of="count"), 1, reports.number),
        ((PLAN, MRR), 2, reports.breakdown),
        ((MRR, count("customers")), 1, reports.breakdown),
        ((PERIOD, MRR), 1, reports.series),
        ((PLAN, PERIOD, MRR), 4, reports.series),
        (WATERFALL, 2, reports.waterfall),
        (COHORTS, 3, reports.cohorts),
    ],
)
def test_the_columns_decide(columns: Sequence[Column], rows: int, picked: Any) -> None:
    empty: Row = {each.name: None for each in columns}
    dimensions = tuple(each.name for each in columns if each.dimension)
    assert chart_of(result(columns, [empty] * rows, dimensions=dimensions)) is picked


@pytest.mark.parametrize(
    "columns", [(instant("at"), MRR), (day("day"), MRR), (text("plan"),)], ids=lambda c: c[0].name
)
def test_a_list_is_a_table(columns: Sequence[Column]) -> None:
    with pytest.raises(NoChart, match="is a list"):
        result(columns, []).plot()


def test_a_chart_says_what_it_cannot_show() -> None:
    nothing = result((PERIOD, MRR), [], params=QUARTER)
    with pytest.raises(NoChart, match="no rows"):
        nothing.plot()
    for chart in (reports.waterfall, reports.cohorts, reports.number):
        with pytest.raises(NoChart):
            chart(nothing)
    with pytest.raises(NoChart, match="along time"):
        reports.series(result((MRR,), named((MRR,), [1])))
    with pytest.raises(NoChart, match="for each group"):
        reports.breakdown(result((PERIOD, MRR), months(1, 2)))
    with pytest.raises(NoChart, match="stages"):
        reports.funnel(result((MRR,), named((MRR,), [1])))


@pytest.mark.parametrize(
    ("library", "make"),
    [
        ("plotly", reports.plot),
        ("pandas", reports.styled),
        ("jinja2", reports.styled),
    ],
)
def test_a_missing_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, library: str, make: Any
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("plotly.graph_objects", "pandas.io.formats.style"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra) as error:
        make(result((MRR,), named((MRR,), [1])))
    assert error.value.hint == "Run: pip install 'tidemill[notebook]'"


def test_groups_look_different_also_when_the_colours_run_out() -> None:
    looks = [look(place) for place in range(3 * len(PALETTE))]
    assert len(set(looks)) == len(looks)
    assert len({colour for colour, _ in looks}) == len(PALETTE)


def test_a_styled_table_is_written_for_people() -> None:
    columns = (text("type"), money("amount").in_base("USD"))
    html = reports.styled(result(columns, named(columns, ["<b>", -123_456], ["new", 5]))).to_html()
    assert "-$1,234.56" in html
    assert f"color: {LOSS}" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
