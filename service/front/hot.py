"""The hot routes: bytes in, bytes out, no web framework.

What the ASGI dispatcher and the protocol beneath it both answer with. Limits: a hot route is a
POST with a JSON body; everything else is FastAPI's.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Coroutine
from time import perf_counter
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import structlog

from service.errors import ServiceError
from service.front import wire
from service.front.prediction import write_predict
from service.pipeline import Pipeline
from service.security.gate import ANYONE, Caller

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Reply(NamedTuple):
    """What a hot route answers."""

    status: int
    payload: bytes
    retry_after: int | None = None


class _Asked(msgspec.Struct):
    """Of a request: what decides whether it waits."""

    profile: str = ""
    model: str = ""


_PREDICT: Final = "/v1/predict"
_ASKED: Final = msgspec.json.Decoder(_Asked)


class HotRoutes:
    """The routes that trainers hammer: bytes in, bytes out, no web framework."""

    def __init__(self, pipeline: Pipeline):
        self.pipeline = pipeline
        self._answers: dict[str, Callable[[bytes, Caller], Awaitable[bytes]]] = {
            "/v1/score": self._score,
            _PREDICT: self._predict,
        }

    def __contains__(self, route: str) -> bool:
        return route in self._answers

    def reply(self, route: str, body: bytes, caller: Caller = ANYONE) -> Coroutine[Any, Any, Reply]:
        """The answer, or what went wrong; never raises for a bad request."""
        return replied(self.pipeline, route, self._answers[route], body, caller)

    def reply_now(self, route: str, body: bytes, caller: Caller = ANYONE) -> Reply:
        """The same at once, for a request that never waits.

        Raises:
            Waited: it did.
        """
        return finished(self.reply(route, body, caller))

    def waits(self, body: bytes, caller: Caller = ANYONE, route: str = "") -> bool:
        """Whether the request in a body may have to wait for anything.

        A body that asks a model need not be read to know, where no model waits.
        """
        if caller.waits:
            return True
        if route == _PREDICT and not self.pipeline.waits_for():
            return False
        try:
            asked = _ASKED.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False  # what is wrong with it can be said at once
        if not asked.profile and not asked.model:
            return False
        return self.pipeline.waits_for(asked.profile, asked.model)

    async def _score(self, body: bytes, caller: Caller) -> bytes:
        pipeline = self.pipeline
        started = perf_counter()
        profile, items, context, deadline_ms = wire.read_score(body, pipeline.limits.max_items)
        pipeline.metrics.stage("parse", perf_counter() - started)
        async with caller.paying(len(items)):
            found, results = await pipeline.score(
                profile, items, context=context, deadline=pipeline.deadline(deadline_ms)
            )
        decided = perf_counter()
        payload = wire.write_score(found, results)
        pipeline.metrics.stage("respond", perf_counter() - decided)
        return payload

    async def _predict(self, body: bytes, caller: Caller) -> bytes:
        pipeline = self.pipeline
        started = perf_counter()
        model, queries, deadline_ms = wire.read_predict(body, pipeline.limits.max_queries)
        pipeline.metrics.stage("parse", perf_counter() - started)
        async with caller.paying(len(queries)):
            hosted, verdicts = await pipeline.predict(
                model, queries, deadline=pipeline.deadline(deadline_ms)
            )
        return write_predict(hosted.spec, verdicts)


async def replied(
    pipeline: Pipeline, route: str, answer: Callable[..., Awaitable[bytes]], *asked: Any
) -> Reply:
    """What a route answers, or what went wrong, counted.

    Args:
        pipeline: whose metrics count it.
        route: where it was asked.
        answer: called with what was asked; the payload.
        asked: its arguments.
    """
    try:
        reply = Reply(200, await answer(*asked))
    except ServiceError as error:
        reply = failure(error)
    except Exception:
        log.exception("request failed", route=route)
        reply = failure(ServiceError("internal error; the server's log has it"))
    pipeline.metrics.request(route, str(reply.status))
    return reply


class Waited(Exception):
    """What was not to wait did wait; it has been given up and is to be begun anew."""


def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits.

    Raises:
        Waited: it does.
    """
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise Waited


def failure(error: ServiceError) -> Reply:
    """What a client is told of an error."""
    after = None if error.retry_after is None else max(1, math.ceil(error.retry_after))
    return Reply(error.http, wire.write_error(error), after)
