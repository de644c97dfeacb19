"""open-instruct, read in August 2026: a verifier of its own.

    import softverifier.trainers.open_instruct as sv; sv.register()      # before grpo_fast's main
    # the data set's ``dataset`` column says "soft_verifier", its ``ground_truth`` the task as JSON

open-instruct finds verifiers by their class; ``register`` makes it. With configuration alone, name
the server's ``/test_program`` as ``--code_api_url`` instead.

    ok, invalid      the number
    abstain, error   the neutral number, counted; NoReward with on_failure=raise
    outage           as error, after 25 s, below open-instruct's least timeout

The components are in the result's ``reasoning``, which open-instruct logs.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

from softverifier.rewards import Reward
from softverifier.trainers.outcomes import figures
from softverifier.trainers.rows import item_of
from softverifier.trainers.scorer import Scorer, scorer_named

PATIENCE_S: Final = 25.0
counts: Counter[str] = Counter()
"""Statuses of this process."""
_REGISTERED: Final[dict[str, Any]] = {}
"""Held here: a class knows its subclasses weakly, and open-instruct looks for them later."""


def score(prediction: str, label: Any, query: str | None = None) -> tuple[float, str]:
    """The reward of one prediction, and its parts as JSON. Raises as ``scorer`` says."""
    scorer = _scorer()
    kind = scorer.recipe.task_type
    (given,) = scorer.score([item_of({}, prediction, label=label, prompt=query, task_type=kind)])
    return _told(scorer, given)


async def ascore(prediction: str, label: Any, query: str | None = None) -> tuple[float, str]:
    """``score``, awaited."""
    scorer = _scorer()
    kind = (await scorer.arecipe()).task_type
    item = item_of({}, prediction, label=label, prompt=query, task_type=kind)
    (given,) = await scorer.ascore([item])
    return _told(scorer, given)


def _scorer() -> Scorer:
    return scorer_named("open-instruct", PATIENCE_S)


def _told(scorer: Scorer, given: Reward) -> tuple[float, str]:
    counts[given.status] += 1
    number = scorer.number(given)
    parts = {"status": given.status, "reason": given.reason}
    return number, json.dumps({**parts, **figures(given, number, scorer.recipe)})


def register(name: str = "soft_verifier") -> Any:
    """Make the verifier's class, which open-instruct then finds among its subclasses."""
    from open_instruct.ground_truth_utils import (  # type: ignore[import-not-found,unused-ignore]
        VerificationResult,
        VerifierFunction,
    )

    class SoftVerifier(VerifierFunction):  # type: ignore[misc,unused-ignore]
        """Rewards from a soft-verifier server."""

        def __init__(self, verifier_config: Any = None) -> None:
            super().__init__(name, weight=1.0, verifier_config=verifier_config)

        def __call__(
            self,
            tokenized_prediction: Any,
            prediction: str,
            label: Any,
            query: Any = None,
            *unread: Any,  # the rollout's state, in versions that have one
            **unread_too: Any,
        ) -> Any:
            number, parts = score(prediction, label, query)
            return VerificationResult(score=number, reasoning=parts)

        async def async_call(
            self,
            tokenized_prediction: Any,
            prediction: str,
            label: Any,
            query: Any = None,
            *unread: Any,
            **unread_too: Any,
        ) -> Any:
            number, parts = await ascore(prediction, label, query)
            return VerificationResult(score=number, reasoning=parts)

    _REGISTERED[name] = SoftVerifier
    return SoftVerifier
