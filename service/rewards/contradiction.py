r"""Does the reasoning conclude another class than the answer? Where in doubt: no.

Only the last two sentences count, within the last 300 characters. A sentence concludes a class
where a clause of it states the answer in so many words:

    the answer is no · my final answer: **no** · \boxed{no} after either · I would answer no
    it must be no · so no · therefore, no · definitely no     (yes and no alone, last sentence)

and the class ends the clause. Nothing is concluded by a question, by a reply to one that goes on,
by a sentence that doubts or reports ("if", "at first glance", "one could think"), where a turn
follows ("but", "still"), where the answer's own class is named beside or after it, or by what is
said of genes ("so AAMP goes down"). Linear, and a substring search where the tail names no other
class. What is not covered: reasoning that argues for the other class without naming it, languages
beside English, and vocabularies of more than 32 forms.
"""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple

from service.rewards.vocabulary import Vocabulary

_TAIL: Final = 300
_MANY: Final = 32
_MARKUP: Final = str.maketrans(dict.fromkeys('*_`"“”‘’«»{}[]<>)$', " ") | {"'": ""})
_SENTENCE: Final = re.compile(r"([.!?]+(?=\s|$)|\n+)")
_LATEX: Final = re.compile(r"\\(?:boxed|text|mathrm|mathbf|textbf)(?=\{)")
_LABELLED: Final = re.compile(r":[\s*_`]*\n\s*")

_ADVERB: Final = (
    r"(?:(?:clearly|definitely|certainly|surely|likely|most likely|probably|simply|therefore|thus|"
    r"then|hence|indeed|just|an?|obviously|in fact|for this (?:pair|question|case|gene))[\s,:]+)"
    r"{0,3}\(?\s*"
)
_LEAD: Final = (
    r"(?:(?:so|thus|hence|therefore|consequently|overall|and|then|finally|in conclusion|"
    r"to conclude|in summary|(?:i|we) (?:conclude|think|believe|say)|(?:i am|im|we are) (?:sure|"
    r"certain|confident)|(?:it )?follows|which means|meaning|it is clear|that)[\s,:]+)"
)
_SUBJECT: Final = (
    r"(?:(?:the|my|our) )?(?:(?:final|correct|overall|right|best) )?"
    r"(?:answer|conclusion|verdict)(?: (?:here|then|to this|to the question))?"
)
_END: Final = r"(?!\w)\s*(?:$|[,;:(–—]|-+\s|\b(?:because|since|as|given|for|due)\b)"
_TURN: Final = re.compile(
    r"\b(?:but|however|although|though|yet|still|actually|wait|instead|except|nevertheless|"
    r"nonetheless|only|rather|unless|then again|on the other hand|looking deeper|or|"
    r"indirect(?:ly)?)\b"
)
_DOUBT: Final = re.compile(
    r"\b(?:if|unless|otherwise|whether|would be|could|might|may|seems?|at first|first glance|"
    r"naive(?:ly)?|initially|prior|suppose|assuming|either|wants?|asks?|prompt|says|said|supposed|(?:in)?direct(?:ly)?)\b"
)


_CLAUSE: Final = re.compile(
    rf"(?:^|[,;:(–—]|-\s|\b(?:so|thus|hence|therefore|that)\b)[\s\-#]*{_LEAD}{{0,4}}(?:"
    rf"{_SUBJECT}\s*(?:is|must be|should be|has to be|remains|:|=)\s*:?\s*"
    rf"|(?:i|we) (?:would |will |must |should )?"
    rf"(?:therefore )?(?:answer|conclude)(?: with)?:?\s+"
    rf"){_ADVERB}$"
)
"""What stands before a class, from where a clause begins, where the clause states the answer."""
_ENDS: Final = re.compile(_END)
"""What stands behind a class that ends its clause."""


class _Grammar(NamedTuple):
    """Plain strings: prompts bring options of their own, and expressions take long to compile."""

    others: tuple[str, ...]
    """The forms of the other classes, longest first."""
    own: tuple[str, ...]
    """Those of the answer's."""
    bare: re.Pattern[str] | None
    """A whole sentence that is a conclusion; None where the classes are not yes and no."""


