"""Work that behaves in every way that work may, for tests of the workshop; found by its children."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any


def double(number: float) -> float:
    return 2 * number


def echo(*values: Any) -> list[Any]:
    return list(values)


def kinds(*values: Any) -> list[str]:
    return [type(value).__name__ for value in values]


def spin(seconds: float) -> float:
    """Take so much CPU time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return seconds


def forever() -> None:
    while True:
        pass


def forever_in_c() -> None:
    """A loop that no Python signal handler can end."""
    pow(3, 10**9, 10**9 * 10**5000 + 7) if False else sum(range(10**12))


def hang() -> None:
    time.sleep(3600)


def segfault() -> None:
    ctypes.string_at(0)


def dies_once(mark: str) -> str:
    """Kill the process the first time, answer the second."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def counted(mark: str) -> int:
    """How often it was carried out."""
    with Path(mark).open("a") as lines:
        lines.write("x")
    return len(Path(mark).read_text())


def hog(megabytes: int) -> int:
    return len(bytearray(megabytes * 2**20))


def fail(message: str) -> None:
    raise ValueError(message)


def no_plain_data() -> object:
    return object()


def imports_slowly(name: str) -> str:
    """Import a module that takes longer than any budget."""
    import importlib

    del importlib
    return str(__import__(name).DONE)


def process() -> int:
    return os.getpid()
