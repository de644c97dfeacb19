"""What ``/openapi.json`` says: bodies, answers and errors of every route, as they are.

The hot routes and the trainers' are answered beneath FastAPI, which therefore knows neither what
they read nor what they answer, and of the others not how they fail. Limits: answers that echo what
was sent, and those that differ from server to server, are described by the fields that always are
there; routes that FastAPI adds for its own documentation are not described.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from fastapi import FastAPI

from service import errors
from service.front import authorization, wire
from service.front.compat import call, open_instruct, openrlhf, vllm
from service.front.compat.routes import ROUTES
from service.metrics import Metrics
from service.security.gate import ANY, OPEN, Gate, scope_of_route

_JSON: Final = "application/json"
_REF: Final = "#/components/schemas/{name}"
_JUDGING: Final[tuple[type[errors.ServiceError], ...]] = (
    errors.MalformedBody,
    errors.NotFound,
    errors.Conflict,
    errors.TooLarge,
    errors.BadRequest,
    errors.Overloaded,
    errors.NotReady,
    errors.DeadlineExceeded,
)


_DOORS: Final[Mapping[int, str]] = {
    408: "The request's headers or body took too long; the connection ends",
    503: "Too many connections; the connection ends",
}
"""What ``front.doors`` answer before any route is asked."""


class Described(NamedTuple):
    """One route."""

    answer: type | dict[str, Any]
    """Of a 200: a struct, or a schema."""
    faults: tuple[type[errors.ServiceError], ...] = ()
    body: type | dict[str, Any] | None = None
    media: tuple[str, ...] = (_JSON,)
    also: tuple[int, ...] = ()
    """Other codes that come with the same answer."""


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "number"}
_MODEL: Final = _object(
    "name", "family", "version", "digest", "relations", "contexts", "card", "cost_s", "run",
    "prepared", "retiring",
)  # fmt: skip
_PROFILE: Final = _object(
    "name", "version", "digest", "description", "task_types", "range", "neutral", "recipe",
    "example", "knowledge", "available", "unavailable_because",
)  # fmt: skip
_ROLLOUT: Final = _object(
    "reward",
    "reward_components",
    "mask_sample",
    reward=_NUMBER,
    reward_components={"type": "object", "additionalProperties": _NUMBER},
    mask_sample={"type": "boolean"},
    failure_reason={"type": ["string", "null"]},
)
_METRICS: Final = _object(
    "group_level_metrics",
    "agent_metrics",
    "key_metrics",
    group_level_metrics={"type": "array", "items": {"type": "object"}},
    agent_metrics={"type": "object"},
    key_metrics={"type": "object"},
)
_TRAINERS: Final[Mapping[str, type | dict[str, Any]]] = {
    "/get_reward": openrlhf.RewardResponse,
    "/rm": {
        "oneOf": [
            _NUMBER,
            {**_object("reward", "score"), "additionalProperties": _NUMBER},
        ]
    },
    "/seed_session": _object(resources_session_id=_TEXT),
    "/verify": _ROLLOUT,
    "/aggregate_metrics": _METRICS,
    "/test_program": open_instruct.ProgramResponse,
    "/classify": vllm.ClassifyResponse,
}
_UNREAD: Final = (errors.MalformedBody, errors.TooLarge, errors.BadRequest)
_UNJUDGED: Final = ("/seed_session", "/aggregate_metrics")

DESCRIBED: Final[Mapping[str, Described]] = {
    "/v1/score": Described(wire.ScoreResponse, _JUDGING, wire.ScoreRequest),
    "/v1/predict": Described(wire.PredictResponse, _JUDGING, wire.PredictRequest),
    "/": Described(_object("service", "version", "routes")),
    "/v1/models": Described(_object("models", models={"type": "array", "items": _MODEL})),
    "/v1/models/{name}": Described(_MODEL, (errors.NotFound,)),
    "/v1/models/{name}/reload": Described(
        _object("model", "changed", "before", "digest", changed={"type": "boolean"}),
        (errors.Forbidden, errors.NotFound, errors.Conflict, errors.NotReady),
    ),
    "/v1/models/{name}/card": Described(
        {}, (errors.NotFound, errors.BadRequest), media=(_JSON, "text/markdown")
    ),
    "/v1/models/{name}/card/{figure}": Described({}, (errors.NotFound,), media=("image/svg+xml",)),
    "/v1/profiles": Described(_object("profiles", profiles={"type": "array", "items": _PROFILE})),
    "/v1/profiles/{name}": Described(_PROFILE, (errors.NotFound,)),
    "/healthz": Described(_object("status", "stalled"), also=(503,)),
    "/readyz": Described(_object("status", "models"), also=(503,)),
    "/metrics": Described(_TEXT, media=("text/plain",)),
    "/reverify_mode": Described(_TEXT),
    "/global_config_dict_yaml": Described(_TEXT),
    **{
        path: Described(
            _TRAINERS[path],
            _UNREAD if path in _UNJUDGED else _JUDGING,
            route.body or {"type": "object"},
        )
        for path, route in ROUTES.items()
    },
}
"""Every route of the service."""

_MEANT: Final = {
    "profile": "recipe, possibly pinned (NAME@sha256:…); or the header x-softverifier-profile",
    "neutral": "what a sample earns that has no reward; by default the profile's own",
    "on_missing": "refuse: answer such a sample with an error instead",
    "deadline_ms": "longest time for one request, retries included",
    "run": "whose samples they are, for metrics and the audit log",
    "step": "the optimiser's step",
    "split": "train or eval",
    "scalar": "1, of /rm: a bare number",
}
_KINDS: Final[Mapping[str, dict[str, Any]]] = {
    "neutral": _NUMBER,
    "on_missing": {"type": "string", "enum": list(call.ON_MISSING)},
    "deadline_ms": {"type": "number", "exclusiveMinimum": 0},
    "step": {"type": "integer", "minimum": 0},
    "scalar": {"type": "string", "enum": ["0", "1"]},
}


def describe(app: FastAPI, gate: Gate | None = None) -> None:
    """Have the application's OpenAPI say what is in ``DESCRIBED``, and whom the gate lets in."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(plain(), gate or Gate(Metrics()))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(schema: dict[str, Any], gate: Gate) -> dict[str, Any]:
    structs: list[type] = [wire.ErrorResponse]
    for one in DESCRIBED.values():
        structs += [kind for kind in (one.answer, one.body) if isinstance(kind, type)]
    references, components = msgspec.json.schema_components(structs, ref_template=_REF)
    named = dict(zip(structs, references, strict=True))
    schema["components"] = {"schemas": components, "securitySchemes": authorization.schemes(gate)}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _complete(operation, DESCRIBED[path], _kept_out(method.upper(), path), named)
            operation["security"] = authorization.requirements(gate, method.upper(), path)
            if path in ROUTES:
                operation["parameters"] = _parameters()
    return schema


