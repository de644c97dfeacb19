"""Traces over HTTP and gRPC, taken by a real OTLP receiver."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from otlp_receiver import Receiver, Span
from served import SETTINGS, write_profiles
from servers import ServerProcess, post, wait_until
from service.errors import StartupFault
from service.metrics import Metrics
from service.settings import Telemetry
from service.telemetry import reporting
from softverifier._pb import rewards_pb2 as pb
from softverifier._pb import worldmodels_pb2 as wm

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e47", "00f067aa0ba902b7"
SECRET = "a thought that is nobody's business"
TRACED = """
[telemetry]
traces = true
trace_ratio = 0.0
"""
STAGES = {"parse", "extract", "lookup", "model", "compose", "respond"}
SECONDS = 60.0


class Traced(NamedTuple):
    server: ServerProcess
    receiver: Receiver

    def spans(self, trace_id: str, least: int = 1) -> list[Span]:
        """The spans of a trace, once the request's own has arrived."""

        def there() -> bool:
            found = self.receiver.trace(trace_id)
            return sum(span.kind == 2 for span in found) >= least

        wait_until(there, SECONDS, f"no span of {trace_id} arrived")
        return self.receiver.trace(trace_id)


def start(folder: Path, settings: str) -> Iterator[Traced]:
    receiver = Receiver()
    write_profiles(folder)
    server = ServerProcess(folder, settings)
    named = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_SERVICE_NAME": "rewards-of-a-test",
    }
    before = dict(os.environ)
    os.environ.update(named)
    try:
        server.start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        yield Traced(server, receiver)
    finally:
        server.stop()
        receiver.stop()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    yield from start(tmp_path_factory.mktemp("traced"), SETTINGS + TRACED)


def item(subject: str) -> dict[str, Any]:
    task = {"type": "perturbation.de", "perturbation": subject, "gene": "B", "cell_line": "k562"}
    return {"completion": f"<think>{SECRET}</think><answer>yes</answer>", "task": task}


def score(profile: str, *subjects: str) -> dict[str, Any]:
    context = {"run": "a1"}
    return {"profile": profile, "context": context, "items": [item(one) for one in subjects]}


def parent(number: int, *, sampled: bool = True) -> tuple[str, str]:
    """A trace id and the header that names it."""
    trace_id = f"{TRACE}{number:02x}"
    return trace_id, f"00-{trace_id}-{SPAN}-{'01' if sampled else '00'}"


@pytest.mark.parametrize(
    ("number", "profile", "model"),
    [(1, "rbio-mlp", "fake"), (2, "slow", "slow")],
    ids=["in the loop", "on a thread"],
)
def test_http(traced: Traced, number: int, profile: str, model: str) -> None:
    trace_id, header = parent(number)
    url = f"{traced.server.url}/v1/score"
    headers = {"traceparent": header, "tracestate": "vendor=1"}
    answer = post(url, json=score(profile, "A1", "A2"), headers=headers, timeout=60)
    assert answer.status_code == 200
    spans = traced.spans(trace_id)
    (root,) = [span for span in spans if span.kind == 2]
    assert (root.name, root.parent_id, root.tracestate) == ("POST /v1/score", SPAN, "vendor=1")
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["softverifier.profile"] == profile
    assert root.attributes["softverifier.items"] == 2
    assert root.resource["service.name"] == "rewards-of-a-test"
    assert root.resource["service.version"]
    children = {span.name: span for span in spans if span is not root}
    assert set(children) >= STAGES | {f"model {model}"}
    assert ("queue slow" in children) is (model == "slow")
    for span in children.values():
        assert span.parent_id == root.span_id
        assert root.began_ns - 2_000_000 <= span.began_ns <= span.ended_ns
        assert span.ended_ns <= root.ended_ns + 2_000_000
    told = children[f"model {model}"].attributes
    (served,) = [one for one in answer.json()["results"][0]["components"] if one["model"] == model]
    assert told["softverifier.model.digest"] == served["digest"]
    assert told["softverifier.batch_rows"] >= 1
    if model == "slow":
        took = children["model slow"].ended_ns - children["model slow"].began_ns
        assert took >= 15_000_000, "the slow model takes 20 ms"


