"""What holds on every trainer's route: constants, refusals, options."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from compat_samples import (
    INVALID,
    NEUTRAL,
    PROFILE,
    PROMPT,
    YES,
    openrlhf,
    task,
)
from servers import ServerProcess, get, post
from trainer_clients import Slime


def test_the_same_completion_never_earns_two_numbers(inline_server: ServerProcess) -> None:
    """Whatever it is sent with and however often, on whichever route."""
    url = inline_server.url
    body = openrlhf(YES, task("TWICE1"))
    many = {key: value * 64 for key, value in body.items()}
    rewards = set(post(f"{url}/get_reward?{PROFILE}", json=many).json()["rewards"])
    for _ in range(3):
        rewards |= set(post(f"{url}/get_reward?{PROFILE}", json=body).json()["rewards"])
    rewards.add(Slime(f"{url}/rm?{PROFILE}&scalar=1").reward(PROMPT, YES, task("TWICE1")))
    assert len(rewards) == 1
    silent = {
        Slime(f"{url}/rm?{PROFILE}&scalar=1").reward(PROMPT, YES, task("UNKNOWN1"))
        for _ in range(3)
    }
    assert silent == {NEUTRAL}


def test_labels_may_name_several_profiles(inline_server: ServerProcess) -> None:
    named = [{"task": task(), "profile": "rbio-mlp"}, {"task": task(), "profile": "slow"}]
    body = {"query": [PROMPT + YES] * 2, "prompts": [PROMPT] * 2, "labels": named}
    found = post(f"{inline_server.url}/get_reward", json=body).json()
    assert found["extra_logs"]["sv_ok"] == [1.0, 1.0]
    assert set(found["extra_logs"]) == {
        "sv_valid", "sv_weight", "sv_ok", "sv_invalid", "sv_abstain", "sv_error",
    }  # fmt: skip


def test_run_and_split_reach_the_metrics(inline_server: ServerProcess) -> None:
    url = f"{inline_server.url}/rm?{PROFILE}&run=compat-a1&split=ood"
    Slime(url).reward(PROMPT, YES, task())
    text = get(f"{inline_server.url}/metrics").text
    assert 'run="compat-a1",split="ood"' in text
    counted = next(line for line in text.splitlines() if 'route="/rm"' in line and "200" in line)
    assert float(counted.rsplit(" ", 1)[1]) >= 1


REFUSED: dict[str, tuple[str, Any, int, str]] = {
    "no profile": ("/rm", {"response": YES, "label": task()}, 422, "?profile=NAME"),
    "unknown profile": ("/rm?profile=rbio-mpl", {"response": YES}, 404, "did you mean"),
    "another digest": (
        "/rm?profile=rbio-mlp@sha256:00", {"response": YES, "label": task()}, 409, "pins",
    ),
    "unknown parameter": ("/rm?profle=rbio-mlp", {"response": YES}, 422, "did you mean 'profile'"),
    "a parameter twice": ("/rm?profile=a&profile=b", {"response": YES}, 422, "twice"),
    "neutral of NaN": ("/rm?profile=rbio-mlp&neutral=nan", {"response": YES}, 422, "finite"),
    "no deadline": ("/rm?profile=rbio-mlp&deadline_ms=0", {"response": YES}, 422, "positive"),
    "on_missing": ("/rm?profile=rbio-mlp&on_missing=zero", {"response": YES}, 422, "refuse"),
    "scalar": ("/rm?profile=rbio-mlp&scalar=yes", {"response": YES}, 422, "1 or 0"),
    "not JSON": ("/rm?profile=rbio-mlp", "{", 400, "not JSON"),
    "empty body": ("/get_reward?profile=rbio-mlp", "", 400, "not JSON"),
    "an array": ("/verify?profile=rbio-mlp", "[]", 422, "expected an object"),
    "no response": ("/rm?profile=rbio-mlp", {"prompt": "x"}, 422, "response"),
    "token ids": ("/rm?profile=rbio-mlp", {"response": [1, 2]}, 422, "response"),
    "query of a string": ("/get_reward?profile=rbio-mlp", {"query": "x"}, 422, "query"),
    "columns of two lengths": (
        "/get_reward?profile=rbio-mlp",
        {"query": ["x"], "prompts": ["x"], "labels": []},
        422,
        "labels: 0 entries, but query has 1",
    ),
    "too many": ("/get_reward?profile=rbio-mlp", {"query": ["x"] * 1001}, 413, "max_items"),
    "too large": ("/rm?profile=rbio-mlp", '"' + "x" * 9_000_000, 413, "max_body_bytes"),
    "NaN in a row": (
        "/verify?profile=rbio-mlp", '{"response": {"output": []}, "x": NaN}', 400, "NaN",
    ),
    "infinite in a row": (
        "/verify?profile=rbio-mlp", '{"response": {"output": []}, "x": [1e400]}', 422, "too large",
    ),
    "no output": ("/verify?profile=rbio-mlp", {"response": {}}, 422, "response.output"),
    "no tests": ("/test_program?profile=rbio-mlp", {"program": "x", "tests": []}, 422, "tests"),
    "refusal where an error is a 0": (
        "/test_program?profile=rbio-mlp&on_missing=refuse", {}, 422, "on_missing",
    ),
    "metrics of nothing": ("/aggregate_metrics", {}, 422, "verify_responses"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_bad_request_is_refused_as_the_native_routes_do(
    inline_server: ServerProcess, case: tuple[str, Any, int, str]
) -> None:
    path, body, status, message = case
    content = body if isinstance(body, str) else json.dumps(body)
    answer = post(f"{inline_server.url}{path}", content=content)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]["message"]


def test_refusing_in_place_of_neutral(inline_server: ServerProcess) -> None:
    url = f"{inline_server.url}/rm?{PROFILE}&on_missing=refuse"
    silent = post(url, json={"response": YES, "label": task("UNKNOWN1")})
    assert silent.status_code == 422
    assert "UNKNOWN_GENE" in silent.json()["error"]["message"]
    failing = post(url, json={"response": YES, "label": task("POISON")})
    assert failing.status_code == 503
    assert failing.headers["retry-after"] == "1"
    assert post(url, json={"response": INVALID, "label": task()}).json()["reward"] == 0.0


def test_a_header_asks_for_refusal_where_no_query_can(inline_server: ServerProcess) -> None:
    """verifiers' Gym taskset appends a path to its URL, and reads no mask."""
    refuse = {"x-softverifier-on-missing": "refuse"}
    body = {"response": YES, "label": task("UNKNOWN1")}
    assert post(f"{inline_server.url}/rm?{PROFILE}", json=body, headers=refuse).status_code == 422
    over = f"{inline_server.url}/rm?{PROFILE}&on_missing=neutral"
    assert post(over, json=body, headers=refuse).status_code == 200


