"""What an HTTP request shows at the door, and whether the gate lets it in."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from service.errors import ServiceError, TooManyHeaders
from service.security import credentials
from service.security.gate import ANYONE, Caller, Gate, scope_of_route

MOST_HEADERS: Final = 128
CHALLENGE: Final = (
    b"www-authenticate",
    b'Bearer realm="soft-verifier", Basic realm="soft-verifier"',
)
"""Goes with each 401: browsers then ask for a user, which is the key."""


def admitted(scope: Scope, gate: Gate | None) -> Caller:
    """Whoever asks. A key in the URL is taken out of it, whether one is asked for or not.

    Raises:
        Unauthenticated, Forbidden: he may not. TooManyHeaders.
    """
    if too_long := scope.get("state", {}).get("too_long"):  # the protocol has measured them
        raise TooManyHeaders(too_long, field="headers")
    if len(scope["headers"]) > MOST_HEADERS:
        raise TooManyHeaders(
            f"{len(scope['headers'])} headers; this server takes {MOST_HEADERS}", field="headers"
        )
    given = None
    if scope.get("query_string"):
        scope["query_string"], given = credentials.taken_out(scope["query_string"])
    if gate is None or not gate.bars:
        return ANYONE
    authorization = next((v for name, v in scope["headers"] if name == b"authorization"), None)
    wanted = scope_of_route(scope["method"], scope["path"])
    certified = bool(scope.get("state", {}).get("certified"))
    try:
        return gate.admit(wanted, authorization, given, certified=certified)
    except ServiceError as error:
        gate.count(error)
        raise
