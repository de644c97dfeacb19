"""The HTTP client against a server that misbehaves in every way that trainers have seen."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import re
import threading
import time

import fault_http as double
import pytest

from softverifier import (
    AsyncRewardClient,
    DeadlineExceeded,
    Item,
    RequestRejected,
    RewardClient,
    ServerUnavailable,
    UsageError,
)

TASK = {"type": "perturbation.de", "perturbation": "AARS1", "gene": "CALR", "cell_line": "k562"}


def items(n, text="x"):
    return [{"id": f"r{i}", "completion": text * (i % 97 + 1), "task": TASK} for i in range(n)]


def expected(asked):
    return [double.result_of(item)["reward"] for item in asked]


def run_both(server, **options):
    """The same call through both clients."""

    async def awaited(asked):
        async with AsyncRewardClient(server.url, profile="p", **options) as client:
            return await client.score(asked)

    def blocking(asked):
        with RewardClient(server.url, profile="p", **options) as client:
            return client.score(asked)

    return [blocking, lambda asked: asyncio.run(awaited(asked))]


@pytest.fixture(params=["blocking", "asyncio"])
def score(request, server, no_pauses):
    """``score(items, **options)`` through either client."""

    def call(asked, **options):
        blocking, awaited = run_both(server, **options)
        return (blocking if request.param == "blocking" else awaited)(asked)

    return call


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


BAD_OPTIONS = {
    "scheme": ({"url": "ftp://x"}, "http"),
    "no-scheme": ({"url": "localhost:8080"}, "http"),
    "no-host": ({"url": "http://"}, "http"),
    "port": ({"url": "http://x:99999"}, "[Pp]ort"),
    "grpc-port": ({"url": "grpc://x"}, "needs a port"),
    "grpc-path": ({"url": "grpc://x:1/y"}, "no path"),
    "not-text": ({"url": 5}, "expected a string"),
    "timeout": ({"timeout": 0}, "timeout"),
    "timeout-nan": ({"timeout": float("nan")}, "timeout"),
    "deadline": ({"deadline": -1}, "deadline"),
    "retries": ({"retries": -1}, "retries"),
    "retries-float": ({"retries": 1.5}, "retries"),
    "chunk": ({"max_items_per_request": 0}, "max_items_per_request"),
    "concurrency": ({"concurrency": True}, "concurrency"),
}


@pytest.mark.parametrize(("options", "words"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
@pytest.mark.parametrize("kind", [RewardClient, AsyncRewardClient])
def test_arguments_that_cannot_work_are_named(kind, options, words):
    with pytest.raises(UsageError, match=words):
        kind(**{"url": "http://x:1", **options})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"profile": None}, "no profile"),
        ({"profile": "p", "context": {"epoch": 1}}, "no field 'epoch'"),
        ({"profile": "p", "context": {"step": "x"}}, "step"),
        ({"profile": "p", "context": {"run": 5}}, "run"),
        ({"profile": "p", "deadline": 0}, "deadline"),
    ],
    ids=["profile", "unknown-context", "step", "run", "deadline"],
)
def test_arguments_of_a_call_are_checked(server, arguments, words):
    with RewardClient(server.url) as client, pytest.raises(UsageError, match=words):
        client.score(items(1), **arguments)


def test_profile_context_and_key_arrive(server):
    with RewardClient(
        server.url, profile="p", run="r", split="train", api_key="k", headers={"X-A": "b"}
    ) as client:
        client.score(items(1), profile="other@sha256:0", context={"step": 3, "split": "test"})
        assert "'k'" not in repr(client._session.options)
    _, body, headers = server.requests[0]
    assert body["profile"] == "other@sha256:0"
    assert body["context"] == {"run": "r", "split": "test", "step": 3}
    assert headers["authorization"] == "Bearer k"
    assert headers["X-A"] == "b"


def test_rewards_are_the_numbers_alone(server):
    with RewardClient(server.url, profile="p", item_retries=0) as client:
        assert client.rewards([{"completion": "abc"}, {"completion": "abstain"}]) == [0.001, None]


def test_listings_and_probes(server):
    with RewardClient(server.url) as client:
        assert client.models() == [{"name": "screen"}]
        assert client.profiles() == [{"name": "rbio-mlp"}]
        assert client.health()
        assert client.ready()
        server.failing = lambda body: double.status(503)
        assert not client.ready()
    with RewardClient("http://127.0.0.1:1") as nobody:
        assert not nobody.health()


def test_predict_keeps_nulls_and_cuts_columns(server, monkeypatch):
    monkeypatch.setattr("softverifier.client.ROWS_PER_PREDICT", 2)
    with RewardClient(server.url) as client:
        got = client.predict("screen", "perturbation.de", ["A", "NOGENE", "ABC"], ["XYZ"] * 3)
        assert got.p == (1 / 7, None, 3 / 7)
        assert got.status == ("OK", "UNKNOWN_GENE", "OK")
        assert (got.p0, got.raw, len(got)) == (None, None, 3)
        assert len(client.predict("screen", "perturbation.de", [], [])) == 0
        client.predict("screen", "perturbation.de", ["A"], ["B"], context=["k562"])
    assert server.requests[-1][1]["contexts"] == ["k562"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ((["A"], []), "differ in length"),
        ((["A"], ["B"], ["x", "y"]), "2 contexts"),
        (("AARS", "CALR"), "one str"),
        (([1], ["B"]), "a name is int"),
    ],
    ids=["length", "contexts", "text", "number"],
)
def test_columns_are_checked(server, columns, words):
    with RewardClient(server.url) as client, pytest.raises(UsageError, match=words):
        client.predict("screen", "perturbation.de", *columns)


def test_a_closed_client_says_so(server):
    client = RewardClient(server.url, profile="p")
    client.score(items(1))
    client.close()
    client.close()
    with pytest.raises(UsageError, match="closed"):
        client.score(items(1))


def test_many_threads_share_a_client(server):
    wrong = []
    with RewardClient(server.url, profile="p", max_items_per_request=3) as client:

        def work(offset):
            asked = items(20 + offset)[offset:]
            if client.rewards(asked) != expected(asked):
                wrong.append(offset)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_uses_its_own_connections(server):
    with RewardClient(server.url, profile="p") as client:
        client.score(items(1))
        context = multiprocessing.get_context("fork")
        with context.Pool(2) as pool:
            got = pool.map(client.rewards, [items(3), items(4)])
        assert got == [expected(items(3)), expected(items(4))]
        assert client.rewards(items(2)) == expected(items(2))


@pytest.mark.parametrize("kind", [RewardClient, AsyncRewardClient])
def test_clients_and_errors_can_be_pickled(kind):
    client = kind("http://x:1", profile="p", timeout=3, api_key="k")
    again = pickle.loads(pickle.dumps(client))
    assert again._session.options == client._session.options
    error = pickle.loads(pickle.dumps(RequestRejected("no", status=404, code="c", field="f")))
    assert (str(error), error.status, error.code, error.field) == ("no", 404, "c", "f")


def test_one_async_client_serves_many_loops_and_leaves_nothing_behind(server):
    client = AsyncRewardClient(server.url, profile="p")

    async def once():
        several = [client.rewards(items(n)) for n in (5, 20, 30)]  # alone and gathered
        return (await asyncio.gather(*several))[0]

    assert [asyncio.run(once()) for _ in range(10)] == [expected(items(5))] * 10
    channel = client._session.channel()
    assert [len(kept) for kept in (channel._pools, client._turns, client._gatherings)] == [1] * 3
    gc.collect()  # an unclosed socket would warn here, and warnings are errors
    assert server.connections <= 30


def test_a_closed_async_client_says_so(server):
    async def main():
        client = AsyncRewardClient(server.url, profile="p")
        await client.rewards(items(1))
        await client.close()
        await client.close()
        with pytest.raises(UsageError, match="closed"):
            await client.rewards(items(1))

    asyncio.run(main())


def together(server, calls, **options):
    """Many calls of one async client at the same time; their outcomes, exceptions included."""

    async def main():
        async with AsyncRewardClient(server.url, profile="p", **options) as client:
            made = [client.score(*call) if isinstance(call, tuple) else call for call in calls]
            return await asyncio.gather(*made, return_exceptions=True)

    return asyncio.run(main())


def test_a_thousand_small_calls_travel_together(server):
    asked = items(1000)
    got = together(server, [([item],) for item in asked])
    assert [row[0].reward for row in got] == expected(asked)
    assert [row[0].id for row in got] == [item["id"] for item in asked]
    assert len(server.requests) <= 5
    assert max(len(body["items"]) for _, body, _ in server.requests) == 256


def test_calls_of_other_recipes_or_contexts_do_not_meet(server):
    calls = [
        ([{"completion": "a"}], profile, {"step": step}) for profile in "pq" for step in (1, 2)
    ]
    together(server, calls * 3)
    found = {(body["profile"], body["context"]["step"]) for _, body, _ in server.requests}
    assert len(server.requests) == len(found) == 4


def test_everyone_who_travels_together_gets_the_error(server):
    server.failing = lambda body: double.status(404, "unknown profile")
    got = together(server, [([item],) for item in items(20)])
    assert {type(error) for error in got} == {RequestRejected}
    assert len({id(error) for error in got}) == 20
    assert {(error.status, error.code) for error in got} == {(404, "the_code")}
    assert len(server.requests) == 1


def test_deadlines_stay_the_callers_own(server):
    server.failing = lambda body: double.slow(0.6)
    quick, patient = together(server, [(items(1), None, None, 0.2), (items(2), None, None, 5.0)])
    assert isinstance(quick, DeadlineExceeded)
    assert [reward.reward for reward in patient] == expected(items(2))
    assert len(server.requests) == 1


def test_one_who_is_cancelled_leaves_the_others_alone(server):
    server.failing = lambda body: double.slow(0.2)

    async def main():
        async with AsyncRewardClient(server.url, profile="p") as client:
            tasks = [asyncio.ensure_future(client.rewards([item])) for item in items(3)]
            await asyncio.sleep(0.05)
            tasks[1].cancel()
            got = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(got[1], asyncio.CancelledError)
            assert [got[0], got[2]] == [[value] for value in expected(items(3))[::2]]

    asyncio.run(main())
    assert len(server.requests) == 1


def test_large_calls_travel_alone_and_within_bounds(server):
    server.delay = 0.01
    got = together(server, [(items(20),) for _ in range(30)], concurrency=2)
    assert all([reward.reward for reward in row] == expected(items(20)) for row in got)
    assert len(server.requests) == 30
    assert server.most_in_flight <= 64


def test_a_cancelled_call_ends_and_the_client_goes_on(server):
    server.script.append(double.slow(1.0))

    async def main():
        async with AsyncRewardClient(server.url, profile="p") as client:
            task = asyncio.ensure_future(client.score(items(1)))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await client.rewards(items(2)) == expected(items(2))

    started = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started < 0.9


def test_pauses_have_full_jitter_and_a_cap():
    from softverifier.patience import Deadline, Patience

    for n, cap in [(0, 0.25), (3, 2.0), (20, 8.0)]:
        drawn = []
        for _ in range(300):
            patience = Patience(30, 1.0, Deadline(None), "x")
            patience._pauses = n
            drawn.append(patience.pause())
        assert 0 <= min(drawn) < 0.1 * cap
        assert 0.9 * cap < max(drawn) <= cap
