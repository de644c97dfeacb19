"""``soft-verifier doctor``: is this machine fit to serve, and if not, what to do about it."""

from __future__ import annotations

import asyncio
import datetime
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service import __version__, app, serving, settings
from service.cache import RedisTier, redacted
from service.errors import StartupFault
from service.metrics import Metrics
from service.rewards.errors import ProfileFault
from service.rewards.library import Knowledge, Library
from service.rewards.profiles import load_profiles
from service.security import exposure, way_in
from worldmodels import devices
from worldmodels.core import ModelFault
from worldmodels.genes import GeneResolver

PACKAGES: Final = (
    "softverifier", "torch", "numpy", "scanpy", "anndata", "fastapi", "uvicorn", "grpcio",
    "protobuf", "redis", "msgspec", "safetensors",
)  # fmt: skip

EXTRAS: Final = ("rdkit", "selfies")
"""For profiles of molecules."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    what: str
    state: Literal["ok", "note", "fault"]
    found: str
    advice: str = ""


def doctor(
    model: Annotated[
        list[Path] | None, typer.Option(help="Folder of a trained model to check as well.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Check versions, device, settings, models, Redis and ports; exit code 1 if one is at fault.

    \b
    Example:
      soft-verifier doctor --config soft-verifier.toml --model models/k562-mlp
    """
    findings = list(examine(config, model or []))
    table = Table("", "what", "found", "what to do")
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "fault": "[red]FAULT[/]"}
    for finding in findings:
        said = (finding.what, finding.found, finding.advice)  # "[knowledge.go]" is no markup
        table.add_row(marks[finding.state], *map(escape, said))
    Console().print(table)
    raise typer.Exit(int(any(finding.state == "fault" for finding in findings)))


def examine(config: Path | None, models: list[Path]) -> Iterator[Finding]:
    """All findings. Nothing is started or changed."""
    yield from _versions()
    yield _device()
    try:
        loaded = settings.load(config)
    except StartupFault as fault:
        yield Finding("settings", "fault", str(fault), "correct the key, or remove it")
        return
    yield Finding("settings", "ok", str(config or settings.DEFAULT_FILE) + " and the environment")
    yield from _genes(loaded)
    yield from _models(loaded, models)
    known: dict[str, Knowledge] = {}
    for name in loaded.knowledge:
        yield from _knowledge(name, loaded, known)
    yield from _profiles(loaded, known)
    yield from _extras()
    yield _way_in(loaded)
    yield _redis(loaded)
    yield from _ports(loaded)
    yield _memory()


def _versions() -> Iterator[Finding]:
    yield Finding("soft-verifier", "ok", f"{__version__} on Python {platform.python_version()}")
    for package in PACKAGES:
        try:
            yield Finding(package, "ok", version(package))
        except PackageNotFoundError:
            yield Finding(package, "fault", "not installed", "make install")


def _device() -> Finding:
    there = devices.gpus()
    if not there:
        return Finding("device", "ok", f"cpu, {os.cpu_count()} cores; no CUDA device")
    room = "; ".join(
        f"{gpu.device}: {gpu.name}, {gpu.free / 2**30:.1f} of {gpu.total / 2**30:.1f} GiB free"
        for gpu in there
    )
    return Finding("device", "ok", room)


def _genes(loaded: settings.Settings) -> Iterator[Finding]:
    if not loaded.genes.tables:
        yield Finding(
            "genes", "note", "symbols as they are",
            "name an HGNC table under genes.tables so that outdated symbols and aliases resolve",
        )  # fmt: skip
        return
    try:
        yield Finding("genes", "ok", GeneResolver.from_files(loaded.genes.tables).label)
    except ModelFault as fault:
        yield Finding("genes", "fault", str(fault), "correct genes.tables")


def _models(loaded: settings.Settings, more: list[Path]) -> Iterator[Finding]:
    starter = loaded.starter
    if starter.enabled and not (starter.path / "manifest.toml").exists():
        yield Finding("model starter", "note", f"not in {starter.path} yet", "built on first serve")
    elif starter.enabled:
        more = [starter.path, *more]
    for entry in loaded.models:
        yield _checked(entry, loaded)
    for folder in more:
        yield _checked(settings.Model(path=folder), loaded)


def _checked(entry: settings.Model, loaded: settings.Settings) -> Finding:
    what = f"model {entry.path or entry.name or entry.family}"
    try:
        found = app.open_model(entry, app.gene_resolver(loaded), loaded.server.device)
    except (ModelFault, StartupFault) as fault:
        return Finding(what, "fault", str(fault), "correct the entry, or train the model anew")
    return Finding(what, "ok", f"{found.spec.family}, {found.spec.digest[:19]}…")


