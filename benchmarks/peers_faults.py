"""How each server behaves when it matters: a bad row, copies, clients that leave, crowds, deaths.

Every batch of the toy takes 50 ms longer here, so that there is a window to act in, and writes down
how many rows it computed and in which process. Limits: one run of each, over HTTP, one machine; a
request that has no answer within ten seconds counts as hung. What is done to a server is done by
its users: nothing of it is touched but its connections and, twice, its processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import servers
from peers_contestants import HERE, Peer
from peers_own import free_files
from peers_started import Started, Unavailable, ask, build, started

DELAY_MS: Final = 50
PATIENCE_S: Final = 10.0
BACK_S: Final = 15.0
"""How long a server is given to come back."""
BEHAVIOURS: Final = {
    "poison": "one poisoned of 64: good answers of the other 63",
    "identical": "64 identical: rows computed",
    "gone": "255 clients gone: rows still computed",
    "crowd": "2,000 at once",
    "killed": "the computing process killed, 64 in flight",
    "sigterm": "SIGTERM, 64 in flight",
}


class Keeper(Protocol):
    """Where what was found is kept (``peers.Run``)."""

    folder: Path
    step: Callable[[str], None]

    def do(self, name: str, steps: int, work: Callable[[], dict[str, Any]]) -> None:
        """Measure unless it was."""
        ...


@dataclasses.dataclass(frozen=True)
class Ledger:
    """What the toy wrote down: rows and process of every batch."""

    file: Path

    def entries(self) -> list[tuple[int, int]]:
        """(rows, process id) of all batches so far."""
        if not self.file.exists():
            return []
        pairs = (line.split() for line in self.file.read_text().splitlines())
        return [(int(rows), int(pid)) for rows, pid in pairs]

    def rows(self) -> int:
        """Rows computed so far."""
        return sum(rows for rows, _ in self.entries())

    async def quiet(self) -> int:
        """Rows once a second has passed without a new batch."""
        until = time.monotonic() + 2 * PATIENCE_S
        seen, since = self.rows(), time.monotonic()
        while time.monotonic() < until and time.monotonic() - since < 1:
            await asyncio.sleep(0.1)
            if self.rows() != seen:
                seen, since = self.rows(), time.monotonic()
        return seen


class Subject:
    """A started server and its ledger.

    Args:
        server: it.
        ledger: of its toy.
    """

    def __init__(self, server: Started, ledger: Ledger):
        self.server = server
        self.ledger = ledger
        self._next = 0

    def fresh(self, count: int) -> list[bytes]:
        """Requests of one pair that nobody asked before."""
        first, self._next = self._next, self._next + count
        names = [(f"TOY{(first + i) % 19_000}", f"TOY{19_000 + i % 1000}") for i in range(count)]
        return [self.request([a], [b]) for a, b in names]

    def request(self, subjects: list[str], objects: list[str]) -> bytes:
        """Head and body of one."""
        peer = self.server.peer
        body = peer.payload(subjects, objects)
        head = f"POST {peer.path} HTTP/1.1\r\nhost: peer\r\ncontent-type: application/json\r\n"
        return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One connection."""
        return await asyncio.open_connection("127.0.0.1", self.server.port)

    async def send(self, request: bytes) -> str:
        """What became of one request: good, null, error, refused, closed or hung."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await self.connect()
                writer.write(request)
                try:
                    return self._verdict(await reader.read())
                finally:
                    writer.close()
        except TimeoutError:
            return "hung"
        except OSError:
            return "closed"

    async def send_all(self, requests: Sequence[bytes]) -> Counter[str]:
        """What became of many at once."""
        return Counter(await asyncio.gather(*(self.send(request) for request in requests)))

    async def whole(self) -> None:
        """Wait until all processes that this server was told to start are ready."""
        if not self.server.peer.options:  # one process, which answers already
            return
        url, until = f"http://127.0.0.1:{self.server.port}/readyz", time.monotonic() + 30
        while (await asyncio.to_thread(servers.get, url))["down"]:
            if time.monotonic() > until:
                raise Unavailable(f"{self.server.peer.name}: a process does not become ready")
            await asyncio.sleep(0.05)
        await self.send_all(self.fresh(8))

    def _verdict(self, reply: bytes) -> str:
        head, _, body = reply.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1."):
            return "closed"
        status = int(head.split()[1])
        if status in (429, 503):
            return "refused"
        if status != 200:
            return "error"
        if b"chunked" in head.lower():
            body = _joined(body)
        try:
            (p,) = self.server.peer.answer(json.loads(body))
        except ValueError:
            return "closed"  # cut off in the middle
        except (KeyError, TypeError):
            return "error"
        return "good" if isinstance(p, float) else "null" if p is None else "error"


def _joined(body: bytes) -> bytes:
    """A chunked body in one piece, as far as it came."""
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size or b"0", 16)
        whole, body = whole + rest[:length], rest[length + 2 :]
        if not length:
            break
    return whole


async def poison(subject: Subject) -> str:
    """One bad row among 64."""
    bad = subject.request(["POISON"], ["TOY1"])
    requests = subject.fresh(63)
    found = await subject.send_all([*requests[:32], bad, *requests[32:]])
    return f"{found['good']} good"


async def identical(subject: Subject) -> str:
    """The same question 64 times at once."""
    before = subject.ledger.rows()
    found = await subject.send_all(subject.fresh(1) * 64)
    rows = await subject.ledger.quiet() - before
    return str(rows) + (f", {found['good']} good" if found["good"] < 64 else "")


async def gone(subject: Subject) -> str:
    """Clients that hang up while the model is busy with someone else's question for a second."""
    before = subject.ledger.rows()
    *leaving, first = [await subject.connect() for _ in range(256)]
    requests = subject.fresh(255)
    first[1].write(subject.request(["SLOW"], ["TOY1"]))
    await asyncio.sleep(0.2)
    for (_, writer), request in zip(leaving, requests, strict=True):
        writer.write(request)
    await asyncio.sleep(0.4)
    for _, writer in leaving:
        writer.transport.abort()
    rows = await subject.ledger.quiet() - before
    first[1].close()
    return str(max(0, rows - 1))


