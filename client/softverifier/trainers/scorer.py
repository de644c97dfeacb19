"""One client for each configuration and process, and what it knows of its profile.

    scorer = scorer_of(configured(profile="rbio-mlp"))
    rewards = scorer.score(items)            # or: await scorer.ascore(items)

The first call reads the profile's facts and says, in one line of the log, that the adapter is
active. Until that has worked an unreachable server raises: a run that cannot begin should say so
at once. From then on an outage is no exception but an ``error`` for each item that it cost
(``UNREACHABLE``), which each adapter maps as its trainer needs. What the server refuses as it is
(4xx: wrong key, wrong profile, other digest) always raises, since waiting cannot help.

Safe for many threads and event loops, picklable, usable after a fork.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from softverifier.client import RewardClient
from softverifier.errors import DeadlineExceeded, ServerUnavailable, SoftVerifierError
from softverifier.items import ItemLike, identity
from softverifier.rewards import Reward
from softverifier.trainers.configuration import PATIENCE_S, Configuration, configured
from softverifier.trainers.meeting import Meeting
from softverifier.trainers.outcomes import levelled, no_reward
from softverifier.trainers.recipes import Recipe, recipe_named

LOG: Final = logging.getLogger("softverifier")
SMALL: Final = 16
"""Blocking calls of more items travel alone."""
RETRIES: Final = 10_000
"""The deadline decides, not the count."""
MOST_MEETINGS: Final = 64

Context = Mapping[str, Any]


class Scorer:
    """A server and one profile of it.

    Args:
        configuration: where and what.
        adapter: whose name the startup line shows.
    """

    def __init__(self, configuration: Configuration, adapter: str = "adapter") -> None:
        self.configuration = configuration
        self.adapter = adapter
        self._recipe: Recipe | None = None
        self._start()

    def _start(self) -> None:
        self._client = RewardClient(self.configuration.url, **self._options())
        self._async_client: Any = None
        self._asking: Any = None
        self._meetings: dict[tuple[Any, ...], Meeting] = {}
        self._last: dict[str, float] = {}
        self._process = os.getpid()

    def _options(self) -> dict[str, Any]:
        found = self.configuration
        return {
            "profile": found.profile,
            "api_key": found.token,
            "ca_file": found.ca_file,
            "cert_file": found.cert_file,
            "key_file": found.key_file,
            "run": found.run,
            "split": found.split,
            "deadline": found.deadline,
            "retries": RETRIES,
        }

    def _here(self) -> None:
        """In a forked child: locks that another thread held would be held for ever."""
        if self._process != os.getpid():
            self._start()

    @property
    def recipe(self) -> Recipe:
        """The profile's facts; asks the server the first time.

        Raises:
            ServerUnavailable: it could not be reached within the deadline.
            RequestRejected: it refuses, or serves another digest than the pinned one.
            UsageError: it does not serve the profile.
        """
        if self._recipe is None:
            self._here()
            try:
                listed = self._client.profiles()
            except (ServerUnavailable, DeadlineExceeded) as error:
                raise _unreached(self.configuration, error) from error
            self._learn(listed)
        assert self._recipe is not None
        return self._recipe

    @property
    def known(self) -> Recipe | None:
        """The profile's facts if they were read, so that nobody awaits what is there."""
        return self._recipe

    async def arecipe(self) -> Recipe:
        """``recipe``, awaited; raises alike."""
        if self._recipe is None:
            # A step's first calls come by the hundred: one asks, so that the pool holds one
            # connection for it and not as many as there are calls.
            import asyncio

            self._awaited()
            kept = self._asking.here()
            asking = kept.get("task")
            if asking is None or asking.done():
                asking = kept["task"] = asyncio.ensure_future(self._ask())
            await asyncio.shield(asking)
        assert self._recipe is not None
        return self._recipe

    async def _ask(self) -> None:
        try:
            listed = await self._awaited().profiles()
        except (ServerUnavailable, DeadlineExceeded) as error:
            raise _unreached(self.configuration, error) from error
        self._learn(listed)

    def _learn(self, listed: Sequence[Mapping[str, Any]]) -> None:
        if self._recipe is None:
            self._recipe = recipe = recipe_named(self.configuration.profile, listed)
            _announce(
                f"soft-verifier: {self.adapter} is active, profile {recipe.name} {recipe.digest}, "
                f"at {self.configuration.url}"
            )

    def score(self, items: Sequence[ItemLike], context: Context | None = None) -> list[Reward]:
        """A reward for each item, in order; those that an outage cost have status ``error``.

        Raises:
            SoftVerifierError: see the module: never for an outage after the first contact.
        """
        self._here()
        _ = self.recipe
        if 0 < len(items) <= SMALL:
            return self._meeting(context).score(items)
        return self._sent(items, context)

    def _sent(self, items: Sequence[ItemLike], context: Context | None) -> list[Reward]:
        try:
            return self._client.score(items, context=context)
        except (ServerUnavailable, DeadlineExceeded) as error:
            return outage(items, error)

    async def ascore(
        self, items: Sequence[ItemLike], context: Context | None = None
    ) -> list[Reward]:
        """``score``, awaited: thousands at a time, small ones travel together."""
        self._here()
        if self._recipe is None:
            await self.arecipe()
        client = self._async_client or self._awaited()
        try:
            rewards: list[Reward] = await client.score(items, None, context)
        except (ServerUnavailable, DeadlineExceeded) as error:
            rewards = outage(items, error)
        return rewards

    def _awaited(self) -> Any:
        if self._async_client is None:
            # Costs the import of asyncio, which only those who await need.
            from softverifier.async_client import AsyncRewardClient
            from softverifier.loops import PerLoop

            self._asking = PerLoop(dict)
            self._async_client = AsyncRewardClient(self.configuration.url, **self._options())
        return self._async_client

    def _meeting(self, context: Context | None) -> Meeting:
        key = tuple(sorted((context or {}).items()))
        found = self._meetings.get(key)
        if found is None:
            if len(self._meetings) >= MOST_MEETINGS:  # a new step is a new context
                self._meetings = {}
            found = Meeting(lambda items: self._sent(items, context))
            found = self._meetings.setdefault(key, found)
        return found

    @property
    def neutral(self) -> float:
        """What stands for "don't know" where no group is seen. Raises as ``recipe``."""
        configured = self.configuration.neutral
        return self.recipe.neutral if configured is None else configured

    @property
    def stand_in(self) -> float | None:
        """What may stand for a missing number; None where the setting is to raise.

        None too where none is configured and the server was never reached, which states its own.
        """
        known = self._recipe is not None or self.configuration.neutral is not None
        return self.neutral if known and self.configuration.on_failure == "neutral" else None

    def number(self, reward: Reward) -> float:
        """The reward of one completion whose group is not seen.

        Raises:
            NoReward: there is none and nothing to stand in for it.
        """
        found = self.stand_in if reward.reward is None else reward.reward
        if found is None:
            raise no_reward(reward)
        return found

    def number_at_last(self, reward: Reward) -> float:
        """``number`` for a trainer that makes a 0 of an exception: whatever on_failure says."""
        return self.neutral if reward.reward is None else reward.reward

    def numbers(self, rewards: Sequence[Reward], groups: Sequence[Hashable]) -> list[float]:
        """The rewards of completions whose groups are seen.

        Raises:
            NoReward: as ``number``; with on_failure ``raise`` for any that has none.
        """
        if self.configuration.on_failure == "raise":
            return [self.number(reward) for reward in rewards]
        return levelled(rewards, groups, self.stand_in)

    def lasting(self, key: str, mean: float | None) -> float:
        """A logged mean; where there is none now, the last one, so that no curve drops to 0."""
        if mean is None:
            return self._last.get(key, self.recipe.floor)
        self._last[key] = mean
        return mean

    def close(self) -> None:
        """Let go of the connections of the blocking client."""
        self._client.close()

    def __getstate__(self) -> tuple[Any, ...]:
        """What is known travels with the adapter; connections do not."""
        return self.configuration, self.adapter, self._recipe

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.configuration, self.adapter, self._recipe = state
        self._start()


