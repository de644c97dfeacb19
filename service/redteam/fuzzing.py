"""Fuzz: completions that nobody would write, under every profile. None may crash one.

Completion number n under a seed is always the same, so that a fault can be had again by its number
and a run can go on where it was. Four sources in turn: mutations of honest completions, soups of
tags and other tokens, random characters (lone surrogates and controls included), and structured
messages made of these. Each result must be in bounds, and the same when judged again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from service.redteam.arena import Shot, judged_item, verdict_of
from service.redteam.bench import Bench
from service.redteam.cases import Case, cast
from service.redteam.mutations import TOKENS, mutated
from service.redteam.report import out_of_bounds
from service.rewards.core import Item, Result
from service.rewards.profiles import Profile

_PARTS: Final = ("text", "thinking", "reasoning", "image_url", "output_text", "refusal", "")
_ROLES: Final = ("assistant", "assistant", "assistant", "user", "system", "tool", "")
_PLANES: Final = (0x80, 0x250, 0x3000, 0xE000, 0x110000)


class Fault(NamedTuple):
    """A completion that should not have come out as it did."""

    number: int
    profile: str
    what: str
    completion: Any


@dataclass(frozen=True, slots=True)
class Target:
    """What completions are made for: the cases of one profile."""

    profile: Profile
    cases: tuple[Case, ...]


def targets_of(profiles: Sequence[Profile], seed: int) -> list[Target]:
    """Those profiles that can be judged here, with their honest completions."""
    made = []
    for profile in profiles:
        if not profile.lacks:  # a profile of tools' calls has no cases that are text
            cases = cast(profile, Random(f"{seed} {profile.name}"), 2).cases
            if cases:
                made.append(Target(profile, cases))
    return made


def completion(number: int, seed: int, case: Case) -> Any:
    """Completion ``number`` of a run: text, or messages as JSON data."""
    random = Random(f"{seed} {number}")
    text = _SOURCES[number % len(_SOURCES)](case, random)
    if number % 16 >= 12:
        return _messages(text, case, random)
    return text


def _mutation(case: Case, random: Random) -> str:
    rival = random.choice(case.rivals) if case.rivals else str(random.random())
    base = case.write() if random.random() < 0.5 else case.write(claim=rival)
    for _ in range(random.choice((1, 1, 1, 3))):
        base = mutated(base, random)
    return base


def _soup(case: Case, random: Random) -> str:
    """Tokens of the grammar in any order; half of the time where only a field should be."""
    own = [piece.text for piece in case.frame.pieces]
    soup = "".join(
        random.choice(own if random.random() < 0.3 else TOKENS)
        for _ in range(random.choice((1, 3, 8, 20, 60)))
    )
    return random.choice((soup, soup, case.write(soup), case.write(think=soup, section=soup)))


def _characters(case: Case, random: Random) -> str:
    length = random.choice((0, 1, 5, 30, 200))
    noise = "".join(chr(random.randrange(random.choice(_PLANES))) for _ in range(length))
    where = random.randrange(4)
    if where == 0:
        return case.write(claim=noise)
    if where == 1:
        return case.write(think=noise, section=noise)
    return noise


def _spliced(case: Case, random: Random) -> str:
    """Two of the other sources cut together."""
    one, other = _mutation(case, random), _soup(case, random)
    at, to = random.randrange(len(one) + 1), random.randrange(len(other) + 1)
    return one[:at] + other[to:] + (one[at:] if random.random() < 0.5 else "")


_SOURCES: Final[tuple[Callable[[Case, Random], str], ...]] = (
    _mutation,
    _soup,
    _characters,
    _spliced,
)


def _messages(text: str, case: Case, random: Random) -> list[dict[str, Any]]:
    made = []
    for _ in range(random.randrange(4)):
        content: Any = random.choice((text, case.write(), None, ""))
        if random.random() < 0.4:
            at = random.randrange(len(text) + 1)
            content = [
                {"type": random.choice(_PARTS), "text": random.choice((piece, None))}
                for piece in (text[:at], text[at:])
            ]
        message = {"role": random.choice(_ROLES), "content": content}
        if random.random() < 0.3:
            message["reasoning_content"] = random.choice((text, case.think, None))
        made.append(message)
    return made


def fuzz(
    targets: Sequence[Target], bench: Bench, seed: int, start: int, stop: int
) -> Iterator[Fault | Result]:
    """Judge the completions of these numbers, in turn under each profile; one outcome each."""
    for number in range(start, stop):
        target = targets[number // 16 % len(targets)]
        case = target.cases[number // 16 // len(targets) % len(target.cases)]
        yield outcome(number, seed, target.profile, case, bench)


def outcome(number: int, seed: int, profile: Profile, case: Case, bench: Bench) -> Fault | Result:
    """The result of one completion, or what is wrong with it."""
    written = completion(number, seed, case)
    try:
        item = msgspec.convert({**case.item, "completion": written, "id": number}, Item)
        verdict = verdict_of(Shot({}, case.p))
        result = judged_item(profile, item, verdict, bench)
        again = judged_item(profile, item, verdict, bench) if _cheap(profile, number) else result
    except Exception as error:  # noqa: BLE001 - a crash is what is looked for, and shown
        return Fault(number, profile.name, f"{type(error).__name__}: {error}"[:300], written)
    if result != again:
        return Fault(number, profile.name, "judged twice, two results", written)
    if result.id != number:
        return Fault(number, profile.name, f"answered as {result.id!r}", written)
    if wrong := out_of_bounds(result, profile):
        return Fault(number, profile.name, wrong, written)
    return result


def _cheap(profile: Profile, number: int) -> bool:
    """Whether to judge again: always, but for works, which cost a trip to the bench."""
    return not profile.laborious or number % 10 == 0
