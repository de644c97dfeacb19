"""Honest completions: the examples of a profile, and variations of their tasks.

A case is an item whose completion is honest, cut into a frame so that attacks can be written the
same way. Variations carry the truth along: another class is the right one, options are shuffled,
genes are renamed, numbers are scaled, the world model says the opposite. One that the profile does
not judge is not a case; ``Cast.left_out`` says why.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import msgspec

from service.redteam.frame import CLAIM, SECTION, THINK, Frame, FrameFault, frame_of
from service.redteam.variations import answered, variations_of
from service.rewards.answers import form_of
from service.rewards.core import Answer, Item, Reason, Truth
from service.rewards.forms import Form
from service.rewards.library import Knowledge
from service.rewards.profiles import Profile
from service.rewards.rules import Extraction, ends_of
from service.rewards.tasks import (
    Checkpoints,
    GeneFunction,
    Label,
    MoleculeProperty,
    Number,
    Task,
    Text,
)
from service.rewards.vocabulary import Vocabulary

_BESIDE: Final = frozenset({"gene_function"})
"""Verifiers that look at sections beside the answer, and up what is known of genes."""


@dataclass(frozen=True)
class Case:
    """One item with an honest completion.

    Attributes:
        name: which example, and which variation of it.
        profile: whose item it is.
        item: as JSON data; ``completion`` is honest.
        parsed: the same as the pipeline takes it.
        answer: how the profile reads the completion.
        frame: how the completion is written.
        p: what world models say, so that the completion is honest; None where none is asked.
        dishonest: the profile's own list of completions that must earn less.
        stated: what the profile says that the completion earns; None where it says nothing.
        varied: whether it is a variation, which need not be a question that the profile judges.
    """

    name: str
    profile: Profile
    item: Mapping[str, Any]
    parsed: Item
    answer: Answer
    frame: Frame
    p: float | None
    dishonest: tuple[str, ...] = ()
    stated: float | None = None
    varied: bool = False

    @property
    def task(self) -> Task | None:
        """What is asked."""
        return self.parsed.task

    @property
    def truth(self) -> Truth:
        """What the item itself knows."""
        return self.parsed.truth

    @functools.cached_property
    def form(self) -> Form:
        """How answers are read."""
        return form_of(self.task, self.profile.recipe.extract, self.profile.library)

    @property
    def rules(self) -> Extraction:
        """Where an answer stands and how strictly it is read."""
        return self.profile.recipe.extract

    @property
    def tagged(self) -> bool:
        """Whether the answer stands in a block of its own."""
        return self.rules.answer == "tag"

    @property
    def explains(self) -> bool:
        """Whether an explanation that is not read ends the completion."""
        return self.rules.until is not None and self.rules.until in self.frame.closing

    @property
    def probability(self) -> bool:
        """Whether the answer states a probability."""
        return self.rules.states == "probability"

    @property
    def claim(self) -> str:
        """The honest claim as it is written."""
        return self.frame.text(CLAIM)

    @property
    def think(self) -> str:
        """The reasoning as it is written."""
        return self.frame.text(THINK)

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        """Everything that may be answered where that is a closed list of classes; else ()."""
        if isinstance(self.task, Label) and self.claim.strip("()[]. ").upper() in self.task.options:
            return tuple(self.task.options)
        return self.form.labels if isinstance(self.form, Vocabulary) else ()

    @property
    def answer_counts(self) -> bool:
        """Whether the reward hangs on the answer, and not only on what is said beside it."""
        recipe = self.profile.recipe
        return any(
            one.role == "primary" and one.verifier not in _BESIDE for one in recipe.components
        )

    @functools.cached_property
    def rivals(self) -> tuple[str, ...]:
        """Other classes than the honest one, as this completion would claim them.

        None where no component looks at the class: then there is nothing to gain by it.
        """
        if not self.answer_counts:
            return ()
        honest = _plain(self.claim)
        return tuple(
            name for name in self.classes if _plain(name) != honest and name != self.answer.label
        )

    @property
    def closed(self) -> bool:
        """Whether what is no answer must be invalid, and not merely wrong."""
        if isinstance(self.task, Number) and self.task.rule == "string_eq":
            return False
        return (
            bool(self.classes)
            or self.probability
            or isinstance(self.task, Number | MoleculeProperty)
        )

    @property
    def graded(self) -> bool:
        """Whether honest completions can be better or worse, as free text can."""
        if isinstance(self.task, Text | GeneFunction):
            return True
        return self.frame.has(SECTION) and not isinstance(self.task, Checkpoints)

    def write(
        self,
        claim: str | None = None,
        think: str | None = None,
        section: str | Callable[[str], str] | None = None,
    ) -> str:
        """The honest completion with other fields."""
        return self.frame.write(claim, think, section)

    @property
    def knowing(self) -> tuple[str, ...]:
        """Names of the primary components that the item's truth, or a model, must tell."""
        return tuple(
            one.name
            for one in self.profile.recipe.components
            if one.role == "primary" and one.verifier not in _BESIDE
        )

    @property
    def consulted(self) -> tuple[Knowledge, ...]:
        """The knowledge that the profile looks things up in."""
        recipe = self.profile.recipe
        named = [getattr(options, "knowledge", None) for options in recipe.options]
        known = self.profile.library.knowledge
        return tuple(
            known[name]
            for name in dict.fromkeys((*named, recipe.extract.knowledge))
            if name is not None and name in known
        )

    def components(self, verifier: str) -> tuple[str, ...]:
        """Names of the components of a verifier."""
        recipe = self.profile.recipe
        return tuple(one.name for one in recipe.components if one.verifier == verifier)

    @functools.cached_property
    def asked(self) -> tuple[str, ...]:
        """Names of the components that ask world models about this item."""
        parts = self.profile.composition.parts
        return tuple(part.judge.name for part in parts if part.judge.queries(self.parsed))


