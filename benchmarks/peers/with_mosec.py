"""mosec: a front in Rust, one worker, dynamic batches of up to 256 requests, waiting 2 ms."""

import sys

from mosec import Server, Worker
from pairs import Pairs


class Served(Worker):
    """The toy, JSON in and out."""

    def __init__(self) -> None:
        self.pairs = Pairs()

    def forward(self, data: list[dict[str, list[str]]]) -> list[dict[str, list[float]]]:
        """One batch."""
        found = self.pairs.together([(each["subjects"], each["objects"]) for each in data])
        return [{"p": p} for p in found]


if __name__ == "__main__":
    sys.argv[1:] = ["--port", sys.argv[1], "--address", "127.0.0.1", "--log-level", "error"]
    server = Server()
    server.append_worker(Served, max_batch_size=256, max_wait_time=2)
    server.run()
