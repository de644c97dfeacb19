from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2 as reflected

from keyed_server import add, keyed_server
from servers import ServerProcess, wait_until
from service.security import key_file
from softverifier import RewardClient
from softverifier._pb import rewards_pb2 as pb
from softverifier._pb import worldmodels_pb2 as wm
from softverifier.errors import RequestRejected

THINK = "<think>AARS charges tRNA and CALR is folded in the ER, so stress may reach it.</think>"
TASK = {"type": "perturbation.de", "perturbation": "AARS1", "gene": "CALR", "cell_line": "k562"}
ITEM = {"completion": f"{THINK}<answer>yes</answer>", "task": TASK}
SCORE = pb.ScoreRequest(
    profile="rbio-mlp",
    items=[
        pb.Item(
            completion=ITEM["completion"],
            task=pb.Task(
                type="perturbation.de", perturbation=["AARS1"], gene="CALR", cell_line="k562"
            ),
        )
    ],
)
PREDICT = wm.PredictRequest(
    model="fake", relation="perturbation.de", context="k562", names=["A", "B"],
    subjects=[0], objects=[1],
)  # fmt: skip


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[ServerProcess, dict[str, str], grpc.Channel]]:
    server, keys = keyed_server(tmp_path_factory.mktemp("keyed"))
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield server, keys, channel
    server.stop()


CALLS: dict[str, tuple[str, Any]] = {
    "/softverifier.v1.Rewards/Score": ("score", SCORE),
    "/softverifier.v1.Rewards/ScoreStream": ("score", SCORE),
    "/softverifier.v1.WorldModels/Predict": ("predict", PREDICT),
    "/softverifier.v1.WorldModels/ListModels": ("any", wm.ListModelsRequest()),
    "/grpc.health.v1.Health/Check": ("open", None),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": (
        "any",
        reflected.ServerReflectionRequest(list_services=""),
    ),
}


def call(channel: grpc.Channel, name: str, request: Any, key: str | None) -> str:
    """The status of one call."""
    metadata = [] if key is None else [("authorization", f"Bearer {key}")]
    body = b"" if request is None else request.SerializeToString()
    try:
        if name.endswith(("Stream", "Info")):
            list(channel.stream_stream(name)(iter([body]), metadata=metadata, timeout=20))
        else:
            channel.unary_unary(name)(body, metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


@pytest.mark.parametrize("name", CALLS)
def test_each_method_asks_for_its_scope(
    running: tuple[ServerProcess, dict[str, str], grpc.Channel], name: str
) -> None:
    _, keys, channel = running
    scope, request = CALLS[name]
    bare = "OK" if scope == "open" else "UNAUTHENTICATED"
    assert call(channel, name, request, None) == bare
    assert call(channel, name, request, "sv1_nonsense") == bare
    assert call(channel, name, request, keys["old"]) == bare
    for key in ("score", "predict", "metrics", "admin"):
        may = scope in ("open", "any", key)
        assert call(channel, name, request, keys[key]) == ("OK" if may else "PERMISSION_DENIED")


@pytest.mark.parametrize("name", CALLS)
def test_who_is_turned_away_stands_in_the_log(
    running: tuple[ServerProcess, dict[str, str], grpc.Channel], name: str
) -> None:
    server, _, channel = running
    scope, request = CALLS[name]
    made = f"refused-{name.rpartition('/')[2]}"
    with contextlib.suppress(grpc.RpcError):
        if name.endswith(("Stream", "Info")):
            method = channel.stream_stream(name)
            list(method(iter([request.SerializeToString()]), metadata=[("x-request-id", made)]))
        else:
            body = b"" if request is None else request.SerializeToString()
            channel.unary_unary(name)(body, metadata=[("x-request-id", made)])
    if scope == "open":
        assert made not in server.log()
        return
    wait_until(lambda: made in server.log(), 10, "nobody was told")
    line = next(line for line in server.log().splitlines() if made in line)
    assert name in line
    assert "UNAUTHENTICATED" in line


def test_limits_hold_and_say_when_to_come_back(
    running: tuple[ServerProcess, dict[str, str], grpc.Channel],
) -> None:
    _, keys, channel = running
    score = channel.unary_unary("/softverifier.v1.Rewards/Score")
    metadata = [("authorization", f"Bearer {keys['few']}")]
    for _ in range(5):
        score(SCORE.SerializeToString(), metadata=metadata, timeout=20)
    with pytest.raises(grpc.RpcError) as refused:
        score(SCORE.SerializeToString(), metadata=metadata, timeout=20)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(refused.value.trailing_metadata())["retry-after"]) >= 1


