"""Outages between trainer and server: retried, reported or fatal, and never a zero."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from compat_samples import NEUTRAL, PROFILE, PROMPT, YES, native, openrlhf, output, row, task
from faulty_proxy import FAULTS, Fault, FaultyProxy, reset
from processes import metric
from served import SETTINGS, write_profiles
from servers import ServerProcess, free_port, get, post, wait_until
from trainer_clients import Gym, OpenRLHF, Slime

FAILED = "softverifier_model_faults_total"


@pytest.fixture
def proxy(inline_server: ServerProcess) -> Iterator[FaultyProxy]:
    made = FaultyProxy(inline_server.http_port)
    yield made
    made.close()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_clients_that_retry_get_the_reward_in_the_end(
    inline_server: ServerProcess, proxy: FaultyProxy, fault: Fault
) -> None:
    wanted = native(inline_server, YES, task())["reward"]
    proxy.script.extend([fault] * 4)
    client = OpenRLHF(f"{proxy.url}/get_reward?{PROFILE}", pause_s=0)
    rewards, _, logs = client.tensors([openrlhf(YES, task())])
    assert client.tried == client.tries == 5
    assert rewards.tolist() == pytest.approx([wanted])
    assert logs["sv_valid"].tolist() == [1.0]
    proxy.script.extend([fault] * 9)
    slime = Slime(f"{proxy.url}/rm?{PROFILE}", pause_s=0)
    assert slime.reward(PROMPT, YES, task())["reward"] == wanted
    assert slime.tried == 10


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_where_retries_end_the_trainer_stops_and_no_zero_enters(
    proxy: FaultyProxy, fault: Fault
) -> None:
    proxy.script.extend([fault] * 12)
    client = OpenRLHF(f"{proxy.url}/get_reward?{PROFILE}", pause_s=0)
    assert client.request(openrlhf(YES, task())) is None
    with pytest.raises(TypeError):
        client.tensors([openrlhf(YES, task())])
    with pytest.raises((httpx.HTTPError, ValueError)):
        Slime(f"{proxy.url}/rm?{PROFILE}", tries=1).reward(PROMPT, YES, task())
    with pytest.raises((httpx.HTTPError, ValueError)):
        Gym(f"{proxy.url}/verify?{PROFILE}").verify(row(task()), output(YES))


def test_a_retry_is_answered_from_the_cache_with_the_same_number(
    inline_server: ServerProcess, proxy: FaultyProxy
) -> None:
    """The answer was lost on the way back: the question is not computed twice."""
    proxy.script.append(reset)
    client = Slime(f"{proxy.url}/rm?{PROFILE}", pause_s=0)
    first = client.reward(PROMPT, YES, task("RETRIED1"))
    assert client.tried == 2
    found = native(inline_server, YES, task("RETRIED1"))
    assert found["components"][0]["cached"]
    assert found["reward"] == first["reward"]


def test_hundreds_of_calls_with_faults(proxy: FaultyProxy) -> None:
    """Every route's numbers are finite and their keys the same, whatever happens on the way."""
    labels = [task(), task("UNKNOWN1"), task("NAN"), {"type": "x"}, task("OTHER1")]
    kinds = itertools.cycle([None, *FAULTS.values()])
    proxy.script.extend(
        fault or (lambda client, answer: client.sendall(answer))
        for fault in itertools.islice(kinds, 400)
    )
    client_url = f"{proxy.url}/get_reward?profile=rbio-mlp&deadline_ms=60"

    def call(i: int) -> dict[str, Any] | None:
        return OpenRLHF(client_url, pause_s=0).request(openrlhf(YES, labels[i % len(labels)]))

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(call, range(250)))
    answered = [one for one in found if one is not None]
    assert len(answered) >= 200
    keys = {tuple(sorted(one["extra_logs"])) for one in answered}
    assert len(keys) == 1
    assert all(0 < one["rewards"][0] < 1 for one in answered)  # the floor is 0: nothing fell to it
    text = json.dumps(answered)
    assert "null" not in text
    assert "NaN" not in text


