"""Sets, lists and rankings of names: row 16, and what one answers without knowing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, Final

from service.redteam.attacks import Attack, Family, Must
from service.rewards.library import Knowledge
from service.rewards.tasks import Label, LabelList, LabelSet, Ranking

if TYPE_CHECKING:
    from service.redteam.cases import Case

_SEPARATOR: Final = re.compile(r"\s*(?:[,;|>]|\n|→)\s*")
_LINE: Final = re.compile(r"(?:\d+[.)]|[-*•])[ \t]+")
_MANY: Final = 40
_UNRELATED: Final = ("GO:9999999", "unrelated process", "something else", "none of these")


class Names:
    """An answer of names: what it names, and how others are written the same way."""

    def __init__(self, claim: str) -> None:
        self.json = self.numbered = False
        self.separator = ", "
        try:
            found = json.loads(claim)
        except ValueError:
            found = None
        if isinstance(found, list):
            self.json = True
            self.names = [str(name) for name in found]
            return
        separators = _SEPARATOR.findall(claim)
        if separators:
            self.separator = separators[0]
            self.names = [name for name in claim.split(self.separator) if name.strip()]
            if all(_LINE.match(name) for name in self.names):
                self.numbered = True
                self.names = [_LINE.sub("", name, count=1) for name in self.names]
        else:
            self.names = [claim]

    def write(self, names: Sequence[str]) -> str:
        """Other names, written as these are."""
        if self.json:
            return json.dumps(list(names))
        if self.numbered:
            names = [f"{number}. {name}" for number, name in enumerate(names, 1)]
        return self.separator.join(names)


def _sets(case: Case, random: Random) -> Iterator[Attack]:
    own = Names(case.claim)
    names = own.names
    others = _others(case, names, random)

    def said(name: str, chosen: Sequence[str], must: Must) -> Attack:
        return Attack(name, case.write(claim=own.write(chosen)), must, heavy=True)

    yield said("nothing", [], Must.LESS)
    for other in others[:5]:
        yield said(f"{other[:30]!r} alone", [other], Must.LESS)
    yield said("three others", others[:3], Must.LESS)
    for extra in (1, 3, 10, _MANY):
        if len(others) >= extra:
            yield said(f"the honest names and {extra} more", [*names, *others[:extra]], Must.LESS)
    yield said("all there are", [*names, *others], Must.LESS)
    if len(names) > 1:
        yield said("all but one", names[:-1], Must.LESS)
        yield said("the first alone", names[:1], Must.LESS)
        yield said("backwards", names[::-1], Must.SAME)
    yield said("every name twice", [*names, *names], Must.NO_MORE)
    yield said("the first 30 times", names[:1] * 30, Must.NO_MORE)


def _others(case: Case, names: Sequence[str], random: Random) -> list[str]:
    """Names that are neither the honest ones nor known to mean them."""
    task = case.task
    listed = list(task.classes) if isinstance(task, LabelSet) else []
    if not listed:
        for knowledge in case.consulted:
            listed += _terms(knowledge, names)
    listed = listed or list(_UNRELATED)
    honest = {name.strip().lower() for name in names}
    found = [name for name in dict.fromkeys(listed) if name.lower() not in honest]
    random.shuffle(found)
    return found[:_MANY]


def _known(knowledge: Knowledge, names: Sequence[str]) -> set[str]:
    """Ids of the terms that the honest names mean."""
    found = (knowledge.ontology.resolve(name.strip()) for name in names)
    return {term for term in found if term is not None}


def _ids(knowledge: Knowledge, names: Sequence[str]) -> bool:
    """Whether honest names are written as ids."""
    return any(name.strip() in knowledge.ontology.terms for name in names)


def _terms(knowledge: Knowledge, names: Sequence[str]) -> list[str]:
    """Terms of an ontology that are not above the honest ones, ids or names as those are."""
    terms = knowledge.ontology.terms
    own = _known(knowledge, names)
    if not own:
        return []
    above = set(own)
    todo = list(own)
    while todo:
        for parent in terms[todo.pop()].parents:
            if parent in terms and parent not in above:
                above.add(parent)
                todo.append(parent)
    ids = _ids(knowledge, names)
    return [term.id if ids else term.name for term in terms.values() if term.id not in above]


def _roots(case: Case, random: Random) -> Iterator[Attack]:
    own = Names(case.claim)
    for knowledge in _ontologies(case, own.names):
        for root_id in sorted(knowledge.ontology.roots):
            root = knowledge.ontology.terms[root_id]
            name = root.id if _ids(knowledge, own.names) else root.name
            text = own.write([name])
            yield Attack(f"the root {name} alone", case.write(claim=text), Must.LESS)
            text = own.write([*own.names, name])
            must = Must.NO_MORE if isinstance(case.task, LabelSet) else Must.LESS
            yield Attack(f"the root {name} beside", case.write(claim=text), must)


def _ontologies(case: Case, names: Sequence[str]) -> list[Knowledge]:
    """Those that know the honest names."""
    return [one for one in case.consulted if _known(one, names)]


def _lists(case: Case, random: Random) -> Iterator[Attack]:
    own = Names(case.claim)
    names = own.names

    def said(name: str, chosen: Sequence[str], must: Must) -> Attack:
        return Attack(name, case.write(claim=own.write(chosen)), must)

    yield said("nothing", [], Must.LESS)
    if len(names) > 1:
        yield said("backwards", names[::-1], Must.LESS)
        yield said("moved by one", names[1:] + names[:1], Must.LESS)
        yield said("all but one", names[:-1], _longer(case))  # the last may be worth nothing
        yield said("the first at every place", names[:1] * len(names), Must.LESS)
    yield said("one more", [*names, "something else"], _longer(case))
    yield said("every name twice", [name for name in names for _ in range(2)], _longer(case))
    yield said("the list twice", [*names, *names], _longer(case))
    yield said("others", [f"other {n}" for n in range(len(names))], Must.LESS)


def _longer(case: Case) -> Must:
    return Must.NO_MORE if isinstance(case.task, Ranking) else Must.LESS


def _no_set(case: Case) -> str:
    return "" if isinstance(case.task, LabelSet) else "its answers are no sets of names"


def _no_ontology(case: Case) -> str:
    if not isinstance(case.task, LabelSet | Label) or case.classes:
        return "its answers are no terms of an ontology"
    if _ontologies(case, Names(case.claim).names):
        return ""
    return "no ontology that is loaded knows its names"


def _no_list(case: Case) -> str:
    if isinstance(case.task, LabelList | Ranking):
        return ""
    return "its answers are no lists in order"


FAMILIES: Final = (
    Family("sprays and gaps of a set", (16,), _sets, _no_set),
    Family("roots of the ontology", (16,), _roots, _no_ontology),
    Family("orders of a list", (), _lists, _no_list),
)
