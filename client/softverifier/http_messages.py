"""Asks as HTTP requests, HTTP responses as replies or faults. No I/O.

Scores are written item by item, so that asking again for a few costs no second encoding. A
response that is no JSON, has the wrong length or another item's id is a fault that is tried again
and never a shorter list.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

from softverifier.exchange import Ask, ListAsk, PredictAsk, ProbeAsk, ScoreAsk
from softverifier.items import without_lone_surrogates
from softverifier.patience import Fault
from softverifier.rewards import Malformed, Reward, prediction_of, reward_of

RETRYABLE: Final = frozenset({408, 429})
EXCERPT: Final = 300


class Message(NamedTuple):
    """What goes on the wire."""

    method: str
    path: str
    body: bytes | None


def message_of(ask: Ask) -> Message:
    """The request that stands for an ask."""
    if isinstance(ask, ScoreAsk):
        return Message("POST", "/v1/score", _score_body(ask))
    if isinstance(ask, PredictAsk):
        return Message("POST", "/v1/predict", _predict_body(ask))
    if isinstance(ask, ListAsk):
        return Message("GET", f"/v1/{ask.what}", None)
    return Message("GET", f"/{ask.what}", None)


def _dumps(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return without_lone_surrogates(text).encode()


def _score_body(ask: ScoreAsk) -> bytes:
    head: dict[str, Any] = {"profile": ask.profile}
    if ask.context:
        head["context"] = dict(ask.context)
    if ask.deadline_ms is not None:
        head["deadline_ms"] = ask.deadline_ms
    return b"".join((_dumps(head)[:-1], b',"items":[', b",".join(ask.payloads), b"]}"))


def _predict_body(ask: PredictAsk) -> bytes:
    body: dict[str, Any] = {
        "model": ask.model,
        "relation": ask.relation,
        "subjects": list(ask.subjects),
        "objects": list(ask.objects),
    }
    if isinstance(ask.context, str):
        body["context"] = ask.context
    else:
        body["contexts"] = list(ask.context)
    if ask.deadline_ms is not None:
        body["deadline_ms"] = ask.deadline_ms
    return _dumps(body)


def reply_of(ask: Ask, status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """What the response says.

    Raises:
        Fault: it is no success, or not what the interface promises.
    """
    if isinstance(ask, ProbeAsk):
        return status == 200
    if not 200 <= status < 300:
        raise _refusal(status, headers, body)
    try:
        raw = json.loads(body)
        if not isinstance(raw, dict):
            raise Malformed("the body is no JSON object")
        if isinstance(ask, ScoreAsk):
            return _rewards(ask, raw)
        if isinstance(ask, PredictAsk):
            return prediction_of(raw, len(ask.subjects))
        return _listing(raw, ask.what)
    except ValueError as error:  # json's, UnicodeDecodeError and Malformed are all of this kind
        raise Fault(
            f"HTTP {status}, but not as the interface says: {error}", retryable=True, status=status
        ) from error


def _rewards(ask: ScoreAsk, raw: Mapping[str, Any]) -> list[Reward]:
    results = raw.get("results")
    if not isinstance(results, list) or len(results) != len(ask.payloads):
        count = len(results) if isinstance(results, list) else "no"
        raise Malformed(f"{count} results for {len(ask.payloads)} items")
    return [reward_of(result) for result in results]


def _listing(raw: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    found = raw.get(what)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise Malformed(f"no list {what!r}")
    return found


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    code, message, field = _error_fields(body)
    where = f" (field {field})" if field else ""
    return Fault(
        f"HTTP {status}{f' {code}' if code else ''}: {message}{where}{_advice(status, headers)}",
        retryable=status in RETRYABLE or status >= 500,
        status=status,
        code=code,
        field=field,
        retry_after=_retry_after(headers),
    )


def _error_fields(body: bytes) -> tuple[str, str, str | None]:
    try:
        error = json.loads(body)["error"]
        field = error.get("field")
        return str(error["code"]), str(error["message"]), None if field is None else str(field)
    except (ValueError, KeyError, TypeError, AttributeError):
        # A proxy's page, or another server: show the start of what it said.
        text = body[:EXCERPT].decode("utf-8", "replace").strip()
        return "", text or "(no body)", None


def _advice(status: int, headers: Mapping[str, str]) -> str:
    if status in (401, 403):
        return "; pass a valid api_key="
    if status == 413:
        return "; lower max_items_per_request or max_bytes_per_request"
    if 300 <= status < 400:
        return f"; redirected to {headers.get('location', '?')}: use that URL"
    return ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return max(0.0, when.timestamp() - time.time())
