"""One trace across several processes: a front end, the server that has its model, a model host."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from otlp_receiver import Receiver, Span
from served import SETTINGS, write_profiles
from servers import ServerProcess, post, wait_until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e48", "00f067aa0ba902b7"
TRACED = """
[telemetry]
traces = true
trace_ratio = 0.0
"""
NARROW = """
[connections]
max_header_kb = 4
"""
FRONT = """
[starter]
enabled = false
[work]
warm = false
[cache]
memory_entries = 0
[profiles]
folder = "profiles"
[[models]]
family = "remote"
name = "slow"
"""
PREDICT = "softverifier.v1.WorldModels/Predict"
SECONDS = 60.0
NUMBERS = itertools.count()


def new_trace() -> str:
    """An id that no other request of these tests has."""
    return f"{TRACE}{next(NUMBERS):02x}"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


@contextlib.contextmanager
def named(receiver: Receiver, name: str) -> Iterator[None]:
    """Servers that are started within send their spans to the receiver, under a name."""
    before = dict(os.environ)
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.url
    os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "100"
    os.environ["OTEL_SERVICE_NAME"] = name
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def models(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("models")
    write_profiles(folder)
    server = ServerProcess(folder, SETTINGS.replace('"20"', '"200"') + TRACED + NARROW)
    with named(receiver, "models"):
        server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["a thread", "in the loop"])
def front(
    request: pytest.FixtureRequest,
    receiver: Receiver,
    models: ServerProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("front")
    write_profiles(folder)
    run = "inline" if request.param == "in the loop" else "thread"
    asked = f'run = "{run}"\noptions = {{ url = "{models.grpc_url}" }}\n'
    server = ServerProcess(folder, FRONT + asked + TRACED)
    with named(receiver, "front"):
        server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def crew(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("crew")
    write_profiles(folder)
    server = ServerProcess(folder, SETTINGS + TRACED, "--workers", "2")
    with named(receiver, "crew"):
        server.start()
    yield server
    server.stop()


def ask(
    server: ServerProcess,
    trace_id: str,
    rows: int = 1,
    *,
    sampled: bool = True,
    tracestate: str = "vendor=1",
) -> None:
    """About genes that nobody has asked for: no server remembers the answer."""
    task = {"type": "perturbation.de", "gene": "B", "cell_line": "k562"}
    said = "<think>So it is.</think><answer>yes</answer>"
    items = [{"completion": said, "task": {**task, "perturbation": f"{trace_id}x{i}"}}
             for i in range(rows)]  # fmt: skip
    headers = {
        "traceparent": f"00-{trace_id}-{SPAN}-{'01' if sampled else '00'}",
        "tracestate": tracestate,
    }
    body: dict[str, Any] = {"profile": "slow", "items": items}
    answer = post(f"{server.url}/v1/score", json=body, headers=headers, timeout=60)
    assert {one["status"] for one in answer.json()["results"]} == {"ok"}


def requests(receiver: Receiver, trace_id: str, least: int) -> list[Span]:
    """The spans of requests of a trace, once so many are there, in the order that they began."""

    def found() -> list[Span]:
        spans = [span for span in receiver.trace(trace_id) if span.kind == 2]
        return sorted(spans, key=lambda span: span.began_ns)

    def there() -> bool:
        names = [span.name for span in found()]
        return len(names) >= least and "POST /v1/score" in names

    wait_until(there, SECONDS, "not all spans came")
    return found()


def test_a_trace_goes_on_on_the_server_of_a_remote_model(
    receiver: Receiver, front: ServerProcess
) -> None:
    trace_id = new_trace()
    ask(front, trace_id, 2)
    ours, theirs = requests(receiver, trace_id, 2)
    assert (ours.resource["service.name"], theirs.resource["service.name"]) == ("front", "models")
    assert (ours.name, ours.parent_id) == ("POST /v1/score", SPAN)
    assert (theirs.name, theirs.parent_id) == (PREDICT, ours.span_id)
    assert theirs.tracestate == "vendor=1"
    assert ours.began_ns - 2_000_000 <= theirs.began_ns <= ours.ended_ns + 2_000_000
    wait_until(
        lambda: any(one.parent_id == theirs.span_id for one in receiver.trace(trace_id)),
        SECONDS,
        "nothing of the model's time there",
    )
    below = [one for one in receiver.trace(trace_id) if one.parent_id == theirs.span_id]
    assert "model slow" in {one.name for one in below}


def test_a_tracestate_that_is_too_long_to_go_on_costs_no_answer(
    receiver: Receiver, front: ServerProcess
) -> None:
    """The other server would refuse the headers, and with them everybody's questions in a batch."""
    trace_id = new_trace()
    ask(front, trace_id, tracestate=",".join(f"{'k' * 200}{i}={'v' * 250}" for i in range(10)))
    ours, theirs = requests(receiver, trace_id, 2)
    assert (theirs.parent_id, theirs.tracestate) == (ours.span_id, "")


def test_a_trace_goes_on_in_a_model_host(receiver: Receiver, crew: ServerProcess) -> None:
    trace_id = new_trace()
    ask(crew, trace_id)
    ours, theirs = requests(receiver, trace_id, 2)
    assert (theirs.name, theirs.parent_id) == (PREDICT, ours.span_id)


def test_who_is_not_traced_here_is_not_there(receiver: Receiver, front: ServerProcess) -> None:
    """Neither by its own, nor by a trace that was asked for before on the same thread."""
    loud, silent, last = new_trace(), new_trace(), new_trace()
    ask(front, loud)
    ask(front, silent, sampled=False)
    ask(front, last)
    for one in (last, loud):
        assert len(requests(receiver, one, 2)) == 2
    assert not receiver.trace(silent)


def test_a_batch_of_many_goes_on_in_the_trace_of_one(
    receiver: Receiver, front: ServerProcess
) -> None:
    ids = [new_trace() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: ask(front, one), ids))
    for one in ids:
        requests(receiver, one, 1)

    def went_on() -> list[list[Span]]:
        return [spans for one in ids if len(spans := requests(receiver, one, 1)) > 1]

    wait_until(lambda: bool(went_on()), SECONDS, "the batch belongs to nobody's trace")
    assert all({span.name for span in spans[1:]} == {PREDICT} for spans in went_on())
    assert all(spans[0].name == "POST /v1/score" for spans in went_on())
