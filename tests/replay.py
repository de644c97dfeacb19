"""Thousands of trainers' calls through a bad network, each answer held against the truth.

Every adapter is called as ``trainer_calls`` has it, the trainers' routes by ``trainer_clients``
with their retries, timeouts and parsing. What comes back is made a tensor as trainers do and must
be: the very number that ``/v1/score`` gives without faults; or, as the table of docs/trainers.md
allows, what stands for a missing one (None, the group's mean, the configured number), or a raise
where the trainer drops samples that raise. The profile's floor lies below 0, so that no sample's
due is 0, and a 0 is one of the trainer's own making or an error.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

import trainer_calls
import trainer_clients
from replay_samples import FLOOR, GENES, GROUP, GROUPS, NEUTRAL, WEIGHTS, Truth, due
from replay_verdicts import Wrong, judge, judged_client
from softverifier import NoReward
from trainer_calls import Numbers, Sample

WHOLE = (
    "trl", "trl-async-conversational", "verl-batch", "slime-group", "verifiers-legacy-group",
    "nemo-rl", "ms-swift", "easyr1", "roll",
)  # fmt: skip
"""Shapes of which one call carries the group; of the others each sample is a call."""
WHOLE_SHARE, CLIENT_SHARE = 0.012, 0.017
"""Of all calls: those that cost most are made less often."""
EVER_S = 300
"""A server that is not back by then never comes back."""


@dataclass
class Tally:
    """What became of one shape's calls."""

    calls: int = 0
    told: Counter[str] = field(default_factory=Counter)


class Clients:
    """The trainers' own HTTP clients against the routes, one sample a call."""

    def __init__(self, url: str, pause_s: float) -> None:
        self.url, self.pause_s = url, pause_s
        self.query = f"?profile=soft&neutral={NEUTRAL}&deadline_ms=250"

    def calls(self) -> dict[str, Callable[[Sample], float | None]]:
        """Each client by its name; None where the trainer itself gives up."""
        return {
            "OpenRLHF /get_reward": self.openrlhf,
            "slime /rm": self.slime,
            "miles /rm?scalar=1": self.miles,
            "NeMo Gym /verify": self.gym,
            "Axolotl /verify": self.axolotl,
            "open-instruct /test_program": self.open_instruct,
        }

    def openrlhf(self, one: Sample) -> float | None:
        client = trainer_clients.OpenRLHF(f"{self.url}/get_reward{self.query}", self.pause_s)
        prompt = f"<|im_start|>user\n{one.prompt}<|im_end|>\n{trainer_calls.HEADER}"
        label = json.dumps(one.task)
        found = client.request(
            {"query": [prompt + one.completion], "prompts": [prompt], "labels": [label]}
        )
        if found is None:
            return None
        columns = [found["rewards"], found["scores"], *found["extra_logs"].values()]
        if not all(len(column) == 1 and isinstance(column[0], float) for column in columns):
            raise Wrong(f"OpenRLHF: {found}")
        return float(found["rewards"][0])

    def slime(self, one: Sample) -> float | None:
        url = f"{self.url}/rm{self.query}"
        return self._slime(one, url, 10, "reward")

    def miles(self, one: Sample) -> float | None:
        return self._slime(one, f"{self.url}/rm{self.query}&scalar=1", 1, None)

    def _slime(self, one: Sample, url: str, tries: int, key: str | None) -> float | None:
        client = trainer_clients.Slime(url, tries=tries, pause_s=self.pause_s)
        try:
            found = client.reward(one.prompt, one.completion, one.task)
        except (httpx.HTTPError, ValueError):
            return None
        return float(client.tensor([found], key).double()[0]) if key is None else found[key]

    def gym(self, one: Sample) -> float | None:
        """Tried for ever where the transport fails; whatever else fails ends the rollout."""
        row, response = _gym(one)
        client = trainer_clients.Gym(f"{self.url}/verify{self.query}")
        until = time.monotonic() + EVER_S
        while True:
            if time.monotonic() > until:
                raise Wrong(f"NeMo Gym: nothing but failed transports for {EVER_S} s")
            try:
                found = client.verify(row, response)
            except httpx.TransportError:
                threading.Event().wait(self.pause_s)
            except (httpx.HTTPStatusError, ValueError):
                return None
            else:
                return float(found["reward"])

    def axolotl(self, one: Sample) -> float | None:
        client = trainer_clients.Axolotl(f"{self.url}/verify{self.query}")
        return client.reward(*_gym(one))

    def open_instruct(self, one: Sample) -> float | None:
        """The route gives what lies between the floor and 1 as 0 to 1; back again, but for a 0."""
        client = trainer_clients.OpenInstruct(f"{self.url}/test_program{self.query}")
        shown = client.reward(one.completion, [json.dumps(one.task)])
        return shown and FLOOR + shown * (1 - FLOOR)


