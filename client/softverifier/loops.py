"""One thing for each event loop, forgotten once the loop is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """What ``make`` gives, once for every running loop.

    A plain dict that is swept, and no WeakKeyDictionary: what is kept refers to its loop, so that
    a weak key would never die. Trainers call ``asyncio.run`` for every step.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._kept: dict[asyncio.AbstractEventLoop, T] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def here(self) -> T:
        """Of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._kept.get(loop)
        if found is None:
            for ended in [kept for kept in self._kept if kept.is_closed()]:
                del self._kept[ended]
            found = self._kept[loop] = self._make()
        return found

    def taken(self) -> T | None:
        """Of the running loop, and forget it; None if there is none."""
        return self._kept.pop(asyncio.get_running_loop(), None)
