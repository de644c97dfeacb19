"""What items the HTTP client sends, and what it makes of those that cannot travel."""

from __future__ import annotations

import re

import fault_http as double
import pytest
from http_calls import TASK

from softverifier import (
    Item,
    RewardClient,
    UsageError,
)

NO_JSON = {
    "nan-truth": ({"completion": "a", "truth": float("nan")}, "item.truth is nan"),
    "inf-deep": (
        {"completion": "a", "truth": {"classes": ["a"], "confidences": [float("inf")]}},
        r"item.truth.confidences\[0\] is inf",
    ),
    "object": ({"completion": object()}, "item.completion is object"),
    "set": ({"completion": "a", "keywords": {"x"}}, "item.keywords is set"),
    "not-a-dict": ("text", "an item is str"),
    "none": (None, "an item is NoneType"),
    "list": ([1], "an item is list"),
}


@pytest.mark.parametrize(("bad", "words"), NO_JSON.values(), ids=NO_JSON)
def test_what_json_cannot_carry_costs_only_its_own_reward(score, server, bad, words):
    got = score([{"id": 1, "completion": "a"}, bad, {"id": 3, "completion": "b"}])
    assert [reward.status for reward in got] == ["ok", "error", "ok"]
    assert got[1].reason == "BAD_ITEM"
    assert not got[1].retryable
    assert re.search(words, got[1].message)
    assert [len(body["items"]) for _, body, _ in server.requests] == [2]


def test_nothing_is_sent_where_no_item_can_be(score, server):
    assert [reward.reason for reward in score([None, 3])] == ["BAD_ITEM"] * 2
    assert server.requests == []


@pytest.mark.parametrize(
    ("text", "arrives"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("a\udfff", "a\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\x00\u202e é", "\x00\u202e é"),
        ("\u2028", "\u2028"),
    ],
    ids=["lone-high", "lone-low", "pair", "nul-rtl", "line-separator"],
)
def test_text_arrives_whatever_it_holds(score, server, text, arrives):
    assert score([{"completion": text}])[0].status == "ok"
    assert server.requests[0][1]["items"] == [{"completion": arrives}]


def test_numpy_and_nones_of_data_sets_are_undone(score, server):
    numpy = pytest.importorskip("numpy")
    item = {
        "completion": "a",
        "truth": numpy.float32(0.5),
        "keywords": numpy.array(["A", "B"], dtype=object),
        "group": None,
        "task": {**TASK, "classes": None},
    }
    score([item])
    assert server.requests[0][1]["items"] == [
        {"completion": "a", "truth": 0.5, "keywords": ["A", "B"], "task": TASK}
    ]


def test_items_may_be_dataclasses_and_generators(score, server):
    got = score(Item(completion=f"{i}", id=i, task=TASK) for i in range(600))
    assert [reward.id for reward in got] == list(range(600))
    sent = [item for _, body, _ in server.requests for item in body["items"]]
    assert {"id": 0, "completion": "0", "task": TASK} in sent


@pytest.mark.parametrize(
    "asked",
    [{"completion": "a"}, "text", b"bytes", 5, None],
    ids=["dict", "str", "bytes", "int", "none"],
)
def test_one_item_instead_of_several_is_refused(score, asked):
    with pytest.raises(UsageError, match="pass a list"):
        score(asked)


def test_a_hundred_thousand_items(server):
    server.failing = lambda body: _blank
    with RewardClient(server.url, profile="p", max_items_per_request=4096) as client:
        got = client.score({"id": i, "completion": "x"} for i in range(100_000))
    assert [reward.id for reward in got] == list(range(100_000))


def _blank(handler, body):
    one = b'{"id":0,"status":"ok","reward":0.5,"weight":1,"answer":null,"reason":"OK"}'
    double.send(handler, 200, b'{"results":[' + b",".join([one] * len(body["items"])) + b"]}")
