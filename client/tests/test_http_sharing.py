"""Options of the HTTP client, and one client shared by calls, threads, processes and loops."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import threading
import time

import fault_http as double
import pytest
from http_calls import expected, items

from softverifier import (
    AsyncRewardClient,
    DeadlineExceeded,
    RequestRejected,
    RewardClient,
    UsageError,
)

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
