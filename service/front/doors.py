"""How many connections the HTTP port holds, and how long a client may take with its part.

Nobody is timed request by request: once a second all connections are looked at. A second in which
the loop itself was late is not held against clients, whose bytes may lie unread. Limits: how many
connections the gRPC port holds is gRPC's (``connections.max`` goes there too), and so is its
patience. Connections of one address are those with all workers, all connections one worker's.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from service.addresses import Addresses
from service.settings import Connections

EVERY_S: Final = 1.0
LATE_S: Final = 0.5
"""A look that comes so much later than planned is skipped."""


class Door(Protocol):
    """One connection."""

    address: str
    head: int | None
    since: float | None
    transport: Any

    def refuse(self, status: int, cause: str, message: str) -> None:
        """End it with an answer that says why."""
        ...


class Doors:
    """All connections of the HTTP port of one process.

    Args:
        settings: the bounds.
        addresses: where all workers count how many each address has; None: there is one process.
        number: which worker this is.
    """

    def __init__(self, settings: Connections, addresses: Addresses | None = None, number: int = 0):
        self._settings = settings
        self._inside: set[Door] = set()
        self._addresses = (addresses or Addresses()) if settings.max_per_address else None
        self._number = number
        self._unread: dict[Door, float] = {}
        self.max_header_bytes = settings.max_header_kb * 1024

    def __len__(self) -> int:
        return len(self._inside)

    @property
    def too_long(self) -> str:
        """What a client is told whose headers do not end."""
        return f"headers of more than {self._settings.max_header_kb} kB (connections.max_header_kb)"

    def enter(self, door: Door) -> tuple[str, str] | None:
        """Let a connection in, or say for what cause not, and in words."""
        settings = self._settings
        if len(self._inside) >= settings.max:
            return "connections", f"{settings.max} connections are open (connections.max)"
        if self._addresses is not None:
            most = settings.max_per_address
            if self._addresses.count(door.address) >= most:
                return "address", (
                    f"{most} connections of {door.address} are open (connections.max_per_address)"
                )
            self._addresses.enter(self._number, door.address)
        self._inside.add(door)
        return None

    def leave(self, door: Door) -> None:
        """A connection has ended."""
        if door not in self._inside:
            return
        self._inside.discard(door)
        self._unread.pop(door, None)
        if self._addresses is not None:
            self._addresses.leave(self._number, door.address)

    async def keep(self) -> None:
        """Look at all connections for ever."""
        loop = asyncio.get_running_loop()
        while True:
            planned = loop.time() + EVERY_S
            await asyncio.sleep(EVERY_S)
            if loop.time() < planned + LATE_S:
                self.look(loop.time())

    def look(self, now: float) -> None:
        """End connections whose clients have taken too long."""
        for door in list(self._inside):
            if door.since is not None:
                self._hurry(door, now - door.since)
            elif not door.transport.get_write_buffer_size():
                self._unread.pop(door, None)
            elif now - self._unread.setdefault(door, now) > self._settings.body_s:
                door.transport.abort()

    def _hurry(self, door: Door, taken: float) -> None:
        name = "body" if door.head is None else "header"
        most = self._settings.body_s if door.head is None else self._settings.header_s
        if taken > most:
            message = f"the request's {name} took more than {most:g} s (connections.{name}_s)"
            door.refuse(408, "slow", message)
