"""Each alert fires where it should and is silent where it should be, as promtool evaluates it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
RULES = REPOSITORY / "deploy" / "prometheus" / "rules.yaml"
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]

promtool = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    promtool is None, reason="promtool is not installed (Debian: apt-get install prometheus)"
)


class Case(NamedTuple):
    """Series as promtool writes them (start+step x times, one sample a minute)."""

    alert: str
    fires: bool
    series: dict[str, str]
    at: str = "40m"


BASE = 'job="soft-verifier",instance="a"'
RUN = f'{BASE},profile="p",run="r"'
TWO_HOURS = 120


def requests(failed: int, code: str = "500") -> dict[str, str]:
    return {
        f'softverifier_requests_total{{{BASE},route="/v1/score",code="200"}}': "0+100x60",
        f'softverifier_requests_total{{{BASE},route="/v1/score",code="{code}"}}': f"0+{failed}x60",
    }


def items(other: int, status: str, reason: str, ok: int = 100) -> dict[str, str]:
    name = f'softverifier_items_total{{{BASE},profile="p"'
    return {
        f'{name},status="ok",reason="OK"}}': f"0+{ok}x60",
        f'{name},status="{status}",reason="{reason}"}}': f"0+{other}x60",
    }


def waits(slow: int) -> dict[str, str]:
    name = f'softverifier_queue_wait_seconds_bucket{{{BASE},model="m",le='
    return {f'{name}"0.01"}}': "0+100x60", f'{name}"5"}}': f"0+{100 + slow}x60",
            f'{name}"+Inf"}}': f"0+{100 + slow}x60"}  # fmt: skip


def means(before: float, now: float, items: int = 100) -> dict[str, str]:
    """A mean reward that changes after an hour and a half."""
    labels, end = f'{RUN},split="train"', before * items * 90
    moved = f"0{before * items:+g}x90 {end + now * items:g}{now * items:+g}x29"
    return {
        f"softverifier_reward_sum{{{labels}}}": moved,
        f"softverifier_reward_count{{{labels}}}": f"0+{items}x{TWO_HOURS}",
    }


def restarted() -> dict[str, str]:
    """Two replicas with equal rewards, one of which begins anew."""
    found = {}
    for instance, sums, counts in (
        ("a", "0+50x119", "0+100x119"),
        ("b", "0+50x100 10+50x18", "0+100x100 20+100x18"),
    ):
        labels = RUN.replace('instance="a"', f'instance="{instance}"') + ',split="train"'
        found[f"softverifier_reward_sum{{{labels}}}"] = sums
        found[f"softverifier_reward_count{{{labels}}}"] = counts
    return found


def answers(yes: int, no: int) -> dict[str, str]:
    name = f"softverifier_answers_total{{{RUN},answer="
    return {f'{name}"yes"}}': f"0+{yes}x60", f'{name}"no"}}': f"0+{no}x60"}


def components(form: tuple[float, float], truth: tuple[float, float]) -> dict[str, str]:
    """Means of form and truth, before and after an hour and a half."""
    found = {f'softverifier_answers_total{{{RUN},answer="yes"}}': f"0+100x{TWO_HOURS}"}
    for name, kind, (before, now) in (("valid", "form", form), ("de", "truth", truth)):
        labels = f'{RUN},component="{name}",kind="{kind}"'
        end = before * 100 * 90
        found[f"softverifier_component_scored_total{{{labels}}}"] = f"0+100x{TWO_HOURS}"
        found[f"softverifier_component_score_sum_total{{{labels}}}"] = (
            f"0+{before * 100:g}x90 {end + now * 100:g}+{now * 100:g}x29"
        )
    return found


def repeats(share: float, pairs: int = 10) -> dict[str, str]:
    return {
        f"softverifier_group_pairs_total{{{RUN}}}": f"0+{pairs}x60",
        f"softverifier_group_repeats_total{{{RUN}}}": f"0+{pairs * share:g}x60",
    }


def gpu(used: int) -> dict[str, str]:
    name = f'softverifier_gpu_memory_bytes{{{BASE},device="0",kind='
    return {f'{name}"used"}}': f"{used}x60", f'{name}"total"}}': "100x60"}


def one(name: str, values: str, labels: str = "") -> dict[str, str]:
    return {f"{name}{{{BASE}{labels}}}": values}


START, FAULTS = "softverifier_start_time_seconds", "softverifier_model_faults_total"
AUDIT = "softverifier_audit_lines_total"
CASES = {
    "down": Case("SoftVerifierDown", True, one("up", "1x30 0x30")),
    "up": Case("SoftVerifierDown", False, one("up", "1x60")),
    "another job is down": Case("SoftVerifierDown", False, {'up{job="redis"}': "0x60"}),
    "restarts": Case("SoftVerifierRestarts", True, one(START, "1x20 2x10 3x30")),
    "one restart": Case("SoftVerifierRestarts", False, one(START, "1x20 2x40")),
    "fail": Case("SoftVerifierRequestsFail", True, requests(10)),
    "fail over gRPC": Case("SoftVerifierRequestsFail", True, requests(10, "UNAVAILABLE")),
    "few fail": Case("SoftVerifierRequestsFail", False, requests(3)),
    "clients err": Case("SoftVerifierRequestsFail", False, requests(50, "422")),
    "nothing asked": Case("SoftVerifierRequestsFail", False, one("up", "1x60")),
    "shed": Case("SoftVerifierSheds", True, requests(10, "429")),
    "shed over gRPC": Case("SoftVerifierSheds", True, requests(10, "RESOURCE_EXHAUSTED")),
    "few shed": Case("SoftVerifierSheds", False, requests(3, "429")),
    "items fail": Case("SoftVerifierItemsFail", True, items(5, "error", "MODEL_ERROR")),
    "few items fail": Case("SoftVerifierItemsFail", False, items(1, "error", "DEADLINE")),
    "items fail, few there": Case("SoftVerifierItemsFail", False, items(1, "error", "X", 1)),
    "waits": Case("SoftVerifierQueueWait", True, waits(50)),
    "hardly waits": Case("SoftVerifierQueueWait", False, waits(0)),
    "model fails": Case(
        "SoftVerifierModelFails", True, one(FAULTS, "0+1x60", ',model="m",kind="exception"')
    ),
    "model failed once": Case(
        "SoftVerifierModelFails", False, one(FAULTS, "0x30 1x30", ',model="m",kind="exception"')
    ),
    "Redis away": Case("SoftVerifierRedisDown", True, one("softverifier_redis_down", "0x20 2x40")),
    "Redis there": Case("SoftVerifierRedisDown", False, one("softverifier_redis_down", "0x60")),
    "Redis away a minute": Case(
        "SoftVerifierRedisDown", False, one("softverifier_redis_down", "0x38 1x2 0x20")
    ),
    "audit loses": Case("SoftVerifierAuditLoses", True, one(AUDIT, "0x30 9x30", ',outcome="lost"')),
    "audit writes": Case(
        "SoftVerifierAuditLoses", False, one(AUDIT, "0+9x60", ',outcome="written"')
    ),
    "GPU full": Case("SoftVerifierGpuMemory", True, gpu(97)),
    "GPU half full": Case("SoftVerifierGpuMemory", False, gpu(50)),
    "canary red": Case("SoftVerifierCanaryDrift", True, one("softverifier_canaries_red", "1x60")),
    "canary well": Case("SoftVerifierCanaryDrift", False, one("softverifier_canaries_red", "0x60")),
    "abstains": Case("SoftVerifierAbstains", True, items(80, "abstain", "UNKNOWN_GENE")),
    "abstains at times": Case("SoftVerifierAbstains", False, items(20, "abstain", "NO_TRUTH")),
    "mean rises": Case("SoftVerifierRewardMeanDrift", True, means(0.4, 0.9), "119m"),
    "mean falls": Case("SoftVerifierRewardMeanDrift", True, means(0.7, 0.2), "119m"),
    "mean stays": Case("SoftVerifierRewardMeanDrift", False, means(0.5, 0.6), "119m"),
    "mean below zero falls": Case("SoftVerifierRewardMeanDrift", True, means(-0.1, -0.6), "119m"),
    "mean below zero stays": Case("SoftVerifierRewardMeanDrift", False, means(-0.5, -0.5), "119m"),
    "a restart": Case("SoftVerifierRewardMeanDrift", False, restarted(), "119m"),
    "mean of few": Case("SoftVerifierRewardMeanDrift", False, means(0.1, 0.9, 5), "119m"),
    "run begins": Case("SoftVerifierRewardMeanDrift", False, means(0.1, 0.1), "30m"),
    "collapse": Case("SoftVerifierAnswerCollapse", True, answers(99, 1)),
    "collapse to one": Case("SoftVerifierAnswerCollapse", True, answers(100, 0)),
    "uneven": Case("SoftVerifierAnswerCollapse", False, answers(85, 15)),
    "collapse of few": Case("SoftVerifierAnswerCollapse", False, answers(5, 0)),
    "form outruns": Case(
        "SoftVerifierFormOutrunsTruth", True, components((0.5, 1.0), (0.5, 0.45)), "119m"
    ),
    "both rise": Case(
        "SoftVerifierFormOutrunsTruth", False, components((0.5, 0.9), (0.5, 0.8)), "119m"
    ),
    "truth rises": Case(
        "SoftVerifierFormOutrunsTruth", False, components((0.9, 0.9), (0.4, 0.8)), "119m"
    ),
    "repeats": Case("SoftVerifierCompletionsRepeat", True, repeats(0.8)),
    "few repeats": Case("SoftVerifierCompletionsRepeat", False, repeats(0.2)),
    "repeats of few": Case("SoftVerifierCompletionsRepeat", False, repeats(1.0, 1)),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What promtool says of each case; one run of it for all, since each reads the rules anew."""
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    folder = tmp_path_factory.mktemp("rules")
    said = {}
    for i, (name, case) in enumerate(CASES.items()):
        file = folder / f"{i}.yaml"
        file.write_text(yaml.safe_dump(test_file(case)))
        done = subprocess.run(
            [promtool, "test", "rules", file], capture_output=True, text=True, timeout=120
        )
        said[name] = "" if done.returncode == 0 else done.stdout + done.stderr
    return said


def test_file(case: Case) -> dict[str, Any]:
    """The case as promtool reads it: the number of firing alerts of that name, or none."""
    found = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}}) or vector(0)'
    samples = [{"labels": "{}", "value": 1.0 if case.fires else 0.0}]
    return {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "group_eval_order": [group["name"] for group in GROUPS],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": s, "values": v} for s, v in case.series.items()],
                "promql_expr_test": [{"expr": found, "eval_time": case.at, "exp_samples": samples}],
            }
        ],
    }


test_file.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", CASES)
def test_alert(name: str, outcomes: dict[str, str]) -> None:
    assert not outcomes[name], outcomes[name]


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    assert promtool is not None
    done = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_every_alert_has_a_firing_and_a_silent_case(alert: str) -> None:
    assert {case.fires for case in CASES.values() if case.alert == alert} == {True, False}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor == rule["alert"].lower()
    text = (REPOSITORY / path).read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert rule["alert"] in headings, f"{path} does not say what to do about {rule['alert']}"
