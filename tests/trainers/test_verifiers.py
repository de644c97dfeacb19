"""verifiers 0.4 itself: ``vf-eval`` rolls out, and scores by our function and over our routes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

import trainer_packages
from fault_proxy import FaultProxy, outage
from running import RunningService, write_config
from servers import free_port

HERE = Path(__file__).parent
FLOOR = 0.0
Trace = dict[str, Any]

RUN = """
model = "scripted"
output_dir = "{folder}/out"
num_rollouts = 2
[client]
base_url = "http://127.0.0.1:{port}/v1"
api_key_var = "NO_KEY"
[run]
name = "run"
[env.agent.harness]
id = "verifiers_pairs"
[env.agent.runtime]
type = "subprocess"
{more}
"""
BY_FUNCTION = """
[env.taskset]
id = "verifiers_pairs"
rows = {rows}
[env.taskset.task.rewards.soft_verifier]
fn = "softverifier.trainers.verifiers:reward"
"""
BY_GYM = """
[env.taskset]
id = "nemo_gym"
dataset = "{folder}/rows.jsonl"
[env.taskset.task]
resources_url = "{url}"
[env.taskset.task.headers]
x-softverifier-profile = "soft"
"""
CALM = ["yes CALR", "no CALR", "reasoned CALR", "silent CALR", "yes NOSUCH"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(write_config(tmp_path_factory.mktemp("verifiers"))).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def proxy(service: RunningService) -> Iterator[FaultProxy]:
    made = FaultProxy(service.http)
    made.fault = outage
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def numbers(service: RunningService) -> dict[str, float]:
    """What the server gives for yes and no, and for nothing."""
    items = [
        {"completion": f"<think>It may.</think><answer>{word}</answer>", "task": task()}
        for word in ("yes", "no")
    ]
    body = {"profile": "soft", "items": items}
    results = httpx.post(f"{service.http}/v1/score", json=body, verify=False).json()["results"]
    profile = httpx.get(f"{service.http}/v1/profiles/soft", verify=False).json()
    yes, no = (one["reward"] for one in results)
    return {"yes": yes, "no": no, "reasoned": yes, "silent": FLOOR, "neutral": profile["neutral"]}


def task(gene: str = "CALR") -> dict[str, str]:
    found = {"type": "perturbation.de", "perturbation": "AARS1", "gene": gene}
    return {**found, "cell_line": "k562"}


def evaluated(folder: Path, more: str, surroundings: Mapping[str, str]) -> dict[str, list[Trace]]:
    """What ``vf-eval`` wrote: the traces of each prompt."""
    port = free_port()
    config = folder / "run.toml"
    config.write_text(RUN.format(folder=folder, port=port, more=more))
    environment = {"NO_KEY": "none", "HOME": str(folder), **surroundings}
    arguments = [str(port), config]
    trainer_packages.run("verifiers", HERE / "verifiers_eval.py", arguments, environment, 300)
    found: dict[str, list[Trace]] = {}
    for line in (folder / "out" / "run" / "traces.jsonl").read_text().splitlines():
        for trace in json.loads(line)["traces"]:
            found.setdefault(_asked(trace), []).append(trace)
    assert all(len(traces) == 2 for traces in found.values())
    return found


def _asked(trace: Trace) -> str:
    """``yes CALR`` of the prompt ``Does CALR change? [yes]``."""
    prompt = trace["task"]["data"]["prompt"]
    text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
    _, gene, rest = text.split(" ", 2)
    return f"{rest.partition('[')[2].rstrip(']')} {gene}"


def by_function(folder: Path, url: str, rows: list[str], deadline: str) -> dict[str, list[Trace]]:
    adapter = {
        "SOFT_VERIFIER_URL": url,
        "SOFT_VERIFIER_PROFILE": "soft",
        "SOFT_VERIFIER_DEADLINE": deadline,
    }
    return evaluated(folder, BY_FUNCTION.format(rows=json.dumps(rows)), adapter)


@pytest.fixture(scope="module")
def calm(proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Trace]]:
    return by_function(tmp_path_factory.mktemp("calm"), proxy.url, CALM, "20")


@pytest.mark.parametrize("answer", ["yes", "no", "reasoned", "silent"])
def test_a_plugged_reward_is_the_servers(
    calm: dict[str, list[Trace]], numbers: dict[str, float], answer: str
) -> None:
    for trace in calm[f"{answer} CALR"]:
        assert trace["ok"]
        assert trace["rewards"] == {"soft_verifier": {"score": numbers[answer], "weight": 1.0}}
        assert trace["metrics"]["sv_valid"] == 1
        assert set(trace["metrics"]) == {"sv_valid", "sv_weight", "sv_perturbation_de"}


def dropped(trace: Trace, *why: str) -> None:
    assert not trace["ok"]
    assert list(trace["rewards"].values()) == [None]
    (error,) = trace["errors"]
    assert error["type"] == "TaskError"
    for words in why:
        assert words in error["message"]


def test_an_abstention_drops_the_trace(calm: dict[str, list[Trace]]) -> None:
    for trace in calm["yes NOSUCH"]:
        dropped(trace, "NoReward", "UNKNOWN_GENE")


def test_an_outage_drops_the_trace_even_if_verifiers_cuts_it_off(
    proxy: FaultProxy, tmp_path: Path
) -> None:
    """verifiers calls a trace good whose scoring ran out of time, and its rewards sum to 0."""
    found = by_function(tmp_path, proxy.url, ["outage CALR", "outage CD3D 0.3"], "4")
    for trace in found["outage CALR"]:
        dropped(trace, "NoReward", "UNREACHABLE")
    for trace in found["outage CD3D"]:
        dropped(trace, "NoReward", "raise timeout.scoring")


ROWS = [
    *({"said": said, "gene": "CALR"} for said in ("yes", "no", "reasoned", "silent", "outage")),
    {"said": "yes", "gene": "NOSUCH"},
]


def by_gym(folder: Path, url: str) -> dict[str, list[Trace]]:
    lines = []
    for at, row in enumerate(ROWS):
        asked = f"Does {row['gene']} change? [{row['said']}]"
        about = {"task": task(row["gene"])}
        columns = about if at % 2 else {"verifier_metadata": about}
        prompt = [{"role": "user", "content": asked}]
        lines.append(json.dumps({"responses_create_params": {"input": prompt}, **columns}))
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return evaluated(folder, BY_GYM.format(folder=folder, url=url), {})


def test_its_gym_taskset_gets_rewards_over_our_routes(
    proxy: FaultProxy, numbers: dict[str, float], tmp_path: Path
) -> None:
    found = by_gym(tmp_path, proxy.url)
    for answer in ("yes", "no", "reasoned", "silent"):
        for trace in found[f"{answer} CALR"]:
            assert trace["ok"]
            assert trace["rewards"]["nemo_gym"]["score"] == numbers[answer]
            assert trace["metrics"]["mask_sample"] == 0
            assert trace["info"]["nemo_gym"]["reward_components"] == {
                "soft_verifier": numbers[answer]
            }
    for trace in found["yes NOSUCH"]:  # verifiers reads no mask; the number is neutral
        assert trace["rewards"]["nemo_gym"]["score"] == numbers["neutral"] > 0
        assert trace["metrics"]["mask_sample"] == 1
    for trace in found["outage CALR"]:
        dropped(trace, "503")
