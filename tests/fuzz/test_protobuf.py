"""Whatever bytes come over gRPC: a documented code in time, and afterwards the same rewards.

Messages are made from the descriptors, so a new field is fuzzed without a word here. Whether bytes
are a message at all is asked of protobuf itself. ``FUZZ_EXAMPLES=300`` goes deeper.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servers import ServerProcess
from softverifier._pb import rewards_pb2 as pb
from softverifier._pb import worldmodels_pb2 as wm

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
SOON_S = 20.0
"""For one call, on a machine that does much else."""
KINDS = {
    "softverifier.v1.Rewards/Score": pb.ScoreRequest,
    "softverifier.v1.WorldModels/Predict": wm.PredictRequest,
    "softverifier.v1.WorldModels/ListModels": wm.ListModelsRequest,
}
STREAM = "softverifier.v1.Rewards/ScoreStream"
DOCUMENTED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)

KNOWN = {
    "profile": ["rbio-mlp", "slow", "rbio-released", "ether0", "chem-design", "nope", "rbio-mlp@x"],
    "model": ["fake", "slow", "", "nope"],
    "type": ["perturbation.de", "perturbation.dir", "label", "number", "molecule.equal", "nope"],
    "relation": ["perturbation.de", "gene.coexpression", "nope"],
    "perturbation": ["AARS1", "POISON", "NAN", "UNKNOWN1"],
    "gene": ["CALR", "NAN"],
    "names": ["AARS1", "CALR", "POISON", "NAN"],
    "cell_line": ["k562", "hela"],
    "completion": ["<think>so</think> <answer>yes</answer>", "<answer>", ""],
    "json": ["{}", "[", '{"gene": "\\ud800"}', '{"genes": ["A", "B"]}', "[" * 2000, "1e999", "NaN"],
}
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
double = st.floats() | st.sampled_from([0.0, 1.0, -0.0, 0.5])
INTEGERS = {
    FieldDescriptor.TYPE_UINT32: st.integers(0, 3) | st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
}


def value(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    """One value of a field."""
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return fields(field.message_type, depth - 1)
    if field.type == FieldDescriptor.TYPE_STRING:
        known = KNOWN.get(field.name)
        return st.sampled_from(known) | text if known else text
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    return INTEGERS.get(field.type, double)


def fields(kind: Descriptor, depth: int = 4) -> st.SearchStrategy[dict[str, Any]]:
    """Fields of a message, each there or not, as its constructor takes them."""
    made: dict[str, st.SearchStrategy[Any]] = {}
    for field in kind.fields:
        if depth <= 0 and field.type == FieldDescriptor.TYPE_MESSAGE:
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            words = st.lists(text, max_size=2).map(lambda found: pb.Strings(values=found))
            made[field.name] = st.dictionaries(text, words, max_size=2)
        elif field.is_repeated:
            made[field.name] = st.lists(value(field, depth), max_size=4)
        else:
            made[field.name] = value(field, depth)
    return st.fixed_dictionaries({}, optional=made).map(_one_of_each(kind))


def _one_of_each(kind: Descriptor) -> Any:
    def kept(found: dict[str, Any]) -> dict[str, Any]:
        for group in kind.oneofs:
            for name in [field.name for field in group.fields if field.name in found][1:]:
                del found[name]
        return found

    return kept


def messages(kind: Any) -> st.SearchStrategy[bytes]:
    return fields(kind.DESCRIPTOR).map(lambda found: bytes(kind(**found).SerializeToString()))


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


@st.composite
def damaged(draw: st.DrawFn, kind: Any) -> bytes:
    """A message that something has happened to."""
    whole = draw(messages(kind))
    cut = draw(st.integers(0, len(whole)))
    tag = draw(st.integers(1, 15) | st.integers(16, 2**29 - 1))
    wire = draw(st.integers(0, 7))
    way = draw(st.sampled_from(["cut", "flip", "insert", "wire", "length", "nested", "overlong"]))
    if way == "cut":
        return whole[:cut]
    if way == "flip" and whole:
        at = min(cut, len(whole) - 1)
        return whole[:at] + bytes([whole[at] ^ 1 << draw(st.integers(0, 7))]) + whole[at + 1 :]
    if way == "wire":
        return whole + varint(tag << 3 | wire) + draw(st.binary(max_size=12))
    if way == "length":
        return whole + varint(tag << 3 | 2) + varint(draw(st.integers(1, 2**64 - 1))) + b"x"
    if way == "nested":
        return whole + varint(tag << 3 | 3) * draw(st.sampled_from([1, 99, 5000]))
    if way == "overlong":
        return whole + varint(tag << 3) + b"\xff" * draw(st.integers(9, 12)) + b"\x01"
    return whole[:cut] + draw(st.binary(max_size=40)) + whole[cut:]


@pytest.fixture(scope="module")
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as opened:
        yield opened


@pytest.fixture(scope="module")
def truth(channel: grpc.Channel) -> Iterator[None]:
    """What an honest request earns before all this, it earns after it."""
    before = honest(channel)
    assert before
    yield
    assert honest(channel) == before


pytestmark = pytest.mark.usefixtures("truth")


def honest(channel: grpc.Channel) -> list[float]:
    items = [
        pb.Item(
            completion=f"<think>so it seems</think> <answer>{answer}</answer>",
            task=pb.Task(
                type="perturbation.de", perturbation=[f"F{i}"], gene="CALR", cell_line="k562"
            ),
        )
        for i, answer in enumerate(("yes", "no", "yes"))
    ]
    request = pb.ScoreRequest(profile="rbio-mlp", items=items).SerializeToString()
    answer = channel.unary_unary("/softverifier.v1.Rewards/Score")(request, timeout=SOON_S)
    return [result.reward for result in pb.ScoreResponse.FromString(answer).results]


def asked(channel: grpc.Channel, method: str, data: bytes, **more: Any) -> grpc.StatusCode:
    """The code of a call."""
    try:
        channel.unary_unary(f"/{method}")(data, timeout=SOON_S, **more)
    except grpc.RpcError as error:
        return error.code()  # type: ignore[no-any-return]
    return grpc.StatusCode.OK


def readable(kind: Any, data: bytes) -> bool:
    try:
        kind.FromString(data)
    except DecodeError:
        return False
    return True


@pytest.mark.parametrize("method", KINDS)
@fuzzed
@given(data=st.data())
def test_messages(channel: grpc.Channel, method: str, data: st.DataObject) -> None:
    assert asked(channel, method, data.draw(messages(KINDS[method]))) in DOCUMENTED


@pytest.mark.parametrize("method", KINDS)
@fuzzed
@given(data=st.data())
def test_bytes(channel: grpc.Channel, method: str, data: st.DataObject) -> None:
    sent = data.draw(damaged(KINDS[method]) | st.binary(max_size=200))
    code = asked(channel, method, sent)
    if readable(KINDS[method], sent):
        assert code in DOCUMENTED
    else:
        assert code is grpc.StatusCode.INVALID_ARGUMENT


@fuzzed
@given(sent=st.lists(messages(pb.ScoreRequest), max_size=6), taken=st.integers(0, 6))
def test_streams(channel: grpc.Channel, sent: list[bytes], taken: int) -> None:
    """Every request has its answer in its place; whoever leaves before harms nobody."""
    call = channel.stream_stream(f"/{STREAM}")(iter(sent), timeout=SOON_S)
    answers = []
    for _, answer in zip(range(taken), call, strict=False):
        answers.append(pb.ScoreResponse.FromString(answer))
    call.cancel()
    requests = [pb.ScoreRequest.FromString(one) for one in sent]
    assert len(answers) == min(taken, len(sent))
    for request, answer in zip(requests, answers, strict=False):
        assert answer.request_id == request.request_id
        if answer.HasField("error"):
            codes = {code.value[0] for code in DOCUMENTED}
            assert answer.error.code in codes
            assert answer.error.message
        else:
            assert len(answer.results) == len(request.items)


def test_nonsense_in_a_stream_has_its_place(channel: grpc.Channel) -> None:
    good = pb.ScoreRequest(profile="rbio-mlp", request_id="good").SerializeToString()
    call = channel.stream_stream(f"/{STREAM}")(iter([good, b"\xff" * 9, good]), timeout=SOON_S)
    answers = [pb.ScoreResponse.FromString(answer) for answer in call]
    assert [answer.request_id for answer in answers] == ["good", "", "good"]
    assert answers[1].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "softverifier.v1.ScoreRequest" in answers[1].error.message


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("size", [0, 10, 50_000_000], ids=["empty", "small", "bomb"])
def test_what_is_packed_is_refused_unread(channel: grpc.Channel, method: str, size: int) -> None:
    sent = pb.ScoreRequest(profile="x" * size).SerializeToString()
    code = asked(channel, method, sent, compression=grpc.Compression.Gzip)
    assert code is grpc.StatusCode.UNIMPLEMENTED
