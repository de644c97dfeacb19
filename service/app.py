"""The only place that constructs: settings → models, profiles, caches, pipeline.

``build`` makes what answers; ``in_process`` starts it without a network, ``service.serving`` puts
it on one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog

from service import canaries, device_memory
from service.audit import Audit
from service.cache import Memory, RedisTier
from service.canaries import Canary, Watched
from service.canary_watch import Watch
from service.control import Held
from service.errors import StartupFault, nearest
from service.inquiry import Inquiry
from service.loading import Loader
from service.loading import gene_resolver as gene_resolver
from service.loading import may_use_gpu as may_use_gpu
from service.loading import open_model as open_model
from service.loading import prepare as prepare
from service.metrics import Metrics
from service.models import ServedModels
from service.pipeline import Pipeline
from service.requests import BadItem
from service.rewards.core import Item, Result, Work
from service.rewards.library import Knowledge, Library
from service.rewards.profiles import Profile, ProfileFault, load_profiles
from service.rolling import Rolling
from service.settings import Canaries, Settings
from service.shelf import Shelf
from service.workshop import Workshop
from worldmodels import ontology_files, ontology_genes
from worldmodels.core import ModelFault
from worldmodels.genes import GeneResolver

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """What answers requests, ready to be put on a network or called in process."""

    settings: Settings
    pipeline: Pipeline
    redis: RedisTier | None
    rolling: Rolling
    """Replaces models."""
    watch: Watch | None = None
    """Asks the canaries."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Start model threads, measure the Redis trip, warm the workshop. Needs a running loop."""
        for model in self.pipeline.models:
            model.start()
        if self.pipeline.audit is not None:
            self.pipeline.audit.start()
        if self.redis is not None:
            await self.redis.warm()
            if self.redis.trip_s is None:
                log.warning("Redis is away; going on without it", url=self.redis.url)
                self.tasks.add(asyncio.create_task(self._await_redis(self.redis)))
        self.pipeline.settle()
        if self.watch is not None:
            watching = asyncio.create_task(self.watch.run(), name="canaries")
            watching.add_done_callback(_tell_fault)
            self.tasks.add(watching)
        rehearsals = rehearsals_of(self.pipeline.profiles.values())
        if self.settings.work.warm and rehearsals:
            warming = self.pipeline.workshop.warm(rehearsals)
            self.tasks.add(asyncio.create_task(warming, name="workshop"))

    async def _await_redis(self, redis: RedisTier) -> None:
        """Redis was away at the start: take it into use once it answers."""
        while redis.trip_s is None:
            await asyncio.sleep(self.settings.cache.breaker_s)
            await redis.warm()
        self.pipeline.settle()
        log.info("Redis is there", url=redis.url)

    async def stop(self) -> None:
        """Stop model threads and the processes of the workshop, finish writes, the log's last."""
        for task in self.tasks:
            task.cancel()
        await self.rolling.stop()
        await self.pipeline.workshop.stop()
        for model in self.pipeline.models.all:
            await model.stop()
        if self.redis is not None:
            await self.redis.close()
        if self.pipeline.audit is not None:
            await asyncio.to_thread(self.pipeline.audit.stop)


