"""Numbers of one process that its siblings can read, and that outlive it.

Each child of a series gets a piece of a memory-mapped file, and an index beside it says which piece
is whose. What was counted is there for the siblings in the same instant, and nothing of it is lost
where the process is killed. Pages are reserved when a file is made: a full disk is an error then,
not a fault at the first write. Limits: one machine; a reader may see a histogram's bucket a moment
before its sum; files of dead processes stay until the folder goes.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
from collections.abc import Iterator, MutableSequence
from pathlib import Path
from typing import Final, NamedTuple, cast

import msgspec

SEGMENT: Final = 1 << 15
"""Numbers of one file: 256 KiB."""


class Entry(msgspec.Struct, array_like=True):
    """Where the numbers of one child are."""

    series: str
    labels: list[str]
    segment: int
    start: int
    width: int


class Kept(NamedTuple):
    """One child of a series of a sibling."""

    series: str
    labels: tuple[str, ...]
    numbers: list[float]
    alive: bool
    """Whether the process is."""


class Shelf:
    """The pieces of this process.

    Args:
        folder: that the siblings share.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._stem = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._segments: list[memoryview[float]] = []
        self._used = SEGMENT
        self._index = os.open(folder / f"{self._stem}.index", os.O_WRONLY | os.O_CREAT, 0o600)
        self._read: dict[Path, list[Entry]] = {}

    def allot(self, series: str, labels: tuple[str, ...], width: int) -> MutableSequence[float]:
        """``width`` zeros for one child.

        Raises:
            OSError: the disk is full.
        """
        if self._used + width > SEGMENT:
            self._segments.append(_reserved(self._numbers(self._stem, len(self._segments))))
            self._used = 0
        start, self._used = self._used, self._used + width
        entry = Entry(series, list(labels), len(self._segments) - 1, start, width)
        os.write(self._index, msgspec.json.encode(entry) + b"\n")
        # A view of numbers does what a list of fixed length does, though its class does not say so.
        return cast("MutableSequence[float]", self._segments[-1][start : start + width])

    def siblings(self) -> Iterator[Kept]:
        """What all other processes have kept, the dead too."""
        for index in sorted(self._folder.glob("*.index")):
            if index.stem == self._stem:
                continue
            alive = _alive(int(index.stem.partition("-")[0]))
            segments: dict[int, memoryview[float]] = {}
            for entry in self._entries(index):
                if entry.segment not in segments:
                    path = self._numbers(index.stem, entry.segment)
                    segments[entry.segment] = memoryview(path.read_bytes()).cast("d")
                numbers = segments[entry.segment][entry.start : entry.start + entry.width]
                yield Kept(entry.series, tuple(entry.labels), [*numbers], alive)

    def _entries(self, index: Path) -> list[Entry]:
        """An index only grows: what was read of it is kept, and a torn last line left for later."""
        known = self._read.setdefault(index, [])
        lines = index.read_bytes().split(b"\n")[:-1]
        known += (msgspec.json.decode(line, type=Entry) for line in lines[len(known) :])
        return known

    def _numbers(self, stem: str, segment: int) -> Path:
        return self._folder / f"{stem}.{segment}.numbers"


def _reserved(path: Path) -> memoryview[float]:
    """A file of zeros in memory."""
    size = SEGMENT * 8
    with path.open("w+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.write(bytes(size))
            file.flush()
        return memoryview(mmap.mmap(file.fileno(), size)).cast("d")


def _alive(pid: int) -> bool:
    with contextlib.suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
