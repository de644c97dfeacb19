"""Work that behaves in every way that work may, for the tests of the workshop."""

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


def forever_in_c() -> int:
    """A loop that no signal handler of Python's can end."""
    return sum(range(10**12))


def imports_forever() -> None:
    """Stop the clock again and again."""
    while True:
        from json import decoder  # noqa: F401


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


def who_imported() -> tuple[int, int]:
    """The process that imported a module which takes longer than the budget, and this one."""
    import slow_to_import

    return slow_to_import.IMPORTED_IN, os.getpid()


def naps(mark: str, seconds: float) -> int:
    """Leave the process's number, wait without computing, and count the tries."""
    with Path(mark).open("a") as lines:
        print(os.getpid(), file=lines)
    time.sleep(seconds)
    return len(Path(mark).read_text().split())


def process() -> int:
    return os.getpid()
