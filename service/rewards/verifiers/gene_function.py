"""What a completion says of the genes in question, against their annotations (rbio's source GO).

Each gene has its own section, ``<gene_info>CALR: …</gene_info>``: a section is of the gene of the
task that it names first, under any of its names. By ``measure``, with t the section's text:

* ``keywords``: annotations (names of GO terms) that stand in t / annotations of the gene, as rbio
  has it, times the share of right terms among all that t names, so that listing the ontology ends;
* ``rouge2``, ``rougeL``: F-measure of t against the gene's joined annotations, most specific first
  (rbio: ROUGE-1/2/L; ``rouge1`` may be shown and never earns, see ``text``).

Of each the boilerplate is taken off, (f − b)/(1 − b): b is what the commonest annotations earn as a
text, which fit most genes and need no knowledge of this one. Sentences that deny, texts longer than
``longest`` times the annotations and genes without a section earn nothing.

The score is the mean over the genes of the task; genes without annotations in the aspect are left
out, and where none has any there is no opinion (NO_ANNOTATION, or why no gene is known). It is the
same for every completion of an item. What is not covered: statements in other words than the
ontology's, and truths that nobody annotated: a right term that is not annotated counts as wrong.
rbio's likelihood of a GO sentence under the policy is the same for every completion of a prompt,
hence no advantage, and is not served.
"""

from __future__ import annotations

import functools
import re
from typing import Annotated, Any, Literal

import msgspec

from service.rewards.annotated import AnnotatedGenes, annotated
from service.rewards.core import (
    REASON_OF_STATUS,
    Answer,
    Component,
    Finding,
    Item,
    Reason,
    Verdict,
    Work,
)
from service.rewards.errors import ProfileFault
from service.rewards.forms import Form
from service.rewards.library import Library
from service.rewards.tasks import GeneFunction
from service.rewards.texts import above, plain, within
from service.rewards.verifiers.judge import Fault
from service.rewards.verifiers.looked_up import LookingJudge
from service.rewards.verifiers.mention import names_of
from service.rewards.verifiers.text import refuse_salad
from worldmodels.core import Status
from worldmodels.ontology import ASPECTS
from worldmodels.ontology_genes import doubt

MAX_GENES = 16


class GeneFunctionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``gene_function`` component."""

    measure: Literal["keywords", "rouge1", "rouge2", "rougeL"] = "keywords"
    """keywords | rouge2 | rougeL, and rouge1 where it is shown only."""
    aspect: Literal["C", "F", "P", "all"] | None = None
    """GO aspect (cellular component, molecular function, biological process); without it that of
    a gene.function task, else all."""
    knowledge: str = "go"
    """Ontology with annotations by gene symbol, as ``[knowledge.NAME]``."""
    section: str = "gene_info"
    """The block that holds a gene's text; it must be among ``sections`` of ``[extract]``."""
    longest: Annotated[float, msgspec.Meta(ge=1.0, le=20.0)] = 4.0
    """How many times the annotations' words a gene's text may have; longer ones earn nothing."""


