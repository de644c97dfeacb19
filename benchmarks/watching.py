"""What watching costs on the hot path: in one process, with and without, in turn.

Prints ratios of a whole request (parse to answer, no network) with what is counted of a policy's
answers, with traces switched on for nobody, and with every request traced, each over the same
without; CPU time of the thread, the median of many short rounds taken in turn, since a shared
machine differs from second to second. Run: ``python benchmarks/watching.py``.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import timeit
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle

import msgspec
from grpc import aio

from service import app
from service.front import rpc
from service.front.hot import HotRoutes
from service.front.rpc_reported import ReportedCalls
from service.pipeline import Pipeline
from service.rewards.core import Item
from service.settings import Model, Settings, Starter
from service.telemetry.tracing import CURRENT, Spans, Tracing
from service.trends import Trends
from softverifier._pb import rewards_pb2 as pb

ROUNDS = 41
Bodies = Iterator[bytes]
WORDS = "The knockdown of AARS depletes charged alanine transfer RNA and ribosomes stall. "


class _Nothing:
    """Counts nothing."""

    def note(self, *_: object) -> None:
        """Do nothing."""


def body_of(items: int, number: int) -> bytes:
    """A request: groups of sixteen completions of about 1,000 characters."""
    first = 16 * number
    made = [
        {
            "completion": f"<think>{i}. {WORDS * 12}</think><answer>yes</answer>",
            "group": f"prompt-{i // 16}",
            "task": {
                "type": "perturbation.de",
                "perturbation": f"P{i // 16}",
                "gene": "CALR",
                "cell_line": "k562",
            },
        }
        for i in range(first, first + items)
    ]
    msgspec.convert(made, list[Item])
    return msgspec.json.encode({"profile": "rbio-mlp", "context": {"run": "a"}, "items": made})


def ratio(
    one: Callable[[], object], other: Callable[[], object], number: int
) -> tuple[float, float]:
    """Median of one over the other, and the other's best time of one call in µs."""
    found, best = [], float("inf")
    for i in range(ROUNDS):
        pair = (one, other) if i % 2 else (other, one)
        times = {work: timeit.timeit(work, timer=time.thread_time, number=number) for work in pair}
        found.append(times[one] / times[other])
        best = min(best, times[other] / number)
    return statistics.median(found), best * 1e6


def main() -> None:
    """Print the ratios."""
    settings = Settings(
        starter=Starter(enabled=False),
        models=[Model(family="fake", name="fake", run="inline", options={"contexts": "k562"})],
    )
    bound = settings.profiles.model_copy(update={"models": {"rbio-mlp": "fake"}})
    pipeline = app.build(settings.model_copy(update={"profiles": bound})).pipeline
    hot, metrics = HotRoutes(pipeline), pipeline.metrics
    counting, silent, spans = Trends(metrics), _Nothing(), Spans()
    tracing = Tracing(1.0, _nowhere())

    def request(bodies: Bodies) -> None:
        assert hot.reply_now("/v1/score", next(bodies)).status == 200

    def counted(bodies: Bodies, trends: object) -> None:
        pipeline._trends = trends  # type: ignore[assignment]
        request(bodies)

    def heard(bodies: Bodies, listener: Spans | None) -> None:
        metrics.listener = listener
        request(bodies)

    def traced(bodies: Bodies) -> None:
        metrics.listener = spans
        trace = tracing.begin("POST /v1/score", None, "", {})
        token = CURRENT.set(trace)
        request(bodies)
        CURRENT.reset(token)
        trace.end({"http.response.status_code": 200}, None)

    for items, number in ((1, 16 * 8), (256, 2)):
        body = cycle([body_of(items, i) for i in range(number)])
        plain = partial(heard, body, None)
        rows = (
            ("counted", partial(counted, body, counting), partial(counted, body, silent)),
            ("traces on, this one not traced", partial(heard, body, spans), plain),
            ("traced", partial(traced, body), plain),
        )
        for name, one, other in rows:
            found, least = ratio(one, other, number)
            print(f"{items:4} items: {name:<32} {found:6.3f} × ({least:,.0f} µs without)")
            counted(body, counting)
    metrics.listener = None
    found, least = asyncio.run(over_grpc(pipeline, body_of(1, 0)))
    print(f"   1 items: {'gRPC, told of in the log':<32} {found:6.3f} × ({least:,.0f} µs without)")
    tracing.stop()


async def over_grpc(pipeline: Pipeline, body: bytes) -> tuple[float, float]:
    """CPU time of a Score over loopback, the client's included, over the same with bare methods."""
    table = ReportedCalls.table
    servers, calls, spent = [], [], []
    for told in (table, lambda _, __, handlers: dict(handlers)):
        ReportedCalls.table = told  # type: ignore[method-assign,assignment]
        server, port = await rpc.serve(pipeline, "127.0.0.1:0", 1 << 20, shared=False)
        servers.append(server)
        channel = aio.insecure_channel(f"127.0.0.1:{port}")
        calls.append(channel.unary_unary("/softverifier.v1.Rewards/Score"))
    ReportedCalls.table = table  # type: ignore[method-assign]
    item = msgspec.json.decode(body)["items"][0]
    task = {**item["task"], "perturbation": [item["task"]["perturbation"]]}
    asked = pb.Item(completion=item["completion"], task=pb.Task(**task))
    request = pb.ScoreRequest(profile="rbio-mlp", items=[asked]).SerializeToString()
    for i in range(ROUNDS):
        spent.append([0.0, 0.0])
        for which in (0, 1) if i % 2 else (1, 0):
            start = time.process_time()
            for _ in range(50):
                await calls[which](request)
            spent[-1][which] = time.process_time() - start
    await asyncio.gather(*(server.stop(0) for server in servers))
    return statistics.median(a / b for a, b in spent), min(b for _, b in spent) / 50 * 1e6


def _nowhere() -> object:
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    return Nowhere()


if __name__ == "__main__":
    main()
