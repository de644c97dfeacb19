"""By which names a request is found again: its id, and the trace that it belongs to.

An id is the client's ``x-request-id`` if it is one (up to 128 visible ASCII characters), else made
here. A trace is what a W3C ``traceparent`` names; versions to come are read as version 00, as the
standard wants. Limits: ``tracestate`` is passed on where spans are made, and not looked at here.
"""

from __future__ import annotations

import re
import secrets
from itertools import count
from typing import Final, NamedTuple

REQUEST_ID: Final = b"x-request-id"
TRACEPARENT: Final = b"traceparent"
MOST_CHARS: Final = 128
_ID: Final = re.compile(rb"[\x21-\x7e]{1,%d}" % MOST_CHARS)
_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_PROCESS: Final = secrets.token_hex(6)
_NUMBERS: Final = count(1)


class Parent(NamedTuple):
    """The caller's span."""

    trace_id: str
    span_id: str
    sampled: bool


def made_id() -> bytes:
    """An id that no other request of any process has."""
    return f"{_PROCESS}-{next(_NUMBERS):x}".encode()


def id_of(given: bytes | None) -> bytes:
    """The client's id if it is one, else a made one."""
    return given if given is not None and _ID.fullmatch(given) else made_id()


def parent_of(traceparent: bytes | None) -> Parent | None:
    """The caller's span; None where there is none, or none that can be read."""
    if traceparent is None:
        return None
    found = _PARENT.fullmatch(traceparent.strip())
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5]):
        return None
    trace_id, span_id = found[2].decode(), found[3].decode()
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return Parent(trace_id, span_id, bool(int(found[4], 16) & 1))
