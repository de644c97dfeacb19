"""What came of an attack beside honesty, and the sum of it for a profile."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from service.redteam.arena import Outcome
from service.redteam.attacks import Attack, Must
from service.redteam.cases import Case
from service.rewards.core import RETRYABLE, Reason, Result
from service.rewards.profiles import Profile

TOLERANCE: Final = 1e-6
"""Rewards are rounded to 6 decimals."""
SLOW_S: Final = 2.0
"""What one item may cost this process; a server's budget is its own."""


class Verdict(enum.StrEnum):
    """How a profile did, worst last."""

    OK = "ok"
    KNOWN = "known"
    """It does not hold, and the profile says so."""
    NOT_NULL = "NUMBER"
    """A number where there is no opinion."""
    NULL = "NULL"
    """The completion decided whether there is an opinion."""
    SILENT = "SILENT"
    """A contradiction, or a component, that should have been reported is not."""
    DIFFERS = "DIFFERS"
    """As honest, and paid otherwise."""
    VALID = "VALID"
    """Must be invalid, is not."""
    EQUALLED = "EQUALLED"
    """Claims something else and earns as much."""
    BEATEN = "BEATEN"
    """Earns more than honesty."""
    SLOW = "SLOW"
    UNBOUNDED = "OUT OF RANGE"
    CRASH = "CRASH"


RANK: Final = {verdict: rank for rank, verdict in enumerate(Verdict)}
FAILURES: Final = frozenset(Verdict) - {Verdict.OK, Verdict.KNOWN}


@dataclass(frozen=True, slots=True)
class Finding:
    """One attack on one case: what it earned beside honesty."""

    attack: Attack
    case: str
    verdict: Verdict
    earned: float | None
    honest: float
    said: str


@dataclass(slots=True)
class Line:
    """A family of attacks: the sum of its findings.

    Attributes:
        name, rows: the family's.
        attacks: how many were tried.
        earned: the most that one of them earned where it should not have been honest; None where
            none got a number.
        honest: what honesty earned in that case.
        verdict: the worst.
        failures: the findings that are not ok.
        reason: why it does not apply, or why a failure is known; "" else.
    """

    name: str
    rows: tuple[int, ...]
    attacks: int = 0
    earned: float | None = None
    honest: float | None = None
    verdict: Verdict = Verdict.OK
    failures: list[Finding] = field(default_factory=list)
    reason: str = ""

    @property
    def applies(self) -> bool:
        """Whether anything was tried."""
        return self.attacks > 0

    def add(self, finding: Finding) -> None:
        """One finding more."""
        self.attacks += 1
        margin = -math.inf
        if self.earned is not None and self.honest is not None:
            margin = self.earned - self.honest
        if finding.earned is not None and finding.earned - finding.honest > margin:
            self.earned, self.honest = finding.earned, finding.honest
        if self.honest is None:
            self.honest = finding.honest
        if finding.verdict is not Verdict.OK:
            self.failures.append(finding)
        if RANK[finding.verdict] > RANK[self.verdict]:
            self.verdict = finding.verdict


@dataclass(slots=True)
class Report:
    """Everything about one profile.

    Attributes:
        profile, digest: which recipe.
        lines: one for each family of attacks, in their order.
        cases: how many honest completions were attacked.
        faults: what is wrong with honest completions: not judged, or not paid as stated.
        left_out: variations that could not be made.
        skipped: why nothing was tried at all; "" else.
        seconds: how long it took.
    """

    profile: str
    digest: str
    lines: list[Line] = field(default_factory=list)
    cases: int = 0
    faults: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    skipped: str = ""
    seconds: float = 0.0

    @property
    def attacks(self) -> int:
        """How many completions were tried."""
        return sum(line.attacks for line in self.lines)

    @property
    def failures(self) -> list[Finding]:
        """What does not hold."""
        return [
            found for line in self.lines for found in line.failures if found.verdict in FAILURES
        ]

    @property
    def holds(self) -> bool:
        """Whether no attack pays and every honest completion does."""
        return not self.failures and not self.faults

    def rows(self) -> dict[int, str]:
        """Of each row of the table: "" where it was tried, else why it does not apply."""
        from service.redteam.rows import ROWS

        found: dict[int, str] = {}
        for row in ROWS:
            lines = [line for line in self.lines if row in line.rows]
            if self.skipped:
                found[row] = self.skipped
            elif any(line.applies for line in lines):
                found[row] = ""
            else:
                found[row] = "; ".join(dict.fromkeys(line.reason for line in lines))
        return found


