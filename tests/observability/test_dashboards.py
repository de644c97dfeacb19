"""Rules and dashboards against a real server, scraped by a real Prometheus.

Grafana itself is not started: its files are held to the parts of its schema that they use, and
every query of theirs is run.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import prometheus_server
from prometheus_server import PrometheusProcess
from served import SETTINGS, write_profiles
from servers import RedisProcess, ServerProcess, get, post, wait_until
from service.metrics import Metrics
from service.repetition import _is_looked_at
from service.series import Series

REPOSITORY = Path(__file__).parents[2]
RULES = REPOSITORY / "deploy" / "prometheus" / "rules.yaml"
FOLDER = REPOSITORY / "deploy" / "grafana" / "dashboards"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
RULE_LIST = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
RECORDED = {rule["record"] for rule in RULE_LIST if "record" in rule}
SERIES = {one.name: one for one in vars(Metrics()).values() if isinstance(one, Series)}
OF_PROMETHEUS = {"job", "instance", "le", "alertname", "alertstate"}
SECONDS = 60.0


class Target(NamedTuple):
    board: str
    panel: str
    expression: str


TARGETS = [
    Target(board, panel["title"], target["expr"])
    for board, found in BOARDS.items()
    for panel in found["panels"]
    for target in panel["targets"]
]
EXPRESSIONS = [rule["expr"] for rule in RULE_LIST] + [target.expression for target in TARGETS]

NOTHING_TO_SHOW = {
    "softverifier_gpu_": "there is no GPU",
    "softverifier_redis_events_total": "Redis answers",
    "softverifier_canary_drifts_total": "no canary drifts",
    "softverifier_work_kills_total": "no computation is ended",
    'sum by (alertname) (ALERTS{alertname=~"SoftVerifier.*"})': "nothing is alarming",
}


# --- the files -------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_names_and_labels_exist(expression: str) -> None:
    for name, selector in re.findall(r"\b(softverifier[_:][\w:]+)(?:\{([^}]*)\})?", expression):
        if ":" in name:
            assert name in RECORDED, f"{name} is recorded by no rule"
            continue
        bare = name.removeprefix("softverifier_")
        one = SERIES.get(bare) or SERIES.get(re.sub(r"_(total|bucket|sum|count)$", "", bare))
        assert one is not None, f"{name} is exposed by no server"
        endings = {"counter": ("_total",), "gauge": ("",)}.get(
            one.kind, ("_bucket", "_sum", "_count")
        )
        assert bare in {one.name + ending for ending in endings}, f"{name}: a {one.kind}"
        used = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector))
        assert used <= {*one.labels, *OF_PROMETHEUS}, f"{name} has labels {one.labels}"
    every = {label for one in SERIES.values() for label in one.labels} | OF_PROMETHEUS
    for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert set(re.findall(r"\w+", labels)) <= every, labels


@pytest.mark.parametrize("board", BOARDS)
def test_a_dashboard_is_what_grafana_provisions(board: str) -> None:
    found = BOARDS[board]
    assert found["uid"] == f"soft-verifier-{board}"
    assert found["title"]
    assert isinstance(found["schemaVersion"], int)
    assert found["time"]["from"]
    sources = yaml.safe_load(
        (FOLDER.parent / "provisioning/datasources/prometheus.yaml").read_text()
    )
    uid = sources["datasources"][0]["uid"]
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        assert panel["type"] in ("timeseries", "stat", "heatmap")
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": uid}
        assert all(target["datasource"]["uid"] == uid for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells


@pytest.mark.parametrize("board", BOARDS)
def test_variables_that_are_used_are_declared(board: str) -> None:
    declared = {one["name"] for one in BOARDS[board]["templating"]["list"]}
    text = json.dumps([panel["targets"] for panel in BOARDS[board]["panels"]])
    assert set(re.findall(r"\$(\w+)", text)) - {"__rate_interval"} <= declared


def test_uids_differ() -> None:
    assert len({found["uid"] for found in BOARDS.values()}) == len(BOARDS) == 4


# --- the live stack --------------------------------------------------------------------------

LABORIOUS = "chem-representation"
GROUPS = [f"prompt-{i}" for i in range(200) if _is_looked_at(f"prompt-{i}")][:4]
STORY = ". ".join(f"Sentence {i} of what is known" for i in range(8))


def item(i: int, answer: str = "yes", *, subject: str = "", story: str = STORY) -> dict[str, Any]:
    return {
        "group": GROUPS[i % len(GROUPS)],
        "completion": f"<think>{story}.</think><answer>{answer}</answer>",
        "task": {
            "type": "perturbation.de",
            "perturbation": subject or f"P{i}",
            "gene": f"R{i}",
            "cell_line": "k562",
        },
    }


def requests(wave: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Traffic that has every status, on models that wait and with computations."""
    mixed = [item(100 * wave + i, "no" if i % 3 else "yes") for i in range(24)]
    mixed += [item(i, subject="UNKNOWN") for i in range(4)]
    mixed += [item(100 * wave + i, subject="POISON") for i in range(4)]
    mixed += [{**item(i), "completion": "I cannot say"} for i in range(4)]
    for profile in ("rbio-mlp", "slow"):
        yield "/v1/score", {"profile": profile, "context": {"run": "a1"}, "items": mixed}
    yield "/v1/score", {"profile": "no-such-profile", "items": mixed[:1]}
    names = [f"A{100 * wave + i}" for i in range(8)]
    yield (
        "/v1/predict",
        {
            "model": "slow",
            "relation": "perturbation.de",
            "context": "k562",
            "subjects": names,
            "objects": names,
        },
    )


