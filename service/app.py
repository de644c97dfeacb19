"""The only place that constructs: settings → models, profiles, caches, pipeline, servers.

``build`` makes what answers; ``run`` puts it on the network until SIGTERM; ``in_process`` gives
the same rewards without a network. The order of ``run`` matters: models are loaded and warm before
anything listens, so a connection that is accepted can be answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn

from service.batcher import Hosted
from service.cache import Memory, RedisTier
from service.errors import StartupFault
from service.front import rest, rpc
from service.front.protocol import HotProtocol
from service.metrics import Metrics
from service.models import ServedModels
from service.pipeline import BadItem, Pipeline
from service.rewards.core import Item, Result
from service.rewards.profiles import ProfileFault, load_profiles
from service.settings import Model, Settings
from worldmodels import registry
from worldmodels.core import ModelFault, WorldModel
from worldmodels.genes import GeneResolver

log = structlog.get_logger(__name__)

METRICS_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Service:
    """What answers requests, ready to be put on a network or called in process."""

    settings: Settings
    pipeline: Pipeline
    redis: RedisTier | None

    async def start(self) -> None:
        """Start model threads and measure the Redis trip. Needs a running loop."""
        for model in self.pipeline.models:
            model.start()
        if self.redis is not None:
            await self.redis.warm()
            if self.redis.trip_s is None:
                log.warning("Redis is away; going on without it", url=self.redis.url)
        self.pipeline.settle()

    async def stop(self) -> None:
        """Stop model threads, finish writes."""
        for model in self.pipeline.models:
            await model.stop()
        if self.redis is not None:
            await self.redis.close()


def build(
    settings: Settings,
    report: Callable[[str], None] = lambda _: None,
    *,
    shared: Path | None = None,
) -> Service:
    """Load everything that the settings name. Blocking; call it before a loop runs.

    Args:
        settings: validated settings.
        report: called with one line per step.
        shared: folder for the metrics of sibling workers.

    Raises:
        StartupFault: a gene table, model, profile or setting is at fault; says what to do.
    """
    metrics = Metrics(settings.telemetry.max_runs, shared)
    try:
        tables = settings.genes.tables
        genes = GeneResolver.from_files(tables) if tables else GeneResolver.as_they_are()
        models = ServedModels(list(_hosted(settings, genes, metrics, report)))
        profiles = load_profiles(settings.profiles.folder, genes)
    except (ModelFault, ProfileFault) as fault:
        raise StartupFault(str(fault)) from fault
    for name, model in settings.profiles.models.items():
        if name not in profiles:
            known = ", ".join(sorted(profiles))
            raise StartupFault(f"profiles.models names profile {name!r}; known: {known}")
        models.named(model)
        profiles[name] = profiles[name].with_model(model)
    redis = RedisTier(settings.cache, metrics) if settings.cache.redis_url else None
    pipeline = Pipeline(
        profiles=profiles,
        models=models,
        genes=genes,
        memory=Memory(settings.cache.memory_entries),
        redis=redis,
        redis_always=settings.cache.redis_mode == "always",
        metrics=metrics,
        limits=settings.limits,
    )
    return Service(settings, pipeline, redis)


def _hosted(
    settings: Settings, genes: GeneResolver, metrics: Metrics, report: Callable[[str], None]
) -> Iterator[Hosted]:
    entries = list(settings.models)
    if settings.starter.enabled:
        _build_starter(settings.starter.path, report)
        entries.insert(0, Model(path=settings.starter.path))
    for entry in entries:
        started = time.perf_counter()
        model = _open(entry, genes)
        hosted = Hosted(model, settings.batching, metrics, entry.run)
        hosted.warm()
        report(
            f"model {hosted.name} ({model.spec.family}) warm in "
            f"{time.perf_counter() - started:.1f} s, {hosted.cost_s * 1e6:.2f} µs per query"
        )
        yield hosted


def _open(entry: Model, genes: GeneResolver) -> WorldModel:
    if entry.path is not None:
        return registry.open_folder(entry.path, name=entry.name, device=entry.device, genes=genes)
    if entry.family is None:
        raise StartupFault("models: an entry needs `path` (a trained folder) or `family`")
    source = registry.Source(
        family=entry.family,
        name=entry.name or entry.family,
        device=entry.device,
        options=entry.options,
    )
    return registry.load(source, genes)


def prepare(settings: Settings) -> None:
    """What must be done once before several workers start: the starter model."""
    if settings.starter.enabled:
        _build_starter(settings.starter.path, lambda line: log.info(line))


def _build_starter(folder: Path, report: Callable[[str], None]) -> None:
    """Build the starter model once, in a child: scanpy's import costs memory we need not carry."""
    if (folder / "manifest.toml").exists():
        return
    report(f"building the starter model in {folder} from scanpy's pbmc68k_reduced (once, ~20 s)")
    command = [sys.executable, "-W", "ignore", "-m", "worldmodels.expression.starter", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise StartupFault(
            f"the starter model could not be built in {folder}: {tail}\n"
            "Serve without it by setting starter.enabled = false"
        )


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


class _HttpServer(uvicorn.Server):
    """uvicorn without its signal handling: one drain serves both front ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def configure_logging(settings: Settings) -> None:
    """Structured logs on standard error, as text or as JSON lines."""
    level = getattr(logging, settings.telemetry.log_level.upper())
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.telemetry.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def listen(host: str, port: int, *, shared: bool, what: str) -> socket.socket:
    """A bound TCP socket.

    Args:
        host: address to bind.
        port: port, 0 for any.
        shared: several processes will bind the same port (SO_REUSEPORT).
        what: name of the setting, for the message.

    Raises:
        StartupFault: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol stated: asyncio's own loop sets TCP_NODELAY on no other, and every answer
    # in two writes then waits 40 ms for the client's delayed acknowledgement.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise StartupFault(
            f"{what} {port} on {host}: {error.strerror or error}. Stop what listens there or "
            f"choose another with --{what.replace('_', '-')}"
        ) from None
    sock.set_inheritable(True)
    return sock


