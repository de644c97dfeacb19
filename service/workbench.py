"""The processes in which work is carried out: the other end of ``service.workshop``.

``python -m service.workbench FD OPTIONS`` is the bench. It imports what the work needs and forks
one lane after another when told to; being forked, a lane costs milliseconds and shares the bench's
memory. The bench itself never touches what a policy wrote.

A lane takes jobs from its socket and answers them one by one. The kernel ends it where a job takes
more CPU time than its budget (SIGPROF) or hangs (SIGALRM): no C library can hold that off. Imports
inside a job stop both clocks, since they are the code's doing, and the bench is told at once to
import the same, so that they happen once. Lanes end when their socket does, and the bench kills
them when the server goes, however it goes.

Frames are msgpack with their length in four bytes before them.

    to the bench     ["fork", lane, cpu_s, wall_s, nice] with the lane's socket
                     ["rehearse", function, arguments]   ["import", names]
    from the bench   ["forked", lane, pid]  ["ended", lane, wait status]  ["rehearsed", fault]
    to a lane        [function, arguments]
    from a lane      [outcome, value or fault, cpu_s]  [IMPORTED, names, 0] in the middle of a job

Limits: POSIX. The bound on memory is Linux's; macOS does not keep it.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import importlib
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

OK: Final = 0
RAISED: Final = 1
OUT_OF_MEMORY: Final = 2
IMPORTED: Final = 3
REHEARSAL_S: Final = 60.0
_TIMES: Final = {signal.ITIMER_PROF: time.process_time, signal.ITIMER_REAL: time.monotonic}
_SIGNALS: Final = {signal.ITIMER_PROF: signal.SIGPROF, signal.ITIMER_REAL: signal.SIGALRM}
_LENGTH: Final = struct.Struct(">I")
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder()


def framed(message: Any) -> bytes:
    """A message with its length before it."""
    data = _ENCODER.encode(message)
    return _LENGTH.pack(len(data)) + data


def unframed(buffer: bytearray) -> Iterator[Any]:
    """The whole messages at the start of a buffer, which they are taken from."""
    while len(buffer) >= _LENGTH.size:
        end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
        if len(buffer) < end:
            return
        message = _DECODER.decode(memoryview(buffer)[_LENGTH.size : end])
        del buffer[:end]
        yield message


def main(arguments: Sequence[str]) -> None:
    """Serve until the server's end of the socket is closed."""
    for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[pool] = "1"
    options = msgspec.json.decode(arguments[1])
    sys.path[:] = options["path"]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(options["nice"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with socket.socket(fileno=int(arguments[0])) as control:
        _Bench(control, options["memory_bytes"]).serve()


class _Bench:
    """Forks lanes, and says when they end.

    Args:
        control: the socket to the server.
        memory_bytes: what a lane may take beyond what it is born with.
    """

    def __init__(self, control: socket.socket, memory_bytes: int):
        self._control = control
        self._memory_bytes = memory_bytes
        self._lanes: dict[int, int] = {}
        self._woken, self._wake = socket.socketpair()

    def serve(self) -> None:
        """Until the server is gone; then nothing that was forked is left."""
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while True:
                ready, _, _ = select.select([self._control, self._woken], [], [])
                if self._woken in ready:
                    self._woken.recv(4096)
                    self._bury()
                if self._control in ready and not self._obey():
                    return
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server was killed
        finally:
            for pid in self._lanes:
                os.kill(pid, signal.SIGKILL)

    def _say(self, *message: Any) -> None:
        self._control.sendall(framed(message))

    def _bury(self) -> None:
        while self._lanes:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            lane = self._lanes.pop(pid, None)
            if lane is not None:  # else a rehearsal started it
                self._say("ended", lane, status)

    def _obey(self) -> bool:
        """Do as the next message says; False where there is none any more."""
        head, handles, _, _ = socket.recv_fds(self._control, _LENGTH.size, 1)
        body = _exactly(self._control, _LENGTH.unpack(head)[0]) if len(head) == 4 else None
        if body is None:
            return False
        what, *told = _DECODER.decode(body)
        if what == "fork":
            self._fork(socket.socket(fileno=handles[0]), *told)
        elif what == "rehearse":
            self._say("rehearsed", _rehearsed(*told))
        else:
            _import_all(told[0])
        return True

    def _fork(self, sock: socket.socket, lane: int, cpu_s: float, wall_s: float, nice: int) -> None:
        gc.freeze()
        pid = os.fork()
        if not pid:
            self._become_lane(sock, cpu_s, wall_s, nice)
        sock.close()
        self._lanes[pid] = lane
        self._say("forked", lane, pid)

    def _become_lane(self, sock: socket.socket, cpu_s: float, wall_s: float, nice: int) -> None:
        """Never returns: nothing of the bench is to run in a lane, whatever a job does."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for own in (self._control, self._woken, self._wake):
                own.close()
            os.nice(nice)
            _silence()
            _bound_memory(self._memory_bytes)
            _Lane(sock, _Clock(cpu_s, wall_s)).serve()
            code = 0
        finally:
            os._exit(code)


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    """So many bytes, or None where the other end was closed."""
    parts = []
    while size:
        part = sock.recv(min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _rehearsed(function: str, arguments: list[Any]) -> str | None:
    """Do a job here, so that every lane is born with what it needs; what went wrong."""
    signal.setitimer(signal.ITIMER_REAL, REHEARSAL_S)
    try:
        _function(function)(*_tuples(arguments))
    except Exception:  # noqa: BLE001 - told to the server, which logs it
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    return None


def _import_all(names: Sequence[str]) -> None:
    for name in names:
        with contextlib.suppress(Exception):  # a lane imports it again and says what is wrong
            importlib.import_module(name)


def _silence() -> None:
    """Libraries in C write of every malformed molecule to standard error."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def _bound_memory(more: int) -> None:
    statm = Path("/proc/self/statm")
    if statm.exists():
        born_with = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (born_with + more, born_with + more))


class _Clock:
    """Ends the process where a job takes too long, and stands still during imports."""

    def __init__(self, cpu_s: float, wall_s: float):
        self._budgets = {signal.ITIMER_PROF: cpu_s, signal.ITIMER_REAL: wall_s}
        self._ends: dict[int, float] = {}
        """When each clock runs out, by itself; empty while none runs."""
        self.imported: Callable[[], None] = lambda: None
        """Called after each import, while the clocks stand."""
        self._import = builtins.__import__
        builtins.__import__ = self._imported

    def start(self) -> None:
        """Begin with the whole budgets."""
        self._ends = {clock: _TIMES[clock]() + left for clock, left in self._budgets.items()}
        self._arm()

    def stop(self) -> None:
        """The job is done."""
        self._ends = {}
        for clock in self._budgets:
            signal.setitimer(clock, 0.0)

    def _arm(self) -> None:
        for clock, end in self._ends.items():
            left = end - _TIMES[clock]()
            if left <= 0.0:  # imports again and again: a timer set anew each time would not end
                os.kill(os.getpid(), _SIGNALS[clock])
            signal.setitimer(clock, left)

    def _imported(self, name: str, *arguments: Any, **named: Any) -> Any:
        ends = self._ends
        if not ends or (name in sys.modules and not arguments[2:]):
            return self._import(name, *arguments, **named)
        began = {clock: _TIMES[clock]() for clock in ends}
        self.stop()  # and so imports inside this one change nothing
        try:
            return self._import(name, *arguments, **named)
        finally:
            self.imported()
            self._ends = {
                clock: end + _TIMES[clock]() - began[clock] for clock, end in ends.items()
            }
            self._arm()


class _Lane:
    """Answers jobs.

    Args:
        sock: where they come from.
        clock: what ends them.
    """

    def __init__(self, sock: socket.socket, clock: _Clock):
        self._sock = sock
        self._clock = clock
        self._known = len(sys.modules)
        clock.imported = self._tell_imports

    def serve(self) -> None:
        """Until the socket ends."""
        while True:
            head = _exactly(self._sock, _LENGTH.size)
            body = None if head is None else _exactly(self._sock, _LENGTH.unpack(head)[0])
            if body is None:
                return
            outcome, value, cpu_s = self._carried_out(*_DECODER.decode(body))
            try:
                reply = framed((outcome, value, cpu_s))
            except (TypeError, ValueError, OverflowError) as error:
                fault = f"the work gives what is no plain data: {error}"
                reply = framed((RAISED, fault, cpu_s))
            except MemoryError:
                reply = framed((OUT_OF_MEMORY, None, cpu_s))
            self._sock.sendall(reply)

    def _carried_out(self, name: str, arguments: list[Any]) -> tuple[int, Any, float]:
        """Outcome, value or fault, seconds of CPU time."""
        started = time.process_time()
        outcome, value = OK, None
        try:
            function = _function(name)
            self._tell_imports()
            given = _tuples(arguments)
            started = time.process_time()
            self._clock.start()
            try:
                value = function(*given)
            finally:
                self._clock.stop()
        except MemoryError:
            outcome = OUT_OF_MEMORY
        except Exception:  # noqa: BLE001 - told to the server, which logs it
            outcome, value = RAISED, traceback.format_exc()
        return outcome, value, time.process_time() - started

    def _tell_imports(self) -> None:
        """Before the job goes on: it may not live to tell."""
        if len(sys.modules) > self._known:
            self._sock.sendall(framed((IMPORTED, list(sys.modules)[self._known :], 0.0)))
            self._known = len(sys.modules)


_functions: Final[dict[str, Callable[..., Any]]] = {}


def _function(name: str) -> Callable[..., Any]:
    found = _functions.get(name)
    if found is None:
        module, _, attribute = name.partition(":")
        found = _functions[name] = getattr(importlib.import_module(module), attribute)
    return found


def _tuples(value: Any) -> Any:
    """Lists as the tuples that they were before they travelled."""
    return tuple([_tuples(entry) for entry in value]) if isinstance(value, list) else value


if __name__ == "__main__":
    main(sys.argv[1:])
