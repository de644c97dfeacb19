"""Profiles: named, versioned recipes for a reward, and the pipeline's one way to use them.

The file format is documented in ``service.rewards.recipe``. A profile's digest covers everything
in its recipe that decides a reward, defaults included; the description and comments do not count.
What it does not cover, and a pin (``NAME@sha256:…``) therefore does not hold fast: the world models
asked and the knowledge looked up (each component of a result names their digests, and
``GET /v1/profiles/NAME`` those of its knowledge) and the gene tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from service.rewards import files, soundness
from service.rewards.answers import form_of, lacks
from service.rewards.compose import Composition, Part
from service.rewards.core import Answer, Finding, Item, Query, Reason, Result, Verdict, Work
from service.rewards.digests import digest_of, plain
from service.rewards.errors import ProfileFault
from service.rewards.examples import example_item
from service.rewards.explain import explain, judged
from service.rewards.extract import read
from service.rewards.forms import FormFault
from service.rewards.library import Library, distinct
from service.rewards.neutral import Neutral, neutral_of
from service.rewards.priors import Specs
from service.rewards.recipe import ComposeRecipe, Fault, Recipe, resolve
from service.rewards.verifiers import judge_class
from service.rewards.verifiers.asked import AskedOptions

__all__ = ["Profile", "ProfileFault", "build", "load_profiles", "pinned"]

NO_FINDINGS: Final[Mapping[int, Finding]] = {}
_UNSAID: Final = 'completion: missing; send the text, an empty one as "", or its messages'


@dataclass(frozen=True, slots=True)
class Profile:
    """A recipe ready to use. Immutable, and safe to share between threads.

    Attributes:
        name: the file's stem.
        version: as the file says.
        digest: ``sha256:…`` over the resolved recipe.
        description: one line.
        task_types: accepted task types; () accepts any, and items without a task.
        selectors: the (model selector, relation) pairs that it asks.
        range: least and greatest reward.
        lacks: what the server must be given first (knowledge, an extra), each with what to do.
        laborious: the components that may ask for work, by index.
    """

    name: str
    version: str
    digest: str
    description: str
    task_types: tuple[str, ...]
    selectors: tuple[tuple[str, str], ...]
    range: tuple[float, float]
    lacks: tuple[str, ...]
    laborious: tuple[int, ...]
    recipe: Recipe
    composition: Composition
    library: Library

    def fault(self, item: Item) -> tuple[Reason, str] | None:
        """What makes the item impossible to judge, whatever its completion says."""
        if item.completion is None:
            return Reason.BAD_ITEM, _UNSAID
        task = item.task
        if self.task_types:
            wanted = " or ".join(self.task_types)
            if task is None:
                message = f"task: missing; profile {self.name!r} needs a task of type {wanted}"
                return Reason.TASK_MISMATCH, message
            tag = task.__struct_config__.tag
            if tag not in self.task_types:
                message = f"task.type: {tag!r}, but profile {self.name!r} judges {wanted}"
                return Reason.TASK_MISMATCH, message
        try:
            form = form_of(task, self.recipe.extract, self.library)
            for part in self.composition.parts:
                found = part.judge.fault(item, form)
                if found is not None:
                    return found
        except FormFault as fault:
            return Reason.BAD_ITEM, str(fault)
        return None

    def read(self, item: Item) -> Answer:
        """What the completion claims, for an item that ``fault`` passes."""
        rules = self.recipe.extract
        return read(item, rules, form_of(item.task, rules, self.library))

    def queries(self, item: Item) -> tuple[Query, ...]:
        """The questions to world models, by the task alone."""
        found: tuple[Query, ...] = ()
        for part in self.composition.parts:
            found += part.judge.queries(item)
        return found

    def works(self, item: Item, answer: Answer) -> dict[int, Work]:
        """What must be computed under a budget before composing, by the component's index."""
        if answer.reason is not Reason.OK:
            return {}
        parts = self.composition.parts
        asked = ((index, parts[index].judge.work(item, answer)) for index in self.laborious)
        return {index: work for index, work in asked if work is not None}

    def compose(
        self,
        item: Item,
        answer: Answer,
        verdicts: Sequence[Verdict],
        findings: Mapping[int, Finding] = NO_FINDINGS,
    ) -> Result:
        """The reward.

        Args:
            item: what ``fault`` passes.
            answer: what ``read`` gave.
            verdicts: answers to ``queries(item)``; () will do for an invalid answer.
            findings: what came of ``works(item, answer)``, by the same keys.
        """
        if answer.reason is not Reason.OK:
            result = self.composition.invalid(item, answer)
            form = form_of(item.task, self.recipe.extract, self.library)
            result.message = explain(item, answer, self.recipe.extract, form)
            return result
        components = []
        at = 0
        for index, part in enumerate(self.composition.parts):
            judge = part.judge
            end = at + judge.asks(item)
            if index in findings:
                components.append(judge.score_finding(item, answer, findings[index]))
            else:
                components.append(judge.score(item, answer, tuple(verdicts[at:end])))
            at = end
        if at != len(verdicts):
            raise ValueError(f"{len(verdicts)} verdicts for {at} queries")
        result = self.composition.result(item, answer, components)
        parts = self.composition.parts
        if findings and result.status in ("error", "invalid"):
            told = (parts[index].judge.explain(found) for index, found in findings.items())
            result.message = "; ".join(filter(None, told)) or None
        if result.status == "invalid" and not findings:
            result.message = judged(parts, result.components, answer.claimed)
        return result

    def failed(self, item_id: str | int | None, reason: Reason, message: str) -> Result:
        """The result of an item that cannot be judged: every component named and none scored."""
        return self.composition.failed(item_id, reason, message)

    def with_model(self, model: str) -> Profile:
        """The same recipe with its soft components bound to one served model by name.

        Hard components (measured effects) keep theirs, unless the profile has no other.

        Raises:
            ProfileFault: the profile asks no world model, or wants more than one family.
        """
        options = self.recipe.options
        asked = [made for made in options if isinstance(made, AskedOptions)]
        soft = [made for made in asked if made.score != "hard"] or asked
        if not soft:
            raise ProfileFault(
                f"profile {self.name!r} asks no world model, so it cannot be bound to {model!r}"
            )
        bound = tuple(
            msgspec.structs.replace(made, model=model) if any(made is one for one in soft) else made
            for made in options
        )
        recipe = msgspec.structs.replace(self.recipe, options=bound)
        try:
            return build(self.name, recipe, self.library)
        except Fault as fault:
            message = f"profile {self.name!r} cannot be bound to {model!r}: {fault.message}"
            raise ProfileFault(message) from None

    def neutral(self, specs: Specs) -> Neutral:
        """What stands in for a reward that there is none of, by the models that are served."""
        return neutral_of(self.composition, self.range, self.recipe.compose.neutral, specs)

    def describe(self, specs: Specs = lambda *_: ()) -> dict[str, object]:
        """For ``GET /v1/profiles/{name}``: the resolved recipe and a request that works."""
        return {
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "description": self.description,
            "task_types": list(self.task_types),
            "range": list(self.range),
            **self.neutral(specs).described(),
            "models": [
                {"model": model, "relation": relation} for model, relation in self.selectors
            ],
            "lacks": list(self.lacks),
            "recipe": plain(self.recipe),
            "example": {"profile": self.name, "items": [self.example()]},
        }

    def knowledge_named(self) -> list[str]:
        """The knowledge that it looks up, as ``[knowledge.NAME]``."""
        tables: list[object] = [self.recipe.extract, *self.recipe.options]
        named = (getattr(table, "knowledge", None) for table in tables)
        return [name for name in dict.fromkeys(named) if isinstance(name, str)]

    @property
    def models(self) -> tuple[str, ...]:
        """Every model selector that it may ask, those included that a truth can stand in for."""
        options = self.recipe.options
        return tuple(made.model for made in options if isinstance(made, AskedOptions))

    def example(self) -> dict[str, object]:
        """One item that this profile judges, as JSON data."""
        if self.recipe.examples:
            return {"id": "example-1", **self.recipe.examples[0].item()}
        kinds = {part.judge.truth for part in self.composition.parts}
        truth: Literal["soft", "hard"] | None = "hard" if "hard" in kinds else None
        truth = "soft" if "soft" in kinds else truth
        return example_item(self.task_types, truth, self.recipe.extract)


