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


class _Grammar(NamedTuple):
    stated: re.Pattern[str]
    """A clause that states the answer, anywhere a clause begins."""
    bare: re.Pattern[str] | None
    """A whole sentence that is a conclusion; None where the classes are not yes and no."""
    others: tuple[tuple[str, re.Pattern[str]], ...]
    """Each form of another class, with the expression that finds it as a token."""
    own: re.Pattern[str]
    """The answer's class as a token."""


@functools.lru_cache(maxsize=1024)
def _grammar(vocabulary: Vocabulary, label: str) -> _Grammar:
    forms = vocabulary.forms.items()
    others = tuple(form for form, named in forms if named != label)
    own = [form for form, named in forms if named == label]
    claim = rf"(?:{_any(others)}){_END}"
    stated = (
        rf"(?:^|[,;:(–—]|-\s|\b(?:so|thus|hence|therefore|that)\b)[\s\-#]*{_LEAD}{{0,4}}(?:"
        rf"{_SUBJECT}\s*(?:is|must be|should be|has to be|remains|:|=)\s*:?\s*"
        rf"|(?:i|we) (?:would |will |must |should )?"
        rf"(?:therefore )?(?:answer|conclude)(?: with)?:?\s+"
        rf"){_ADVERB}{claim}"
    )
    verdicts = [name for name in others if name in ("yes", "no")]
    bare = (
        rf"[\s\-#]*(?:{_LEAD}{{1,4}}(?:(?:it|this) (?:is|must be) )?"
        rf"|(?:(?:it|this) )?must be |(?:definitely|certainly|clearly|surely|final)[\s,:]+)"
        rf"{_ADVERB}(?:{_any(verdicts)})(?!\w)\s*(?:$|\b(?:because|since)\b)"
    )
    return _Grammar(
        re.compile(stated),
        re.compile(bare) if verdicts else None,
        tuple((form, _token(form)) for form in others),
        re.compile(rf"(?<!\w)(?:{_any(own)})(?!\w)"),
    )


def _token(form: str) -> re.Pattern[str]:
    """Begins with the literal, which the engine jumps to; "_no_" is markup."""
    escaped = re.escape(form)
    return re.compile(rf"{escaped}(?<![^\W_]{escaped})(?![^\W_])")


def _any(forms: tuple[str, ...] | list[str]) -> str:
    return "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))


def contradicts(think: str, label: str, vocabulary: Vocabulary) -> bool:
    """Whether the end of the reasoning concludes another class than ``label``; see the module."""
    if len(vocabulary.forms) > _MANY:
        return False
    tail = think[-_TAIL:].lower()
    grammar = _grammar(vocabulary, label)
    for form, token in grammar.others:
        if form in tail and token.search(tail):
            break
    else:
        return False
    sentences = _sentences(tail, whole=len(think) <= _TAIL)
    if not sentences:
        return False
    asked = len(sentences) > 1 and sentences[-2].endswith("?")
    last = sentences[-1]
    if grammar.bare is not None and not asked and grammar.bare.match(last.rstrip(".! ")):
        return not (grammar.own.search(last) or _DOUBT.search(last))
    if _states(last, grammar):
        return True
    replied = len(sentences) > 2 and sentences[-3].endswith("?")
    if len(sentences) < 2 or replied or grammar.own.search(last) or _TURN.search(last):
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


def _states(sentence: str, grammar: _Grammar) -> bool:
    """Whether a sentence states that the answer is another class."""
    if sentence.endswith("?") or grammar.own.search(sentence):
        return False
    found = grammar.stated.search(sentence.rstrip(".! "))
    return found is not None and not (
        _DOUBT.search(sentence, 0, found.end()) or _TURN.search(sentence, found.end())
    )
