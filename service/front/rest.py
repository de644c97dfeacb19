"""The HTTP front end: a thin ASGI dispatcher for the hot routes, FastAPI for the rest.

FastAPI's routing and validation cost several times what a reward costs, so ``/v1/score`` and
``/v1/predict`` are answered before it is reached; they stand in its OpenAPI all the same. A client
that goes away has its work cancelled where there is work to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from time import perf_counter
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import __version__
from service.errors import MalformedBody, NotFound, ServiceError, TooLarge, nearest
from service.front import wire
from service.metrics import CONTENT_TYPE
from service.pipeline import Pipeline

log = structlog.get_logger(__name__)

_JSON: Final = (b"content-type", b"application/json")
_Hot = Callable[[bytes], Awaitable[bytes]]


class ClientGone(Exception):
    """The client closed the connection before it had its answer."""


class Dispatcher:
    """ASGI: hot routes here, everything else to the application behind.

    Args:
        pipeline: what answers.
        behind: the FastAPI application.
    """

    def __init__(self, pipeline: Pipeline, behind: ASGIApp):
        self._pipeline = pipeline
        self._behind = behind
        self._hot: dict[str, _Hot] = {"/v1/score": self._score, "/v1/predict": self._predict}
        self._watch = any(not model.inline for model in pipeline.models)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        handler = self._hot.get(scope["path"]) if scope["type"] == "http" else None
        if handler is None or scope["method"] != "POST":
            await self._behind(scope, receive, send)
            return
        route = scope["path"]
        status, headers = 200, [_JSON]
        try:
            body = await _read(scope, receive, self._pipeline.limits.max_body_bytes)
            payload = await self._answered(handler, body, receive)
        except ServiceError as error:
            status, payload = error.http, wire.write_error(error)
            if error.retry_after is not None:
                headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after))))
        except ClientGone:
            self._pipeline.metrics.request(route, "client_gone")
            return
        except Exception:
            log.exception("request failed", route=route)
            status, payload = 500, wire.write_error(ServiceError("internal error; see the log"))
        self._pipeline.metrics.request(route, str(status))
        headers.append((b"content-length", b"%d" % len(payload)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    async def _answered(self, handler: _Hot, body: bytes, receive: Receive) -> bytes:
        """The answer; cancelled if the client goes away while a model is being waited for."""
        if not self._watch:
            return await handler(body)
        work = asyncio.ensure_future(handler(body))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise ClientGone
        finally:
            for task in (work, gone):
                if not task.done():
                    task.cancel()

    async def _score(self, body: bytes) -> bytes:
        pipeline = self._pipeline
        started = perf_counter()
        profile, items, context, deadline_ms = wire.read_score(body, pipeline.limits.max_items)
        pipeline.metrics.stage("parse", perf_counter() - started)
        found, results = await pipeline.score(
            profile, items, context=context, deadline=pipeline.deadline(deadline_ms)
        )
        decided = perf_counter()
        payload = wire.write_score(found, results)
        pipeline.metrics.stage("respond", perf_counter() - decided)
        return payload

    async def _predict(self, body: bytes) -> bytes:
        pipeline = self._pipeline
        started = perf_counter()
        model, queries, deadline_ms = wire.read_predict(body, pipeline.limits.max_queries)
        pipeline.metrics.stage("parse", perf_counter() - started)
        hosted, verdicts = await pipeline.predict(
            model, queries, deadline=pipeline.deadline(deadline_ms)
        )
        return wire.write_predict(hosted.spec, verdicts)


async def _read(scope: Scope, receive: Receive, most: int) -> bytes:
    """The body, refused as soon as it is known to be too large."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > most:
            raise _too_large(int(value), most)
        if name == b"content-encoding" and value not in (b"", b"identity"):
            raise MalformedBody(
                f"content-encoding {value.decode('latin-1')!r} is not accepted; send plain JSON",
                field="content-encoding",
            )
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    chunks, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > most:
            raise _too_large(size, most)
    return b"".join(chunks)


def _too_large(found: int, most: int) -> TooLarge:
    return TooLarge(
        f"the body has {found} bytes, this server takes {most}; send fewer items at once "
        "(limits.max_body_bytes)"
    )


async def _disconnected(receive: Receive) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()


def application(pipeline: Pipeline) -> FastAPI:
    """The FastAPI application: everything that is not hot, and the documentation of what is."""
    app = FastAPI(
        title="soft-verifier",
        version=__version__,
        description="Rewards for reinforcement learning on biology, verified by world models.",
    )
    dispatcher = Dispatcher(pipeline, app)
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(HTTPException, _http_error(app))
    _add_hot_routes(app, dispatcher)
    _add_catalogue(app, pipeline)
    _add_health(app, pipeline)
    return app


async def _service_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return Response(wire.write_error(error), error.http, headers, "application/json")


