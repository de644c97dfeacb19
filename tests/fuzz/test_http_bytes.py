"""Bytes that are no proper HTTP, or hardly: refused or answered, never a 5xx, and nobody else hurt.

``FUZZ_EXAMPLES=300`` goes deeper.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servers import ServerProcess, post

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))
SOON_S = 20.0
"""For an answer, on a machine that does much else."""
SILENT_S = 0.3
"""After which a request that was cut short is taken to have no answer."""
CLOSED, SILENCE = "closed", "silence"

COMPLETION = "<think>so it seems</think> <answer>yes</answer>"
TASK = {"type": "perturbation.de", "perturbation": "RAW", "gene": "CALR", "cell_line": "k562"}
BODY = json.dumps({"profile": "rbio-mlp", "items": [{"completion": COMPLETION, "task": TASK}]})
RAW = BODY.encode()
N = len(RAW)


def request(*headers: str, body: bytes = RAW, line: str = "POST /v1/score HTTP/1.1") -> bytes:
    return "\r\n".join([line, "host: x", *headers, "", ""]).encode("latin-1") + body


GOOD = request(f"content-length: {N}")
CHUNKED = "transfer-encoding: chunked"
HELLO = bytes.fromhex("16030100b8010000b40303") + bytes(180)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


def chunks(*sizes: bytes) -> bytes:
    """The body in chunks as their sizes are written, with an end."""
    return b"".join(size + b"\r\n" + RAW + b"\r\n" for size in sizes) + b"0\r\n\r\n"


CASES: dict[str, tuple[bytes, list[Any]]] = {
    "proper": (GOOD, [200]),
    "chunked": (request(CHUNKED, body=chunks(b"%x" % N)), [200]),
    "chunk extension": (request(CHUNKED, body=chunks(b"%x;a=b" % N)), [200]),
    "size of a chunk is no number": (request(CHUNKED, body=chunks(b"zz")), [400, CLOSED]),
    "size of a chunk is negative": (request(CHUNKED, body=chunks(b"-1")), [400, CLOSED]),
    "size of a chunk overflows": (request(CHUNKED, body=chunks(b"f" * 17)), [400, CLOSED]),
    "size of a chunk is too small": (request(CHUNKED, body=chunks(b"2")), [400, CLOSED]),
    "chunked and a length": (
        request(CHUNKED, f"content-length: {N}", body=chunks(b"%x" % N)), [400, CLOSED],
    ),
    "chunked twice": (request(CHUNKED, CHUNKED, body=chunks(b"%x" % N)), [400, CLOSED]),
    "encoded otherwise": (
        request("transfer-encoding: gzip", f"content-length: {N}"), [400, CLOSED],
    ),
    "two lengths": (request("content-length: 4", f"content-length: {N}"), [400, CLOSED]),
    "one length twice": (
        request(f"content-length: {N}", f"content-length: {N}"), [400, CLOSED],
    ),
    "length of a list": (request(f"content-length: {N}, {N}"), [400, CLOSED]),
    "negative length": (request("content-length: -1"), [400, CLOSED]),
    "length with a sign": (request(f"content-length: +{N}"), [400, CLOSED]),
    "length of digits of another script": (request("content-length: ²"), [400, CLOSED]),
    "length beyond 64 bits": (request("content-length: " + "9" * 30), [400, CLOSED]),
    "length beyond the limit": (request("content-length: 9000000000"), [413]),
    "packed": (request("content-encoding: gzip", f"content-length: {N}"), [400]),
    "of another charset": (
        request(f"content-length: {2 * N + 2}", body=BODY.encode("utf-16")), [400],
    ),
    "no length": (request(body=b""), [400]),
    "pipelined": (GOOD * 30, [200] * 30),
    "pipelined with other routes": (
        (GOOD + request(line="GET /healthz HTTP/1.1", body=b"")) * 10, [200] * 20,
    ),
    "a second request smuggled": (
        request("content-length: 0", "transfer-encoding : chunked", body=b"0\r\n\r\n" + GOOD),
        [400, CLOSED],
    ),
    "no colon": (request("nonsense", f"content-length: {N}"), [400, CLOSED]),
    "NUL in a header": (request("a: b\0c", f"content-length: {N}"), [400, CLOSED]),
    "space in a name": (request("a b: c", f"content-length: {N}"), [400, CLOSED]),
    "HTTP/2": (PREFACE, [400, CLOSED]),
    "h2c": (
        request("connection: upgrade, http2-settings", "upgrade: h2c", f"content-length: {N}"),
        [400],  # what follows the upgrade is not read as HTTP/1.1: there is no body
    ),
    "a websocket": (
        request(
            "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13",
            "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==", line="GET /v1/score HTTP/1.1", body=b"",
        ),
        [405],
    ),
    "TLS": (HELLO, [400, CLOSED]),
    "HTTP/0.9": (b"GET /healthz\r\n\r\n", [200, CLOSED]),
    "HTTP/1.0": (request(f"content-length: {N}", line="POST /v1/score HTTP/1.0"), [200, CLOSED]),
    "HTTP/9.9": (request(f"content-length: {N}", line="POST /v1/score HTTP/9.9"), [400, CLOSED]),
    "unknown method": (request(line="FOO /v1/score HTTP/1.1", body=b""), [400, CLOSED]),
    "method in small letters": (request(line="post /v1/score HTTP/1.1"), [400, CLOSED]),
    "a target of a proxy": (
        request(f"content-length: {N}", line="POST http://x/v1/score HTTP/1.1"), [200],
    ),
    "a target with a query": (
        request(f"content-length: {N}", line="POST /v1/score?a=%ff HTTP/1.1"), [200],
    ),
    "a broken escape": (request(line="GET /v1/models/%zz%ff HTTP/1.1", body=b""), [404]),
    "a target that is no text": (
        b"GET /v1/models/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n", [400, CLOSED],
    ),
    "expects 100": (request("expect: 100-continue", f"content-length: {N}"), [100, 200]),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", [200]),
    "a method without end": (b"A" * 100_000, [400, CLOSED]),
}  # fmt: skip


@pytest.fixture(params=["server", "inline_server"])
def any_server(request: pytest.FixtureRequest) -> ServerProcess:
    """Either way through the front: requests that may wait, and requests that are gathered."""
    found: ServerProcess = request.getfixturevalue(request.param)
    return found


@pytest.fixture(autouse=True)
def unharmed(any_server: ServerProcess) -> Iterator[None]:
    """What others are told before is what they are told after."""
    before = reward(any_server)
    yield
    assert reward(any_server) == before


def reward(server: ServerProcess) -> float:
    answer = post(f"{server.url}/v1/score", content=BODY, timeout=SOON_S)
    assert answer.status_code == 200, answer.text
    found: float = answer.json()["results"][0]["reward"]
    return found


class Connection:
    """One TCP connection, from the client's side."""

    def __init__(self, server: ServerProcess):
        self._socket = socket.create_connection(("127.0.0.1", server.http_port), timeout=SOON_S)
        self._left = b""

    def send(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)  # what it said is read all the same

    def answer(self, seconds: float = SOON_S) -> tuple[Any, bytes]:
        """Status and body of the next answer, or that there is none."""
        self._socket.settimeout(seconds)
        while True:
            head, found, rest = self._left.partition(b"\r\n\r\n")
            if found:
                status = int(head.split()[1])
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                need = int(length[1]) if length else 0
                if len(rest) >= need:
                    self._left = rest[need:]
                    return status, rest[:need]
            try:
                more = self._socket.recv(65536)
            except TimeoutError:
                return SILENCE, self._left
            except ConnectionResetError:
                more = b""
            if not more:
                return CLOSED, self._left
            self._left += more

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.mark.parametrize(("sent", "expected"), CASES.values(), ids=CASES)
def test_each_is_answered_as_it_deserves(
    any_server: ServerProcess, sent: bytes, expected: list[Any]
) -> None:
    with Connection(any_server) as connection:
        connection.send(sent)
        found = [connection.answer()[0] for _ in expected]
    assert found == expected