def test_grpc(traced: Traced) -> None:
    trace_id, header = parent(3)
    task = pb.Task(type="perturbation.de", perturbation=["A3"], gene="B", cell_line="k562")
    given = pb.Item(completion=f"<think>{SECRET}</think><answer>yes</answer>", task=task)
    request = pb.ScoreRequest(profile="slow", items=[given])
    metadata = (("traceparent", header), ("x-request-id", "mine-3"))
    with grpc.insecure_channel(traced.server.grpc_url.removeprefix("grpc://")) as channel:
        call = channel.unary_unary(
            "/softverifier.v1.Rewards/Score",
            request_serializer=pb.ScoreRequest.SerializeToString,
            response_deserializer=pb.ScoreResponse.FromString,
        )
        _, done = call.with_call(request, metadata=metadata, timeout=60)
        assert ("x-request-id", "mine-3") in [tuple(one) for one in done.initial_metadata()]
        predict = channel.unary_unary(
            "/softverifier.v1.WorldModels/Predict",
            request_serializer=wm.PredictRequest.SerializeToString,
            response_deserializer=wm.PredictResponse.FromString,
        )
        asked = wm.PredictRequest(model="nobody", relation="perturbation.de", names=["A"])
        with pytest.raises(grpc.RpcError):
            predict(asked, metadata=(("traceparent", parent(4)[1]),), timeout=60)
    spans = traced.spans(trace_id)
    (root,) = [span for span in spans if span.kind == 2]
    assert root.name == "softverifier.v1.Rewards/Score"
    assert root.attributes["rpc.grpc.status_code"] == 0
    assert not root.failed
    assert {span.name for span in spans} >= STAGES | {"queue slow", "model slow"}
    (failed,) = [span for span in traced.spans(parent(4)[0]) if span.kind == 2]
    assert failed.attributes["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert failed.failed


def test_grpc_stream_is_one_span(traced: Traced) -> None:
    trace_id, header = parent(5)
    task = pb.Task(type="perturbation.de", perturbation=["A5"], gene="B", cell_line="k562")
    given = pb.Item(completion="<think>So it is.</think><answer>yes</answer>", task=task)
    requests = [pb.ScoreRequest(profile="slow", items=[given], request_id=str(i)) for i in range(3)]
    with grpc.insecure_channel(traced.server.grpc_url.removeprefix("grpc://")) as channel:
        call = channel.stream_stream(
            "/softverifier.v1.Rewards/ScoreStream",
            request_serializer=pb.ScoreRequest.SerializeToString,
            response_deserializer=pb.ScoreResponse.FromString,
        )
        answers = list(call(iter(requests), metadata=(("traceparent", header),), timeout=60))
    assert [one.request_id for one in answers] == ["0", "1", "2"]
    spans = traced.spans(trace_id)
    (root,) = [span for span in spans if span.kind == 2]
    assert root.name == "softverifier.v1.Rewards/ScoreStream"
    assert sum(span.name == "parse" for span in spans) == 3


def test_an_error_of_ours_is_an_error_of_the_span(traced: Traced) -> None:
    trace_id, header = parent(6)
    late = {**score("slow", *[f"L{i}" for i in range(3)]), "deadline_ms": 1}
    url = f"{traced.server.url}/v1/score"
    answer = post(url, json=late, headers={"traceparent": header}, timeout=60)
    assert answer.status_code == 504
    (root,) = [span for span in traced.spans(trace_id) if span.kind == 2]
    assert root.failed
    assert root.attributes["http.response.status_code"] == 504


def test_the_caller_decides_and_no_text_leaves(traced: Traced) -> None:
    """What is not sampled leaves nothing, by which time a later trace has arrived."""
    url = f"{traced.server.url}/v1/score"
    silent, header = parent(7, sampled=False)
    for headers in ({"traceparent": header}, {}, {"traceparent": "00-nonsense"}):
        assert post(url, json=score("rbio-mlp", "A7"), headers=headers).status_code == 200
    loud, header = parent(8)
    post(url, json=score("rbio-mlp", "A8"), headers={"traceparent": header})
    traced.spans(loud)
    assert not traced.receiver.trace(silent)
    ours = {f"{TRACE}{number:02x}" for number in range(256)}
    assert {span.trace_id for span in traced.receiver.spans} <= ours, "ratio 0 traced by chance"
    assert SECRET not in repr(traced.receiver.spans)


def test_concurrent_requests_keep_their_spans_apart(traced: Traced) -> None:
    """Queries that travel in one batch are told of in each request's own trace."""

    def ask(i: int) -> tuple[str, int]:
        trace_id, header = parent(100 + i)
        url = f"{traced.server.url}/v1/score"
        body = score("slow", *(f"C{i}x{j}" for j in range(3)))
        return trace_id, post(
            url, json=body, headers={"traceparent": header}, timeout=60
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    for trace_id, status in answers:
        assert status == 200
        spans = traced.spans(trace_id)
        own = [s.attributes["softverifier.own_rows"] for s in spans if s.name == "model slow"]
        assert sum(own) == 3
        assert all(
            s.attributes["softverifier.batch_rows"] >= s.attributes["softverifier.own_rows"]
            for s in spans
            if s.name == "model slow"
        )


@pytest.fixture
def always_traced(tmp_path: Path) -> Iterator[Traced]:
    always = TRACED.replace("trace_ratio = 0.0", "trace_ratio = 1.0")
    yield from start(tmp_path, SETTINGS + always)


def test_by_chance_and_what_is_left_leaves_at_the_end(always_traced: Traced) -> None:
    url = f"{always_traced.server.url}/v1/score"
    for i in range(20):
        assert post(url, json=score("rbio-mlp", f"R{i}")).status_code == 200
    always_traced.server.stop()
    roots = [span for span in always_traced.receiver.spans if span.kind == 2]
    assert len({span.trace_id for span in roots}) == 20
    assert {span.parent_id for span in roots} == {""}


def test_without_opentelemetry_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(StartupFault, match=r"pip install 'soft-verifier\[otel\]'"):
        reporting.build(Telemetry(traces=True), Metrics())


def test_off_it_does_not_import_the_exporter() -> None:
    code = "import service.serving, sys; print('opentelemetry.exporter' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
