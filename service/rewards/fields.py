"""Answers that stand in a field of JSON: one object beside nothing, or one tool call's arguments.

Strict, because JSON is lenient where it hurts: a key that comes twice, of which readers take one or
the other, is MALFORMED, and so are a number that is none (``NaN``) and an object, or a list of
other things than strings, as the value; a second spelling of the answer's key ("Answer") beside it
is a second answer. Other keys may stand beside the answer and are not read; an object deeper down
is never searched. Prose beside the object is MALFORMED, the answer's key in the reasoning a second
answer.

A string is the answer as it stands, a number as it is written (``0.30``), a list of strings as the
JSON list that forms of several names read. More than ``MAX_OPEN`` brackets are MALFORMED: they
could nest deeper than the parser goes, which depends on the stack. Linear in the text.

Not covered: duplicate keys in arguments that arrive as an object, already read by someone else.
"""

from __future__ import annotations

import json
from typing import Any, Final

from service.rewards.core import Reason
from service.rewards.ingress import composed
from service.rewards.messages import Call

MAX_OPEN: Final = 500
"""Opening brackets, those in strings included."""
_FENCES: Final = ("```json\n", "```JSON\n", "```\n")


class _Number(str):
    """A number as it is written."""


class _Twice(ValueError):
    """A key stands twice in one object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _Twice
    return made


def _no_number(name: str) -> Any:
    raise ValueError(name)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_Number, parse_int=_Number, parse_constant=_no_number
)


def in_json(text: str, field: str) -> str | Reason:
    """The answer of a text that is one JSON object, alone or alone in a code fence."""
    text = text.strip()
    if text.startswith("```"):
        inside = _unfenced(text)
        if inside is None:
            return Reason.MALFORMED
        text = inside
    if not text.startswith("{"):
        return Reason.MALFORMED if "{" in text else Reason.NO_ANSWER
    if _deep(text):
        return Reason.MALFORMED
    try:
        found, end = _DECODER.raw_decode(text)
    except ValueError:
        return Reason.MALFORMED
    if text[end:].strip():
        return Reason.SEVERAL_ANSWERS if "{" in text[end:] else Reason.MALFORMED
    return _value(found, field)


def in_calls(calls: list[Call], tool: str, field: str) -> str | Reason:
    """The answer of the one call that there is.

    No call is no answer, two calls of the tool are two answers, and a call of another tool says
    that the answer is not final: MALFORMED beside the answer, else NO_ANSWER.
    """
    named = [call for call in calls if call.name == tool]
    if len(named) != 1:
        return Reason.SEVERAL_ANSWERS if named else Reason.NO_ANSWER
    if len(calls) > 1:
        return Reason.MALFORMED
    arguments = named[0].arguments.strip()
    if not arguments:
        return Reason.NO_ANSWER
    if _deep(arguments):
        return Reason.MALFORMED
    try:
        found = _DECODER.decode(arguments)
    except ValueError:
        return Reason.MALFORMED
    return _value(found, field) if isinstance(found, dict) else Reason.MALFORMED


def _deep(text: str) -> bool:
    return text.count("{") + text.count("[") > MAX_OPEN


def _unfenced(text: str) -> str | None:
    """The inside of a text that is one code fence."""
    text = text.replace("\r\n", "\n")
    for opening in _FENCES:
        if text.startswith(opening) and text.endswith("\n```"):
            return text[len(opening) : -len("\n```")].strip()
    return None


def _value(found: dict[str, Any], field: str) -> str | Reason:
    alike = [key for key in found if key.strip().casefold() == field.casefold()]
    if field not in found:
        return Reason.MALFORMED if alike else Reason.NO_ANSWER
    if len(alike) > 1:
        return Reason.SEVERAL_ANSWERS
    value = found[field]
    if value is None:
        return Reason.NO_ANSWER
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, list):
        if not all(isinstance(name, str) and not isinstance(name, _Number) for name in value):
            return Reason.MALFORMED
        value = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str):
        return Reason.MALFORMED
    return composed(str(value)) or (Reason.MALFORMED if value else Reason.NO_ANSWER)
