from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from served import SETTINGS
from servers import RedisProcess, ServerProcess, get, post, wait_until
from softverifier._pb import rewards_pb2 as pb


def body(profile: str, *subjects: str) -> dict[str, Any]:
    completion = "<think>It may well be so.</think>\n<answer>yes</answer>"
    task = {"type": "perturbation.de", "gene": "CALR", "cell_line": "k562"}
    items = [{"completion": completion, "task": {**task, "perturbation": s}} for s in subjects]
    return {"profile": profile, "items": items}


def ask(server: ServerProcess, profile: str, subject: str) -> str:
    response = post(f"{server.url}/v1/score", json=body(profile, subject), timeout=30)
    status: str = response.json()["results"][0]["status"]
    return status


def until_computing(server: ServerProcess) -> None:
    """Wait until the slow model has taken its first batch."""
    begun = 'softverifier_queue_wait_seconds_count{model="slow"} 1.0'
    wait_until(lambda: begun in get(f"{server.url}/metrics").text, 10, "nothing is computed")


def test_sigterm_answers_what_is_in_flight_and_exits_0(own_server: ServerProcess) -> None:
    config = own_server.folder / "soft-verifier.toml"
    config.write_text(config.read_text().replace('delay_ms = "20"', 'delay_ms = "2500"'))
    own_server.start()
    with ThreadPoolExecutor(64) as pool:
        first = pool.submit(ask, own_server, "slow", "FIRST")
        until_computing(own_server)
        asked = [first, *(pool.submit(ask, own_server, "slow", f"G{i}") for i in range(63))]
        queued = 'softverifier_queue_depth{model="slow"} 63.0'
        wait_until(
            lambda: queued in get(f"{own_server.url}/metrics").text,
            10,
            "not all queued",
        )
        own_server.terminate()
        assert [one.result() for one in asked] == ["ok"] * 64
    assert own_server.wait() == 0
    with pytest.raises(httpx.ConnectError):
        get(f"{own_server.url}/healthz")


def test_clients_that_go_away_take_their_work_with_them(own_server: ServerProcess) -> None:
    config = own_server.folder / "soft-verifier.toml"
    config.write_text(config.read_text().replace('delay_ms = "20"', 'delay_ms = "2000"'))
    own_server.start()

    def leave(i: int) -> None:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                verify=False,
                url=f"{own_server.url}/v1/score",
                json=body("slow", f"AWAY{i}"),
                timeout=0.5,
            )

    def metric(name: str) -> float:
        text = get(f"{own_server.url}/metrics").text
        return next((float(r.split()[-1]) for r in text.splitlines() if r.startswith(name)), 0.0)

    warm_up = metric('softverifier_batch_queries_sum{model="slow"}')
    with ThreadPoolExecutor(32) as pool:
        first = pool.submit(ask, own_server, "slow", "FIRST")
        until_computing(own_server)
        list(pool.map(leave, range(20)))
        assert first.result() == "ok"
    assert ask(own_server, "slow", "LAST") == "ok"
    assert metric('softverifier_batch_queries_sum{model="slow"}') - warm_up == 2
    assert metric('softverifier_requests_total{code="client_gone",route="/v1/score"}') == 20


def test_half_a_request_at_the_end_is_not_called_a_clean_exit(own_server: ServerProcess) -> None:
    config = own_server.folder / "soft-verifier.toml"
    text = config.read_text().replace("[limits]", GRACE)
    config.write_text(text.replace('run = "thread"', 'run = "inline"'))
    own_server.start()
    with socket.create_connection(("127.0.0.1", own_server.http_port)) as sock:
        sock.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.2)
        own_server.terminate()
        assert own_server.wait(15) == 1
    assert "unfinished=1" in own_server.log()


