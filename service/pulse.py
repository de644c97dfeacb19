"""Children that hang without dying: for how long a parent has heard nothing of each.

The event loop of every child says ``Beat`` once a second, from when it serves. A child that is
stopped, or whose loop is stuck, says nothing, and no request that it has will ever be answered: it
is to be killed, and its place taken. Silence is counted in time in which the parent itself was
there to listen, at most ``TURN_S`` for each of its turns: a parent that was stopped, or a machine
that slept or had no time for anybody, kills nobody for it. What arrives is heard before silence is
judged. Limits: a child that has not served yet is not judged (loading takes what it takes), and a
model's own thread that hangs is told by /healthz; a process that the kernel holds (state D) dies
when it lets go.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final

from service.offspring import Offspring

TURN_S: Final = 0.25
"""What one turn of the parent counts at most; it takes a fifth of that where nothing delays it."""


class Pulse:
    """The silence of children.

    Args:
        hang_s: after how many seconds of it a child is taken to hang; 0: never.
    """

    def __init__(self, hang_s: float):
        self._hang_s = hang_s
        self._turned = time.monotonic()

    def hung(self, children: Iterable[Offspring]) -> Iterator[Offspring]:
        """Those that hang, each once; to be asked in every turn, after they were heard."""
        now = time.monotonic()
        listened, self._turned = min(now - self._turned, TURN_S), now
        for child in children:
            if child.silent_s is None or not self._hang_s:
                continue
            child.silent_s += listened
            if child.silent_s > self._hang_s:
                child.silent_s = None
                yield child
