"""Carrying out work in this process, without a budget: for tests and other trusted callers.

A server never does this in its own process; see ``service.workshop``. Findings are what a server's
judges see: plain data that has travelled, so that tuples are lists.
"""

from __future__ import annotations

import importlib
from typing import Any

from service.rewards.core import Finding, Reason, Work


def carry_out(work: Work) -> Finding:
    """The finding. What the function raises is a fault of the code, and goes on.

    Raises:
        TypeError: the function gives what is no plain data.
    """
    module, _, name = work.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    return Finding(Reason.OK, plain(function(*work.arguments)))


def plain(value: Any) -> Any:
    """Plain data as it arrives from another process.

    Raises:
        TypeError: it is none; numpy's numbers are not.
    """
    kind = type(value)
    if value is None or kind in (str, bool, int, float):
        return value
    if isinstance(value, list | tuple):  # named tuples travel as lists too
        return [plain(entry) for entry in value]
    if kind is dict:
        return {plain(key): plain(entry) for key, entry in value.items()}
    raise TypeError(f"work gives {kind.__name__}, expected strings, numbers, lists and dicts")