def test_a_stuck_model_does_not_keep_the_process_alive(own_server: ServerProcess) -> None:
    config = own_server.folder / "soft-verifier.toml"
    text = config.read_text().replace('delay_ms = "20"', 'delay_ms = "4000"')
    config.write_text("[batching]\nstall_s = 0.5\n" + text.replace("[limits]", GRACE))
    own_server.start()
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(post, f"{own_server.url}/v1/score", json=body("slow", "A"))
        wait_until(
            lambda: get(f"{own_server.url}/healthz").status_code == 503,
            10,
            "not noticed",
        )
        own_server.terminate()
        started = time.monotonic()
        assert own_server.wait(15) == 1
        assert time.monotonic() - started < 3  # the batch has longer to go
        assert stuck.exception() is not None or stuck.result().status_code >= 500


def test_a_damaged_starter_is_built_anew(tmp_path: Path) -> None:
    first = ServerProcess(tmp_path).start()
    first.stop()
    (tmp_path / "models" / "starter" / "manifest.toml").write_text("schema = 1\n")
    again = ServerProcess(tmp_path).start()
    try:
        assert "building it anew" in again.log()
        assert get(f"{again.url}/readyz").json()["models"] == ["starter"]
    finally:
        again.stop()


def test_redis_that_comes_up_after_the_server_is_used(
    own_server: ServerProcess, own_redis: RedisProcess
) -> None:
    config = own_server.folder / "soft-verifier.toml"
    more = f'[cache]\nredis_url = "{own_redis.url}"\nmemory_entries = 0\nbreaker_s = 0.2\n'
    config.write_text(config.read_text() + more)
    own_redis.kill()
    own_server.start()
    assert "Redis is away" in own_server.log()
    own_redis.start()

    def cached() -> bool:
        response = post(f"{own_server.url}/v1/score", json=body("slow", "R"), timeout=30)
        return bool(response.json()["results"][0]["components"][0]["cached"])

    wait_until(cached, 8, "Redis was never taken into use")


def test_a_stream_is_told_that_the_server_drains(own_server: ServerProcess) -> None:
    own_server.start()
    item = pb.Item(
        completion="<think>It may well be so.</think><answer>yes</answer>",
        task=pb.Task(type="perturbation.de", perturbation=["A"], gene="B", cell_line="k562"),
    )

    answered = threading.Event()

    def requests() -> Any:
        yield pb.ScoreRequest(profile="rbio-mlp", items=[item])
        assert answered.wait(10)
        own_server.terminate()
        time.sleep(20)  # a trainer that keeps its stream open: the server must not wait for it

    with grpc.insecure_channel(f"127.0.0.1:{own_server.grpc_port}") as channel:
        stream = channel.stream_stream(
            "/softverifier.v1.Rewards/ScoreStream",
            request_serializer=pb.ScoreRequest.SerializeToString,
            response_deserializer=pb.ScoreResponse.FromString,
        )(requests())
        assert next(stream).results[0].status == "ok"
        answered.set()
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert own_server.wait(10) == 0
        stream.cancel()


def test_redis_dies_and_comes_back_while_serving(
    own_server: ServerProcess, own_redis: RedisProcess
) -> None:
    config = own_server.folder / "soft-verifier.toml"
    more = f'[cache]\nredis_url = "{own_redis.url}"\nmemory_entries = 0\nbreaker_s = 0.2\n'
    config.write_text(config.read_text() + more)
    own_server.start()

    def cached() -> bool:
        result = post(f"{own_server.url}/v1/score", json=body("slow", "R"), timeout=30)
        (component,) = result.json()["results"][0]["components"]
        assert component["status"] == "OK"
        return bool(component["cached"])

    assert not cached()
    wait_until(cached, 5, "the verdict never came from Redis")
    own_redis.kill()
    assert not cached()
    own_redis.start()
    wait_until(cached, 5, "Redis was not taken up again")


