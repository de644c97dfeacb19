"""gRPC's methods: what a message asks, given to the pipeline, and the answer as a message.

Python's gRPC costs some 400 µs a call: give it batches, or the stream.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable
from time import perf_counter
from typing import Any, Final

import grpc
import structlog
from grpc import aio

from service import __version__, cards
from service.errors import BadRequest, MalformedBody, ServiceError
from service.front import wire
from service.front.messages import read_items, write_result
from service.front.prediction import pack_predict
from service.pipeline import Pipeline
from service.requests import NO_CONTEXT, RunContext
from service.security.gate import ANYONE, Caller, Gate
from softverifier._pb import rewards_pb2 as pb
from softverifier._pb import worldmodels_pb2 as wm

log = structlog.get_logger(__name__)

STREAM_CONCURRENCY: Final = 8
"""Requests of one stream that are worked on at a time."""
REWARDS: Final = "softverifier.v1.Rewards"
WORLD_MODELS: Final = "softverifier.v1.WorldModels"
SCORE: Final = f"/{REWARDS}/Score"
PREDICT: Final = f"/{WORLD_MODELS}/Predict"


class Rewards:
    """``softverifier.v1.Rewards``."""

    def __init__(self, pipeline: Pipeline, gate: Gate):
        self._pipeline = pipeline
        self._gate = gate

    async def score(self, request: pb.ScoreRequest, context: aio.ServicerContext[Any, Any]) -> Any:
        """One batch."""
        return await guarded(
            self._pipeline,
            "Score",
            context,
            self._score(request, context, context.time_remaining()),
        )

    async def _score(
        self,
        request: pb.ScoreRequest,
        context: aio.ServicerContext[Any, Any],
        remaining: float | None,
    ) -> pb.ScoreResponse:
        pipeline, caller = self._pipeline, _caller(self._gate, SCORE, context)
        wire.check_count(len(request.items), pipeline.limits.max_items)
        started = perf_counter()
        items = read_items(request.items)
        pipeline.metrics.stage("parse", perf_counter() - started)
        async with caller.paying(len(items)):
            profile, results = await pipeline.score(
                request.profile,
                items,
                context=_labels(request),
                deadline=pipeline.deadline(_soonest(request.deadline_ms, remaining)),
                request_id=request.request_id,
            )
        decided = perf_counter()
        response = pb.ScoreResponse(
            results=[write_result(result) for result in results],
            profile=pb.ProfileRef(name=profile.name, digest=profile.digest),
            server_version=__version__,
            request_id=request.request_id,
        )
        pipeline.metrics.stage("respond", perf_counter() - decided)
        return response

    async def score_stream(
        self,
        requests: AsyncIterator[pb.ScoreRequest | MalformedBody],
        context: aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[pb.ScoreResponse]:
        """Batches as they come, answered in their order, several worked on at a time."""
        queue: asyncio.Queue[asyncio.Task[pb.ScoreResponse] | None] = asyncio.Queue(
            STREAM_CONCURRENCY
        )

        async def take() -> None:
            async for request in requests:
                await queue.put(asyncio.create_task(self._answered(request, context)))

        async def end() -> None:
            # The reader is not cancelled for a drain: that would cancel the call, not end it. It
            # ends by itself with the call.
            await asyncio.wait({reader, drained}, return_when=asyncio.FIRST_COMPLETED)
            await queue.put(None)

        drained = asyncio.create_task(self._pipeline.drained.wait())
        reader = asyncio.create_task(take())
        ender = asyncio.create_task(end())
        try:
            while (task := await queue.get()) is not None:
                yield await task
            if not reader.done():
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is draining")
        finally:
            for helper in (ender, drained):
                helper.cancel()
            if not self._pipeline.draining:
                reader.cancel()
            while not queue.empty():
                left = queue.get_nowait()
                if left is not None:
                    left.cancel()

    async def _answered(
        self, request: pb.ScoreRequest | MalformedBody, context: aio.ServicerContext[Any, Any]
    ) -> pb.ScoreResponse:
        """The response, or what went wrong in its ``error``: the stream goes on."""
        request_id = ""
        try:
            if isinstance(request, MalformedBody):
                raise request
            request_id = request.request_id
            response = await self._score(request, context, None)
        except Exception as fault:  # noqa: BLE001 - told to the client, logged below
            error = _explained(fault, "ScoreStream")
            self._pipeline.metrics.request("grpc.ScoreStream", error.grpc)
            status = grpc.StatusCode[error.grpc].value[0]
            return pb.ScoreResponse(
                request_id=request_id,
                server_version=__version__,
                error=pb.Error(code=status, message=error.message),
            )
        self._pipeline.metrics.request("grpc.ScoreStream", "OK")
        return response


class WorldModels:
    """``softverifier.v1.WorldModels``."""

    def __init__(self, pipeline: Pipeline, gate: Gate):
        self._pipeline = pipeline
        self._gate = gate

    async def predict(
        self, request: wm.PredictRequest, context: aio.ServicerContext[Any, Any]
    ) -> Any:
        """Columns in, columns out."""
        return await guarded(
            self._pipeline,
            "Predict",
            context,
            self._predict(request, context, context.time_remaining()),
        )

    async def _predict(
        self,
        request: wm.PredictRequest,
        context: aio.ServicerContext[Any, Any],
        remaining: float | None,
    ) -> bytes:
        pipeline, caller = self._pipeline, _caller(self._gate, PREDICT, context)
        started = perf_counter()
        names = list(request.names)
        try:
            subjects = list(map(names.__getitem__, list(request.subjects)))
            objects = list(map(names.__getitem__, list(request.objects)))
        except IndexError:
            raise BadRequest(
                f"subjects, objects: a row refers beyond the {len(names)} names", field="names"
            ) from None
        contexts = list(request.contexts) or [request.context] * len(subjects)
        queries = wire.queries_of(
            request.relation, subjects, objects, contexts, pipeline.limits.max_queries
        )
        pipeline.metrics.stage("parse", perf_counter() - started)
        async with caller.paying(len(queries)):
            hosted, verdicts = await pipeline.predict(
                request.model,
                queries,
                deadline=pipeline.deadline(_soonest(request.deadline_ms, remaining)),
            )
        return pack_predict(hosted.spec, verdicts)

    async def list_models(
        self, request: wm.ListModelsRequest, context: aio.ServicerContext[Any, Any]
    ) -> wm.ListModelsResponse:
        """What is served."""
        return wm.ListModelsResponse(
            models=[
                wm.Model(
                    name=m.name,
                    family=m.spec.family,
                    version=m.spec.version,
                    digest=m.spec.digest,
                    relations=m.spec.relations,
                    contexts=m.spec.contexts,
                    pools=m.spec.pools,
                    vocabulary=m.spec.vocabulary,
                    licence=m.spec.licence,
                    training=m.spec.training,
                    calibration=m.spec.calibration,
                    genes=m.spec.genes,
                    card=cards.summary_text(m.spec),
                    metrics=dict(m.spec.metrics),
                    cost_s=m.cost_s,
                )
                for m in self._pipeline.models
            ]
        )


def _caller(gate: Gate, procedure: str, context: aio.ServicerContext[Any, Any]) -> Caller:
    """Whom to charge; asked for each message, since keys end while streams last."""
    if not gate.bars:
        return ANYONE
    return gate.admit_call(procedure, context.invocation_metadata() or ())


def _labels(request: pb.ScoreRequest) -> RunContext:
    if not request.HasField("context"):
        return NO_CONTEXT
    step = request.context.step if request.context.HasField("step") else None
    return RunContext(request.context.run, step, request.context.split)


def _soonest(deadline_ms: int, remaining: float | None) -> float | None:
    """Milliseconds left: what the request states or what the gRPC deadline leaves."""
    stated = [float(deadline_ms)] if deadline_ms else []
    if remaining is not None:
        stated.append(remaining * 1000)
    return min(stated) if stated else None


def _explained(fault: Exception, route: str) -> ServiceError:
    """What the client is told; a fault of ours goes to the log."""
    if isinstance(fault, ServiceError):
        return fault
    log.error("request failed", route=route, exc_info=fault)
    return ServiceError("internal error; the server's log has it")


def _when(seconds: float) -> tuple[tuple[str, str], ...]:
    """When to try again: as HTTP says it, and as gRPC's own clients with a retry policy read it."""
    return (
        ("retry-after", str(max(1, math.ceil(seconds)))),
        ("grpc-retry-pushback-ms", str(math.ceil(seconds * 1000))),
    )


async def guarded(
    pipeline: Pipeline,
    route: str,
    context: aio.ServicerContext[Any, Any],
    answering: Awaitable[Any],
) -> Any:
    """The answer, or the gRPC status of what went wrong."""
    try:
        response = await answering
    except Exception as fault:  # noqa: BLE001 - told to the client, logged above
        error = _explained(fault, route)
        pipeline.metrics.request(f"grpc.{route}", error.grpc)
        if error.retry_after is not None:
            context.set_trailing_metadata(_when(error.retry_after))
        await context.abort(grpc.StatusCode[error.grpc], error.message)
    pipeline.metrics.request(f"grpc.{route}", "OK")
    return response
