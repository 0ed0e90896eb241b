"""Files of events: whatever their packing, every record is an event, a refusal or a reason."""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.stripe import ROOT, event, fixture, subscription
from tidemill.connectors.base import Item
from tidemill.connectors.files import KINDS, read_again, read_events, read_stripe_events
from tidemill.connectors.files.lines import RECORD_BYTES_MAX, opened, records
from tidemill.errors import UnreadableFile
from tidemill.events import Event
from tidemill.intake import Ignored, Rejected

STORY = fixture("events.subscription_story")["events"]


def canonical(number: int) -> dict[str, Any]:
    return {
        "source": "files",
        "type": "product.created",
        "occurred_at": "2026-04-01T00:00:00Z",
        "sequence": number,
        "data": {"id": f"prod_{number}", "name": "Team"},
    }


def text(objects: Iterable[object]) -> bytes:
    return b"\n".join(json.dumps(each).encode() for each in objects) + b"\n"


def written(folder: Path, content: bytes, name: str = "books.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def kinds(items: Iterable[Item]) -> Counter[str]:
    return Counter(type(each).__name__ for each in items)


def subjects(items: Iterable[Item]) -> list[str]:
    return [each.subject for each in items if isinstance(each, Event)]


TWO = [canonical(1), canonical(2)]
BOTH = ["prod_1", "prod_2"]


@pytest.mark.parametrize(
    "content",
    [
        text(TWO),
        text(TWO).rstrip(b"\n"),
        text(TWO).replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + text(TWO),
        b"\n\n  \n" + text(TWO).replace(b"\n", b"\n\n"),
        gzip.compress(text(TWO)),
        json.dumps(TWO).encode(),
        json.dumps(TWO, indent=1).encode(),
        b"\n  " + json.dumps(TWO, indent="\t").encode(),
        json.dumps({"note": "x", "events": TWO}).encode(),
        json.dumps({"note": "x", "events": TWO}, indent=2).encode(),
        gzip.compress(json.dumps({"events": TWO}, indent=2).encode()),
        b'{ "events": [\n' + b",\n".join(b" " + json.dumps(each).encode() for each in TWO) + b"]}",
    ],
)
def test_packings(tmp_path: Path, content: bytes) -> None:
    assert subjects(read_events(written(tmp_path, content), source="x")) == BOTH


def test_one_object_over_several_lines(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps(TWO[0], indent=1).encode())
    assert subjects(read_events(path, source="x")) == ["prod_1"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"[]", b'{"events": []}'])
