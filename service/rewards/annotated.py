"""What annotations say of a gene, as text: names of its terms, and which terms a text names.

Genes are found by their current symbol, whatever the annotation file calls them. Aspects are the
namespaces of GO (``worldmodels.ontology.ASPECTS``). A text names a term where the words of its name
stand in it one after another (letter case, punctuation and hyphens aside) in a sentence that denies
nothing. Names of one word count too ("nucleus"), or listing them all would be free; the price is
that prose which says "transport" of a gene that transports nothing claims it. Immutable, and safe
to share between threads.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from service.rewards.texts import negated
from worldmodels.genes import GeneResolver
from worldmodels.ontology import ASPECTS, Annotations, Ontology

_WORDS: Final = re.compile(r"[^\W_]+")
_SENTENCES: Final = re.compile(r"[.!?;]+(?=\s|$)|\n+")
REFERENCE: Final = 300
"""Words of a reference text; a gene with more annotations is told by its most specific ones."""
COMMON: Final = 10
"""Terms of the text that fits most genes."""


class AnnotatedGenes:
    """An ontology and its annotations, by current symbol."""

    def __init__(self, ontology: Ontology, annotations: Annotations, genes: GeneResolver) -> None:
        """Index the annotations by the symbols that ``genes`` makes of their names."""
        self.ontology = ontology
        self.information = ontology.information(annotations)
        found: dict[str, frozenset[str]] = {}
        for gene, terms in annotations.terms_of.items():
            symbol = genes.canonical(gene)
            found[symbol] = found.get(symbol, frozenset()) | (terms - ontology.roots)
        self._terms_of = found
        self._names = _names(ontology)
        self._common = _common(ontology, found)
        self._baseline = functools.lru_cache(maxsize=65_536)(self._best_of_common)

    def terms(self, symbol: str, aspect: str = "all") -> tuple[str, ...]:
        """A gene's direct annotations in an aspect, most specific first, roots left out."""
        terms = self._terms_of.get(symbol, frozenset())
        if aspect != "all":
            namespace = ASPECTS[aspect]
            terms = frozenset(t for t in terms if self.ontology.terms[t].namespace == namespace)
        return tuple(sorted(terms, key=lambda term: (-self.information[term], term)))

    def reference(self, terms: tuple[str, ...]) -> str:
        """The names of terms as one text of at most ``REFERENCE`` words."""
        count = 0
        names: list[str] = []
        for term in terms:
            name = self.ontology.terms[term].name
            count += len(_WORDS.findall(name))
            if names and count > REFERENCE:
                break
            names.append(name)
        return "; ".join(names)

    def common(self, aspect: str = "all") -> tuple[str, ...]:
        """The terms that most genes have in an aspect, commonest first."""
        return self._common[aspect]

    def figure(self, text: str, symbol: str, aspect: str) -> float:
        """Share of a gene's terms that a text names, times the share of right ones in it.

        Right are the gene's own terms, wrong those that neither are nor lie above or in another
        aspect of the gene; ancestors count for nothing.
        """
        terms = self.terms(symbol, aspect)
        sentences = [tuple(words(part)) for part in _SENTENCES.split(text) if not negated(part)]
        joined = "\n".join(f" {' '.join(sentence)} " for sentence in sentences)
        named = [
            term
            for term in terms
            if f" {' '.join(words(self.ontology.terms[term].name))} " in joined
        ]
        others = {term for sentence in sentences for term in self._named(sentence)}
        return self._share(named, others, symbol, terms)

    def baseline(self, symbol: str, aspect: str) -> float:
        """The best ``figure`` of a text that lists the commonest terms and knows nothing."""
        return self._baseline(symbol, aspect)

    def _best_of_common(self, symbol: str, aspect: str) -> float:
        names = [self.ontology.terms[term].name for term in self.common(aspect)]
        lists = ("; ".join(names[:count]) for count in range(1, len(names) + 1))
        return max([self.figure(text, symbol, aspect) for text in lists], default=0.0)

    def _share(
        self, named: list[str], listed: set[str], symbol: str, terms: tuple[str, ...]
    ) -> float:
        if not named:
            return 0.0
        own = self._terms_of[symbol]
        wrong = listed - own - self.ontology.propagated(own) - self.ontology.roots
        return len(named) / len(terms) * len(named) / (len(named) + len(wrong))

    def _named(self, sentence: tuple[str, ...]) -> Iterator[str]:
        """Terms whose names stand in a sentence; the longest name wins."""
        at = 0
        while at < len(sentence):
            width = min(self._names.longest.get(sentence[at], 0), len(sentence) - at)
            while width >= 1:
                term = self._names.terms.get(sentence[at : at + width])
                if term is not None:
                    yield term
                    break
                width -= 1
            at += max(width, 1)


class _Names:
    """Names as words, and for the first word of a name how long one can be."""

    def __init__(self) -> None:
        self.terms: dict[tuple[str, ...], str] = {}
        self.longest: dict[str, int] = {}


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return _WORDS.findall(text.lower())


@functools.lru_cache(maxsize=8)
def _names(ontology: Ontology) -> _Names:
    made = _Names()
    for term_id, term in ontology.terms.items():
        name = tuple(words(term.name))
        if name:
            made.terms.setdefault(name, term_id)
            made.longest[name[0]] = max(made.longest.get(name[0], 0), len(name))
    return made


def _common(
    ontology: Ontology, terms_of: Mapping[str, frozenset[str]]
) -> Mapping[str, tuple[str, ...]]:
    counts = Counter(term for terms in terms_of.values() for term in terms)
    ranked = sorted(counts, key=lambda term: (-counts[term], term))
    made = {"all": tuple(ranked[:COMMON])}
    for aspect, namespace in ASPECTS.items():
        mine = [term for term in ranked if ontology.terms[term].namespace == namespace]
        made[aspect] = tuple(mine[:COMMON])
    return made


@functools.lru_cache(maxsize=8)
def annotated(ontology: Ontology, annotations: Annotations, genes: GeneResolver) -> AnnotatedGenes:
    """One index for all judges that look up the same."""
    return AnnotatedGenes(ontology, annotations, genes)
