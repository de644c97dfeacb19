"""Whose trace a question belongs to: what a model that asks another server sends along with it.

Headers of W3C Trace Context (``traceparent``, ``tracestate``), set by who asks a model around the
call, in the thread that calls; nothing is set where nothing is traced. Models that compute
themselves need not look. Limits: one trace, though a batch may hold questions of several.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

Headers = tuple[tuple[str, str], ...]
"""Names in lower case, with their values: metadata as gRPC takes it."""
CARRIED: Final[ContextVar[Headers]] = ContextVar("trace_context", default=())
