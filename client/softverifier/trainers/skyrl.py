"""SkyRL: a text environment of one turn, run with skyrl-gym 0.4.

    from skyrl_gym.envs import register
    register(id="soft-verifier", entry_point="softverifier.trainers.skyrl:SoftVerifierEnv")
    environment.env_class=soft-verifier

``extras`` holds the row's other columns; ``reward_spec``'s ``ground_truth`` or a label column may
hold the task as an object or JSON text. SkyRL steps environments in 32 threads: their calls travel
together.

    ok, invalid      the number
    abstain, error   the neutral number, counted in the metadata (``sv_valid`` 0); NoReward with
                     on_failure=raise
    outage           as error, after the deadline
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from softverifier.trainers.configuration import VARIABLES
from softverifier.trainers.outcomes import figures
from softverifier.trainers.rows import item_of, label_in
from softverifier.trainers.scorer import scorer_named


class Environment:
    """What SkyRL calls: ``init``, one ``step``, ``close``.

    Args:
        env_config: fields of ``Configuration`` count, others do not.
        extras: the row's columns beside the prompt.
    """

    def __init__(self, env_config: Any = None, extras: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        given = {
            name: value for name in VARIABLES if (value := _told(env_config, name)) is not None
        }
        self.scorer = scorer_named("skyrl", **given)
        self.row = dict(extras or {})
        self.prompt: Any = None
        self.found: dict[str, float] = {}

    def init(self, prompt: Any) -> tuple[Any, dict[str, Any]]:
        """The prompt as it is, and nothing to tell."""
        self.prompt = prompt
        return prompt, {}

    def step(self, action: str) -> dict[str, Any]:
        """The reward of the answer, which ends the episode. Raises as ``scorer`` says."""
        recipe = self.scorer.recipe
        item = item_of(
            self.row, action, label=self._label(), prompt=self.prompt, task_type=recipe.task_type
        )
        (given,) = self.scorer.score([item])
        number = self.scorer.number(given)
        self.found = figures(given, number, recipe)
        told = {"status": given.status, "reason": given.reason, **self.found}
        return {"observations": [], "reward": number, "done": True, "metadata": told}

    def _label(self) -> Any:
        if "truth" in self.row:
            return None
        spec = self.row.get("reward_spec")
        stated = spec.get("ground_truth") if isinstance(spec, Mapping) else None
        return label_in(self.row) if stated is None else stated

    def get_metrics(self) -> dict[str, float]:
        """The figures of the last step, which SkyRL averages."""
        return dict(self.found)

    def close(self) -> None:
        """Nothing is held."""


def _told(env_config: Any, name: str) -> Any:
    """A field of what SkyRL hands over: a mapping, or an object with attributes, by version."""
    if isinstance(env_config, Mapping) or hasattr(env_config, "keys"):
        return env_config.get(name)
    return getattr(env_config, name, None)


def __getattr__(name: str) -> Any:
    if name != "SoftVerifierEnv":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from skyrl_gym.envs.base_text_env import (  # type: ignore[import-not-found,unused-ignore]
        BaseTextEnv,
    )

    made = type("SoftVerifierEnv", (Environment, BaseTextEnv), {"__module__": __name__})
    globals()[name] = made
    return made
