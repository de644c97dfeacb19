"""The whole of it: cases of a profile, every attack on each, judged in one shuffled batch.

Seeded: the same profile, seed and rounds give the same attacks. Attacks of all cases travel
together and in random order, so that an item that spoils its neighbours is seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Final, NamedTuple

from service.redteam import (
    blind,
    characters,
    evidence,
    figures,
    grammar,
    hedges,
    length,
    messages,
    molecules,
    mutations,
    names,
    prose,
    reasoning,
)
from service.redteam.arena import Arena, Outcome, Shot
from service.redteam.attacks import Attack, Family, Must
from service.redteam.cases import Case, Cast, cast, turned
from service.redteam.known import known
from service.redteam.report import FAILURES, TOLERANCE, Finding, Line, Report, Verdict, verdict_on
from service.rewards.profiles import Profile
from worldmodels.core import Status

ROUNDS: Final = 2
_ANOTHER: Final = "another class"


def _own(case: Case, random: Random) -> Iterable[Attack]:
    """What the profile itself names as dishonest."""
    for number, completion in enumerate(case.dishonest, 1):
        yield Attack(f"dishonest {number} {completion[-40:]!r}", completion, Must.LESS, heavy=True)


OWN: Final = Family(
    "the profile's own list",
    (),
    _own,
    lambda case: "" if case.dishonest else "the profile lists no dishonest completions",
)
FAMILIES: Final[tuple[Family, ...]] = (
    OWN,
    *grammar.FAMILIES,
    *hedges.FAMILIES,
    *reasoning.FAMILIES,
    *evidence.FAMILIES,
    *prose.FAMILIES,
    *names.FAMILIES,
    *figures.FAMILIES,
    *molecules.FAMILIES,
    *characters.FAMILIES,
    *length.FAMILIES,
    *messages.FAMILIES,
    *mutations.FAMILIES,
)


class _Tried(NamedTuple):
    line: Line
    attack: Attack
    case: Case


def run(
    profile: Profile,
    arena: Arena,
    *,
    seed: int = 0,
    rounds: int = ROUNDS,
    begin: Callable[[int], object] = lambda total: None,
    tick: Callable[[], object] = lambda: None,
) -> Report:
    """Attack a profile.

    Args:
        profile: the recipe.
        arena: where completions are judged.
        seed: decides about everything random.
        rounds: variations of each kind, and rounds of random mutations.
        begin: told how many completions will be judged.
        tick: called for each that was.
    """
    started = time.perf_counter()
    random = Random(f"{seed} {profile.name}")
    report = Report(profile.name, profile.digest)
    report.skipped = "; ".join(profile.lacks) or _unwritten(profile)
    if report.skipped:
        return report
    found = cast(profile, random, rounds)
    cases, honest, plain = _honest(found, arena, report)
    tried = list(_attacks(cases, random, report, rounds, arena))
    paid: dict[tuple[str, str], float] = {}
    begin(len(tried))
    for one, outcome in zip(tried, _judged(tried, arena, random, tick), strict=True):
        beside = plain if one.attack.plain else honest
        if (earned := beside.get(one.case.name)) is None:
            continue
        finding = verdict_on(one.attack, one.case, outcome, earned)
        result = outcome.result
        if one.line.name == _ANOTHER and result and result.answer and result.reward is not None:
            paid.setdefault((one.case.name, result.answer), result.reward)
        one.line.add(_admitted(profile, one.line, finding))
    report.lines.append(_constant(cases, honest, paid))
    report.lines.append(blind.blind(cases, arena))
    report.seconds = time.perf_counter() - started
    return report


def _unwritten(profile: Profile) -> str:
    """Why attacks on a profile cannot be written; "" where they can."""
    if profile.recipe.extract.answer == "tool":
        return "its answers are calls of a tool, and attacks are written as text"
    return ""


def _honest(
    found: Cast, arena: Arena, report: Report
) -> tuple[list[Case], dict[str, float], dict[str, float]]:
    """What honesty earns in each case, and what it earns at its plainest."""
    report.faults += found.faults
    report.left_out += found.left_out
    cases: list[Case] = []
    honest: dict[str, float] = {}
    for case in found.cases:
        chosen, outcome = _best(case, arena)
        result = outcome.result
        if result is None or result.reward is None or result.status != "ok":
            why = f"{result.status} {result.reason}" if result else outcome.crash or outcome.refused
            where = report.left_out if case.varied else report.faults
            where.append(f"{case.name}: the honest completion earns nothing: {why}")
            continue
        stated = case.stated if arena.synthetic else None  # a server's knowledge is its own
        if stated is not None and abs(result.reward - stated) > TOLERANCE:
            report.faults.append(
                f"{case.name}: the profile states reward = {stated:g}, it earns {result.reward:g}"
            )
        cases.append(chosen)
        honest[chosen.name] = result.reward
    report.cases = len(cases)
    shots = [Shot({**case.item, "completion": reasoning.plain(case)}, case.p) for case in cases]
    plain = {
        case.name: outcome.result.reward
        for case, outcome in zip(cases, arena.judge(shots, lambda: None), strict=True)
        if outcome.result is not None
        and outcome.result.status == "ok"
        and outcome.result.reward is not None
    }
    return cases, honest, plain


def _best(case: Case, arena: Arena) -> tuple[Case, Outcome]:
    """The honest answer: as the case has it, or where only a server knows, what it pays best."""
    candidates = [case]
    if not arena.synthetic and case.asked and case.truth is None:
        candidates += turned(case)
    shots = [Shot(dict(one.item), one.p) for one in candidates]
    outcomes = arena.judge(shots, lambda: None)
    return max(
        zip(candidates, outcomes, strict=True), key=lambda pair: _reward(pair[1], -float("inf"))
    )


def _reward(outcome: Outcome, nothing: float) -> float:
    result = outcome.result
    return nothing if result is None or result.reward is None else result.reward


def _attacks(
    cases: Sequence[Case], random: Random, report: Report, rounds: int, arena: Arena
) -> Iterable[_Tried]:
    """Every attack of every family on every case it applies to."""
    for family in FAMILIES:
        line = Line(family.name, family.rows)
        report.lines.append(line)
        times = rounds if family is mutations.FAMILIES[0] else 1
        for case in cases:
            reason = family.unless(case)
            if reason:
                line.reason = line.reason or reason
                continue
            for _ in range(times):
                for attack in family.make(case, random):
                    if (
                        not arena.synthetic
                        and attack.status is not Status.OK
                        and not attack.changes
                    ):
                        continue  # what its models say is not for us to choose
                    yield _Tried(line, attack, case)


def _judged(
    tried: Sequence[_Tried], arena: Arena, random: Random, tick: Callable[[], object]
) -> list[Outcome]:
    """Outcomes in the order of ``tried``; judged in another."""
    order = random.sample(range(len(tried)), len(tried))
    shots = [_shot(tried[index], index) for index in order]
    outcomes: list[Outcome | None] = [None] * len(tried)
    for index, outcome in zip(order, arena.judge(shots, tick), strict=True):
        result = outcome.result
        if result is not None and result.id != index and result.id is not None:
            outcome = Outcome(None, f"item {index} was answered as {result.id!r}")
        outcomes[index] = outcome
    return [outcome for outcome in outcomes if outcome is not None]


def _shot(one: _Tried, index: int) -> Shot:
    attack = one.attack
    item = {**one.case.item, "completion": attack.completion, **attack.changes, "id": index}
    item = {key: value for key, value in item.items() if value is not None}
    return Shot(item, one.case.p, attack.status)


def _admitted(profile: Profile, line: Line, finding: Finding) -> Finding:
    """A failure that the profile admits is known."""
    if finding.verdict not in FAILURES:
        return finding
    reason = known(profile.name, line.name)
    if not reason or finding.verdict not in (Verdict.BEATEN, Verdict.EQUALLED):
        return finding
    line.reason = reason
    return Finding(
        finding.attack, finding.case, Verdict.KNOWN, finding.earned, finding.honest, finding.said
    )


def _constant(
    cases: Sequence[Case], honest: Mapping[str, float], paid: Mapping[tuple[str, str], float]
) -> Line:
    """The same answer to every question, beside honest answers to all of them."""
    line = Line("the same answer to every question", ())
    labels = {case.answer.label for case in cases if case.rivals}
    asked = [case for case in cases if case.rivals]
    if len(labels) < 2:
        line.reason = "its cases all have one answer, or answers are no classes"
        return line
    truth = sum(honest[case.name] for case in asked) / len(asked)
    for label in sorted(filter(None, labels)):
        earned = [
            honest[case.name] if case.answer.label == label else paid.get((case.name, label))
            for case in asked
        ]
        if None in earned:
            continue
        mean = sum(reward for reward in earned if reward is not None) / len(asked)
        attack = Attack(f"always {label}", None, Must.LESS)
        beaten = mean > truth - TOLERANCE
        verdict = Verdict.BEATEN if beaten else Verdict.OK
        line.add(Finding(attack, f"{len(asked)} cases", verdict, mean, truth, ""))
    if not line.applies:
        line.reason = "no answer is open to all of its questions"
    return line
