"""LitServe: dynamic batches of up to 256 requests, waiting 2 ms, its faster queue."""

import sys

import litserve
from pairs import Columns, Pairs


class Served(litserve.LitAPI):
    """The toy in LitServe's steps."""

    def setup(self, device: str) -> None:
        """Load in the worker."""
        self.pairs = Pairs()

    def decode_request(self, request: dict[str, list[str]]) -> Columns:
        """Columns of one request."""
        return request["subjects"], request["objects"]

    def batch(self, inputs: list[Columns]) -> list[Columns]:
        """Requests stay apart: they differ in length."""
        return inputs

    def predict(self, batch: list[Columns]) -> list[list[float]]:
        """One batch."""
        return self.pairs.together(batch)

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        """One answer a request."""
        return output

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """JSON."""
        return {"p": output}


if __name__ == "__main__":
    api = Served(max_batch_size=256, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", fast_queue=True)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="error", generate_client_file=False
    )
