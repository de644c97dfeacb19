from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyed_server import add, keyed_server
from servers import ServerProcess, get, post, wait_until
from service.front import authorization
from service.front.authorization import KEYS
from service.front.compat.routes import ROUTES as ROUTES_OF_TRAINERS
from service.metrics import Metrics
from service.security import key_file
from service.security.gate import Gate, scope_of_route
from service.security.keys import Keyring

THINK = "<think>AARS charges tRNA and CALR is folded in the ER, so stress may reach it.</think>"
TASK = {"type": "perturbation.de", "perturbation": "AARS1", "gene": "CALR", "cell_line": "k562"}
ITEM = {"completion": f"{THINK}<answer>yes</answer>", "task": TASK}
SCORE = {"profile": "rbio-mlp", "items": [ITEM]}
PREDICT = {
    "model": "fake", "relation": "perturbation.de", "context": "k562",
    "subjects": ["AARS1"], "objects": ["CALR"],
}  # fmt: skip
QUERY = {"query": ["P" + ITEM["completion"]], "prompts": ["P"], "labels": [{"task": TASK}]}
RM = {"prompt": "P", "response": ITEM["completion"], "label": {"task": TASK}}


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[ServerProcess, dict[str, str]]]:
    server, keys = keyed_server(tmp_path_factory.mktemp("keyed"))
    yield server.start(), keys
    server.stop()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


ROUTES = [
    ("POST", "/v1/score", SCORE, "score"),
    ("POST", "/v1/predict", PREDICT, "predict"),
    ("POST", "/get_reward?profile=rbio-mlp", QUERY, "score"),
    ("POST", "/rm?profile=rbio-mlp", RM, "score"),
    ("POST", "/seed_session", {}, "score"),
    ("POST", "/classify", {"model": "rbio-mlp", "input": []}, "score"),
    ("GET", "/reverify_mode", None, "score"),
    ("GET", "/global_config_dict_yaml", None, "score"),
    ("GET", "/metrics", None, "metrics"),
    ("GET", "/v1/models", None, "any"),
    ("GET", "/v1/models/fake", None, "any"),
    ("GET", "/v1/profiles", None, "any"),
    ("GET", "/", None, "any"),
    ("GET", "/docs", None, "any"),
    ("GET", "/openapi.json", None, "any"),
    ("GET", "/healthz", None, "open"),
    ("GET", "/readyz", None, "open"),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "scope"), ROUTES, ids=[path for _, path, _, _ in ROUTES]
)
def test_each_route_asks_for_its_scope(
    running: tuple[ServerProcess, dict[str, str]], method: str, path: str, body: Any, scope: str
) -> None:
    server, keys = running
    with httpx.Client(base_url=server.url, verify=False) as client:
        bare = client.request(method, path, json=body)
        assert bare.status_code == (200 if scope == "open" else 401)
        if bare.status_code == 401:
            assert bare.headers["www-authenticate"].startswith("Bearer")
            assert "an API key is needed" in bare.json()["error"]["message"]
        for name in ("score", "predict", "metrics", "admin"):
            answer = client.request(method, path, json=body, headers=bearer(keys[name]))
            may = scope in ("open", "any", name)
            assert answer.status_code == (200 if may else 403), (name, answer.text)
            if not may:
                assert f"has no scope '{scope}'" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        pytest.param("/v1/score", {"401", "403", "408", "429", "431", "503"}, id="score"),
        pytest.param("/rm", {"401", "403", "408", "429", "431", "503"}, id="a trainer's"),
        pytest.param("/v1/models/{name}/reload", {"401", "403", "408", "431"}, id="admin"),
        pytest.param("/metrics", {"401", "403", "408", "431"}, id="metrics"),
        pytest.param("/v1/models", {"401", "408", "431"}, id="any key"),
        pytest.param("/healthz", {"408", "431", "503"}, id="open"),
    ],
)
def test_the_description_says_who_is_kept_out(
    running: tuple[ServerProcess, dict[str, str]], path: str, codes: set[str]
) -> None:
    server, keys = running
    found = get(f"{server.url}/openapi.json", headers=bearer(keys["score"])).json()["paths"][path]
    told = set(next(iter(found.values()))["responses"])
    assert codes <= told
    assert codes & {"401", "403"} == told & {"401", "403"}