def test_a_stream_ends_with_its_key(
    running: tuple[ServerProcess, dict[str, str], grpc.Channel],
) -> None:
    """A key revoked while a stream is open does not score on."""
    server, _, channel = running
    key = add(server.folder, "streamer", ["score"])
    wait_until(
        lambda: call(channel, "/softverifier.v1.Rewards/Score", SCORE, key) == "OK",
        10,
        "the new key is not known",
    )
    answered = threading.Event()

    def requests() -> Iterator[bytes]:
        yield SCORE.SerializeToString()
        assert answered.wait(30)
        key_file.remove(server.folder / "keys.toml", "streamer")
        wait_until(
            lambda: call(channel, "/softverifier.v1.Rewards/Score", SCORE, key) != "OK",
            10,
            "the revoked key still counts",
        )
        yield SCORE.SerializeToString()

    stream = channel.stream_stream("/softverifier.v1.Rewards/ScoreStream")
    codes: list[int] = []
    metadata = [("authorization", f"Bearer {key}")]
    for answer in stream(requests(), metadata=metadata, timeout=60):
        codes.append(pb.ScoreResponse.FromString(answer).error.code)
        answered.set()
    assert codes == [0, grpc.StatusCode.UNAUTHENTICATED.value[0]]


def test_compressed_messages_are_refused_unread(
    running: tuple[ServerProcess, dict[str, str], grpc.Channel],
) -> None:
    """64 MB of zeros are 64 kB of gzip: what unpacks is bounded before it is unpacked."""
    _, keys, channel = running
    score = channel.unary_unary("/softverifier.v1.Rewards/Score")
    bomb = pb.ScoreRequest(profile="x" * (7 << 20)).SerializeToString()
    with pytest.raises(grpc.RpcError) as refused:
        score(
            bomb,
            metadata=[("authorization", f"Bearer {keys['score']}")],
            compression=grpc.Compression.Gzip,
            timeout=20,
        )
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert call(channel, "/softverifier.v1.Rewards/Score", SCORE, keys["score"]) == "OK"


@pytest.mark.parametrize("size", [9 << 20, 64 << 20], ids=["a little", "much"])
def test_messages_over_the_limit_are_refused(
    running: tuple[ServerProcess, dict[str, str], grpc.Channel], size: int
) -> None:
    _, keys, channel = running
    status = call(
        channel,
        "/softverifier.v1.Rewards/Score",
        pb.ScoreRequest(profile="x" * size),
        keys["score"],
    )
    assert status == "RESOURCE_EXHAUSTED"


def test_metadata_over_the_limit_is_refused(
    running: tuple[ServerProcess, dict[str, str], grpc.Channel],
) -> None:
    server, keys, _ = running
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        metadata = [("authorization", f"Bearer {keys['score']}"), ("x-long", "y" * 20_000)]
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/softverifier.v1.Rewards/Score")(
                SCORE.SerializeToString(), metadata=metadata, timeout=20
            )
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_our_client_takes_the_key(
    running: tuple[ServerProcess, dict[str, str], grpc.Channel], wire: str
) -> None:
    server, keys, _ = running
    url = server.url if wire == "http" else server.grpc_url
    with RewardClient(url, profile="rbio-mlp", api_key=keys["score"]) as client:
        assert client.score([ITEM])[0].status == "ok"
    inside = url.replace("//", f"//{keys['score']}@")
    with RewardClient(inside, profile="rbio-mlp") as client:
        assert client.score([ITEM])[0].status == "ok"
        assert keys["score"] not in repr(client._session.options)
    with (
        RewardClient(url, profile="rbio-mlp", api_key=keys["predict"]) as client,
        pytest.raises(RequestRejected, match="has no scope 'score'"),
    ):
        client.score([ITEM])
