"""The parent's part of replacing a model: all processes prepare before any switches.

First the model host that has it, if one does, loads the new version beside the old one; then every
worker does, or asks the host's; if one of them cannot, all forget it and serve the old one on. Then
the workers switch, each between two turns of its loop, and the host last. One model at a time.

A worker that starts loads what the folder holds, and is let in when its versions are those that the
others serve. Where they are not, since the folder was changed or a model was replaced meanwhile,
the model is loaded anew by all of them first. If that fails, the others serve theirs on and the
newcomer waits, until a later replacement succeeds or it is alone: two versions are not served.

Limits: for the moments between the first worker's switch and the last one's, two clients may see
two versions, each with its digest; a model host that was started again answers for what its folder
holds, so that what pins the version before is an error until the workers have switched.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from service.control import (
    Abort,
    Commit,
    Done,
    FromParent,
    Held,
    Outcome,
    Prepare,
    Prepared,
    Refused,
    Told,
    Welcome,
)

log = structlog.get_logger(__name__)

PREPARE_S: Final = 600.0
"""Longest wait for a process to load a model; beyond, the old one is served on."""


class Member(Protocol):
    """A process whose models are loaded."""

    role: str
    held: dict[str, Held]
    """Of a model host: what it has."""

    def say(self, message: FromParent) -> None:
        """Tell it something."""
        ...


Ask = tuple[Member, int]


class Rollout:
    """What is loaded, and what waits to be.

    Args:
        hosts: the model hosts that are ready.
        workers: the workers that are warm.
    """

    def __init__(
        self,
        hosts: Callable[[], Sequence[Member]],
        workers: Callable[[], Sequence[Member]],
    ):
        self._hosts = hosts
        self._workers = workers
        self.serving: dict[str, str] = {}
        """Digest of each model as all processes serve it."""
        self._queue: deque[tuple[str, Ask | None]] = deque()
        self._roll = 0
        self._name: str | None = None
        self._phase = ""
        self._asks: list[Ask] = []
        self._waiting: list[Member] = []
        self._told: list[Prepared] = []
        self._held: Held | None = None
        self._until = 0.0
        self._crew: list[Member] = []
        """The workers that were told to prepare."""
        self._guests: dict[Member, dict[str, str]] = {}
        """Workers that wait to be let in, and what they have."""
        self._tried: set[Member] = set()
        """Those of them for whom models are, or were, loaded anew."""

    def want(self, name: str, ask: Ask | None = None) -> None:
        """Have a model loaded anew, after those that wait."""
        self._queue.append((name, ask))
        self.turn()

    def joined(self, models: dict[str, str]) -> None:
        """A model host is ready: what it has is what all are to ask it for."""
        for name, digest in models.items():
            agreed = self.serving.setdefault(name, digest)
            if digest != agreed and all(name != waiting for waiting, _ in self._queue):
                log.warning("processes differ", model=name, serving=agreed, found=digest)
                self._queue.append((name, None))
        self.turn()

    def arrived(self, worker: Member, models: dict[str, str]) -> None:
        """A worker is warm, and is let in once it has what all serve.

        While others load another version it takes part; while they switch it waits.
        """
        self._guests[worker] = dict(models)
        if self._phase == "workers" and self._name is not None:
            self._crew.append(worker)
            self._waiting.append(worker)
            self._until = time.monotonic() + PREPARE_S
            worker.say(Prepare(self._roll, self._name, self._held))
        self.turn()

    def turn(self) -> None:
        """Begin what waits, let in who may be, give up what takes too long."""
        if self._name is not None and time.monotonic() > self._until:
            late = ", ".join(member.role for member in self._waiting)
            self._fail(f"{late} did not load it within {PREPARE_S:.0f} s")
        while "switch" not in self._phase:
            self._let_in()
            if self._name is not None or not self._queue:
                return
            self._start()

    def _let_in(self) -> None:
        for guest, models in list(self._guests.items()):
            if all(worker in self._guests for worker in self._workers()):
                self.serving.update(models)  # nobody serves anything else
            apart = [
                n for n, digest in models.items() if self.serving.setdefault(n, digest) != digest
            ]
            if not apart:
                del self._guests[guest]
                self._tried.discard(guest)
                guest.say(Welcome())
            elif self._name is None and guest not in self._tried:
                log.warning("processes differ", role=guest.role, models=apart)
                self._tried.add(guest)
                self._queue.extend((name, None) for name in apart)

    def heard(self, member: Member, message: Prepared | Refused | Done) -> None:
        """What a process says of the model that is loaded."""
        if message.roll != self._roll or member not in self._waiting:
            return
        self._waiting.remove(member)
        if isinstance(message, Refused):
            self._fail(f"{member.role}: {message.why}")
            return
        if isinstance(message, Prepared):
            self._told.append(message)
            self._held = message.held or self._held
        self._go_on()

    def lost(self, member: Member) -> None:
        """A process died."""
        self._asks = [ask for ask in self._asks if ask[0] is not member]
        self._crew = [one for one in self._crew if one is not member]
        self._guests.pop(member, None)
        self._tried.discard(member)
        if member in self._waiting:
            self._waiting.remove(member)
            if self._phase in ("host", "workers"):
                self._fail(f"{member.role} died while it loaded it")
            else:
                self._go_on()

    def _start(self) -> None:
        name, ask = self._queue.popleft()
        self._asks = [ask] if ask is not None else []
        self._asks += [other for waiting, other in self._queue if waiting == name and other]
        self._queue = deque(one for one in self._queue if one[0] != name)
        self._name, self._roll = name, self._roll + 1
        self._told, self._held = [], None
        self._until = time.monotonic() + PREPARE_S
        hosts = [host for host in self._hosts() if name in host.held]
        self._enter("host", hosts, Prepare(self._roll, name))

    def _enter(self, phase: str, members: Sequence[Member], message: FromParent) -> None:
        self._phase, self._waiting = phase, list(members)
        for member in members:
            member.say(message)
        self._go_on()

    def _go_on(self) -> None:
        """To the next phase, once all have answered."""
        if self._waiting or self._name is None:
            return
        name, hosts = self._name, [host for host in self._hosts() if self._name in host.held]
        if self._phase == "host":
            workers = self._workers()
            if not workers:
                self._fail("no worker is ready")
                return
            self._crew = list(workers)
            self._enter("workers", workers, Prepare(self._roll, name, self._held))
        elif self._phase == "workers" and len({told.digest for told in self._told}) > 1:
            self._fail("processes found different versions; is its folder being written?")
        elif self._phase == "workers":
            self._enter("switch", self._crew, Commit(self._roll))
        elif self._phase == "switch":
            for host in hosts:
                if self._held is not None:
                    host.held[name] = self._held
            self._enter("host switch", hosts, Commit(self._roll))
        else:
            self._succeed(name)

    def _succeed(self, name: str) -> None:
        now = self._told[-1].digest
        before = self.serving.get(name)
        changed = any(told.changed for told in self._told)
        self.serving[name] = now
        for guest, models in self._guests.items():
            if guest in self._crew:
                models[name] = now
        self._tried.clear()  # who came as they switched is brought in line next
        log.info("a model was loaded anew", model=name, was=before, now=now, changed=changed)
        self._finish(Outcome(name=name, before=before, now=now, changed=changed))

    def _fail(self, why: str) -> None:
        assert self._name is not None
        for member in (*self._hosts(), *self._workers()):
            member.say(Abort(self._roll))
        name, now = self._name, self.serving.get(self._name)
        log.error("a model is not replaced", model=name, why=why)
        for guest in self._tried:
            log.error("a process has another version than is served, and waits", role=guest.role)
        self._finish(Outcome(name=name, before=now, now=now, changed=False, error=why))

    def _finish(self, outcome: Outcome) -> None:
        asks, self._asks = self._asks, []
        self._name, self._phase, self._waiting = None, "", []
        self._roll += 1  # who answers late answers nobody
        for member, ask in asks:
            member.say(Told(ask, outcome))
        self.turn()
