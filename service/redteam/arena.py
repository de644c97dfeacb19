"""Where attacks are judged: a profile in this process, or a running server.

In this process a world model's word is synthetic: the probability that the shot states, to every
question. Work is done on a workbench. Whatever is raised is a crash, and reported as one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from service.redteam.bench import Bench
from service.rewards.core import Item, Reason, Result, Verdict
from service.rewards.profiles import Profile
from worldmodels.core import RELATIONS, ModelSpec, Reliable, Status

if TYPE_CHECKING:
    from softverifier import RewardClient

P0: Final = 0.5
"""What the synthetic world model would say without the perturbation, if a shot does not say."""
_ALL: Final = {"": (Reliable(1e-6, (), (0.0,), (0.0,)),)}
SYNTHETIC: Final = ModelSpec(
    name="made up",
    family="redteam",
    version="1",
    digest="none",
    relations=tuple(RELATIONS),
    reliability=dict.fromkeys(RELATIONS, _ALL),
)
"""What the synthetic world model says of itself: its card proves all of it reliable."""


class Shot(NamedTuple):
    """One item to be judged."""

    item: dict[str, Any]
    p: float | None = None
    """What world models say; None for profiles that ask none."""
    status: Status = Status.OK
    p0: float = P0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a shot: a result, or a crash, or a server's refusal to take it."""

    result: Result | None
    crash: str = ""
    seconds: float = 0.0
    refused: str = ""


class Arena(Protocol):
    """Judges shots, in their order."""

    synthetic: bool
    """Whether ``Shot.p`` and ``Shot.status`` are what world models say."""

    def judge(self, shots: Sequence[Shot], tick: Callable[[], object]) -> list[Outcome]:
        """One outcome for each shot; ``tick`` is called as often."""
        ...


class Local:
    """A profile in this process."""

    synthetic = True

    def __init__(self, profile: Profile, bench: Bench) -> None:
        self._profile = profile
        self._bench = bench

    def judge(self, shots: Sequence[Shot], tick: Callable[[], object]) -> list[Outcome]:
        """Everything that a server does with an item, one after the other."""
        made = []
        for shot in shots:
            made.append(self._judge(shot))
            tick()
        return made

    def _judge(self, shot: Shot) -> Outcome:
        started = time.process_time()
        try:
            result = judged(self._profile, shot, self._bench)
        except Exception as error:  # noqa: BLE001 - a crash is what is looked for, and shown
            return Outcome(None, f"{type(error).__name__}: {error}"[:300])
        return Outcome(result, "", time.process_time() - started)


def judged(profile: Profile, shot: Shot, bench: Bench) -> Result:
    """The result of one shot under a profile."""
    try:
        item = msgspec.convert(shot.item, Item)
    except msgspec.ValidationError as error:
        return profile.failed(None, Reason.BAD_ITEM, str(error))
    return judged_item(profile, item, verdict_of(shot), bench)


def judged_item(profile: Profile, item: Item, verdict: Verdict, bench: Bench) -> Result:
    """The result of one item, with one word of the world models for every question."""
    fault = profile.fault(item)
    if fault is not None:
        return profile.failed(item.id, *fault)
    answer = profile.read(item)
    plan = profile.queries(item) if answer.reason is Reason.OK else ()
    works = profile.works(item, answer)
    findings = {index: bench.carry_out(work) for index, work in works.items()}
    return profile.compose(item, answer, (verdict,) * len(plan), findings)


def verdict_of(shot: Shot) -> Verdict:
    """What every world model says about a shot."""
    if shot.status is not Status.OK:
        return Verdict(shot.status)
    p = 0.9 if shot.p is None else shot.p
    return Verdict(Status.OK, p, shot.p0, 0.04, p, SYNTHETIC)


class Remote:
    """A running server."""

    synthetic = False

    def __init__(self, client: RewardClient, profile: str) -> None:
        self._client = client
        self._profile = profile
        self._answered = False

    def judge(self, shots: Sequence[Shot], tick: Callable[[], object]) -> list[Outcome]:
        """All of it in requests of 64 items.

        Raises:
            SoftVerifierError: no answer, or the very first request was refused.
        """
        made = []
        for start in range(0, len(shots), _ITEMS):
            for outcome in self._ask([shot.item for shot in shots[start : start + _ITEMS]]):
                made.append(outcome)
                tick()
        return made

    def _ask(self, items: list[dict[str, Any]]) -> list[Outcome]:
        """One request; of one that is refused, the items that are not to blame."""
        from softverifier import RequestRejected

        try:
            rewards = self._client.score(items, profile=self._profile)
        except RequestRejected as error:
            if not self._answered:
                raise
            if len(items) == 1:
                return [Outcome(None, refused=str(error))]
            half = len(items) // 2
            return self._ask(items[:half]) + self._ask(items[half:])
        self._answered = True
        return [Outcome(msgspec.convert(msgspec.to_builtins(one), Result)) for one in rewards]


_ITEMS: Final = 64
