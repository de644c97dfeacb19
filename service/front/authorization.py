"""What ``/openapi.json`` says of who may ask: the ways to show a key, and what each route needs.

A route that needs no key of anybody names none. Where the server asks for keys, every other names
each way to show one, with the scope that the key must have; where it asks for none, it names them
beside the empty requirement, by which generated clients can send a key and need none. Limits: what
was asked for when the server started; scopes stand where OpenAPI 3.1 has roles, which older readers
may not expect of keys.
"""

from __future__ import annotations

from typing import Final

from service.security.gate import ANY, Gate, scope_of_route

_MADE: Final = "An API key, as `soft-verifier keys create` prints it"
KEYS: Final[dict[str, dict[str, str]]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": f"{_MADE}."},
    "user": {
        "type": "http",
        "scheme": "basic",
        "description": f"{_MADE}, as the user; whatever the password: http://KEY@host.",
    },
    "query": {
        "type": "apiKey",
        "in": "query",
        "name": "key",
        "description": f"{_MADE}, for clients that can be given a URL alone; proxies may log it.",
    },
}
CERTIFICATE: Final = {
    "type": "mutualTLS",
    "description": "A client certificate that one of the server's authorities signed.",
}


def schemes(gate: Gate) -> dict[str, dict[str, str]]:
    """``components.securitySchemes``."""
    return {**KEYS, "certificate": CERTIFICATE} if gate.certified else KEYS


def requirements(gate: Gate, method: str, path: str) -> list[dict[str, list[str]]]:
    """``security`` of one operation: each entry is a way in."""
    scope = scope_of_route(method, path)
    if gate.opens(scope):
        return []
    certificate: dict[str, list[str]] = {"certificate": []} if gate.certified else {}
    ways = [{**certificate, name: [] if scope == ANY else [scope]} for name in KEYS]
    return ways if gate.keyed else [certificate, *ways]
