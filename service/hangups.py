"""SIGHUP in a single process: every model is loaded anew, unless the terminal is what hung up."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

from service.rolling import Rolling


class Hangups:
    """What becomes of the signal.

    Args:
        rolling: the models.
        stop: called where a terminal that the server was started from is gone.
    """

    def __init__(self, rolling: Rolling, stop: Callable[[], None]):
        self._rolling = rolling
        self._stop = stop
        self._attended = sys.stdin is not None and sys.stdin.isatty()
        self._tasks: set[asyncio.Task[None]] = set()

    def heard(self) -> None:
        """The signal came."""
        if self._attended and not os.isatty(0):
            self._stop()
            return
        task = asyncio.create_task(self._reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        for name in self._rolling.names:
            await self._rolling.reload(name)
