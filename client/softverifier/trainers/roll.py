"""ROLL: a reward worker, read in 2026.

    rewards:
      soft_verifier:
        worker_cls: softverifier.trainers.roll.SoftVerifierRewardWorker
        tag_included: [soft_verifier]
        model_args: {model_name_or_path: ${reward_pretrain}}

``ground_truth`` holds the task as an object or JSON text. Samples of one call with the same prompt
are a group.

    ok, invalid      the number
    abstain, error   the group's mean, else the neutral number; NoReward, which ends the run, with
                     on_failure=raise
    outage           as error, after the deadline

The answer has ``scores`` and ``response_level_rewards`` (float32: ROLL's own float16 has three
digits), ``token_level_rewards`` of zeros, and a tensor for each component.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from softverifier.trainers.openrlhf import without_ends
from softverifier.trainers.outcomes import figures
from softverifier.trainers.rows import group_of, item_of
from softverifier.trainers.scorer import scorer_named


def rewarded(
    responses: Sequence[str], prompts: Sequence[Any], truths: Sequence[Any]
) -> dict[str, list[float]]:
    """Columns of numbers: ``scores`` and one for each figure. Raises as ``scorer`` says."""
    scorer = scorer_named("roll")
    recipe = scorer.recipe
    items = [
        item_of({}, without_ends(text), label=truth, prompt=prompt, task_type=recipe.task_type)
        for text, prompt, truth in zip(responses, prompts, truths, strict=True)
    ]
    rewards = scorer.score(items)
    numbers = scorer.numbers(rewards, [group_of(prompt) for prompt in prompts])
    rows = [figures(one, number, recipe) for one, number in zip(rewards, numbers, strict=True)]
    return {"scores": numbers, **{key: [row[key] for row in rows] for key in recipe.figures}}


def tensors_of(columns: dict[str, list[float]], responses: Any) -> dict[str, Any]:
    """The tensors of ROLL's answer; ``responses`` are token ids of shape (samples, length)."""
    import torch

    made = {key: torch.tensor(values, dtype=torch.float32) for key, values in columns.items()}
    made["response_level_rewards"] = made["scores"].clone()
    made["token_level_rewards"] = torch.zeros(responses.shape, dtype=torch.float32)
    return made


def __getattr__(name: str) -> Any:
    if name != "SoftVerifierRewardWorker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = made = _worker()
    return made


def _worker() -> Any:
    from roll.distributed.executor.worker import (  # type: ignore[import-not-found,unused-ignore]
        Worker,
    )
    from roll.distributed.scheduler.decorator import (  # type: ignore[import-not-found,unused-ignore]
        Dispatch,
        register,
    )
    from roll.distributed.scheduler.protocol import (  # type: ignore[import-not-found,unused-ignore]
        DataProto,
    )
    from roll.models.model_providers import (  # type: ignore[import-not-found,unused-ignore]
        default_tokenizer_provider,
    )

    class SoftVerifierRewardWorker(Worker):  # type: ignore[misc,unused-ignore]
        """Scores the samples that its tags select."""

        def __init__(self, worker_config: Any) -> None:
            super().__init__(worker_config=worker_config)
            self.rank_info.dp_rank = self.rank_info.rank
            self.rank_info.dp_size = self.rank_info.world_size
            self.tokenizer = default_tokenizer_provider(model_args=self.worker_config.model_args)

        @register(dispatch_mode=Dispatch.ONE_TO_ALL)  # type: ignore[untyped-decorator,unused-ignore]
        def initialize(self, pipeline_config: Any) -> None:
            """Nothing to load."""

        @register(  # type: ignore[untyped-decorator,unused-ignore]
            dispatch_mode=Dispatch.DP_MP_COMPUTE, clear_cache=False
        )
        def compute_rewards(self, data: Any) -> Any:
            """Rewards of one batch."""
            ids = data.batch["responses"]
            texts = self.tokenizer.batch_decode(ids, skip_special_tokens=False)
            rows = data.non_tensor_batch
            columns = rewarded(texts, list(rows["prompt"]), list(rows["ground_truth"]))
            return DataProto.from_dict(tensors=tensors_of(columns, ids))

    return SoftVerifierRewardWorker
