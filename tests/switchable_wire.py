"""A TCP wire to a server that can be slow, swallow everything, be cut, or lead elsewhere."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from listening import Listening


class SwitchableWire:
    """Forwards bytes both ways; what it does can be changed while connections are open.

    Attributes:
        target: port that new connections lead to.
        delay_s: each piece waits so long.
        swallows: nothing gets through and nothing is said, as with a peer that lost its power.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay_s = 0.0
        self.swallows = False
        self._open: set[socket.socket] = set()
        self._listening = Listening(self._take)
        self.port = self._listening.port

    def cut(self) -> None:
        """End every connection."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()
        self.cut()

    def _take(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(one)
        for ends in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, here: socket.socket, there: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := here.recv(65_536):
                if self.delay_s:
                    time.sleep(self.delay_s)
                if not self.swallows:
                    there.sendall(piece)
        for one in (here, there):
            self._open.discard(one)
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        here.close()
