"""``/healthz``, ``/readyz`` and ``/metrics``: what those ask who run the server."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from service.metrics import CONTENT_TYPE
from service.pipeline import Pipeline


def add_health(app: FastAPI, pipeline: Pipeline) -> None:
    """Add the routes."""

    @app.get(
        "/healthz", summary="Alive: the loop turns, no model thread is stuck, work can be done"
    )
    async def healthz() -> JSONResponse:
        stalled = stuck(pipeline)
        body = {"status": "stalled" if stalled else "alive", "stalled": stalled}
        return JSONResponse(body, 503 if stalled else 200)

    @app.get("/readyz", summary="Ready: models are warm, none is stuck, nothing drains")
    async def readyz() -> JSONResponse:
        body = readiness(pipeline)
        ready = body["status"] == "ready"
        return JSONResponse(body, 200 if ready else 503, None if ready else {"Retry-After": "1"})

    @app.get("/metrics", summary="Prometheus exposition")
    async def metrics() -> Response:
        return Response(pipeline.metrics.expose(), media_type=CONTENT_TYPE)


def stuck(pipeline: Pipeline) -> list[str]:
    """Models whose thread hangs in a batch, and ``workshop`` where no work is done."""
    stalled = [model.name for model in pipeline.models if model.stalled]
    return stalled + ["workshop"] * pipeline.workshop.stalled


def readiness(pipeline: Pipeline) -> dict[str, Any]:
    """What ``/readyz`` says: a status, and with several processes which of them are down.

    A worker that is down is replaced while the others answer; without its host a model does not.
    """
    canaries, stalled = pipeline.canaries, stuck(pipeline)
    processes = pipeline.standing()
    down = [f"{one.role} ({one.state})" for one in processes if one.state != "ready"]
    if pipeline.draining:
        status = "draining"
    elif canaries is not None and canaries.refuses and canaries.red:
        status = "drifted"
    elif stalled:
        status = "stalled"
    elif any(one.state != "ready" for one in processes if one.role.startswith("model host")):
        status = "model host down"
    else:
        status = "ready"
    body: dict[str, Any] = {"status": status, "models": [model.name for model in pipeline.models]}
    if stalled:
        body["stalled"] = stalled
    if canaries is not None:
        body["canaries"] = canaries.detail()
    if processes:
        body["processes"] = [msgspec.to_builtins(one) for one in processes]
        body["down"] = down
        body["answered_by"] = os.getpid()
    return body
