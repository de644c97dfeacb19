"""The processes of a workshop as they come and go: one bench, and its quick and patient lanes.

A bench that ends is started again after a pause that grows while it keeps ending; its lanes end
with it. What a new bench must know is kept here: what to rehearse and what jobs imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Generic, TypeVar

import structlog

from service.lanes import Bench, Lane
from service.rewards.core import Work
from service.workbench import framed

log = structlog.get_logger(__name__)

Job = TypeVar("Job")
WALL: Final = 40.0
"""Budgets of wall time after which a job that does not compute is taken to hang."""
PATIENT_NICE: Final = 10
LONGEST_PAUSE_S: Final = 5.0
_GIVEN_UP: Final = 3
_MOST_REHEARSED: Final = 60_000
"""Bytes of one rehearsal: what surely fits the socket."""


class Crew(Generic[Job]):
    """One bench and its lanes; started by ``start``.

    Args:
        quick_s: CPU time of a job in a quick lane.
        patient_s: the same in a patient lane.
        memory_bytes: what a lane may take beyond what it is born with.
        replied: called with a lane, a job and its reply.
        ended: called with a lane that is gone and its wait status (None: not known).
        ready: called when there is a bench again.
        complain: called with a rehearsal that failed and its fault.
    """

    def __init__(
        self,
        *,
        quick_s: float,
        patient_s: float,
        memory_bytes: int,
        replied: Callable[[Lane[Job], Job, list[Any]], None],
        ended: Callable[[Lane[Job], int | None], None],
        ready: Callable[[], None],
        complain: Callable[[Work, str], None],
    ):
        self._cpu_s = {False: quick_s, True: patient_s}
        self._memory_bytes = memory_bytes
        self._replied = replied
        self._ended = ended
        self._ready = ready
        self._complain = complain
        self._bench: Bench | None = None
        self._lanes: dict[int, Lane[Job]] = {}
        self._numbered = 0
        self._rehearsals: list[Work] = []
        self._rehearsed: deque[asyncio.Future[str | None]] = deque()
        """Rehearsals that the bench has not answered, in order."""
        self._imported: dict[str, None] = {}
        self._failures = 0
        self._stopped = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def running(self) -> bool:
        """Whether lanes can be opened."""
        return self._bench is not None

    @property
    def stalled(self) -> bool:
        """The bench ends whenever it is started."""
        return self._failures >= _GIVEN_UP

    @property
    def pids(self) -> list[int]:
        """Of the bench and its lanes, as far as they run."""
        lanes = [lane.pid for lane in self._lanes.values() if lane.pid is not None]
        return ([self._bench.pid] if self._bench is not None else []) + lanes

    def lanes(self, *, patient: bool) -> list[Lane[Job]]:
        """The lanes of a kind that take jobs."""
        kind = [lane for lane in self._lanes.values() if lane.patient is patient]
        return [lane for lane in kind if lane.open]

    def start(self) -> None:
        """Start a bench if there is none and none is about to be."""
        if self._bench is None and not self._stopped and not self._failures:
            self._start()

    async def rehearse(self, works: Sequence[Work]) -> None:
        """Start a bench and let it do these jobs, so that its lanes need not import anything."""
        small = (work for work in works if len(framed(work)) < _MOST_REHEARSED)
        self._rehearsals = list(dict.fromkeys(small))
        if self._bench is None:
            self.start()
        else:
            await self._rehearse(self._bench)
        await asyncio.gather(*self._tasks)

    def open(self, *, patient: bool) -> Lane[Job]:
        """A new lane; jobs may be given to it at once."""
        assert self._bench is not None
        self._numbered += 1
        lane = Lane(self._numbered, patient, self._replied, self._learn, self._gone)
        self._lanes[lane.number] = lane
        cpu_s, wall_s = self._cpu_s[patient], self._cpu_s[True] * WALL
        nice = PATIENT_NICE if patient else 0
        ours, theirs = socket.socketpair()
        with theirs:
            self._bench.say("fork", lane.number, cpu_s, wall_s, nice, handles=[theirs])
        # Cancelled before it begins, nobody has taken the socket over.
        self._begin(_connect(lane, ours)).add_done_callback(
            lambda task: ours.close() if task.cancelled() else None
        )
        return lane

    def _learn(self, modules: Sequence[str]) -> None:
        """Let the bench import what a job had to."""
        fresh = [name for name in modules if name not in self._imported]
        if fresh and self._bench is not None:
            self._imported.update(dict.fromkeys(fresh))
            self._bench.say("import", fresh)

    async def stop(self) -> None:
        """End all processes."""
        self._stopped = True
        bench, self._bench = self._bench, None
        for lane in list(self._lanes.values()):
            lane.kill()
            lane.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if bench is not None:
            await bench.stop()

    def _start(self) -> None:
        self._bench = Bench(self._memory_bytes, self._heard, self._bench_ended)
        if self._imported:
            self._bench.say("import", list(self._imported))
        self._begin(self._rehearse(self._bench))

    async def _rehearse(self, bench: Bench) -> None:
        for work in list(self._rehearsals):
            answered: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
            self._rehearsed.append(answered)
            bench.say("rehearse", *work)
            fault = await answered
            if bench is not self._bench:
                with contextlib.suppress(ValueError):
                    self._rehearsals.remove(work)  # the bench did not outlive it
                return
            if fault is not None:
                self._complain(work, fault)
        self._ready()

    def _gone(self, lane: Lane[Job], status: int | None) -> None:
        self._lanes.pop(lane.number, None)
        self._ended(lane, status)

    def _heard(self, message: list[Any]) -> None:
        """What the bench says."""
        what, *told = message
        if what == "rehearsed":
            _resolve(self._rehearsed.popleft(), told[0])
            return
        self._failures = 0
        lane = self._lanes.get(told[0])
        if lane is not None and what == "forked":
            lane.pid = told[1]
        elif lane is not None:
            lane.note_end(told[1])

    def _bench_ended(self) -> None:
        """The bench is gone, and with it how its lanes end: all begin anew, after a pause."""
        bench, self._bench = self._bench, None
        if bench is None:
            return
        self._failures += 1
        log.warning("the bench ended", pid=bench.pid, failures=self._failures)
        self._begin(bench.stop())
        while self._rehearsed:
            _resolve(self._rehearsed.popleft(), None)
        for lane in list(self._lanes.values()):
            lane.kill()
            lane.note_end(None)
            lane.close()
        self._begin(self._restart(min(0.05 * 2.0**self._failures, LONGEST_PAUSE_S)))

    async def _restart(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        if not self._stopped:
            self._start()

    def _begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _resolve(answered: asyncio.Future[str | None], fault: str | None) -> None:
    if not answered.done():  # a server that stops has cancelled it
        answered.set_result(fault)


async def _connect(lane: Lane[Any], ours: socket.socket) -> None:
    """Give a lane its end; made here, so that a task that never begins leaves no coroutine."""
    await asyncio.get_running_loop().create_unix_connection(lambda: lane, sock=ours)
