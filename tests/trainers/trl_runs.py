"""Real runs of TRL, each by its name; what TRL was given is left as JSON beside its log.

    python trl_runs.py FOLDER URL GATE RUN…

``GATE`` is a port of the test, or 0: a run with an outage stops there before some steps until the
test has done what it does to the server. Run in TRL's environment.
"""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import os
import pickle
import queue
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trl_policy
from accelerate import PartialState
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.experimental.async_grpo.async_rollout_worker import (
    RolloutGroup,
    TrainingSequence,
    _AsyncRolloutLoop,
)
from trl.scripts import grpo as script

from softverifier.trainers.trl import RewardFunction, reward_function

STEPS = 30
FEW = {"num_generations": 16, "max_steps": 8}
"""Where nothing need be learned."""
SETTINGS: dict[str, Any] = {
    "num_generations": 64,
    "max_completion_length": 2,
    "max_steps": STEPS,
    "learning_rate": 5e-3,
    "lr_scheduler_type": "constant",
    "beta": 0.0,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "activation_checkpointing": False,
    "disable_tqdm": True,
    "num_completions_to_print": 1,
}


class Noted:
    """Mixed into a trainer: notes the numbers that TRL goes on with, after its own gathering."""

    received: list[dict[str, Any]]
    before: Callable[[int], None] | None = None

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids: Any
    ) -> Any:
        step = self.state.global_step
        if self.before is not None:
            self.before(step)
        found = super()._calculate_rewards(inputs, prompts, completions, completion_ids)
        first = self.accelerator.process_index * len(inputs)
        own = found[first : first + len(inputs), 0].tolist()
        self.received += [
            {"step": step, "task": row["task"], "completion": said, "reward": number}
            for row, said, number in zip(inputs, completions, map(_none_for_nan, own), strict=True)
        ]
        return found


class NotedGRPO(Noted, GRPOTrainer):
    pass


class NotedRLOO(Noted, RLOOTrainer):
    pass


def _none_for_nan(number: float) -> float | None:
    return None if math.isnan(number) else number


def _settings(rows: Any, **more: Any) -> dict[str, Any]:
    """Every row in every step."""
    found = {**SETTINGS, **more}
    return {**found, "per_device_train_batch_size": len(rows) * found["num_generations"]}


def _group(row: dict[str, Any], said: list[Any]) -> RolloutGroup:
    count = len(said)
    return RolloutGroup(
        prompts=[row["prompt"]] * count,
        reward_kwargs={"task": [row["task"]] * count},
        completions=said,
        completions_ids=[[1]] * count,
        completions_sequences=[[TrainingSequence([0, 1], [0, 1], [0.0] * 2, "one")] for _ in said],
        tool_call_counts=[0] * count,
        tool_failure_counts=[0] * count,
        model_version=0,
        group_id=0,
        env_rewards=[None] * count,
        rollout_rewards=[None] * count,
    )


async def _scored(loop: _AsyncRolloutLoop, said: Sequence[str]) -> list[Any]:
    """Each row of the data set with the samples that TRL makes of it."""
    messages = [[{"role": "assistant", "content": text}] for text in said]
    return [(row, await loop._score_group(_group(row, messages))) for row in loop.dataset]


