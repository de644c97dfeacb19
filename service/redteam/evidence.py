"""Items that cannot be judged: rows 12 and 13. What has no opinion must give no number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final

from service.redteam.attacks import Attack, Family, Must
from worldmodels.core import Status

if TYPE_CHECKING:
    from service.redteam.cases import Case

_NO_GENE: Final = "NOTAGENE7"
_SILENT: Final = (
    Status.UNKNOWN_GENE, Status.AMBIGUOUS_GENE, Status.UNMEASURED, Status.OUT_OF_DISTRIBUTION,
    Status.LOW_CONFIDENCE,
)  # fmt: skip


def _silent(case: Case, random: Random) -> Iterator[Attack]:
    whole = case.write()
    if case.asked:
        for status in _SILENT:
            yield Attack(f"the model says {status.name}", whole, Must.NULL, status=status,
                         components=case.asked)  # fmt: skip
        task = dict(case.item["task"])
        for key in ("perturbation", "gene"):
            if key in task:
                changed = {"task": {**task, key: _NO_GENE}}
                yield Attack(f"unknown {key}", whole, Must.NULL, changed, Status.UNKNOWN_GENE,
                             case.asked)  # fmt: skip
    mention = tuple(
        part.judge.name
        for part in case.profile.composition.parts
        if part.role != "report" and part.judge.name in case.components("mention")
    )
    if mention:
        yield Attack("no keywords", whole, Must.NULL, {"keywords": None}, components=mention)
    if case.truth is not None and not case.asked:
        changes = {"truth": None}
        yield Attack("no truth", whole, Must.NULL, changes, Status.UNMEASURED, case.knowing)


def _gives_nothing(case: Case) -> str:
    if case.asked or case.truth is not None or case.components("mention"):
        return ""
    return "what is right follows from its task: there is no opinion to be missing"


def _foreign(case: Case, random: Random) -> Iterator[Attack]:
    """Truths of a wrong shape are errors, never a number."""
    whole = case.write()
    for name, truth in _shapes(case.truth):
        yield Attack(name, whole, Must.NULL, {"truth": truth}, components=case.knowing)


def _shapes(truth: Any) -> Iterator[tuple[str, Any]]:
    yield "an object of nothing", {}
    yield "an object of something else", {"nonsense": [1, 2]}
    yield "lists in lists", [[[]]]
    if isinstance(truth, Mapping) and truth.keys() == {"classes", "confidences"}:
        classes, confidences = truth["classes"], truth["confidences"]
        yield "fewer confidences", {"classes": classes, "confidences": confidences[:-1]}
        yield "more confidences", {"classes": classes, "confidences": [*confidences, 0.5]}
        zipped = list("|".join(classes))
        yield "characters zipped", {"classes": zipped, "confidences": [0.1] * len(zipped)}
        yield "a class missing", {"classes": classes[:-1], "confidences": confidences[:-1]}
        twice = [classes[0]] * len(classes)
        yield "a class twice", {"classes": twice, "confidences": confidences}
        yield "not a confidence", {"classes": classes, "confidences": [7.0] * len(classes)}
    if isinstance(truth, str):
        yield "a list of its characters", {"classes": list(truth), "confidences": [1.0]}


def _no_truth(case: Case) -> str:
    if case.truth is None:
        return "it reads no truth from the item, so none can be another item's"
    return ""


FAMILIES: Final = (
    Family("no opinion", (12,), _silent, _gives_nothing),
    Family("truths of another shape", (13,), _foreign, _no_truth),
)
