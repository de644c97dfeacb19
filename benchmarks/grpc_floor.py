"""What a gRPC call costs before anything is done, and what our handler adds.

    python benchmarks/grpc_floor.py

Empty unary calls with messages of the size of 256 pairs, answered by grpc.aio and by the
synchronous server with four threads, server and load generator (h2load) on a core each; then the
handler of ``WorldModels.Predict`` alone, in this process.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import uvloop
from grpc import aio

import servers
import toy

REQUEST, RESPONSE = b"x" * 5700, b"x" * 6400
PATH = ("floor.Floor", "Call")
CALLS = 5000


def _handlers(behaviour: object) -> tuple[grpc.GenericRpcHandler]:
    method = grpc.unary_unary_rpc_method_handler(behaviour)
    return (grpc.method_handlers_generic_handler(PATH[0], {PATH[1]: method}),)


async def _serve_aio(address: str) -> None:
    async def answer(request: bytes, context: object) -> bytes:
        return RESPONSE

    server = aio.server()
    server.add_generic_rpc_handlers(_handlers(answer))
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


def _serve_threads(address: str) -> None:
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(_handlers(lambda request, context: RESPONSE))
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def _floor(kind: str, work: Path) -> float:
    """Microseconds of an empty call at 8 connections."""
    port = servers.free_port()
    command = [sys.executable, __file__, kind, f"127.0.0.1:{port}"]
    child = subprocess.Popen(servers.pinned(0, command))
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=20)
        found = servers.h2load(port, f"/{PATH[0]}/{PATH[1]}", REQUEST, 8, CALLS, work)
    finally:
        child.kill()
        child.wait()
    return 1e6 / found["rps"]


def _handler(work: Path) -> float:
    """Microseconds of our handler for 256 pairs: parse, model, serialise."""
    from service import app, settings
    from service.front.hot import finished
    from service.front.rpc_calls import WorldModels
    from service.security.gate import Gate
    from softverifier._pb import worldmodels_pb2 as pb

    file = work / "floor.toml"
    file.write_text(f'[starter]\nenabled = false\n[[models]]\npath = "{work / "toy"}"\n')
    pipeline = app.build(settings.load(file)).pipeline
    models = WorldModels(pipeline, Gate(pipeline.metrics))
    draw = random.Random(5)
    messages = [toy.predict_message(draw, toy.names(), 256) for _ in range(50)]
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        for message in messages:
            request = pb.PredictRequest.FromString(message)
            finished(models._predict(request, None, None))
        best = min(best, (time.perf_counter() - start) / len(messages))
    return best * 1e6


def main() -> None:
    """Serve if asked to, else measure."""
    if len(sys.argv) == 3:
        kind, address = sys.argv[1:]
        if kind == "aio":
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve_aio(address))
        _serve_threads(address)
        return
    servers.require("h2load")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        toy.write_model(work / "toy")
        print(
            f"empty call, grpc.aio                      {_floor('aio', work):6.0f} µs", flush=True
        )
        print(f"empty call, synchronous, four threads     {_floor('threads', work):6.0f} µs")
        print(f"handler of Predict alone, 256 pairs       {_handler(work):6.0f} µs")


if __name__ == "__main__":
    main()
