"""Every adapter called as its trainer calls it, in one shape: samples in, numbers out.

Conventions are those of the trainers' sources, read at the versions that each adapter names.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from softverifier.trainers import (
    areal,
    easyr1,
    nemo_gym,
    nemo_rl,
    open_instruct,
    openrlhf,
    roll,
    skyrl,
    slime,
    swift,
    trl,
    verifiers,
    verl,
)

THOUGHT = "AARS1 and CALR may well be connected in these cells."
YES = f"<think>{THOUGHT}</think><answer>yes</answer>"
NO = f"<think>{THOUGHT}</think><answer>no</answer>"
HEADER = "<|im_start|>assistant\n"


@dataclass
class Sample:
    """One completion of one row."""

    completion: str = YES
    gene: str = "CALR"
    prompt: str = "Does it change?"
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> dict[str, Any]:
        found = {"type": "perturbation.de", "perturbation": "AARS1", "gene": self.gene}
        return {**found, "cell_line": "k562"}

    @property
    def label(self) -> str:
        return json.dumps({"task": self.task, **self.more})


Samples = Sequence[Sample]
Numbers = list[float | None]


def _tasks(samples: Samples) -> dict[str, list[Any]]:
    return {"task": [one.task for one in samples], "unrelated": [object() for _ in samples]}


def _trl(samples: Samples) -> Numbers:
    return trl.reward(
        prompts=[one.prompt for one in samples],
        completions=[one.completion for one in samples],
        completion_ids=[[1, 2]] * len(samples),
        trainer_state=SimpleNamespace(global_step=3),
        log_extra=lambda name, values: None,
        log_metric=lambda name, value: None,
        **_tasks(samples),
    )


def _trl_async(samples: Samples) -> Numbers:
    return asyncio.run(
        trl.reward_async(
            prompts=[[{"role": "user", "content": one.prompt}] for one in samples],
            completions=[[{"role": "assistant", "content": one.completion}] for one in samples],
            completion_ids=[[1, 2]] * len(samples),
            **_tasks(samples),
        )
    )


def _verl(samples: Samples) -> Numbers:
    async def every() -> list[dict[str, float]]:
        calls = [
            verl.compute_score(
                data_source="perturbqa",
                solution_str=one.completion,
                ground_truth=one.label,
                extra_info={"index": at, "split": "train", "tool": object()},
            )
            for at, one in enumerate(samples)
        ]
        return await asyncio.gather(*calls)

    return _scores(asyncio.run(every()))


def _scores(found: Sequence[dict[str, float]], key: str = "score") -> Numbers:
    assert len({tuple(one) for one in found}) <= 1, "keys differ"
    assert all(isinstance(value, float) for one in found for value in one.values())
    return [one[key] for one in found]


def _verl_sync(samples: Samples) -> Numbers:
    with ThreadPoolExecutor(8) as pool:
        made = [
            pool.submit(verl.compute_score_sync, "perturbqa", one.completion, one.label, None)
            for one in samples
        ]
        return _scores([one.result() for one in made])


def _verl_batch(samples: Samples) -> Numbers:
    return _scores(
        verl.compute_scores(
            data_sources=["perturbqa"] * len(samples),
            solution_strs=[one.completion for one in samples],
            ground_truths=[one.label for one in samples],
            extra_infos=[{}] * len(samples),
        )
    )


def _openrlhf(samples: Samples) -> Numbers:
    """Lists of one, each in a thread, special tokens kept, as 0.11's executor does."""

    async def every() -> list[dict[str, Any]]:
        calls = []
        for one in samples:
            prompt = f"<|im_start|>user\n{one.prompt}<|im_end|>\n{HEADER}"
            query = f"{prompt}{one.completion}<|im_end|>"
            calls.append(asyncio.to_thread(openrlhf.reward_func, [query], [prompt], [one.label]))
        return await asyncio.gather(*calls)

    found = asyncio.run(every())
    assert len({tuple(one["extra_logs"]) for one in found}) <= 1
    for one in found:
        columns = [one["rewards"], one["scores"], *one["extra_logs"].values()]
        assert all(len(column) == 1 and isinstance(column[0], float) for column in columns)
    return [one["rewards"][0] for one in found]