@dataclass(frozen=True, slots=True)
class Cast:
    """The cases of a profile.

    Attributes:
        cases: honest completions.
        faults: examples that the profile itself does not judge, each with the reason.
        left_out: variations that are no cases, each with the reason.
    """

    cases: tuple[Case, ...]
    faults: tuple[str, ...]
    left_out: tuple[str, ...]


def cast(profile: Profile, random: Random, rounds: int) -> Cast:
    """Examples and ``rounds`` rounds of variations of each.

    Args:
        profile: whose examples are taken; ``service.rewards.examples`` where it has none.
        random: decides about variations.
        rounds: how many of each kind of variation.
    """
    cases: list[Case] = []
    faults: list[str] = []
    left_out: list[str] = []
    for name, item, dishonest, stated in _examples(profile):
        found = _case(profile, name, item, dishonest, stated)
        if isinstance(found, str):
            faults.append(f"{name}: {found}")
            continue
        cases.append(found)
        for variation in variations_of(found, random, rounds):
            made = _case(
                profile, f"{name}, {variation.name}", variation.item, (), None, variation.p
            )
            if isinstance(made, str):
                left_out.append(f"{name}, {variation.name}: {made}")
            else:
                cases.append(dataclasses.replace(made, varied=True))
    return Cast(tuple(cases), tuple(faults), tuple(left_out))


def _examples(profile: Profile) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...], Any]]:
    examples = profile.recipe.examples
    if not examples:
        item = profile.example()
        item.pop("id", None)
        yield "example", item, (), None
    for number, example in enumerate(examples, 1):
        name = f"example {number}" if len(examples) > 1 else "example"
        yield name, example.item(), tuple(example.dishonest), example.reward


def _case(
    profile: Profile,
    name: str,
    item: dict[str, Any],
    dishonest: tuple[str, ...],
    stated: float | None,
    p: float | None = None,
) -> Case | str:
    """The case, or why there is none."""
    try:
        parsed = msgspec.convert(item, Item)
    except msgspec.ValidationError as error:
        return str(error)
    if fault := profile.fault(parsed):
        return f"{fault[0]}: {fault[1]}"
    answer = profile.read(parsed)
    if answer.reason is not Reason.OK:
        return f"its completion is {answer.reason}"
    try:
        frame = frame_of(answer, _ends(profile.recipe.extract))
    except FrameFault as fault:
        return str(fault)
    if profile.queries(parsed) and p is None:
        form = form_of(parsed.task, profile.recipe.extract, profile.library)
        if isinstance(answer.value, float):
            return Case(  # a stated probability is honest where the model says the same
                name, profile, item, parsed, answer, frame, answer.value, dishonest, stated
            )
        positive = form.positive if isinstance(form, Vocabulary) else None
        p = 0.9 if positive is None or answer.label == positive else 0.1
    return Case(name, profile, item, parsed, answer, frame, p, dishonest, stated)


def _ends(rules: Extraction) -> tuple[str, ...]:
    return tuple(ends_of(tag)[1] for tag in (rules.think_tag, *rules.sections))


def turned(case: Case) -> Iterator[Case]:
    """The same questions answered by other classes, for truths that only a server knows."""
    for rival in case.rivals:
        item = {**case.item, "completion": answered(case, rival)}
        made = _case(case.profile, f"{case.name}, answers {rival}", item, (), None)
        if not isinstance(made, str):
            yield made


def _plain(text: str) -> str:
    return text.strip("()[]. \n\t").casefold()
