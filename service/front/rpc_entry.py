"""What a gRPC call shows at the door, and how the port is bounded.

Compressed messages are refused: gRPC would unpack them whole before it knows how large they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from grpc import aio

from service.errors import ServiceError
from service.security.gate import Gate
from service.settings import Connections

UNCOMPRESSED: Final = 1
"""The set of encodings that holds identity alone."""


def options(
    max_message_bytes: int, connections: Connections, *, shared: bool
) -> list[tuple[str, int]]:
    """Arguments of the channel; ``shared``: other processes serve the same port."""
    most = connections.max_header_kb * 1024
    ages = {
        "grpc.max_connection_age_ms": connections.grpc_age_s,
        "grpc.max_connection_age_grace_ms": connections.grpc_age_grace_s,
    }
    return [
        *((name, max(1, round(seconds * 1000))) for name, seconds in ages.items() if seconds),
        ("grpc.so_reuseport", int(shared)),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.compression_enabled_algorithms_bitset", UNCOMPRESSED),
        ("grpc.max_allowed_incoming_connections", connections.max),
        ("grpc.max_metadata_size", most),
        ("grpc.absolute_max_metadata_size", most),
        ("grpc.server_handshake_timeout_ms", int(connections.header_s * 1000)),
        # A client whose machine is gone is noticed, though it never says so.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]


class Doorkeeper(aio.ServerInterceptor):
    """Asks the gate before any method is begun.

    Handlers ask it again for whom they charge, streams for each of their messages: a key may be
    revoked while they last.

    Args:
        gate: whom it asks.
        told: given a method and its handler, one that is told of in the log: who is turned away
            here never comes to the handlers that are.
    """

    def __init__(self, gate: Gate, told: Callable[[str, Any], Any]):
        self._gate = gate
        self._told = told

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's own handler, or one that says why not."""
        found = await continuation(handler_call_details)
        if not self._gate.bars or found is None:
            return found
        try:
            self._gate.admit_call(
                handler_call_details.method, handler_call_details.invocation_metadata
            )
        except ServiceError as error:
            self._gate.count(error)
            return self._told(handler_call_details.method, _refusing(found, error))
        return found


def _refusing(handler: Any, error: ServiceError) -> Any:
    """A handler of the same kind that answers nothing but the error."""

    async def refuse(_: Any, context: aio.ServicerContext[Any, Any]) -> None:
        await context.abort(grpc.StatusCode[error.grpc], error.message)

    async def refuse_all(_: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
        await context.abort(grpc.StatusCode[error.grpc], error.message)
        yield  # never reached; other interceptors iterate over what streams

    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(refuse_all)
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(refuse)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(refuse_all)
    return grpc.unary_unary_rpc_method_handler(refuse)
