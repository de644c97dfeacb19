"""JSON bodies to items and results to JSON bodies.

The fast path decodes a body straight into structs. Only when that fails is it looked at again: an
item that cannot be read becomes a ``BadItem`` with its field named and its neighbours are kept; a
broken envelope is an error. Lone surrogates and invalid UTF-8, which trainers do send, are
replaced by U+FFFD on ingress, since they break hashing and protobuf further on.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeVar

import msgspec

from service import __version__
from service.errors import BadRequest, MalformedBody, ServiceError, TooLarge
from service.front.wording import explained
from service.requests import NO_CONTEXT, BadItem, RunContext
from service.rewards.core import Item, Result
from service.rewards.profiles import Profile
from worldmodels.core import Queries


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Labels for metrics and audit; never part of a cache key."""

    run: str = ""
    step: int | None = None
    split: str = ""


class ScoreRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/score``."""

    profile: str
    items: list[Item]
    context: Context | None = None
    deadline_ms: float | None = None


class _RawScoreRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same envelope with each item's JSON left as it is."""

    profile: str
    items: list[msgspec.Raw]
    context: Context | None = None
    deadline_ms: float | None = None


class _LooseScoreRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same envelope with its items as plain values."""

    profile: str
    items: list[Any]
    context: Context | None = None
    deadline_ms: float | None = None


class PredictRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/predict``: ``context`` for all rows, or ``contexts`` one for each."""

    model: str
    relation: str
    subjects: list[str]
    objects: list[str]
    context: str = ""
    contexts: list[str] | None = None
    deadline_ms: float | None = None


class ProfileRef(msgspec.Struct, frozen=True):
    """Which recipe gave the rewards."""

    name: str
    digest: str


class ServerRef(msgspec.Struct, frozen=True):
    """Which server gave the rewards."""

    version: str


class ScoreResponse(msgspec.Struct, frozen=True):
    """Answer of ``POST /v1/score``."""

    results: list[Result]
    profile: ProfileRef
    server: ServerRef


class PredictResponse(msgspec.Struct, frozen=True):
    """Answer of ``POST /v1/predict``; figures are null but where it is OK or POOLED."""

    p: list[float | None]
    p0: list[float | None] | None
    uncertainty: list[float | None] | None
    raw: list[float | None] | None
    status: list[str]
    model: str
    version: str
    digest: str


class ErrorBody(msgspec.Struct, frozen=True):
    """What went wrong, in which field, and what to do."""

    code: str
    message: str
    field: str | None = None


class ErrorResponse(msgspec.Struct, frozen=True):
    """Answer of every route that fails."""

    error: ErrorBody


_SCORE: Final = msgspec.json.Decoder(ScoreRequest)
_RAW_SCORE: Final = msgspec.json.Decoder(_RawScoreRequest)
_ITEM: Final = msgspec.json.Decoder(Item)
_PREDICT: Final = msgspec.json.Decoder(PredictRequest)
_ENCODER: Final = msgspec.json.Encoder()
_SERVER: Final = ServerRef(__version__)
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_T = TypeVar("_T")
Parsed = tuple[str, list[Item | BadItem], RunContext, float | None]


def read_score(body: bytes, max_items: int) -> Parsed:
    """Profile, items, context and deadline of a score request.

    Raises:
        MalformedBody: not JSON. BadRequest: a field of the envelope. TooLarge: too many items.
    """
    try:
        request = _SCORE.decode(body)
        items: list[Item | BadItem] = list(request.items)
        envelope: ScoreRequest | _RawScoreRequest | _LooseScoreRequest = request
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        envelope, items = _read_apart(body, max_items)
    check_count(len(items), max_items)
    _check_deadline(envelope.deadline_ms)
    context = envelope.context
    labels = RunContext(context.run, context.step, context.split) if context else NO_CONTEXT
    return envelope.profile, items, labels, envelope.deadline_ms


def read_predict(body: bytes, max_queries: int) -> tuple[str, Queries, float | None]:
    """Model, queries and deadline of a predict request; raises as ``read_score``."""
    try:
        request = _PREDICT.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        request = convert(parse(body), PredictRequest)
    _check_deadline(request.deadline_ms)
    n = len(request.subjects)
    contexts = request.contexts if request.contexts is not None else [request.context] * n
    return (
        request.model,
        queries_of(request.relation, request.subjects, request.objects, contexts, max_queries),
        request.deadline_ms,
    )


