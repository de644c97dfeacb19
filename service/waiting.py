"""Queries that wait for one model, and which of them go next.

A batch is of one relation. Work for training goes first, since an optimiser step waits for it;
evaluation gets what room a batch has left, and every ``TURNS``-th batch for itself while both wait,
so that it is late at worst and never forgotten. Within either, what came first goes first. Limits:
one loop's; nothing here is awaited, and nothing knows a clock.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from service.cache import Key
from service.guard import Outcome
from service.requests import Priority

TURNS: Final = 8
"""Of so many batches in a row, one is begun with evaluation if any waits."""


class Flight:
    """One query on its way, with everyone who waits for it."""

    __slots__ = ("deadline", "enqueued", "future", "key", "priority", "query", "waiters")

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
        return lane is not None and lane.pop(flight.key, None) is not None

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
        for flight in self._in_turn():
            if flight.deadline <= now + seconds(len(batch) + 1):
                late.append(flight)
            else:
                batch.append(flight)
                if len(batch) == most:
                    break
        if not batch:
            batch = [flight for flight in late if flight.deadline > now][:most]
            kept = set(map(id, batch))
            late = [flight for flight in late if id(flight) not in kept]
        return batch, late

    def _in_turn(self) -> Iterator[Flight]:
        """Take out one after the other, of the relation whose turn it is."""
        first = self._whose_turn()
        waiting = {relation: lane for relation, lane in self._lanes[first].items() if lane}
        if not waiting:
            return
        relation = min(waiting, key=lambda name: next(iter(waiting[name].values())).enqueued)
        for priority in (first, *(each for each in Priority if each is not first)):
            lane = self._lanes[priority].get(relation)
            while lane:
                yield lane.popitem(last=False)[1]

    def _whose_turn(self) -> Priority:
        train, evaluation = self.rows(Priority.TRAIN), self.rows(Priority.EVAL)
        if not train or not evaluation:
            self._passed_over = 0
            return Priority.EVAL if evaluation else Priority.TRAIN
        self._passed_over += 1
        if self._passed_over < TURNS:
            return Priority.TRAIN
        self._passed_over = 0
        return Priority.EVAL
