"""A network before a real server that spoils a share of the answers; a process of its own.

    with SpoilingNetwork(server_port) as network:
        ... requests to network.url ...
        network.spoil(0.05)
        print(network.spoiled())

Connections are kept alive as the server keeps them. A dead server is a connection reset, as it is
without a network between. Only answers to POST are spoiled.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
from collections import Counter
from multiprocessing.connection import Connection
from types import TracebackType

FAULTS = ("503", "502", "truncated", "reset", "not JSON", "NaN", "slow")
WEIGHTS = (4, 4, 4, 4, 4, 4, 1)
"""A slow answer costs a whole deadline, so there are fewer."""


class SpoilingNetwork:
    """The process, as its owner sees it."""

    def __init__(self, target: int, slow_s: float = 1.5) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(theirs, target, slow_s), daemon=True)
        self.url = ""

    def __enter__(self) -> SpoilingNetwork:
        self._process.start()
        self.url = f"http://127.0.0.1:{self._told()}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.join()
        self._process.close()
        self._pipe.close()

    def _told(self) -> object:
        if not self._pipe.poll(30):
            raise AssertionError("the network does not answer")
        return self._pipe.recv()

    def spoil(self, share: float) -> None:
        """From now on, that share of the answers."""
        self._pipe.send(share)
        assert self._told() is not None

    def spoiled(self) -> Counter[str]:
        """How many answers so far, by fault."""
        self._pipe.send(None)
        found = self._told()
        assert isinstance(found, Counter)
        return found


class _Network:
    def __init__(self, target: int, slow_s: float) -> None:
        self.target, self.slow_s = target, slow_s
        self.share = 0.0
        self.counts: Counter[str] = Counter()
        self._draw = random.Random(7)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client and its own to the server."""
        there: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            back, there = await asyncio.open_connection("127.0.0.1", self.target)
            while True:
                head, body = await _message(reader)
                there.write(head + body)
                answer = await _message(back)
                if not await self._answer(writer, head, *answer):
                    break
        if there is not None:
            there.transport.abort()
        writer.transport.abort()

    async def _answer(
        self, writer: asyncio.StreamWriter, asked: bytes, head: bytes, body: bytes
    ) -> bool:
        """Hand the answer on, or what is left of it; whether the connection goes on."""
        spoil = asked.startswith(b"POST") and self._draw.random() < self.share
        fault = self._draw.choices(FAULTS, WEIGHTS)[0] if spoil else ""
        self.counts[fault] += 1
        if fault == "reset":
            return False
        if fault == "slow":
            await asyncio.sleep(self.slow_s)
        if fault == "truncated":
            body = body[: len(body) // 2]
        if fault == "503":
            head, body = _made(b"503 Service Unavailable", b'{"error": {"code": "draining"}}')
        if fault == "502":
            head, body = _made(b"502 Bad Gateway", b"<html>Bad Gateway</html>")
        if fault == "not JSON":
            head, body = _made(b"200 OK", b"<html>")
        if fault == "NaN":
            head, body = _made(b"200 OK", b'{"results": [{"reward": NaN')
        writer.write(head + body)
        await writer.drain()
        return fault != "truncated" and b"connection: close" not in head.lower()


def _made(status: bytes, body: bytes) -> tuple[bytes, bytes]:
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n" % (status, len(body)), body


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    _, _, rest = head.lower().partition(b"content-length:")
    length = int(rest.split(b"\r\n", 1)[0]) if rest else 0
    return head, await reader.readexactly(length)


def _main(pipe: Connection, target: int, slow_s: float) -> None:
    async def run() -> None:
        network = _Network(target, slow_s)
        server = await asyncio.start_server(network.serve, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        ended = asyncio.Event()

        def told() -> None:
            try:
                share = pipe.recv()
            except EOFError:
                ended.set()
                return
            if share is not None:
                network.share = share
            pipe.send(Counter({name: n for name, n in network.counts.items() if name}))

        asyncio.get_running_loop().add_reader(pipe.fileno(), told)
        await ended.wait()

    asyncio.run(run())