def _http_error(app: FastAPI) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = request.url.path
        message = str(error.detail)
        if error.status_code == 404:
            known = [route.path for route in app.routes if hasattr(route, "path")]
            message = f"no route {path!r}{nearest(path, known)}"
        elif error.status_code == 405:
            message = f"{request.method} is not for {path!r}; see /docs"
        body = wire.ErrorResponse(wire.ErrorBody("http_error", message))
        return Response(
            msgspec.json.encode(body), error.status_code, error.headers, "application/json"
        )

    return handle


def _add_hot_routes(app: FastAPI, dispatcher: Dispatcher) -> None:
    """Describe the hot routes; they also work where the application runs without dispatcher."""
    hot = (
        ("/v1/score", wire.ScoreRequest, wire.ScoreResponse, "Rewards for a batch of completions"),
        ("/v1/predict", wire.PredictRequest, wire.PredictResponse, "Ask a world model directly"),
    )
    kinds = [kind for _, request, response, _ in hot for kind in (request, response)]
    schemas, components = msgspec.json.schema_components(
        [*kinds, wire.ErrorResponse], ref_template="#/components/schemas/{name}"
    )
    *pairs, failure = schemas
    for i, (path, _, _, summary) in enumerate(hot):
        request_schema, response_schema = pairs[2 * i], pairs[2 * i + 1]

        async def answer(request: Request) -> Response:
            messages = {"response": b"", "status": 200, "headers": []}

            async def send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    messages["status"], messages["headers"] = message["status"], message["headers"]
                else:
                    messages["response"] = message["body"]

            await dispatcher(request.scope, request.receive, send)
            headers = {k.decode(): v.decode() for k, v in messages["headers"]}  # type: ignore[attr-defined]
            return Response(messages["response"], messages["status"], headers)  # type: ignore[arg-type]

        app.post(
            path,
            summary=summary,
            openapi_extra={
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": request_schema}},
                },
                "responses": {
                    "200": {
                        "description": "Same order and length as the request",
                        "content": {"application/json": {"schema": response_schema}},
                    },
                    "default": {
                        "description": "What was wrong, in which field, and what to do",
                        "content": {"application/json": {"schema": failure}},
                    },
                },
            },
        )(answer)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        schema.setdefault("components", {}).setdefault("schemas", {}).update(components)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add_catalogue(app: FastAPI, pipeline: Pipeline) -> None:
    @app.get("/v1/models", summary="The served world models")
    async def models() -> JSONResponse:
        return JSONResponse({"models": [describe_model(pipeline, m.name) for m in pipeline.models]})

    @app.get("/v1/models/{name}", summary="One world model")
    async def model(name: str) -> JSONResponse:
        return JSONResponse(describe_model(pipeline, name))

    @app.get("/v1/profiles", summary="The reward recipes")
    async def profiles() -> JSONResponse:
        return JSONResponse(
            {"profiles": [describe_profile(pipeline, name) for name in sorted(pipeline.profiles)]}
        )

    @app.get("/v1/profiles/{name}", summary="One recipe, resolved, with a request that works")
    async def profile(name: str) -> JSONResponse:
        return JSONResponse(describe_profile(pipeline, name))


def describe_model(pipeline: Pipeline, name: str) -> dict[str, Any]:
    """A served model as ``/v1/models`` shows it."""
    hosted = pipeline.models.named(name)
    spec = asdict(hosted.spec)
    return {**spec, "cost_s": hosted.cost_s, "run": "inline" if hosted.inline else "thread"}


def describe_profile(pipeline: Pipeline, name: str) -> dict[str, Any]:
    """A profile as ``/v1/profiles`` shows it, with whether its models are served."""
    found = pipeline.profiles.get(name)
    if found is None:
        raise NotFound(f"unknown profile {name!r}{nearest(name, pipeline.profiles)}")
    try:
        pipeline.profile(name)
        missing = None
    except NotFound as error:
        missing = error.message
    return {**found.describe(), "available": missing is None, "unavailable_because": missing}


def _add_health(app: FastAPI, pipeline: Pipeline) -> None:
    @app.get("/healthz", summary="Alive: the loop turns and no model thread is stuck")
    async def healthz() -> JSONResponse:
        stalled = [model.name for model in pipeline.models if model.stalled]
        body = {"status": "stalled" if stalled else "alive", "stalled": stalled}
        return JSONResponse(body, 503 if stalled else 200)

    @app.get("/readyz", summary="Ready: models are warm and the server is not draining")
    async def readyz() -> JSONResponse:
        ready = not pipeline.draining
        names = [model.name for model in pipeline.models]
        body = {"status": "ready" if ready else "draining", "models": names}
        return JSONResponse(body, 200 if ready else 503, None if ready else {"Retry-After": "1"})

    @app.get("/metrics", summary="Prometheus exposition")
    async def metrics() -> Response:
        return Response(pipeline.metrics.expose(), media_type=CONTENT_TYPE)
