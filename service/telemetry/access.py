"""One log line for a request: at ``debug`` if it went well, else always.

A line has the route without its query (which may hold a key), the status and the time; never what
was asked or answered.
"""

from __future__ import annotations

from typing import Final

import structlog

log = structlog.get_logger("access")

OUR_FAULT: Final = frozenset(
    {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "DATA_LOSS"}
)


class AccessLog:
    """Writes the lines.

    Args:
        everything: requests that went well too, at ``debug``.
    """

    def __init__(self, *, everything: bool):
        self.everything = everything

    def http(
        self, method: str, route: str, status: int, seconds: float, request_id: bytes, trace_id: str
    ) -> None:
        """Tell of an HTTP request."""
        if status < 400 and not self.everything:
            return
        tell = log.debug if status < 400 else log.warning if status < 500 else log.error
        told = _told(request_id.decode("latin-1"), trace_id, seconds)
        tell("request", method=method, route=route, status=status, **told)

    def grpc(self, route: str, code: str, seconds: float, request_id: str, trace_id: str) -> None:
        """Tell of a gRPC call; of a stream, when it ends."""
        if code == "OK" and not self.everything:
            return
        tell = log.debug if code == "OK" else log.error if code in OUR_FAULT else log.warning
        tell("request", route=route, code=code, **_told(request_id, trace_id, seconds))


def _told(request_id: str, trace_id: str, seconds: float) -> dict[str, object]:
    told: dict[str, object] = {"ms": round(seconds * 1000, 2), "request_id": request_id}
    if trace_id:
        told["trace_id"] = trace_id
    return told