@pytest.mark.parametrize(("method", "path", "sent", "scope"), ROUTES, ids=str)
def test_the_ways_in_that_the_description_names_are_those_that_work(
    running: tuple[ServerProcess, dict[str, str]],
    method: str,
    path: str,
    sent: object,
    scope: str,
) -> None:
    server, keys = running
    described = get(f"{server.url}/openapi.json", headers=bearer(keys["score"])).json()
    plain = path.partition("?")[0].replace("/models/fake", "/models/{name}")
    if plain not in described["paths"]:
        return  # of FastAPI's own routes for its documentation
    ways = described["paths"][plain][method.lower()]["security"]
    named = [{name: [] if scope == "any" else [scope]} for name in ("bearer", "user", "query")]
    assert ways == ([] if scope == "open" else named)
    key = keys["score" if scope in ("any", "open") else scope]
    assert set(described["components"]["securitySchemes"]) == {"bearer", "user", "query"}
    shown: dict[str, Any] = {
        "bearer": {"headers": bearer(key)},
        "user": {"auth": (key, "")},
        "query": {"params": {**httpx.URL(path).params, "key": key}},
    }
    for one in ways:
        (name,) = one
        answer = httpx.request(
            method, server.url + path, json=sent, verify=False, timeout=30, **shown[name]
        )
        assert answer.status_code not in (401, 403) or "scope" not in answer.text, name
        assert answer.status_code != 401, name
    if ways:
        assert httpx.request(method, server.url + path, json=sent).status_code == 401


def test_where_no_keys_are_asked_for_they_may_be_sent(inline_server: ServerProcess) -> None:
    paths = get(f"{inline_server.url}/openapi.json").json()["paths"]
    assert paths["/v1/score"]["post"]["security"][0] == {}
    assert {"bearer": ["score"]} in paths["/v1/score"]["post"]["security"]
    assert post(f"{inline_server.url}/v1/score", json=SCORE, headers=bearer("x")).is_success


@pytest.mark.parametrize(
    ("path", "open_metrics", "ways"),
    [
        pytest.param("/healthz", False, [], id="open"),
        pytest.param("/metrics", True, [], id="opened"),
        pytest.param("/metrics", False, ["metrics"], id="metrics"),
    ],
)
def test_certificates_are_described_where_they_are_asked_for(
    path: str, open_metrics: bool, ways: list[str]
) -> None:
    gate = Gate(Metrics(), certified=True, open_metrics=open_metrics)
    assert authorization.schemes(gate)["certificate"]["type"] == "mutualTLS"
    keyless = [{"certificate": []}, *({"certificate": [], name: ways} for name in KEYS)]
    assert authorization.requirements(gate, "GET", path) == (keyless if ways else [])
    gate.adopt(Keyring([]))
    assert authorization.requirements(gate, "GET", path) == (keyless[1:] if ways else [])


@pytest.mark.parametrize("path", ROUTES_OF_TRAINERS)
def test_no_trainers_route_is_forgotten(path: str) -> None:
    assert scope_of_route("POST", path) == "score"


@pytest.mark.parametrize(
    "path", ["/v1/models/fake/reload", "/v1/scores", "/V1/score", "//v1/score"]
)
def test_what_nobody_thought_of_needs_admin(
    running: tuple[ServerProcess, dict[str, str]], path: str
) -> None:
    server, keys = running
    assert post(server.url + path, json={}).status_code == 401
    assert post(server.url + path, json={}, headers=bearer(keys["score"])).status_code == 403
    allowed = post(server.url + path, json={}, headers=bearer(keys["admin"]))
    assert allowed.status_code != 401
    assert "has no scope" not in allowed.text  # though admin's routes may be switched off


