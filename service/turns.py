"""Whose job is next: jobs of several requests, taken so that each request gets its share of time.

The request that has used least is served first, by the CPU time that its jobs took, not by their
number: a request with one slow job waits for its turn, and its neighbour's hundred quick ones pass.
A request that comes anew starts where those that are being served stand, neither owed for the past
nor ahead of it.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Final, Generic, TypeVar

Job = TypeVar("Job")
_GUESS_S: Final = 0.001
"""What a job is taken to cost until one was seen."""
_MEMORY: Final = 0.05


class Account(Generic[Job]):
    """One request's jobs that wait, and the seconds that it has used.

    Args:
        weight: what a second is counted as; with 8 its jobs get an eighth of another's share.
    """

    __slots__ = ("jobs", "listed", "spent", "weight")

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight
        self.jobs: deque[Job] = deque()
        self.spent = 0.0
        self.listed = False


class Turns(Generic[Job]):
    """The jobs that wait, by request."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Account[Job]]] = []
        self._pushed = 0
        self._now = 0.0
        self._waiting = 0
        self.typical_s = _GUESS_S
        """Seconds that a job took lately."""

    def __len__(self) -> int:
        return self._waiting

    def add(self, account: Account[Job], job: Job) -> None:
        """Let a job wait behind those of its request."""
        account.jobs.append(job)
        self._wait(account)

    def put_back(self, account: Account[Job], job: Job, charged_s: float) -> None:
        """A job that was taken and not begun: first of its request, its charge returned."""
        account.jobs.appendleft(job)
        account.spent -= charged_s * account.weight
        self._wait(account)

    def take(self) -> tuple[Account[Job], Job] | None:
        """The next job; its request is charged ``typical_s`` until ``charge`` corrects that."""
        while self._heap:
            spent, _, account = heapq.heappop(self._heap)
            account.listed = False
            if account.spent > spent:  # its last job took longer than was thought
                self._list(account)
                continue
            self._now = max(self._now, spent)
            self._waiting -= 1
            job = account.jobs.popleft()
            account.spent += self.typical_s * account.weight
            if account.jobs:
                self._list(account)
            return account, job
        return None

    def charge(self, account: Account[Job], charged_s: float, took_s: float) -> None:
        """Correct what ``take`` charged by what the job took."""
        account.spent += (took_s - charged_s) * account.weight
        self.typical_s += _MEMORY * (took_s - self.typical_s)

    def _wait(self, account: Account[Job]) -> None:
        self._waiting += 1
        if not account.listed:
            account.spent = max(account.spent, self._now)
            self._list(account)

    def _list(self, account: Account[Job]) -> None:
        self._pushed += 1
        account.listed = True
        heapq.heappush(self._heap, (account.spent, self._pushed, account))
