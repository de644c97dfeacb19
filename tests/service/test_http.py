from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from servers import ServerProcess, get, post

THINK = "<think>AARS charges tRNA and CALR is folded in the ER, so stress may reach it.</think>"


@pytest.fixture(params=["server", "inline_server"])
def any_server(request: pytest.FixtureRequest) -> ServerProcess:
    """Either way through the front: requests that may wait, and requests that are gathered."""
    found: ServerProcess = request.getfixturevalue(request.param)
    return found


def item(a: str = "AARS1", b: str = "CALR", answer: str = "yes", **more: Any) -> dict[str, Any]:
    task = {"type": "perturbation.de", "perturbation": a, "gene": b, "cell_line": "k562"}
    return {"completion": f"{THINK}\n<answer>{answer}</answer>", "task": task, **more}


def score(server: ServerProcess, items: list[Any], **more: Any) -> httpx.Response:
    body = {"profile": "rbio-mlp", "items": items, **more}
    return post(f"{server.url}/v1/score", json=body, timeout=30)


def results(server: ServerProcess, items: list[Any], **more: Any) -> list[dict[str, Any]]:
    response = score(server, items, **more)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results"]
    return found


def test_a_reward_is_the_probability_of_the_claim(any_server: ServerProcess) -> None:
    yes, no = results(any_server, [item(id="a"), item(id="b", answer="no")])
    (component,) = yes["components"]
    assert yes["id"] == "a"
    assert yes["status"] == "ok"
    assert yes["reward"] == component["p"] == component["score"]
    assert yes["reward"] + no["reward"] == pytest.approx(1.0, abs=1e-9)
    assert yes["weight"] == pytest.approx(abs(2 * component["p"] - 1), abs=1e-6)
    assert component["model"] == "fake"
    assert component["digest"].startswith("sha256:")
    assert 0 <= component["p0"] <= 1


def test_order_and_length_are_those_of_the_request(any_server: ServerProcess) -> None:
    ids = [f"i{i}" for i in range(300)]
    found = results(any_server, [item(f"G{i % 7}", id=name) for i, name in enumerate(ids)])
    assert [result["id"] for result in found] == ids


def test_the_same_bits_alone_in_a_batch_and_from_the_cache(any_server: ServerProcess) -> None:
    names = [f"BIT{i}" for i in range(64)]
    together = results(any_server, [item(name) for name in names])
    alone = [results(any_server, [item(name)])[0] for name in names]
    assert [r["reward"] for r in together] == [r["reward"] for r in alone]
    assert not together[0]["components"][0]["cached"]
    assert alone[0]["components"][0]["cached"]


GOOD = item(id="good")
ITEMS = {
    "unknown task type": (
        {"completion": "x", "task": {"type": "perturbation.dee"}},
        "error", "BAD_ITEM", "items[1].task.type: unknown task type 'perturbation.dee'; did",
    ),
    "task of another kind": (
        {"completion": "x", "task": {"type": "label", "classes": ["a", "b"]}},
        "error", "TASK_MISMATCH", "task.type",
    ),
    "no task": ({"completion": "x"}, "error", "TASK_MISMATCH", "task: missing"),
    "missing field": (
        {"completion": "x", "task": {"type": "perturbation.de", "gene": "CALR"}},
        "error", "BAD_ITEM", "missing required field `perturbation`",
    ),
    "unknown field": ({"completon": "x"}, "error", "BAD_ITEM", "did you mean 'completion'"),
    "wrong type": ({"completion": 3}, "error", "BAD_ITEM", "items[1].completion: expected"),
    "not an object": ("x", "error", "BAD_ITEM", "items[1]"),
    "field of another task type": (
        {"completion": "x", "task": {**GOOD["task"], "genes": ["A", "B"]}},
        "error", "BAD_ITEM", "unknown field `genes`",
    ),
    "no perturbation": (
        {"completion": "x", "task": {**GOOD["task"], "perturbation": []}},
        "error", "BAD_ITEM", "task.perturbation",
    ),
    "nested too deeply": (
        {**GOOD, "truth": json.loads("[" * 900 + "]" * 900)}, "ok", None, None,
    ),
    "no completion": ({"task": GOOD["task"]}, "error", "BAD_ITEM", "completion: missing"),
    "empty completion": (
        {**GOOD, "completion": ""}, "invalid", "NO_ANSWER", "the completion is empty",
    ),
    "lone surrogate": ({**GOOD, "completion": "\ud800"}, "invalid", None, None),
    "unknown gene": (
        item("UNKNOWN1"), "abstain", "UNKNOWN_GENE",
        "perturbation.de of 'UNKNOWN1' and 'CALR' in 'k562', asked of fake: UNKNOWN_GENE",
    ),
    "other cell line": (
        {**GOOD, "task": {**GOOD["task"], "cell_line": "hela"}},
        "abstain", "OUT_OF_DISTRIBUTION", None,
    ),
    "model raises": (item("POISON"), "error", "MODEL_ERROR", None),
    "model answers NaN": (item("NAN"), "error", "MODEL_ERROR", None),
}  # fmt: skip


