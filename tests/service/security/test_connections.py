from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from keyed_server import KEYED, keyed_server
from servers import ServerProcess, get, wait_until

REQUEST = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
MOST = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    bounds = KEYED + f"max = {MOST}\nmax_per_address = {MOST - 2}\n"
    made, _ = keyed_server(tmp_path_factory.mktemp("bounded"), bounds)
    yield made.start()
    made.stop()


@pytest.fixture
def connect(server: ServerProcess) -> Iterator[Callable[[], socket.socket]]:
    """Connections that are closed after the test, and forgotten by the server before the next."""
    with contextlib.ExitStack() as stack:

        def one() -> socket.socket:
            made = socket.create_connection(("127.0.0.1", server.http_port), timeout=20)
            return stack.enter_context(made)

        yield one
    wait_until(lambda: code(server) == 200, 10, "the server did not recover")


def code(server: ServerProcess) -> int:
    try:
        return get(f"{server.url}/healthz").status_code
    except OSError:
        return 0


def read_all(sock: socket.socket) -> bytes:
    """Everything until the server ends the connection."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65_536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("sent", "setting"),
    [
        pytest.param(b"", b"header_s", id="nothing"),
        pytest.param(b"POST /v1/score HTTP/1.1\r\nhost: x\r\nx-slow: ", b"header_s", id="headers"),
        pytest.param(
            b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{",
            b"",  # without a key it is told so at once, and its body is waited for no longer
            id="body of a stranger",
        ),
        pytest.param(
            b"POST /v1/score HTTP/1.1\r\nhost: x\r\nauthorization: Bearer KEY\r\n"
            b"content-length: 99\r\n\r\n{",
            b"body_s",
            id="body",
        ),
        pytest.param(
            b"POST /rm HTTP/1.1\r\nhost: x\r\nauthorization: Bearer KEY\r\n"
            b"transfer-encoding: chunked\r\n\r\n5\r\n{",
            b"body_s",
            id="body in pieces",
        ),
    ],
)
def test_a_slow_client_is_told_and_cut_off(
    server: ServerProcess, connect: Callable[[], socket.socket], sent: bytes, setting: bytes
) -> None:
    from keyed_server import add

    if b"KEY" in sent and not hasattr(server, "key"):
        server.key = add(server.folder, "lazy", ["score"])  # type: ignore[attr-defined]
        wait_until(
            lambda: get(
                f"{server.url}/v1/models",
                headers={"authorization": f"Bearer {server.key}"},  # type: ignore[attr-defined]
            ).status_code == 200,
            10,
            "the new key is not known",
        )  # fmt: skip
    key = getattr(server, "key", "")
    sock = connect()
    sock.sendall(sent.replace(b"KEY", key.encode()))
    answer = read_all(sock)
    if not setting:
        assert answer.startswith(b"HTTP/1.1 401")
    else:
        assert answer.startswith(b"HTTP/1.1 408"), answer
        assert b"connection: close" in answer
        assert setting in answer


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_slow_second_request_is_told_as_the_first_is(
    connect: Callable[[], socket.socket], before: int
) -> None:
    sock = connect()
    sock.sendall(REQUEST * before + b"POST /v1/score HTTP/1.1\r\nhost: x\r\nx-slow: ")
    answer = read_all(sock)
    assert answer.count(b"HTTP/1.1 200") == before
    assert answer.count(b"HTTP/1.1 408") == 1
    assert b"header_s" in answer


def test_dripping_does_not_buy_time(connect: Callable[[], socket.socket]) -> None:
    sock = connect()
    sock.settimeout(0.2)
    started, answer = time.monotonic(), b""
    while not answer:
        assert time.monotonic() - started < 10, "a dripping client is waited for"
        with contextlib.suppress(TimeoutError):
            sock.sendall(b"G" if time.monotonic() == started else b"E")
            answer = sock.recv(100)
    assert answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))


def test_a_waiting_client_keeps_its_connection(connect: Callable[[], socket.socket]) -> None:
    """Between two requests nothing is owed: trainers think for long."""
    sock = connect()
    for _ in range(2):
        sock.sendall(REQUEST)
        said = b""
        while not said.endswith(b"}"):  # head and body may come apart
            piece = sock.recv(65_536)
            assert piece, said
            said += piece
        assert said.startswith(b"HTTP/1.1 200")
        time.sleep(2.5)  # longer than header_s and a look; what is measured is the time


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET / HTTP/1.1\r\nx-long: " + b"y" * 400_000, id="one long header"),
        pytest.param(b"GET /" + b"y" * 400_000, id="a long path"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 80_000, id="many headers"),
    ],
)
def test_headers_without_end_are_refused(connect: Callable[[], socket.socket], head: bytes) -> None:
    sock = connect()
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        sock.sendall(head)
    assert read_all(sock).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("method", [b"GET /healthz", b"POST /v1/score"])
def test_too_many_headers_are_refused(connect: Callable[[], socket.socket], method: bytes) -> None:
    sock = connect()
    many = b"".join(b"x-%d: y\r\n" % i for i in range(200))
    sock.sendall(method + b" HTTP/1.1\r\ncontent-length: 2\r\n" + many + b"\r\n{}")
    assert sock.recv(65_536).startswith(b"HTTP/1.1 431")


def test_connections_are_bounded_and_room_comes_back(
    server: ServerProcess, connect: Callable[[], socket.socket]
) -> None:
    for _ in range(MOST - 2):
        sock = connect()
        sock.sendall(REQUEST)
        assert sock.recv(65_536).startswith(b"HTTP/1.1 200")
    one_more = connect()
    answer = read_all(one_more)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in answer
    assert b"connections of 127.0.0.1 are open" in answer


def test_grpc_refuses_connections_beyond_the_limit(server: ServerProcess) -> None:
    def answered(sock: socket.socket) -> bool:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
        with contextlib.suppress(ConnectionResetError):
            return bool(sock.recv(100))
        return False

    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", server.grpc_port), timeout=20)
            )
            for _ in range(MOST + 8)
        ]
        assert sum(answered(sock) for sock in sockets) == MOST


@pytest.mark.parametrize(
    ("more", "ends"),
    [
        pytest.param("grpc_age_s = 0.5\n", True, id="an age"),
        pytest.param("", False, id="none, by default"),
    ],
)
def test_grpc_connections_end_at_their_age_and_calls_go_on(
    tmp_path: Path, more: str, ends: bool
) -> None:
    server, _ = keyed_server(tmp_path, KEYED + more)
    server.start()
    seen: list[grpc.ChannelConnectivity] = []
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        channel.subscribe(seen.append)
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        until = time.monotonic() + (20 if ends else 2)
        while time.monotonic() < until and grpc.ChannelConnectivity.IDLE not in seen[1:]:
            assert check(b"", timeout=10)
        assert (grpc.ChannelConnectivity.IDLE in seen[1:]) == ends
        assert check(b"", timeout=10)
    server.stop()
