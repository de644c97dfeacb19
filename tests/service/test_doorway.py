"""One listening socket, several loops that take connections from it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from service.addresses import Addresses
from service.doorway import Doorway, Seats
from service.front.listening import HttpServer
from service.place import Place


class Echo(asyncio.Protocol):
    """Says which worker it belongs to."""

    def __init__(self, number: int, guests: set[Echo]):
        self._name, self._guests = str(number).encode(), guests

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._guests.add(self)
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._name)

    def connection_lost(self, _: Exception | None) -> None:
        self._guests.discard(self)


class Hall:
    """Doorways of several workers in one loop: what each takes is what it would take alone."""

    def __init__(self, workers: int):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.seats = Seats(workers)
        self.guests: list[set[Echo]] = [set() for _ in range(workers)]
        self.doors = [
            Doorway(self.listening, self.seats, i, self._count(i)) for i in range(workers)
        ]

    def _count(self, number: int) -> Callable[[], int]:
        return lambda: len(self.guests[number])

    def open(self, number: int) -> None:
        # A descriptor of its own, as after a fork: a loop watches one only once.
        self.doors[number]._sock = self.listening.dup()
        self.doors[number].open(lambda: Echo(number, self.guests[number]), 64, None)

    async def connect(self) -> tuple[int, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.listening.getsockname())
        return int(await asyncio.wait_for(reader.read(1), 10)), writer

    async def close(self) -> None:
        for door in self.doors:
            if door._made is not None:
                door.close()
                await door.wait_closed()
                door._sock.close()
        self.listening.close()


@pytest.mark.parametrize("burst", [False, True], ids=["one by one", "at once"])
def test_connections_are_spread_evenly(burst: bool) -> None:
    async def run() -> list[int]:
        hall = Hall(3)
        for number in range(3):
            hall.open(number)
        if burst:
            taken = await asyncio.gather(*(hall.connect() for _ in range(60)))
        else:
            taken = [await hall.connect() for _ in range(60)]
        counts = [len(guests) for guests in hall.guests]
        for _, writer in taken:
            writer.close()
        await hall.close()
        return counts

    counts = asyncio.run(run())
    assert sum(counts) == 60
    assert max(counts) <= 1.5 * min(counts)


def test_who_stands_still_has_his_share_taken_by_the_others() -> None:
    async def run() -> set[int]:
        hall = Hall(2)
        hall.open(0)
        hall.seats.note(1, 0)  # it is there, and does not take any
        taken = [await hall.connect() for _ in range(20)]
        for _, writer in taken:
            writer.close()
        await hall.close()
        return {number for number, _ in taken}

    assert asyncio.run(run()) == {0}


def test_those_who_have_left_are_not_counted_on() -> None:
    """Else the next go to the other worker until it has as many as there once were."""

    async def run() -> list[int]:
        hall = Hall(2)
        hall.open(0)
        for _, writer in [await hall.connect() for _ in range(20)]:
            writer.close()
        until = asyncio.get_running_loop().time() + 10
        while hall.seats.taken(0):
            assert asyncio.get_running_loop().time() < until, "who has left is counted on"
            await asyncio.sleep(0.01)
        hall.open(1)
        taken = [await hall.connect() for _ in range(12)]
        counts = [len(guests) for guests in hall.guests]
        for _, writer in taken:
            writer.close()
        await hall.close()
        return counts

    assert min(asyncio.run(run())) >= 4


def test_who_has_arrived_is_taken_in_before_the_door_closes() -> None:
    async def run() -> list[int]:
        hall = Hall(1)
        hall.open(0)
        clients = []
        for _ in range(10):  # the loop does not turn: all wait
            clients.append(socket.create_connection(hall.listening.getsockname()))
        await hall.close()
        found = []
        for client in clients:
            client.settimeout(10)
            found.append(int(client.recv(1)))
            client.close()
        return found

    assert asyncio.run(run()) == [0] * 10


def test_a_lone_worker_never_waits_for_others() -> None:
    seats = Seats(3)
    seats.note(1, 500)
    assert not seats.crowded(1)  # the others are away
    seats.note(0, 0)
    assert seats.crowded(1)
    seats.leave(0)
    assert not seats.crowded(1)


class Guest(asyncio.Protocol):
    """A connection as uvicorn knows it, which ends when it is told to."""

    def __init__(self, *, server_state: Any, **_: Any):
        self._inside = server_state.connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._inside.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._inside.discard(self)

    def shutdown(self) -> None:
        self._transport.close()


def test_who_is_taken_in_at_the_last_moment_is_told_to_end(tmp_path: Path) -> None:
    grace_s = 10

    async def run() -> float:
        listening, (mine, theirs) = socket.create_server(("127.0.0.1", 0)), socket.socketpair()
        config = uvicorn.Config(
            lambda: None,  # type: ignore[arg-type,return-value]
            http=Guest,  # type: ignore[arg-type]
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=grace_s,
        )
        config.load()
        place = Place(
            number=0, role="worker 0", control=mine, folder=tmp_path, http=listening.dup(),
            seats=Seats(1), addresses=Addresses(), grpc_port=0,
        )  # fmt: skip
        server = HttpServer(config, 1.0, place)
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        clients = [socket.create_connection(listening.getsockname()) for _ in range(10)]
        started = asyncio.get_running_loop().time()
        await server.shutdown()
        seconds = asyncio.get_running_loop().time() - started
        for client in clients:
            client.settimeout(10)
            assert client.recv(1) == b""
        for one in (*clients, mine, theirs, place.http, listening):
            one.close()
        return seconds

    assert asyncio.run(run()) < grace_s / 2
