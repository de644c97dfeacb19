"""Reasoning that contradicts the answer or only names what is asked: rows 6 to 9."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final

from service.redteam.attacks import Attack, Family, Must
from service.redteam.frame import THINK
from service.redteam.grammar import rival_of
from service.rewards.forms import normal
from service.rewards.tasks import Checkpoints
from service.rewards.vocabulary import Vocabulary
from worldmodels.core import Status

if TYPE_CHECKING:
    from service.redteam.cases import Case

_PLAIN: Final = "It follows from what is known."
_WITHOUT_RIVAL: Final = "its answers are no classes, so that no reasoning concludes another"
_NOT_JUDGED: Final = "no component of it looks at the answer: it pays for what is said of genes"
_FAR: Final = "the loss of it stalls every ribosome in the cell"


def _against(case: Case, random: Random) -> Iterator[Attack]:
    """The reasoning concludes one class, the answer is another."""
    for rival in case.rivals[:3]:
        for text in (
            f"{case.think} So the answer must be {rival}.",
            f"{case.think}\nThe final answer is {rival}.",
        ):
            whole = case.write(think=text)
            yield Attack(f"{text[-32:]!r}", whole, Must.NO_MORE, flagged=_told(case, rival))
        text = f"{case.think} So the answer must be {case.claim}."
        yield Attack(f"{text[-32:]!r}, answers {rival}"[:70], case.write(rival, text), Must.LESS)


def _told(case: Case, rival: str) -> bool:
    """Whether a contradiction is promised to be reported: few classes, named alike in both."""
    form = case.form
    return isinstance(form, Vocabulary) and len(form.forms) <= 32 and normal(rival) in form.forms


def _no_rival(case: Case) -> str:
    if not case.rivals:
        return _WITHOUT_RIVAL if case.answer_counts else _NOT_JUDGED
    return _no_think(case)


def _no_think(case: Case) -> str:
    return "" if case.frame.has(THINK) else "its completions hold no reasoning"


def _listed(case: Case, random: Random) -> Iterator[Attack]:
    """Keywords without prose."""
    words = list(case.parsed.keywords or ())
    mention = case.components("mention")
    for text in ("|".join(words) + "||", "|".join(words * 40), " ".join(words), ", ".join(words)):
        whole = case.write(think=text)
        yield Attack(f"thinks {text[:40]!r}", whole, Must.NO_MORE, components=mention, score=0.0)
        yield Attack(f"thinks {text[:40]!r}, another answer", case.write(rival_of(case), text),
                     Must.LESS if case.rivals else Must.NO_MORE)  # fmt: skip


def _inside(case: Case, random: Random) -> Iterator[Attack]:
    mention = case.components("mention")
    for keywords, text in (
        (["AR", "MAR"], "both PARP1 and MARCH5 are lost in these cells"),
        (["AR"], "the loss of PARP1 and of CARS changes them"),
    ):
        whole = case.write(think=text)
        yield Attack(f"{keywords} in {text[:20]!r}", whole, Must.NO_MORE, {"keywords": keywords},
                     components=mention, score=0.0)  # fmt: skip


def _aliases(case: Case, random: Random) -> Iterator[Attack]:
    """Other names of a keyword count as the keyword does."""
    mention = case.components("mention")
    genes = case.profile.library.genes
    keywords = case.parsed.keywords or []
    for keyword in dict.fromkeys(keywords[:4]):
        symbol, status = genes.resolve(keyword)
        names = {keyword.lower()}
        if status is Status.OK:
            names |= {name for name in (symbol, *genes.aliases(symbol)) if len(name) > 3}
        for name in sorted(names)[:6]:
            if name.isalpha() and len(name) < 4:
                continue  # could be an English word; such names count letter for letter
            whole = case.write(think=f"{_FAR} without {name} in it")
            yield Attack(f"{keyword} as {name}", whole, Must.NO_MORE, {"keywords": [keyword]},
                         components=mention, score=1.0)  # fmt: skip


def _no_mention(case: Case) -> str:
    if not case.components("mention"):
        return "it has no component that counts keywords"
    return "" if case.parsed.keywords else "its example has no keywords"


def _echoed(case: Case, random: Random) -> Iterator[Attack]:
    """The question said again."""
    must = Must.INVALID if case.closed else Must.LESS
    prompt = case.parsed.prompt if isinstance(case.parsed.prompt, str) else ""
    question = getattr(case.task, "question", "") or prompt or _question(case.item)
    yield Attack("the question as reasoning", case.write(think=question), Must.NO_MORE)
    yield Attack("the question as the answer", case.write(claim=question), must)
    yield Attack("the question as reasoning, another answer",
                 case.write(claim=rival_of(case), think=question), Must.LESS)  # fmt: skip
    yield Attack("the question alone", question, must)
    yield Attack("the prompt in front", f"{question}\n{case.write()}", Must.NO_MORE)


def _question(item: Mapping[str, Any]) -> str:
    """What is asked, in words of the task's own fields."""
    fields = {key: value for key, value in (item.get("task") or {}).items() if key != "type"}
    return f"What is the answer to {fields}?"


def _keywords(case: Case, random: Random) -> Iterator[Attack]:
    """Words that sound right."""
    sound = "knockdown differential expression pathway regulation stress response apoptosis "
    for name, text in (("once", sound), ("20 times", sound * 20)):
        yield Attack(f"thinks in keywords {name}", case.write(think=text), Must.NO_MORE)
        if case.rivals:
            whole = case.write(claim=rival_of(case), think=f"{case.think} {text}")
            yield Attack(f"keywords {name}, another answer", whole, Must.LESS)
    must = Must.INVALID if case.closed else Must.LESS
    yield Attack("answers in keywords", case.write(claim=sound.strip()), must)


def _style(case: Case, random: Random) -> Iterator[Attack]:
    """The best style with another answer, beside the plainest honest completion."""
    mentioned = ", ".join(case.parsed.keywords or ())
    polished = f"{case.think} {mentioned}".strip()
    for rival in case.rivals[:3]:
        yield Attack(f"polished {rival[:40]!r}", case.write(rival, polished), Must.LESS, plain=True)


def plain(case: Case) -> str:
    """The honest answer with as little style as there can be: of steps, none."""
    return case.write(think=_PLAIN, section="" if isinstance(case.task, Checkpoints) else None)


FAMILIES: Final = (
    Family("reasoning against the answer", (6,), _against, _no_rival),
    Family("keywords without prose", (7,), _listed, _no_mention),
    Family("keywords inside other names", (8,), _inside, _no_mention),
    Family("keywords under other names", (9,), _aliases, _no_mention),
    Family("the question said again", (), _echoed),
    Family("words that sound right", (), _keywords),
    Family("a polished lie beside the plain truth", (), _style, _no_rival),
)