@pytest.mark.parametrize("route", ["/v1/score", "/rm?profile=rbio-mlp"])
def test_every_place_that_a_key_may_stand(
    running: tuple[ServerProcess, dict[str, str]], route: str
) -> None:
    server, keys = running
    body = SCORE if route == "/v1/score" else RM
    key, host = keys["score"], server.url.removeprefix("http://")
    sign = "&" if "?" in route else "?"
    for url in (
        f"http://{key}@{host}{route}",
        f"http://{key}:x@{host}{route}",
        f"http://any:{key}@{host}{route}",
        f"http://{host}{route}{sign}key={key}",
    ):
        answer = post(url, json=body)
        assert answer.status_code == 200, answer.text
    wrong = post(f"http://{host}{route}{sign}key=no", json=body, headers=bearer(key))
    assert wrong.status_code == 401  # what the URL says goes over the header


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("Bearer sv1_000000000000_" + "A" * 43, "not known here"),
        ("Bearer nonsense", "no API key of this server"),
        ("Bearer", "no API key of this server"),
        ("Digest x", "expected Bearer"),
        ("Basic !", "not base64"),
    ],
)
def test_wrong_keys_are_told_so(
    running: tuple[ServerProcess, dict[str, str]], header: str, said: str
) -> None:
    server, _ = running
    answer = post(f"{server.url}/v1/score", json=SCORE, headers={"authorization": header})
    assert answer.status_code == 401
    assert said in answer.json()["error"]["message"]


def test_an_expired_key_is_refused(running: tuple[ServerProcess, dict[str, str]]) -> None:
    server, keys = running
    answer = post(f"{server.url}/v1/score", json=SCORE, headers=bearer(keys["old"]))
    assert answer.status_code == 401
    assert "has expired" in answer.json()["error"]["message"]


def test_a_quota_ends_and_says_when_to_come_back(
    running: tuple[ServerProcess, dict[str, str]],
) -> None:
    server, keys = running

    def ask(items: int) -> httpx.Response:
        body = {"profile": "rbio-mlp", "items": [ITEM] * items}
        return post(f"{server.url}/v1/score", json=body, headers=bearer(keys["few"]))

    assert ask(6).status_code == 413
    assert post(
        f"{server.url}/v1/score", json={**SCORE, "profile": "none"}, headers=bearer(keys["few"])
    ).status_code == 404  # what was not answered is not charged  # fmt: skip
    assert ask(3).status_code == 200
    refused = ask(3)
    assert refused.status_code == 429
    left = 86_400 - time.time() % 86_400
    assert left - 5 <= int(refused.headers["retry-after"]) <= left + 5
    assert "quota of 5 items a day" in refused.json()["error"]["message"]
    assert ask(2).status_code == 200


