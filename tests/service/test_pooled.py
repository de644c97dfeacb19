"""A verdict of a pooled model stays POOLED through both wires, both caches and a remote server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import RedisProcess, ServerProcess, post
from service.batcher import Hosted
from service.errors import Conflict
from service.metrics import Metrics
from service.models import ServedModels
from service.settings import Batching
from softverifier import RewardClient
from worldmodels import registry
from worldmodels.core import ANSWERED, Queries, Status
from worldmodels.genes import GeneResolver
from worldmodels.registry import Source

PLAIN = GeneResolver.as_they_are()
SETTINGS = """
[starter]
enabled = false
[work]
warm = false
[[models]]
family = "fake"
name = "pooling"
run = "{run}"
options = {{ contexts = "k562", pools = "true", unknown = "UNKNOWN" }}
[cache]
redis_url = "{redis}"
redis_mode = "always"
[profiles.models]
"rbio-mlp" = "pooling"
"""


def _item(line: str, perturbation: str = "AARS1") -> dict[str, Any]:
    task = {"type": "perturbation.de", "perturbation": perturbation, "gene": "CALR"}
    completion = "<think>It is a stress response.</think><answer>yes</answer>"
    return {"completion": completion, "task": {**task, "cell_line": line}}


def _scored(server: ServerProcess, *items: dict[str, Any]) -> list[dict[str, Any]]:
    body = {"profile": "rbio-mlp", "items": items}
    reply = post(f"{server.url}/v1/score", json=body)
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["results"]
    return found


Start = Callable[[str], ServerProcess]


@pytest.fixture
def start(tmp_path: Path, redis_server: RedisProcess) -> Iterator[Start]:
    running: list[ServerProcess] = []

    def started(run: str) -> ServerProcess:
        folder = tmp_path / str(len(running))
        folder.mkdir()
        settings = SETTINGS.format(run=run, redis=redis_server.url)
        running.append(ServerProcess(folder, settings).start())
        return running[-1]

    yield started
    for server in running:
        server.stop()


def test_it_says_so_everywhere(start: Start) -> None:
    first = start("thread")
    asked = [_item("k562"), _item("HeLa"), _item(""), _item("HeLa", "UNKNOWN1")]
    results = _scored(first, *asked)
    assert [result["status"] for result in results] == ["ok", "ok", "ok", "abstain"]
    parts = [result["components"][0] for result in results]
    assert [part["status"] for part in parts] == ["OK", "POOLED", "POOLED", "UNKNOWN_GENE"]
    assert results[1]["reason"] == "OK"
    assert results[1]["reward"] == parts[1]["p"] == parts[1]["score"]
    assert parts[1]["p"] not in (None, parts[0]["p"])
    again = _scored(first, *asked)
    for server, cached in ((first, again), (None, None)):
        found = cached or _scored(server or start("thread"), *asked)  # a second one: from Redis
        kept = [result["components"][0] for result in found]
        assert [part["status"] for part in kept] == [part["status"] for part in parts]
        assert [part["p"] for part in kept] == [part["p"] for part in parts]
        assert [part["cached"] for part in kept] == [True, True, True, False]

    rows = (["AARS1"] * 3, ["CALR"] * 3, ["k562", "HeLa", ""])
    body = {"model": "pooling", "relation": "perturbation.de"}
    columns = dict(zip(("subjects", "objects", "contexts"), rows, strict=True))
    said = post(f"{first.url}/v1/predict", json={**body, **columns}).json()
    assert said["status"] == ["OK", "POOLED", "POOLED"]
    assert said["p"] == [part["p"] for part in parts[:3]]
    for url in (first.url, first.grpc_url):
        with RewardClient(url, profile="rbio-mlp") as client:
            assert client.rewards(asked) == [result["reward"] for result in results]
            known = client.predict("pooling", "perturbation.de", *rows)
            assert known.status == ("OK", "POOLED", "POOLED")
            assert list(known.p) == said["p"]

    options = {"url": first.grpc_url, "model": "pooling"}
    far = registry.load(Source(family="remote", name="far", options=options), PLAIN)
    assert far.spec.pools
    found = far.predict(Queries("perturbation.de", *rows))
    assert found.status.tolist() == [Status.OK, Status.POOLED, Status.POOLED]
    assert found.p.tolist() == said["p"]


def _hosted(name: str, contexts: str = "", pools: str = "false") -> Hosted:
    options = {"contexts": contexts, "pools": pools}
    model = registry.load(Source(family="fake", name=name, options=options), PLAIN)
    return Hosted(model, Batching(), Metrics())


K562, RPE1 = _hosted("k562", "k562"), _hosted("rpe1", "rpe1")
POOLS, BLIND = _hosted("pools", "k562,jurkat", "true"), _hosted("blind")


@pytest.mark.parametrize(
    ("models", "context", "name"),
    [
        pytest.param([RPE1, POOLS], "rpe1", "rpe1", id="who-lists-the-line-wins"),
        pytest.param([RPE1, POOLS], "jurkat", "pools", id="listed-by-the-pooling-one"),
        pytest.param([RPE1, POOLS], "hela", "pools", id="who-pools-answers-the-rest"),
        pytest.param([RPE1, POOLS], "", "pools", id="no-line"),
        pytest.param([RPE1, K562], "hela", None, id="nobody-pools"),
        pytest.param([RPE1, BLIND, POOLS], "hela", "blind", id="any-line-before-pooled"),
    ],
)
def test_who_is_asked(models: list[Hosted], context: str, name: str | None) -> None:
    found = ServedModels(models).route("*", "perturbation.de", context)
    assert (found and found.name) == name


def test_two_that_list_a_line_are_still_a_conflict() -> None:
    with pytest.raises(Conflict, match="k562, pools all answer"):
        ServedModels([K562, POOLS]).route("*", "perturbation.de", "k562")


def test_what_carries_a_probability() -> None:
    assert set(ANSWERED) == {Status.OK, Status.POOLED}
