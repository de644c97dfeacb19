"""The last connections before a server stops to listen: let in, not cut off.

The kernel completes connections before a server takes them, and resets those that wait when the
socket closes; a client that was told that it is connected then loses its request. So the socket is
kept while the server's own hold of it ends, and what waits is taken from it to the last one before
it closes. Limits: what connects between the last look and the close, two system calls later, is
reset all the same.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final

HANDSHAKE_S: Final = 2.0
"""What the last ones get to agree on TLS."""


async def last_in(
    sockets: Sequence[socket.socket],
    servers: Sequence[Any],
    made: Callable[[], asyncio.Protocol],
    tls: ssl.SSLContext | None,
) -> None:
    """Close listening sockets, with everybody let in who has connected.

    Args:
        sockets: the listening sockets.
        servers: the loop's servers on them, which end.
        made: makes the protocol of a connection.
        tls: for connections that are encrypted.
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
    arriving = [asyncio.ensure_future(_received(made, one, tls)) for one in arrived]
    if arriving:
        _, late = await asyncio.wait(arriving, timeout=HANDSHAKE_S)
        for one in late:
            one.cancel()


async def _received(
    made: Callable[[], asyncio.Protocol], connection: socket.socket, tls: ssl.SSLContext | None
) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(made, connection, ssl=tls)
    except OSError:  # gone again, or no TLS (ssl.SSLError is one)
        connection.close()


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
