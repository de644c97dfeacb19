"""``soft-verifier card --profile P``: what policies would earn under a profile.

Every labelled row is asked twice, with one completion for each of the two answers, in this
process's own pipeline or of a server; ``card_policies`` does the rest. It tells a reward that pays
for knowing what the perturbation does from one that pays for knowing how often a readout changes.
Limits: profiles that judge ``perturbation.de`` or ``perturbation.dir`` tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from service.commands.card_policies import BLIND, Columns, Panel, panel, policies
from service.commands.scorers import (
    LocalScorer,
    Scorer,
    local_pipeline,
    patient_settings,
    remote_scorer,
)
from service.errors import StartupFault, nearest
from service.rewards.core import Item, Reason
from service.rewards.examples import completion
from service.rewards.profiles import Profile, load_profiles, pinned
from worldmodels.perturbation.tables import HELD_OUT, TRAIN, EffectTable, read

ANSWERS: Final = {"perturbation.de": ("yes", "no"), "perturbation.dir": ("up", "down")}
"""The positive answer and the other."""
THINK: Final = "The two genes and the cells are those of the question."
"""Reasoning that concludes nothing."""
BATCH: Final = 1024
"""Questions a request; each is two items."""
Say = Callable[[str], None]
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be evaluated.

    Attributes:
        profile: its name, possibly pinned.
        data: tables of labelled rows.
        train: tables that the blind policies learn the readouts' base rates from; none: by folds of
            the data.
        models: folders of trained models, for this process.
        url: a server instead of this process.
        config: a settings file; with ``url`` only its profiles count.
        split: which rows of data that have such a column.
        relation: of the rows, where the profile judges more than one.
        cell_line: for tables that do not tell.
        perturbations: how many to draw at random; None: all.
        resamples: draws of the bootstrap.
        seed: of everything random.
    """

    profile: str
    data: Sequence[Path]
    train: Sequence[Path] = ()
    models: Sequence[Path] = ()
    url: str | None = None
    config: Path | None = None
    split: str = HELD_OUT
    relation: str | None = None
    cell_line: str | None = None
    perturbations: int | None = None
    resamples: int = 200
    seed: int = 0


class ProfileCard(msgspec.Struct, frozen=True, kw_only=True):
    """What policies earn under a profile, over all rows and by cell line."""

    profile: str
    digest: str | None
    relation: str
    data: list[str]
    learnt_from: list[str]
    """What the blind policies learnt from; none: from the other folds of the data."""
    models: list[str]
    """Name and digest of the world models that answered."""
    reasons: dict[str, int]
    """Questions by what came of them."""
    overall: Panel | None
    """None where no question has a reward."""
    by_line: dict[str, Panel]

    def worst_blind(self) -> tuple[str, float]:
        """The blind policy that earns most beyond chance over all rows, and how much."""
        if self.overall is None:
            return "none", math.nan
        found = max((self.overall.of(name) for name in BLIND), key=lambda one: one.beyond_chance)
        return found.policy, found.beyond_chance


def evaluate(
    request: Request, say: Say = lambda _: None, advance: Advance = lambda _: None
) -> ProfileCard:
    """Ask everything, and count what each policy would have earned.

    Args:
        request: what.
        say: told one line for each step.
        advance: told how many more questions have been asked.

    Raises:
        StartupFault, ModelFault, ServiceError: the profile, its models or the data are at fault.
    """
    from softverifier import SoftVerifierError

    profile = _profile(request)
    relation = _relation(profile, request.relation)
    table, trained = _rows(request, relation)
    say(f"{len(table):,} labelled rows, each asked with both answers")
    asked = _Asked(profile, relation, table)
    try:
        digest = asyncio.run(_ask(request, asked, say, advance))
    except SoftVerifierError as error:
        raise StartupFault(f"{request.url}: {error}") from None
    rows = asked.columns()
    said = policies(rows, trained, request.seed)
    judged = np.ones(len(table), bool) if trained is None else ~trained

    def made(of: Any) -> Panel | None:
        return panel(rows, said, judged & of, request.resamples, request.seed)

    lines = {name: made(rows.line == code) for code, name in enumerate(rows.lines)}
    return ProfileCard(
        profile=profile.name,
        digest=digest,
        relation=relation,
        data=[path.name for path in request.data],
        learnt_from=[path.name for path in request.train],
        models=sorted(asked.models),
        reasons=dict(Counter(np.array(asked.reasons)[judged].tolist()).most_common()),
        overall=made(np.ones(len(table), bool)),
        by_line={name: found for name, found in lines.items() if found is not None},
    )


