"""The HTTP front end: a thin ASGI dispatcher for the hot routes, FastAPI for the rest.

FastAPI's routing and validation cost several times what a reward costs, so ``/v1/score`` and
``/v1/predict`` are answered before it is reached; they stand in its OpenAPI all the same. A client
that goes away has its work cancelled where there is work to wait for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from service import __version__, cards
from service.errors import MalformedBody, NotFound, ServiceError, TooLarge, nearest
from service.front import wire
from service.front.admin import add_admin
from service.front.cards import add_cards
from service.front.compat.routes import CompatRoutes, add_compat
from service.front.departure import ClientGone, watched, watched_late
from service.front.description import describe
from service.front.entry import CHALLENGE, admitted
from service.front.health import add_health
from service.front.hot import HotRoutes, Reply, failure
from service.pipeline import Pipeline
from service.rewards.profiles import Profile
from service.security.gate import ANYONE, Caller, Gate

log = structlog.get_logger(__name__)

_JSON: Final = (b"content-type", b"application/json")


class Dispatcher:
    """ASGI: hot routes and trainers' routes here, everything else to the application behind.

    Args:
        hot: the hot routes.
        behind: the FastAPI application.
        gate: who may ask; None: everybody.
    """

    def __init__(self, hot: HotRoutes, behind: ASGIApp, gate: Gate | None = None):
        self._hot = hot
        self._gate = gate
        self._compat = CompatRoutes(hot.pipeline)
        self._behind = behind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        pipeline = self._hot.pipeline
        try:
            caller = admitted(scope, self._gate) if scope["type"] == "http" else ANYONE
            if scope["type"] != "http" or scope["method"] != "POST" or not self._has(scope["path"]):
                await self._behind(scope, receive, send)
                return
            body = await _read(scope, receive, pipeline.limits.max_body_bytes)
            status, payload, retry_after = await self._answered(scope, body, receive, caller)
        except ServiceError as error:
            status, payload, retry_after = failure(error)
            route = scope["path"] if self._has(scope["path"]) else "other"
            pipeline.metrics.request(route, str(status))
        except ClientGone:
            pipeline.metrics.request(scope["path"], "client_gone")
            return
        headers = [_JSON, (b"content-length", b"%d" % len(payload))]
        if retry_after is not None:
            headers.append((b"retry-after", b"%d" % retry_after))
        if status == 401:
            headers.append(CHALLENGE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    def _has(self, route: str) -> bool:
        return route in self._hot or route in self._compat

    async def _answered(self, scope: Scope, body: bytes, receive: Receive, caller: Caller) -> Reply:
        """The answer; cancelled if the client goes away while a model is being waited for."""
        route = scope["path"]
        if route in self._compat:
            asked = scope["query_string"], scope["headers"]
            reply = self._compat.reply(route, *asked, body, caller)
            if not caller.waits and not self._compat.waits(*asked):
                return await watched_late(reply, receive)
        else:
            reply = self._hot.reply(route, body, caller)
            if not self._hot.waits(body, caller, route):
                return await reply
        return await watched(reply, receive)


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


def application(pipeline: Pipeline, gate: Gate | None = None) -> FastAPI:
    """The FastAPI application: everything that is not hot, and the documentation of what is.

    Args:
        pipeline: what answers.
        gate: who may ask, for the documentation; None: everybody.
    """
    app = FastAPI(
        title="soft-verifier",
        version=__version__,
        description="Rewards for reinforcement learning on biology, verified by world models.",
    )
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(HTTPException, _http_error(app))
    _add_hot_routes(app, HotRoutes(pipeline))
    _add_catalogue(app, pipeline)
    add_cards(app, pipeline)
    add_compat(app, CompatRoutes(pipeline))
    add_admin(app, pipeline)
    add_health(app, pipeline)
    describe(app, gate)
    return app


async def _service_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return _response(failure(error))


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


def _add_hot_routes(app: FastAPI, hot: HotRoutes) -> None:
    """They also work where the application runs without dispatcher."""

    async def answer(request: Request) -> Response:
        reply = await hot.reply(request.url.path, await request.body())
        return _response(reply)

    app.post("/v1/score", summary="Rewards for a batch of completions", name="score")(answer)
    app.post("/v1/predict", summary="Ask a world model directly", name="predict")(answer)


def _response(reply: Reply) -> Response:
    after = {} if reply.retry_after is None else {"Retry-After": str(reply.retry_after)}
    return Response(reply.payload, reply.status, after, "application/json")


def _add_catalogue(app: FastAPI, pipeline: Pipeline) -> None:
    @app.get("/", summary="Where things are")
    async def index() -> JSONResponse:
        routes = sorted({route.path for route in app.routes if hasattr(route, "path")})
        return JSONResponse({"service": "soft-verifier", "version": __version__, "routes": routes})

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
    del spec["reliability"]  # thresholds for judges; the card says what they come from
    spec["card"] = cards.summary(hosted.spec)
    elsewhere = not hosted.spec.local and hosted.spec.family != "remote"
    run = "inline" if hosted.inline else "host" if elsewhere else "thread"
    beside = {
        state: [
            {"digest": one.spec.digest, "version": one.spec.version}
            for one in pipeline.models.beside(name, state)
        ]
        for state in ("prepared", "retiring")
    }
    return {**spec, "cost_s": hosted.cost_s, "run": run, **beside}


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
    return {
        **found.describe(pipeline.models.specs),
        "knowledge": [_describe_knowledge(found, name) for name in found.knowledge_named()],
        "available": missing is None,
        "unavailable_because": missing,
    }


def _describe_knowledge(profile: Profile, name: str) -> dict[str, Any]:
    """What a profile looks up; nulls where the server was not given it.

    ``digest`` covers all of it, and is what components name; the others say which part changed.
    """
    known = profile.library.knowledge.get(name)
    said = known.annotations if known else None
    return {
        "name": name,
        "digest": known.digest if known else None,
        "version": known.version if known else None,
        "ontology_digest": known.ontology.digest if known else None,
        "terms": len(known.ontology.terms) if known else 0,
        "annotations_digest": said.digest if said else None,
        "genes": len(said.terms_of) if said else 0,
    }
