"""Run under verl's interpreter: its reward managers on its own batches, told as JSON.

Arguments: the file to write, and the process id of the server, which is killed at the end. What is
said in an ``OUTAGE`` does not reach the server, as the proxy before it decides.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from verl import DataProto
from verl.experimental.reward_loop import RewardLoopWorker
from verl.trainer.ppo.metric_utils import process_validation_metrics
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.utils.import_utils import load_extern_object
from verl.workers.reward_manager import get_reward_manager_cls
from verl_batches import configuration, rollouts, tokenizer_in

from softverifier.errors import SoftVerifierError

YES = "<think>It may.</think><answer>yes</answer>"
NO = "<think>It may.</think><answer>no</answer>"
SAID = (YES, NO, "", "no idea", YES, NO)
GENES = ("CALR", "CALR", "CALR", "CALR", "NOSUCH", "CD3D")
LATER = tuple(f"<think>OUTAGE</think><answer>{word}</answer>" for word in ("yes", "no"))
KEYWORDS = "+reward.custom_reward_function.reward_kwargs"
Told = dict[str, Any]


class Verl:
    """verl, configured by what a user types."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = tokenizer_in(folder)

    def batch(self, said: Sequence[str] = SAID, genes: Sequence[str] = GENES) -> DataProto:
        return rollouts(self.tokenizer, said, genes[: len(said)])

    def loop(self, name: str, function: str, *typed: str) -> RewardLoopWorker:
        """The worker that answers the rollouts of a step, one sample at a time."""
        config = configuration(
            self.folder,
            f"reward.reward_manager.name={name}",
            f"reward.custom_reward_function.name={function}",
            *typed,
        )
        worker = RewardLoopWorker(config)
        chosen = get_custom_reward_fn(config)
        expected = inspect.iscoroutinefunction(chosen)
        assert worker.reward_manager.is_async_reward_score is expected
        return worker

    def older(self, name: str, function: str, **keywords: Any) -> Any:
        """A manager of verl.workers.reward_manager, called with a whole batch."""
        found = load_extern_object("pkg://softverifier.trainers.verl", function)
        return get_reward_manager_cls(name)(
            tokenizer=self.tokenizer,
            num_examine=0,
            compute_score=functools.partial(found, **keywords),
        )


def through_loop(worker: RewardLoopWorker, data: DataProto) -> Told:
    """What RewardLoopManager.compute_rm_score makes of its workers' answers."""
    found = worker.loop.run_until_complete(worker.compute_score_batch(data))
    scores = [one["reward_score"] for one in found]
    tensor = type(worker.reward_manager).assemble_rm_scores(data, scores)
    infos = [one["reward_extra_info"] for one in found]
    assert all(list(one) == list(infos[0]) for one in infos), "keys differ"
    return told(data, tensor, {key: [one[key] for one in infos] for key in infos[0]})


def through_older(manager: Any, data: DataProto) -> Told:
    found = manager(data, return_dict=True)
    if asyncio.get_event_loop_policy().get_event_loop().is_closed():  # prime's own, left behind
        asyncio.set_event_loop(asyncio.new_event_loop())
    return told(data, found["reward_tensor"], dict(found.get("reward_extra_info", {})))


def told(data: DataProto, tensor: torch.Tensor, infos: dict[str, list[Any]]) -> Told:
    """Each reward stands at its response's last token, and nothing stands elsewhere."""
    lengths = data.batch["attention_mask"][:, data.batch["prompts"].shape[1] :].sum(1)
    at_the_end = tensor[torch.arange(len(data)), lengths - 1]
    assert torch.equal(at_the_end, tensor.sum(1)), "a reward stands before the last token"
    assert bool(torch.isfinite(tensor).all())
    averaged: dict[str, float] = {}
    if infos:
        sources, uids = data.non_tensor_batch["data_source"], data.non_tensor_batch["uid"]
        (logged,) = process_validation_metrics(list(sources), list(uids), infos).values()
        averaged = {key: value[f"mean@{len(data)}"] for key, value in logged.items()}
    kinds = sorted({type(value).__name__ for column in infos.values() for value in column})
    return {"scores": at_the_end.tolist(), "infos": infos, "averaged": averaged, "kinds": kinds}


