"""grpc.aio as it comes: one unary method that computes where it is called, our messages."""

import asyncio
import sys

import grpc
from pairs import Pairs

from softverifier._pb import worldmodels_pb2 as pb

SERVICE, METHOD = "softverifier.v1.WorldModels", "Predict"


async def main(port: int) -> None:
    """Serve until killed."""
    pairs = Pairs()

    async def predict(asked: pb.PredictRequest, context: object) -> pb.PredictResponse:
        names = asked.names
        return pb.PredictResponse(
            p=pairs([names[i] for i in asked.subjects], [names[i] for i in asked.objects])
        )

    handler = grpc.unary_unary_rpc_method_handler(
        predict, pb.PredictRequest.FromString, pb.PredictResponse.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
