"""The trainer's half: warm start once, then TRL's GRPOTrainer once for each profile.

    python post_train.py WORK --url http://127.0.0.1:8080

``WORK/plan.json`` and the tables beside it come from ``run.py``, which starts this in the
trainer's environment. Lines that begin with ``{"run"`` are events for its progress bars. A run
writes ``WORK/runs/NAME/``: ``history.jsonl`` (step, mean reward), ``scores.npz`` (p(yes) of
held-out pairs at steps, and at the end), ``policy.safetensors``, and last ``done.json``; a run is
used again where that file holds its very settings.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import policy
import torch
import warm_start
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from softverifier.trainers.trl import RewardFunction


class Bench:
    """What all runs share: the plan, the pairs, the tokenizer and the untrained policy's parts."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.plan: dict[str, Any] = json.loads((work / "plan.json").read_text())
        with np.load(work / "genes.npz") as held:
            self.genes, self.vectors = held["names"].tolist(), held["vectors"]
        pairs = json.loads((work / "pairs.json").read_text())
        self.train, self.held_out = pairs["train"], pairs["held_out"]
        self.counting: list[int] = pairs["counting"]
        self.line: str = self.plan["line"]
        self.speech = policy.tokenizer(self.line, self.genes)

    def prompts(self, rows: list[list[Any]]) -> list[str]:
        """The question of each pair."""
        return [policy.PROMPT.format(a=a, b=b, line=self.line) for a, b, _ in rows]

    def fresh(self) -> Any:
        """An untrained policy, always the same one."""
        torch.manual_seed(self.plan["seed"])
        return policy.build(self.speech, self.line, self.vectors)

    def data(self, truth: bool) -> Dataset:
        """The rows as the adapter wants them; measured labels only for who pays for those."""
        tasks = [
            {"type": "perturbation.de", "perturbation": a, "gene": b, "cell_line": self.line}
            for a, b, _ in self.train
        ]
        columns: dict[str, list[Any]] = {"prompt": self.prompts(self.train), "task": tasks}
        if truth:
            columns["truth"] = ["yes" if label else "no" for *_, label in self.train]
        return Dataset.from_dict(columns)

    def score(self, model: Any) -> Any:
        """p(yes) of all held-out pairs."""
        return policy.probabilities(model, self.speech, self.prompts(self.held_out))


class Watch(TrainerCallback):
    """Keeps rewards of every step, and every few what the policy says of held-out pairs that count.

    A readout of one class has no AUROC: its pairs are asked about before and after only.
    """

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.name = bench, name
        self.history: list[dict[str, float]] = []
        self.at: list[int] = []
        self.scores: list[Any] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
        """Score every few steps."""
        if state.global_step % self.bench.plan["evaluate_every"] == 0:
            asked = [self.bench.held_out[i] for i in self.bench.counting]
            prompts = self.bench.prompts(asked)
            self.at.append(state.global_step)
            self.scores.append(policy.probabilities(kw["model"], self.bench.speech, prompts))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kw: Any) -> None:
        """Keep and tell the step's mean reward."""
        if logs and "reward" in logs:
            row = {"step": state.global_step, "reward": float(logs["reward"])}
            row |= {key: float(value) for key, value in logs.items() if key.startswith("sv_")}
            self.history.append(row)
            say(run=self.name, step=state.global_step, reward=row["reward"])


def say(**event: Any) -> None:
    """One event for the parent."""
    print(json.dumps(event), flush=True)


def warm(bench: Bench) -> Path:
    """The weights that every run starts from; made once for the same steps and seed."""
    steps, seed = bench.plan["warm_steps"], bench.plan["seed"]
    path = bench.work / f"warm-{steps}.safetensors"
    if path.exists():
        return path
    model = bench.fresh()
    warm_start.teach_form(
        model,
        bench.speech,
        bench.prompts(bench.train),
        steps=steps,
        seed=seed,
        tell=lambda step, loss: say(run="warm start", step=step, loss=loss),
    )
    np.save(path.with_suffix(".npy"), bench.score(model))
    policy.save(model, path)
    return path


def finished(path: Path, run: dict[str, Any]) -> bool:
    """Whether a run of these settings is there."""
    return path.exists() and json.loads(path.read_text())["run"] == run


def post_train(bench: Bench, run: dict[str, Any], start: Path, url: str) -> None:
    """One run of GRPO, from the warm start to ``done.json``."""
    folder = bench.work / "runs" / run["name"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "done.json").unlink(missing_ok=True)
    model = bench.fresh()
    policy.load(model, start)
    watch = Watch(bench, run["name"])
    trainer = GRPOTrainer(
        model=model,
        processing_class=bench.speech,
        reward_funcs=[RewardFunction(url=url, profile=run["profile"])],
        train_dataset=bench.data(run["truth"]),
        args=configuration(run, folder),
        callbacks=[watch],
    )
    # TRL would load a reference by name from the Hub; ours is the warm start, and has none.
    trainer.beta, trainer.ref_model = run["beta"], copy.deepcopy(model).eval().requires_grad_(False)
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    np.savez(folder / "scores.npz", steps=watch.at, p=watch.scores, final=bench.score(model))
    (folder / "history.jsonl").write_text("".join(json.dumps(r) + "\n" for r in watch.history))
    policy.save(model, folder / "policy.safetensors")
    (folder / "done.json").write_text(json.dumps({"run": run, "seconds": seconds}))


def configuration(run: dict[str, Any], folder: Path) -> GRPOConfig:
    """TRL's settings, on one CPU thread; ``post_train`` adds the reference."""
    return GRPOConfig(
        output_dir=str(folder / "trl"),
        max_steps=run["steps"],
        per_device_train_batch_size=run["completions"],
        num_generations=run["group"],
        max_completion_length=run["tokens"],
        scale_rewards=run["scale_rewards"],
        learning_rate=run["rate"],
        lr_scheduler_type="constant",
        beta=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        seed=run["seed"],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def main() -> None:
    """Make what the plan wants and is not there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--url", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(arguments.work)
    start = warm(bench)
    for run in bench.plan["runs"]:
        if not finished(bench.work / "runs" / run["name"] / "done.json", run):
            post_train(bench, run, start, arguments.url)


if __name__ == "__main__":
    main()