_KEPT: dict[tuple[Configuration, str], Scorer] = {}


def scorer_of(configuration: Configuration, adapter: str = "adapter") -> Scorer:
    """The scorer of this configuration, one for each process."""
    found = _KEPT.get((configuration, adapter))
    # setdefault and no lock: a fork may happen while another thread holds one.
    return found or _KEPT.setdefault((configuration, adapter), Scorer(configuration, adapter))


_NAMED: dict[tuple[Any, ...], Scorer] = {}


def scorer_named(adapter: str, patience: float = PATIENCE_S, **given: Any) -> Scorer:
    """The scorer of an adapter that is configured by environment, which is read once.

    Args:
        adapter: its name.
        patience: seconds a call may take if nobody says.
        given: what goes over the environment.

    Raises:
        UsageError: as ``configured``.
    """
    # Thousands of calls a step come this way, and reading the environment costs as much as one.
    key = (adapter, patience, *sorted(given.items())) if given else (adapter, patience)
    found = _NAMED.get(key)
    if found is None:
        found = _NAMED[key] = scorer_of(configured(patience=patience, **given), adapter)
    return found


def outage(items: Sequence[ItemLike], error: SoftVerifierError) -> list[Reward]:
    """What was done before the outage, then an ``error`` for each item that it cost."""
    lost = [
        Reward(identity(item), "error", None, 0.0, None, "UNREACHABLE", (), True, False, str(error))
        for item in items[len(error.partial) :]
    ]
    LOG.warning("soft-verifier: %d of %d items lost: %s", len(lost), len(items), error)
    return [*error.partial, *lost]


def _unreached(configuration: Configuration, error: SoftVerifierError) -> ServerUnavailable:
    return ServerUnavailable(
        f"{configuration.url} was never reached, so the run cannot begin: {error}"
    )


def _announce(line: str) -> None:
    """Say it where it is seen: trainers seldom show INFO of other people's loggers."""
    if LOG.isEnabledFor(logging.INFO) and LOG.hasHandlers():
        LOG.info(line)
    else:
        sys.stderr.write(line + "\n")