def _slime_sample(one: Sample) -> SimpleNamespace:
    return SimpleNamespace(
        prompt=one.prompt, response=one.completion, label=one.label, metadata={"a": 1}, index=1
    )


def _slime(samples: Samples) -> Numbers:
    async def every() -> list[float]:
        args = SimpleNamespace(reward_key=None)
        return await asyncio.gather(*(slime.reward(args, _slime_sample(one)) for one in samples))

    return list(asyncio.run(every()))


def _slime_group(samples: Samples) -> Numbers:
    args = SimpleNamespace(reward_key="score", rollout_id=4)
    made = [_slime_sample(one) for one in samples]
    found: list[dict[str, float]] = asyncio.run(slime.reward(args, made))
    assert all(one.metadata["soft_verifier"]["status"] for one in made)
    return _scores(found)


def verifiers_call(one: Sample) -> Coroutine[Any, Any, float]:
    """One trace of v1, to be awaited; raises where it is dropped."""
    task = SimpleNamespace(model_dump=lambda: {"prompt": one.prompt, "idx": 0, "info": one.label})
    message = SimpleNamespace(model_dump=lambda: {"role": "assistant", "content": one.completion})
    trace = SimpleNamespace(
        assistant_messages=[message],
        root_reply=None,
        record_metrics=lambda metrics: [float(value) for value in metrics.values()],
    )
    return verifiers.reward(task=task, trace=trace)


def _verifiers(samples: Samples) -> Numbers:
    async def every() -> list[float]:
        return await asyncio.gather(*map(verifiers_call, samples))

    return list(asyncio.run(every()))


def _legacy(samples: Samples) -> Numbers:
    async def every() -> list[float]:
        calls = [
            verifiers.legacy_reward(
                prompt=[{"role": "user", "content": one.prompt}],
                completion=[{"role": "assistant", "content": one.completion}],
                answer="",
                state={},
                info={"task": one.task},
                task="perturbqa",
            )
            for one in samples
        ]
        return await asyncio.gather(*calls)

    return list(asyncio.run(every()))


def _legacy_group(samples: Samples) -> Numbers:
    states: list[dict[str, Any]] = [{} for _ in samples]
    found = asyncio.run(
        verifiers.legacy_rewards(
            prompts=[[{"role": "user", "content": one.prompt}] for one in samples],
            completions=[[{"role": "assistant", "content": one.completion}] for one in samples],
            answers=[""] * len(samples),
            states=states,
            infos=[json.dumps({"task": one.task}) for one in samples],
            tasks=["perturbqa"] * len(samples),
        )
    )
    assert all(state["soft_verifier"]["status"] for state in states)
    return list(found)


def _nemo_gym(samples: Samples) -> Numbers:
    async def every() -> list[dict[str, Any]]:
        return await asyncio.gather(*(nemo_gym.verified(gym_row(one)) for one in samples))

    found = asyncio.run(every())
    for one, sample in zip(found, samples, strict=True):
        json.dumps(one, allow_nan=False)
        assert abs(sum(one["reward_components"].values()) - one["reward"]) < 1e-5
        assert one["uuid"] == "row-1"
        if one["mask_sample"]:
            assert one["instance_config"]["mask_sample"]
            assert one["failure_reason"]
        assert sample.prompt in json.dumps(one["responses_create_params"])
    return [one["reward"] for one in found]


def gym_row(one: Sample) -> dict[str, Any]:
    text = {"annotations": [], "text": one.completion, "type": "output_text", "logprobs": None}
    message = {
        "id": "msg_1",
        "content": [text],
        "role": "assistant",
        "status": "completed",
        "type": "message",
    }
    return {
        "responses_create_params": {"input": [{"role": "user", "content": one.prompt}]},
        "response": {"id": "resp_1", "output": [message], "model": "m", "object": "response"},
        "verifier_metadata": {"task": one.task},
        "uuid": "row-1",
    }