def test_a_neutral_value_of_the_runs_own(inline_server: ServerProcess) -> None:
    url = f"{inline_server.url}/rm?{PROFILE}&neutral=0.42&scalar=1"
    assert Slime(url).reward(PROMPT, YES, task("UNKNOWN1")) == 0.42


def test_the_header_names_the_profile(inline_server: ServerProcess) -> None:
    body = {"response": YES, "label": task()}
    named = {"X-SoftVerifier-Profile": "rbio-mlp"}
    found = post(f"{inline_server.url}/rm", json=body, headers=named)
    assert found.json()["sv_ok"] == 1.0
    over = post(f"{inline_server.url}/rm?profile=slow", json=body, headers={**named})
    assert over.json()["sv_ok"] == 1.0


def test_names_with_a_plus_stand_in_urls_as_they_are(inline_server: ServerProcess) -> None:
    label = {"task": task(), "truth": "yes"}
    for name in ("rbio-mlp+exp", "rbio-mlp%2Bexp"):
        url = f"{inline_server.url}/rm?profile={name}"
        found = post(url, json={"response": YES, "label": label})
        assert found.status_code == 200, found.text


@pytest.mark.parametrize("depth", [50, 300, 900, 3_000, 100_000])
@pytest.mark.parametrize("route", ["/verify", "/rm", "/get_reward", "/test_program"])
def test_deep_nesting_is_answered_or_refused(
    inline_server: ServerProcess, route: str, depth: int
) -> None:
    deep = "[" * depth + "]" * depth
    bodies = {
        "/verify": f'{{"response": {{"output": []}}, "x": {deep}}}',
        "/rm": f'{{"response": "x", "label": {deep}}}',
        "/get_reward": f'{{"query": ["x"], "prompts": ["x"], "labels": [{deep}]}}',
        "/test_program": f'{{"program": "x", "tests": [{deep}]}}',
    }
    answer = post(f"{inline_server.url}{route}?{PROFILE}", content=bodies[route])
    assert answer.status_code in (200, 400, 422), answer.text[:200]


def test_the_routes_are_documented(inline_server: ServerProcess) -> None:
    paths = get(f"{inline_server.url}/openapi.json").json()["paths"]
    assert {"/get_reward", "/rm", "/verify", "/test_program", "/classify"} <= set(paths)
    assert httpx.get(f"{inline_server.url}/rm", verify=False).status_code == 405
