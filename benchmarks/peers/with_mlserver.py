"""MLServer: a custom runtime, adaptive batches of up to 256 requests, waiting 2 ms."""

import asyncio
import sys

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from pairs import Pairs


class Served(MLModel):
    """The toy behind the V2 protocol."""

    async def load(self) -> bool:
        """Load in the worker."""
        self.pairs = Pairs()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One batch."""
        subjects, objects = (StringCodec.decode_input(column) for column in payload.inputs)
        p = self.pairs(subjects, objects)
        output = ResponseOutput(name="p", shape=[len(p), 1], datatype="FP64", data=p)
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main(port: int) -> None:
    """Serve until SIGTERM."""
    settings = Settings(
        host="127.0.0.1",
        http_port=port,
        grpc_port=port + 1,
        metrics_port=port + 2,
        parallel_workers=0,
        debug=False,
    )
    model = ModelSettings(
        name="pairs", implementation=Served, max_batch_size=256, max_batch_time=0.002
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
