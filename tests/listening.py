"""A listening socket on the loopback whose every connection is given away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable


class Listening:
    """Takes connections on a thread until it is closed.

    Args:
        take: what is done with each, quickly: the next one waits.
    """

    def __init__(self, take: Callable[[socket.socket], None]) -> None:
        self._take = take
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self._take(client)
