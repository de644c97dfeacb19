"""NeMo-RL: an environment of its own, without NeMo Gym; read in August 2026.

    import softverifier.trainers.nemo_rl as sv; sv.register()        # before the run script's main
    env: {soft_verifier: {profile: rbio-mlp}}

``register`` tells NeMo-RL both where the environment's class is and which Python runs its actor;
without the second, NeMo-RL refuses to make it.

The environment is a Ray actor (made when it is named, so that importing costs nothing). Each step
ends the episode: the assistant messages after the last user message are the answer, ``metadata``
holds the row's columns or its ``ground_truth``. Samples of one batch with the same prompt are a
group.

    ok, invalid      the number
    abstain, error   the group's mean, else the neutral number; NoReward ends the run with
                     on_failure=raise
    outage           as error, after the deadline

``global_post_process_and_metrics`` reports the share of each status and the mean of each component
since it last did.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from softverifier.rewards import Reward
from softverifier.trainers.configuration import VARIABLES, configured
from softverifier.trainers.outcomes import component_means, shares
from softverifier.trainers.rows import group_of, item_of, label_in
from softverifier.trainers.scorer import scorer_of

Messages = Sequence[Mapping[str, Any]]


class Environment:
    """What the actor does; usable without Ray.

    Args:
        cfg: the environment's configuration; fields of ``Configuration`` count, others do not.
    """

    def __init__(self, cfg: Mapping[str, Any] | None = None) -> None:
        given = {name: value for name, value in (cfg or {}).items() if name in VARIABLES}
        self.scorer = scorer_of(configured(**given), "nemo-rl")
        self._seen: list[Reward] = []
        self._lock = threading.Lock()

    def step(self, message_log_batch: Sequence[Messages], metadata: Sequence[Any]) -> Any:
        """An ``EnvironmentReturn`` of one terminal step. Raises as ``scorer`` says."""
        import torch
        from nemo_rl.environments.interfaces import (  # type: ignore[import-not-found,unused-ignore]
            EnvironmentReturn,
        )

        numbers, rewards = self.rewarded(message_log_batch, metadata)
        count = len(numbers)
        return EnvironmentReturn(
            observations=[{"role": "environment", "content": one.reason} for one in rewards],
            metadata=list(metadata),
            next_stop_strings=[None] * count,
            rewards=torch.tensor(numbers, dtype=torch.float32),
            terminateds=torch.ones(count),
            answers=[one.answer for one in rewards],
        )

    def rewarded(
        self, logs: Sequence[Messages], metadata: Sequence[Any]
    ) -> tuple[list[float], list[Reward]]:
        """The numbers, and what they were made of, same order and length."""
        kind = self.scorer.recipe.task_type
        items, groups = [], []
        for log, row in zip(logs, metadata, strict=True):
            prompt, answer = _cut(log)
            cells = row if isinstance(row, Mapping) else {}
            label = None if "truth" in cells else label_in(cells)
            items.append(item_of(cells, answer, label=label, prompt=prompt, task_type=kind))
            groups.append(group_of(prompt))
        rewards = self.scorer.score(items)
        with self._lock:
            self._seen += rewards
        return self.scorer.numbers(rewards, groups), rewards

    def global_post_process_and_metrics(self, batch: Any) -> tuple[Any, dict[str, float]]:
        """The batch as it is, and figures of what was scored since the last call."""
        with self._lock:
            seen, self._seen = self._seen, []
        means = component_means(seen, self.scorer.recipe)
        found = {key: self.scorer.lasting(key, mean) for key, mean in means.items()}
        return batch, {**shares(seen), **found}

    def shutdown(self) -> None:
        """Let go of the connections."""
        self.scorer.close()


def _cut(log: Messages) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Prompt and answer of a message log, its tensors left behind."""
    texts = [{"role": one["role"], "content": one["content"]} for one in log]
    last = max((at for at, one in enumerate(texts) if one["role"] != "assistant"), default=-1)
    return texts[: last + 1], texts[last + 1 :]


def register(name: str = "soft_verifier") -> None:
    """Put the environment among NeMo-RL's own, run by the Python that runs the driver.

    Args:
        name: under which ``env:`` configures it; NeMo-RL raises ValueError for one that is taken.
    """
    from nemo_rl.distributed.ray_actor_environment_registry import (  # type: ignore[import-not-found,unused-ignore]
        ACTOR_ENVIRONMENT_REGISTRY,
    )
    from nemo_rl.distributed.virtual_cluster import (  # type: ignore[import-not-found,unused-ignore]
        PY_EXECUTABLES,
    )
    from nemo_rl.environments.utils import (  # type: ignore[import-not-found,unused-ignore]
        register_env,
    )

    path = f"{__name__}.SoftVerifierEnvironment"
    register_env(name, path)
    ACTOR_ENVIRONMENT_REGISTRY[path] = PY_EXECUTABLES.SYSTEM


def __getattr__(name: str) -> Any:
    if name != "SoftVerifierEnvironment":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import ray

    actor = ray.remote(max_restarts=-1, max_task_retries=-1)(Environment)
    globals()[name] = actor
    return actor