def test_a_rate_holds_and_its_retry_after_works(
    running: tuple[ServerProcess, dict[str, str]],
) -> None:
    server, _ = running
    key = add(server.folder, "slower", ["score", "predict"], rate=2.0)

    def ask() -> httpx.Response:
        return post(f"{server.url}/v1/predict", json=PREDICT, headers=bearer(key))

    wait_until(lambda: ask().status_code == 200, 10, "the new key is not known")
    answers = [ask() for _ in range(4)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    time.sleep(int(refused.headers["retry-after"]))  # what is measured, not a wait for something
    assert ask().status_code == 200


@pytest.mark.parametrize("route", ["/v1/score", "/v1/predict"])
def test_requests_of_one_turn_are_charged_each(
    running: tuple[ServerProcess, dict[str, str]], route: str
) -> None:
    """They share a pass through the models, not a charge."""
    server, _ = running
    key = bearer(add(server.folder, f"crowd-{route[4:]}", ["score", "predict"], quota=10))
    body = SCORE if route == "/v1/score" else PREDICT
    wait_until(
        lambda: get(f"{server.url}/v1/models", headers=key).status_code == 200,
        10,
        "the new key is not known",
    )
    with ThreadPoolExecutor(16) as pool:
        asked = [
            pool.submit(post, server.url + route, json=body, headers=key, timeout=30)
            for _ in range(32)
        ]
        codes = [one.result().status_code for one in asked]
    assert (codes.count(200), codes.count(429)) == (10, 22)


def test_trainers_wait_for_their_rate(running: tuple[ServerProcess, dict[str, str]]) -> None:
    """What a trainer makes of a 429 is its own affair; within the deadline it gets none."""
    server, keys = running
    url = f"{server.url}/rm?profile=rbio-mlp"
    answers = [post(url, json=RM, headers=bearer(keys["slow"]), timeout=30) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    hasty = f"{url}&deadline_ms=20"
    answers = [post(hasty, json=RM, headers=bearer(keys["slow"])) for _ in range(3)]
    assert 429 in [answer.status_code for answer in answers]


def test_keys_come_and_go_while_the_server_runs(
    running: tuple[ServerProcess, dict[str, str]],
) -> None:
    server, _ = running
    file = server.folder / "keys.toml"
    key = add(server.folder, "guest", ["score"])
    with httpx.Client(base_url=server.url, headers=bearer(key), verify=False) as client:

        def status() -> int:
            return client.post("/v1/score", json=SCORE).status_code

        wait_until(lambda: status() == 200, 10, "the new key is not known")
        kept = file.read_text()
        file.write_text("nonsense [")
        wait_until(lambda: "not renewed" in server.log(), 10, "a damaged file is not told")
        assert status() == 200
        file.write_text(kept)
        key_file.remove(file, "guest")
        wait_until(lambda: status() == 401, 10, "the revoked key still counts")


def test_metrics_name_the_key_and_what_was_turned_away(
    running: tuple[ServerProcess, dict[str, str]],
) -> None:
    server, keys = running
    post(f"{server.url}/v1/score", json=SCORE, headers=bearer(keys["score"]))
    post(f"{server.url}/v1/score", json=SCORE)
    post(f"{server.url}/v1/score", json=SCORE, headers=bearer(keys["metrics"]))
    shown = get(f"{server.url}/metrics", headers=bearer(keys["metrics"])).text
    assert 'softverifier_key_items_total{key="score",outcome="admitted"}' in shown
    assert 'softverifier_refused_total{cause="key"}' in shown
    assert 'softverifier_refused_total{cause="scope"}' in shown
    assert not any(key in shown for key in keys.values())


def test_one_connection_may_serve_several_callers(
    running: tuple[ServerProcess, dict[str, str]],
) -> None:
    server, keys = running
    with httpx.Client(base_url=server.url, verify=False) as client:
        codes = [
            client.post("/v1/score", json=SCORE, headers=bearer(keys[name])).status_code
            for name in ("score", "predict", "score", "old", "score")
        ]
        codes.append(client.post("/v1/score", json=SCORE).status_code)
    assert codes == [200, 403, 200, 401, 200, 401]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e", "/etc/passwd", "fake%00"]
)
@pytest.mark.parametrize("what", ["", "/card", "/card/card-calibration"])
def test_models_are_names_and_no_paths(
    running: tuple[ServerProcess, dict[str, str]], name: str, what: str
) -> None:
    server, keys = running
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=20) as sock:
        head = f"GET /v1/models/{name}{what} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        sock.sendall(f"{head}authorization: Bearer {keys['score']}\r\n\r\n".encode())
        answer = b""
        while part := sock.recv(65_536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 404"), answer
    assert b"root:" not in answer


def test_the_banner_says_how_to_ask(running: tuple[ServerProcess, dict[str, str]]) -> None:
    server, _ = running
    assert "authorization: Bearer $KEY" in server.output


def test_who_starts_without_a_file_of_keys_is_told(tmp_path: Path) -> None:
    server, _ = keyed_server(tmp_path)
    (tmp_path / "keys.toml").unlink()
    with pytest.raises(AssertionError, match="soft-verifier keys create"):
        server.start()
    server.stop()
