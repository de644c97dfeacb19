"""uvicorn's server, listening as ours does: at a doorway, with TLS in time, drained to the last."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from service.doorway import Doorway
from service.front.last import HANDSHAKE_S, last_in
from service.place import Place


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handling: one drain serves both front ends.

    Args:
        config: as uvicorn takes it.
        handshake_s: seconds that a client may take to agree on TLS; uvicorn leaves it 60.
        place: of one of several workers.
    """

    def __init__(self, config: uvicorn.Config, handshake_s: float, place: Place | None):
        super().__init__(config)
        self._handshake_s = handshake_s
        self._place = place

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; at the doorway where siblings listen on the same socket.

        With TLS by ourselves, since uvicorn does not pass the time of the handshake on.
        """
        config, place = self.config, self._place
        if not config.loaded:
            config.load()
        if config.ssl is None and place is None:
            await super().startup(sockets)
            return
        await super().startup([])
        self.started = False
        if place is not None:
            connections = self.server_state.connections
            doorway = Doorway(place.http, place.seats, place.number, lambda: len(connections))
            doorway.open(self._connection, config.backlog, config.ssl, self._handshake_s)
            servers: list[Any] = [doorway]
            self.servers = servers
        else:
            for one in sockets or ():
                self.servers.append(
                    await asyncio.get_running_loop().create_server(
                        self._connection,
                        sock=one,
                        ssl=config.ssl,
                        backlog=config.backlog,
                        ssl_handshake_timeout=self._handshake_s,
                    )
                )
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, those included who have connected and were not let in yet.

        They come in before connections are told to end: who came in after would not be told, and
        keep the server waiting for as long as its grace.
        """
        if self._place is None:
            await last_in(sockets or [], self.servers, self._connection, self.config.ssl)
        else:
            for doorway in self.servers:
                doorway.close()
            closed = asyncio.gather(*(doorway.wait_closed() for doorway in self.servers))
            await asyncio.wait({closed}, timeout=HANDSHAKE_S)
        await super().shutdown(sockets)

    def _connection(self) -> asyncio.Protocol:
        made: Any = self.config.http_protocol_class
        connection: asyncio.Protocol = made(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return connection
