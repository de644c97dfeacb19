"""HTTP/2 and gRPC's own framing, broken: the call or connection ends, and nobody else is hurt.

Not so where a call ends before its message is whole: gRPC's server then says nothing until the
client gives up, and HTTP/2 frames for streams that are not are passed over. Both cost the client's
own connection alone, and nothing once that is closed.
"""

from __future__ import annotations

import contextlib
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from servers import ServerProcess, wait_until
from softverifier._pb import rewards_pb2 as pb

SOON_S = 20.0
"""For an answer, on a machine that does much else."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 3, 4, 7, 9
END_STREAM, END_HEADERS = 1, 4
ITEM = pb.Item(
    completion="<think>so it seems</think> <answer>yes</answer>",
    task=pb.Task(type="perturbation.de", perturbation=["FRAME"], gene="CALR", cell_line="k562"),
)
MESSAGE = pb.ScoreRequest(profile="rbio-mlp", items=[ITEM]).SerializeToString()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


def head(path: str = "/softverifier.v1.Rewards/Score", **more: str) -> bytes:
    """Headers of a call, each as a literal that is not indexed."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "x",
        "content-type": "application/grpc", "te": "trailers",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }  # fmt: skip
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


def call(*pieces: bytes, last: bool = True, **more: str) -> bytes:
    """A call whose body is these pieces, a frame each."""
    frames = [frame(HEADERS, END_HEADERS, 1, head(**more))]
    frames += [
        frame(DATA, END_STREAM if last and i == len(pieces) - 1 else 0, 1, piece)
        for i, piece in enumerate(pieces)
    ]
    return PREFACE + frame(SETTINGS, 0, 0) + b"".join(frames)


def prefixed(data: bytes, flag: int = 0, length: int | None = None) -> bytes:
    said = len(data) if length is None else length
    return bytes([flag]) + said.to_bytes(4, "big") + data


OPEN = PREFACE + frame(SETTINGS, 0, 0)
CASES = {
    "proper": call(prefixed(MESSAGE)),
    "in many frames": call(*[prefixed(MESSAGE)[i : i + 1] for i in range(len(MESSAGE) + 5)]),
    "longer than said": call(prefixed(MESSAGE, length=3)),
    "two messages": call(prefixed(MESSAGE), prefixed(MESSAGE)),
    "four gigabytes, it says": call(prefixed(MESSAGE, length=2**32 - 1), last=False),
    "packed, it says": call(prefixed(MESSAGE, flag=1), grpc_encoding="gzip"),
    "packed and cut": call(prefixed(zlib.compress(MESSAGE)[:-4], flag=1), grpc_encoding="deflate"),
    "packed in an unknown way": call(prefixed(MESSAGE, flag=1), grpc_encoding="zip"),
    "packed, not saying how": call(prefixed(MESSAGE, flag=1)),
    "a flag that is none": call(prefixed(MESSAGE, flag=7)),
    "no such method": call(prefixed(MESSAGE), path="/softverifier.v1.Rewards/Nothing"),
    "a path that is none": call(prefixed(MESSAGE), path="nothing"),
    "not gRPC": call(prefixed(MESSAGE), content_type="text/plain"),
    "a deadline that is none": call(prefixed(MESSAGE), grpc_timeout="soon"),
    "HTTP/1.1": b"POST /softverifier.v1.Rewards/Score HTTP/1.1\r\nhost: x\r\n\r\n",
    "TLS": bytes.fromhex("16030100b8010000b40303") + bytes(180),
    "noughts": bytes(4096),
    "half a preface, and nonsense": PREFACE[:10] + b"\xff" * 64,
    "a frame beyond the limit": OPEN + b"\xff\xff\xff\0\0\0\0\0\1",
    "headers that are not HPACK": OPEN + frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" * 40),
    "headers without end": OPEN + frame(HEADERS, 0, 1, head()) + frame(DATA, 0, 1, b"x"),
    "continued without beginning": OPEN + frame(CONTINUATION, END_HEADERS, 1, head()),
    "settings of 5 bytes": PREFACE + frame(SETTINGS, 0, 0, b"12345"),
}


SILENT = {
    "no message": call(b""),
    "half a prefix": call(b"\0\0"),
    "half a message": call(prefixed(MESSAGE)[:-3]),
    "shorter than said": call(prefixed(MESSAGE, length=len(MESSAGE) + 1)),
    "data on a stream that is not open": OPEN + frame(DATA, END_STREAM, 5, b"x"),
    "data on stream 0": OPEN + frame(DATA, END_STREAM, 0, b"x"),
    "an even stream": OPEN + frame(HEADERS, END_HEADERS | END_STREAM, 2, head()),
}


@pytest.fixture(scope="module")
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as opened:
        yield opened


def reward(channel: grpc.Channel) -> float:
    answer = channel.unary_unary("/softverifier.v1.Rewards/Score")(MESSAGE, timeout=SOON_S)
    (result,) = pb.ScoreResponse.FromString(answer).results
    assert result.status == "ok"
    return result.reward


def ended(sock: socket.socket) -> str:
    """How the server ended the call or the connection."""
    received, until = b"", time.monotonic() + SOON_S
    while time.monotonic() < until:
        while len(received) >= 9:
            size, kind, flags = int.from_bytes(received[:3], "big"), received[3], received[4]
            if len(received) < 9 + size:
                break
            if kind in (RST_STREAM, GOAWAY) or (kind in (DATA, HEADERS) and flags & END_STREAM):
                return {RST_STREAM: "reset", GOAWAY: "goodbye"}.get(kind, "answered")
            received = received[9 + size :]
        try:
            more = sock.recv(65536)
        except ConnectionResetError:
            return "closed"
        if not more:
            return "closed"
        received += more
    raise AssertionError("neither the call nor the connection ended")


@pytest.mark.parametrize("sent", CASES.values(), ids=CASES)
def test_it_ends_and_others_are_unharmed(
    server: ServerProcess, channel: grpc.Channel, sent: bytes
) -> None:
    before = reward(channel)
    with socket.create_connection(("127.0.0.1", server.grpc_port), timeout=SOON_S) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(sent)
        found = ended(sock)
    assert found in ("answered", "reset", "goodbye", "closed")
    assert reward(channel) == before


def open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
@pytest.mark.parametrize("sent", SILENT.values(), ids=SILENT)
def test_what_is_not_answered_leaves_nothing_behind(
    server: ServerProcess, channel: grpc.Channel, sent: bytes
) -> None:
    before, held = reward(channel), open_files(server.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            opened = socket.create_connection(("127.0.0.1", server.grpc_port), timeout=SOON_S)
            stack.enter_context(opened).sendall(sent)
            assert opened.recv(9), "no settings came"
        assert reward(channel) == before
    wait_until(
        lambda: open_files(server.pid) <= held,
        SOON_S,
        "connections that are closed are still held",
    )
    assert reward(channel) == before