def test_a_server_killed_and_started_again_and_drained(tmp_path: Path) -> None:
    """SIGKILL with requests in flight: none of them becomes a number; the restart goes on.

    A server that drains does not go on trying: what waits for another try is answered.
    """
    write_profiles(tmp_path)
    port = free_port()
    server = ServerProcess(tmp_path, SETTINGS, "--http-port", str(port)).start()
    url = f"http://127.0.0.1:{port}/rm?profile=slow"
    wanted = native(server, YES, task())["status"]
    started = threading.Barrier(33)

    def call(i: int) -> Any:
        started.wait()
        return Slime(url, tries=40, pause_s=0.2).reward(PROMPT, YES, task(f"KILL{i}"))

    try:
        with ThreadPoolExecutor(32) as pool:
            waiting = [pool.submit(call, i) for i in range(32)]
            started.wait()
            assert server.process is not None
            server.process.kill()
            server.wait()
            server.start()
            rewards = [one.result() for one in waiting]
            body = {"response": YES, "label": task("POISON")}
            failing = pool.submit(post, url, json=body, timeout=30)
            wait_until(
                lambda: metric(server, FAILED, model="slow") >= 1, 20, "it has not failed yet"
            )
            server.terminate()
            drained = time.monotonic()
            assert server.wait() == 0
            assert time.monotonic() - drained < 5.0
            assert failing.result().json()["reward"] == NEUTRAL
    finally:
        server.stop()
    assert wanted == "ok"
    assert {one["sv_ok"] for one in rewards} == {1.0}
    assert len({one["reward"] for one in rewards}) > 16  # each its own, none a stand-in


def test_a_model_that_fails_costs_the_deadline_and_earns_neutral(
    inline_server: ServerProcess,
) -> None:
    found = post(
        f"{inline_server.url}/rm?profile=rbio-mlp&deadline_ms=200",
        json={"response": YES, "label": task("POISON")},
    )
    assert 0.05 < found.elapsed.total_seconds() < 2.0
    assert found.json()["reward"] == NEUTRAL
    assert found.json()["sv_error"] == 1.0


def test_a_client_that_goes_away_ends_the_retries(inline_server: ServerProcess) -> None:
    with pytest.raises(httpx.ReadTimeout):
        post(
            f"{inline_server.url}/rm?profile=rbio-mlp",
            json={"response": YES, "label": task("POISON")},
            timeout=0.1,
        )
    before = metric(inline_server, FAILED)
    assert before > 0
    time.sleep(0.8)  # what is measured is the time: nothing happens in it
    assert (
        metric(inline_server, FAILED) == before
    )  # the tries at 0.15, 0.35 and 0.75 s were not made
    assert 'client_gone"' in get(f"{inline_server.url}/metrics").text


@pytest.fixture(scope="module")
def strained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a short queue, started in a shell that allows 256 open files."""
    folder = tmp_path_factory.mktemp("strained")
    write_profiles(folder)
    running = ServerProcess(folder, SETTINGS + "\n[batching]\nmax_queue = 4\nmax_batch = 4\n")
    running.command = ["sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh", *running.command]
    yield running.start()
    running.stop()


def test_overload_is_waited_out_by_the_server(strained: ServerProcess) -> None:
    """Where the native route says 429, a trainer that cannot wait gets its reward all the same."""

    def call(i: int) -> Any:
        url = f"{strained.url}/rm?profile=slow"
        return Slime(url, tries=1).reward(PROMPT, YES, task(f"FULL{i}"))

    def plain(i: int) -> int:
        item = {"completion": YES, "task": task(f"PLAIN{i}")}
        return post(
            f"{strained.url}/v1/score", json={"profile": "slow", "items": [item]}
        ).status_code

    with ThreadPoolExecutor(48) as pool:
        refused = list(pool.map(plain, range(48))).count(429)
        found = list(pool.map(call, range(48)))
    assert refused > 0
    assert [one["sv_ok"] for one in found] == [1.0] * 48


def test_more_connections_than_the_soft_limit_of_files(strained: ServerProcess) -> None:
    body = json.dumps({"response": YES, "label": task()})
    open_ended = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    with httpx.Client(limits=open_ended, verify=False) as client:
        asked = client.build_request("POST", f"{strained.url}/rm?{PROFILE}", content=body)
        streams = [client.send(asked, stream=True) for _ in range(400)]  # unread: each its own
        codes = {one.status_code for one in streams}
        for one in streams:
            one.close()
    assert codes == {200}
