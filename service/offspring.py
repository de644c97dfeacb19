"""A forked child of the server: how it begins, how it ends, and the talk with it.

The parent is forked, not started anew: a child has everything imported and begins within
milliseconds, and all share those pages. That is sound because the parent has no threads of its own,
loads no model and opens no channel. A child is a session of its own (Ctrl-C is the parent's to
hear), and ends when the parent does: the kernel sends it SIGTERM (Linux), and its end of the socket
pair is closed. Limits: POSIX; tried on Linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from typing import Final

from service.control import FromChild, FromParent, Held, Process, Reader, framed
from service.errors import ServiceError
from service.rewards.errors import ProfileFault
from worldmodels.core import ModelFault

STEADY_S: Final = 30.0
"""A child that lived so long has its earlier deaths forgiven."""
LONGEST_PAUSE_S: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1


class Offspring:
    """One place among the children, and those that take it one after the other.

    Args:
        role: how it is called in logs and at /readyz.
        number: among those of its kind.
        run: what a child does, given its end of the socket pair; its exit code.
    """

    def __init__(self, role: str, number: int, run: Callable[[socket.socket], int]):
        self.role = role
        self.number = number
        self.held: dict[str, Held] = {}
        self.warm = False
        """Its models are loaded; it takes part in replacing them."""
        self.ready = False
        self.finished = False
        """It is not needed, and not started again."""
        self.deaths = 0
        """In a row."""
        self.silent_s: float | None = None
        """Seconds for which it has said nothing, once it has begun to speak."""
        self.pid: int | None = None
        self.control: socket.socket | None = None
        self._run = run
        self._start_at = self._started = 0.0
        self._reader: Reader[FromChild] = Reader(FromChild)
        self._unsent = bytearray()

    @property
    def due(self) -> bool:
        """There is none, one is needed, and its pause is over."""
        return self.pid is None and not self.finished and time.monotonic() >= self._start_at

    @property
    def process(self) -> Process:
        """How it is."""
        state = "ready" if self.ready else "starting" if self.pid is not None else "down"
        return Process(self.role, self.pid, state, self.deaths)

    def start(self, others: Iterable[Offspring]) -> None:
        """Fork a child."""
        self.control, theirs = socket.socketpair()
        self._reader, self._started = Reader(FromChild), time.monotonic()
        self._unsent.clear()
        self.silent_s = None
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        with warnings.catch_warnings():
            # The linear algebra library's idle threads are counted; it forks well.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid:
            theirs.close()
            self.control.setblocking(False)
            return
        for one in (self, *others):  # else we would keep our siblings' parent alive for them
            if one.control is not None:
                one.control.close()
        _begun(parent)
        os._exit(ended(lambda: self._run(theirs)))

    def reap(self) -> int | None:
        """The exit code if it died (less than 0: by that signal), after which it is due again."""
        if self.pid is None:
            return None
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, 0
        if pid == 0:
            return None
        self.pid, self.silent_s = None, None
        self.warm = self.ready = False
        if self.control is not None:
            self.control.close()
            self.control = None
        now = time.monotonic()
        self.deaths = 1 if now - self._started > STEADY_S else self.deaths + 1
        pause = 0.0 if self.deaths == 1 else min(2.0 ** (self.deaths - 2), LONGEST_PAUSE_S)
        self._start_at = now + pause
        return os.waitstatus_to_exitcode(status)

    def signal(self, number: int) -> None:
        """Send a signal, if it lives."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def say(self, message: FromParent) -> None:
        """Tell it something; what does not fit into the socket now follows with ``flush``."""
        if self.control is not None:
            self._unsent += framed(message)
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        while self._unsent and self.control is not None:
            try:
                sent = self.control.send(self._unsent)
            except BlockingIOError:
                return
            except OSError:  # it is gone, which ``reap`` will tell
                self._unsent.clear()
                return
            del self._unsent[:sent]

    def hear(self) -> list[FromChild]:
        """What it says."""
        heard: list[FromChild] = []
        while self.control is not None:
            try:
                data = self.control.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.control.close()
                self.control = None
                break
            heard += self._reader.feed(data)
            self.silent_s = 0.0
        return heard


def _begun(parent: int) -> None:
    """Make a process of its own of a fresh fork."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we asked to be told
        os._exit(0)


def ended(run: Callable[[], int]) -> int:
    """Run to the end; the exit code, what the user can mend told in one line."""
    try:
        return run()
    except (ServiceError, ModelFault, ProfileFault) as fault:
        print(f"soft-verifier: {fault}", file=sys.stderr)
        return 2
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - this is where a process ends; nothing is above
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def alone(run: Callable[[], int]) -> int:
    """Run in a fork and wait for it; its exit code (1 if a signal ended it).

    For what would import or start in the parent what its children must not inherit.
    """
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _begun(parent)
        os._exit(ended(run))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 1
