"""Models that raise, answer NaN or too little, run out of memory, hang; and crowds before them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from chaos_traffic import (
    HONEST,
    Breakable,
    Heard,
    Recovery,
    Traffic,
    body,
    check,
    metric,
    read,
    rewards_of,
)
from servers import ServerProcess, get, post, wait_until
from softverifier._pb import worldmodels_pb2 as wm

COMPUTED = 'softverifier_batch_queries_sum{model="slow"}'
DEPTH = 'softverifier_queue_depth{model="slow"}'
BEGUN = 'softverifier_queue_wait_seconds_count{model="slow"}'
OPTIONS = '200", nan = "NAN", short = "SHORT", hang = "STUCK", most_rows = "16'
BATCHING = "[batching]\nstall_s = 1.5\n[cache]\nmemory_entries = 1000\n"


@pytest.fixture(scope="module")
def faulty(breakable: Breakable) -> ServerProcess:
    """A model of 0.2 s a batch that misbehaves when asked for certain genes."""
    return breakable(BATCHING, delay_ms=OPTIONS)


@pytest.fixture(scope="module")
def plain(breakable: Breakable) -> ServerProcess:
    """One that behaves, until it is killed."""
    return breakable()


def ask(server: ServerProcess, subject: str, **more: object) -> Heard:
    began = time.monotonic()
    found = post(f"{server.url}/v1/score", json=body("slow", subject, **more), timeout=30)
    return read(subject, found.status_code, found.content, began)


def together(server: ServerProcess, subjects: list[str], **more: object) -> list[Heard]:
    """All at once, while the model is busy with another."""
    begun = metric(server, BEGUN)
    with ThreadPoolExecutor(len(subjects) + 1) as pool:
        first = pool.submit(ask, server, f"FIRST{subjects[0]}{begun:.0f}")
        wait_until(lambda: metric(server, BEGUN) > begun, 10, "nothing is computed")
        found = list(pool.map(lambda name: ask(server, name, **more), subjects))
        assert first.result().outcome == "ok"
    return found


@pytest.mark.parametrize("bad", ["POISON", "NAN", "SHORT"], ids=["raises", "nan", "too short"])
def test_one_bad_request_of_64_costs_itself_alone(
    faulty: ServerProcess, server: ServerProcess, bad: str
) -> None:
    good = [f"{bad}BESIDE{i}" for i in range(63)]
    heard = together(faulty, [*good[:30], bad, *good[30:]])
    assert [one.outcome for one in heard].count("ok") == 63
    assert heard[30].outcome == "MODEL_ERROR"
    check(heard, {**rewards_of(server, "slow", good), bad: 0.0})


def test_64_equal_requests_are_computed_once(faulty: ServerProcess, server: ServerProcess) -> None:
    before = metric(faulty, COMPUTED)
    heard = together(faulty, ["EQUAL"] * 64)
    assert metric(faulty, COMPUTED) - before == 2  # with the one that kept the model busy
    check(heard, rewards_of(server, "slow", ["EQUAL"]))
    assert {one.outcome for one in heard} == {"ok"}


def test_a_batch_that_does_not_fit_the_memory_is_halved(
    faulty: ServerProcess, server: ServerProcess
) -> None:
    subjects = [f"MUCH{i}" for i in range(50)]
    found = post(f"{faulty.url}/v1/score", json=body("slow", *subjects), timeout=30).json()
    truths = rewards_of(server, "slow", subjects)
    assert [one["reward"] for one in found["results"]] == [truths[name] for name in subjects]


def test_what_clients_left_behind_is_not_computed(faulty: ServerProcess) -> None:
    """255 rows wait behind a batch when the one who asked goes away: none is begun."""
    begun, before = metric(faulty, BEGUN), metric(faulty, COMPUTED)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, faulty, "BEFORELEAVING")
        wait_until(lambda: metric(faulty, BEGUN) > begun, 10, "nothing is computed")
        gone = http.client.HTTPConnection("127.0.0.1", faulty.http_port)
        subjects = [f"LEFT{i}" for i in range(255)]
        gone.request("POST", "/v1/score", json.dumps(body("slow", *subjects)))
        wait_until(lambda: metric(faulty, DEPTH) == 255 or first.done(), 10, "not queued")
        assert not first.done(), "the machine is too slow for this test's batch"
        gone.close()
        wait_until(lambda: metric(faulty, DEPTH) == 0, 10, "they still wait")
        assert first.result().outcome == "ok"
    assert ask(faulty, "AFTERLEAVING").outcome == "ok"
    assert metric(faulty, COMPUTED) - before == 2


def test_who_comes_back_when_told_gets_in(faulty: ServerProcess) -> None:
    """More than can be done in time: some are told no at once, come back when told, and get in."""
    told: list[float] = []
    lock = threading.Lock()

    def obedient(i: int) -> int:
        more = {"deadline_ms": 1500}
        for attempt in range(1, 9):
            names = (f"OBEY{i}N{j}" for j in range(64))
            began = time.monotonic()
            found = post(f"{faulty.url}/v1/score", json=body("slow", *names, **more), timeout=30)
            if found.status_code != 429:
                return attempt if found.status_code == 200 else 0
            assert time.monotonic() - began < 1.5
            after = float(found.headers["retry-after"])
            with lock:
                told.append(after)
            threading.Event().wait(after)
        return 0

    with ThreadPoolExecutor(12) as pool:
        tries = list(pool.map(obedient, range(12)))
    assert told, "nobody was refused"
    assert all(tries), tries
    assert max(tries) > 1


@pytest.fixture(scope="module")
def narrow(breakable: Breakable) -> ServerProcess:
    """A model that takes 0.3 s for 8 queries, and no more at once."""
    return breakable("[batching]\nmax_batch = 8\n", delay_ms="300")


@contextlib.contextmanager
def queue_of_training(server: ServerProcess) -> Iterator[None]:
    """Three batches: one is computed, two wait."""
    begun = metric(server, BEGUN)
    with ThreadPoolExecutor(3) as pool:
        long = [pool.submit(ask_many, server, f"LONG{begun:.0f}.{i}", "train") for i in range(3)]
        wait_until(lambda: metric(server, BEGUN) > begun, 10, "nothing is computed")
        wait_until(lambda: metric(server, DEPTH) >= 16, 10, "nothing waits")
        yield
        assert [one.result() for one in long] == [200] * 3


def test_evaluation_is_refused_before_training(narrow: ServerProcess) -> None:
    """A queue of training so long that evaluation does not fit its deadline, and training does."""
    with queue_of_training(narrow), ThreadPoolExecutor(2) as pool:
        evaluation = pool.submit(ask_many, narrow, "EVAL", "valid")
        training = pool.submit(ask_many, narrow, "TRAIN", "train")
        assert (evaluation.result(), training.result()) == (429, 200)
    assert ask_many(narrow, "EVAL", "valid") == 200


def test_grpc_says_when_to_come_back(narrow: ServerProcess) -> None:
    request = wm.PredictRequest(
        model="slow",
        relation="perturbation.de",
        names=["HURRIED", "CALR"],
        subjects=[0],
        objects=[1],
        context="k562",
        deadline_ms=50,
    )
    with queue_of_training(narrow), grpc.insecure_channel(narrow.grpc_url[7:]) as channel:
        call = channel.unary_unary(
            "/softverifier.v1.WorldModels/Predict",
            request_serializer=wm.PredictRequest.SerializeToString,
            response_deserializer=wm.PredictResponse.FromString,
        )
        with pytest.raises(grpc.RpcError) as refused:
            call(request, timeout=10)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    told = dict(refused.value.trailing_metadata())
    assert int(told["retry-after"]) >= 1
    assert 100 <= int(told["grpc-retry-pushback-ms"]) <= 10_000


def ask_many(server: ServerProcess, name: str, split: str) -> int:
    names = (f"{name}{i}" for i in range(8))
    more = {"deadline_ms": 2200, "context": {"split": split}}
    found = post(f"{server.url}/v1/score", json=body("slow", *names, **more), timeout=30)
    return found.status_code


def test_2000_at_once_are_answered_or_told_no(
    plain: ServerProcess, server: ServerProcess, recovery: Recovery
) -> None:
    """Within a second, or where the machine is slow in the time that they take one by one."""
    began = time.monotonic()
    assert all(ask(plain, f"ONE{i}").outcome == "ok" for i in range(20))
    alone = (time.monotonic() - began) / 20
    subjects = [f"CROWD{i}" for i in range(2000)]
    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        parts = pool.map(lambda at: crowd(plain, subjects[at::16]), range(16))
        heard = [one for part in parts for one in part]
    took = time.monotonic() - began
    assert len(heard) == 2000
    assert {one.outcome for one in heard} <= {"ok", "429"}
    check(heard, rewards_of(server, "slow", subjects))
    recovery("2,000 requests at once", took, f"for all (one after the other {2000 * alone:.0f} s)")
    assert took <= max(1.0, 2000 * alone)


def crowd(server: ServerProcess, subjects: list[str]) -> list[Heard]:
    """Send all on connections of their own before any answer is read."""
    opened = []
    for subject in subjects:
        one = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
        one.request("POST", "/v1/score", json.dumps(body("slow", subject)))
        opened.append((subject, one, time.monotonic()))
    heard = []
    for subject, one, began in opened:
        response = one.getresponse()
        heard.append(read(subject, response.status, response.read(), began))
        one.close()
    return heard


def test_a_model_that_hangs_is_noticed_and_answered_for(
    faulty: ServerProcess, server: ServerProcess, recovery: Recovery
) -> None:
    """Last here: the model never comes back. Others are served; this one says no, on time."""
    began = time.monotonic()
    stuck = ask(faulty, "STUCK", deadline_ms=1000)
    assert stuck.outcome in ("504", "DEADLINE")
    assert time.monotonic() - began < 5
    heard = [ask(faulty, f"BEHIND{i}", deadline_ms=400) for i in range(4)]
    assert {one.outcome for one in heard} <= {str(code) for code in HONEST}
    wait_until(lambda: get(f"{faulty.url}/healthz").status_code == 503, 20, "not noticed")
    recovery("model hangs", time.monotonic() - began, "until /healthz says so (stall_s = 1.5)")
    assert get(f"{faulty.url}/healthz").json()["stalled"] == ["slow"]
    ready = get(f"{faulty.url}/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "stalled")
    assert ready.json()["stalled"] == ["slow"]
    refused = ask(faulty, "LATER", deadline_ms=500)
    assert refused.outcome == "429"
    assert refused.ended - refused.began < 0.4
    other = post(f"{faulty.url}/v1/score", json=body("rbio-mlp", "OTHER"), timeout=30).json()
    assert other["results"][0]["reward"] == rewards_of(server, "rbio-mlp", ["OTHER"])["OTHER"]


def test_an_idle_server_does_nothing(server: ServerProcess) -> None:
    """Less than half a percent of a core, over two seconds."""

    def cpu_s() -> float:
        with open(f"/proc/{server.pid}/stat") as file:  # noqa: PTH123 - read often
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    threading.Event().wait(0.5)
    before = cpu_s()
    threading.Event().wait(4.0)
    assert cpu_s() - before <= 0.02


def test_a_killed_server_comes_back_and_says_the_same(
    plain: ServerProcess, server: ServerProcess, recovery: Recovery
) -> None:
    broken = plain
    with Traffic(broken.url, "slow", name="KILLED") as traffic:
        traffic.more(5, "ok")
        assert broken.process is not None
        broken.process.kill()
        broken.process.wait()
        killed = time.monotonic()
        traffic.more(3, "refused")
        assert broken.process.stdout is not None
        broken.process.stdout.close()
        again = broken.command
        again[again.index("--http-port") + 1] = str(broken.http_port)
        broken.start()
        traffic.more(5, "ok")
    recovery("server killed, and started again", traffic.recovered_s(killed), "to the next answer")
    traffic.held_to(server, {"refused", "reset"})
    assert traffic.outcomes()["reset"] <= 3  # one in flight of each client
