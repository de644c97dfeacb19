"""Ids of requests on both ways through HTTP, and what the log says of them."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from structlog.contextvars import get_contextvars

from served import SETTINGS, write_profiles
from servers import ServerProcess, get, post, wait_until
from service.front.reported import Reported
from service.telemetry.reporting import SILENT
from softverifier._pb import rewards_pb2 as pb

SECRET = "a thought that is nobody's business"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-00"
MADE = re.compile(r"[0-9a-f]{12}-[0-9a-f]+")
LOGGED = '\n[telemetry]\nlog_format = "json"\nlog_level = "{}"\n'


class Logged(NamedTuple):
    server: ServerProcess

    def lines(self) -> list[dict[str, Any]]:
        text = (self.server.folder / "server.log").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def line(self, request_id: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [
                line
                for line in self.lines()
                if line.get("request_id") == request_id and line["event"] == "request"
            ]
            return bool(found)

        wait_until(there, 30, f"no line of {request_id}")
        (line,) = found
        return line


def start(folder: Path, settings: str) -> Iterator[Logged]:
    write_profiles(folder)
    server = ServerProcess(folder, settings).start()
    yield Logged(server)
    server.stop()


@pytest.fixture(scope="module")
def debug(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    """Tells of everything; ``fake`` answers in the loop, ``slow`` is waited for."""
    yield from start(tmp_path_factory.mktemp("debug"), SETTINGS + LOGGED.format("debug"))


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    yield from start(tmp_path_factory.mktemp("quiet"), SETTINGS + LOGGED.format("info"))


def score(profile: str) -> dict[str, Any]:
    task = {"type": "perturbation.de", "perturbation": "A", "gene": "B", "cell_line": "k562"}
    item = {"completion": f"<think>{SECRET}</think><answer>yes</answer>", "task": task}
    return {"profile": profile, "items": [item]}


def short(url: str, **more: Any) -> Any:
    return post(f"{url}/v1/score", json=score("rbio-mlp"), timeout=60, **more)


def waiting(url: str, **more: Any) -> Any:
    return post(f"{url}/v1/score", json=score("slow"), timeout=60, **more)


def listed(url: str, **more: Any) -> Any:
    return get(f"{url}/v1/models", timeout=60, **more)


def missing(url: str, **more: Any) -> Any:
    return get(f"{url}/v1/modles?token=hush", timeout=60, **more)


def unknown(url: str, **more: Any) -> Any:
    return post(f"{url}/v1/score", json=score("nothing"), timeout=60, **more)


ROUTES = {
    "the short cut": (short, "/v1/score", 200, "debug"),
    "a model is waited for": (waiting, "/v1/score", 200, "debug"),
    "FastAPI": (listed, "/v1/models", 200, "debug"),
    "no such route": (missing, "/v1/modles", 404, "warning"),
    "no such profile": (unknown, "/v1/score", 404, "warning"),
}


@pytest.mark.parametrize("name", ROUTES)
def test_an_id_comes_back_and_stands_in_the_log(debug: Logged, name: str) -> None:
    ask, route, status, level = ROUTES[name]
    given = f"mine-{name.replace(' ', '-')}"
    answer = ask(debug.server.url, headers={"x-request-id": given, "traceparent": PARENT})
    assert answer.status_code == status
    assert answer.headers.get_list("x-request-id") == [given]
    line = debug.line(given)
    assert (line["route"], line["status"], line["level"]) == (route, status, level)
    assert line["trace_id"] == TRACE
    assert 0.0 <= line["ms"] < 60_000.0
    assert line["timestamp"]


@pytest.mark.parametrize("name", ROUTES)
def test_without_an_id_one_is_made(debug: Logged, name: str) -> None:
    ask = ROUTES[name][0]
    made = [ask(debug.server.url).headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    assert all(MADE.fullmatch(one) for one in made)
    assert "trace_id" not in debug.line(made[0])


@pytest.mark.parametrize("ask", [short, waiting], ids=["short cut", "waiting"])
def test_a_bad_id_is_not_repeated(debug: Logged, ask: Callable[..., Any]) -> None:
    for bad in ("two words", "x" * 500):
        answer = ask(debug.server.url, headers={"x-request-id": bad})
        assert MADE.fullmatch(answer.headers["x-request-id"])


def test_pipelined_requests_keep_their_ids(debug: Logged) -> None:
    """Three requests in one packet on one connection: the second fails."""
    packets = b""
    for i, profile in enumerate(("rbio-mlp", "nothing", "rbio-mlp")):
        body = json.dumps(score(profile)).encode()
        head = f"POST /v1/score HTTP/1.1\r\nhost: x\r\nx-request-id: line-{i}\r\n"
        packets += f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    with socket.create_connection(("127.0.0.1", debug.server.http_port), timeout=60) as sock:
        sock.sendall(packets)
        received = b""
        while received.count(b"x-request-id: ") < 3:
            part = sock.recv(65536)
            assert part, received
            received += part
    assert re.findall(rb"x-request-id: (\S+)", received) == [b"line-0", b"line-1", b"line-2"]
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"404", b"200"]
    assert [debug.line(f"line-{i}")["status"] for i in range(3)] == [200, 404, 200]


def test_grpc(debug: Logged) -> None:
    task = pb.Task(type="perturbation.de", perturbation=["A"], gene="B", cell_line="k562")
    item = pb.Item(completion=f"<think>{SECRET}</think><answer>yes</answer>", task=task)
    with grpc.insecure_channel(debug.server.grpc_url.removeprefix("grpc://")) as channel:
        call = channel.unary_unary(
            "/softverifier.v1.Rewards/Score",
            request_serializer=pb.ScoreRequest.SerializeToString,
            response_deserializer=pb.ScoreResponse.FromString,
        )

        def ask(profile: str, request_id: str) -> None:
            metadata = (("x-request-id", request_id), ("traceparent", PARENT))
            request = pb.ScoreRequest(profile=profile, items=[item])
            call(request, metadata=metadata, timeout=60)

        ask("slow", "rpc-1")
        with pytest.raises(grpc.RpcError):
            ask("nothing", "rpc-2")
    first, second = debug.line("rpc-1"), debug.line("rpc-2")
    assert (first["code"], first["level"]) == ("OK", "debug")
    assert (second["code"], second["level"]) == ("NOT_FOUND", "warning")
    assert first["route"] == "/softverifier.v1.Rewards/Score"
    assert first["trace_id"] == TRACE


def test_what_went_well_is_not_told_and_what_failed_is(quiet: Logged) -> None:
    url = quiet.server.url
    well = [ask(url).headers["x-request-id"] for ask in (short, waiting, listed)]
    failed = [ask(url).headers["x-request-id"] for ask in (missing, unknown)]
    assert [quiet.line(one)["status"] for one in failed] == [404, 404]
    told = {line.get("request_id") for line in quiet.lines()}
    assert not told & set(well)


def test_a_deadline_is_told_as_an_error(quiet: Logged) -> None:
    late = {**score("slow"), "deadline_ms": 1}
    late["items"][0]["task"]["perturbation"] = "NOT-REMEMBERED"
    headers = {"x-request-id": "too-late"}
    assert post(f"{quiet.server.url}/v1/score", json=late, headers=headers).status_code == 504
    assert quiet.line("too-late")["level"] == "error"


def test_lines_within_a_request_carry_its_id() -> None:
    seen: list[dict[str, Any]] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        seen.append(get_contextvars())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"x-request-id", b"mine"), (b"traceparent", PARENT.encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": headers}
    asyncio.run(Reported(behind, SILENT)(scope, receive, send))
    assert seen == [{"request_id": "mine", "trace_id": TRACE}]
    assert sent[0]["headers"] == [(b"x-request-id", b"mine")]
    assert get_contextvars() == {}


@pytest.mark.parametrize("level", ["debug", "info"])
def test_no_text_and_no_query_in_the_log(level: str, request: pytest.FixtureRequest) -> None:
    logged: Logged = request.getfixturevalue("debug" if level == "debug" else "quiet")
    for ask, *_ in ROUTES.values():
        ask(logged.server.url, headers={"x-request-id": f"last-{level}-{ask.__name__}"})
    logged.line(f"last-{level}-unknown")
    text = (logged.server.folder / "server.log").read_text()
    assert SECRET not in text
    assert "hush" not in text