@pytest.mark.parametrize("bad", ITEMS.values(), ids=ITEMS)
def test_a_bad_item_costs_its_neighbours_nothing(
    any_server: ServerProcess, bad: tuple[Any, str, str | None, str | None]
) -> None:
    broken, status, reason, message = bad
    body = json.dumps({"profile": "rbio-mlp", "items": [GOOD, broken, GOOD]})
    response = post(f"{any_server.url}/v1/score", content=body)
    assert response.status_code == 200, response.text
    before, found, after = response.json()["results"]
    assert before["status"] == after["status"] == "ok"
    assert before["reward"] == after["reward"]
    assert found["status"] == status
    assert reason is None or found["reason"] == reason
    assert message is None or message in found["message"]
    assert (found["reward"] is None) == (status in ("abstain", "error"))
    assert [c["name"] for c in found["components"]] == ["perturbation.de"]


def test_one_poisoned_item_of_64(any_server: ServerProcess) -> None:
    items = [item(f"N{i}") for i in range(63)] + [item("POISON")]
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda one: results(any_server, [one], profile="slow")[0], items))
    assert [r["status"] for r in found] == ["ok"] * 63 + ["error"]
    assert found[-1]["retryable"]


def test_a_profile_whose_model_is_not_served_says_so(any_server: ServerProcess) -> None:
    missing, settled = results(any_server, [item(), item(truth="yes")], profile="rbio-exp")
    assert (missing["status"], missing["reason"], missing["reward"]) == ("error", "NO_MODEL", None)
    assert "asked of family:measured" in missing["message"]
    assert not missing["retryable"]
    assert (settled["status"], settled["reward"]) == ("ok", 1.0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"profile": "rbio-mlp"}', "items"),
        (b'{"profile": "rbio-mlp", "items": [], "itmes": []}', "itmes"),
        (b'{"profile": "rbio-mlp", "items": [], "context": {"rnu": ""}}', "context.rnu"),
        (b'{"profile": 3, "items": []}', "profile"),
    ],
)
def test_the_field_at_fault_is_named(any_server: ServerProcess, body: bytes, field: str) -> None:
    error = post(f"{any_server.url}/v1/score", content=body).json()["error"]
    assert error["field"] == field


ENVELOPES = {
    "empty": (b"", 400, "not JSON"),
    "not JSON": (b"{", 400, "not JSON"),
    "NaN": (b'{"profile": "rbio-mlp", "items": [NaN]}', 400, "NaN is not JSON"),
    "not an object": (b"[]", 422, "expected `object`"),
    "no profile": (b'{"items": []}', 422, "missing required field `profile`"),
    "profile of wrong type": (b'{"profile": 3, "items": []}', 422, "profile: expected `str`"),
    "items of wrong type": (b'{"profile": "rbio-mlp", "items": {}}', 422, "items: expected"),
    "misspelt field": (b'{"profil": "x", "items": []}', 422, "did you mean 'profile'"),
    "unknown profile": (b'{"profile": "rbio-mpl", "items": []}', 404, "did you mean 'rbio-mlp'"),
    "profile without knowledge": (
        b'{"profile": "bioreason-kegg", "items": []}',
        404,
        "set [knowledge.mondo]",
    ),
    "profile without model": (b'{"profile": "rbio-tf", "items": []}', 404, "--model DIR"),
    "other digest": (b'{"profile": "rbio-mlp@sha256:00", "items": []}', 409, "pins sha256:00"),
    "too deep": (b'{"profile":"rbio-mlp","items":[{"truth":' + b"[" * 10000, 400, "nested"),
    "too many items": (
        b'{"profile": "rbio-mlp", "items": [' + b",".join([b"{}"] * 1001) + b"]}",
        413, "items: 1001",
    ),
    "too many bytes": (b" " * 8_000_001, 413, "8000001 bytes"),
    "deadline before now": (
        b'{"profile": "rbio-mlp", "items": [], "deadline_ms": -5}', 422, "deadline_ms: expected",
    ),
    "completion without end": (
        b'{"profile": "rbio-mlp", "items": [{"completion": "' + b"a" * 5_000_000 + b'"}]}',
        413, "items[0].completion: 5000000 characters",
    ),
    "context of wrong type": (
        b'{"profile": "rbio-mlp", "items": [], "context": {"run": 1}}', 422, "context.run",
    ),
}  # fmt: skip