def _gym(one: Sample) -> tuple[dict[str, Any], dict[str, Any]]:
    row = trainer_calls.gym_row(one)
    return row, row.pop("response")


class Replay:
    """All shapes and clients, some at a time, until each has made its calls.

    Args:
        url: of the network.
        truth: of ``truth_of``.
        calls: of all together, at least; a share of ``WHOLE_SHARE`` of them for each shape that
            takes whole groups, of ``CLIENT_SHARE`` for each client.
        pause_s: between two tries of a client; trainers wait a second.
        progress: told the number of calls that have just ended.
    """

    def __init__(
        self,
        url: str,
        truth: Truth,
        calls: int,
        pause_s: float = 1.0,
        progress: Callable[[int], None] = lambda calls: None,
    ) -> None:
        self.truth, self.progress = truth, progress
        self.clients = Clients(url, pause_s).calls()
        self.tallies = {name: Tally() for name in (*trainer_calls.CALLS, *self.clients)}
        self.quotas = dict.fromkeys(WHOLE, math.ceil(calls * WHOLE_SHARE))
        self.quotas |= dict.fromkeys(self.clients, math.ceil(calls * CLIENT_SHARE))
        rest = [name for name in trainer_calls.CALLS if name not in WHOLE]
        left = calls - sum(self.quotas.values())
        self.quotas |= dict.fromkeys(rest, math.ceil(left / len(rest)))

    def calm(self) -> None:
        """Every shape and client once, without faults: what is known, and what is not.

        Raises:
            Wrong: a number differs from the server's, or is missing without need.
        """
        for group in (GROUPS[0], GROUPS[GENES.index("UNKNOWN1")]):
            wanted = due(self.truth, group)
            known = [one is not None for one in wanted]
            for name in trainer_calls.CALLS:
                self._calmly(name, partial(_judged, name, group, wanted), sum(known))
            for name, call in self.clients.items():
                self._calmly(name, partial(_asked, name, call, group[0], wanted[0]), known[0])

    def _calmly(self, name: str, judged: Callable[[], Counter[str]], numbers: int) -> None:
        """A busy machine may need more than one try to answer within so short a deadline."""
        until, told = time.monotonic() + 60, Counter[str]()
        while time.monotonic() < until:
            told = judged()
            if told["numbers"] == numbers:
                return
        raise Wrong(f"{name} without faults: {dict(told)}, {numbers} are due")

    def run(self, at_a_time: int = 8) -> None:
        """All of it. Raises as ``judge``, and whatever an adapter raises that it should not."""
        jobs = [lambda name=name: self._shape(name) for name in trainer_calls.CALLS]
        jobs += [lambda name=name: self._client(name) for name in self.clients]
        with ThreadPoolExecutor(at_a_time) as pool:
            for made in [pool.submit(job) for job in jobs]:
                made.result()

    def _shape(self, name: str) -> None:
        tally, draw = self.tallies[name], random.Random(name)
        whole = name in WHOLE
        while tally.calls < self.quotas[name]:
            groups = draw.choices(GROUPS, WEIGHTS, k=1 if whole else GROUP)
            samples = [one for group in groups for one in group]
            tally.told += _judged(name, samples, due(self.truth, samples))
            calls = 1 if whole else len(samples)
            tally.calls += calls
            self.progress(calls)

    def _client(self, name: str) -> None:
        tally, draw = self.tallies[name], random.Random(name)
        while tally.calls < self.quotas[name]:
            one = draw.choice(*draw.choices(GROUPS, WEIGHTS))
            tally.told += _asked(name, self.clients[name], one, *due(self.truth, [one]))
            tally.calls += 1
            self.progress(1)


def _judged(name: str, samples: Sequence[Sample], wanted: Numbers) -> Counter[str]:
    return judge(name, called(name, samples), wanted)


def _asked(
    name: str, call: Callable[[Sample], float | None], one: Sample, wanted: float | None
) -> Counter[str]:
    return judged_client(name, call(one), wanted)


def called(name: str, samples: Sequence[Sample]) -> Sequence[Any]:
    """What an adapter gives; a ``NoReward`` in its place for a sample that raises it alone."""
    if name not in trainer_calls.DROPS:
        return trainer_calls.CALLS[name](samples)

    async def every() -> list[Any]:
        calls = map(trainer_calls.verifiers_call, samples)
        return await asyncio.gather(*calls, return_exceptions=True)

    found = asyncio.run(every())
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, NoReward):
            raise one
    return found
