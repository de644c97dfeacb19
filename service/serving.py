"""A service on the network: listen, serve both front ends, drain on SIGTERM, reload on SIGHUP.

The order matters: models are loaded and warm before anything listens, so a connection that is
accepted can be answered. One drain serves both front ends: stop accepting, finish what is in
flight, end with 0 if all of it was finished within the grace period. One of several workers is
given its place among them, and a socket that all share.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog
import uvicorn

from service.app import Service, build
from service.control import Ready
from service.errors import StartupFault
from service.front import rest, rpc
from service.front.doors import Doors
from service.front.gathering import Gathering
from service.front.hot import HotRoutes
from service.front.listening import HttpServer
from service.front.protocol import HotProtocol
from service.front.reported import Reported
from service.hangups import Hangups
from service.membership import Membership
from service.metrics import Metrics
from service.place import Place
from service.security import exposure, way_in
from service.security.way_in import WayIn
from service.settings import Settings
from service.shelf import Shelf
from service.telemetry import reporting
from service.telemetry.reporting import Reporting

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
"""Between two looks at what is read off, for siblings that are scraped."""


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
        # One write a line: several processes share standard error.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
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
    place: Place | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code (0 after a complete drain).

    Args:
        settings: validated settings.
        banner: called with the service, the HTTP port and the gRPC port once both answer.
        place: of one of several workers, whose ports are its parent's.
    """
    if place is None:
        configure_logging(settings)
        http_socket = _bound(settings)
        service = build(settings, lambda line: log.info(line), audited=True)
    else:
        http_socket = place.http
        shelf = Shelf(place.folder)
        service = build(
            settings, lambda line: log.info(line), shelf=shelf, held=place.held, audited=True
        )
    _allow_connections(max(2 * settings.server.backlog, settings.connections.max + 1024))
    entry = way_in.build(settings, service.pipeline.metrics, log.warning)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(_serve(service, entry, http_socket, banner, place))
    if any(model.busy for model in service.pipeline.models.all):
        sys.stdout.flush()
        os._exit(code)  # a model is stuck on its thread, and leaving would wait for it
    return code


def _bound(settings: Settings) -> socket.socket:
    """The HTTP socket of a single process, both ports found free."""
    server = settings.server
    if server.http_port and server.http_port == server.grpc_port:
        raise StartupFault(
            f"server.http_port and server.grpc_port are both {server.http_port}; HTTP and gRPC "
            "need a port each"
        )
    exposure.check(settings)  # before anything is loaded
    http_socket = listen(server.host, server.http_port, shared=False, what="http_port")
    # Only to fail early, with a message, where the port is taken: gRPC binds for itself.
    listen(server.host, server.grpc_port, shared=False, what="grpc_port").close()
    return http_socket


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
    place: Place | None,
) -> int:
    settings = service.settings
    reports = reporting.build(settings.telemetry, service.pipeline.metrics)
    await service.start()
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    membership = None if place is None else Membership(place, service.rolling, stop.set)
    service.pipeline.roller = membership or service.rolling
    if membership is not None:
        await membership.join()
        await membership.enter(_digests(service))
        service.pipeline.standing = membership.standing
    server = settings.server
    port = server.grpc_port if place is None else place.grpc_port
    grpc_server, grpc_port = await rpc.serve(
        service.pipeline,
        f"[{server.host}]:{port}" if ":" in server.host else f"{server.host}:{port}",
        settings.limits.max_body_bytes,
        shared=place is not None,
        gate=entry.gate,
        certificates=entry.certificates,
        connections=settings.connections,
        reports=reports,
    )
    entry.start()
    shared = (None, 0) if place is None else (place.addresses, place.number)
    doors = Doors(settings.connections, *shared)
    keeping = asyncio.create_task(doors.keep(), name="doors")
    http = _http_server(service, entry, doors, reports, place)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(http.serve(sockets=[http_socket]), name="http")
    while not http.started and not serving.done():
        await asyncio.sleep(0.01)
    gc.collect()
    gc.freeze()  # what is alive now stays alive: scanning it again and again costs p99
    tasks = []
    if membership is None:
        hangups = Hangups(service.rolling, stop.set)
        loop.add_signal_handler(signal.SIGHUP, hangups.heard)
    else:
        tasks.append(asyncio.create_task(_look(service.pipeline.metrics)))
        membership.tell(Ready(_digests(service)))
    banner(service, http_socket.getsockname()[1], grpc_port)
    await stop.wait()
    for task in tasks:
        task.cancel()
    loop.add_signal_handler(signal.SIGINT, lambda: sys.exit(130))  # Ctrl-C once more: at once
    code = await _drain(service, http, serving, grpc_server)
    keeping.cancel()
    await entry.stop()
    await asyncio.to_thread(reports.stop)
    return code


def _digests(service: Service) -> dict[str, str]:
    return {one.name: one.spec.digest for one in service.pipeline.models}


async def _look(metrics: Metrics) -> None:
    """Gauges that are read off are so here, for whichever sibling is scraped."""
    while True:
        metrics.look()
        await asyncio.sleep(LOOK_S)


def _http_server(
    service: Service, entry: WayIn, doors: Doors, reports: Reporting, place: Place | None
) -> HttpServer:
    hot = HotRoutes(service.pipeline)
    dispatcher = rest.Dispatcher(hot, rest.application(service.pipeline, entry.gate), entry.gate)
    app = Reported(dispatcher, reports)
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
    return HttpServer(config, service.settings.connections.header_s, place)


async def _drain(
    service: Service, http: HttpServer, serving: asyncio.Task[None], grpc_server: Any
) -> int:
    """Stop accepting, finish what is in flight, stop models. 0 if everything finished in time."""
    started = time.monotonic()
    grace = service.settings.server.grace_s
    log.info("draining", grace_s=grace)
    service.pipeline.drain()
    for model in service.pipeline.models.all:
        model.drain()
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
