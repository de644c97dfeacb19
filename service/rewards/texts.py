"""How much of a reference a text says: ROUGE with the guards that a reward needs.

F-measure of ROUGE-N or ROUGE-L (Lin 2004) as the package ``rouge-score`` computes it, Porter
stems, never recall alone. Around it:

* polarity: a sentence whose nearest sentence of the reference (by shared stems) is negated where it
  is not, or the other way round, counts as words that match nothing: "CALR is NOT a chaperone"
  says nothing of what "CALR is a chaperone" says;
* length: a text of more than ``longest`` times the reference's words (at least ``LEAST`` counted)
  scores 0, so that repeating and listing end;
* boilerplate: with b the best that a text earns which says nothing of the subject (``BOILERPLATE``,
  the question itself, what the caller adds), score = max(0, (f − b)/(1 − b)).

Pure, and bounded: at most ``MOST`` words a side, about 0.08 s, well within a budget. To be called
as work. Limits: letters and digits of ASCII only, as in ``rouge-score``; negation is found by word,
in English; who says "the contrary of the following holds" in a sentence of its own is missed.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Literal

Measure = Literal["rouge1", "rouge2", "rouge3", "rougeL"]
MOST: Final = 500
LEAST: Final = 12
_WORDS: Final = re.compile(r"[a-z0-9]+")
_SENTENCES: Final = re.compile(r"[.!?;]+(?=\s|$)|\n+")
_NEGATED: Final = re.compile(
    r"\b(?:not(?! only\b)|no|never|none|neither|nor|without|cannot|lack(?:s|ing)?|absent|false|"
    r"untrue|incorrect|wrong(?:ly)?|unrelated|uninvolved|unlikely|hardly|fails?|den(?:y|ies)|"
    r"contrary|irrelevant|myth)\b|n['’]t\b",
    re.IGNORECASE,
)
_BEYOND: Final = re.compile(r"[^\x00-\x7f]")
_NOTHING: Final = "-"  # a word that no text has: hyphens part words
BOILERPLATE: Final = (
    "This gene encodes a protein that plays an important role in various cellular processes.",
    "The protein is involved in the regulation of many biological processes and signaling pathways "
    "and is essential for normal cell function.",
    "It is a protein coding gene that is expressed in many tissues and located in the cytoplasm "
    "and the nucleus, and is associated with several diseases.",
    "This is a complex question that depends on the cell type and context; further research is "
    "needed to understand the mechanism.",
    "The treatment changes the expression of genes and the activity of pathways in the cell.",
)
"""Sentences that fit every gene and hence say nothing of one."""


def words(text: str) -> list[str]:
    """The words that count, before stemming; to measure length."""
    return _WORDS.findall(text.lower())


def plain(text: str) -> str:
    """A text as it is compared: ASCII, so that it travels whatever the policy wrote."""
    return text if text.isascii() else _BEYOND.sub(" ", text.replace("\u2019", "'"))


def corrected(
    measure: Measure,
    text: str,
    references: Sequence[str],
    boilerplate: Sequence[str] = (),
    longest: float = 4.0,
) -> float:
    """The score of a text against the best of several references, in [0, 1].

    Args:
        measure: which ROUGE.
        text: what was said.
        references: what should have been said, each of 1 to ``MOST`` words.
        boilerplate: texts that say nothing, beside ``BOILERPLATE``.
        longest: how many times the reference's words a text may have.
    """
    f_measure = _f_measure(measure)
    nothing = (*BOILERPLATE, *boilerplate)
    return max(
        (_corrected(text, one, nothing, longest, f_measure) for one in references), default=0.0
    )


def each_corrected(
    measure: Measure, rows: Sequence[tuple[str, str, Sequence[str]]], longest: float = 4.0
) -> tuple[float | None, ...]:
    """``corrected`` of each (text, reference, boilerplate); None where boilerplate says it all."""
    f_measure = _f_measure(measure)
    made: list[float | None] = []
    for text, reference, boilerplate in rows:
        nothing = (*BOILERPLATE, *boilerplate)
        vacuous = _baseline(reference, nothing, longest, f_measure) >= 1.0
        made.append(None if vacuous else _corrected(text, reference, nothing, longest, f_measure))
    return tuple(made)


def above(figure: float, baseline: float) -> float:
    """What a figure is worth beyond a baseline: 0 at it, 1 at 1."""
    return 0.0 if baseline >= 1.0 else max(0.0, (figure - baseline) / (1.0 - baseline))


def _corrected(
    text: str,
    reference: str,
    nothing: Sequence[str],
    longest: float,
    f_measure: Callable[[str, str], float],
) -> float:
    if not within(text, reference, longest):
        return 0.0
    return above(f_measure(reference, text), _baseline(reference, nothing, longest, f_measure))


def _baseline(
    reference: str, nothing: Sequence[str], longest: float, f_measure: Callable[[str, str], float]
) -> float:
    return max(
        [f_measure(reference, one) for one in nothing if within(one, reference, longest)],
        default=0.0,
    )


def within(text: str, reference: str, longest: float) -> bool:
    """Whether a text is of a length that an honest one may have."""
    count = len(words(text))
    return count <= MOST and count <= longest * max(len(words(reference)), LEAST)


def _f_measure(measure: Measure) -> Callable[[str, str], float]:
    """ROUGE of (reference, text), polarity heeded."""
    from rouge_score import rouge_scorer, tokenizers

    tokenize = tokenizers.DefaultTokenizer(use_stemmer=True).tokenize
    stems = functools.lru_cache(maxsize=4096)(lambda text: tuple(tokenize(text)))
    scorer = rouge_scorer.RougeScorer([measure], tokenizer=_AsTheyStand())

    def figure(reference: str, text: str) -> float:
        said = " ".join(_polarised(text, reference, stems))
        return float(scorer.score(" ".join(stems(reference)), said)[measure].fmeasure)

    return figure


class _AsTheyStand:
    """Words that were made already, for ``rouge-score``."""

    def tokenize(self, text: str) -> list[str]:
        return text.split()


def _polarised(text: str, reference: str, stems: Callable[[str], tuple[str, ...]]) -> list[str]:
    """The stems of a text, those of sentences with the wrong polarity blanked out."""
    denied: list[bool] = []
    holders: dict[str, dict[int, int]] = {}  # stem → sentence of the reference → how often
    for place, sentence in enumerate(_SENTENCES.split(reference)):
        denied.append(negated(sentence))
        for stem, count in Counter(stems(sentence)).items():
            holders.setdefault(stem, {})[place] = count
    found: list[str] = []
    for sentence in _SENTENCES.split(text):
        mine = stems(sentence)
        shared: Counter[int] = Counter()
        if any(one != negated(sentence) for one in set(denied)):
            for stem, count in Counter(mine).items():
                for place, others in holders.get(stem, {}).items():
                    shared[place] += min(count, others)
        most = max(shared.values(), default=0)
        polarities = {denied[place] for place, count in shared.items() if count == most}
        turned = bool(polarities) and negated(sentence) not in polarities
        found += [_NOTHING] * len(mine) if turned else mine
    return found


def negated(sentence: str) -> bool:
    """Whether an English sentence denies something."""
    return _NEGATED.search(sentence) is not None
