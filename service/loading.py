"""World models as the settings name them: opened, checked, warmed; and the starter, built once.

Limits: blocking; call it before a loop runs, or on a thread.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from service import cards
from service.batcher import Hosted
from service.control import Held
from service.errors import StartupFault
from service.metrics import Metrics
from service.settings import Model, Settings
from worldmodels import checkpoints, devices, registry
from worldmodels.core import ModelFault, WorldModel
from worldmodels.genes import GeneResolver

log = structlog.get_logger(__name__)


def gene_resolver(settings: Settings) -> GeneResolver:
    """The resolver over the configured tables, or symbols as they are."""
    tables = settings.genes.tables
    return GeneResolver.from_files(tables) if tables else GeneResolver.as_they_are()


def entries(settings: Settings) -> list[Model]:
    """The entries under [[models]], the starter first where it is served."""
    first = [Model(path=settings.starter.path)] if settings.starter.enabled else []
    return [*first, *settings.models]


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads models for one process.

    Args:
        settings: validated settings.
        genes: resolves names.
        metrics: where the models report.
        report: called with one line per model.
    """

    settings: Settings
    genes: GeneResolver
    metrics: Metrics
    report: Callable[[str], None]

    def every(self, held: Sequence[Held] = ()) -> Iterator[tuple[Model, Hosted]]:
        """All models of the settings, each with its entry; those that a host has from there.

        Raises:
            ModelFault, StartupFault: one cannot be served.
        """
        there = {one.entry: one for one in held}
        if self.settings.starter.enabled and 0 not in there:
            _build_starter(self.settings.starter.path, self.genes, self.report)
        for number, entry in enumerate(entries(self.settings)):
            yield entry, self.one(entry, there.get(number))

    def one(self, entry: Model, held: Held | None = None, device: str | None = None) -> Hosted:
        """One model, warm.

        Args:
            entry: what the settings say of it.
            held: the host that has it; None loads it here.
            device: as a user writes it; that of the settings by default.

        Raises:
            ModelFault, StartupFault: it cannot be served.
        """
        started = time.perf_counter()
        if held is None:
            model = open_model(entry, self.genes, device or self.settings.server.device)
        else:
            model = self._asked_there(held)
        run = entry.run if held is None else "thread"
        hosted = Hosted(model, self.settings.batching, self.metrics, run)
        if self.settings.server.require_card and not entry.allow_uncarded:
            cards.require(model.spec)
        hosted.warm()
        if held is not None:
            hosted.know_cost(held.cost_s)
        where = model.spec.device if held is None else f"{model.spec.device} of a model host"
        self.report(
            f"model {hosted.name} ({model.spec.family}) warm in "
            f"{time.perf_counter() - started:.1f} s on {where}, "
            f"{hosted.cost_s * 1e6:.2f} µs per query, "
            f"{cards.described(model.spec)}"
        )
        return hosted

    def _asked_there(self, held: Held) -> WorldModel:
        from worldmodels.remote import Known, RemoteModel

        seconds = self.settings.limits.deadline_ms / 1000
        options = {"url": held.address, "timeout_s": str(seconds)}
        source = registry.Source(family="remote", name=held.spec.name, options=options)
        return RemoteModel(source, Known(held.spec, held.examples))


def open_model(entry: Model, genes: GeneResolver, device: str = devices.AUTO) -> WorldModel:
    """The world model of one entry under ``[[models]]``; ``device`` is for one that names none."""
    named, device = entry.device is not None, entry.device or device
    memory = None if entry.memory_mb is None else entry.memory_mb << 20
    if entry.path is not None:
        return registry.open_folder(
            entry.path, name=entry.name, device=device, named=named, memory=memory, genes=genes
        )
    if entry.family is None:
        raise StartupFault("models: an entry needs `path` (a trained folder) or `family`")
    source = registry.Source(
        family=entry.family,
        name=entry.name or entry.family,
        device=device,
        named=named,
        memory=memory,
        options=entry.options,
    )
    return registry.load(source, genes)


def may_use_gpu(entry: Model, device: str = devices.AUTO) -> bool:
    """Whether the model of an entry is put on a GPU if it can be; nothing is loaded to know."""
    family = entry.family
    if family is None and entry.path is not None:
        family = checkpoints.read_manifest(entry.path).family
    return registry.may_use_gpu(family or "", entry.device or device)


def prepare(settings: Settings) -> None:
    """What must be done once before several workers start: the starter model."""
    if settings.starter.enabled:
        _build_starter(settings.starter.path, gene_resolver(settings), lambda line: log.info(line))


def _build_starter(folder: Path, genes: GeneResolver, report: Callable[[str], None]) -> None:
    """Build the starter model once, and anew if it is damaged or of another version.

    In a child: scanpy's import costs memory that the server need not carry.
    """
    command = [sys.executable, "-W", "ignore", "-m", "worldmodels.expression.starter", str(folder)]
    if (folder / "manifest.toml").exists():
        try:
            registry.open_folder(folder, genes=genes)
        except ModelFault as fault:
            report(f"the starter model does not load ({fault}); building it anew")
            command.append("--force")
        else:
            return
    report(f"building the starter model in {folder} from scanpy's pbmc68k_reduced (once)")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise StartupFault(
            f"the starter model could not be built in {folder}: {tail}\n"
            "Serve without it by setting starter.enabled = false"
        )
