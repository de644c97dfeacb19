"""A model host: one process that computes what is dear, for all workers of a server.

It answers ``WorldModels.Predict`` on a Unix socket in the server's own folder, with the queue, the
batching and the memory of verdicts that a single process has; batches of several workers meet here.
Every question pins a digest, so that a worker never gets the figures of another version. Models
that turn out cheap are given back: the workers load those themselves.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import structlog

from service import device_memory, loading
from service.batcher import WARM_UP_QUERIES, Hosted
from service.cache import Memory
from service.control import Held, Ready, framed
from service.front import rpc
from service.host_metrics import HostMetrics
from service.inquiry import Inquiry
from service.loading import Loader
from service.membership import Membership
from service.models import ServedModels
from service.pipeline import Pipeline
from service.place import Place
from service.placement import HostPlan, narrowed
from service.rolling import Beside, Rolling
from service.settings import Model, Settings
from service.shelf import Shelf
from service.telemetry import reporting
from service.workshop import Workshop
from worldmodels import devices
from worldmodels.core import ModelFault

log = structlog.get_logger(__name__)

LOOK_S = 1.0
"""Between two looks at a GPU's memory."""


class Host:
    """The models of one host; built before its loop runs.

    Args:
        settings: validated settings.
        place: what the parent gave.
        plan: the entries to load.

    Raises:
        ModelFault, StartupFault: one cannot be served.
    """

    def __init__(self, settings: Settings, place: Place, plan: HostPlan):
        self._settings = settings
        self._place = place
        self._plan = plan
        self._metrics = HostMetrics(Shelf(place.folder))
        genes = loading.gene_resolver(settings)
        self._loader = Loader(settings, genes, self._metrics, lambda line: log.info(line))
        all_entries = loading.entries(settings)
        self._kept: dict[str, tuple[int, Hosted]] = {}
        for number in plan.entries:
            hosted = self._loaded(all_entries[number])
            if not hosted.inline:
                self._kept[hosted.name] = (number, hosted)
        self._entries = {name: all_entries[number] for name, (number, _) in self._kept.items()}
        self.address = f"unix:{address(place.folder, place.number)}"

    def run(self) -> int:
        """Answer until SIGTERM, or until the parent is gone; the exit code.

        A host that is not needed says so and ends.
        """
        if not self._kept:
            self._place.control.sendall(framed(Ready({})))
            return 0
        code = asyncio.run(self._serve())
        if any(hosted.busy for _, hosted in self._kept.values()):
            os._exit(code)  # a model is stuck on its thread, and leaving would wait for it
        return code

    async def _serve(self) -> int:
        models = ServedModels([hosted for _, hosted in self._kept.values()])
        memory = Memory(self._settings.cache.memory_entries)
        pipeline = Pipeline(
            profiles={},
            inquiry=Inquiry(models, memory, None, self._metrics, redis_always=False),
            workshop=Workshop(self._settings.work, self._metrics),
            limits=self._settings.limits,
        )
        self._metrics.watch(device_memory.watcher(models))
        for model in models:
            model.start()
        reports = reporting.of_host(self._settings.telemetry, self._metrics)
        server, _ = await rpc.serve(pipeline, self.address, -1, shared=False, reports=reports)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        rolling = Rolling(
            models, self._entries, self._anew, self._settings.rolling.grace_s, pipeline.settle
        )
        membership = Membership(self._place, rolling, stop.set, self._held)
        await membership.join()
        held = [self._held(Beside(hosted, changed=True)) for hosted in models]
        membership.tell(Ready({one.spec.name: one.spec.digest for one in held}, held))
        looking = asyncio.create_task(_look(self._metrics.look))
        await stop.wait()
        looking.cancel()
        await server.stop(self._settings.server.grace_s)
        await rolling.stop()
        for model in models.all:
            await model.stop()
        await asyncio.to_thread(reports.stop)
        return 0

    def _held(self, beside: Beside) -> Held:
        hosted = beside.hosted
        return Held(
            entry=self._kept[hosted.name][0],
            spec=hosted.spec,
            examples=hosted.model.examples(WARM_UP_QUERIES),
            address=self.address,
            cost_s=hosted.cost_s,
        )

    def _anew(self, entry: Model, _: Held | None) -> Hosted:
        return self._loaded(entry)

    def _loaded(self, entry: Model) -> Hosted:
        """On our device; on the CPU if any will do and ours has no room."""
        device = self._plan.device
        if device == devices.CPU:
            return self._loader.one(entry)
        choice = entry.device or self._settings.server.device
        try:
            return self._loader.one(narrowed(entry, device), device=device)
        except ModelFault as fault:
            if choice != devices.AUTO:
                raise
            log.warning("a model goes to the CPU", entry=str(entry.path or entry.name), why=fault)
            return self._loader.one(narrowed(entry, device), device=devices.CPU)


def address(folder: Path, number: int) -> Path:
    """The socket of a host."""
    return folder / f"host-{number}.sock"


async def _look(look: Callable[[], None]) -> None:
    """Gauges that are read off are so here, for whichever worker is scraped."""
    while True:
        look()
        await asyncio.sleep(LOOK_S)
