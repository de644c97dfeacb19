"""The series of a model host: its share of what the workers expose."""

from __future__ import annotations

from service.metrics import Metrics
from service.shelf import Shelf


class HostMetrics(Metrics):
    """Those of a model host, whose siblings see only what concerns models, as ``NAME@host``.

    What workers ask of it they count themselves: requests are not to be counted twice.
    """

    def __init__(self, shelf: Shelf):
        super().__init__()
        for series in (*self.of_models, *self.of_gpus):
            series.shelf = shelf

    def model_call(self, model: str, queries: int, seconds: float) -> None:  # noqa: D102
        super().model_call(f"{model}@host", queries, seconds)

    def queue_wait(self, model: str, seconds: float) -> None:  # noqa: D102
        super().queue_wait(f"{model}@host", seconds)

    def queue_depth(self, model: str, depth: int) -> None:  # noqa: D102
        super().queue_depth(f"{model}@host", depth)

    def model_fault(self, model: str, kind: str) -> None:  # noqa: D102
        super().model_fault(f"{model}@host", kind)
