from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from servers import ServerProcess, post
from softverifier import RewardClient
from softverifier._pb import rewards_pb2 as pb
from softverifier._pb import worldmodels_pb2 as wm

SERVICE = "/softverifier.v1"


@pytest.fixture(scope="module")
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as opened:
        yield opened


def call(channel: grpc.Channel, method: str, request: Any, response: Any) -> Any:
    ask = channel.unary_unary(
        f"{SERVICE}.{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=response.FromString,
    )
    return ask(request, timeout=10)


def items() -> list[dict[str, Any]]:
    """Honest, wrong, unreadable and unanswerable items of every kind that a profile meets."""
    made = []
    for i in range(60):
        subject = ("UNKNOWN1", "POISON", "NAN")[i % 3] if i % 10 == 9 else f"G{i}"
        answer = ("yes", "no", "maybe", "yes and no")[i % 4]
        task = {"type": "perturbation.de", "perturbation": subject, "gene": "CALR"}
        made.append(
            {
                "id": f"i{i}",
                "completion": f"<think>It may well be so.</think>\n<answer>{answer}</answer>",
                "task": {**task, "cell_line": "k562"},
                "truth": {"classes": ["no", "yes"], "confidences": [0.137, 0.863]},
                "keywords": [subject, "CALR"],
            }
        )
    return made


@pytest.mark.parametrize("profile", ["rbio-mlp", "rbio-released", "rbio-mlp+exp", "slow"])
def test_both_wires_give_the_same_results_to_the_last_bit(
    server: ServerProcess, profile: str
) -> None:
    with RewardClient(server.url) as http, RewardClient(server.grpc_url) as over_grpc:
        first = http.score(items(), profile=profile)
        second = over_grpc.score(items(), profile=profile)
    for a, b in zip(first, second, strict=True):
        assert (a.id, a.status, a.reward, a.weight, a.answer, a.reason) == (
            b.id, b.status, b.reward, b.weight, b.answer, b.reason,
        )  # fmt: skip
        assert [c.score for c in a.components] == [c.score for c in b.components]


def test_messages_are_the_same_on_both_wires(server: ServerProcess, channel: grpc.Channel) -> None:
    request = pb.ScoreRequest(
        profile="rbio-mlp",
        items=[pb.Item(completion="x", task=pb.Task(type="perturbation.dee"))],
    )
    response = call(channel, "Rewards/Score", request, pb.ScoreResponse)
    body = {
        "profile": "rbio-mlp",
        "items": [{"completion": "x", "task": {"type": "perturbation.dee"}}],
    }
    over_http = post(f"{server.url}/v1/score", json=body).json()["results"][0]
    assert response.results[0].message == over_http["message"]
    assert not response.results[0].HasField("reward")


@pytest.mark.parametrize(
    ("request_", "code", "says"),
    [
        (pb.ScoreRequest(profile="rbio-mpl"), "NOT_FOUND", "did you mean 'rbio-mlp'"),
        (pb.ScoreRequest(profile="rbio-mlp@sha256:00"), "FAILED_PRECONDITION", "pins"),
        (
            pb.ScoreRequest(profile="rbio-mlp", items=[pb.Item()] * 1001),
            "INVALID_ARGUMENT", "items: 1001",
        ),
    ],
    ids=["profile", "pin", "items"],
)  # fmt: skip
def test_a_bad_envelope_has_the_matching_code(
    channel: grpc.Channel, request_: pb.ScoreRequest, code: str, says: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, "Rewards/Score", request_, pb.ScoreResponse)
    assert refused.value.code().name == code
    assert says in refused.value.details()