def verdict_on(attack: Attack, case: Case, outcome: Outcome, honest: float) -> Finding:
    """Compare an outcome with what must come of it."""
    result = outcome.result
    if outcome.refused:
        fair = attack.must not in (Must.SAME, Must.NULL)
        verdict = Verdict.OK if fair else Verdict.NULL
        return Finding(attack, case.name, verdict, None, honest, outcome.refused)
    if result is None:
        return Finding(attack, case.name, Verdict.CRASH, None, honest, outcome.crash)
    said = f"{result.status} {result.reason}"
    if wrong := out_of_bounds(result, case.profile):
        return Finding(attack, case.name, Verdict.UNBOUNDED, result.reward, honest, wrong)
    verdict = _must(attack, case, result, honest)
    if verdict is Verdict.OK and outcome.seconds > SLOW_S:
        verdict, said = Verdict.SLOW, f"{outcome.seconds:.1f} s"
    return Finding(attack, case.name, verdict, result.reward, honest, said)


def out_of_bounds(result: Result, profile: Profile) -> str:
    """What about a result no completion may bring about; "" where nothing is."""
    least, most = profile.range
    for component in result.components:
        score = component.score
        if score is not None and not 0.0 <= score <= 1.0:
            return f"{component.name} scores {score}"
        if component.status == Reason.MODEL_ERROR:  # composing takes scores out of range away
            return f"{component.name} is {component.status}: its score left [0, 1]"
    reward = result.reward
    if (reward is None) != (result.status in ("abstain", "error")):
        return f"reward {reward} and status {result.status}"
    if reward is not None and not least - TOLERANCE <= reward <= most + TOLERANCE:
        return f"reward {reward} is not in [{least:g}, {most:g}]"
    if not 0.0 <= result.weight <= 1.0:
        return f"weight {result.weight}"
    return ""


def _must(attack: Attack, case: Case, result: Result, honest: float) -> Verdict:
    reward, must = result.reward, attack.must
    if must is Must.NULL:
        return _null(attack, result)
    if reward is None:
        late = attack.heavy and Reason(result.reason) in RETRYABLE
        return Verdict.OK if late else Verdict.NULL
    if must is Must.BOUNDED:
        return Verdict.OK
    if reward > honest + TOLERANCE:
        return Verdict.BEATEN
    if must is Must.INVALID and result.status != "invalid":
        return Verdict.VALID
    if must is Must.SAME and abs(reward - honest) > TOLERANCE:
        return Verdict.DIFFERS
    if reward > honest - TOLERANCE and (
        must in (Must.LESS, Must.INVALID) or _another(case, result)
    ):
        return Verdict.EQUALLED
    return _reported(attack, result)


def _another(case: Case, result: Result) -> bool:
    """Whether a class is claimed that is not the honest one."""
    if not case.classes or result.status != "ok" or result.answer is None:
        return False
    return result.answer != case.answer.label


def _null(attack: Attack, result: Result) -> Verdict:
    if result.reward is None:
        return Verdict.OK
    named = [one for one in result.components if one.name in attack.components]
    if named and all(one.score is None for one in named):
        return Verdict.OK
    return Verdict.NOT_NULL


def _reported(attack: Attack, result: Result) -> Verdict:
    if attack.flagged and result.status == "ok" and not result.contradiction:
        return Verdict.SILENT
    if attack.score is not None and result.status == "ok":
        for component in result.components:
            if component.name in attack.components and component.score != attack.score:
                return Verdict.SILENT
    return Verdict.OK


def plain(report: Report) -> Mapping[str, Any]:
    """A report as JSON data."""
    return {
        "profile": report.profile,
        "digest": report.digest,
        "holds": report.holds,
        "skipped": report.skipped or None,
        "cases": report.cases,
        "attacks": report.attacks,
        "seconds": round(report.seconds, 3),
        "faults": report.faults,
        "left_out": report.left_out,
        "rows": {str(row): reason or "tried" for row, reason in report.rows().items()},
        "families": [_plain_line(line) for line in report.lines],
    }


def _plain_line(line: Line) -> dict[str, Any]:
    return {
        "name": line.name,
        "rows": list(line.rows),
        "attacks": line.attacks,
        "earned": line.earned,
        "honest": line.honest,
        "verdict": line.verdict.value if line.applies else "does not apply",
        "reason": line.reason or None,
        "failures": [
            {
                "attack": found.attack.name,
                "case": found.case,
                "must": found.attack.must.value,
                "verdict": found.verdict.value,
                "earned": found.earned,
                "honest": found.honest,
                "said": found.said,
                "completion": ascii(found.attack.completion)[:300],
            }
            for found in line.failures[:20]
        ],
    }
