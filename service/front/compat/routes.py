"""The table of trainers' routes, and how a request reaches one and its answer goes back.

Errors are those of the native routes: the same classes, codes and messages. Limits: POST with a
JSON body; the two GET routes are plain documents.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from fastapi import FastAPI, Request, Response

from service.errors import ServiceError
from service.front import wire
from service.front.compat import nemo_gym, open_instruct, openrlhf, slime, vllm
from service.front.compat.call import Call, read_call
from service.front.hot import Reply, replied
from service.pipeline import Pipeline
from service.security.gate import ANYONE, Caller

Answer = Callable[[Pipeline, Call], Awaitable[Any]]


class Route(NamedTuple):
    """One trainer's way in."""

    answer: Answer
    summary: str
    body: type[msgspec.Struct] | None = None
    """Of the request; None: any object."""


ROUTES: Final[Mapping[str, Route]] = {
    "/get_reward": Route(
        openrlhf.get_reward, "OpenRLHF's remote reward model", openrlhf.RewardRequest
    ),
    "/rm": Route(
        slime.rm, "slime's and miles' remote reward model; ?scalar=1: a number", slime.RmRequest
    ),
    "/seed_session": Route(nemo_gym.seed_session, "NeMo Gym: begin a session; none is kept"),
    "/verify": Route(nemo_gym.verify, "NeMo Gym: the reward of one rollout, its row echoed"),
    "/aggregate_metrics": Route(
        nemo_gym.aggregate_metrics,
        "NeMo Gym: metrics by task and over all",
        nemo_gym.MetricsRequest,
    ),
    "/test_program": Route(
        open_instruct.test_program, "open-instruct's code verifier", open_instruct.ProgramRequest
    ),
    "/classify": Route(
        vllm.classify, "vLLM's classification, for rewards from it", vllm.ClassifyRequest
    ),
}


class CompatRoutes:
    """What trainers call that are configured by a URL alone."""

    def __init__(self, pipeline: Pipeline):
        self.pipeline = pipeline

    def __contains__(self, route: str) -> bool:
        return route in ROUTES

    def waits(self, query: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether a request may have to wait for anything, as far as its URL and headers say.

        One that does not may all the same: where a model in the loop fails, it is tried again.
        """
        try:
            profile = read_call(query, headers, b"").options.profile
        except ServiceError:
            return False  # the answer says what is wrong with it
        return profile is None or self.pipeline.waits_for(profile)

    def reply(
        self,
        route: str,
        query: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        caller: Caller = ANYONE,
    ) -> Coroutine[Any, Any, Reply]:
        """The answer, or what went wrong; never raises for a bad request."""
        return replied(self.pipeline, route, self._answered, route, query, headers, body, caller)

    async def _answered(
        self,
        route: str,
        query: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        caller: Caller,
    ) -> bytes:
        call = read_call(query, headers, body, caller)
        return _written(await ROUTES[route].answer(self.pipeline, call))


def _written(answer: Any) -> bytes:
    """JSON without NaN; rows are echoed whatever size their integers have."""
    if isinstance(answer, dict):
        return json.dumps(answer, allow_nan=False, ensure_ascii=False).encode()
    return wire.write(answer)


def add_compat(app: FastAPI, routes: CompatRoutes) -> None:
    """They also work where the application runs without dispatcher."""

    async def answer(request: Request) -> Response:
        reply = await routes.reply(
            request.url.path,
            request.scope["query_string"],
            request.scope["headers"],
            await request.body(),
        )
        after = {} if reply.retry_after is None else {"Retry-After": str(reply.retry_after)}
        return Response(reply.payload, reply.status, after, "application/json")

    for path, route in ROUTES.items():
        app.post(path, summary=route.summary, name=path.strip("/"), tags=["trainers"])(answer)

    @app.get(
        "/reverify_mode", summary="NeMo Gym: how rollouts are verified again", tags=["trainers"]
    )
    async def reverify_mode() -> str:
        return nemo_gym.reverify_mode()

    @app.get(
        "/global_config_dict_yaml",
        summary="NeMo Gym: this server, as a head server says it",
        tags=["trainers"],
    )
    async def global_config_dict_yaml(request: Request) -> str:
        return nemo_gym.global_config(request.headers.get("host", ""))
