"""Run under the interpreter of verifiers 0.3: legacy environments roll out and score, told as JSON.

Arguments: the file to write, the scripted model's port, and the process id of the server, which is
killed at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import verifiers as vf
from datasets import Dataset
from scripted_model import Model, task_about

from softverifier.trainers import verifiers as adapter

Told = list[dict[str, Any]]


class Legacy:
    """A single-turn environment of verifiers' own, whose Rubric has our function."""

    def __init__(self, function: Any, port: int) -> None:
        rubric = vf.Rubric(funcs=[function])
        self.environment = vf.SingleTurnEnv(dataset=Dataset.from_list([_row("yes")]), rubric=rubric)
        self.client = vf.ClientConfig(
            api_base_url=f"http://127.0.0.1:{port}/v1", api_key_var="NO_KEY", max_retries=0
        )

    async def one(self, *row: str, labelled: bool = False) -> dict[str, Any]:
        found = await self.environment.run_rollout(
            _row(*row, labelled=labelled),
            self.client,
            "scripted",
            {},
            state_columns=["soft_verifier"],
        )
        return _told(found)

    async def group(self, rows: Sequence[dict[str, Any]]) -> Told:
        found = await self.environment.run_group(
            list(rows), self.client, "scripted", {}, state_columns=["soft_verifier"]
        )
        return [_told(one) for one in found]


def _row(answer: str, gene: str = "CALR", *, labelled: bool = False) -> dict[str, Any]:
    """A row of the data set: what is asked in columns of its info, or as JSON text of its answer.

    Its info has no ``task``: verifiers would take that for the row itself.
    """
    prompt = [{"role": "user", "content": f"Does it change? [{answer}]"}]
    about = task_about(gene)
    label = json.dumps({"task": about}) if labelled else ""
    info = {} if labelled else {name: about[name] for name in about if name != "type"}
    return {"prompt": prompt, "answer": label, "info": info, "example_id": 0}


def _told(found: Any) -> dict[str, Any]:
    return {name: found.get(name) for name in ("reward", "metrics", "error", "soft_verifier")}


async def every(port: int, server: int) -> dict[str, Any]:
    single = Legacy(adapter.legacy_reward, port)
    group = Legacy(adapter.legacy_rewards, port)
    found: dict[str, Any] = {
        name: await single.one(name) for name in ("yes", "no", "silent", "reasoned", "outage")
    }
    found["labelled"] = await single.one("yes", labelled=True)
    found["abstain"] = await single.one("yes", "NOSUCH")
    found["group"] = await group.group([_row("yes"), _row("no"), _row("silent")])
    # One prompt, of which one sample's gene is unknown: its group's mean, so its advantage is 0.
    same = [_row("yes"), _row("yes", "NOSUCH"), _row("yes", "CD3D")]
    found["group, abstaining"] = await group.group(same)
    found["group, outage"] = await group.group([_row("outage")] * 2)
    found["group of singles"] = await single.group([_row("yes"), _row("yes", "NOSUCH")])
    os.kill(server, signal.SIGKILL)
    found["killed"] = await single.one("no")
    found["group, killed"] = await group.group([_row("yes"), _row("no")])
    return found


def refused(port: int) -> str:
    """What a wrong profile comes to; the Rubric would make a zero of an exception."""
    adapter.scorer_named.__globals__["_NAMED"].clear()  # it is configured once a process
    os.environ["SOFT_VERIFIER_PROFILE"] = "nosuch"
    try:
        found = asyncio.run(Legacy(adapter.legacy_reward, port).one("yes"))
    except SystemExit as error:
        return str(error)
    return f"a reward of {found['reward']}"


def main() -> None:
    written, port, server = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    Model(port)
    right = os.environ["SOFT_VERIFIER_PROFILE"]
    found = {"refused": refused(port)}
    adapter.scorer_named.__globals__["_NAMED"].clear()
    os.environ["SOFT_VERIFIER_PROFILE"] = right
    found |= asyncio.run(every(port, server))
    written.write_text(json.dumps(found, allow_nan=False))


if __name__ == "__main__":
    main()