def _knowledge(
    name: str, loaded: settings.Settings, known: dict[str, Knowledge]
) -> Iterator[Finding]:
    """One ontology; it is added to what is ``known``."""
    alone = loaded.model_copy(update={"knowledge": {name: loaded.knowledge[name]}})
    what = f"knowledge {name}"
    try:
        known |= app.knowledge(alone)
    except StartupFault as fault:
        yield Finding(what, "fault", str(fault), f"correct [knowledge.{name}]")
        return
    found = f"{app.describe_knowledge(known[name])}, {known[name].digest[:19]}…"
    yield Finding(what, "ok", found)
    try:
        doubtful = app.doubt_about(known[name], app.gene_resolver(loaded))
    except ModelFault:
        return  # the gene tables have a finding of their own
    if doubtful:
        said, _, advice = doubtful.partition("; ")
        yield Finding(f"annotations of {name}", "note", said, advice)


def _profiles(loaded: settings.Settings, known: dict[str, Knowledge]) -> Iterator[Finding]:
    try:
        found = load_profiles(loaded.profiles.folder, Library(GeneResolver(), known))
    except ProfileFault as fault:
        yield Finding("profiles", "fault", str(fault), "correct the file, or profiles.folder")
        return
    whole = [name for name in sorted(found) if not found[name].lacks]
    yield Finding("profiles", "ok", ", ".join(whole))
    lacking: dict[str, tuple[str, list[str]]] = {}
    for name in sorted(found):
        for lack in found[name].lacks:
            what, _, advice = lack.partition(": ")
            names = lacking.setdefault(what, (advice, []))[1]
            if name not in names:
                names.append(name)
    for what, (advice, names) in lacking.items():
        yield Finding(f"profiles that lack {what}", "note", ", ".join(names), advice)


def _extras() -> Iterator[Finding]:
    for package in EXTRAS:
        try:
            yield Finding(package, "ok", version(package))
        except PackageNotFoundError:
            yield Finding(package, "note", "not installed", "pip install 'soft-verifier[chem]'")


def _way_in(loaded: settings.Settings) -> Finding:
    """Who is let in, and over what."""
    remarks: list[str] = []
    try:
        made = way_in.build(loaded, Metrics(), remarks.append)
    except StartupFault as fault:
        return Finding("security", "fault", str(fault), "correct [security]")
    if made.certificates is not None:
        ends = datetime.datetime.fromtimestamp(made.certificates.expires, datetime.UTC)
        remarks.append(f"the certificate ends on {ends:%Y-%m-%d %H:%M} UTC")
    if not made.gate.bars and exposure.is_loopback(loaded.server.host):
        remarks.append("this machine alone is served, without keys")
    return Finding(
        "security", "note" if any("INSECURE" in r for r in remarks) else "ok", "; ".join(remarks)
    )


def _redis(loaded: settings.Settings) -> Finding:
    if loaded.cache.redis_url is None:
        return Finding("redis", "note", "not configured", "set cache.redis_url to share verdicts")

    async def reach() -> float | None:
        tier = RedisTier(loaded.cache, Metrics())
        try:
            await tier.warm()
        finally:
            await tier.close()
        return tier.trip_s

    try:
        trip = asyncio.run(reach())
    except StartupFault as fault:
        return Finding("redis", "fault", str(fault), "correct cache.redis_url")
    if trip is None:
        return Finding(
            "redis", "fault", f"{redacted(loaded.cache.redis_url)} does not answer",
            "start it, or correct cache.redis_url; the server runs without, slower",
        )  # fmt: skip
    return Finding("redis", "ok", f"256 keys in {trip * 1000:.2f} ms")


def _ports(loaded: settings.Settings) -> Iterator[Finding]:
    server = loaded.server
    for what, port in (("http_port", server.http_port), ("grpc_port", server.grpc_port)):
        try:
            serving.listen(server.host, port, shared=False, what=what).close()
        except StartupFault as fault:
            yield Finding(what, "fault", str(fault), f"choose another server.{what}")
        else:
            yield Finding(what, "ok", f"{server.host}:{port} is free")


def _memory() -> Finding:
    pages, size = os.sysconf("SC_AVPHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    free = pages * size / 2**30
    if free < 1.0:
        return Finding("memory", "note", f"{free:.1f} GiB free", "a server needs about 1 GiB")
    return Finding("memory", "ok", f"{free:.1f} GiB free")
