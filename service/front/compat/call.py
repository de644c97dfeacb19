"""What a trainer's URL and headers say about all of its requests.

    ?profile=NAME          recipe, possibly pinned (NAME@sha256:…); also the header
                           ``x-softverifier-profile``; either goes over a label's own
    ?neutral=X             what a sample earns that has no reward; by default the profile's own
                           (``GET /v1/profiles/NAME``), which adapters give too
    ?on_missing=refuse     answer such a sample with an error instead; also the header
                           ``x-softverifier-on-missing``
    ?deadline_ms=N         longest time for one request, retries included; the server's by default
    ?run=NAME&step=N&split=NAME
                           whose samples they are, for metrics and the audit log; also the headers
                           ``x-softverifier-run``, ``-step`` and ``-split``; the URL goes over them
    ?scalar=1              of ``/rm``: a bare number

Unknown parameters are refused by name. Limits: what differs from sample to sample stands in labels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from service.errors import BadRequest, nearest
from service.requests import MOST_STEP, NO_CONTEXT, RunContext
from service.security.gate import ANYONE, Caller

IN_HEADERS: Final = ("profile", "run", "step", "split", "on_missing")
PARAMETERS: Final = (*IN_HEADERS, "neutral", "deadline_ms", "scalar")
_PREFIX: Final = b"x-softverifier-"
_HEADERS: Final = {
    _PREFIX + name.replace("_", "-").encode(): i for i, name in enumerate(IN_HEADERS)
}
ON_MISSING: Final = ("neutral", "refuse")


class Options(NamedTuple):
    """One run's wishes."""

    profile: str | None = None
    neutral: float | None = None
    refuse: bool = False
    deadline_ms: float | None = None
    context: RunContext = NO_CONTEXT
    scalar: bool = False
    caller: Caller = ANYONE
    """Who asks; not of the URL, which has been read before it comes here."""


class Call(NamedTuple):
    """One request."""

    options: Options
    body: bytes
    host: str
    """As the client addressed the server: ``host:port``, or ""."""


def read_call(
    query: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
    caller: Caller = ANYONE,
) -> Call:
    """The request with what its URL and headers say.

    Raises:
        BadRequest: an unknown parameter, or a value that cannot be.
    """
    stated, host = [b""] * len(IN_HEADERS), b""
    for name, value in headers:
        if name in _HEADERS:
            stated[_HEADERS[name]] = value
        elif name == b"host":
            host = value
    options = read_options(query, *stated)
    if caller is not ANYONE:
        options = options._replace(caller=caller)
    return Call(options, body, host.decode("latin-1"))


@functools.lru_cache(maxsize=1024)
def read_options(query: bytes, *headers: bytes) -> Options:
    """Query string and the values of ``IN_HEADERS`` as options; raises as ``read_call``."""
    found: dict[str, str] = {}
    text = query.decode("latin-1").replace("+", "%2B")  # profiles have a + in their names
    pairs = parse_qsl(text, keep_blank_values=True, errors="replace")
    for name, value in pairs:
        if name not in PARAMETERS:
            message = f"parameter {name!r} of the URL is not known{nearest(name, PARAMETERS)}"
            raise BadRequest(message, field=name)
        if name in found:
            raise BadRequest(f"parameter {name!r} stands twice in the URL", field=name)
        found[name] = value
    for name, header in zip(IN_HEADERS, headers, strict=False):
        said = header.decode("utf-8", "replace").strip()
        if said and not found.get(name):
            found[name] = said
    on_missing = found.get("on_missing", "neutral")
    if on_missing not in ON_MISSING:
        raise BadRequest(
            f"on_missing: {on_missing!r}, expected one of {', '.join(ON_MISSING)}",
            field="on_missing",
        )
    context = RunContext(found.get("run", ""), _step(found), found.get("split", ""))
    return Options(
        found.get("profile") or None,
        _number(found, "neutral"),
        on_missing == "refuse",
        _positive(found, "deadline_ms"),
        NO_CONTEXT if context == NO_CONTEXT else context,
        _switch(found, "scalar"),
    )


def _number(found: dict[str, str], name: str) -> float | None:
    if name not in found:
        return None
    try:
        value = float(found[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadRequest(f"{name}: {found[name]!r}, expected a finite number", field=name)
    return value


def _step(found: dict[str, str]) -> int | None:
    stated = found.get("step", "")
    if not stated:
        return None
    if not (stated.isascii() and stated.isdigit() and int(stated[:20]) < MOST_STEP):
        raise BadRequest(f"step: {stated!r}, expected a whole number from 0", field="step")
    return int(stated)


def _positive(found: dict[str, str], name: str) -> float | None:
    value = _number(found, name)
    if value is not None and value <= 0:
        raise BadRequest(f"{name}: {found[name]!r}, expected a positive number", field=name)
    return value


def _switch(found: dict[str, str], name: str) -> bool:
    value = found.get(name, "0")
    if value not in ("0", "1"):
        raise BadRequest(f"{name}: {value!r}, expected 1 or 0", field=name)
    return value == "1"