@functools.lru_cache(maxsize=1024)
def _grammar(vocabulary: Vocabulary, label: str) -> _Grammar:
    forms = sorted(vocabulary.forms, key=len, reverse=True)
    others = tuple(form for form in forms if vocabulary.forms[form] != label)
    own = tuple(form for form in forms if vocabulary.forms[form] == label)
    return _Grammar(others, own, _bare(tuple(form for form in others if form in ("yes", "no"))))


@functools.lru_cache(maxsize=8)
def _bare(verdicts: tuple[str, ...]) -> re.Pattern[str] | None:
    if not verdicts:
        return None
    return re.compile(
        rf"[\s\-#]*(?:{_LEAD}{{1,4}}(?:(?:it|this) (?:is|must be) )?"
        rf"|(?:(?:it|this) )?must be |(?:definitely|certainly|clearly|surely|final)[\s,:]+)"
        rf"{_ADVERB}(?:{'|'.join(verdicts)})(?!\w)\s*(?:$|\b(?:because|since)\b)"
    )


@functools.lru_cache(maxsize=1024)
def _token(form: str) -> re.Pattern[str]:
    """Begins with the literal, which the engine jumps to; "_no_" is markup."""
    escaped = re.escape(form)
    return re.compile(rf"{escaped}(?<![^\W_]{escaped})(?![^\W_])")


def _names(text: str, forms: tuple[str, ...]) -> bool:
    """Whether one of these stands in a text as a token."""
    for form in forms:  # noqa: SIM110 - as a generator it costs twice as much
        if form in text and _token(form).search(text):
            return True
    return False


def contradicts(think: str, label: str, vocabulary: Vocabulary) -> bool:
    """Whether the end of the reasoning concludes another class than ``label``; see the module."""
    if len(vocabulary.forms) > _MANY:
        return False
    tail = think[-_TAIL:].lower()
    grammar = _grammar(vocabulary, label)
    if grammar.bare is None and not _cued(tail):
        return False
    if not _names(tail, grammar.others):
        return False
    sentences = _sentences(tail, whole=len(think) <= _TAIL)
    if not sentences:
        return False
    asked = len(sentences) > 1 and sentences[-2].endswith("?")
    last = sentences[-1]
    if grammar.bare is not None and not asked and grammar.bare.match(last.rstrip(".! ")):
        return not (_names(last, grammar.own) or _DOUBT.search(last))
    if _states(last, grammar):
        return True
    replied = len(sentences) > 2 and sentences[-3].endswith("?")
    if len(sentences) < 2 or replied or _names(last, grammar.own) or _TURN.search(last):
        return False
    return _states(sentences[-2], grammar)


def _sentences(tail: str, whole: bool) -> list[str]:
    """The last three sentences, markup taken away and stops kept; a cut one is left out."""
    pieces = _SENTENCE.split(_LABELLED.sub(": ", _LATEX.sub("", tail)))
    pieces.append("")
    sentences = [
        " ".join((text + stop).translate(_MARKUP).split())
        for text, stop in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    return [sentence for sentence in sentences[not whole :] if sentence.strip(" .!?#-")][-3:]


def _cued(text: str) -> bool:
    """Whether a text has one of the words without which ``_CLAUSE`` finds nothing."""
    return "answer" in text or "conclu" in text or "verdict" in text


def _states(sentence: str, grammar: _Grammar) -> bool:
    """Whether a sentence states that the answer is another class."""
    if not _cued(sentence) or sentence.endswith("?") or _names(sentence, grammar.own):
        return False
    stop = _stated(sentence.rstrip(".! "), grammar.others)
    return stop is not None and not (
        _DOUBT.search(sentence, 0, stop) or _TURN.search(sentence, stop)
    )


def _stated(sentence: str, forms: tuple[str, ...]) -> int | None:
    """Where the first clause ends that states one of these as the answer; None where none does."""
    first: tuple[int, int] | None = None
    for form in forms:
        at = sentence.find(form)
        while at >= 0 and (first is None or at < first[0]):
            ends = _ENDS.match(sentence, at + len(form))
            if ends is not None and _CLAUSE.search(sentence, 0, at):
                first = at, ends.end()
            at = sentence.find(form, at + 1)
    return None if first is None else first[1]
