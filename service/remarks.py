"""Why an item has no reward, or only the floor, in words for whoever reads the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.rewards.core import REASON_OF_STATUS, Finding, Item, Query, Reason, Result, Verdict
from service.rewards.profiles import Profile


def without_opinion(plan: Sequence[Query], verdicts: Mapping[Query, Verdict]) -> str:
    """Which questions had no answer and why, for whoever reads the result."""
    said = []
    for query in plan:
        verdict = verdicts[query]
        if verdict.p is None:
            asked = verdict.model.name if verdict.model else query.model
            reason = verdict.reason or REASON_OF_STATUS[verdict.status]
            context = f" in {query.context!r}" if query.context else ""
            said.append(
                f"{query.relation} of {query.subject!r} and {query.object!r}{context}, asked of "
                f"{asked}: {reason}"
            )
    return "; ".join(said)


def unannotated(profile: Profile, item: Item, result: Result) -> str:
    """What was looked up and not found, for an item that has no reward for it."""
    parts = profile.composition.parts
    said = (
        part.judge.remark(item, component)
        for part, component in zip(parts, result.components, strict=True)
        if component.score is None
    )
    return "; ".join(filter(None, said))


def unfinished(profile: Profile, findings: Mapping[int, Finding], budget_ms: int) -> str | None:
    """Which computations came to nothing and why; None where all came to something."""
    said = []
    for index, finding in findings.items():
        name = profile.composition.parts[index].judge.name
        if finding.reason is Reason.TOO_LONG:
            said.append(
                f"{name}: the completion takes more than {budget_ms} ms (work.budget_ms), or more "
                "memory than is allowed, to judge; a shorter one may do"
            )
        elif finding.reason is not Reason.OK:
            said.append(f"{name}: its computation ended with {finding.reason}")
    return "; ".join(said) or None