async def crowd(subject: Subject) -> str:
    """2,000 connections with one request each."""
    begun = time.monotonic()
    found = await subject.send_all(subject.fresh(2000))
    return f"{_told(found)} in {time.monotonic() - begun:.1f} s"


async def killed(subject: Subject) -> str:
    """SIGKILL for the process that computed last."""
    await subject.whole()
    pid = subject.ledger.entries()[-1][1]
    waiting = asyncio.create_task(subject.send_all(subject.fresh(64)))
    await asyncio.sleep(DELAY_MS / 2000)
    os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    back = asyncio.create_task(_back(subject, begun))
    return f"{_told(await waiting)}; {await back}"


async def _back(subject: Subject, begun: float) -> str:
    while time.monotonic() - begun < BACK_S:
        if await subject.send(subject.fresh(1)[0]) == "good":
            return f"back in {time.monotonic() - begun:.1f} s"
        await asyncio.sleep(0.05)
    return "stays down"


async def sigterm(subject: Subject) -> str:
    """SIGTERM for the server, as an orchestrator would."""
    waiting = asyncio.create_task(subject.send_all(subject.fresh(64)))
    await asyncio.sleep(DELAY_MS / 2000)
    subject.server.child.send_signal(signal.SIGTERM)
    return _told(await waiting)


def _told(found: Counter[str]) -> str:
    names = {"good": "answered", "error": "errors"}
    return ", ".join(
        f"{found[kind]:,} {names.get(kind, kind)}"
        for kind in ("good", "null", "refused", "error", "closed", "hung")
        if found[kind]
    )


ALIVE: Final = {"poison": poison, "identical": identical, "gone": gone, "crowd": crowd}
DYING: Final = {"killed": killed, "sigterm": sigterm}


def measure(peer: Peer, keeper: Keeper, arrays: Path) -> None:
    """All behaviours of one server; two of them need a server of their own."""

    def work() -> dict[str, Any]:
        found: dict[str, Any] = {}
        python = build(peer, keeper.step)
        for group in (ALIVE, {"killed": killed}, {"sigterm": sigterm}):
            with _subject(peer, python, arrays, keeper.folder, workers="killed" in group) as one:
                for name, behaviour in group.items():
                    keeper.step(f"{peer.name}: {name}")
                    found[name] = asyncio.run(behaviour(one))
        return {"behaviours": found}

    keeper.do(f"faults-{peer.name}", len(BEHAVIOURS), work)


@contextlib.contextmanager
def _subject(peer: Peer, python: Path, arrays: Path, folder: Path, *, workers: bool) -> Any:
    """The server with its slow toy; this one with two workers where one is to be killed."""
    ledger = Ledger(folder / f"{peer.name}.ledger")
    ledger.file.unlink(missing_ok=True)
    surroundings = {"PEERS_DELAY_MS": str(DELAY_MS), "PEERS_COUNT": str(ledger.file)}
    config = None
    if peer.own:
        config = _plugin(folder)
        surroundings["PYTHONPATH"] = os.pathsep.join(
            filter(None, (str(folder / "plugin"), str(HERE), os.environ.get("PYTHONPATH", "")))
        )
        if workers:
            peer = dataclasses.replace(peer, options=("--workers", "2"))
    free_files()
    with started(peer, python, arrays, "factorised", folder, surroundings, config) as server:
        subject = Subject(server, ledger)
        with contextlib.suppress(OSError, ValueError):
            ask(peer, server.port, ["TOY7"], ["TOY8"])
        if not ledger.entries():
            raise Unavailable(f"{peer.name}: its toy wrote nothing to {ledger.file}")
        yield subject


def _plugin(folder: Path) -> Path:
    """A settings file that serves ``with_ours.py``, and the entry point that finds it."""
    info = folder / "plugin" / "peers_toy-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: peers-toy\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[soft_verifier.worldmodels]\npeers-toy = with_ours:Served\n"
    )
    config = folder / "ours.toml"
    config.write_text('[[models]]\nfamily = "peers-toy"\nname = "toy"\n')
    return config