def test_predict_is_dictionary_encoded(server: ServerProcess, channel: grpc.Channel) -> None:
    request = wm.PredictRequest(
        model="fake",
        relation="perturbation.de",
        context="k562",
        names=["AARS1", "CALR", "UNKNOWN1"],
        subjects=[0, 2, 0],
        objects=[1, 1, 1],
    )
    response = call(channel, "WorldModels/Predict", request, wm.PredictResponse)
    assert list(response.status) == [0, 1, 0]
    assert response.p[0] == response.p[2]
    assert response.p[1] != response.p[1]
    body = {
        "model": "fake", "relation": "perturbation.de", "context": "k562",
        "subjects": ["AARS1"], "objects": ["CALR"],
    }  # fmt: skip
    over_http = post(f"{server.url}/v1/predict", json=body).json()
    assert over_http["p"] == [response.p[0]]
    assert over_http["digest"] == response.digest


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"model": "fakee"}, "NOT_FOUND", "did you mean 'fake'"),
        ({"relation": "x"}, "INVALID_ARGUMENT", "does not offer"),
        ({"objects": [7]}, "INVALID_ARGUMENT", "beyond the 2 names"),
        ({"objects": [0, 1]}, "INVALID_ARGUMENT", "objects: 2 rows"),
    ],
    ids=["model", "relation", "index", "lengths"],
)
def test_predict_faults(
    channel: grpc.Channel, change: dict[str, Any], code: str, says: str
) -> None:
    good = {"model": "fake", "relation": "perturbation.de", "names": ["A", "B"]}
    fields = {**good, "subjects": [0], "objects": [1], **change}
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, "WorldModels/Predict", wm.PredictRequest(**fields), wm.PredictResponse)
    assert refused.value.code().name == code
    assert says in refused.value.details()


def test_models_are_listed(channel: grpc.Channel) -> None:
    listed = call(channel, "WorldModels/ListModels", wm.ListModelsRequest(), wm.ListModelsResponse)
    assert [model.name for model in listed.models] == ["fake", "slow"]
    assert all(model.cost_s > 0 for model in listed.models)


def test_a_stream_answers_in_order_and_survives_a_bad_request(channel: grpc.Channel) -> None:
    stream = channel.stream_stream(
        f"{SERVICE}.Rewards/ScoreStream",
        request_serializer=pb.ScoreRequest.SerializeToString,
        response_deserializer=pb.ScoreResponse.FromString,
    )
    profiles = ["slow", "rbio-mlp", "nope", "rbio-mlp"] * 5
    item = pb.Item(
        completion="<think>It may well be so.</think><answer>yes</answer>",
        task=pb.Task(type="perturbation.de", perturbation=["A"], gene="B", cell_line="k562"),
    )
    requests = [
        pb.ScoreRequest(profile=profile, items=[item], request_id=str(i))
        for i, profile in enumerate(profiles)
    ]
    responses = list(stream(iter(requests), timeout=20))
    assert [response.request_id for response in responses] == [str(i) for i in range(20)]
    for profile, response in zip(profiles, responses, strict=True):
        if profile == "nope":
            assert response.error.code == grpc.StatusCode.NOT_FOUND.value[0]
            assert not response.results
        else:
            assert not response.HasField("error"), response.error
            assert response.results[0].status == "ok"


def test_truth_in_every_form(channel: grpc.Channel) -> None:
    task = pb.Task(type="label", classes=["yes", "no"])
    completion = "<think>I think that it does.</think>\n<answer>yes</answer>"
    soft = pb.SoftLabels(classes=["no", "yes"], confidences=[0.25, 0.75])
    truths = [
        (pb.Truth(label="yes"), 1.0),
        (pb.Truth(boolean=False), 0.0),
        (pb.Truth(number=1), 1.0),
        (pb.Truth(soft_labels=soft), 0.75),
        (pb.Truth(json=json.dumps({"classes": ["no", "yes"], "confidences": [0.5, 0.5]})), 0.5),
    ]
    request = pb.ScoreRequest(
        profile="rbio-released",
        items=[
            pb.Item(completion=completion, task=task, truth=truth, has_keywords=True)
            for truth, _ in truths
        ],
    )
    response = call(channel, "Rewards/Score", request, pb.ScoreResponse)
    for (_, expected), result in zip(truths, response.results, strict=True):
        scores = {component.name: component.score for component in result.components}
        assert scores["answer"] == expected, result


def test_health_and_reflection(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "softverifier.v1.Rewards", "softverifier.v1.WorldModels"):
        status = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5).status
        assert status == health_pb2.HealthCheckResponse.SERVING
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    (answer,) = stub.ServerReflectionInfo(iter([ask]), timeout=5)
    names = {service.name for service in answer.list_services_response.service}
    assert {"softverifier.v1.Rewards", "softverifier.v1.WorldModels"} <= names
