"""One listening socket for several processes: each takes what it has room for, none is lost.

The socket is inherited, so a connection waits in one queue whoever takes it: a worker that is
killed takes none with it. Each worker takes one connection at a time and leaves the next to the
others for a moment while it has more than they have, so that a few long-lived connections are
spread over all and a burst is shared. A worker that is busy does not take any meanwhile.

Limits: counts are advice, read without a lock; a worker that stands still for longer than the
moment has its share taken by the others.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import socket
import ssl
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

MOMENT_S: Final = 0.001
"""How long a connection is left to others that have fewer."""
AT_ONCE: Final = 8
"""Connections taken after that, if the others left them."""
TELL_S: Final = 0.1
"""How often a worker whom nobody wakes states how many it has: those who have left are not to keep
others from leaving the next to it."""
OUT_OF_FILES_S: Final = 0.1
_AWAY: Final = -1
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Seats:
    """How many connections each worker has; shared by those that are forked after it was made.

    Args:
        workers: how many there are.
    """

    def __init__(self, workers: int):
        self._taken = memoryview(mmap.mmap(-1, 8 * workers)).cast("q")
        for number in range(workers):
            self.leave(number)

    def note(self, number: int, connections: int) -> None:
        """State how many connections a worker has."""
        self._taken[number] = connections

    def taken(self, number: int) -> int:
        """How many a worker has, as it stated last; less than 0: it takes none."""
        return self._taken[number]

    def leave(self, number: int) -> None:
        """A worker takes none any more."""
        self._taken[number] = _AWAY

    def crowded(self, number: int) -> bool:
        """Whether a worker has more than another one, by more than a quarter."""
        fewest = min((count for count in self._taken if count >= 0), default=0)
        return self._taken[number] > fewest + fewest // 4


class Doorway:
    """Takes connections from a shared listening socket; stands in for an asyncio server.

    Args:
        sock: the listening socket.
        seats: counts of all workers.
        number: which worker this is.
        connections: how many it has now.
    """

    def __init__(
        self, sock: socket.socket, seats: Seats, number: int, connections: Callable[[], int]
    ):
        self._sock = sock
        self._seats = seats
        self._number = number
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._arriving: set[asyncio.Task[None]] = set()
        self._made: Callable[[], asyncio.Protocol] | None = None
        self._ssl: ssl.SSLContext | None = None
        self._handshake_s: float | None = None
        self._waited = False
        self._closed = False

    def open(
        self,
        made: Callable[[], asyncio.Protocol],
        backlog: int,
        tls: ssl.SSLContext | None = None,
        handshake_s: float | None = None,
    ) -> None:
        """Begin to take connections.

        Args:
            made: makes the protocol of one.
            backlog: connections that may wait.
            tls: for connections that are to be encrypted.
            handshake_s: seconds that agreeing on it may take.
        """
        self._made, self._ssl = made, tls
        self._handshake_s = None if tls is None else handshake_s
        self._sock.setblocking(False)
        self._sock.listen(backlog)
        self._watch()
        self._tell()

    def close(self) -> None:
        """Take what has arrived already, then no more."""
        if self._closed:
            return
        while self._take():
            pass
        self._closed = True
        self._loop.remove_reader(self._sock.fileno())
        self._seats.leave(self._number)

    async def wait_closed(self) -> None:
        """Until connections that were taken are with their protocols."""
        if self._arriving:
            await asyncio.wait(self._arriving)

    def _watch(self) -> None:
        if not self._closed:
            self._seats.note(self._number, self._count())
            self._loop.add_reader(self._sock.fileno(), self._knock)

    def _tell(self) -> None:
        if not self._closed:
            self._seats.note(self._number, self._count())
            self._loop.call_later(TELL_S, self._tell)

    def _count(self) -> int:
        return self._connections() + len(self._arriving)

    def _knock(self) -> None:
        """A connection waits: take it, or leave it to another worker for a moment."""
        self._seats.note(self._number, self._count())
        if self._seats.crowded(self._number) and not self._waited:
            self._waited = True
            self._pause(MOMENT_S)
            return
        for _ in range(AT_ONCE if self._waited else 1):
            if not self._take():
                break
        self._waited = False
        if not self._closed:
            self._seats.note(self._number, self._count())

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._loop.call_later(seconds, self._watch)

    def _take(self) -> bool:
        """Take one; False if there is none."""
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionError:  # it has gone again
            return True
        except OSError as error:
            if error.errno not in _NO_FILES:
                raise
            log.error("no connection can be taken", why=str(error))
            self._pause(OUT_OF_FILES_S)
            return False
        connection.setblocking(False)
        task = self._loop.create_task(self._received(connection))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)
        return True

    async def _received(self, connection: socket.socket) -> None:
        assert self._made is not None
        try:
            await self._loop.connect_accepted_socket(
                self._made,
                connection,
                ssl=self._ssl,
                ssl_handshake_timeout=self._handshake_s,
            )
        except OSError as error:  # gone again, or no TLS (ssl.SSLError is one)
            connection.close()
            log.debug("a connection failed at the door", why=repr(error))
