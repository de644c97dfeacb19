"""Episodes of SkyRL's own registry, as its generator plays them: 32 threads, one environment each.

    python skyrl_steps.py FOLDER COMPLETIONS LABEL ROUNDS

Each round plays every completion (a JSON list) and prints one line of JSON: rewards, whether each
is valid, and what SkyRL's own aggregation makes of the metrics. Before each round but the first it
leaves ``at-ROUND`` and waits for ``go-ROUND``. Run in skyrl-gym's environment.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import skyrl_gym
from omegaconf import DictConfig
from skyrl_gym.envs import register
from skyrl_gym.metrics import aggregate_for_environment

ENV = "soft-verifier"
PROMPT = [{"role": "user", "content": "Does it change?"}]


@dataclass
class Config:
    """How newer versions hand over an environment's section."""

    profile: str = "soft"


CONFIGS: tuple[Any, ...] = (DictConfig({}), {}, DictConfig({"profile": "soft"}), Config())
"""Every form in which an environment's configuration has come."""


def play(at: int, completion: str, label: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """One episode: what the step gave, and the metrics."""
    extras = {"reward_spec": {"method": "rule", "ground_truth": label}, "max_turns": 1}
    env = skyrl_gym.make(ENV, env_config=CONFIGS[at % len(CONFIGS)], extras=extras)
    history, _ = env.init(copy.deepcopy(PROMPT))
    assert history == PROMPT
    found = env.step(completion)
    assert found["done"]
    assert found["observations"] == []
    metrics = env.get_metrics()
    env.close()
    return found, metrics


def main(folder: Path, completions: list[str], label: str, rounds: int) -> None:
    """Play."""
    register(id=ENV, entry_point="softverifier.trainers.skyrl:SoftVerifierEnv")
    for number in range(rounds):
        if number:
            (folder / f"at-{number}").touch()
            until = time.monotonic() + 60
            while not (folder / f"go-{number}").exists():
                if time.monotonic() > until:
                    raise SystemExit(f"nobody opened the gate of round {number}")
                time.sleep(0.01)
        with ThreadPoolExecutor(32) as pool:
            played = list(pool.map(lambda one: play(*one, label), enumerate(completions)))
        steps, metrics = zip(*played, strict=True)
        told = {
            "rewards": [float(one["reward"]) for one in steps],
            "valid": [one["metadata"]["sv_valid"] for one in steps],
            "metrics": aggregate_for_environment(ENV, list(metrics)),
        }
        print(json.dumps(told, allow_nan=False), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
