"""Queries that wait for one model, and which of them go next.

A batch is of one relation. Work for training goes first, since an optimiser step waits for it.
While both wait, evaluation has one of ``TURNS`` places in a batch of its relation, or the whole of
every ``TURNS``-th batch where there are no such places, and what room training leaves: it is slower
at worst and never forgotten. Within either, what came first goes first. Limits: one loop's; nothing
here is awaited, and nothing knows a clock.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from service.cache import Key
from service.guard import Outcome
from service.requests import Priority
from worldmodels.trace_context import Headers

TURNS: Final = 8
"""Evaluation's least share is one in so many, of the places in a batch and of the batches."""


class Trip(NamedTuple):
    """The batch that a query went with; noted where requests are traced."""

    began: float
    seconds: float
    rows: int


class Flight:
    """One query on its way, with everyone who waits for it."""

    __slots__ = (
        "carried", "deadline", "enqueued", "future", "key", "losses", "priority", "query", "trip",
        "waiters",
    )  # fmt: skip

    def __init__(
        self,
        key: Key,
        query: tuple[str, str, str],
        now: float,
        deadline: float,
        priority: Priority,
    ):
        self.key = key
        self.query = query
        self.enqueued = now
        self.deadline = deadline
        self.priority = priority
        self.waiters = 0
        self.losses = 0
        """How many model hosts died with it."""
        self.trip: Trip | None = None
        self.carried: Headers = ()
        """The trace of the first who waits for it and is traced, for a model on another server."""
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()


_Lane = OrderedDict[Key, Flight]


class Waiting:
    """The queue of one model."""

    def __init__(self) -> None:
        self._lanes: dict[Priority, dict[str, _Lane]] = {each: {} for each in Priority}
        self._passed_over = 0

    def __len__(self) -> int:
        return sum(len(lane) for lanes in self._lanes.values() for lane in lanes.values())

    def rows(self, priority: Priority) -> int:
        """How many of a priority wait."""
        return sum(map(len, self._lanes[priority].values()))

    def put(self, flight: Flight) -> None:
        """Let a query wait."""
        lanes = self._lanes[flight.priority]
        lanes.setdefault(flight.key.relation, OrderedDict())[flight.key] = flight

    def promote(self, flight: Flight, priority: Priority) -> None:
        """Somebody more urgent waits for it too; nothing if it is being computed already."""
        if priority < flight.priority and self.leave(flight):
            flight.priority = priority
            self.put(flight)

    def leave(self, flight: Flight) -> bool:
        """Nobody waits for it any more; False if it does not wait itself."""
        lane = self._lanes[flight.priority].get(flight.key.relation)
        # Its key may have been asked for again, the moment that it was answered.
        if lane is None or lane.get(flight.key) is not flight:
            return False
        del lane[flight.key]
        return True

    def take(
        self, most: int, now: float, seconds: Callable[[int], float]
    ) -> tuple[list[Flight], list[Flight]]:
        """The next batch, and those that would be late with it: they leave.

        What only seems to be late is computed if there is nothing better, since whoever never asks
        a model again because it was slow once never learns that it is quick.

        Args:
            most: queries in the batch.
            now: the time, as deadlines state it.
            seconds: what a batch of a size is expected to take.
        """
        batch: list[Flight] = []
        late: list[Flight] = []
        for lane, room in self._in_turn(most):
            while lane and len(batch) < room:
                flight = lane.popitem(last=False)[1]
                if flight.deadline <= now + seconds(len(batch) + 1):
                    late.append(flight)
                else:
                    batch.append(flight)
        if not batch:
            batch = [flight for flight in late if flight.deadline > now][:most]
            kept = set(map(id, batch))
            late = [flight for flight in late if id(flight) not in kept]
        return batch, late

    def _in_turn(self, most: int) -> list[tuple[_Lane, int]]:
        """Where to take from, one after the other, each until the batch has so many."""
        oldest = {priority: self._oldest(priority) for priority in Priority}
        first, second = Priority.TRAIN, Priority.EVAL
        if oldest[first] is None or (oldest[second] and self._passed_over >= TURNS - 1):
            first, second = second, first
        relation = oldest[first]
        if relation is None:
            return []
        rest = self._lanes[second].get(relation, OrderedDict())
        kept = min(most // TURNS, len(rest)) if second is Priority.EVAL else 0
        waits = oldest[Priority.EVAL]
        served = waits is None or first is Priority.EVAL or (kept and relation == waits)
        self._passed_over = 0 if served else self._passed_over + 1
        return [(self._lanes[first][relation], most - kept), (rest, most)]

    def _oldest(self, priority: Priority) -> str | None:
        """The relation of the query that has waited longest."""
        waiting = {name: next(iter(q.values())) for name, q in self._lanes[priority].items() if q}
        return min(waiting, key=lambda name: waiting[name].enqueued) if waiting else None