def _nemo_rl(samples: Samples) -> Numbers:
    logs = [
        [
            {"role": "user", "content": one.prompt, "token_ids": object()},
            {"role": "assistant", "content": one.completion, "token_ids": object()},
        ]
        for one in samples
    ]
    made = nemo_rl.Environment({"num_workers": 2})
    numbers, _ = made.rewarded(logs, [{"ground_truth": one.label} for one in samples])
    made.global_post_process_and_metrics({})
    return list(numbers)


def _skyrl(samples: Samples) -> Numbers:
    def step(one: Sample) -> float:
        extras = {"reward_spec": {"method": "rule", "ground_truth": one.label}, "max_turns": 1}
        env = skyrl.Environment(env_config={}, extras=extras)
        env.init([{"role": "user", "content": one.prompt}])
        found = env.step(one.completion)
        assert found["done"]
        assert not found["observations"]
        env.close()
        return float(found["reward"])

    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(step, samples))


def _areal(samples: Samples) -> Numbers:
    return [
        areal.reward_fn(
            one.prompt, one.completion, [1], [2], answer=one.label, query_id="q", messages=[{}]
        )
        for one in samples
    ]


def _swift(samples: Samples) -> Numbers:
    made = swift.SoftVerifier(SimpleNamespace())
    messages = [
        [{"role": "user", "content": one.prompt}, {"role": "assistant", "content": one.completion}]
        for one in samples
    ]
    completions = [one.completion for one in samples]
    state = SimpleNamespace(global_step=1)
    columns = _tasks(samples)
    return list(asyncio.run(made(completions, messages=messages, trainer_state=state, **columns)))


def _easyr1(samples: Samples) -> Numbers:
    inputs = [
        {"response": one.completion, "response_length": 9, "ground_truth": one.label}
        for one in samples
    ]
    return _scores(easyr1.compute_score(inputs), "overall")


def _open_instruct(samples: Samples) -> Numbers:
    return [open_instruct.score(one.completion, one.label, one.prompt)[0] for one in samples]


def _open_instruct_async(samples: Samples) -> Numbers:
    async def every() -> list[tuple[float, str]]:
        calls = (open_instruct.ascore(one.completion, one.label, one.prompt) for one in samples)
        return await asyncio.gather(*calls)

    return [number for number, _ in asyncio.run(every())]


def _roll(samples: Samples) -> Numbers:
    found = roll.rewarded(
        [one.completion + "<|im_end|><pad><pad>" for one in samples],
        [one.prompt for one in samples],
        [one.label for one in samples],
    )
    assert {len(column) for column in found.values()} == {len(samples)}
    return list(found["scores"])


CALLS: dict[str, Callable[[Samples], Numbers]] = {
    "trl": _trl,
    "trl-async-conversational": _trl_async,
    "verl": _verl,
    "verl-sync": _verl_sync,
    "verl-batch": _verl_batch,
    "openrlhf": _openrlhf,
    "slime": _slime,
    "slime-group": _slime_group,
    "verifiers": _verifiers,
    "verifiers-legacy": _legacy,
    "verifiers-legacy-group": _legacy_group,
    "nemo-gym": _nemo_gym,
    "nemo-rl": _nemo_rl,
    "skyrl": _skyrl,
    "areal": _areal,
    "ms-swift": _swift,
    "easyr1": _easyr1,
    "open-instruct": _open_instruct,
    "open-instruct-async": _open_instruct_async,
    "roll": _roll,
}
LEAVES_OUT = ("trl", "trl-async-conversational")
"""Give None for what has no number."""
DROPS = ("verifiers",)
"""Raise for it."""
SEES_GROUPS = (
    "slime-group", "verifiers-legacy-group", "nemo-rl", "ms-swift", "roll",
)  # fmt: skip
"""Give the mean of the same prompt's numbers."""