@pytest.mark.parametrize("n", [1, 2, 3, 20])
@pytest.mark.parametrize("nonsense", [b"xx\r\n\r\n", b"\0\0\0", b"POST /v1/score HTTP/x\r\n\r\n"])
def test_what_was_asked_before_nonsense_is_answered(
    any_server: ServerProcess, n: int, nonsense: bytes
) -> None:
    with Connection(any_server) as connection:
        connection.send(GOOD * n + nonsense)
        found = [connection.answer()[0] for _ in range(n + 2)]
    assert found[:n] == [200] * n
    assert found[n:] in ([400, CLOSED], [CLOSED, CLOSED])


HEADS = {
    "a header of a hundred kilobytes": request("a: " + "b" * 100_000, f"content-length: {N}"),
    "a target of a hundred kilobytes": request(line=f"GET /{'a' * 100_000} HTTP/1.1", body=b""),
    "a header of a megabyte": request("a: " + "b" * 1_000_000, f"content-length: {N}"),
    "a hundred thousand headers": request(*["a: b"] * 100_000, f"content-length: {N}"),
    "a target of a megabyte": request(line=f"GET /{'a' * 1_000_000} HTTP/1.1", body=b""),
}


@pytest.mark.parametrize("sent", HEADS.values(), ids=HEADS)
def test_giant_heads(any_server: ServerProcess, sent: bytes) -> None:
    with Connection(any_server) as connection:
        connection.send(sent)
        assert connection.answer()[0] == 431