def _kept_out(method: str, path: str) -> list[type[errors.ServiceError]]:
    """What is answered to who may not ask; the latter two where there are keys or certificates."""
    scope = scope_of_route(method, path)
    found: list[type[errors.ServiceError]] = [errors.TooManyHeaders]
    if scope != OPEN:
        found.append(errors.Unauthenticated)
    if scope not in (OPEN, ANY):
        found.append(errors.Forbidden)
    return found


def _complete(
    operation: dict[str, Any],
    told: Described,
    kept_out: list[type[errors.ServiceError]],
    named: dict[Any, dict[str, Any]],
) -> None:
    def content(kind: type | dict[str, Any], media: tuple[str, ...] = (_JSON,)) -> dict[str, Any]:
        schema = named[kind] if isinstance(kind, type) else kind
        return {"content": {one: {"schema": schema} for one in media}}

    if told.body is not None:
        operation["requestBody"] = {"required": True, **content(told.body)}
    answers = {
        str(code): {"description": _said(code), **content(told.answer, told.media)}
        for code in (200, *told.also)
    }
    faults: list[type[errors.ServiceError]] = [*told.faults, *kept_out, errors.ServiceError]
    for fault in faults:
        answers[str(fault.http)] = {
            "description": (fault.__doc__ or "").strip(),
            **content(wire.ErrorResponse),
        }
    for code, said in _DOORS.items():
        answers.setdefault(str(code), {"description": said, **content(wire.ErrorResponse)})
    operation["responses"] = answers


def _said(code: int) -> str:
    return "The answer" if code == 200 else "Not now; the answer says why"


def _parameters() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": _MEANT[name],
            "schema": _KINDS.get(name, _TEXT),
        }
        for name in call.PARAMETERS
    ]
