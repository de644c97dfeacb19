"""The overlay `disaggregated` as processes: front ends, a model behind them, a Redis Cluster.

The front ends have the settings of the overlay, with the addresses of this machine for its names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from overlays import KUBERNETES
from redis_cluster import RedisCluster
from running import PROFILE
from servers import ServerProcess, free_port, get, post, wait_until

FRONT = (KUBERNETES / "overlays/disaggregated/front/soft-verifier.toml").read_text()
MODEL_ADDRESS = "grpc://soft-verifier-grpc-model:50051"
MODEL = """
[starter]
enabled = false
[[models]]
family = "fake"
name = "screen"
options = { contexts = "k562", unknown = "NO" }
"""
PROFILES = """
[profiles]
folder = "profiles"
"""
MORE = (
    PROFILES
    + """
[cache]
redis_url = "{redis}"
redis_mode = "always"
timeout_ms = 1000
breaker_s = 0.2
"""
)


@dataclass
class Topology:
    """What runs."""

    model: ServerProcess
    fronts: list[ServerProcess]
    cluster: RedisCluster
    alone: ServerProcess
    """Has the model itself: what it pays is right."""


def folder_of(parent: Path, name: str) -> Path:
    """A server's folder, with the profile ``soft``."""
    folder = parent / name
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "soft.toml").write_text(PROFILE)
    return folder


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    """All of it; a test that ends a part starts it again."""
    folder = tmp_path_factory.mktemp("disaggregated")
    cluster = RedisCluster(folder)
    fixed = ("--http-port", str(free_port()), "--grpc-port", str(free_port()))
    model = ServerProcess(folder_of(folder, "model"), MODEL, *fixed)
    alone = ServerProcess(folder_of(folder, "alone"), MODEL + PROFILES)
    fronts = []
    try:
        cluster.start()
        model.start()
        alone.start()
        assert FRONT.count(MODEL_ADDRESS) == 1
        settings = FRONT.replace(MODEL_ADDRESS, model.grpc_url) + MORE.format(redis=cluster.url)
        for name in ("front-0", "front-1"):
            fronts.append(ServerProcess(folder_of(folder, name), settings))
            fronts[-1].start()
        yield Topology(model, fronts, cluster, alone)
    finally:
        for server in (*fronts, model, alone):
            server.stop()
        cluster.stop()


def items(first: int, number: int) -> list[dict[str, Any]]:
    """Completions about pairs of their own; of each ten, one gene that the model does not know."""
    return [
        {
            "completion": f"<think>of pair {i}</think><answer>{'yes' if i % 2 else 'no'}</answer>",
            "task": {
                "type": "perturbation.de",
                "perturbation": f"{'NO' if i % 10 == 0 else 'P'}{i}",
                "gene": f"G{i}",
                "cell_line": "k562",
            },
        }
        for i in range(first, first + number)
    ]


def scored(server: ServerProcess, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    response = post(f"{server.url}/v1/score", json={"profile": "soft", "items": asked}, timeout=30)
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def rewards(results: list[dict[str, Any]]) -> list[float | None]:
    return [result["reward"] for result in results]


def calls(model: ServerProcess) -> float:
    """How many queries the model was asked."""
    lines = get(f"{model.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines
               if line.startswith("softverifier_batch_queries_sum"))  # fmt: skip


def test_front_ends_share_what_models_answered(topology: Topology) -> None:
    asked = items(0, 300)
    wanted = rewards(scored(topology.alone, asked))
    assert wanted.count(None) == 30
    first, second = topology.fronts
    kept = sum(topology.cluster.keys())
    assert rewards(scored(first, asked)) == wanted
    wait_until(
        lambda: sum(topology.cluster.keys()) == kept + 270, 10, "270 verdicts in the cluster"
    )
    assert min(topology.cluster.keys()) > 0  # every master holds a part
    before = calls(topology.model)
    found = scored(second, asked)
    assert rewards(found) == wanted
    assert calls(topology.model) - before == 30  # abstentions are asked for again
    cached = [result["components"][0]["cached"] for result in found if result["status"] == "ok"]
    assert cached == [True] * 270


def test_a_master_that_is_gone_changes_no_reward(topology: Topology) -> None:
    asked = items(1000, 200)
    wanted = rewards(scored(topology.alone, asked))
    first, second = topology.fronts
    assert rewards(scored(first, asked[:100])) == wanted[:100]
    topology.cluster.nodes[1].kill()
    try:
        for server in (second, first):
            assert rewards(scored(server, asked)) == wanted
    finally:
        topology.cluster.nodes[1].start()


def test_a_model_that_is_gone_is_an_error_and_no_reward(topology: Topology) -> None:
    known, fresh = items(2001, 9), items(3001, 9)
    wanted = rewards(scored(topology.alone, [*known, *fresh]))
    front = topology.fronts[0]
    assert rewards(scored(front, known)) == wanted[:9]
    assert topology.model.process is not None
    topology.model.process.kill()
    topology.model.wait()
    try:
        found = scored(front, [*known, *fresh])
    finally:
        topology.model.start()
    assert rewards(found) == [*wanted[:9], *[None] * 9]
    assert {(result["status"], result["reason"], result["retryable"]) for result in found[9:]} == {
        ("error", "MODEL_ERROR", True)
    }

    def answers_again() -> bool:
        return rewards(scored(front, fresh)) == wanted[9:]

    wait_until(answers_again, 30, "the front end did not find the model again")