def serve(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `serve` where it is expected to end at once; on free ports unless it says otherwise."""
    if "--http-port" not in options:
        options = (*options, "--http-port", "0", "--grpc-port", "0")
    command = [sys.executable, "-m", "service", "serve", *options]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def taken(folder: Path) -> tuple[list[str], dict[str, str], str]:
    sock = socket.create_server(("127.0.0.1", 0))
    KEPT.append(sock)
    port = str(sock.getsockname()[1])
    return ["--http-port", port], {}, f"http_port {port} on 127.0.0.1: Address already in use"


KEPT: list[socket.socket] = []
GRACE = "[server]\ngrace_s = 1\n[limits]"


def setting(text: str, says: str) -> Callable[[Path], tuple[list[str], dict[str, str], str]]:
    def make(folder: Path) -> tuple[list[str], dict[str, str], str]:
        (folder / "soft-verifier.toml").write_text(text)
        return ["--http-port", "0", "--grpc-port", "0"], {}, says

    return make


def variable(name: str, value: str, says: str) -> Callable[[Path], Any]:
    return lambda folder: ([], {name: value}, says)


def option(*options: str, says: str) -> Callable[[Path], Any]:
    return lambda folder: (list(options), {}, says)


STARTS = {
    "a table as text in a variable": variable("SOFT_VERIFIER_GENES__TABLES", "g.tsv", "as JSON"),
    "a section as text in a variable": variable("SOFT_VERIFIER_SERVER", "foo", "as JSON"),
    "port in use": taken,
    "one port for both": option(
        "--http-port", "8181", "--grpc-port", "8181", says="need a port each"
    ),
    "no such settings file": option("--config", "no.toml", says="no.toml does not exist"),
    "settings are not TOML": setting("[server", "cannot be read"),
    "unknown section": setting("[servr]\n", "servr: unknown key; did you mean 'server'"),
    "unknown key": setting("[server]\nhttp_prt = 1\n", "did you mean 'http_port'"),
    "wrong value": setting("[server]\nhttp_port = 'x'\n", "server.http_port"),
    "unknown variable": variable("SOFT_VERIFIER_SERVR__HOST", "x", "did you mean 'server'"),
    "variable of wrong type": variable("SOFT_VERIFIER_SERVER__HTTP_PORT", "x", "http_port"),
    "no such model folder": option("--model", "nowhere", says="no checkpoint at nowhere"),
    "unknown family": setting(
        "[starter]\nenabled=false\n[[models]]\nfamily='fke'\n", "did you mean 'fake'"
    ),
    "model without source": setting("[starter]\nenabled=false\n[[models]]\nname='x'\n", "`path`"),
    "two models of one name": setting(
        SETTINGS.replace('name = "slow"', 'name = "fake"').replace('folder = "profiles"', ""),
        "two models are named 'fake'",
    ),
    "profile bound to an unknown model": setting(
        "[starter]\nenabled=false\n[profiles.models]\nrbio-mlp='nope'\n", "unknown model 'nope'"
    ),
    "unknown profile bound": setting(
        "[starter]\nenabled=false\n[profiles.models]\nrbio-mpl='x'\n", "rbio-mpl"
    ),
    "no such gene table": setting("[genes]\ntables=['genes.tsv']\n", "genes.tsv"),
    "redis of another kind": setting(
        "[starter]\nenabled=false\n[cache]\nredis_url='http://x'\n", "scheme must be redis"
    ),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_server_that_cannot_start_says_why_in_one_line(
    tmp_path: Path, start: Callable[[Path], tuple[list[str], dict[str, str], str]]
) -> None:
    options, environment, says = start(tmp_path)
    done = serve(tmp_path, *options, **environment)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("soft-verifier: ")


def test_redis_away_at_the_start_is_a_warning(own_server: ServerProcess) -> None:
    config = own_server.folder / "soft-verifier.toml"
    config.write_text(config.read_text() + "[cache]\nredis_url = 'redis://127.0.0.1:1'\n")
    own_server.start()
    assert ask(own_server, "slow", "A") == "ok"
    assert "Redis is away" in own_server.log()