@pytest.mark.parametrize("sent", HEADS.values(), ids=HEADS)
def test_what_was_asked_before_a_giant_head_is_answered(
    any_server: ServerProcess, sent: bytes
) -> None:
    with Connection(any_server) as connection:
        connection.send(GOOD + b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" + GOOD + sent)
        found = [connection.answer()[0] for _ in range(4)]
    assert found[:3] == [200, 200, 200]
    assert found[3] in (431, CLOSED)


def test_a_request_that_comes_byte_by_byte(any_server: ServerProcess) -> None:
    with Connection(any_server) as connection:
        for i in range(len(GOOD)):
            connection.send(GOOD[i : i + 1])
        status, body = connection.answer()
    assert status == 200
    assert json.loads(body)["results"][0]["reward"] == reward(any_server)


def test_tls_is_told_apart_from_a_hang(any_server: ServerProcess) -> None:
    context = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.1", any_server.http_port), timeout=SOON_S) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


@st.composite
def damaged(draw: st.DrawFn) -> list[bytes]:
    """A few proper requests that something has happened to, in pieces."""
    whole = draw(st.sampled_from([v[0] for v in CASES.values() if len(v[0]) < 20_000])) + draw(
        st.sampled_from([b"", GOOD])
    )
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(whole)))
        to = min(len(whole), at + draw(st.integers(0, 20)))
        way = draw(st.sampled_from(["drop", "insert", "repeat", "flip"]))
        if way == "drop":
            whole = whole[:at] + whole[to:]
        elif way == "insert":
            odd = st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b"\0", b":", b"0", b"\xff", b"%"])
            whole = whole[:at] + draw(odd | st.binary(max_size=6)) + whole[at:]
        elif way == "repeat":
            whole = whole[:to] + whole[at:]
        elif at < len(whole):
            whole = whole[:at] + bytes([whole[at] ^ 1 << draw(st.integers(0, 7))]) + whole[at + 1 :]
    cut = draw(st.integers(0, len(whole)))
    return [whole[:cut], whole[cut:]]


@given(sent=damaged())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_damaged_requests(any_server: ServerProcess, sent: list[bytes]) -> None:
    with Connection(any_server) as connection:
        for piece in sent:
            connection.send(piece)
        status, body = connection.answer(SILENT_S)
        while status not in (CLOSED, SILENCE):
            assert 100 <= status < 500, body[:300]
            status, body = connection.answer(SILENT_S)
