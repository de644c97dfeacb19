"""OpenTelemetry traces of requests, through the stages to the model's time.

Whether a request is traced is decided once, when it arrives: as its caller decided
(``traceparent``), else by chance. Its span is begun then; what happens to it is noted as plain
values, and made into child spans when it ends: one for each stage, and one for each batch that its
queries went with, with the wait before it. A request that is not traced costs a comparison.

Spans leave over OTLP/HTTP, as the standard ``OTEL_*`` variables say, on a thread of their own.
A server that is asked as a remote model goes on with the trace, and so does a model host. Limits: a
batch goes on in the trace of one of its requests, the first that is traced; nobody is followed into
the processes that carry out work.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from service import __version__
from service.errors import StartupFault
from service.telemetry.correlation import Parent
from service.waiting import Flight, Trip
from worldmodels.core import ModelSpec
from worldmodels.trace_context import Headers

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

Attributes = dict[str, str | int | float | bool]
PREFIX: Final = "softverifier"
MOST_STATE: Final = 512
"""Characters of a client's ``tracestate`` that go on to other servers, as W3C Trace Context wants
at least: one that refuses longer headers would refuse the questions of all in the batch."""


class _Noted(NamedTuple):
    name: str
    began: float
    seconds: float
    attributes: Attributes


class Trace:
    """One traced request, from its arrival to its answer."""

    def __init__(self, span: Any, tracer: Any):
        self._span = span
        self._tracer = tracer
        self._noted: list[_Noted] = []
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    @property
    def trace_id(self) -> str:
        """As logs and ``traceparent`` write it."""
        return f"{self._span.get_span_context().trace_id:032x}"

    @property
    def headers(self) -> Headers:
        """By which another server goes on with it; without a ``tracestate`` that is too long."""
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(self._span))
        if len(carrier.get("tracestate", "")) > MOST_STATE:
            del carrier["tracestate"]
        return tuple(carrier.items())

    def note(self, name: str, began: float, seconds: float, **attributes: Any) -> None:
        """Something took so long; ``began`` is a moment of ``time.monotonic``."""
        self._noted.append(_Noted(name, began, seconds, attributes))

    def describe(self, **attributes: Any) -> None:
        """Say more of the request itself."""
        self._span.set_attributes({f"{PREFIX}.{k}": v for k, v in attributes.items()})

    def end(self, attributes: Attributes, error: str | None) -> None:
        """The answer is out; ``error`` says what went wrong on our side."""
        from opentelemetry import trace

        within = trace.set_span_in_context(self._span)
        for name, began, seconds, told in self._noted:
            start = int(began * 1e9) + self._offset_ns
            child = self._tracer.start_span(name, within, start_time=start, attributes=told)
            child.end(start + int(seconds * 1e9))
        self._span.set_attributes(attributes)
        if error is not None:
            self._span.set_status(trace.StatusCode.ERROR, error)
        self._span.end()


CURRENT: Final[ContextVar[Trace | None]] = ContextVar("trace", default=None)


class Tracing:
    """Makes traces and sends them off.

    Args:
        ratio: share of the requests without a caller's decision that is traced.
        exporter: where spans go; by default over OTLP/HTTP.

    Raises:
        StartupFault: OpenTelemetry is not installed.
    """

    def __init__(self, ratio: float, exporter: SpanExporter | None = None):
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON
        except ModuleNotFoundError as error:
            raise StartupFault(
                f"telemetry.traces needs OpenTelemetry ({error.name} is missing); "
                "pip install 'soft-verifier[otel]'"
            ) from None
        self._ratio = ratio
        ours = Resource({"service.name": "soft-verifier", "service.version": __version__})
        named = ours.merge(OTELResourceDetector().detect())  # OTEL_SERVICE_NAME goes first
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create().merge(named))
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("soft-verifier", __version__)

    def wants(self, parent: Parent | None) -> bool:
        """Whether to trace a request: as its caller decided, else by chance."""
        return random.random() < self._ratio if parent is None else parent.sampled

    def begin(
        self, name: str, parent: Parent | None, tracestate: str, attributes: Attributes
    ) -> Trace:
        """Begin the span of a request that has just arrived, within the caller's if it has one."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {}
        if parent is not None:
            carrier["traceparent"] = f"00-{parent.trace_id}-{parent.span_id}-01"
            if tracestate:
                carrier["tracestate"] = tracestate
        within = TraceContextTextMapPropagator().extract(carrier)
        span = self._tracer.start_span(name, within, SpanKind.SERVER, attributes)
        return Trace(span, self._tracer)

    def stop(self) -> None:
        """Send what is left. Blocking."""
        self._provider.shutdown()


class Spans:
    """Hears what the metrics count and notes it in the request's trace, if it is traced."""

    def stage(self, stage: str, seconds: float) -> None:
        """A stage of a pass took so long and ends now."""
        if (trace := CURRENT.get()) is not None:
            trace.note(stage, time.monotonic() - seconds, seconds)

    def results(self, profile: str, run: str, items: int) -> None:
        """What the pass was about."""
        if (trace := CURRENT.get()) is not None:
            trace.describe(profile=profile, run=run, items=items)

    def called(self, spec: ModelSpec, rows: int, seconds: float) -> None:
        """A model answered in the loop just now."""
        if (trace := CURRENT.get()) is not None:
            began = time.monotonic() - seconds
            trace.note(f"model {spec.name}", began, seconds, **_of_batch(spec, rows))

    def flown(self, spec: ModelSpec, passengers: Sequence[Flight]) -> None:
        """Queries of one request came back from a model's queue: each batch once."""
        if (trace := CURRENT.get()) is None:
            return
        trips: dict[Trip, tuple[float, int]] = {}
        for one in passengers:
            if one.trip is not None:
                first, rows = trips.get(one.trip, (one.enqueued, 0))
                trips[one.trip] = (min(first, one.enqueued), rows + 1)
        for trip, (first, own) in trips.items():
            told = _of_batch(spec, trip.rows)
            told[f"{PREFIX}.own_rows"] = own
            trace.note(f"queue {spec.name}", first, trip.began - first, **told)
            trace.note(f"model {spec.name}", trip.began, trip.seconds, **told)

    def carried(self) -> Headers:
        """What another server is told that is asked for the request."""
        return () if (trace := CURRENT.get()) is None else trace.headers


def _of_batch(spec: ModelSpec, rows: int) -> Attributes:
    return {
        f"{PREFIX}.model": spec.name,
        f"{PREFIX}.model.version": spec.version,
        f"{PREFIX}.model.digest": spec.digest,
        f"{PREFIX}.batch_rows": rows,
    }