def test_nothing_in_it(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    assert list(read_events(path, source="x")) == []
    assert list(read_stripe_events(path, source="x")) == []


def test_a_stream_is_read_like_a_file() -> None:
    assert subjects(read_events(io.BytesIO(text(TWO)), source="x")) == BOTH


class Pipe(io.BytesIO):
    """A stream that cannot be rewound."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation


def test_a_pipe_is_read_more_than_once() -> None:
    items = list(read_stripe_events(Pipe(gzip.compress(text(STORY))), source="stripe"))
    assert kinds(items) == {"Event": 5}


def test_a_bad_line_is_refused_with_its_place_and_the_rest_goes_on(tmp_path: Path) -> None:
    lines = [text([TWO[0]]), b'{"type": \n', b"[1]\n", b"\xff\n", b"7\n", text([TWO[1]])]
    path = written(tmp_path, b"".join(lines))
    items = list(read_events(path, source="x"))
    assert subjects(items) == BOTH
    refused = [each for each in items if isinstance(each, Rejected)]
    # The list of line 3 is taken apart: what is refused is the member that is no event.
    assert [each.origin for each in refused] == [
        f"{path}:2",
        f"{path}:3#1",
        f"{path}:4",
        f"{path}:5",
    ]
    assert {(each.kind, each.source) for each in refused} == {("events", "x")}
    assert refused[0].body == '{"type":'
    assert all(each.problems for each in refused)


def test_a_bad_first_line_does_not_make_a_document_of_the_rest(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"type": "product.cre\n' + text(TWO))
    items = list(read_events(path, source="x"))
    assert kinds(items) == {"Rejected": 1, "Event": 2}


def test_every_problem_of_an_event_is_told(tmp_path: Path) -> None:
    (item,) = read_events(written(tmp_path, text([{"type": "x"}])), source="x")
    assert isinstance(item, Rejected)
    assert {each.path for each in item.problems} == {"type", "occurred_at", "data"}


def test_a_line_too_long_is_refused_and_not_kept(tmp_path: Path) -> None:
    huge = b'{"type": "' + b"x" * RECORD_BYTES_MAX + b'"}\n'
    path = written(tmp_path, text([TWO[0]]) + huge + text([TWO[1]]))
    items = list(read_events(path, source="x"))
    assert subjects(items) == BOTH
    (refused,) = [each for each in items if isinstance(each, Rejected)]
    assert refused.origin == f"{path}:2"
    assert "10,000,013 bytes long" in refused.problems[0].problem
    assert len(refused.body) == 1_000


def test_an_object_too_long_within_a_list_is_refused_alone(tmp_path: Path) -> None:
    huge = {"type": "x" * RECORD_BYTES_MAX}
    path = written(tmp_path, json.dumps([TWO[0], huge, TWO[1]]).encode())
    items = list(read_events(path, source="x"))
    assert subjects(items) == BOTH
    assert [each.origin for each in items if isinstance(each, Rejected)] == [f"{path}#2"]


def test_a_list_longer_than_a_line_may_be_is_read(tmp_path: Path) -> None:
    padded = [{**each, "padding": "x" * (RECORD_BYTES_MAX // 2)} for each in TWO]
    path = written(tmp_path, json.dumps(padded).encode())
    assert subjects(read_events(path, source="x")) == BOTH


def test_bytes_that_are_no_text_can_still_be_kept(tmp_path: Path) -> None:
    (item,) = read_events(written(tmp_path, b'{"a": "\xff\x00"}\n'), source="x")
    assert isinstance(item, Rejected)
    assert "\0" not in item.body
    item.body.encode()


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"a":' * 20_000 + b"1" + b"}" * 20_000)
    for read in (read_events, read_stripe_events):
        assert kinds(read(path, source="x")) == {"Rejected": 1}


def test_a_damaged_archive_gives_what_came_before(tmp_path: Path) -> None:
    many = text(canonical(number) for number in range(20_000))
    path = written(tmp_path, gzip.compress(many)[:-2_000], "books.jsonl.gz")
    seen: list[Item] = []
    with pytest.raises(UnreadableFile, match="damaged"):
        seen.extend(read_events(path, source="x"))
    assert len(seen) > 1_000


@pytest.mark.parametrize("name", ["nowhere.jsonl", "."])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableFile, match="cannot be read"):
        list(read_events(tmp_path / name, source="x"))


def test_utf_16_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "{}".encode("utf-16"))
    with pytest.raises(UnreadableFile, match="UTF-16"):
        list(read_events(path, source="x"))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(Pipe(text(TWO)))
    monkeypatch.setattr("sys.stdin", stdin)
    (first, _) = read_events("-", source="x")
    assert isinstance(first, Event)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"{\n")))
    (refused,) = read_events("-", source="x")
    assert isinstance(refused, Rejected)
    assert refused.origin == "-:1"


def test_records_can_be_read_again(tmp_path: Path) -> None:
    for content in (text(TWO), gzip.compress(text(TWO))):
        with opened(written(tmp_path, content)) as (name, stream):
            first = next(iter(records(name, stream)))
            assert [first, *list(records(name, stream))[1:]] == list(records(name, stream))


# --- raw events of Stripe ------------------------------------------------------------------------


def test_the_fixtures_are_read_as_they_are() -> None:
    folder = ROOT / "tests" / "data" / "stripe"
    story = list(
        read_stripe_events(folder / "events.subscription_story.json", source="s", test_mode=True)
    )
    assert kinds(story) == {"Event": 5}
    assert all(each.livemode for each in story if isinstance(each, Event))
    trial = list(read_stripe_events(folder / "events.trial_same_second.json", source="s"))
    assert kinds(trial) == {"Event": 1, "Ignored": 1}
    assert not any(each.livemode for each in trial if isinstance(each, Event))


def test_order_within_a_second_does_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    item = fixture("subscription.new_shape")["items"]["data"][0]

    def change(key: str, now: int, before: int) -> dict[str, Any]:
        def items(quantity: int) -> dict[str, Any]:
            return {"data": [{**item, "quantity": quantity}]}

        previous = {"items": items(before)}
        found = subscription(items=items(now))
        return event("customer.subscription.updated", found, id=key, previous=previous)

    events = [change("evt_b", 2, 1), change("evt_a", 3, 2), *STORY]
    sequences = []
    for order in (events, events[::-1]):
        items = list(read_stripe_events(written(tmp_path, text(order)), source="stripe"))
        sequences.append({each.id: each.sequence for each in items if isinstance(each, Event)})
    assert sequences[0] == sequences[1]
    assert sorted(sequences[0].values())[-3:-1] == [4000, 4001]


def test_what_is_only_named_is_found_anywhere_in_the_file(tmp_path: Path) -> None:
    shapes = fixture("discount.shapes")
    coupon = shapes["clover_source_coupon_expanded"]["source"]["coupon"]
    events = [
        event("customer.subscription.updated", subscription(discounts=["di_1"]), id="evt_1"),
        event("customer.discount.created", shapes["clover_source_coupon_id"], id="evt_2"),
        event("coupon.created", coupon, id="evt_3"),
    ]
    path = written(tmp_path, text(events))
    assert kinds(read_stripe_events(path, source="s")) == {"Event": 1, "Ignored": 2}
    path = written(tmp_path, text(events[:1]))
    assert kinds(read_stripe_events(path, source="s")) == {"Rejected": 1}


def test_copies_are_given_again_with_the_same_identity(tmp_path: Path) -> None:
    items = list(read_stripe_events(written(tmp_path, text([*STORY, *STORY])), source="s"))
    assert len(items) == 10
    assert items[:5] == items[5:]


def test_what_is_of_no_interest_is_counted(tmp_path: Path) -> None:
    thin = fixture("event.thin_v1_subscription_updated")["pushed_notification"]
    unknown = event("radar.something.new", {"id": "x"})
    path = written(tmp_path, text([thin, unknown]))
    first, second = read_stripe_events(path, source="s")
    assert isinstance(first, Ignored)
    assert isinstance(second, Ignored)
    assert (second.origin, second.type) == (f"{path}:2", "radar.something.new")
    assert "thin" in first.reason


def test_objects_that_are_no_events_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, text([subscription(), 5, "x", None]))
    assert kinds(read_stripe_events(path, source="s")) == {"Rejected": 4}


def test_reading_again_what_was_kept_aside() -> None:
    raw = json.dumps(event("customer.subscription.updated", subscription(status="?")))
    (refused,) = read_again("stripe-events", raw, source="s")
    assert isinstance(refused, Rejected)
    (made,) = read_again("stripe-events", raw.replace('"?"', '"active"'), source="s")
    assert isinstance(made, Event)
    (made,) = read_again("events", json.dumps(canonical(1)), source="s")
    assert isinstance(made, Event)
    (refused,) = read_again("pigeons", "coo", source="s")
    assert isinstance(refused, Rejected)
    assert KINDS == ("events", "stripe-events")
