"""What a model's queue answers in time when more is asked than the model can do.

    python benchmarks/overload.py [--seconds 6]

The queue that the server has, before the fake model with a service time (50 ms for a batch of up
to 64 queries; how many a second that makes here is measured before each load). Requests of 16
queries come at random moments (Poisson), whatever became of those before, each to be answered
within 500 ms, at 0.5 to 2 times the capacity. Goodput: queries answered in time, of those that a
perfect server would have answered (the lesser of what was asked and the capacity; on a machine that
others use, too, somewhat more than all of them at times). `door`: as the server does it. `queue`:
the same queue without the door, bounded at 8,000 queries, first come first served, what has expired
left out when its turn comes. `told no`: refused at once; `in vain`: waited and was not answered in
time. Then the same with a fifth of the requests for evaluation, by kind, and clients that come back
when they are told to.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import itertools
import random
import statistics
import time
from collections.abc import Sequence

from service.batcher import Hosted
from service.cache import Key
from service.errors import Overloaded
from service.guard import EXPIRED
from service.metrics import Metrics
from service.requests import Priority
from service.settings import Batching
from service.waiting import Flight
from worldmodels import registry
from worldmodels.core import Queries
from worldmodels.genes import GeneResolver

BATCH, BATCH_S, ROWS, DEADLINE_S, EVAL_SHARE = 64, 0.05, 16, 0.5, 0.2
RELATION = "perturbation.de"


class Undoored(Hosted):
    """The queue as servers usually have it."""

    def admit(
        self, keys: Sequence[Key], deadline: float, priority: Priority = Priority.TRAIN
    ) -> None:
        """Whatever fits."""
        if self.depth + len(keys) > 8000:
            raise Overloaded("full", retry_after=1.0)

    def _collect(self) -> list[Flight]:
        batch: list[Flight] = []
        while not batch and self.depth:
            batch, late = self._waiting.take(BATCH, time.monotonic(), lambda rows: 0.0)
            self._land(late, [EXPIRED] * len(late))
        return batch


@dataclasses.dataclass
class Tally:
    """Queries, by what became of them."""

    asked: int = 0
    answered: int = 0
    refused: int = 0
    vain: int = 0
    waits: list[float] = dataclasses.field(default_factory=list)


def hosted(kind: type[Hosted]) -> Hosted:
    """A fresh model behind a queue."""
    source = registry.Source(family="fake", name="fake", options={"delay_ms": str(BATCH_S * 1000)})
    model = registry.load(source, GeneResolver.as_they_are())
    made = kind(model, Batching(max_batch=BATCH), Metrics(), "thread")
    made.warm()
    made.start()
    return made


async def ask(model: Hosted, number: int, priority: Priority, tally: Tally) -> float | None:
    """One request; when to come back, if it was refused."""
    names = [f"G{number}N{i}" for i in range(ROWS)]
    keys = [Key(model.tag, RELATION, name, "B", "") for name in names]
    queries = Queries(RELATION, names, ["B"] * ROWS, [""] * ROWS)
    begun = time.monotonic()
    deadline = begun + DEADLINE_S
    tally.asked += ROWS
    try:
        model.admit(keys, deadline, priority)
    except Overloaded as refused:
        tally.refused += ROWS
        return refused.retry_after
    rows = await model.ask(keys, queries, deadline, priority)
    tally.waits.append(time.monotonic() - begun)
    late = sum(row.expired for row in rows)
    tally.vain += late
    tally.answered += ROWS - late
    return None


async def capacity(batches: int = 40) -> float:
    """Queries that the queue answers in a second while there is always a full batch."""
    model = hosted(Hosted)
    names = [f"G{i}" for i in range(BATCH * batches)]
    keys = [Key(model.tag, RELATION, name, "B", "") for name in names]
    begun = time.monotonic()
    rows = Queries(RELATION, names, ["B"] * len(names), [""] * len(names))
    await model.ask(keys, rows, begun + 600)
    took = time.monotonic() - begun
    await model.stop()
    return len(names) / took


async def pressed(
    kind: type[Hosted], rate: float, seconds: float, eval_share: float = 0.0
) -> dict[Priority, Tally]:
    """Open loop of so many queries a second; the first second is not counted."""
    model = hosted(kind)
    draw = random.Random(7)
    numbers = itertools.count()
    counted = {each: Tally() for each in Priority}
    before = Tally()
    tasks = set()
    begun = at = time.monotonic()
    while at < begun + 1 + seconds:
        at += draw.expovariate(rate / ROWS)
        await asyncio.sleep(at - time.monotonic())
        priority = Priority.EVAL if draw.random() < eval_share else Priority.TRAIN
        tally = counted[priority] if at > begun + 1 else before
        tasks.add(asyncio.create_task(ask(model, next(numbers), priority, tally)))
    await asyncio.gather(*tasks)
    await model.stop()
    return counted


async def obedient(count: int) -> list[int]:
    """Clients that come at once, and again when they are told to: the tries of who got in."""
    model = hosted(Hosted)
    numbers = itertools.count()
    tries: list[int] = []

    async def client() -> None:
        for attempt in itertools.count(1):
            after = await ask(model, next(numbers), Priority.TRAIN, Tally())
            if after is None:
                tries.append(attempt)
                return
            await asyncio.sleep(after)

    await asyncio.gather(*(client() for _ in range(count)))
    await model.stop()
    return tries


def row(name: str, load: float, tally: Tally, most: float) -> str:
    """One line of the table; ``most``: queries that could have been answered."""
    possible = min(tally.asked, most)
    p99 = statistics.quantiles(tally.waits, n=100)[98] * 1000 if len(tally.waits) > 1 else 0.0
    return (
        f"{load:4.2f}  {name:12} {tally.answered / possible:8.1%} "
        f"{tally.refused / tally.asked:8.1%} {tally.vain / tally.asked:8.1%} {p99:8.0f}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="counted, for each line")
    seconds = parser.parse_args().seconds
    print("load  policy        goodput  told no  in vain  p99, ms")
    for load in (0.5, 0.9, 1.2, 1.5, 2.0):
        most = asyncio.run(capacity())
        for name, kind in (("door", Hosted), ("queue", Undoored)):
            found = asyncio.run(pressed(kind, load * most, seconds))
            print(row(name, load, found[Priority.TRAIN], most * seconds), flush=True)
    print("\nA fifth for evaluation, goodput of what its kind asked:")
    for load in (0.9, 1.5):
        most = asyncio.run(capacity())
        found = asyncio.run(pressed(Hosted, load * most, seconds, EVAL_SHARE))
        for priority, tally in found.items():
            print(row(priority.name.lower(), load, tally, tally.asked), flush=True)
    count = round(4 * most / ROWS)
    tries = asyncio.run(obedient(count))
    print(
        f"\n{count} clients at once, 4 s of work, who come back when told: {len(tries)} got in, "
        f"{statistics.mean(tries):.1f} tries on average, {max(tries)} at most"
    )


if __name__ == "__main__":
    main()
