"""Routes that change the server. Off unless ``admin.enabled`` is set.

Who may use them is the gate's to say: where there are keys, one with the scope ``admin``.
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from service.control import Outcome
from service.errors import Conflict, Forbidden, NotReady
from service.pipeline import Pipeline


def add_admin(app: FastAPI, pipeline: Pipeline) -> None:
    """Add the routes."""

    @app.post("/v1/models/{name}/reload", summary="Serve what a model's folder holds now (admin)")
    async def reload(name: str) -> JSONResponse:
        if not pipeline.admin:
            raise Forbidden("admin routes are off here; set admin.enabled = true in the settings")
        pipeline.models.named(name)
        if pipeline.roller is None or pipeline.draining:
            raise NotReady("the server is draining; ask again when it is back", retry_after=1.0)
        outcome = await pipeline.roller.reload(name)
        if outcome.error is not None:
            raise Conflict(
                f"model {name!r} is not replaced, {outcome.now} is served on: {outcome.error}",
                field="model",
            )
        return JSONResponse(_told(outcome))


def _told(outcome: Outcome) -> dict[str, object]:
    return {
        "model": outcome.name,
        "changed": outcome.changed,
        "before": outcome.before,
        "digest": outcome.now,
    }