def build(name: str, recipe: Recipe, library: Library) -> Profile:
    """A recipe made ready to use.

    Raises:
        Fault: the recipe is unsound (see ``soundness``).
    """
    parts = tuple(_part(recipe, index, library) for index in range(len(recipe.components)))
    span = soundness.check(recipe, parts)
    selectors = dict.fromkeys(pair for part in parts for pair in part.judge.selectors)
    missing = [*lacks(recipe.extract, library)]
    for part in parts:
        missing += part.judge.lacks
    made = Profile(
        name=name,
        version=recipe.version,
        digest=digest_of(name, recipe),
        description=recipe.description,
        task_types=recipe.tasks,
        selectors=tuple(selectors),
        range=span,
        lacks=distinct(missing),
        laborious=tuple(index for index, part in enumerate(parts) if part.judge.works),
        recipe=recipe,
        composition=_composition(recipe.compose, parts),
        library=library,
    )
    _check_examples(made)
    return made


def _composition(compose: ComposeRecipe, parts: tuple[Part, ...]) -> Composition:
    return Composition(
        compose.operator, compose.floor, parts, compose.risk or 0.0, compose.scale, compose.noise
    )


def _check_examples(profile: Profile) -> None:
    """An example that does not work would teach users what is wrong.

    Raises:
        Fault: an example is no item, or cannot be judged, or its completion is invalid.
    """
    for index, example in enumerate(profile.recipe.examples):
        try:
            item = msgspec.convert(example.item(), Item)
        except msgspec.ValidationError as error:
            raise Fault(str(error), "example", index) from None
        if profile.lacks:
            continue
        if fault := profile.fault(item):
            raise Fault(f"{fault[0]}: {fault[1]}", "example", index)
        answer = profile.read(item)
        if answer.reason is not Reason.OK:
            raise Fault(f"completion: it is {answer.reason} under this profile", "example", index)