@pytest.mark.parametrize("envelope", ENVELOPES.values(), ids=ENVELOPES)
def test_a_bad_envelope_says_what_and_where(
    any_server: ServerProcess, envelope: tuple[bytes, int, str]
) -> None:
    body, status, says = envelope
    response = post(f"{any_server.url}/v1/score", content=body)
    assert response.status_code == status
    error = response.json()["error"]
    assert says in error["message"]
    assert "Traceback" not in response.text
    streamed = httpx.post(
        f"{any_server.url}/v1/score", content=iter([body])
    )  # chunked: the long way
    assert (streamed.status_code, streamed.json()) == (status, response.json()) or status == 413


def test_an_empty_batch_is_answered(any_server: ServerProcess) -> None:
    assert results(any_server, []) == []


def test_a_pinned_profile_is_served(server: ServerProcess) -> None:
    digest = score(server, []).json()["profile"]["digest"]
    body = {"profile": f"rbio-mlp@{digest}", "items": [item()]}
    assert post(f"{server.url}/v1/score", json=body).status_code == 200


def test_a_deadline_that_cannot_be_met_is_504(server: ServerProcess) -> None:
    response = score(server, [item("LATE")], profile="slow", deadline_ms=1)
    assert response.status_code == 504
    assert "deadline" in response.json()["error"]["message"]


def test_chunked_and_plain_bodies_give_the_same_bits(any_server: ServerProcess) -> None:
    body = json.dumps({"profile": "rbio-mlp", "items": [item("CHUNK")]}).encode()
    plain = post(f"{any_server.url}/v1/score", content=body).json()
    chunks = (body[i : i + 7] for i in range(0, len(body), 7))
    chunked = post(f"{any_server.url}/v1/score", content=chunks).json()
    assert chunked["results"][0]["reward"] == plain["results"][0]["reward"]


def test_one_connection_serves_many_requests_of_both_ways(any_server: ServerProcess) -> None:
    with httpx.Client(base_url=any_server.url) as client:
        for _ in range(3):
            body = {"profile": "rbio-mlp", "items": [item()]}
            assert client.post("/v1/score", json=body).status_code == 200
            assert client.get("/healthz").json()["status"] == "alive"
            slow = {"profile": "slow", "items": [item()]}
            assert client.post("/v1/score", json=slow).status_code == 200


def test_predict_has_nulls_where_it_does_not_know(any_server: ServerProcess) -> None:
    body = {
        "model": "fake", "relation": "perturbation.de", "context": "k562",
        "subjects": ["AARS1", "UNKNOWN1"], "objects": ["CALR", "CALR"],
    }  # fmt: skip
    found = post(f"{any_server.url}/v1/predict", json=body).json()
    assert found["status"] == ["OK", "UNKNOWN_GENE"]
    assert found["p"][1] is None
    assert found["p"][0] == results(any_server, [item()])[0]["reward"]


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"model": "fakee"}, 404, "did you mean 'fake'"),
        ({"relation": "gene.nearness"}, 422, "does not offer relation"),
        ({"objects": ["CALR", "CALR"]}, 422, "objects: 2 rows, but subjects has 1"),
        ({"contexts": []}, 422, "contexts: 0 rows"),
        ({"subjects": "AARS1"}, 422, "subjects: expected `array`"),
        ({"subjects": [], "objects": []}, 200, ""),
    ],
    ids=["model", "relation", "lengths", "contexts", "type", "empty"],
)
@pytest.mark.parametrize("model", ["fake", "slow"])
def test_predict_faults(
    any_server: ServerProcess, model: str, change: dict[str, Any], status: int, says: str
) -> None:
    body = {"model": model, "relation": "perturbation.de", "subjects": ["A"], "objects": ["B"]}
    response = post(f"{any_server.url}/v1/predict", json={**body, **change})
    assert response.status_code == status, response.text
    assert says in response.text.replace('\\"', '"')


def test_the_catalogue_says_what_is_served(
    server: ServerProcess, inline_server: ServerProcess
) -> None:
    inline = get(f"{inline_server.url}/v1/models").json()["models"]
    assert [model["run"] for model in inline] == ["inline", "inline"]
    models = get(f"{server.url}/v1/models").json()["models"]
    assert [model["name"] for model in models] == ["fake", "slow"]
    assert [model["run"] for model in models] == ["thread", "thread"]
    assert models[0]["genes"] == "symbols as they are"
    assert get(f"{server.url}/v1/models/slow").json()["name"] == "slow"
    profiles = get(f"{server.url}/v1/profiles").json()["profiles"]
    available = {profile["name"]: profile["available"] for profile in profiles}
    assert available["rbio-mlp"]
    assert available["slow"]
    assert not available["rbio-tf"]


