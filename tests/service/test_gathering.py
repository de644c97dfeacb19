"""Requests that are judged in one pass: nobody can tell, whatever the others are."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from served import SETTINGS
from servers import ServerProcess
from service import app, settings
from service.front.gathering import MOST_ITEMS, Gathering
from service.front.hot import HotRoutes, Reply


def body(subject: str = "A", n: int = 1, **more: Any) -> bytes:
    completion = "<think>It may well be so.</think>\n<answer>yes</answer>"
    task = {"type": "perturbation.de", "gene": "CALR", "cell_line": "k562"}
    items = [
        {
            "id": f"{subject}-{i}",
            "completion": completion,
            "task": {**task, "perturbation": subject},
        }
        for i in range(n)
    ]
    return json.dumps({"profile": "rbio-mlp", "items": items, **more}).encode()


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []

    def answer(self, reply: Reply, last: bool) -> None:
        self.replies.append(reply)


@pytest.fixture(scope="module")
def hot(tmp_path_factory: pytest.TempPathFactory) -> HotRoutes:
    """Routes over the test server's fake model that computes in the loop."""
    file = tmp_path_factory.mktemp("gathering") / "soft-verifier.toml"
    file.write_text(SETTINGS.replace('folder = "profiles"', "").replace('"thread"', '"inline"'))
    service = app.build(settings.load(file))
    service.pipeline.settle()
    assert not service.pipeline.waits_for("rbio-mlp")
    return HotRoutes(service.pipeline)


