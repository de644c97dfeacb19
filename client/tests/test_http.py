"""The HTTP client against a server that misbehaves in every way that trainers have seen."""

from __future__ import annotations

import time

import fault_http as double
import pytest
from http_calls import TASK, expected, items

from softverifier import (
    DeadlineExceeded,
    RequestRejected,
    RewardClient,
    ServerUnavailable,
)


@pytest.mark.parametrize("n", [1, 255, 256, 257, 1000], ids=lambda n: f"{n}-items")
def test_order_and_length_are_kept(score, server, n):
    asked = items(n)
    got = score(asked)
    assert [reward.id for reward in got] == [item["id"] for item in asked]
    assert [reward.reward for reward in got] == expected(asked)
    assert len(server.requests) == -(-n // 256)


def test_empty_asks_nothing(score, server):
    assert score([]) == []
    assert server.requests == []


def test_chunks_travel_at_the_same_time_but_no_more_than_allowed(score, server):
    server.delay = 0.05
    score(items(40), max_items_per_request=4, concurrency=3)
    assert server.most_in_flight == 3


def test_large_items_are_cut_by_size(score, server):
    asked = [{"completion": "y" * 400_000, "task": TASK} for _ in range(10)]
    assert len(score(asked, max_bytes_per_request=1_000_000)) == 10
    assert sorted(len(body["items"]) for _, body, _ in server.requests) == [1, 3, 3, 3]


def test_connections_are_reused(server):
    with RewardClient(server.url, profile="p") as client:
        for _ in range(20):
            client.score(items(1))
    assert server.connections == 1


FLAWS = {
    "reset": double.reset,
    "truncated": double.truncated,
    "one-short": double.one_short,
    "429": double.status(429),
    "408": double.status(408),
    "500": double.status(500),
    "502-page": double.raw(502, b"<html>bad gateway</html>"),
    "503": double.status(503),
    "504": double.status(504),
    "not-json": double.raw(200, b"hello"),
    "json-list": double.raw(200, b"[]"),
    "reward-null-with-ok": double.raw(
        200,
        b'{"results":[{"id":null,"status":"ok","reward":null,"weight":1,"answer":null,"reason":"OK"}]}',
    ),
    "result-without-status": double.raw(200, b'{"results":[{"reward":1.0}]}'),
    "nan": double.raw(
        200,
        b'{"results":[{"id":null,"status":"ok","reward":NaN,"weight":1,"answer":null,"reason":"OK"}]}',
    ),
    "empty-body": double.raw(200, b""),
    "bytes": double.raw(200, b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("flaw", FLAWS.values(), ids=FLAWS)
def test_a_passing_fault_is_survived(score, server, flaw):
    server.script.extend([flaw, flaw])
    assert [reward.reward for reward in score(items(1))] == expected(items(1))
    assert len(server.requests) == 3


@pytest.mark.parametrize("flaw", FLAWS.values(), ids=FLAWS)
def test_a_lasting_fault_is_an_error_and_never_a_number(score, server, flaw):
    server.failing = lambda body: flaw
    with pytest.raises(ServerUnavailable, match="3 attempts") as caught:
        score(items(1), retries=2)
    assert caught.value.attempts == 3
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (400, "no"),
        (401, "api_key"),
        (403, "api_key"),
        (404, "no"),
        (409, "no"),
        (413, "max_items_per_request"),
        (422, r"items\[0\]"),
        (301, "use that URL"),
    ],
)
def test_other_refusals_are_not_tried_again(score, server, code, words):
    server.failing = lambda body: double.status(
        code, "no", [("location", "http://x/")], field="items[0]"
    )
    with pytest.raises(RequestRejected, match=words) as caught:
        score(items(1))
    assert (caught.value.status, caught.value.code) == (code, "the_code")
    assert caught.value.field == "items[0]"
    assert len(server.requests) == 1


def test_only_the_chunk_that_failed_is_sent_again(score, server):
    server.script.extend([None, double.status(500)])
    asked = items(30)
    assert [reward.reward for reward in score(asked, max_items_per_request=10)] == expected(asked)
    sizes = [len(body["items"]) for _, body, _ in server.requests]
    assert sizes == [10] * 4


def test_what_was_done_is_kept_when_a_chunk_fails_for_good(score, server):
    asked = items(30)
    server.failing = lambda body: double.status(404) if body["items"][0]["id"] == "r20" else None
    with pytest.raises(RequestRejected) as caught:
        score(asked, max_items_per_request=10)
    assert [reward.reward for reward in caught.value.partial] == expected(asked[:20])


def test_a_failed_call_does_not_wait_for_the_retries_of_its_other_chunks(score, server):
    def act(body):
        return double.status(
            404 if body["items"][0]["id"] == "r0" else 503, "no", [("retry-after", "9")]
        )

    server.failing = act
    started = time.monotonic()
    with pytest.raises(RequestRejected):
        score(items(8), max_items_per_request=1)
    assert time.monotonic() - started < 3


def test_retry_after_is_respected(score, server):
    server.script.append(double.status(429, "queue full", [("retry-after", "0.4")]))
    started = time.monotonic()
    score(items(1))
    assert 0.4 <= time.monotonic() - started < 2


def test_a_retry_after_beyond_the_deadline_is_not_waited_for(score, server):
    server.script.append(double.status(503, "draining", [("retry-after", "60")]))
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="draining"):
        score(items(1), deadline=5.0)
    assert time.monotonic() - started < 1


def test_items_with_a_passing_error_are_asked_again_alone(score, server):
    asked = [{"id": i, "completion": text} for i, text in enumerate(["fine", "error", "abstain"])]
    got = score(asked, item_retries=2)
    assert [reward.status for reward in got] == ["ok", "error", "abstain"]
    assert [[item["id"] for item in body["items"]] for _, body, _ in server.requests] == [
        [0, 1, 2],
        [1],
        [1],
    ]


def test_items_that_recover_are_kept(score, server):
    def bad_then_good(handler, body):
        found = double.scores(body)
        found["results"][1] |= {"status": "error", "reward": None, "retryable": True}
        double.send(handler, 200, double.json.dumps(found).encode())

    server.script.append(bad_then_good)
    asked = items(3)
    assert [reward.reward for reward in score(asked)] == expected(asked)


def test_asking_again_can_be_switched_off(score, server):
    assert score([{"completion": "error"}], item_retries=0)[0].status == "error"
    assert len(server.requests) == 1


def test_an_outage_while_asking_again_keeps_what_there_is(score, server):
    server.script.extend([None, double.status(500), double.status(500)])
    got = score([{"completion": "error"}, {"completion": "fine"}], retries=1)
    assert [reward.status for reward in got] == ["error", "ok"]


@pytest.mark.parametrize("act", [double.slow(2.0), double.dripping], ids=["slow", "dripping"])
def test_the_deadline_bounds_everything(score, server, act):
    server.failing = lambda body: act
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"deadline of 0\.5 s"):
        score(items(1), deadline=0.5)
    assert time.monotonic() - started < 1.2


def test_the_deadline_is_passed_on(score, server):
    score(items(1), deadline=2.0)
    score(items(1))
    (_, first, _), (_, second, _) = server.requests
    assert 1500 < first["deadline_ms"] < 2000
    assert "deadline_ms" not in second


def test_a_slow_try_is_given_up_and_repeated(score, server):
    server.script.append(double.slow(3.0))
    started = time.monotonic()
    assert len(score(items(1), timeout=0.3)) == 1
    assert time.monotonic() - started < 2
