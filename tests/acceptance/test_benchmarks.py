"""The benchmarks run, at a size at which their numbers mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.duck import AGGREGATIONS
from benchmarks.usual import QUESTIONS
from tidemill.engine import connect


@pytest.mark.slow
def test_a_small_run_measures_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--customers", "8", "--months", "3", "--repeat", "1", "--results", str(tmp_path)]
    assert main(options) == 0
    [saved] = tmp_path.glob("*.json")
    document = json.loads(saved.read_text(encoding="utf-8"))
    measured = {each["name"]: each["value"] for each in document["measurements"]}
    assert measured.keys() >= {"generate", "ingest", "rebuild", "import tidemill", "tidemill mrr"}
    assert measured.keys() >= {f"question: {name}" for name in QUESTIONS}
    assert document["parameters"] == {"customers": 8, "months": 3, "seed": 7, "repeat": 1}
    assert saved.name in capsys.readouterr().out


@pytest.mark.slow
def test_a_small_stream_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["live", "--customers", "10", "20", "--results", str(tmp_path)]
    assert main(options) == 0
    [saved] = tmp_path.glob("*.json")
    measured = json.loads(saved.read_text(encoding="utf-8"))["measurements"]
    assert [each["name"] for each in measured] == [
        *("live 10", "live 10, 2 workers", "live 20", "live 20, 2 workers"),
        *("live growth", "rebuild"),
    ]
    assert all(each["value"] > 0 for each in measured)
    assert saved.name in capsys.readouterr().out


@pytest.mark.slow
def test_both_ways_from_stripe_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["stripe", "--rate", "50", "--seconds", "2", "--customers", "5"]
    assert main([*options, "--results", str(tmp_path)]) == 0
    [saved] = tmp_path.glob("*.json")
    measured = json.loads(saved.read_text(encoding="utf-8"))["measurements"]
    shares = [f"webhook p{share}" for share in (50, 95, 99)]
    assert [each["name"] for each in measured] == [
        *(f"{share}: {name}" for name in ("empty store", "store of 100") for share in shares),
        "backfill: unlimited",
        "backfill: 10 requests/s",
        "backfill: 25 requests/s refused beyond",
    ]
    assert all(each["value"] > 0 for each in measured)
    assert saved.name in capsys.readouterr().out


def test_a_small_derivation_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["derive", "--subscriptions", "20", "80", "--long", "40", "--repeat", "1"]
    assert main([*options, "--results", str(tmp_path)]) == 0
    [saved] = tmp_path.glob("*.json")
    measured = [
        each["name"] for each in json.loads(saved.read_text(encoding="utf-8"))["measurements"]
    ]
    assert measured == [
        "derive 20: default",
        "derive 80: default",
        "one customer: default",
        "one customer of 40 versions: default",
        "growth: default",
    ]
    assert saved.name in capsys.readouterr().out


@pytest.mark.slow
def test_every_question_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["questions", "--customers", "20", "40", "--repeat", "1", "--duckdb"]
    assert main([*options, "--results", str(tmp_path)]) == 0
    [saved] = tmp_path.glob("*.json")
    document = json.loads(saved.read_text(encoding="utf-8"))
    measured = {each["name"]: each["detail"] for each in document["measurements"]}
    with connect(data_dir=tmp_path / "store") as books:
        asked = {
            f"{metric} {question.name}"
            for metric, info in books.engine.catalogue().items()
            for question in info.questions
        }
    for kind in ("ask 20", "ask 40", "growth"):
        names = {name.partition(": ")[2] for name in measured if name.startswith(kind)}
        assert names == {*asked, "summary"}
    beside = {name.partition(": ")[2] for name in measured if name.startswith("beside 40")}
    assert beside == {each.name for each in AGGREGATIONS}
    # Every one has an answer: a row that says why there is none measures nothing.
    assert all("worst" in detail for name, detail in measured.items() if name.startswith("ask"))
    assert saved.name in capsys.readouterr().out


@pytest.mark.slow
def test_billing_databases_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["in-place", "--subscriptions", "60", "--months", "2", "--repeat", "1"]
    assert main([*options, "--results", str(tmp_path)]) == 0
    [saved] = tmp_path.glob("*.json")
    measured = json.loads(saved.read_text(encoding="utf-8"))["measurements"]
    refreshes = (
        "first copy", "refresh of 1% changed", "refresh of nothing changed",
        "comparison of everybody",
    )  # fmt: skip
    questions = ("mrr", "waterfall of 36 months")
    assert [each["name"] for each in measured] == [
        f"{of}: {name}"
        for connector in ("killbill", "lago")
        for of, names in (
            (connector, (*questions, *refreshes)),
            (f"{connector} copied", questions),
        )
        for name in names
    ]
    assert saved.name in capsys.readouterr().out
