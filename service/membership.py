"""A child's end of the talk with its parent: loads what it is told to, and knows its siblings."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import structlog

from service.control import (
    BEAT_S,
    Abort,
    Beat,
    Commit,
    Done,
    FromChild,
    FromParent,
    Held,
    Outcome,
    Prepare,
    Prepared,
    Process,
    Reader,
    Refused,
    Standing,
    Told,
    Wanted,
    Warm,
    Welcome,
    framed,
)
from service.errors import ServiceError
from service.place import Place
from service.rolling import Beside, Rolling
from worldmodels.core import ModelFault

log = structlog.get_logger(__name__)


class Membership(asyncio.Protocol):
    """Carries out what the parent says; the roller of a worker.

    Args:
        place: what the parent gave.
        rolling: the models of this process.
        orphaned: called when the parent is gone.
        held: what siblings must know of a new version, if this process is a model host.
    """

    def __init__(
        self,
        place: Place,
        rolling: Rolling,
        orphaned: Callable[[], None],
        held: Callable[[Beside], Held] | None = None,
    ):
        self._place = place
        self._rolling = rolling
        self._orphaned = orphaned
        self._held = held
        self._reader: Reader[FromParent] = Reader(FromParent)
        self._transport: asyncio.Transport | None = None
        self._standing: Sequence[Process] = ()
        self.informed = asyncio.Event()
        """The parent has told how all are."""
        self.welcome = asyncio.Event()
        """A worker may serve; or the parent is gone, and nobody says so any more."""
        self._names: dict[int, str] = {}
        self._asks = itertools.count()
        self._asked: dict[int, asyncio.Future[Outcome]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self) -> None:
        """Begin to listen to the parent."""
        self._place.control.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(
            lambda: self, sock=self._place.control
        )
        self._beat()

    async def enter(self, models: dict[str, str]) -> None:
        """Ask to be let in with versions of models, and wait for it.

        That is at once, unless others serve other versions: they, or this process, are brought in
        line before.
        """
        self.tell(Warm(models))
        await self.welcome.wait()
        await self.informed.wait()

    def standing(self) -> Sequence[Process]:
        """How all processes of the server are."""
        return self._standing

    def tell(self, message: FromChild) -> None:
        """Say something to the parent."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(framed(message))

    async def reload(self, name: str) -> Outcome:
        """Have all processes load a model anew; what came of it.

        Raises:
            NotFound: no such model.
        """
        self._rolling.check(name)
        number = next(self._asks)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self.tell(Wanted(number, name))
        try:
            return await answer
        finally:
            del self._asked[number]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to the parent."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Do what the parent says."""
        for message in self._reader.feed(data):
            if isinstance(message, Standing):
                self._standing = message.processes
                self.informed.set()
            elif isinstance(message, Welcome):
                self.welcome.set()
            elif isinstance(message, Told):
                answer = self._asked.get(message.ask)
                if answer is not None and not answer.done():
                    answer.set_result(message.outcome)
            elif isinstance(message, Prepare):
                self._names[message.roll] = message.name
                self._begin(self._prepare(message))
            elif isinstance(message, Commit):
                self._begin(self._commit(message.roll))
            elif isinstance(message, Abort):
                self._rolling.abort(self._names.pop(message.roll, ""))

    def connection_lost(self, _: Exception | None) -> None:
        """The parent is gone: nobody would replace us, or tell us to end."""
        self.informed.set()
        self.welcome.set()
        self._orphaned()

    def _beat(self) -> None:
        """Say that the loop turns; not over and over to a parent that does not listen."""
        if self._transport is None or self._transport.is_closing():
            return
        if not self._transport.get_write_buffer_size():
            self.tell(Beat())
        asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    async def _prepare(self, message: Prepare) -> None:
        try:
            beside = await self._rolling.prepare(message.name, message.held)
        except (ServiceError, ModelFault) as fault:
            self.tell(Refused(message.roll, str(fault)))
            return
        if message.roll not in self._names:  # given up meanwhile
            self._rolling.abort(message.name)
            return
        held = self._held(beside) if self._held is not None else None
        self.tell(Prepared(message.roll, beside.hosted.spec.digest, beside.changed, held))

    async def _commit(self, roll: int) -> None:
        name = self._names.pop(roll, None)
        if name is not None:
            self._rolling.commit(name)
        self.tell(Done(roll))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a word of the parent was not carried out", exc_info=error)