def _tell_fault(task: asyncio.Task[None]) -> None:
    """A task that was to run for ever has ended: /readyz will call the canaries late."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("canaries are not asked any more", exc_info=error)


def build(
    settings: Settings,
    report: Callable[[str], None] = lambda _: None,
    *,
    shelf: Shelf | None = None,
    held: Sequence[Held] = (),
    audited: bool = False,
) -> Service:
    """Load everything that the settings name. Blocking; call it before a loop runs.

    Args:
        settings: validated settings.
        report: called with one line per step.
        shelf: where sibling workers find our metrics.
        held: models that a model host has.
        audited: keep the audit log that the settings name. For what answers requests; whoever
            scores in process keeps the rewards anyway.

    Raises:
        StartupFault: a gene table, ontology, model, profile or setting is at fault; says what to
        do.
    """
    metrics = Metrics(settings.telemetry.max_runs, shelf)
    try:
        genes = gene_resolver(settings)
        loader = Loader(settings, genes, metrics, report)
        loaded = list(loader.every(held))
        models = ServedModels([hosted for _, hosted in loaded])
        library = Library(genes, knowledge(settings, report, genes))
        profiles = load_profiles(settings.profiles.folder, library)
    except (ModelFault, ProfileFault) as fault:
        raise StartupFault(str(fault)) from fault
    for name, model in settings.profiles.models.items():
        if name not in profiles:
            known = ", ".join(sorted(profiles))
            raise StartupFault(f"profiles.models names profile {name!r}; known: {known}")
        models.named(model)
        profiles[name] = profiles[name].with_model(model)
    metrics.watch(device_memory.watcher(models))
    redis = RedisTier(settings.cache, metrics) if settings.cache.redis_url else None
    workshop = Workshop(settings.work, metrics)

    def made(inquiry: Inquiry, audit: Audit | None, watched: Watched | None) -> Pipeline:
        return Pipeline(
            profiles=profiles,
            inquiry=inquiry,
            workshop=workshop,
            limits=settings.limits,
            audit=audit,
            canaries=watched,
        )

    memory, always = Memory(settings.cache.memory_entries), settings.cache.redis_mode == "always"
    inquiry = Inquiry(models, memory, redis, metrics, redis_always=always)
    kept = _canaries(settings.canaries, profiles) if audited else []
    refuses = settings.canaries.on_drift == "unready"
    watched = Watched(settings.canaries.every_min * 60.0, refuses) if kept else None
    audit = Audit(settings.audit, metrics) if audited and settings.audit.path else None
    pipeline = made(inquiry, audit, watched)
    pipeline.admin = settings.admin.enabled
    named = {hosted.name: entry for entry, hosted in loaded}
    rolling = Rolling(models, named, loader.one, settings.rolling.grace_s, pipeline.settle)
    if watched is None:
        return Service(settings, pipeline, redis, rolling)
    aside = Metrics()  # canaries are no items of anyone's
    asked = Inquiry(models, Memory(0), None, aside, redis_always=False)
    served = Inquiry(models, memory, redis, aside, redis_always=always)
    places = {"model": made(asked, None, None), "cache": made(served, None, None)}
    watch = Watch(kept, places, watched, metrics, settings.canaries.tolerance)
    return Service(settings, pipeline, redis, rolling, watch)


def _canaries(settings: Canaries, profiles: Mapping[str, Profile]) -> list[Canary]:
    """Those of the file, then the examples of the profiles named."""
    found = [] if settings.path is None else canaries.read(settings.path)
    for name in settings.profiles:
        if name not in profiles:
            raise StartupFault(f"canaries.profiles: no profile {name!r}{nearest(name, profiles)}")
        found.append(Canary(name, dict(profiles[name].example())))
    return found


def knowledge(
    settings: Settings,
    report: Callable[[str], None] = lambda _: None,
    genes: GeneResolver | None = None,
) -> dict[str, Knowledge]:
    """The configured ontologies with their annotations, by name.

    Args:
        settings: validated settings.
        report: called with one line per ontology, and one more where its annotations are doubtful.
        genes: by which genes of tasks are found among the annotations.

    Raises:
        StartupFault: a file is missing or is not what it should be.
    """
    loaded = {}
    for name, entry in settings.knowledge.items():
        started = time.perf_counter()
        try:
            found = ontology_files.load(entry.ontology, entry.annotations, entry.relations)
        except ModelFault as fault:
            raise StartupFault(
                f"knowledge.{name}: {fault}; correct [knowledge.{name}] in the settings"
            ) from fault
        loaded[name] = Knowledge(name, *found)
        report(
            f"knowledge {name}: {describe_knowledge(loaded[name])}, read in "
            f"{time.perf_counter() - started:.1f} s"
        )
        if doubtful := doubt_about(loaded[name], genes):
            report(f"knowledge {name}: WARNING: {doubtful}")
    return loaded


def doubt_about(known: Knowledge, genes: GeneResolver | None = None) -> str | None:
    """Why a task's genes will hardly be found among its annotations; None: no doubt."""
    if known.annotations is None:
        return None
    return ontology_genes.doubt(known.annotations, genes or GeneResolver.as_they_are())


def describe_knowledge(known: Knowledge) -> str:
    """How much it holds."""
    terms = f"{len(known.ontology.terms):,} terms"
    if known.version:
        terms += f" ({known.version})"
    if known.annotations is None:
        return f"{terms}, no annotations"
    return f"{terms}, {len(known.annotations.terms_of):,} annotated genes"


def rehearsals_of(profiles: Iterable[Profile]) -> list[Work]:
    """The works of the examples of those profiles that can be served."""
    found: list[Work] = []
    for profile in profiles:
        if not profile.laborious or profile.lacks:
            continue
        for example in profile.recipe.examples:
            item = msgspec.convert(example.item(), Item)
            found += profile.works(item, profile.read(item)).values()
    return found


@contextlib.asynccontextmanager
async def in_process(settings: Settings) -> AsyncIterator[Pipeline]:
    """A pipeline without a network, started and stopped around the block."""
    service = build(settings)
    await service.start()
    try:
        yield service.pipeline
    finally:
        await service.stop()


async def score_in_process(
    pipeline: Pipeline, items: Sequence[Item | BadItem], profile: str
) -> list[Result]:
    """Rewards with the server's longest deadline."""
    _, results = await pipeline.score(profile, items, deadline=pipeline.deadline(None))
    return results