def run(
    settings: Settings,
    banner: Callable[[Service, int, int], None],
    *,
    shared: Path | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code (0 after a complete drain).

    Args:
        settings: validated settings.
        banner: called with the service, the HTTP port and the gRPC port once both answer.
        shared: folder for the metrics of sibling workers that serve the same ports.
    """
    configure_logging(settings)
    http_socket = listen(
        settings.server.host, settings.server.http_port, shared=shared is not None, what="http_port"
    )
    # Only to fail early, with a message, where the port is taken: gRPC binds for itself.
    listen(
        settings.server.host, settings.server.grpc_port, shared=shared is not None, what="grpc_port"
    ).close()
    service = build(settings, lambda line: log.info(line), shared=shared)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(service, http_socket, banner, shared=shared is not None))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:  # not built for every platform; the standard loop does as well
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(
    service: Service,
    http_socket: socket.socket,
    banner: Callable[[Service, int, int], None],
    *,
    shared: bool,
) -> int:
    settings = service.settings
    await service.start()
    server = settings.server
    grpc_server, grpc_port = await rpc.serve(
        service.pipeline,
        f"{server.host}:{server.grpc_port}",
        settings.limits.max_body_bytes,
        shared=shared,
    )
    http = _http_server(service)
    serving = asyncio.create_task(http.serve(sockets=[http_socket]), name="http")
    while not http.started and not serving.done():
        await asyncio.sleep(0.01)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gc.collect()
    gc.freeze()  # what is alive now stays alive: scanning it again and again costs p99
    banner(service, http_socket.getsockname()[1], grpc_port)
    saving = asyncio.create_task(_save_metrics(service.pipeline.metrics)) if shared else None
    await stop.wait()
    if saving is not None:
        saving.cancel()
    loop.add_signal_handler(signal.SIGINT, lambda: sys.exit(130))  # Ctrl-C once more: at once
    return await _drain(service, http, serving, grpc_server)


async def _save_metrics(metrics: Metrics) -> None:
    """Leave a snapshot for the sibling workers every second."""
    while True:
        metrics.save()
        await asyncio.sleep(METRICS_EVERY_S)


def _http_server(service: Service) -> _HttpServer:
    hot = rest.HotRoutes(service.pipeline)
    app = rest.Dispatcher(hot, rest.application(service.pipeline))
    settings = service.settings.server
    return _HttpServer(
        uvicorn.Config(
            app,
            http=partial(HotProtocol, hot=hot),  # type: ignore[arg-type]
            proxy_headers=False,
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
            server_header=False,
            date_header=False,
            backlog=settings.backlog,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(settings.grace_s)),
        )
    )


async def _drain(
    service: Service, http: _HttpServer, serving: asyncio.Task[None], grpc_server: Any
) -> int:
    """Stop accepting, finish what is in flight, stop models. 0 if everything finished in time."""
    started = time.monotonic()
    grace = service.settings.server.grace_s
    log.info("draining", grace_s=grace)
    service.pipeline.drain()
    http.should_exit = True
    _, late = await asyncio.wait(
        {serving, asyncio.ensure_future(grpc_server.stop(grace))}, timeout=grace + 1.0
    )
    left = len(http.server_state.tasks)
    await service.stop()
    log.info("stopped", seconds=round(time.monotonic() - started, 2), unfinished=left)
    return 1 if late or left else 0
