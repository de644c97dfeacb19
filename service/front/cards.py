"""``GET /v1/models/{name}/card``: a model's card as JSON or Markdown, and its figures."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from service import cards
from service.errors import BadRequest, NotFound, nearest
from service.pipeline import Pipeline
from worldmodels.cards import figures, markdown, record

_STEM = "card-"


def add_cards(app: FastAPI, pipeline: Pipeline) -> None:
    """Add the routes of cards."""

    @app.get("/v1/models/{name}/card", summary="A model's card, JSON or Markdown (?format=md)")
    async def card(name: str, request: Request, format: str | None = None) -> Response:
        found = cards.current(pipeline.models.named(name).spec)
        if _form(format, request.headers.get("accept", "")) == "json":
            return Response(record.encode(found), media_type="application/json")
        shown = [f"card/{_short(one)}" for one in figures.names()]
        return Response(markdown.write(found, shown), media_type="text/markdown; charset=utf-8")

    @app.get("/v1/models/{name}/card/{figure}", summary="A figure of a model's card, SVG")
    async def card_figure(name: str, figure: str) -> Response:
        spec = pipeline.models.named(name).spec
        known = {_short(one): one for one in figures.names()}
        file = known.get(figure.removeprefix(_STEM))
        if file is None:
            raise NotFound(f"unknown figure {figure!r}{nearest(figure, known)}")
        content = cards.figure(spec, file).read_bytes()
        return Response(content, media_type="image/svg+xml")


def _short(name: str) -> str:
    return name.removeprefix(_STEM)


def _form(asked: str | None, accept: str) -> str:
    """What ``format`` asks for, else what the Accept header prefers."""
    if asked is None:
        return "md" if "text/markdown" in accept.lower() else "json"
    if asked not in ("json", "md"):
        raise BadRequest(f"format: {asked!r} is not known; expected json or md", field="format")
    return asked
