"""The server's ends of the processes that carry out work: the bench, and the lanes it forks.

Limits: one event loop; what the processes do is in ``service.workbench``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar, cast

import msgspec
import structlog

from service.workbench import IMPORTED, framed, unframed

log = structlog.get_logger(__name__)

Job = TypeVar("Job")
NICE: Final = 5
"""The server itself goes first."""
_STOP_S: Final = 0.3
"""What a bench gets to end by itself; one that rehearses does not listen."""


class Lane(asyncio.Protocol, Generic[Job]):
    """One process that does jobs, one after the other.

    Args:
        number: what the bench calls it.
        patient: whether it has the full budget.
        replied: called with the lane, the job and the reply.
        learn: called with the names of modules that it had to import.
        ended: called with the lane and its wait status (None: not known), once; what it had not
            answered is in ``outstanding``.
    """

    def __init__(
        self,
        number: int,
        patient: bool,
        replied: Callable[[Lane[Job], Job, list[Any]], None],
        learn: Callable[[list[str]], None],
        ended: Callable[[Lane[Job], int | None], None],
    ):
        self.number = number
        self.patient = patient
        self.outstanding: deque[Job] = deque()
        self.pid: int | None = None
        self.retiring = False
        """It gets no more jobs and ends after those it has."""
        self._replied = replied
        self._learn = learn
        self._ended = ended
        self._buffer = bytearray()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._status: int | None = None
        self._known = self._closed = self._told = False

    @property
    def open(self) -> bool:
        """Whether it takes jobs."""
        if self.retiring or self._closed or self._known:
            return False
        return self._transport is None or not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what was given before."""
        self._transport = opened = cast("asyncio.Transport", transport)  # uvloop has its own class
        if self._unsent:
            opened.write(b"".join(self._unsent))
            self._unsent.clear()

    def give(self, job: Job, frame: bytes) -> None:
        """Give it one more job."""
        self.outstanding.append(job)
        if self._transport is None:
            self._unsent.append(frame)
        elif not self._transport.is_closing():  # else it comes back when the lane has ended
            self._transport.write(frame)

    def data_received(self, data: bytes) -> None:
        """Pass on whole replies."""
        self._buffer += data
        for reply in unframed(self._buffer):
            if reply[0] == IMPORTED:
                self._learn(reply[1])
            else:
                self._replied(self, self.outstanding.popleft(), reply)
        if self.retiring and not self.outstanding:
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        """Its end was closed: tell, once it is known how it ended."""
        self._closed = True
        self._tell()

    def note_end(self, status: int | None) -> None:
        """Learn how it ended; None where nobody knows."""
        self._known, self._status = True, status
        self._tell()

    def _tell(self) -> None:
        if self._closed and self._known and not self._told:
            self._told = True
            self._ended(self, self._status)

    def close(self) -> None:
        """Let it end after what it is doing."""
        if self._transport is None:
            self._closed = True
        else:
            self._transport.abort()

    def kill(self) -> None:
        """End it now."""
        if self.pid is not None and not self._known:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Bench:
    """The process that forks lanes.

    Args:
        memory_bytes: what a lane may take beyond what it is born with.
        heard: called with each message.
        ended: called once, if the process goes by itself.
    """

    def __init__(
        self,
        memory_bytes: int,
        heard: Callable[[list[Any]], None],
        ended: Callable[[], None],
    ):
        self._heard = heard
        self._ended = ended
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()
        self._control, theirs = socket.socketpair()
        options = {"path": sys.path, "nice": NICE, "memory_bytes": memory_bytes}
        command = [sys.executable, "-m", "service.workbench", str(theirs.fileno())]
        with theirs:
            # A session of its own: Ctrl-C is the server's to hear.
            self._process = subprocess.Popen(
                [*command, msgspec.json.encode(options).decode()],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._control.setblocking(False)
        self._loop.add_reader(self._control.fileno(), self._read)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def say(self, *message: Any, handles: Sequence[socket.socket] = ()) -> None:
        """Tell it something short. One that cannot listen is ended."""
        frame = framed(message)
        try:
            sent = socket.send_fds(self._control, [frame], [one.fileno() for one in handles])
        except OSError:
            sent = 0
        if sent < len(frame) and self._process.poll() is None:
            log.warning("the bench does not listen", pid=self.pid)
            self._process.kill()

    def _read(self) -> None:
        try:
            data = self._control.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self._close()
            self._ended()
            return
        self._buffer += data
        for message in unframed(self._buffer):
            self._heard(message)

    def _close(self) -> None:
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()

    async def stop(self) -> None:
        """End it and every lane, and wait until it is gone."""
        self._close()
        until = self._loop.time() + _STOP_S
        while self._process.poll() is None:
            if self._loop.time() > until:
                self._process.kill()
            await asyncio.sleep(0.005)
