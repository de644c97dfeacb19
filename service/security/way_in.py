"""All of a process's way in: built from the settings once, kept up to date while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from service.metrics import Metrics
from service.security import exposure, key_file
from service.security.allowance import Allowance
from service.security.certificates import Certificates
from service.security.gate import Gate
from service.security.renewal import Watched, watch
from service.settings import Security, Settings


@dataclass(frozen=True, slots=True)
class WayIn:
    """The gate before both ports, and the certificate that they show."""

    gate: Gate
    certificates: Certificates | None = None
    allowance: Allowance | None = None
    watched: tuple[Watched, ...] = ()
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self) -> None:
        """Keep up to date from now on. Needs a running loop."""
        if self.watched:
            self._tasks.add(asyncio.create_task(watch(self.watched), name="renewal"))

    async def stop(self) -> None:
        """Let go of what was opened."""
        for task in self._tasks:
            task.cancel()
        if self.allowance is not None:
            await self.allowance.close()


def build(
    settings: Settings, metrics: Metrics, report: Callable[[str], None] = lambda _: None
) -> WayIn:
    """What the settings ask for.

    Args:
        settings: validated settings.
        metrics: where what is turned away is counted.
        report: called with each thing that the operator should know.

    Raises:
        StartupFault: other machines would be served unasked, or a file is at fault.
    """
    for remark in exposure.check(settings):
        report(remark)
    security = settings.security
    certificates, watched = _certificates(security, metrics)
    allowance = Allowance(settings.cache, metrics) if security.keys is not None else None
    gate = Gate(
        metrics,
        allowance,
        certified=security.client_ca is not None,
        open_metrics=security.open_metrics,
    )
    if security.keys is None:
        return WayIn(gate, certificates, None, watched)
    keys = _keys(security.keys, gate)
    keys.renew()
    report(f"{len(key_file.read(security.keys))} API keys in {security.keys}")
    if settings.server.workers > 1 and not settings.cache.redis_url:
        report(
            f"limits of keys hold for each of {settings.server.workers} workers; with "
            "cache.redis_url they hold for all of them together"
        )
    return WayIn(gate, certificates, allowance, (*watched, keys))


def _keys(path: Path, gate: Gate) -> Watched:
    return Watched("API keys", [path], lambda: gate.adopt(key_file.ring(path)))


def _certificates(
    security: Security, metrics: Metrics
) -> tuple[Certificates | None, tuple[Watched, ...]]:
    """The certificate, if there is to be one, and what renews it."""
    if security.certificate is None:
        return None, ()
    named = (security.certificate, security.private_key, security.client_ca)
    watched = Watched("certificate", [path for path in named if path], lambda: None)
    certificates = Certificates(security)

    def renew() -> None:
        certificates.reload()
        metrics.certificate(certificates.expires)

    metrics.certificate(certificates.expires)
    watched.renew = renew
    return certificates, (watched,)