def gathered(hot: HotRoutes, bodies: list[bytes], route: str = "/v1/score") -> list[Reply]:
    """Submit in one turn of a loop; what each was told."""
    listeners = [Listener() for _ in bodies]

    async def story() -> None:
        gathering = Gathering(hot)
        for listener, one in zip(listeners, bodies, strict=True):
            gathering.submit(listener, route, one, False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(story())
    assert [len(listener.replies) for listener in listeners] == [1] * len(bodies)
    return [listener.replies[0] for listener in listeners]


def plain(reply: Reply) -> tuple[int, Any]:
    """A reply without what says whether the cache had it."""
    found = json.loads(reply.payload)
    for result in found.get("results", ()):
        for component in result["components"]:
            component["cached"] = None
    return reply.status, found


CROWD = {
    "honest": body("A"),
    "another": body("B", 3),
    "the same question": body("A"),
    "empty": body("A", 0),
    "poisoned": body("POISON"),
    "nan": body("NAN"),
    "unknown gene": body("UNKNOWN1"),
    "not JSON": b"{",
    "misspelt": b'{"profil": "rbio-mlp"}',
    "unknown profile": body("A", profile="rbio-mpl"),
    "profile without model": body("A", profile="rbio-tf"),
    "pinned wrongly": body("A", profile="rbio-mlp@sha256:00"),
    "bad item": b'{"profile": "rbio-mlp", "items": [{"completion": 3}]}',
    "another run": body("A", context={"run": "r", "split": "train"}),
    "deadline": body("A", deadline_ms=5000),
    "completion without end": json.dumps(
        {"profile": "rbio-mlp", "items": [{"completion": "a" * 5_000_000}]}
    ).encode(),
    "too many": body("A", 1001),
}


def test_each_is_told_what_it_would_be_told_alone(hot: HotRoutes) -> None:
    alone = [plain(hot.reply_now("/v1/score", one)) for one in CROWD.values()]
    together = [plain(reply) for reply in gathered(hot, list(CROWD.values()))]
    assert dict(zip(CROWD, together, strict=True)) == dict(zip(CROWD, alone, strict=True))
    assert {status for status, _ in together} == {200, 400, 404, 409, 413, 422}


def test_big_requests_are_judged_in_several_passes(hot: HotRoutes) -> None:
    bodies = [body(f"BIG{i}", MOST_ITEMS // 2 - 1 + i % 3) for i in range(7)]
    for one, reply in zip(bodies, gathered(hot, bodies), strict=True):
        assert plain(reply) == plain(hot.reply_now("/v1/score", one))


def asked(*subjects: str, **more: Any) -> bytes:
    columns = {"subjects": list(subjects), "objects": ["CALR"] * len(subjects)}
    request = {"model": "fake", "relation": "perturbation.de", "context": "k562", **columns}
    return json.dumps({**request, **more}).encode()


PREDICTORS = {
    "one pair": asked("A"),
    "the same": asked("A"),
    "several": asked("B", "C", "D"),
    "none": asked(),
    "unknown gene among them": asked("E", "UNKNOWN1", "F"),
    "poisoned": asked("G", "POISON"),
    "nan": asked("NAN"),
    "another relation": asked("A", relation="perturbation.dir"),
    "no such relation": asked("A", relation="nope"),
    "unknown model": asked("A", model="fakke"),
    "columns that differ": asked("A", objects=[]),
    "contexts of their own": asked("A", "B", contexts=["k562", "rpe1"]),
    "deadline": asked("A", deadline_ms=5000),
    "not JSON": b"{",
}


def test_predictions_are_what_they_are_alone(hot: HotRoutes) -> None:
    alone = [hot.reply_now("/v1/predict", one) for one in PREDICTORS.values()]
    together = gathered(hot, list(PREDICTORS.values()), "/v1/predict")
    assert dict(zip(PREDICTORS, together, strict=True)) == dict(zip(PREDICTORS, alone, strict=True))
    assert {reply.status for reply in together} == {200, 400, 404, 422}


def test_many_poisoned_predictions_spoil_none_beside_them(hot: HotRoutes) -> None:
    bodies = [asked("POISON" if i % 2 else f"FINE{i}") for i in range(200)]
    for i, reply in enumerate(gathered(hot, bodies, "/v1/predict")):
        found = json.loads(reply.payload)
        assert found["status"] == ["MODEL_ERROR" if i % 2 else "OK"]
        assert (found["p"][0] is None) == bool(i % 2)


def test_predictions_of_one_turn_are_one_call_of_the_model(hot: HotRoutes) -> None:
    def calls() -> float:
        name = 'softverifier_batch_queries_count{model="fake"} '
        lines = hot.pipeline.metrics.expose().decode().splitlines()
        return sum(float(line[len(name) :]) for line in lines if line.startswith(name))

    before = calls()
    gathered(hot, [asked(f"ONE-CALL{i}") for i in range(50)], "/v1/predict")
    assert calls() - before == 1


def test_equal_questions_of_many_requests_are_asked_once(hot: HotRoutes) -> None:
    def computed() -> float:
        name = 'softverifier_batch_queries_sum{model="fake"} '
        lines = hot.pipeline.metrics.expose().decode().splitlines()
        return sum(float(line[len(name) :]) for line in lines if line.startswith(name))

    before = computed()
    gathered(hot, [body("ASKED-ONCE")] * 16)
    assert computed() - before == 1


def request(path: str, content: bytes = b"", method: str = "POST") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def test_pipelined_requests_are_answered_in_their_order(inline_server: ServerProcess) -> None:
    asked = [
        request("/v1/score", body("P1")),
        request("/v1/score", body("P2", profile="nope")),
        request("/healthz", method="GET"),
        request("/v1/score", body("P3")),
        request("/v1/score", body("P4", profile="slow")),
        request("/v1/score", body("P5")),
    ]
    with socket.create_connection(("127.0.0.1", inline_server.http_port), timeout=10) as sock:
        sock.sendall(b"".join(asked))
        received = b""
        while received.count(b"HTTP/1.1 ") < len(asked) or not received.endswith(b"}"):
            received += sock.recv(65536)
    answers = received.split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"404", b"200", b"200", b"200", b"200"]
    for answer, mark in zip(answers, (b"P1", b"nope", b"alive", b"P3", b"P4", b"P5"), strict=True):
        assert mark in answer


def test_nothing_is_written_to_a_client_that_has_gone(
    inline_server: ServerProcess,
) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", inline_server.http_port)) as sock:
            sock.sendall(request("/v1/score", body("GONE")))
    with socket.create_connection(("127.0.0.1", inline_server.http_port), timeout=10) as sock:
        sock.sendall(request("/v1/score", body("HERE")))
        assert b"HERE" in sock.recv(65536)  # head and body in one write
    assert "Traceback" not in inline_server.log()
