"""Requests that arrive in one turn of the event loop are judged in one pass.

Trainers send thousands of one-item requests at once. Each costs the pipeline's fixed work, most of
what a single completion or pair takes; together they share it, and equal questions among them are
asked once. Nobody waits: what one turn of the loop has read is answered in the next, and a lone
request goes alone. Answers are the same to the last bit whatever they are judged with, so nobody
can tell. Limits: only for requests that never wait (``HotRoutes.waits``; one that does all the same
is begun anew on its own); only score requests of one profile, context and deadline travel together,
and predict requests of one model, relation and deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import accumulate, chain
from time import perf_counter
from typing import Final, NamedTuple, Protocol, TypeVar

import structlog

from service.errors import ServiceError
from service.front import wire
from service.front.hot import HotRoutes, Reply, Waited, failure, finished
from service.front.prediction import write_predicts
from service.requests import BadItem, RunContext
from service.rewards.core import Item
from service.security.gate import ANYONE, Caller
from worldmodels.core import Queries, Status, Verdicts

log = structlog.get_logger(__name__)

MOST_ITEMS: Final = 512
"""Items, or rows, of one pass: beyond, the loop would be held too long."""
_SCORE: Final = "/v1/score"
_PREDICT: Final = "/v1/predict"


class Asker(Protocol):
    """Who is told the answer."""

    def answer(self, reply: Reply, last: bool) -> None:
        """Send the answer; ``last``: and end the connection."""
        ...


class _Request(NamedTuple):
    asker: Asker
    route: str
    body: bytes
    last: bool
    caller: Caller


class _Read(NamedTuple):
    request: _Request
    items: list[Item | BadItem]

    @property
    def size(self) -> int:
        return len(self.items)


class _Asked(NamedTuple):
    request: _Request
    queries: Queries

    @property
    def size(self) -> int:
        return len(self.queries)


class _Sized(Protocol):
    @property
    def size(self) -> int: ...


T = TypeVar("T", bound=_Sized)


class Gathering:
    """Collects requests and answers them in the loop's next turn.

    Args:
        hot: what answers.
    """

    def __init__(self, hot: HotRoutes):
        self.hot = hot
        self._waiting: list[_Request] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(
        self, asker: Asker, route: str, body: bytes, last: bool, caller: Caller = ANYONE
    ) -> None:
        """Answer soon. An asker has one request waiting at most: ``flush`` before another."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(_Request(asker, route, body, last, caller))

    def flush(self) -> None:
        """Answer all that wait."""
        waiting, self._waiting = self._waiting, []
        if len(waiting) == 1:
            self._alone(waiting[0])
        elif waiting:
            self._together(waiting)

    async def _later(self, request: _Request) -> None:
        reply = await self.hot.reply(request.route, request.body, request.caller)
        request.asker.answer(reply, request.last)

    def _alone(self, request: _Request) -> None:
        if request.caller.waits:  # Redis came up between the two turns; ask it once only
            self._begin(request)
            return
        try:
            reply = self.hot.reply_now(request.route, request.body, request.caller)
        except Waited:
            self._begin(request)
        else:
            request.asker.answer(reply, request.last)

    def _begin(self, request: _Request) -> None:
        task = asyncio.ensure_future(self._later(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _together(self, waiting: Sequence[_Request]) -> None:
        pipeline = self.hot.pipeline
        started = perf_counter()
        groups: dict[tuple[str, RunContext, float | None], list[_Read]] = {}
        asked: dict[tuple[str, str, float | None], list[_Asked]] = {}
        for request in waiting:
            if request.caller.waits:  # Redis came up meanwhile
                self._alone(request)
                continue
            try:
                if request.route == _SCORE:
                    profile, items, context, deadline_ms = wire.read_score(
                        request.body, pipeline.limits.max_items
                    )
                    request.caller.charge_now(len(items))
                    key = (profile, context, deadline_ms)
                    groups.setdefault(key, []).append(_Read(request, items))
                elif request.route == _PREDICT:
                    model, queries, deadline_ms = wire.read_predict(
                        request.body, pipeline.limits.max_queries
                    )
                    request.caller.charge_now(len(queries))
                    asked.setdefault((model, queries.relation, deadline_ms), []).append(
                        _Asked(request, queries)
                    )
                else:
                    self._alone(request)
            except ServiceError as error:
                self._tell(request, failure(error))
        pipeline.metrics.stage("parse", perf_counter() - started)
        for (profile, context, deadline_ms), group in groups.items():
            for part in _parts(group):
                self._judge(profile, context, deadline_ms, part)
        for (model, relation, deadline_ms), rows in asked.items():
            for share in _parts(rows):
                self._ask(model, relation, deadline_ms, share)

    def _judge(
        self, name: str, context: RunContext, deadline_ms: float | None, group: Sequence[_Read]
    ) -> None:
        """One pass for a group. A fault of the pass is told to each of them on its own."""
        pipeline = self.hot.pipeline
        items = [item for read in group for item in read.items]
        try:
            profile, results = finished(
                pipeline.score(
                    name,
                    items,
                    context=context,
                    deadline=pipeline.deadline(deadline_ms),
                    sizes=[len(read.items) for read in group],
                )
            )
        except Exception as error:  # noqa: BLE001 - each request meets its own fault alone
            self._part(error, group)
            return
        started, at = perf_counter(), 0
        for request, own in group:
            payload = wire.write_score(profile, results[at : at + len(own)])
            at += len(own)
            self._tell(request, Reply(200, payload))
        pipeline.metrics.stage("respond", perf_counter() - started)

    def _part(self, error: Exception, group: Sequence[_Read | _Asked]) -> None:
        """Let each of a pass that failed go alone."""
        if not isinstance(error, ServiceError | Waited):
            log.warning("a pass failed; its requests go alone", error=repr(error))
        for one in group:
            self._again(one)

    def _again(self, one: _Read | _Asked) -> None:
        """Alone, where it is charged once more."""
        one.request.caller.refund(one.size)
        self._alone(one.request)

    def _ask(
        self, model: str, relation: str, deadline_ms: float | None, group: Sequence[_Asked]
    ) -> None:
        """One pass for predict requests; who meets a fault in it is asked anew, alone."""
        pipeline = self.hot.pipeline
        if len(group) == 1:
            self._again(group[0])
            return
        queries = Queries(
            relation,
            list(chain.from_iterable(asked.queries.subjects for asked in group)),
            list(chain.from_iterable(asked.queries.objects for asked in group)),
            list(chain.from_iterable(asked.queries.contexts for asked in group)),
        )
        try:
            hosted, verdicts = finished(
                pipeline.predict(model, queries, deadline=pipeline.deadline(deadline_ms))
            )
        except Exception as error:  # noqa: BLE001 - each request meets its own fault alone
            self._part(error, group)
            return
        replies = write_predicts(hosted.spec, verdicts, [asked.size for asked in group])
        faulty = _faulty(group, verdicts)
        for one, payload, fault in zip(group, replies, faulty, strict=True):
            if fault:  # perhaps not its own: looking for the row at fault ends after some calls
                self._again(one)
            else:
                self._tell(one.request, Reply(200, payload))

    def _tell(self, request: _Request, reply: Reply) -> None:
        self.hot.pipeline.metrics.request(request.route, str(reply.status))
        request.asker.answer(reply, request.last)


def _faulty(group: Sequence[_Asked], verdicts: Verdicts) -> list[bool]:
    """Whether a request has a row that the model failed on."""
    failed = verdicts.status == Status.MODEL_ERROR
    if not failed.any():
        return [False] * len(group)
    ends = list(accumulate(asked.size for asked in group))
    return [
        bool(failed[end - asked.size : end].any()) for asked, end in zip(group, ends, strict=True)
    ]


def _parts(group: Sequence[T]) -> list[list[T]]:
    """The group cut so that no pass has more than ``MOST_ITEMS``, single requests whole."""
    parts: list[list[T]] = [[]]
    size = 0
    for read in group:
        if size and size + read.size > MOST_ITEMS:
            parts.append([])
            size = 0
        parts[-1].append(read)
        size += read.size
    return parts
