"""What a server's parent process and its children say to each other, over a socket pair.

A child tells that it is ready, what it serves, what came of loading a model, that somebody asks
for one to be loaded, and every second that its loop turns; the parent tells what to load, when to
switch, and how its siblings are. The end of the socket is the end of the other process. Limits:
processes of one version on one machine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec

from worldmodels.core import ModelSpec, Queries

_LENGTH: Final = struct.Struct("<I")
T = TypeVar("T")
BEAT_S: Final = 1.0


class Held(msgspec.Struct):
    """A model that a host answers for, with all that a worker must know to ask it."""

    entry: int
    """Which of the entries under [[models]]."""
    spec: ModelSpec
    examples: Queries
    address: str
    """``unix:PATH``."""
    cost_s: float
    """Seconds per query in batches of 256, as the host measured it."""


class Warm(msgspec.Struct, tag=True):
    """Worker: all models are warm; nobody is served before ``Welcome`` comes."""

    models: dict[str, str]
    """Digest by name, of those that it answers for itself or through a host."""


class Ready(msgspec.Struct, tag=True):
    """Child: questions are answered."""

    models: dict[str, str]
    """As of ``Warm``."""
    held: list[Held] = []
    """Of a host: what the workers are to ask it for."""


class Wanted(msgspec.Struct, tag=True):
    """Child: somebody asks for a model to be loaded anew; ``Told`` answers."""

    ask: int
    name: str


class Prepared(msgspec.Struct, tag=True):
    """Child: the new model is warm beside the old one."""

    roll: int
    digest: str
    changed: bool
    """False: it is what is served already, card and all; nothing was kept."""
    held: Held | None = None


class Refused(msgspec.Struct, tag=True):
    """Child: the new model cannot be served; the old one is."""

    roll: int
    why: str


class Done(msgspec.Struct, tag=True):
    """Child: ``Commit`` was carried out."""

    roll: int


class Beat(msgspec.Struct, tag=True):
    """Child: its event loop turns; said every ``BEAT_S`` seconds."""


class Welcome(msgspec.Struct, tag=True):
    """Parent: the answer to ``Warm``, once the versions are those of all: serve."""


class Prepare(msgspec.Struct, tag=True):
    """Parent: load a model anew beside the one that is served."""

    roll: int
    name: str
    held: Held | None = None
    """Where a host has it: do not load it, ask there."""


class Commit(msgspec.Struct, tag=True):
    """Parent: switch to what was prepared."""

    roll: int


class Abort(msgspec.Struct, tag=True):
    """Parent: forget what was prepared."""

    roll: int


class Outcome(msgspec.Struct, kw_only=True):
    """What came of a reload."""

    name: str
    before: str | None
    """Digest."""
    now: str | None
    changed: bool
    error: str | None = None
    """Why it failed; the old model is served on."""


class Told(msgspec.Struct, tag=True):
    """Parent: the answer to ``Wanted``."""

    ask: int
    outcome: Outcome


class Process(msgspec.Struct):
    """One process of the server."""

    role: str
    """``worker 0``, ``model host cpu``."""
    pid: int | None
    state: str
    """``starting``, ``ready``, or ``down`` while it waits to be started again."""
    deaths: int = 0
    """In a row."""


class Standing(msgspec.Struct, tag=True):
    """Parent: how all processes are."""

    processes: list[Process]


FromChild = Warm | Ready | Wanted | Prepared | Refused | Done | Beat
FromParent = Welcome | Prepare | Commit | Abort | Told | Standing


def framed(message: FromChild | FromParent) -> bytes:
    """A message with its length before it."""
    data = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(data)) + data


class Reader(Generic[T]):
    """Puts messages together from what arrives.

    Args:
        kind: union of the messages that may come.
    """

    def __init__(self, kind: Any):
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[T]:
        """The messages that are whole now."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            message = self._decoder.decode(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
            yield message
