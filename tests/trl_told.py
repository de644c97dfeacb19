"""What TRL's runs leave, and what the server says of the same completions without a trainer."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from running import PROFILE
from servers import ServerProcess, free_port
from softverifier import RewardClient

PROGRAM = Path(__file__).with_name("trainers") / "trl_runs.py"
ANSWERS = [f"<think>binds</think> <answer>{word}</answer>" for word in ("yes", "no")]
FLOOR = float(np.float32(-0.1))
"""Below 0, so that a 0 among the numbers could only be an outage's."""
SETTINGS = """
[starter]
enabled = false
[profiles]
folder = "profiles"
[audit]
path = "audit.jsonl"
[[models]]
family = "fake"
name = "screen"
options = { contexts = "k562", unknown = "NO" }
"""
Told = dict[str, Any]


def server_for_trl(folder: Path) -> ServerProcess:
    """Not started; on the same port whenever it is."""
    (folder / "profiles").mkdir()
    profile = PROFILE.replace("floor = 0.0", "floor = -0.1")
    profile = profile.replace("range = [0.0,", "range = [-0.1,")
    (folder / "profiles" / "soft.toml").write_text(profile)
    return ServerProcess(folder, SETTINGS, "--http-port", str(free_port()))


def told(folder: Path, run: str) -> Told:
    """A run's steps, its log, and every number that TRL went on with."""
    found: Told = json.loads((folder / f"{run}.json").read_text())
    return found


def table(folder: Path, run: str, step: int) -> list[Told]:
    """TRL's completions table of a step, counted from 1."""
    import pyarrow.parquet

    path = folder / run / "completions" / f"completions_{step:05d}.parquet"
    rows: list[Told] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


class Truth:
    """Asks the server for what it says of a completion, each once."""

    def __init__(self, url: str) -> None:
        self._client = RewardClient(url, profile="soft")
        self._known: dict[str, float | None] = {}

    def __call__(self, rows: list[Told]) -> list[float | None]:
        """For each row's task and completion; numbers as TRL's tensors hold them."""
        asked = {_key(row): {"task": row["task"], "completion": row["completion"]} for row in rows}
        new = [key for key in asked if key not in self._known]
        for key, number in zip(new, self._client.rewards([asked[k] for k in new]), strict=True):
            self._known[key] = None if number is None else float(np.float32(number))
        return [self._known[_key(row)] for row in rows]

    def best(self, rows: list[Told]) -> float:
        """The mean over tasks of what the better of both answers earns."""
        tasks = {json.dumps(row["task"]): row["task"] for row in rows}.values()
        both = [self([{"task": task, "completion": said} for said in ANSWERS]) for task in tasks]
        return statistics.fmean(max(pair) for pair in both if None not in pair)

    def close(self) -> None:
        self._client.close()


def _key(row: Told) -> str:
    return json.dumps([row["task"], row["completion"]])