def _profile(request: Request) -> Profile:
    """The recipe, by which completions are written.

    Raises:
        StartupFault: there is none of that name here.
    """
    from service import app, settings
    from service.rewards.library import Library

    loaded = settings.load(request.config)
    genes = app.gene_resolver(loaded)

    library = Library(genes, app.knowledge(loaded, genes=genes))
    known = load_profiles(loaded.profiles.folder, library)
    name = pinned(request.profile)[0]
    if name not in known:
        raise StartupFault(f"no profile {name!r}{nearest(name, known)}")
    return known[name]


def _relation(profile: Profile, wanted: str | None) -> str:
    fit = [name for name in ANSWERS if name in profile.task_types]
    if not fit:
        judged = ", ".join(profile.task_types) or "no task in particular"
        raise StartupFault(
            f"profile {profile.name!r} judges {judged}; policies are evaluated on "
            f"{' and '.join(ANSWERS)}"
        )
    if wanted is not None and wanted not in fit:
        raise StartupFault(f"profile {profile.name!r} judges {', '.join(fit)}, not {wanted!r}")
    if wanted is None and len(fit) > 1:
        raise StartupFault(
            f"profile {profile.name!r} judges {' and '.join(fit)}; say by --relation what the "
            "labels of the data are"
        )
    return wanted or fit[0]


def _rows(request: Request, relation: str) -> tuple[EffectTable, Any]:
    """The rows, and which of them teach the blind policies (None: folds)."""
    data = read(request.data, relation=relation, cell_line=request.cell_line, split=request.split)
    if request.perturbations is not None:
        data = _drawn(data, request.perturbations, request.seed)
    if not request.train:
        return data, None
    more = read(request.train, relation=relation, cell_line=request.cell_line, split=TRAIN)
    mask = np.repeat([False, True], [len(data), len(more)])
    joined = EffectTable(
        data.perturbations + more.perturbations,
        data.readouts + more.readouts,
        data.contexts + more.contexts,
        np.concatenate([data.labels, more.labels]),
        None,
        None,
        data.source,
    )
    _refuse_both(data, more)
    return joined, mask


def _refuse_both(data: EffectTable, more: EffectTable) -> None:
    """A perturbation that teaches and is judged in one line teaches by heart."""
    own = set(zip(data.contexts, data.perturbations, strict=True))
    both = sorted(own & set(zip(more.contexts, more.perturbations, strict=True)))
    if both:
        shown = ", ".join(f"{name} in {line}" if line else name for line, name in both[:3])
        raise StartupFault(
            f"{len(both)} perturbations are in --data and in --train ({shown}"
            f"{', …' if len(both) > 3 else ''}); keep each in one of them, or leave --train out"
        )


def _drawn(table: EffectTable, count: int, seed: int) -> EffectTable:
    names = sorted(set(table.perturbations))
    if count >= len(names):
        return table
    kept = set(np.random.default_rng(seed).choice(names, count, replace=False).tolist())
    return table.take(np.flatnonzero([name in kept for name in table.perturbations]))


