"""BentoML: a batchable endpoint of up to 256 rows, one worker.

It learns its own wait below ``max_latency_ms``: with 100 it refuses much of 256 connections on a
busy machine, with the 60,000 that it comes with it waits 140 ms for one connection.
"""

import os
import sys
from pathlib import Path

import bentoml
from pairs import Pairs


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 4096})
class Served:
    """The toy."""

    def __init__(self) -> None:
        self.pairs = Pairs()

    @bentoml.api(batchable=True, max_batch_size=256, max_latency_ms=1000)
    def predict(self, pairs: list[tuple[str, str]]) -> list[float]:
        """Rows of one batch."""
        return self.pairs([a for a, _ in pairs], [b for _, b in pairs])


if __name__ == "__main__":
    os.chdir(Path(__file__).parent)
    command = ["-m", "bentoml", "serve", "with_bentoml:Served", "--port", sys.argv[1]]
    os.execv(sys.executable, [sys.executable, *command, "--host", "127.0.0.1"])
