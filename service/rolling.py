"""Models replaced while they are served: the new one warms beside the old one, then one switch.

In one process: ``prepare`` loads and warms on a thread while requests go on, ``commit`` switches
between two turns of the event loop, so that a request sees the one or the other, ``abort`` forgets.
The version that was replaced answers who pins its digest until the grace is over; what is in work
with it is finished in any case. Cache keys hold digests, so that nothing needs to be thrown away.
With several processes ``service.rollout`` has all of them prepare before any commits.

Limits: settings are not read anew, the folder is; names and entries stay as the server started with
them. A batch of Python runs while the model is loaded, which may delay answers.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from service import room
from service.batcher import Hosted
from service.control import Held, Outcome
from service.errors import NotFound, ServiceError, StartupFault, nearest
from service.models import ServedModels
from service.settings import Model
from worldmodels import devices
from worldmodels.core import ModelFault

log = structlog.get_logger(__name__)

POLL_S = 0.05
LINGER_S = 1.0
"""A request may wait for Redis between choosing a version and asking it."""


class Roller(Protocol):
    """What replaces a model by what its folder holds now."""

    async def reload(self, name: str) -> Outcome:
        """Load it beside the old one, and switch if it can be served.

        Raises:
            NotFound: no such model.
        """
        ...


@dataclass(frozen=True, slots=True)
class Beside:
    """A version that is warm beside the one that is served."""

    hosted: Hosted
    changed: bool


class Rolling:
    """The models of one process.

    Args:
        models: the served models.
        entries: where each comes from, by name.
        load: loads and warms one; blocking.
        grace_s: for how long a replaced version still answers.
        changed: called after every change of what is served.
    """

    def __init__(
        self,
        models: ServedModels,
        entries: Mapping[str, Model],
        load: Callable[[Model, Held | None], Hosted],
        grace_s: float,
        changed: Callable[[], None],
    ):
        self._models = models
        self._entries = entries
        self._load = load
        self._grace_s = grace_s
        self._changed = changed
        self._turn = asyncio.Lock()
        self._prepared: dict[str, Hosted] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    async def reload(self, name: str) -> Outcome:
        """Replace one model of a single process.

        Raises:
            NotFound: no such model.
        """
        self.check(name)
        before = self._models.named(name).spec.digest
        async with self._turn:
            try:
                beside = await self.prepare(name)
            except (ModelFault, ServiceError) as fault:
                log.error("a model is not replaced", model=name, why=str(fault))
                return Outcome(
                    name=name, before=before, now=before, changed=False, error=str(fault)
                )
            self.commit(name)
        now = self._models.named(name).spec.digest
        return Outcome(name=name, before=before, now=now, changed=beside.changed)

    async def prepare(self, name: str, held: Held | None = None) -> Beside:
        """Load and warm a model anew, unless it is what is served already.

        Args:
            name: of a served model.
            held: where a model host has it.

        Raises:
            NotFound: no such model. StartupFault, ModelFault: it cannot be served.
        """
        entry = self._entry(name)
        self.abort(name)
        if held is None and (lack := await asyncio.to_thread(room.lack, entry.path)):
            raise StartupFault(f"model {name!r}: {lack}")
        hosted = await asyncio.to_thread(self._load, entry, held)
        served = self._models.named(name)
        if hosted.name != name:
            _close(hosted)
            raise StartupFault(
                f"model {name!r}: its folder holds {hosted.name!r} now; name the entry under "
                "[[models]], or put a model of that name there"
            )
        if hosted.spec == served.spec:
            _close(hosted)
            return Beside(served, changed=False)
        hosted.start()
        self._prepared[name] = hosted
        self._models.stand_by(hosted)
        return Beside(hosted, changed=True)

    def check(self, name: str) -> None:
        """Refuse a name that no model has.

        Raises:
            NotFound: as said.
        """
        self._entry(name)

    @property
    def names(self) -> list[str]:
        """Of all models."""
        return list(self._entries)

    def commit(self, name: str) -> None:
        """Serve what was prepared, from the next request on; nothing if nothing has changed."""
        hosted = self._prepared.pop(name, None)
        if hosted is None:
            return
        before = self._models.switch(hosted)
        self._changed()
        log.info("a model is replaced", model=name, was=before.spec.digest, now=hosted.spec.digest)
        task = asyncio.create_task(self._retire(before), name=f"retiring-{name}")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def abort(self, name: str) -> None:
        """Forget what was prepared."""
        hosted = self._prepared.pop(name, None)
        if hosted is not None:
            self._models.let_go(hosted)
            task = asyncio.create_task(_ended(hosted))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def stop(self) -> None:
        """End what waits; the models themselves are stopped by who stops all of them."""
        for task in list(self._retiring):
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    def _entry(self, name: str) -> Model:
        entry = self._entries.get(name)
        if entry is None:
            raise NotFound(f"unknown model {name!r}{nearest(name, self._entries)}", field="model")
        return entry

    async def _retire(self, hosted: Hosted) -> None:
        """Let a replaced version answer for a while, then finish what it has and forget it."""
        await asyncio.sleep(self._grace_s)
        self._models.let_go(hosted)
        self._changed()
        await _ended(hosted)
        log.info("a replaced model is gone", model=hosted.name, digest=hosted.spec.digest)
        gc.unfreeze()  # what was alive at the start was set aside, the old model among it
        gc.collect()
        gc.freeze()
        if hosted.spec.device != devices.CPU:
            import torch

            torch.cuda.empty_cache()


async def _ended(hosted: Hosted) -> None:
    """Finish what a model has in work, and what is about to ask it, then stop it."""
    await asyncio.sleep(LINGER_S)
    while not hosted.idle:
        await asyncio.sleep(POLL_S)
    await hosted.stop()
    _close(hosted)


def _close(hosted: Hosted) -> None:
    """Let go of a connection, if the model is one."""
    close: Any = getattr(hosted.model, "close", None)
    if close is not None:
        close()
