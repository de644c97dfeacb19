"""Ray Serve: dynamic batches of up to 256, waiting 2 ms, 1,024 requests at once in the replica."""

import signal
import sys
from typing import Any

import ray
from pairs import Columns, Pairs
from ray import serve


@serve.deployment(max_ongoing_requests=1024, ray_actor_options={"num_cpus": 1})
class Served:
    """The toy."""

    def __init__(self) -> None:
        self.pairs = Pairs()

    @serve.batch(max_batch_size=256, batch_wait_timeout_s=0.002)
    async def predict(self, asked: list[Columns]) -> list[list[float]]:
        """One batch."""
        return self.pairs.together(asked)

    async def __call__(self, request: Any) -> dict[str, list[float]]:
        """One request."""
        body = await request.json()
        return {"p": await self.predict((body["subjects"], body["objects"]))}


if __name__ == "__main__":
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        logging_level="error",
        log_to_driver=False,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Served.bind(), route_prefix="/predict")
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    serve.shutdown()
    ray.shutdown()
