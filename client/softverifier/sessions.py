"""What both clients are made of: options, one channel for each process, and closing.

A channel is made at the first request and belongs to the process that made it. After a fork the
child forgets it, without closing what the parent still uses, and makes its own; over gRPC, which
hangs in such a child, it says so instead.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from softverifier.errors import UsageError
from softverifier.options import Options
from softverifier.patience import Deadline, Patience

C = TypeVar("C")


class Session(Generic[C]):
    """Options and the channel of this process. Safe for use from many threads."""

    def __init__(self, options: Options, connect: Callable[[Options], C]) -> None:
        self.options = options
        self.closed = False
        self._connect = connect
        self._channel: C | None = None
        self._inherited: list[C] = []
        self._lock = threading.Lock()
        _SESSIONS.add(self)

    def channel(self) -> C:
        """The channel, made if there is none yet.

        Raises:
            UsageError: the client is closed.
        """
        if self.closed:
            raise UsageError("this client is closed; make a new one")
        if _forked_from_grpc and self.options.remote_procedure:
            raise UsageError(
                "gRPC was in use when this process was forked, which it does not survive "
                "(calls hang); fork before the first call, start workers with 'spawn' or "
                "'forkserver', or use an http:// URL"
            )
        channel = self._channel
        if channel is None:
            with self._lock:
                if self._channel is None:
                    self._channel = self._connect(self.options)
                channel = self._channel
        return channel

    def taken(self) -> C | None:
        """Close: the channel, if there is one, for its owner to close."""
        with self._lock:
            self.closed = True
            channel, self._channel = self._channel, None
        return channel

    def patience(self, deadline: Deadline) -> Patience:
        """The tries of one request of a call."""
        options = self.options
        return Patience(options.retries, options.timeout, deadline, options.url)

    def deadline(self, given: float | None) -> Deadline:
        """The deadline of one call: its own, else the client's.

        Raises:
            UsageError: not a number above 0.
        """
        seconds = self.options.deadline if given is None else given
        if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
            raise UsageError(f"deadline is {seconds!r}, expected seconds above 0")
        return Deadline(seconds)

    def profile(self, given: str | None) -> str:
        """The profile of one call: its own, else the client's.

        Raises:
            UsageError: there is none.
        """
        profile = given or self.options.profile
        if not profile:
            raise UsageError(
                "no profile: pass profile= to the client or to this call; profiles() lists them"
            )
        return profile

    def inherited(self) -> bool:
        """Called in a forked child: the parent's channel is not ours to use or to close.

        Returns:
            Whether there was one.
        """
        used = self._channel is not None
        if self._channel is not None:
            self._inherited.append(self._channel)
            self._channel = None
        self._lock = threading.Lock()
        return used


_SESSIONS: weakref.WeakSet[Session[Any]] = weakref.WeakSet()


_forked_from_grpc = False
"""In this process any use of gRPC may hang."""


def _after_fork() -> None:
    global _forked_from_grpc
    for session in list(_SESSIONS):
        used = session.inherited()
        _forked_from_grpc |= used and session.options.remote_procedure


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
    os.register_at_fork(after_in_child=_after_fork)


def checked_columns(
    subjects: Iterable[str], objects: Iterable[str], context: str | Iterable[str]
) -> tuple[list[str], list[str], str | Sequence[str]]:
    """Columns of one length.

    Raises:
        UsageError: they differ in length, or one is a single text.
    """
    for name, column in (("subjects", subjects), ("objects", objects)):
        if isinstance(column, str | bytes | Mapping):
            raise UsageError(f"{name} is one {type(column).__name__}; pass a list of names")
    left, right = list(subjects), list(objects)
    contexts = context if isinstance(context, str) else list(context)
    if len(left) != len(right) or (not isinstance(contexts, str) and len(contexts) != len(left)):
        lengths = f"{len(left)} subjects, {len(right)} objects"
        extra = "" if isinstance(contexts, str) else f", {len(contexts)} contexts"
        raise UsageError(f"columns differ in length: {lengths}{extra}")
    for column in (left, right, [] if isinstance(contexts, str) else contexts):
        wrong = next((name for name in column if not isinstance(name, str)), None)
        if wrong is not None:
            raise UsageError(f"a name is {type(wrong).__name__}, expected a string")
    return left, right, contexts
