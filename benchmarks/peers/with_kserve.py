"""KServe's Python server: the V1 protocol. It batches nothing by itself (its agent would)."""

import sys

import kserve
from pairs import Pairs


class Served(kserve.Model):
    """The toy."""

    def __init__(self) -> None:
        super().__init__("pairs")
        self.pairs = Pairs()
        self.ready = True

    async def predict(
        self, payload: dict[str, list[list[str]]], headers: object = None, **_: object
    ) -> dict[str, list[float]]:
        """One request."""
        rows = payload["instances"]
        return {"predictions": self.pairs([a for a, _ in rows], [b for _, b in rows])}


if __name__ == "__main__":
    kserve.ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, access_log_format=None).start(
        [Served()]
    )
