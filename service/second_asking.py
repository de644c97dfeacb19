"""Queries that a model host had when it died: asked once more, by halves and apart from all else.

What a model answers depends on the question alone, so asking again changes nothing. The batch may
be what killed the host, so its halves go one after the other, and with nothing that was not asked
yet: the half without the culprit is answered. What two hosts died with is not asked a third time.

Limits: batches of several workers meet in a host, which dies with all of them, so what one worker
asks counts against another's. One event loop's; nothing here is awaited.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from service.waiting import Flight


class SecondAsking:
    """Of one model."""

    def __init__(self) -> None:
        self._parts: deque[list[Flight]] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def lost(self, batch: Sequence[Flight]) -> list[Flight]:
        """Keep what a host died with for the first time; the rest, which is to be given up."""
        again = [flight for flight in batch if not flight.losses]
        given_up = [flight for flight in batch if flight.losses]
        for flight in again:
            flight.losses = 1
        middle = (len(again) + 1) // 2
        self._parts += [again[:middle], again[middle:]]
        return given_up

    def leave(self, flight: Flight) -> bool:
        """Nobody waits for it any more; False if it is not kept here."""
        for part in self._parts:
            if any(one is flight for one in part):
                part.remove(flight)
                return True
        return False

    def take(self, now: float) -> tuple[list[Flight], list[Flight]]:
        """The next half, and those of it whose deadline is over."""
        part = self._parts.popleft()
        return (
            [flight for flight in part if flight.deadline > now],
            [flight for flight in part if flight.deadline <= now],
        )
