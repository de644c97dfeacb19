"""The gRPC client against a real server: one stream, answers matched by id, faults survived."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import threading
import time

import grpc
import pytest
from fault_http import result_of

from softverifier import (
    AsyncRewardClient,
    DeadlineExceeded,
    RequestRejected,
    RewardClient,
    ServerUnavailable,
    UsageError,
)
from softverifier._pb import rewards_pb2 as pb

CODES = grpc.StatusCode


def items(n):
    return [{"id": f"r{i}", "completion": "x" * (i % 97 + 1)} for i in range(n)]


def expected(asked):
    return [result_of(item)["reward"] for item in asked]


@pytest.fixture(params=["blocking", "asyncio"])
def score(request, grpc_server, no_pauses):
    def blocking(asked, **options):
        with RewardClient(grpc_server.url, profile="p", **options) as client:
            return client.score(asked)

    async def awaited(asked, **options):
        async with AsyncRewardClient(grpc_server.url, profile="p", **options) as client:
            return await client.score(asked)

    if request.param == "blocking":
        return blocking
    return lambda asked, **options: asyncio.run(awaited(asked, **options))


@pytest.mark.parametrize("n", [0, 1, 257, 1000], ids=lambda n: f"{n}-items")
def test_order_length_and_bits_are_kept_on_one_stream(score, grpc_server, n):
    asked = items(n)
    got = score(asked)
    assert [reward.id for reward in got] == [item["id"] for item in asked]
    assert [reward.reward for reward in got] == expected(asked)
    assert grpc_server.streams == (1 if n else 0)


def test_whole_number_ids_stay_numbers(score):
    assert [reward.id for reward in score([{"id": 7, "completion": "a"}, {"completion": "b"}])] == [
        7,
        None,
    ]


@pytest.mark.parametrize(
    "code", [CODES.UNAVAILABLE, CODES.RESOURCE_EXHAUSTED, CODES.INTERNAL, CODES.DEADLINE_EXCEEDED]
)
def test_a_passing_error_on_the_stream_is_survived(score, grpc_server, code):
    grpc_server.script.extend([(code, "busy"), (code, "busy")])
    assert [reward.reward for reward in score(items(2))] == expected(items(2))
    assert (len(grpc_server.requests), grpc_server.streams) == (3, 1)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (CODES.INVALID_ARGUMENT, 400),
        (CODES.NOT_FOUND, 404),
        (CODES.FAILED_PRECONDITION, 409),
        (CODES.UNAUTHENTICATED, 401),
        (CODES.PERMISSION_DENIED, 403),
        (CODES.UNIMPLEMENTED, 404),
    ],
)
def test_a_refusal_is_not_tried_again(score, grpc_server, code, status):
    grpc_server.script.append((code, "did you mean 'rbio-mlp'?"))
    with pytest.raises(RequestRejected, match="did you mean") as caught:
        score(items(1))
    assert (caught.value.status, caught.value.code) == (status, code.name)
    assert len(grpc_server.requests) == 1


async def break_off(request, context):
    await context.abort(CODES.UNAVAILABLE, "draining")


async def one_short(request, context):
    return pb.ScoreResponse(request_id=request.request_id)


async def stranger(request, context):
    return pb.ScoreResponse(request_id="another")


async def never(request, context):
    return None


async def no_number(request, context):
    results = [pb.Result(status="ok", reason="OK") for _ in request.items]
    return pb.ScoreResponse(request_id=request.request_id, results=results)


@pytest.mark.parametrize(
    ("act", "streams"),
    [(break_off, 2), (one_short, 1), (stranger, 2), (never, 2), (no_number, 1)],
    ids=["broken-off", "one-short", "strange-id", "no-answer", "no-number"],
)
def test_a_faulty_answer_is_asked_for_again(score, grpc_server, act, streams):
    grpc_server.script.append(act)
    assert [reward.reward for reward in score(items(3), timeout=0.5)] == expected(items(3))
    assert grpc_server.streams == streams


def test_a_lasting_fault_is_an_error(score, grpc_server):
    grpc_server.script.extend([(CODES.UNAVAILABLE, "busy")] * 9)
    with pytest.raises(ServerUnavailable, match="busy") as caught:
        score(items(1), retries=2)
    assert (caught.value.attempts, caught.value.status) == (3, 503)


def test_a_client_crosses_to_a_spawned_process(grpc_server):
    with RewardClient(grpc_server.url, profile="p") as client:
        client.score(items(1))
        again = pickle.loads(pickle.dumps(client))
        assert again.rewards(items(3)) == expected(items(3))
        again.close()


def test_nobody_there_is_an_error(no_pauses):
    with (
        RewardClient("grpc://127.0.0.1:1", profile="p", retries=1) as client,
        pytest.raises(ServerUnavailable),
    ):
        client.score(items(1))


def test_the_deadline_bounds_everything_and_is_passed_on(score, grpc_server):
    grpc_server.script.append(never)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        score(items(1), deadline=0.5)
    assert time.monotonic() - started < 1.2
    assert 300 < grpc_server.requests[0].deadline_ms < 500


def test_items_with_a_passing_error_are_asked_again_alone(score, grpc_server):
    asked = [{"id": i, "completion": text} for i, text in enumerate(["fine", "error", "abstain"])]
    got = score(asked, item_retries=1)
    assert [reward.status for reward in got] == ["ok", "error", "abstain"]
    assert [reward.reward is None for reward in got] == [False, True, True]
    assert [[i.id for i in request.items] for request in grpc_server.requests] == [
        ["0", "1", "2"],
        ["1"],
    ]


def test_a_server_that_comes_back_is_found_again(grpc_server):
    with RewardClient(grpc_server.url, profile="p") as client:
        assert client.rewards(items(1)) == expected(items(1))
        port = grpc_server.port
        grpc_server.stop()
        again = type(grpc_server)()
        again.port = port
        timer = threading.Timer(0.3, again.start)
        timer.start()
        assert client.rewards(items(2)) == expected(items(2))
        timer.join()
    again.stop()


def test_profile_context_and_key_arrive(grpc_server):
    with RewardClient(
        grpc_server.url, profile="p", run="r", split="train", api_key="k", headers={"X-A": "b"}
    ) as client:
        client.score(items(1), context={"step": 3})
        client.score(items(1))
    first, second = grpc_server.requests
    assert (first.profile, first.context.run, first.context.split) == ("p", "r", "train")
    assert first.context.step == 3
    assert not second.context.HasField("step")
    assert grpc_server.metadata[0]["authorization"] == "Bearer k"
    assert grpc_server.metadata[0]["x-a"] == "b"


def test_predict_models_and_probes(grpc_server):
    with RewardClient(grpc_server.url) as client:
        got = client.predict("screen", "perturbation.de", ["A", "NOGENE", "A"], ["B", "B", "C"])
        assert got.p == (1 / 7, None, 1 / 7)
        assert got.status == ("OK", "UNKNOWN_GENE", "OK")
        assert (got.p0, got.raw) == (None, None)
        assert got.uncertainty == (1 / 7, None, 1 / 7)
        with pytest.raises(RequestRejected, match="did you mean 'screen'"):
            client.predict("scren", "perturbation.de", ["A"], ["B"])
        assert client.models()[0]["name"] == "screen"
        assert client.health()
        assert client.ready()
        grpc_server.serving = False
        assert client.health()
        assert not client.ready()
        with pytest.raises(UsageError, match="HTTP only"):
            client.profiles()


def test_a_model_that_changes_half_way_is_noticed(grpc_server, monkeypatch):
    monkeypatch.setattr("softverifier.client.ROWS_PER_PREDICT", 1)
    grpc_server.digests.extend(["sha256:a", "sha256:b"])
    with (
        RewardClient(grpc_server.url) as client,
        pytest.raises(ServerUnavailable, match="sha256:a became sha256:b"),
    ):
        client.predict("screen", "perturbation.de", ["A", "B"], ["C", "D"])


def test_many_threads_share_a_stream(grpc_server):
    wrong = []
    with RewardClient(grpc_server.url, profile="p", max_items_per_request=3) as client:

        def work(offset):
            asked = items(20 + offset)[offset:]
            if client.rewards(asked) != expected(asked):
                wrong.append(offset)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert wrong == []
    assert grpc_server.streams == 1


def test_one_async_client_serves_several_loops(grpc_server):
    client = AsyncRewardClient(grpc_server.url, profile="p")
    got = [asyncio.run(client.rewards(items(5))) for _ in range(3)]
    asyncio.run(client.close())
    assert got == [expected(items(5))] * 3
    assert grpc_server.streams == 1


def test_a_cancelled_call_ends_and_the_client_goes_on(grpc_server):
    async def slowly(request, context):
        await asyncio.sleep(0.5)
        return grpc_server.scores(request)

    grpc_server.script.append(slowly)

    async def main():
        async with AsyncRewardClient(grpc_server.url, profile="p") as client:
            task = asyncio.ensure_future(client.score(items(1)))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await client.rewards(items(2)) == expected(items(2))

    asyncio.run(main())


def test_a_closed_client_says_so(grpc_server):
    client = RewardClient(grpc_server.url, profile="p")
    client.score(items(1))
    client.close()
    client.close()
    with pytest.raises(UsageError, match="closed"):
        client.score(items(1))


def test_a_client_that_is_never_closed_does_not_hold_up_the_end(grpc_server):
    code = (
        "from softverifier import RewardClient\n"
        f"client = RewardClient({grpc_server.url!r}, profile='p')\n"
        "print(client.rewards([{'completion': 'abc'}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0.001]\n", "")


FORK = """
import os, sys
from softverifier import RewardClient, UsageError
client = RewardClient({url!r}, profile="p")
asked = [{{"completion": "abc"}}]
client.score(asked)
if os.fork() == 0:
    try:
        client.score(asked)
    except UsageError as error:
        os.write(1, f"child: {{error}}\\n".encode())
    os._exit(0)
os.wait()
os.write(1, f"parent: {{client.rewards(asked)}}\\n".encode())
client.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_is_told_instead_of_hanging(grpc_server):
    code = FORK.format(url=grpc_server.url)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    child, parent = done.stdout.splitlines()
    assert child.startswith("child: gRPC was in use when this process was forked")
    assert "'spawn'" in child
    assert parent == "parent: [0.001]"
