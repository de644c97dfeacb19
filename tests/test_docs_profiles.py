"""The handbook is executed: every request of every shipped profile, on one running server.

Honest completions earn what their profile states, on both wires; every dishonest one earns less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from complete_server import complete_server
from servers import ServerProcess
from service.commands.handbook import examples_of, handbook
from service.rewards.profiles import Profile, load_profiles
from service.rewards.specimens import specimen_library
from softverifier import RewardClient

HANDBOOK = Path(__file__).parents[1] / "docs" / "profiles.md"
PROFILES = load_profiles(library=specimen_library())
SHOWN = re.compile(
    r"^```json\n(.*?)^```\n\n→ `ok`(?:, reward ([-+.\de]+))?", re.DOTALL | re.MULTILINE
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = complete_server(tmp_path_factory.mktemp("complete"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def scored(http: httpx.Client, request: dict[str, Any]) -> list[dict[str, Any]]:
    response = http.post("/v1/score", json=request)
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def profiles() -> list[Any]:
    return [pytest.param(profile, id=name) for name, profile in PROFILES.items()]


def test_the_handbook_is_current() -> None:
    assert HANDBOOK.read_text("utf-8") == handbook(), "run soft-verifier profiles docs"


def test_every_profile_has_a_request_in_the_handbook() -> None:
    requests = [json.loads(text) for text, _ in SHOWN.findall(HANDBOOK.read_text("utf-8"))]
    assert {request["profile"] for request in requests} == set(PROFILES)


def test_every_request_of_the_handbook_gives_the_reward_that_it_shows(http: httpx.Client) -> None:
    shown = SHOWN.findall(HANDBOOK.read_text("utf-8"))
    assert len(shown) >= len(PROFILES)
    for text, reward in shown:
        request = json.loads(text)
        (result,) = scored(http, request)
        assert result["status"] == "ok", (request["profile"], result)
        if reward:
            assert result["reward"] == pytest.approx(float(reward), abs=1e-6), request["profile"]


def test_every_profile_is_available(http: httpx.Client) -> None:
    listed = http.get("/v1/profiles").json()["profiles"]
    missing = {one["name"]: one["unavailable_because"] for one in listed if not one["available"]}
    assert missing == {}
    assert {one["name"] for one in listed} == set(PROFILES)


@pytest.mark.parametrize("profile", profiles())
def test_honesty_earns_what_is_stated_and_more_than_any_cheat(
    http: httpx.Client, profile: Profile
) -> None:
    for item, stated, dishonest in examples_of(profile):
        cheats = [{**item, "id": i, "completion": text} for i, text in enumerate(dishonest)]
        honest, *others = scored(http, {"profile": profile.name, "items": [item, *cheats]})
        assert honest["status"] == "ok", honest
        if stated is not None:
            assert honest["reward"] == pytest.approx(stated, abs=1e-6)
        earned = {dishonest[one["id"]]: one["reward"] for one in others}
        assert None not in earned.values()
        too_much = {text: reward for text, reward in earned.items() if reward >= honest["reward"]}
        assert too_much == {}


@pytest.mark.parametrize("profile", profiles())
def test_both_wires_agree(http: httpx.Client, server: ServerProcess, profile: Profile) -> None:
    items = [item for item, _, _ in examples_of(profile)]
    over_http = scored(http, {"profile": profile.name, "items": items})
    with RewardClient(server.grpc_url, timeout=30) as client:
        over_grpc = client.score(items, profile=profile.name)
    for one, other in zip(over_http, over_grpc, strict=True):
        assert (other.status, other.reason, other.answer) == (
            one["status"],
            one["reason"],
            one["answer"],
        )
        assert other.reward == pytest.approx(one["reward"])
        assert other.weight == pytest.approx(one["weight"])


def test_knowledge_is_shown_with_its_digest(http: httpx.Client) -> None:
    shown = http.get("/v1/profiles/bioreason-pro-go").json()
    library = specimen_library()
    (go,) = shown["knowledge"]
    assert go["name"] == "go"
    assert go["digest"].startswith("sha256:")
    assert go["terms"] == len(library.knowledge["go"].ontology.terms)
    assert go["genes"] > 0


def test_work_is_counted(http: httpx.Client) -> None:
    text = http.get("/metrics").text
    assert 'softverifier_work_jobs_total{reason="OK"}' in text
    assert 'reason="MODEL_ERROR"' not in text