class Runs:
    """What may be asked for; each method is a run."""

    def __init__(self, folder: Path, url: str, gate: int) -> None:
        self.folder, self.url, self.gate = folder, url, gate

    def sync(self) -> None:
        self._grpo("sync", self._blocking("sync"), trl_policy.questions())

    def awaited(self) -> None:
        reward = self._awaited("awaited")
        self._grpo("awaited", reward, trl_policy.questions(unknown=True), log_completions=True)

    def conversational(self) -> None:
        reward = self._blocking("conversational")
        self._grpo("conversational", reward, trl_policy.questions(conversational=True))

    def rloo(self) -> None:
        reward = self._blocking("rloo")
        rows = trl_policy.questions()
        arguments = RLOOConfig(output_dir=str(self.folder / "rloo"), **_settings(rows))
        self._train("rloo", NotedRLOO, arguments, reward, rows)

    def outage(self) -> None:
        reward = self._blocking("outage", deadline=300)
        self._grpo("outage", reward, trl_policy.questions(), before=self._wait, **FEW)

    def long_outage(self) -> None:
        reward = self._awaited("long_outage", deadline=4)
        self._grpo(
            "long_outage",
            reward,
            trl_policy.questions(),
            before=self._wait,
            log_completions=True,
            **FEW,
        )

    def async_grpo(self) -> None:
        """One group through the scoring of AsyncGRPO's rollout process.

        Its rewards travel as they do to that process. Its generation asks vLLM, and its training
        a kernel for GPUs; neither is here.
        """
        PartialState()  # as that process does
        rewards = [self._blocking("async_grpo"), self._awaited("async_grpo")]
        words = trl_policy.tokenizer()
        words.response_template = "{}"  # of tool calls, of which there are none
        loop = _AsyncRolloutLoop(
            model_name="policy",
            dataset=trl_policy.questions(conversational=True, unknown=True),
            reward_funcs=pickle.loads(pickle.dumps(rewards)),
            processing_class=words,
            eos_token_ids=[words.eos_token_id],
            rollout_buffer=queue.Queue(),
            model_version_value=multiprocessing.Value("i", 0),
            heartbeat_value=multiprocessing.Value("d", 0.0),
            failed_event=multiprocessing.Event(),
            exception_info_queue=queue.Queue(),
            metrics_queue=queue.Queue(),
            num_generations=4,
        )
        said = [*map("<think>binds</think> {}".format, trl_policy.ANSWERS), "", "yes"]
        found = [
            {
                "task": row["task"],
                "completion": sample.completion,
                "advantage": sample.advantage,
                **{key: _none_for_nan(value) for key, value in sample.metrics.items()},
            }
            for row, samples in asyncio.run(_scored(loop, said))
            for sample in samples
        ]
        (self.folder / "async_grpo.json").write_text(json.dumps(found))

    def ranks(self) -> None:
        """Under torchrun: the first of two ranks is asked only what nobody knows."""
        rows = trl_policy.questions(unknown=True)
        rows = rows.select([len(rows) - 1, 0])
        rank = int(os.environ["RANK"])
        settings = {**SETTINGS, "num_generations": 32, "max_steps": 4}
        arguments = GRPOConfig(
            output_dir=str(self.folder / "ranks"),
            scale_rewards="none",
            shuffle_dataset=False,
            per_device_train_batch_size=32,
            **settings,
        )
        self._train(f"ranks-{rank}", NotedGRPO, arguments, self._blocking("ranks"), rows)

    def script(self) -> None:
        """What ``trl grpo --reward_funcs …`` runs, by its own parser and loader."""
        os.environ |= {
            "SOFT_VERIFIER_URL": self.url,
            "SOFT_VERIFIER_PROFILE": "soft",
            "SOFT_VERIFIER_RUN": "script",
        }
        trl_policy.policy().save_pretrained(self.folder / "policy")
        trl_policy.tokenizer().save_pretrained(self.folder / "policy")
        data = self.folder / "data"
        data.mkdir()
        trl_policy.questions().to_json(data / "train.jsonl")
        given = {
            **SETTINGS,
            **FEW,
            "max_steps": 3,
            "per_device_train_batch_size": 96,
            "model_name_or_path": self.folder / "policy",
            "dataset_name": data,
            "output_dir": self.folder / "script",
            "dtype": "float32",
            "log_completions": True,
        }
        words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        dotted = [f"softverifier.trainers.trl.{name}" for name in ("reward", "reward_async")]
        sys.argv = ["trl grpo", *words, "--reward_funcs", *dotted]
        script.main(*script.make_parser().parse_args_and_config())

    def _blocking(self, run: str, **options: Any) -> RewardFunction:
        return RewardFunction(url=self.url, profile="soft", run=run, **options)

    def _awaited(self, run: str, **options: Any) -> Callable[..., Any]:
        return reward_function(url=self.url, profile="soft", run=run, **options)

    def _grpo(
        self,
        name: str,
        reward: Callable[..., Any],
        rows: Any,
        before: Callable[[int], None] | None = None,
        **more: Any,
    ) -> None:
        arguments = GRPOConfig(
            output_dir=str(self.folder / name), scale_rewards="none", **_settings(rows, **more)
        )
        self._train(name, NotedGRPO, arguments, reward, rows, before)

    def _train(
        self,
        name: str,
        kind: Any,
        arguments: Any,
        reward: Callable[..., Any],
        rows: Any,
        before: Callable[[int], None] | None = None,
    ) -> None:
        trainer = kind(
            model=trl_policy.policy(),
            reward_funcs=reward,
            args=arguments,
            train_dataset=rows,
            processing_class=trl_policy.tokenizer(),
        )
        trainer.received, trainer.before = [], before
        trainer.train()
        told = {
            "steps": trainer.state.global_step,
            "log": trainer.state.log_history,
            "received": trainer.received,
        }
        (self.folder / f"{name}.json").write_text(json.dumps(told))

    def _wait(self, step: int) -> None:
        with socket.create_connection(("127.0.0.1", self.gate), timeout=120) as test:
            test.sendall(b"%d\n" % step)
            if not test.recv(1):
                raise SystemExit("the test has gone")


def main(words: Sequence[str]) -> None:
    folder, url, gate, *names = words
    runs = Runs(Path(folder), url, int(gate))
    for name in names:
        getattr(runs, name)()


if __name__ == "__main__":
    main(sys.argv[1:])
