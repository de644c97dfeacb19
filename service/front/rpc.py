"""The gRPC front end: the same pipeline over protobuf, with the same bits in the answers.

Handlers are registered generically from the table at the end, so no generated service code is
needed. What they do is in ``rpc_calls``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service.errors import MalformedBody, ServiceError
from service.front.rpc_calls import REWARDS, WORLD_MODELS, Rewards, WorldModels, guarded
from service.front.rpc_entry import Doorkeeper, options
from service.front.rpc_reported import ReportedCalls
from service.pipeline import Pipeline
from service.security.certificates import Certificates
from service.security.gate import Gate
from service.settings import Connections
from service.telemetry.reporting import SILENT, Reporting
from softverifier._pb import rewards_pb2 as pb
from softverifier._pb import worldmodels_pb2 as wm


async def serve(
    pipeline: Pipeline,
    address: str,
    max_message_bytes: int,
    *,
    shared: bool,
    gate: Gate | None = None,
    certificates: Certificates | None = None,
    connections: Connections | None = None,
    reports: Reporting = SILENT,
) -> tuple[aio.Server, int]:
    """Start the server on ``host:port``; the port that it got.

    Args:
        pipeline: what answers.
        address: ``host:port``.
        max_message_bytes: largest message, either way.
        shared: other processes serve the same port.
        gate: who may ask; None: everybody.
        certificates: TLS with these; None: without.
        connections: how many, and what they may do.
        reports: where calls are told of.

    Raises:
        RuntimeError: the address is taken.
    """
    gate = gate or Gate(pipeline.metrics)
    bounds = connections or Connections()  # type: ignore[call-arg]
    told = ReportedCalls(reports)
    keepers = [Doorkeeper(gate, told.handler)] if gate.bars else []
    server = aio.server(
        interceptors=keepers,
        options=options(max_message_bytes, bounds, shared=shared),
    )
    _register(server, pipeline, gate, told)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    names = (REWARDS, WORLD_MODELS, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    if certificates is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, certificates.grpc_credentials())
    await server.start()
    for name in ("", REWARDS, WORLD_MODELS):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    return server, port


def _reader(kind: Any) -> Callable[[bytes], Any]:
    """What reads a message; one that is none comes as the fault, to be told to the client.

    gRPC itself would answer UNKNOWN and end a stream as if it had been answered.
    """

    def read(data: bytes) -> Any:
        try:
            return kind.FromString(data)
        except DecodeError:
            name = kind.DESCRIPTOR.full_name
            return MalformedBody(f"the message is no {name} in protobuf's encoding")

    return read


def _written(message: Any) -> bytes:
    """A message, or what is one already, as bytes."""
    return message if isinstance(message, bytes) else bytes(message.SerializeToString())


async def _refused(fault: ServiceError) -> None:
    raise fault


def _register(server: aio.Server, pipeline: Pipeline, gate: Gate, told: ReportedCalls) -> None:
    rewards, models = Rewards(pipeline, gate), WorldModels(pipeline, gate)

    def unary(route: str, call: Callable[..., Awaitable[Any]], request: Any) -> Any:
        async def answered(found: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            if isinstance(found, MalformedBody):
                return await guarded(pipeline, route, context, _refused(found))
            return await call(found, context)

        return grpc.unary_unary_rpc_method_handler(
            answered,
            request_deserializer=_reader(request),
            response_serializer=_written,
        )

    stream = grpc.stream_stream_rpc_method_handler(
        rewards.score_stream,
        request_deserializer=_reader(pb.ScoreRequest),
        response_serializer=pb.ScoreResponse.SerializeToString,
    )
    tables = {
        REWARDS: {"Score": unary("Score", rewards.score, pb.ScoreRequest), "ScoreStream": stream},
        WORLD_MODELS: {
            "Predict": unary("Predict", models.predict, wm.PredictRequest),
            "ListModels": unary("ListModels", models.list_models, wm.ListModelsRequest),
        },
    }
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(name, told.table(name, table))
            for name, table in tables.items()
        )
    )
