"""Work that may take long or never end, carried out in processes of its own under a budget.

Judges of molecules and long texts ask for ``Work``; what a policy wrote decides how long it takes.
It is done in a few lanes, processes that the kernel ends at the budget (``service.workbench``):

* every job starts in a quick lane, which ends it after a tenth of the budget; it is then begun
  anew in a patient lane with the other nine, so that slow jobs stand in nobody's way;
* CPU time counts, not waiting: a job is not at fault because the machine is busy;
* a job over the budget, or twice out of memory, is TOO_LONG: the completion's doing, invalid, and
  not worth a retry;
* a job that kills its process, or hangs, is tried once more alone; twice, it is the text's doing
  as much as an endless one, and TOO_LONG, so that killing a process is no way out of a bad reward;
  one that raises is MODEL_ERROR, a fault of our code whose traceback is logged the first time;
  ``/metrics`` has both;
* jobs go in small batches, and requests take turns by the time that they use (``service.turns``);
* equal jobs are done once, also of several requests, and findings are kept (``service.findings``);
* the queue is bounded (Overloaded); what nobody waits for any more is not begun, and what is not
  done at the deadline is DEADLINE.

The processes start at the first job, or with ``warm`` before it, and end with the server. Limits:
one event loop; arguments and findings are plain data, and arrays come back as lists.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import structlog

from service.crew import Crew
from service.errors import Overloaded
from service.findings import Findings
from service.lanes import Lane
from service.metrics import Metrics
from service.requests import Priority
from service.rewards.core import Finding, Reason, Work
from service.settings import Work as WorkSettings
from service.turns import Account, Turns
from service.workbench import OK, OUT_OF_MEMORY, framed

log = structlog.get_logger(__name__)

QUICK_SHARE: Final = 0.1
"""Of the budget: what a quick lane gives."""
AHEAD_S: Final = 0.004
MOST_AHEAD: Final = 32
"""Jobs that a quick lane is given at once: what takes it ``AHEAD_S``, at most so many."""
TRIES: Final = 2
EVAL_WEIGHT: Final = 8.0
"""Evaluation's seconds count as so many: an eighth of the share of a request for training."""
_TOO_LONG: Final = Finding(Reason.TOO_LONG)
_FAILED: Final = Finding(Reason.MODEL_ERROR)
_LATE: Final = Finding(Reason.DEADLINE)


class _Order:
    """One request's jobs: how many are not done, and where they wait."""

    __slots__ = ("accounts", "done", "gone", "left")

    def __init__(self, priority: Priority) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left = 0
        self.gone = False
        weight = EVAL_WEIGHT if priority is Priority.EVAL else 1.0
        self.accounts: dict[bool, Account[_Job]] = {p: Account(weight) for p in (False, True)}
        """Of the quick lanes, and (True) of the patient ones."""


class _Job:
    """One work on its way, with everyone who waits for it."""

    __slots__ = ("charged_s", "deaths", "finding", "frame", "hungry", "orders", "work")

    def __init__(self, work: Work, frame: bytes, order: _Order):
        self.work = work
        self.frame = frame
        self.orders = [order]
        self.finding: Finding | None = None
        self.deaths = 0
        self.hungry = False
        """It ran out of memory once."""
        self.charged_s = 0.0

    def account(self, *, patient: bool) -> Account[_Job]:
        """Where it waits: with the request that asked first."""
        return self.orders[0].accounts[patient]


