"""skyrl-gym for real: its registry, its episodes, its metrics, and an outage among them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trainer_packages
from running import write_config
from servers import ServerProcess, free_port, wait_until
from softverifier import RewardClient
from trainer_calls import NO, YES, Sample

PROGRAM = Path(__file__).parent / "skyrl_steps.py"
COMPLETIONS = [YES, NO, "no answer at all", YES] * 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    trainer_packages.python("skyrl")
    config = write_config(tmp_path_factory.mktemp("skyrl-server"))
    ports = ("--http-port", str(free_port()))
    running = ServerProcess(config.parent, "", "--config", str(config), *ports)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def rounds(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Three rounds: a server, none, and one again."""
    folder = tmp_path_factory.mktemp("skyrl")
    environment = {
        "SOFT_VERIFIER_URL": server.url,
        "SOFT_VERIFIER_PROFILE": "soft",
        "SOFT_VERIFIER_DEADLINE": "10",
        "SOFT_VERIFIER_NEUTRAL": "0.4375",
    }
    words = [folder, json.dumps(COMPLETIONS), Sample().label, "3"]
    process = trainer_packages.start("skyrl", PROGRAM, words, environment)
    try:
        for number, act in ((1, ServerProcess.kill), (2, ServerProcess.start)):
            gate = folder / f"at-{number}"
            wait_until(
                lambda gate=gate: gate.exists() or process.poll() is not None, 120, "no next round"
            )
            act(server)
            (folder / f"go-{number}").touch()
        printed, _ = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, printed
    assert "soft-verifier: skyrl is active, profile soft sha256:" in printed
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def test_episodes_earn_what_the_server_says(
    rounds: list[dict[str, Any]], server: ServerProcess
) -> None:
    items = [{"completion": text, "task": Sample().task} for text in COMPLETIONS]
    with RewardClient(server.url, profile="soft") as client:
        due = client.rewards(items)
    assert rounds[0]["rewards"] == rounds[2]["rewards"] == due
    assert rounds[0]["valid"] == [1.0] * len(COMPLETIONS)
    assert len(set(due)) == 3


def test_an_outage_is_no_zero(rounds: list[dict[str, Any]]) -> None:
    assert rounds[1]["rewards"] == [0.4375] * len(COMPLETIONS)
    assert rounds[1]["valid"] == [0.0] * len(COMPLETIONS)


def test_skyrl_averages_the_same_keys_come_what_may(rounds: list[dict[str, Any]]) -> None:
    assert len({tuple(sorted(one["metrics"])) for one in rounds}) == 1
    assert {"sv_valid", "sv_weight", "sv_perturbation_de"} <= rounds[0]["metrics"].keys()
    assert [one["metrics"]["sv_valid"] for one in rounds] == [1.0, 0.0, 1.0]
