"""The processes in which work is carried out: the other end of ``service.workshop``.

``python -m service.workbench FD OPTIONS`` is the bench. It imports what the work needs and forks
one lane after another when told to; being forked, a lane costs milliseconds and shares the bench's
memory. The bench itself never touches what a policy wrote.

A lane takes jobs from its socket and answers them one by one. The kernel ends it where a job takes
more CPU time than its budget (SIGPROF) or hangs (SIGALRM): no C library can hold that off. Imports
inside a job stop both clocks, since they are the code's doing, and the bench is told to import the
same. Lanes end when their socket does, and the bench kills them when the server goes, however it
goes.

Frames are msgpack with their length in four bytes before them.

    to the bench     ["fork", lane, cpu_s, wall_s, nice] with the lane's socket
                     ["rehearse", function, arguments]   ["import", names]
    from the bench   ["forked", lane, pid]  ["ended", lane, wait status]  ["rehearsed", fault]
    to a lane        [function, arguments]
    from a lane      [outcome, value or fault, cpu_s, modules imported]

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
REHEARSAL_S: Final = 60.0
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
            _serve_lane(sock, _Clock(cpu_s, wall_s))
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
        self._cpu_s = cpu_s
        self._wall_s = wall_s
        self._importing = False
        self._import = builtins.__import__
        builtins.__import__ = self._imported

    def start(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, self._cpu_s)
        signal.setitimer(signal.ITIMER_REAL, self._wall_s)

    def stop(self) -> tuple[float, float]:
        """Seconds that are left of CPU time and of wall time."""
        cpu_s = signal.setitimer(signal.ITIMER_PROF, 0.0)[0]
        return cpu_s, signal.setitimer(signal.ITIMER_REAL, 0.0)[0]

    def _imported(self, *arguments: Any, **named: Any) -> Any:
        if self._importing:
            return self._import(*arguments, **named)
        self._importing = True
        left = self.stop()
        try:
            return self._import(*arguments, **named)
        finally:
            self._importing = False
            for clock, seconds in zip((signal.ITIMER_PROF, signal.ITIMER_REAL), left, strict=True):
                signal.setitimer(clock, seconds)


def _serve_lane(sock: socket.socket, clock: _Clock) -> None:
    """Answer jobs until the socket ends."""
    while True:
        head = _exactly(sock, _LENGTH.size)
        body = None if head is None else _exactly(sock, _LENGTH.unpack(head)[0])
        if body is None:
            return
        known = len(sys.modules)
        function, arguments = _DECODER.decode(body)
        outcome, value, cpu_s = _carried_out(function, arguments, clock)
        modules = list(sys.modules)[known:]
        try:
            reply = framed((outcome, value, cpu_s, modules))
        except (TypeError, ValueError, OverflowError) as error:
            fault = f"the work gives what is no plain data: {error}"
            reply = framed((RAISED, fault, cpu_s, modules))
        except MemoryError:
            reply = framed((OUT_OF_MEMORY, None, cpu_s, modules))
        sock.sendall(reply)


def _carried_out(name: str, arguments: list[Any], clock: _Clock) -> tuple[int, Any, float]:
    """Outcome, value or fault, seconds of CPU time."""
    started = time.process_time()
    outcome, value = OK, None
    try:
        function = _function(name)
        given = _tuples(arguments)
        started = time.process_time()
        clock.start()
        try:
            value = function(*given)
        finally:
            clock.stop()
    except MemoryError:
        outcome = OUT_OF_MEMORY
    except Exception:  # noqa: BLE001 - told to the server, which logs it
        outcome, value = RAISED, traceback.format_exc()
    return outcome, value, time.process_time() - started


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
