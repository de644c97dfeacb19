"""What is told of the server's work: the section ``[telemetry]``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.section import SECTION


class Telemetry(BaseModel):
    """Logs, metrics and traces."""

    model_config = SECTION

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged, on standard error."""
    log_format: Literal["console", "json"] = "console"
    """`console` to read, `json` for a collector: one object a line."""
    max_runs: int = Field(64, ge=0)
    """Distinct `context.run` values kept as metric labels; later ones count as `other`."""
    traces: bool = False
    """Send OpenTelemetry traces over OTLP/HTTP, as the standard OTEL_* variables say; needs
    `soft-verifier[otel]`."""
    trace_ratio: float = Field(0.01, ge=0, le=1)
    """Share of the requests that is traced where the caller does not decide (`traceparent`)."""