def _part(recipe: Recipe, index: int, library: Library) -> Part:
    component = recipe.components[index]
    counts = component.role in ("primary", "auxiliary")
    weight = component.weight if counts else 0.0
    try:
        kind = judge_class(component.verifier)
        judge = kind(component.name, weight, recipe.options[index], library)
        if kind.tasks is not None and set(recipe.tasks) <= set(kind.tasks):
            judge.bind(recipe.tasks)
    except ProfileFault as fault:
        key = str(fault).partition(":")[0]
        raise Fault(str(fault), "component", index, key) from None
    return Part(judge, component.role, weight, component.on_missing, component.at_least or 0.0)


def load_profiles(folder: Path | None = None, library: Library | None = None) -> dict[str, Profile]:
    """The shipped profiles and those of a user's folder, by name.

    Args:
        folder: ``*.toml`` files; may extend shipped ones.
        library: what judges may look up; without it gene names stand as they are, and profiles
            that need knowledge say so in ``lacks``.

    Raises:
        ProfileFault: the first fault found, with file, line, key and what to do.
    """
    sources = files.read_sources(folder)
    library = library or Library()
    profiles = {}
    for name, source in sources.items():
        try:
            profiles[name] = _extended(source, files.merged(name, sources), library)
        except Fault as fault:
            raise source.fault(fault) from None
    return profiles


def _extended(source: files.Source, document: dict[str, Any], library: Library) -> Profile:
    """A file's profile; examples of its base that do not work under it are not its own."""
    recipe = resolve(document)
    try:
        return build(source.name, recipe, library)
    except Fault as fault:
        if fault.table != "example" or "example" in source.raw:
            raise
    return build(source.name, msgspec.structs.replace(recipe, examples=()), library)


def pinned(name: str) -> tuple[str, str | None]:
    """``"rbio-mlp@sha256:…"`` as name and digest; None where no digest is pinned."""
    name, at, digest = name.partition("@")
    return name, digest if at else None
