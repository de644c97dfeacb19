"""A gRPC server that really listens and misbehaves on request; answers as ``fault_http`` does."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

import grpc
from fault_http import DIGEST, result_of

from softverifier._pb import rewards_pb2 as pb
from softverifier._pb import worldmodels_pb2 as models_pb


class GrpcDouble:
    """The same over gRPC. ``script`` entries are (code, message) or a callable."""

    def __init__(self):
        self.script = deque()
        self.requests = []
        self.metadata = []
        self.streams = 0
        self.digests = deque()
        self.port = 0
        self.serving = True
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self):
        return f"grpc://127.0.0.1:{self.port}"

    def start(self):
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self):
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    def _run(self):
        asyncio.run(self._serve())

    async def _serve(self):
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = grpc.aio.server()
        stream = grpc.stream_stream_rpc_method_handler(
            self._stream, pb.ScoreRequest.FromString, pb.ScoreResponse.SerializeToString
        )
        predict = grpc.unary_unary_rpc_method_handler(
            self._predict,
            models_pb.PredictRequest.FromString,
            models_pb.PredictResponse.SerializeToString,
        )
        listing = grpc.unary_unary_rpc_method_handler(
            self._list,
            models_pb.ListModelsRequest.FromString,
            models_pb.ListModelsResponse.SerializeToString,
        )
        check = grpc.unary_unary_rpc_method_handler(self._check)
        handlers = grpc.method_handlers_generic_handler
        server.add_generic_rpc_handlers(
            (
                handlers("softverifier.v1.Rewards", {"ScoreStream": stream}),
                handlers(
                    "softverifier.v1.WorldModels", {"Predict": predict, "ListModels": listing}
                ),
                handlers("grpc.health.v1.Health", {"Check": check}),
            )
        )
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        self._ready.set()
        await self._stopping.wait()
        await server.stop(None)

    async def _stream(self, requests, context):
        self.streams += 1
        self.metadata.append(dict(context.invocation_metadata()))
        async for request in requests:
            self.requests.append(request)
            act = self.script.popleft() if self.script else None
            if callable(act):
                response = await act(request, context)
            elif act is not None:
                error = pb.Error(code=act[0].value[0], message=act[1])
                response = pb.ScoreResponse(request_id=request.request_id, error=error)
            else:
                response = self.scores(request)
            if response is not None:
                yield response

    @staticmethod
    def scores(request):
        results = []
        for item in request.items:
            found = result_of({"id": item.id, "completion": item.completion})
            found.pop("a_field_of_the_future")
            found["components"] = [pb.Component(**part) for part in found["components"]]
            results.append(pb.Result(**found))
        return pb.ScoreResponse(request_id=request.request_id, results=results)

    async def _predict(self, request, context):
        if request.model != "screen":
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown model; did you mean 'screen'?")
        names = [request.names[i] for i in request.subjects]
        p = [float("nan") if name == "NOGENE" else len(name) / 7 for name in names]
        return models_pb.PredictResponse(
            p=p,
            status=bytes(1 if name == "NOGENE" else 0 for name in names),
            uncertainty=p,
            model=request.model,
            version="1",
            digest=self.digests.popleft() if self.digests else DIGEST,
        )

    async def _list(self, request, context):
        return models_pb.ListModelsResponse(models=[models_pb.Model(name="screen", cost_s=1e-6)])

    async def _check(self, request, context):
        assert request == b""
        return b"\x08\x01" if self.serving else b"\x08\x02"