@dataclass
class _Asked:
    """The items of a table, and what came of them."""

    profile: Profile
    relation: str
    table: EffectTable
    models: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)
    figures: list[tuple[float, float, float, float]] = field(default_factory=list)
    """Of each row: what either answer earns, the weight and p."""

    def __post_init__(self) -> None:
        rules = self.profile.recipe.extract
        claims = ("1", "0") if rules.states == "probability" else ANSWERS[self.relation]
        self._texts = [completion(THINK, claim, rules) for claim in claims]
        self._with_truth = any(
            part.judge.truth == "hard" for part in self.profile.composition.parts
        )
        for item in self.items(range(1)):
            made = msgspec.convert(item, Item)
            fault = self.profile.fault(made)
            reason = fault[0] if fault else self.profile.read(made).reason
            if reason is not Reason.OK:
                raise StartupFault(
                    f"profile {self.profile.name!r} reads answers as no completion is written "
                    f"here ({reason}: {fault[1] if fault else made.completion!r})"
                )

    def items(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Both answers to each row, side by side."""
        table, answers = self.table, ANSWERS[self.relation]
        made = []
        for row in rows:
            task = {
                "type": self.relation,
                "perturbation": table.perturbations[row],
                "gene": table.readouts[row],
                "cell_line": table.contexts[row],
            }
            item: dict[str, Any] = {"task": task}
            if self._with_truth:
                item["truth"] = answers[0] if table.labels[row] else answers[1]
            made += [{**item, "completion": text} for text in self._texts]
        return made

    def take(self, results: Sequence[dict[str, Any]]) -> None:
        """What came of some rows, both answers side by side."""
        for yes, no in zip(results[::2], results[1::2], strict=True):
            told = [one for one in yes["components"] if one.get("p") is not None]
            p = float(told[0]["p"]) if told else math.nan
            self.models |= {f"{one['model']} {one['digest']}" for one in told if one["model"]}
            self.reasons.append(yes["reason"] if yes["status"] != "ok" else no["reason"])
            if yes["status"] == no["status"] == "ok":
                weight = (yes["weight"] + no["weight"]) / 2
                self.figures.append((yes["reward"], no["reward"], weight, p))
            else:
                self.figures.append((math.nan, math.nan, 0.0, p))

    def columns(self) -> Columns:
        """Everything as codes and figures."""
        table = self.table
        lines, line = np.unique(table.contexts, return_inverse=True)
        _, perturbation = np.unique(table.perturbations, return_inverse=True)
        names, readout = np.unique(table.readouts, return_inverse=True)
        _, in_line = np.unique(line * len(names) + readout, return_inverse=True)
        yes, no, weight, p = np.array(self.figures, np.float64).T
        named = tuple(str(name) or "any" for name in lines)
        return Columns(named, line, perturbation, in_line, table.labels, yes, no, weight, p)


async def _ask(request: Request, asked: _Asked, say: Say, advance: Advance) -> str | None:
    """Score everything in batches; the digest of the recipe that did."""
    async with contextlib.AsyncExitStack() as stack:
        scorer = await _scorer(stack, request, say)
        digest = await scorer.profile_digest()
        for rows in _batches(len(asked.table)):
            asked.take(await scorer.score(asked.items(rows)))
            advance(len(rows))
    return digest


def _batches(count: int) -> Iterator[range]:
    for start in range(0, count, BATCH):
        yield range(start, min(start + BATCH, count))


def _knock(url: str) -> None:
    """A server that is not there is not waited for as one that restarts."""
    from softverifier import RewardClient

    with RewardClient(url, timeout=10.0) as client:
        if not client.health():
            raise StartupFault(f"{url}: no server answers there; soft-verifier serve is one")


async def _scorer(stack: contextlib.AsyncExitStack, request: Request, say: Say) -> Scorer:
    if request.url is not None:
        if request.models:
            raise StartupFault("--model is for this process; drop it or --url")
        _knock(request.url)
        return await stack.enter_async_context(
            remote_scorer(request.url, request.profile, 2 * BATCH)
        )
    settings = patient_settings(request.config, request.models)
    pipeline = await stack.enter_async_context(local_pipeline(settings, say))
    return LocalScorer(pipeline, request.profile)