class Workshop:
    """Carries out work. Built once by ``app``; nothing is started before there is work.

    Args:
        settings: budget, processes, bounds.
        metrics: where jobs are counted.
    """

    def __init__(self, settings: WorkSettings, metrics: Metrics):
        self.budget_ms = settings.budget_ms
        self._settings = settings
        self._metrics = metrics
        budget_s = settings.budget_ms / 1000
        self._cpu_s = {False: QUICK_SHARE * budget_s, True: (1.0 - QUICK_SHARE) * budget_s}
        self._turns: dict[bool, Turns[_Job]] = {False: Turns(), True: Turns()}
        self._flights: dict[Work, _Job] = {}
        self._findings = Findings(settings.cache_mb * 2**20)
        self._told: Counter[str] = Counter()
        self._feeding = False
        self._crew: Crew[_Job] = Crew(
            quick_s=self._cpu_s[False],
            patient_s=self._cpu_s[True],
            memory_bytes=settings.memory_mb * 2**20,
            replied=self._replied,
            ended=self._ended,
            ready=self._feed,
            complain=self._complain,
        )
        self.stop = self._crew.stop

    @property
    def stalled(self) -> bool:
        """The processes end whenever they are started: no work can be done."""
        return self._crew.stalled

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return self._crew.pids

    async def warm(self, works: Sequence[Work]) -> None:
        """Start the processes and do these jobs, so that no other waits for what they import."""
        await self._crew.rehearse(works)
        while self._crew.running and self._missing(patient=False):
            self._crew.open(patient=False)

    async def carry_out(
        self, works: Iterable[Work], deadline: float, priority: Priority = Priority.TRAIN
    ) -> dict[Work, Finding]:
        """The finding of every work; equal ones are done once.

        Args:
            works: what to do.
            deadline: ``time.monotonic`` moment; what is not done by then is DEADLINE.
            priority: evaluation has a smaller share while others wait.

        Raises:
            Overloaded: they do not fit the queue.
        """
        distinct = dict.fromkeys(works)
        found = {work: kept for work in distinct if (kept := self._findings.get(work)) is not None}
        missing = [work for work in distinct if work not in found]
        self._metrics.cache("work", len(found), len(missing))
        if missing:
            self._admit(missing)
            order = _Order(priority)
            jobs = [self._entered(work, order) for work in missing]
            self._feed()
            try:
                if order.left:
                    await asyncio.wait({order.done}, timeout=max(0.0, deadline - time.monotonic()))
            finally:
                order.gone = True
            found.update((job.work, job.finding or _LATE) for job in jobs)
        return found

    # --- the queue ----------------------------------------------------------------------------

    @property
    def _depth(self) -> int:
        return sum(len(turns) for turns in self._turns.values())

    def _admit(self, works: Sequence[Work]) -> None:
        new = sum(work not in self._flights for work in works)
        if self._depth + new > self._settings.max_queue:
            raise Overloaded(
                f"{self._depth} computations are waiting and {new} more do not fit the queue of "
                f"{self._settings.max_queue} (work.max_queue); try again later or send less",
                retry_after=1.0,
            )

    def _entered(self, work: Work, order: _Order) -> _Job:
        """Join what is under way, or wait for a lane."""
        job = self._flights.get(work)
        if job is not None:
            job.orders.append(order)
        else:
            job = self._made(work, order)
        order.left += job.finding is None
        return job

    def _made(self, work: Work, order: _Order) -> _Job:
        try:
            job = _Job(work, framed(work), order)
        except (TypeError, ValueError, OverflowError) as error:
            self._complain(work, f"its arguments are no plain data: {error}")
            job = _Job(work, b"", order)
            job.finding = _FAILED
            return job
        self._flights[work] = job
        self._turns[False].add(job.account(patient=False), job)
        return job

    def _missing(self, *, patient: bool) -> int:
        return self._settings.processes - len(self._crew.lanes(patient=patient))

    def _feed(self) -> None:
        """Give waiting jobs to the lanes, and open lanes while there are too few."""
        self._feeding = False
        if not self._depth:
            return
        if not self._crew.running:
            self._crew.start()  # and comes back once it is ready
            return
        for patient, turns in self._turns.items():
            for _ in range(min(len(turns), self._missing(patient=patient))):
                self._crew.open(patient=patient)
            if turns:
                self._share(turns, self._crew.lanes(patient=patient), patient)
        self._metrics.work_depth(self._depth)

    def _share(self, turns: Turns[_Job], lanes: list[Lane[_Job]], patient: bool) -> None:
        """Jobs to lanes, the emptiest first, so that none has many while another has none."""
        ahead = 1 if patient else max(1, min(MOST_AHEAD, int(AHEAD_S / turns.typical_s)))
        while lanes:
            lane = min(lanes, key=_load)
            if _load(lane) >= ahead:
                return
            job = self._next(turns)
            if job is None:
                return
            lane.give(job, job.frame)

    def _next(self, turns: Turns[_Job]) -> _Job | None:
        """The next job that somebody waits for."""
        while True:
            charged_s = turns.typical_s
            taken = turns.take()
            if taken is None:
                return None
            account, job = taken
            if not all(order.gone for order in job.orders):
                job.charged_s = charged_s
                return job
            account.spent -= charged_s * account.weight
            del self._flights[job.work]
            self._metrics.work_done(Reason.DEADLINE)

    def _feed_soon(self) -> None:
        if not self._feeding:
            self._feeding = True
            asyncio.get_running_loop().call_soon(self._feed)

    # --- what comes of it ---------------------------------------------------------------------

    def _replied(self, lane: Lane[_Job], job: _Job, reply: list[Any]) -> None:
        outcome, value, cpu_s = reply
        self._charge(lane, job, cpu_s)
        if outcome == OK:
            self._land(job, Finding(Reason.OK, value))
        elif outcome == OUT_OF_MEMORY:
            self._starved(lane, job)
        else:
            self._complain(job.work, value)
            self._land(job, _FAILED)
        if _load(lane) <= MOST_AHEAD // 4:
            self._feed_soon()

    def _charge(self, lane: Lane[_Job], job: _Job, cpu_s: float) -> None:
        account = job.account(patient=lane.patient)
        self._turns[lane.patient].charge(account, job.charged_s, cpu_s)
        self._metrics.work_seconds(cpu_s)

    def _starved(self, lane: Lane[_Job], job: _Job) -> None:
        """Out of memory: the lane may have grown over time, so a fresh one says whose doing it is.

        Twice, it is the job's.
        """
        lane.retiring = True
        self._metrics.work_kill("memory")
        if job.hungry:
            self._land(job, _TOO_LONG)
        else:
            job.hungry = True
            self._again(job)

    def _ended(self, lane: Lane[_Job], status: int | None) -> None:
        """A lane is gone; the first of its jobs is why, and the others are as they were."""
        begun = lane.pid is not None and lane.outstanding
        culprit = lane.outstanding.popleft() if begun else None
        for job in reversed(lane.outstanding):
            account = job.account(patient=lane.patient)
            self._turns[lane.patient].put_back(account, job, job.charged_s)
        if culprit is not None:
            self._died(lane, culprit, status)
        self._feed_soon()

    def _died(self, lane: Lane[_Job], job: _Job, status: int | None) -> None:
        number = None if status is None else status & 0x7F
        if number == signal.SIGPROF:
            self._charge(lane, job, self._cpu_s[lane.patient])
            self._metrics.work_kill("budget" if lane.patient else "slow")
            if lane.patient:
                self._land(job, _TOO_LONG)
            else:
                self._again(job)
            return
        self._metrics.work_kill("hang" if number == signal.SIGALRM else "death")
        job.deaths += 1
        if job.deaths < TRIES:
            self._again(job)
        else:
            self._complain(job.work, f"it ended its process {TRIES} times (wait status {status})")
            self._land(job, _TOO_LONG)

    def _again(self, job: _Job) -> None:
        self._turns[True].add(job.account(patient=True), job)

    def _land(self, job: _Job, finding: Finding) -> None:
        """Tell those who wait; keep what another try would not change."""
        del self._flights[job.work]
        self._metrics.work_done(finding.reason)
        if finding is not _FAILED:
            self._findings.put(job.work, finding)
        job.finding = finding
        for order in job.orders:
            order.left -= 1
            if not order.left and not order.done.done():
                order.done.set_result(None)

    def _complain(self, work: Work, fault: str) -> None:
        """Log a fault of the code: the first of its kind in full, the others are counted."""
        last = fault.strip().rsplit("\n", 1)[-1]
        kind = f"{work.function}: {last.partition(':')[0]}"
        self._told[kind] += 1
        if self._told[kind] == 1:
            log.error("work failed", function=work.function, fault=fault)


def _load(lane: Lane[_Job]) -> int:
    return len(lane.outstanding)
