"""A service on the network: listen, serve both front ends, drain on SIGTERM.

The order matters: models are loaded and warm before anything listens, so a connection that is
accepted can be answered. One drain serves both front ends: stop accepting, finish what is in
flight, end with 0 if all of it was finished within the grace period.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn

from service.app import Service, build
from service.errors import StartupFault
from service.front import rest, rpc
from service.front.doors import Doors
from service.front.gathering import Gathering
from service.front.hot import HotRoutes
from service.front.last import last_in
from service.front.protocol import HotProtocol
from service.front.reported import Reported
from service.metrics import Metrics
from service.security import exposure, way_in
from service.security.way_in import WayIn
from service.settings import Settings
from service.telemetry import reporting
from service.telemetry.reporting import Reporting

log = structlog.get_logger(__name__)

METRICS_EVERY_S: Final = 1.0


class _HttpServer(uvicorn.Server):
    """uvicorn without its signal handling: one drain serves both front ends.

    Args:
        config: as uvicorn takes it.
        handshake_s: seconds that a client may take to agree on TLS; uvicorn leaves it 60.
    """

    def __init__(self, config: uvicorn.Config, handshake_s: float):
        super().__init__(config)
        self._handshake_s = handshake_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; with TLS by ourselves, since uvicorn does not pass the time on."""
        config = self.config
        if not config.loaded:
            config.load()
        if config.ssl is None:
            await super().startup(sockets)
            return
        await super().startup([])
        self.started = False
        for one in sockets or ():
            self.servers.append(
                await asyncio.get_running_loop().create_server(
                    self._connection,
                    sock=one,
                    ssl=config.ssl,
                    backlog=config.backlog,
                    ssl_handshake_timeout=self._handshake_s,
                )
            )
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, those included who have connected and were not let in yet."""
        await last_in(sockets or [], self.servers, self._connection, self.config.ssl)
        await super().shutdown(sockets)

    def _connection(self) -> asyncio.Protocol:
        made: Any = self.config.http_protocol_class
        connection: asyncio.Protocol = made(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return connection


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
            structlog.contextvars.merge_contextvars,
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
    server = settings.server
    if server.http_port and server.http_port == server.grpc_port:
        raise StartupFault(
            f"server.http_port and server.grpc_port are both {server.http_port}; HTTP and gRPC "
            "need a port each"
        )
    exposure.check(settings)  # before anything is loaded
    http_socket = listen(
        settings.server.host, settings.server.http_port, shared=shared is not None, what="http_port"
    )
    # Only to fail early, with a message, where the port is taken: gRPC binds for itself.
    listen(
        settings.server.host, settings.server.grpc_port, shared=shared is not None, what="grpc_port"
    ).close()
    _allow_connections(max(2 * settings.server.backlog, settings.connections.max + 1024))
    service = build(settings, lambda line: log.info(line), shared=shared, audited=True)
    entry = way_in.build(settings, service.pipeline.metrics, log.warning)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(_serve(service, entry, http_socket, banner, shared=shared is not None))
    if any(model.busy for model in service.pipeline.models):
        sys.stdout.flush()
        os._exit(code)  # a model is stuck on its thread, and leaving would wait for it
    return code


def _allow_connections(wanted: int) -> None:
    """Raise the soft limit of open files: many systems allow 1,024, and trainers open that many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:  # not built for every platform; the standard loop does as well
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(
    service: Service,
    entry: WayIn,
    http_socket: socket.socket,
    banner: Callable[[Service, int, int], None],
    *,
    shared: bool,
) -> int:
    settings = service.settings
    reports = reporting.build(settings.telemetry, service.pipeline.metrics)
    await service.start()
    server = settings.server
    grpc_server, grpc_port = await rpc.serve(
        service.pipeline,
        f"[{server.host}]:{server.grpc_port}"
        if ":" in server.host
        else f"{server.host}:{server.grpc_port}",
        settings.limits.max_body_bytes,
        shared=shared,
        gate=entry.gate,
        certificates=entry.certificates,
        connections=settings.connections,
        reports=reports,
    )
    entry.start()
    doors = Doors(settings.connections)
    keeping = asyncio.create_task(doors.keep(), name="doors")
    http = _http_server(service, entry, doors, reports)
    serving = asyncio.create_task(http.serve(sockets=[http_socket]), name="http")
    while not http.started and not serving.done():
        await asyncio.sleep(0.01)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if shared:  # a worker: its standard input ends when the parent does
        loop.add_reader(sys.stdin.fileno(), stop.set)
    gc.collect()
    gc.freeze()  # what is alive now stays alive: scanning it again and again costs p99
    banner(service, http_socket.getsockname()[1], grpc_port)
    saving = asyncio.create_task(_save_metrics(service.pipeline.metrics)) if shared else None
    await stop.wait()
    if shared:
        loop.remove_reader(sys.stdin.fileno())
    if saving is not None:
        saving.cancel()
    loop.add_signal_handler(signal.SIGINT, lambda: sys.exit(130))  # Ctrl-C once more: at once
    code = await _drain(service, http, serving, grpc_server)
    keeping.cancel()
    await entry.stop()
    await asyncio.to_thread(reports.stop)
    return code


async def _save_metrics(metrics: Metrics) -> None:
    """Leave a snapshot for the sibling workers every second."""
    while True:
        metrics.save()
        await asyncio.sleep(METRICS_EVERY_S)


def _http_server(service: Service, entry: WayIn, doors: Doors, reports: Reporting) -> _HttpServer:
    hot = HotRoutes(service.pipeline)
    app = Reported(rest.Dispatcher(hot, rest.application(service.pipeline), entry.gate), reports)
    settings = service.settings.server
    protocol = partial(
        HotProtocol, gathering=Gathering(hot), gate=entry.gate, doors=doors, reports=reports
    )
    config = uvicorn.Config(
        app,
        http=protocol,  # type: ignore[arg-type]
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
    if entry.certificates is not None:
        config.load()
        config.ssl = entry.certificates.context()
    return _HttpServer(config, service.settings.connections.header_s)


async def _drain(
    service: Service, http: _HttpServer, serving: asyncio.Task[None], grpc_server: Any
) -> int:
    """Stop accepting, finish what is in flight, stop models. 0 if everything finished in time."""
    started = time.monotonic()
    grace = service.settings.server.grace_s
    log.info("draining", grace_s=grace)
    service.pipeline.drain()
    http.should_exit = True
    connections = list(http.server_state.connections)
    _, late = await asyncio.wait(
        {serving, asyncio.ensure_future(grpc_server.stop(grace))}, timeout=grace + 1.0
    )
    unanswered = sum(getattr(one, "unanswered", False) for one in connections)
    left = unanswered + len(http.server_state.tasks)
    await service.stop()
    seconds = time.monotonic() - started
    log.info("stopped", seconds=round(seconds, 2), unfinished=left)
    return 1 if late or left or seconds >= grace else 0
