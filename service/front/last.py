"""The last connections before a server stops to listen: let in, not cut off.

The kernel completes connections before a server takes them, and resets those that wait when the
socket closes; a client that was told that it is connected then loses its request. So the socket is
kept while the server's own hold of it ends, and what waits is taken from it to the last one before
it closes. Limits: what connects between the last look and the close, two system calls later, is
reset all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any


async def last_in(
    sockets: Sequence[socket.socket],
    servers: Sequence[Any],
    made: Callable[[], asyncio.Protocol],
    tls: ssl.SSLContext | None = None,
) -> None:
    """Close listening sockets, with everybody let in who has connected.

    Args:
        sockets: the listening sockets.
        servers: the loop's servers on them, which end.
        made: makes the protocol of a connection.
        tls: what connections speak; None: plain text. Who cannot agree on it is let go.
    """
    kept = [sock.dup() for sock in sockets]
    for server in servers:
        server.close()
    for sock in sockets:
        sock.close()
    await asyncio.sleep(0)  # uvloop lets go of a socket a turn later
    await asyncio.sleep(0)
    arrived = []
    for sock in kept:
        sock.setblocking(False)
        with sock:
            while (connection := _next(sock)) is not None:
                arrived.append(connection)
    loop = asyncio.get_running_loop()
    for connection in arrived:
        with contextlib.suppress(*(() if tls is None else (OSError,))):
            await loop.connect_accepted_socket(made, connection, ssl=tls)


def _next(sock: socket.socket) -> socket.socket | None:
    while True:
        try:
            connection, _ = sock.accept()
        except BlockingIOError:
            return None
        except ConnectionError:  # it has gone again
            continue
        connection.setblocking(False)
        return connection
