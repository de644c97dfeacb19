"""Several server processes on the same ports, and one parent that keeps them alive.

The parent holds the ports and serves nothing itself. It forks model hosts for what is dear
(``placement``), then workers, which share one listening HTTP socket (``doorway``) and bind the gRPC
port each for itself. It replaces a child that dies at once, and after longer and longer pauses one
that keeps dying; if that happens before the server was ever ready the server ends, since restarting
a fault for ever hides it. One that hangs (``pulse``) is killed first. SIGTERM drains the workers,
then the hosts; SIGHUP has every model loaded anew (``rollout``). What a child counted stays counted
when it dies.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import structlog

from service.addresses import Addresses
from service.control import Done, FromChild, Held, Prepared, Ready, Refused, Standing, Wanted, Warm
from service.doorway import Seats
from service.errors import StartupFault
from service.offspring import Offspring
from service.place import Place
from service.placement import HostPlan
from service.pulse import Pulse
from service.rollout import Rollout
from service.shelf import Shelf
from service.supervisor_metrics import SupervisorMetrics

log = structlog.get_logger(__name__)

POLL_S: Final = 0.05
DEATHS: Final = 3
"""Deaths in a row of one child after which a server that was never ready gives up."""


class Supervisor:
    """The parent.

    Args:
        workers: how many.
        hosts: the model hosts to start before them.
        http: the bound socket that all workers serve.
        grpc_port: the port that each of them binds.
        grace_s: seconds that they get to drain.
        hang_s: seconds without a sign of life after which one of them is replaced; 0: never.
        work: what a worker does; its exit code.
        host: what a model host does.
        banner: called once, when all are ready.
    """

    def __init__(
        self,
        *,
        workers: int,
        hosts: Sequence[HostPlan],
        http: socket.socket,
        grpc_port: int,
        grace_s: float,
        hang_s: float,
        work: Callable[[Place], int],
        host: Callable[[Place, HostPlan], int],
        banner: Callable[[], None],
    ):
        self._http = http
        self._grpc_port = grpc_port
        self._grace_s = grace_s
        self._banner = banner
        self._pulse = Pulse(hang_s)
        self._metrics = SupervisorMetrics()
        self._seats = Seats(workers)
        self._addresses = Addresses(workers)
        self._shown = False
        self._signals: list[int] = []
        self._work, self._host = work, host
        self._hosts = [
            Offspring(f"model host {plan.device}", number, self._hosting(number, plan))
            for number, plan in enumerate(hosts)
        ]
        self._workers = [
            Offspring(f"worker {number}", number, self._working(number))
            for number in range(workers)
        ]
        self._rollout = Rollout(
            lambda: [host for host in self._hosts if host.ready],
            lambda: [worker for worker in self._workers if worker.warm],
        )
        self._folder = Path()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; the exit code.

        Raises:
            StartupFault: the children die as they start.
        """
        attended = sys.stdin is not None and sys.stdin.isatty()
        with tempfile.TemporaryDirectory(prefix="soft-verifier-") as folder, self._heeding():
            self._folder = Path(folder)
            self._metrics.share(Shelf(self._folder))
            gc.collect()
            gc.freeze()  # children share these pages, which collecting would copy
            while not self._ending(attended):
                self._tend()
                self._listen()
                self._replace_hung()
                self._rollout.turn()
            return self._end()

    @contextlib.contextmanager
    def _heeding(self) -> Iterator[None]:
        """Take signals as they come, and wake up for them."""

        def note(number: int, _: FrameType | None) -> None:
            self._signals.append(number)

        heeded = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = [signal.signal(number, note) for number in heeded]
        try:
            yield
        finally:
            for number, handler in zip(heeded, before, strict=True):
                signal.signal(number, handler)

    def _ending(self, attended: bool) -> bool:
        """Whether a signal says so; SIGHUP does where it means that the terminal is gone."""
        while self._signals:
            number = self._signals.pop(0)
            if number != signal.SIGHUP or (attended and not os.isatty(0)):
                return True
            for name in self._rollout.serving:
                self._rollout.want(name)
        return False

    @property
    def _all(self) -> list[Offspring]:
        return [*self._hosts, *self._workers]

    def _tend(self) -> None:
        """Replace who died, start who is due: workers once the hosts have been ready."""
        for child in self._all:
            code = child.reap()
            if code is not None:
                self._died(child, code)
        settled = all(host.finished or host.ready or host.held for host in self._hosts)
        for child in self._all:
            if child.due and (settled or child in self._hosts):
                child.start(self._all)
                self._told()

    def _replace_hung(self) -> None:
        """Kill who does not answer any more: its death is then seen like any other."""
        for child in self._pulse.hung(self._all):
            log.error("a process hangs and is killed", role=child.role, pid=child.pid)
            self._metrics.process_hung(child.role)
            child.signal(signal.SIGKILL)

    def _died(self, child: Offspring, code: int) -> None:
        if child.finished:
            return
        if child in self._workers:
            self._seats.leave(child.number)
            self._addresses.forget(child.number)
        self._rollout.lost(child)
        if not self._shown and (code == 2 or child.deaths >= DEATHS):
            self._end()
            raise StartupFault(f"{child.role} dies as it starts (exit code {code}); see above")
        log.warning("a process died", role=child.role, code=code, deaths=child.deaths)
        self._told()

    def _listen(self) -> None:
        """Hear what children say, for a moment."""
        with selectors.DefaultSelector() as selector:
            for child in self._all:
                child.flush()
                if child.control is not None:
                    selector.register(child.control, selectors.EVENT_READ, child)
            if not selector.get_map():
                time.sleep(POLL_S)
                return
            for key, _ in selector.select(POLL_S):
                child = key.data
                for message in child.hear():
                    self._heard(child, message)

    def _heard(self, child: Offspring, message: FromChild) -> None:
        if isinstance(message, Warm):
            child.warm = True
            self._rollout.arrived(child, message.models)
        elif isinstance(message, Ready):
            self._is_ready(child, message)
        elif isinstance(message, Wanted):
            self._rollout.want(message.name, (child, message.ask))
        elif isinstance(message, Prepared | Refused | Done):
            self._rollout.heard(child, message)

    def _is_ready(self, child: Offspring, message: Ready) -> None:
        if child in self._hosts:
            child.held = {one.spec.name: one for one in message.held}
            child.finished = not child.held
        child.ready = not child.finished
        log.info("a process is ready", role=child.role, pid=child.pid, needed=child.ready)
        self._told()
        if not self._shown and all(one.ready for one in self._workers):
            self._shown = True
            self._banner()
        if child in self._hosts:
            self._rollout.joined(message.models)

    def _told(self) -> None:
        """Let the workers know how everybody is."""
        standing = Standing([one.process for one in self._all if not one.finished])
        for worker in self._workers:
            worker.say(standing)

    def _held(self) -> tuple[Held, ...]:
        return tuple(one for host in self._hosts for one in host.held.values())

    def _place(self, number: int, role: str, control: socket.socket) -> Place:
        return Place(
            number=number,
            role=role,
            control=control,
            folder=self._folder,
            http=self._http,
            seats=self._seats,
            addresses=self._addresses,
            grpc_port=self._grpc_port,
            held=self._held(),
        )

    def _working(self, number: int) -> Callable[[socket.socket], int]:
        return lambda control: self._work(self._place(number, f"worker {number}", control))

    def _hosting(self, number: int, plan: HostPlan) -> Callable[[socket.socket], int]:
        role = f"model host {plan.device}"
        return lambda control: self._host(self._place(number, role, control), plan)

    def _end(self) -> int:
        """Have the workers drain, then the hosts; kill who has not after the grace period."""
        self._http.close()  # theirs are still open; the last to close has the port refuse
        code = self._ended(self._workers)
        return max(code, self._ended(self._hosts))

    def _ended(self, children: Sequence[Offspring]) -> int:
        for child in children:
            child.signal(signal.SIGTERM)
        until = time.monotonic() + self._grace_s + 2.0
        code = 0
        while left := [child for child in children if child.pid is not None]:
            for child in left:
                ended = child.reap()
                if ended is not None:
                    # Killed by SIGTERM itself: it was still loading and had nothing in flight.
                    code = max(code, 0 if ended == -signal.SIGTERM else abs(ended))
            if time.monotonic() > until:
                for child in left:
                    child.signal(signal.SIGKILL)
                code, until = 1, float("inf")
            time.sleep(0.01)
        return code