def queries_of(
    relation: str, subjects: list[str], objects: list[str], contexts: list[str], most: int
) -> Queries:
    """Columns of a predict request, checked."""
    if len(subjects) > most:
        raise TooLarge(
            f"subjects: {len(subjects)} rows, this server takes {most} at once; send them in "
            "several requests (limits.max_queries)",
            field="subjects",
        )
    for name, column in (("objects", objects), ("contexts", contexts)):
        if len(column) != len(subjects):
            raise BadRequest(
                f"{name}: {len(column)} rows, but subjects has {len(subjects)}; the columns of a "
                "request have one length",
                field=name,
            )
    return Queries(relation, subjects, objects, contexts)


def write_score(profile: Profile, results: list[Result]) -> bytes:
    """The body of a score response."""
    return _ENCODER.encode(
        ScoreResponse(results, ProfileRef(profile.name, profile.digest), _SERVER)
    )


def write(answer: Any) -> bytes:
    """Any struct or plain value as JSON; NaN, which JSON does not have, as null."""
    return _ENCODER.encode(answer)


def write_error(error: ServiceError) -> bytes:
    """The body of a failed request."""
    return _ENCODER.encode(ErrorResponse(ErrorBody(error.code, error.message, error.field)))


def check_count(found: int, most: int) -> None:
    """Refuse more items than the server takes."""
    if found > most:
        raise TooLarge(
            f"items: {found}, this server takes {most} in one request; send them in several "
            "(limits.max_items)",
            field="items",
        )


def _check_deadline(deadline_ms: float | None) -> None:
    if deadline_ms is not None and not deadline_ms > 0:
        raise BadRequest(
            f"deadline_ms: expected a positive number of milliseconds, got {deadline_ms:g}",
            field="deadline_ms",
        )


def _read_apart(
    body: bytes, max_items: int
) -> tuple[_RawScoreRequest | _LooseScoreRequest, list[Item | BadItem]]:
    """The envelope, and its items one by one so that a bad one stays alone."""
    try:
        envelope = _RAW_SCORE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        loose = convert(parse(body), _LooseScoreRequest)
        check_count(len(loose.items), max_items)
        return loose, [read_item(value, i) for i, value in enumerate(loose.items)]
    check_count(len(envelope.items), max_items)
    return envelope, [_read_raw(raw, i) for i, raw in enumerate(envelope.items)]


def _read_raw(raw: msgspec.Raw, index: int) -> Item | BadItem:
    try:
        return _ITEM.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # said better by what follows
    try:
        return read_item(parse(bytes(raw)), index)
    except MalformedBody as error:
        return BadItem(None, f"items[{index}]: {error.message}")


def read_as(body: bytes, kind: type[_T]) -> _T:
    """A body as a struct; raises as ``read_score``."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return convert(parse(body), kind)


def parse(body: bytes) -> Any:
    """JSON of any kind to plain values, with what cannot be a character replaced.

    Raises:
        MalformedBody: not JSON.
    """
    try:
        text = body.decode("utf-8", "replace")
        return clean(json.loads(text, parse_constant=_refuse_constant))
    except ValueError as error:
        what = "a number has too many digits" if "digits" in str(error) else str(error)
        raise MalformedBody(f"the body is not JSON: {what}") from None
    except RecursionError:
        raise MalformedBody("the body is nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON; send null for a missing number")


def clean(value: Any) -> Any:
    """Plain values with lone surrogates, which break hashing and protobuf, replaced by U+FFFD."""
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [clean(entry) for entry in value]
    if isinstance(value, dict):
        return {clean(key): clean(entry) for key, entry in value.items()}
    return value


def convert(value: Any, kind: type[_T], prefix: str = "") -> _T:
    """Plain values as a struct.

    Raises:
        BadRequest: a field is not what it should be.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        field, message = explained(str(error), kind, prefix)
        raise BadRequest(message, field=field) from None


def read_item(raw: Any, index: int) -> Item | BadItem:
    """Plain values as an item, or what is wrong with them."""
    try:
        return msgspec.convert(raw, Item)
    except msgspec.ValidationError as error:
        _, message = explained(str(error), Item, f"items[{index}]")
        found = raw.get("id") if isinstance(raw, dict) else None
        return BadItem(found if isinstance(found, str | int) else None, message)
