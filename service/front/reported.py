"""ASGI: gives each request its id, tells of it in the log, and traces it.

In front of the dispatcher. What the protocol beneath answers by its short cut never comes here.
"""

from __future__ import annotations

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from service.telemetry.correlation import REQUEST_ID, TRACEPARENT, Parent, id_of, parent_of
from service.telemetry.reporting import Reporting
from service.telemetry.tracing import CURRENT, Trace, Tracing


class Reported:
    """The application behind, told of.

    Args:
        behind: what answers.
        reporting: where to tell.
    """

    def __init__(self, behind: ASGIApp, reporting: Reporting):
        self._behind = behind
        self._reporting = reporting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._behind(scope, receive, send)
            return
        started = perf_counter()
        headers = dict(scope["headers"])
        request_id = id_of(headers.get(REQUEST_ID))
        parent = parent_of(headers.get(TRACEPARENT))
        trace = self._trace(scope, parent, headers.get(b"tracestate", b""))
        trace_id = trace.trace_id if trace else parent.trace_id if parent else ""
        status = 0

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = (REQUEST_ID, request_id)
                message = {**message, "headers": [*message.get("headers", ()), named]}
            await send(message)

        names = {"request_id": request_id.decode("latin-1")}
        if trace_id:
            names["trace_id"] = trace_id
        token = CURRENT.set(trace)
        try:
            with bound_contextvars(**names):
                await self._behind(scope, receive, tell)
        finally:
            CURRENT.reset(token)
            seconds = perf_counter() - started
            if status:  # 0: the client went away
                self._reporting.access.http(
                    scope["method"], scope["path"], status, seconds, request_id, trace_id
                )
            if trace is not None:
                error = f"HTTP {status}" if status >= 500 else None
                trace.end({"http.response.status_code": status} if status else {}, error)

    def _trace(self, scope: Scope, parent: Parent | None, tracestate: bytes) -> Trace | None:
        tracing = self._reporting.tracing
        decided = scope.get("state", {}).get("traced")  # the protocol has drawn already
        if tracing is None or not (tracing.wants(parent) if decided is None else decided):
            return None
        return _begun(tracing, scope, parent, tracestate)


def _begun(tracing: Tracing, scope: Scope, parent: Parent | None, tracestate: bytes) -> Trace:
    method, path = scope["method"], scope["path"]
    told = {"http.request.method": method, "url.path": path, "url.scheme": scope["scheme"]}
    return tracing.begin(f"{method} {path}", parent, tracestate.decode("latin-1"), dict(told))