def raised(call: Any) -> str:
    """The name of what a call raises, with its words."""
    try:
        call()
    except (SoftVerifierError, SystemExit, asyncio.CancelledError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def calm(verl: Verl) -> Told:
    neutral = f"{KEYWORDS}.neutral=0.375"
    many = "+reward.max_concurrent=8"
    found = {
        f"loop {name}": through_loop(verl.loop(name, function, neutral, many), verl.batch())
        for name, function in (
            ("naive", "compute_score"),
            ("dapo", "compute_score"),
            ("gdpo", "compute_score"),
            ("rate_limited", "compute_score_uncaught"),
        )
    }
    found["loop naive, in threads"] = through_loop(
        verl.loop("naive", "compute_score_sync", neutral), verl.batch()
    )
    for name, function in (
        ("naive", "compute_score_sync"),
        ("dapo", "compute_score_sync"),
        ("batch", "compute_scores"),
        ("prime", "number_uncaught"),
    ):
        manager = verl.older(name, function, neutral=0.375)
        found[f"older {name}"] = through_older(manager, verl.batch())
    return found


def in_outage(verl: Verl) -> Told:
    """With nothing configured but the deadline."""
    mixed = (*LATER, YES, NO)
    genes = ("CALR",) * 4
    asking = verl.loop("naive", "compute_score", f"{KEYWORDS}.deadline=3")
    found = {"before": through_loop(asking, verl.batch((YES, NO), genes))}
    found["naive"] = through_loop(asking, verl.batch(LATER, genes))
    found["after"] = through_loop(asking, verl.batch((YES, NO), genes))
    cut = verl.loop("rate_limited", "compute_score_uncaught", "+reward.timeout=0.3")
    cut.reward_manager.timeout = 30.0
    through_loop(cut, verl.batch((YES, NO), genes))
    cut.reward_manager.timeout = 0.3
    found["rate_limited, cut off"] = through_loop(cut, verl.batch(LATER, genes))
    batch = verl.older("batch", "compute_scores", deadline=3, neutral=0.25)
    through_older(batch, verl.batch((YES, NO), genes))
    found["older batch"] = through_older(batch, verl.batch(mixed, genes))
    return found


def to_raise(verl: Verl) -> Told:
    strict = (f"{KEYWORDS}.on_failure=raise", f"{KEYWORDS}.deadline=3")
    stranger = f"{KEYWORDS}.profile=nosuch"
    misspelt = f"{KEYWORDS}.profil=soft"
    abstaining = verl.batch((YES,), ("NOSUCH",))

    def asked(name: str, function: str, data: DataProto, *typed: str) -> str:
        worker = verl.loop(name, function, *typed)
        return raised(lambda: through_loop(worker, data))

    late = verl.batch(LATER)
    return {
        "naive": asked("naive", "compute_score", late, *strict),
        "naive, abstaining": asked("naive", "compute_score", abstaining, *strict),
        "rate_limited": asked("rate_limited", "compute_score_uncaught", late, *strict),
        "naive, no profile": asked("naive", "compute_score", late, stranger),
        "rate_limited, no profile": asked("rate_limited", "compute_score_uncaught", late, stranger),
        "naive, misspelt": asked("naive", "compute_score", late, misspelt),
    }


def killed(verl: Verl, server: int) -> Told:
    worker = verl.loop("naive", "compute_score", f"{KEYWORDS}.deadline=3")
    before = through_loop(worker, verl.batch((YES, NO)))
    os.kill(server, signal.SIGKILL)
    after = through_loop(worker, verl.batch((NO, YES, NO)))
    prime = verl.older("prime", "number_uncaught", profile="another", deadline=0.5)
    return {
        "before": before,
        "after": after,
        "prime": raised(lambda: through_older(prime, verl.batch())),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        verl = Verl(Path(folder))
        found = {
            "calm": calm(verl),
            "outage": in_outage(verl),
            "raised": to_raise(verl),
            "killed": killed(verl, int(sys.argv[2])),
        }
    Path(sys.argv[1]).write_text(json.dumps(found, allow_nan=False))


if __name__ == "__main__":
    main()
