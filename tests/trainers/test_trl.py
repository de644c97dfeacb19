"""TRL itself, on a CPU, against a running server: it learns, and says what it was told.

``trl_runs.py`` runs in TRL's environment and leaves what TRL went on with; here it is compared
with what the server says of the same completions.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainer_packages
from servers import ServerProcess, wait_until
from trl_told import FLOOR, PROGRAM, Truth, server_for_trl, table, told

LEARNING = ("sync", "awaited", "conversational", "rloo")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = server_for_trl(tmp_path_factory.mktemp("trl-server")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def truth(server: ServerProcess) -> Iterator[Truth]:
    asking = Truth(server.url)
    yield asking
    asking.close()


@pytest.fixture(scope="module")
def runs(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what the runs left."""
    folder = tmp_path_factory.mktemp("trl-runs")
    names = (*LEARNING, "async_grpo", "script")
    printed = trainer_packages.run("trl", PROGRAM, [folder, server.url, 0, *names], seconds=300)
    assert "soft-verifier: trl is active, profile soft sha256:" in printed
    return folder


@pytest.mark.parametrize("run", LEARNING)
def test_the_policy_learns(run: str, runs: Path, truth: Truth) -> None:
    left = told(runs, run)
    best = truth.best(left["received"])
    curve = [line["reward"] for line in left["log"] if "reward" in line]
    assert left["steps"] == len(curve) == 30
    assert curve[0] < 0.1 * best  # chance
    assert statistics.fmean(curve[-3:]) >= 0.9 * best


@pytest.mark.parametrize("run", LEARNING)
def test_trl_goes_on_with_the_servers_numbers(run: str, runs: Path, truth: Truth) -> None:
    received = told(runs, run)["received"]
    assert len(received) == 30 * 64 * (7 if run == "awaited" else 6)
    assert [row["reward"] for row in received] == truth(received)
    assert isinstance(received[0]["completion"], list if run == "conversational" else str)


def test_what_abstains_is_left_out(runs: Path) -> None:
    received = told(runs, "awaited")["received"]
    left_out = {row["task"]["perturbation"] for row in received if row["reward"] is None}
    assert left_out == {"NOBODY"}
    # A malformed answer is the policy's doing, whatever was asked.
    assert {r["reward"] for r in received if r["task"]["perturbation"] == "NOBODY"} == {None, FLOOR}


@pytest.mark.parametrize("run", LEARNING)
def test_components_reach_the_log(run: str, runs: Path) -> None:
    left = told(runs, run)
    lines = [line for line in left["log"] if "reward" in line]
    for step, line in enumerate(lines):
        given = [row["reward"] for row in left["received"] if row["step"] == step]
        shares = [line[f"sv_{name}"] for name in ("ok", "invalid", "abstain", "error")]
        assert sum(shares) == pytest.approx(1)
        assert line["sv_error"] == 0
        assert line["sv_invalid"] == pytest.approx(given.count(FLOOR) / len(given))
        assert line["sv_abstain"] == pytest.approx(given.count(None) / len(given))
        scored = [number for number in given if number not in (None, FLOOR)]
        assert scored
        assert line["sv_perturbation_de"] == pytest.approx(statistics.fmean(scored), abs=1e-5)


def test_the_completions_table_says_why(runs: Path) -> None:
    rows = table(runs, "awaited", 30)
    assert {row["sv_status"] for row in rows} >= {"ok", "abstain"}
    for row in rows:
        if row["sv_status"] == "ok":
            assert f"<answer>{row['sv_answer']}</answer>" in row["completion"]
            assert row["sv_perturbation_de"] == pytest.approx(row["soft_verifier"], abs=1e-6)
        if row["sv_status"] == "abstain":
            assert row["sv_perturbation_de"] is None or math.isnan(row["sv_perturbation_de"])
            assert row["advantage"] == 0


def test_the_audit_knows_run_and_step(runs: Path, server: ServerProcess) -> None:
    wanted = {(run, step) for run in LEARNING for step in range(30)}
    wanted |= {("script", step) for step in range(3)}
    path = server.folder / "audit.jsonl"

    def written() -> bool:
        lines = map(json.loads, path.read_text().splitlines())
        return wanted <= {(line.get("run"), line.get("step")) for line in lines}

    wait_until(written, 10, "the audit lacks a run or a step")


def test_async_grpo_scores_by_the_same_numbers(runs: Path, truth: Truth) -> None:
    """Two reward functions, blocking and awaited, pickled as for its rollout process."""
    samples = json.loads((runs / "async_grpo.json").read_text())
    expected = truth(samples)
    assert len(samples) == 7 * 4
    assert None in expected
    for sample, number in zip(samples, expected, strict=True):
        if number is None:
            assert sample["reward"] is sample["rewards/soft_verifier"] is None
            assert sample["advantage"] == 0
        else:
            assert sample["rewards/soft_verifier"] == pytest.approx(number, abs=1e-6)
            assert sample["reward"] == pytest.approx(2 * number, abs=1e-6)


def test_a_rank_without_a_score_bends_no_mean(
    server: ServerProcess, truth: Truth, tmp_path: Path
) -> None:
    """Two ranks: each is given its own numbers, and the log's mean is of the one that has any."""
    launch = ["torch.distributed.run", "--standalone", "--nproc_per_node", 2, PROGRAM]
    trainer_packages.run("trl", "-m", [*launch, tmp_path, server.url, 0, "ranks"], seconds=300)
    unknown, known = (told(tmp_path, f"ranks-{rank}") for rank in (0, 1))
    for left in (unknown, known):
        assert left["steps"] == 4
        assert [row["reward"] for row in left["received"]] == truth(left["received"])
    assert {row["reward"] for row in unknown["received"]} <= {None, FLOOR}
    seen = 0
    for step, line in enumerate(one for one in unknown["log"] if "reward" in one):
        numbers = [row["reward"] for row in known["received"] if row["step"] == step]
        scored = [number for number in numbers if number != FLOOR]
        assert ("sv_perturbation_de" in line) is bool(scored)
        if scored:
            assert line["sv_perturbation_de"] == pytest.approx(statistics.fmean(scored), abs=1e-5)
            seen += 1
    assert seen


def test_trls_own_script_finds_both_dotted_paths(runs: Path, truth: Truth) -> None:
    for step in (1, 2, 3):
        rows = table(runs, "script", step)
        assert len(rows) == 96
        task = {"type": "perturbation.de", "gene": "CALR", "cell_line": "k562"}
        for row in rows:
            row["task"] = {**task, "perturbation": row["prompt"].split()[1]}
        assert [row["reward"] for row in rows] == truth(rows)
        assert [row["reward_async"] for row in rows] == truth(rows)
