"""gRPC: gives each call its id, tells of it in the log, and traces it.

It wraps the methods: an interceptor of gRPC's would cost more than all that it does. An id that the
client sent is sent back with the initial metadata; one that was made stands in the log only, since
sending it would cost every call a write. Of a stream, the whole is one line and one span.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final

import grpc
from grpc import aio
from structlog.contextvars import bind_contextvars

from service.telemetry.correlation import REQUEST_ID, TRACEPARENT, id_of, parent_of
from service.telemetry.reporting import Reporting
from service.telemetry.tracing import CURRENT

_ID: Final = REQUEST_ID.decode()
_PARENT: Final = TRACEPARENT.decode()
Context = aio.ServicerContext[Any, Any]


class ReportedCalls:
    """Tells of every call.

    Args:
        reporting: where to tell.
    """

    def __init__(self, reporting: Reporting):
        self._reporting = reporting

    def table(self, service: str, handlers: Mapping[str, Any]) -> dict[str, Any]:
        """The handlers of a service by method, told of."""
        return {name: self.handler(f"/{service}/{name}", one) for name, one in handlers.items()}

    def handler(self, route: str, handler: Any) -> Any:
        """One handler, told of; of a kind that nobody serves it stays as it is."""
        if handler.unary_unary is not None:
            return handler._replace(unary_unary=self._unary(route, handler.unary_unary))
        if handler.stream_stream is not None:
            return handler._replace(stream_stream=self._stream(route, handler.stream_stream))
        return handler

    def _unary(self, route: str, method: Any) -> Any:

        async def call(request: Any, context: Context) -> Any:
            with self._told(route, given := _given(context), context):
                if _ID in given:
                    await _echo(given, context)
                return await method(request, context)

        return call

    def _stream(self, route: str, method: Any) -> Any:

        async def call(requests: Any, context: Context) -> AsyncIterator[Any]:
            with self._told(route, given := _given(context), context):
                if _ID in given:
                    await _echo(given, context)
                async for response in method(requests, context):
                    yield response

        return call

    @contextmanager
    def _told(self, route: str, given: dict[str, Any], context: Context) -> Iterator[None]:
        started = perf_counter()
        request_id = id_of(_bytes(given.get(_ID))).decode("latin-1")
        parent = parent_of(_bytes(given.get(_PARENT)))
        trace, tracing = None, self._reporting.tracing
        if tracing is not None and tracing.wants(parent):
            service, _, method = route[1:].rpartition("/")
            told = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
            trace = tracing.begin(route[1:], parent, str(given.get("tracestate", "")), dict(told))
        trace_id = trace.trace_id if trace else parent.trace_id if parent else ""
        # In the call's own task: nothing to undo.
        bind_contextvars(request_id=request_id, **({"trace_id": trace_id} if trace_id else {}))
        if trace is not None:
            CURRENT.set(trace)
        raised = True
        try:
            yield
            raised = False
        finally:
            code = _code(context, raised)
            self._reporting.access.grpc(route, code, perf_counter() - started, request_id, trace_id)
            if trace is not None:
                trace.end({"rpc.grpc.status_code": grpc.StatusCode[code].value[0]},
                          None if code == "OK" else code)  # fmt: skip


_WANTED: Final = frozenset({_ID, _PARENT, "tracestate"})


def _bytes(value: Any) -> bytes | None:
    return value.encode("latin-1", "replace") if isinstance(value, str) else value


def _given(context: Context) -> dict[str, Any]:
    return {k: v for k, v in context.invocation_metadata() or () if k in _WANTED}


async def _echo(given: dict[str, Any], context: Context) -> None:
    found = id_of(_bytes(given[_ID])).decode("latin-1")
    await context.send_initial_metadata(((_ID, found),))


def _code(context: Context, raised: bool) -> str:
    """The name of the call's status; without one, a call that was left is cancelled."""
    if not raised:
        return "OK"
    found: Any = context.code()
    for code in grpc.StatusCode:
        if found in (code, code.value[0]) and code is not grpc.StatusCode.OK:
            return str(code.name)
    return "CANCELLED"