def test_what_a_profile_lacks_stands_in_the_catalogue(server: ServerProcess) -> None:
    found = get(f"{server.url}/v1/profiles/bioreason-kegg").json()
    assert not found["available"]
    assert "[knowledge.mondo]" in found["unavailable_because"]
    assert any("[knowledge.mondo]" in lack for lack in found["lacks"])
    (mondo,) = found["knowledge"]
    assert mondo["name"] == "mondo"
    assert mondo["digest"] is None
    there = get(f"{server.url}/v1/profiles/rbio-mlp").json()
    assert there["available"]
    assert there["knowledge"] == []


def test_every_profile_states_what_is_neutral(any_server: ServerProcess) -> None:
    for profile in get(f"{any_server.url}/v1/profiles").json()["profiles"]:
        neutral, (low, high) = profile["neutral"], profile["range"]
        assert profile["neutral_because"], profile["name"]
        if neutral is None:
            assert not profile["available"]
            assert profile["neutral_from"] == "base rate"
        else:
            assert low <= neutral <= high, profile["name"]
        assert get(f"{any_server.url}/v1/profiles/{profile['name']}").json() == profile


def test_every_available_profile_has_an_example_that_works(any_server: ServerProcess) -> None:
    for profile in get(f"{any_server.url}/v1/profiles").json()["profiles"]:
        if profile["available"]:
            response = post(f"{any_server.url}/v1/score", json=profile["example"])
            assert response.status_code == 200
            statuses = {result["status"] for result in response.json()["results"]}
            assert statuses <= {"ok", "abstain"}, profile["name"]


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/v1/modles", 404, "did you mean"),
        ("GET", "/v1/models/nope", 404, "unknown model 'nope'"),
        ("GET", "/v1/profiles/rbio-mpl", 404, "did you mean 'rbio-mlp'"),
        ("GET", "/v1/score", 405, "GET is not for"),
        ("DELETE", "/v1/models", 405, "see /docs"),
    ],
)
def test_a_wrong_route_says_what_there_is(
    server: ServerProcess, method: str, path: str, status: int, says: str
) -> None:
    response = httpx.request(method, f"{server.url}{path}", verify=False)
    assert response.status_code == status
    assert says in response.json()["error"]["message"]


def test_the_root_says_where_things_are(server: ServerProcess) -> None:
    found = get(f"{server.url}/").json()
    assert found["service"] == "soft-verifier"
    assert {"/v1/score", "/docs", "/metrics"} <= set(found["routes"])


def test_the_documentation_describes_the_hot_routes(server: ServerProcess) -> None:
    schema = get(f"{server.url}/openapi.json").json()
    assert {"/v1/score", "/v1/predict", "/v1/models", "/readyz"} <= set(schema["paths"])
    body = schema["paths"]["/v1/score"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["$ref"].split("/")[-1] in schema["components"]["schemas"]


def test_metrics_count_what_happened(server: ServerProcess) -> None:
    context = {"run": "metrics-test", "step": 3, "split": "train"}
    results(server, [item(), item("UNKNOWN1")], context=context)
    results(server, [item("COUNTED")], profile="slow")
    text = get(f"{server.url}/metrics").text
    labels = 'profile="rbio-mlp",run="metrics-test",split="train"'
    assert f"softverifier_reward_count{{{labels}}} 1.0" in text
    for name in (
        "requests_total", "items_total", "stage_seconds_bucket", "batch_queries_bucket",
        "queue_depth", "queue_wait_seconds_bucket", "cache_lookups_total", "model_seconds_bucket",
    ):  # fmt: skip
        assert f"softverifier_{name}{{" in text


def test_a_single_item_that_cannot_be_parsed_costs_its_neighbours_nothing(
    any_server: ServerProcess,
) -> None:
    good = json.dumps(GOOD)
    for bad in (
        '{"truth": ' + "9" * 5000 + "}",
        '{"id": "\\ud800", "truth": 1e999}',
        "[[]]",
        "null",
    ):
        body = f'{{"profile": "rbio-mlp", "items": [{good}, {bad}, {good}]}}'
        response = post(f"{any_server.url}/v1/score", content=body)
        assert response.status_code == 200, response.text
        statuses = [result["status"] for result in response.json()["results"]]
        assert statuses == ["ok", "error", "ok"]


def test_fresh_connections_are_all_answered(any_server: ServerProcess) -> None:
    def ask(i: int) -> int:
        body = {"profile": "rbio-mlp", "items": [item(f"FRESH{i % 50}")]}
        return post(f"{any_server.url}/v1/score", json=body, timeout=30).status_code

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(ask, range(300))) == {200}