class Stack(NamedTuple):
    server: ServerProcess
    prometheus: PrometheusProcess
    redis: RedisProcess

    def traffic(self, wave: int) -> None:
        for route, body in requests(wave):
            post(self.server.url + route, json=body, timeout=60)
        example = get(f"{self.server.url}/v1/profiles/{LABORIOUS}", timeout=60).json()
        one = example["example"]["items"][0]  # each time another molecule, or it is remembered
        answer = f"<answer>{'C' * (wave % 500 + 2)}</answer>"
        one["completion"] = re.sub("<answer>.*</answer>", answer, one["completion"])
        body = {"profile": LABORIOUS, "items": [one]}
        assert post(f"{self.server.url}/v1/score", json=body, timeout=60).status_code == 200


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if prometheus_server.program() is None:
        pytest.skip(prometheus_server.MISSING)
    folder = tmp_path_factory.mktemp("watched")
    write_profiles(folder)
    redis = RedisProcess(folder).start()
    settings = SETTINGS.replace('run = "inline"', 'run = "thread"')
    settings += f"""
[cache]
redis_url = "{redis.url}"
redis_mode = "always"
breaker_failures = 1
[audit]
path = "audit.jsonl"
[canaries]
profiles = ["rbio-mlp"]
every_min = 0.02
"""
    server = ServerProcess(folder, settings)
    prometheus = None
    try:
        server.start()
        target = f"127.0.0.1:{server.http_port}"
        prometheus = PrometheusProcess(folder, target, RULES).start()
        found = Stack(server, prometheus, redis)
        found.traffic(0)
        counted = 'sum(softverifier_items_total{profile="slow"}) > 0'
        wait_until(lambda: bool(prometheus.query(counted)), SECONDS, "nothing was scraped")
        for wave in (1, 2):
            found.traffic(wave)
        yield found
    finally:
        if prometheus is not None:
            prometheus.stop()
        server.stop()
        redis.kill()


def shown(expression: str) -> str:
    """The query as Grafana sends it, everything chosen."""
    return re.sub(r"\$(?!__)\w+", ".*", expression.replace("$__rate_interval", "1m"))


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: f"{t.board}: {t.panel}")
def test_a_panel_shows_data(target: Target, stack: Stack) -> None:
    query = shown(target.expression)
    if any(name in target.expression for name in NOTHING_TO_SHOW):
        stack.prometheus.query(query)  # Prometheus takes it
        return
    until = time.monotonic() + SECONDS
    wave = 3
    while not stack.prometheus.query(query):
        assert time.monotonic() < until, f"no data for {query}"
        stack.traffic(wave)
        wave += 1


@pytest.mark.parametrize("board", BOARDS)
def test_a_variable_has_values(board: str, stack: Stack) -> None:
    for one in BOARDS[board]["templating"]["list"]:
        expression = re.sub(
            r"^label_values\((.*), (\w+)\)$", r"count by (\2) (\1)", one["definition"]
        )
        assert stack.prometheus.query(shown(expression)), one["definition"]


def test_prometheus_evaluates_every_rule(stack: Stack) -> None:
    def evaluated() -> bool:
        return all(rule["health"] == "ok" for rule in stack.prometheus.rules())

    wait_until(
        evaluated, SECONDS, f"{[r for r in stack.prometheus.rules() if r['health'] != 'ok']}"
    )
    assert len(stack.prometheus.rules()) == len(RULE_LIST)


def test_redis_away_is_an_alert(stack: Stack) -> None:
    assert stack.prometheus.query("softverifier_redis_down == 0")
    stack.redis.kill()
    stack.traffic(1000)
    pending = 'ALERTS{alertname="SoftVerifierRedisDown"}'
    wait_until(lambda: bool(stack.prometheus.query(pending)), SECONDS, "no alert for Redis")
    stack.redis.start()

    def back() -> bool:
        stack.traffic(1001)
        return bool(stack.prometheus.query("softverifier_redis_down == 0"))

    wait_until(back, SECONDS, "the alert stays though Redis is there again")
