"""How this process tells of its requests: built once from the settings, for both front ends."""

from __future__ import annotations

from dataclasses import dataclass

from service.metrics import Metrics
from service.settings import Telemetry
from service.telemetry.access import AccessLog
from service.telemetry.correlation import Parent
from service.telemetry.tracing import Spans, Tracing


@dataclass(frozen=True, slots=True)
class Reporting:
    """Log lines and traces."""

    access: AccessLog
    tracing: Tracing | None = None

    def wants(self, parent: Parent | None) -> bool:
        """Whether a request is to be traced."""
        return self.tracing is not None and self.tracing.wants(parent)

    def stop(self) -> None:
        """Send what is left. Blocking."""
        if self.tracing is not None:
            self.tracing.stop()


SILENT = Reporting(AccessLog(everything=False))
"""No traces; lines of what went wrong."""


def of_host(settings: Telemetry, metrics: Metrics) -> Reporting:
    """Of a model host: it goes on with the traces of the workers, and begins none of its own."""
    return build(settings.model_copy(update={"trace_ratio": 0.0, "log_level": "info"}), metrics)


def build(settings: Telemetry, metrics: Metrics) -> Reporting:
    """What the settings ask for.

    Raises:
        StartupFault: traces are wanted and OpenTelemetry is not installed.
    """
    access = AccessLog(everything=settings.log_level == "debug")
    if not settings.traces:
        return Reporting(access)
    metrics.listener = Spans()
    return Reporting(access, Tracing(settings.trace_ratio))
