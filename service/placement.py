"""Which models a server with several workers puts into processes of their own.

A model that computes in microseconds stays in every worker's own loop: a hop costs more than it
does. One that is dear is loaded once, for all workers, by a host: one for each GPU, and one for the
CPU. What is dear on the CPU is measured by the host, which gives back what is not. Models of other
servers are not hosted: asking them is a hop already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from service.loading import entries, may_use_gpu
from service.settings import Model, Settings
from worldmodels import devices


class HostPlan(NamedTuple):
    """One model host."""

    device: str
    """``cpu`` or ``cuda:N``."""
    entries: tuple[int, ...]
    """Positions under [[models]], the starter being the first where it is served."""


def plan(settings: Settings, gpus: Callable[[], int]) -> list[HostPlan]:
    """The hosts that a server needs; none where every worker loads all.

    Args:
        settings: validated settings.
        gpus: how many there are; asked only if a model may use one.

    Raises:
        ModelFault: a folder without a model.
    """
    if settings.processes.model_host == "never":
        return []
    found: dict[str, list[int]] = {}
    there: int | None = None
    for number, entry in enumerate(entries(settings)):
        if entry.run == "inline" or entry.family == "remote":
            continue
        device = devices.CPU
        if may_use_gpu(entry, settings.server.device):
            there = gpus() if there is None else there
            placed = sum(len(given) for device, given in found.items() if device != devices.CPU)
            device = _device(entry, settings.server.device, placed, there)
        found.setdefault(device, []).append(number)
    return [HostPlan(device, tuple(numbers)) for device, numbers in sorted(found.items())]


def _device(entry: Model, default: str, placed: int, gpus: int) -> str:
    """The GPU that is named, else the next one in turn; the CPU where there is none."""
    wanted = entry.device or default
    if ":" in wanted:
        return wanted
    if gpus:
        return f"cuda:{placed % gpus}"
    return devices.CPU if wanted == devices.AUTO else "cuda:0"


def narrowed(entry: Model, device: str) -> Model:
    """An entry that says ``cuda``, or ``auto``, for the host of one device."""
    if entry.device == "cuda":
        return entry.model_copy(update={"device": device})
    return entry.model_copy(update={"device": None}) if entry.device == devices.AUTO else entry