class GeneFunctionJudge(LookingJudge):
    """Agreement of the genes' sections with their annotations, in [0, 1]."""

    Options = GeneFunctionOptions
    tasks = (
        "perturbation.de",
        "perturbation.dir",
        "gene.function",
        "gene.coexpression",
        "gene.interaction",
        "gene.similarity",
    )
    works = True

    def __init__(self, name: str, weight: float, options: GeneFunctionOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        refuse_salad(options.measure, weight)
        if not options.section:
            raise ProfileFault("section: name the block that holds a gene's text")
        self.genes = library.genes
        self.look_up_in(options.knowledge, library, annotated=True)
        known = self.known
        self._known: AnnotatedGenes | None = None
        self._doubt: str | None = None
        if known is not None and known.annotations is not None:
            self._known = annotated(known.ontology, known.annotations, library.genes)
            self._doubt = doubt(known.annotations, library.genes)
        self._pattern = functools.lru_cache(maxsize=16_384)(self._pattern_of)

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_ITEM for a task without genes."""
        genes = genes_of(item)
        if not 1 <= len(genes) <= MAX_GENES or not all(gene.strip() for gene in genes):
            return Reason.BAD_ITEM, f"task: expected 1 to {MAX_GENES} genes, each with a name"
        return None

    def work(self, item: Item, answer: Answer) -> Work | None:
        """The comparison of texts; keywords are found without."""
        if self.options.measure == "keywords" or self._known is None:
            return None
        aspect = self._aspect(item)
        known = self._known
        nothing = (plain(known.reference(known.common(aspect))),)
        rows = tuple(
            (plain(text), plain(known.reference(known.terms(symbol, aspect))), nothing)
            for symbol, text in self._texts(item, answer, aspect)
        )
        if not rows:
            return None
        arguments = (self.options.measure, rows, self.options.longest)
        return Work("service.rewards.texts:each_corrected", arguments)

    def score_finding(self, item: Item, answer: Answer, finding: Finding) -> Component:
        """The mean over genes of what the comparison gave."""
        if finding.reason is not Reason.OK:
            return self.told(self.missing(finding.reason))
        return self._mean([score for score in finding.value if score is not None])

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """The mean over genes by keywords; no opinion where no gene has annotations."""
        aspect = self._aspect(item)
        texts = self._texts(item, answer, aspect)
        if not texts or self._known is None:
            return self.told(self.missing(self._unknown(item)))
        known = self._known
        scores = []
        for symbol, text in texts:
            baseline = known.baseline(symbol, aspect)
            if baseline < 1.0:
                reference = known.reference(known.terms(symbol, aspect))
                short = within(text, reference, self.options.longest)
                figure = known.figure(text, symbol, aspect) if short else 0.0
                scores.append(above(figure, baseline))
        return self._mean(scores)

    def _mean(self, scores: list[float]) -> Component:
        if not scores:  # what there is to say of these genes is what fits any
            return self.told(self.missing(Reason.LOW_CONFIDENCE))
        return self.told(Component(self.name, sum(scores) / len(scores), self.weight))

    def remark(self, item: Item, component: Component) -> str | None:
        """Which genes the annotations say nothing of, where that is why there is no opinion."""
        if component.status != Reason.NO_ANNOTATION.value:
            return None
        names = ", ".join(dict.fromkeys(self.genes.resolve(gene)[0] for gene in genes_of(item)))
        aspect = self._aspect(item)
        within = "" if aspect == "all" else f" in aspect {aspect} ({ASPECTS[aspect]})"
        said = f"{self.name}: the annotations of [knowledge.{self.options.knowledge}] say nothing"
        made = f"{said} of {names}{within}"
        return f"{made}; {self._doubt}" if self._doubt else made

    def _aspect(self, item: Item) -> str:
        if self.options.aspect is not None:
            return self.options.aspect
        return item.task.aspect if isinstance(item.task, GeneFunction) else "all"

    def _unknown(self, item: Item) -> Reason:
        """Why nothing is known of any gene of the item."""
        statuses = [self.genes.resolve(gene)[1] for gene in genes_of(item)]
        if Status.OK in statuses:
            return Reason.NO_ANNOTATION
        return REASON_OF_STATUS[statuses[0]]

    def _texts(self, item: Item, answer: Answer, aspect: str) -> list[tuple[str, str]]:
        """Each annotated gene's symbol with what its sections say, "" where it has none."""
        names = dict.fromkeys(self.genes.resolve(gene)[0] for gene in genes_of(item))
        said: dict[str, list[str]] = {symbol: [] for symbol in names}
        for name, text in answer.sections:
            if name == self.options.section and (found := self._subject(text, list(names))):
                symbol, start, end = found
                said[symbol].append(text[:start] + text[end:])
        known = self._known
        return [
            (symbol, "\n".join(texts))
            for symbol, texts in said.items()
            if known is not None and known.terms(symbol, aspect)
        ]

    def _subject(self, text: str, symbols: list[str]) -> tuple[str, int, int] | None:
        """The gene that a section names first, and where."""
        found = [
            (match.start(), -match.end(), symbol)
            for symbol in symbols
            for pattern in self._pattern(symbol)
            if (match := pattern.search(text))
        ]
        if not found:
            return None
        start, end, symbol = min(found)
        return symbol, start, -end

    def _pattern_of(self, symbol: str) -> tuple[re.Pattern[str], ...]:
        """What finds a gene's names: those that stand as written, and those in any letter case."""
        names = names_of(symbol, self.genes)
        made = []
        for forms, flags in ((names.verbatim, 0), (names.folded, re.IGNORECASE)):
            if forms:
                longest_first = sorted(forms, key=len, reverse=True)
                either = "|".join(re.escape(form) for form in longest_first)
                made.append(re.compile(rf"(?<![^\W_])(?:{either})(?![^\W_])", flags))
        return tuple(made)


def genes_of(item: Item) -> list[str]:
    """The genes of a task, in order: the perturbed ones first."""
    task: Any = item.task
    if isinstance(task, GeneFunction):
        return list(task.genes)
    if hasattr(task, "genes"):
        return list(task.genes)
    perturbed = task.perturbation
    together = "+".join(perturbed) if isinstance(perturbed, list) else perturbed
    return [*(part.strip() for part in together.split("+")), task.gene]
