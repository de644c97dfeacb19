"""Ctrl-C in a command that trains: one line, exit code 130, and no half-written model.

Checkpoints appear at once or not at all, so what there is to say is whether this one did. Limits:
begins with the command itself; an interrupt before that, while Python imports, is not its own.
"""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Final, ParamSpec

import typer

from worldmodels.core import ModelFault
from worldmodels.manifest import FILE

P = ParamSpec("P")
INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""


def interruptible(command: Callable[P, None]) -> Callable[P, None]:
    """End a command with the option ``out`` by one line on stderr, exit 130, if interrupted."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        out = Path(str(kwargs["out"]))
        before = _stated(out)
        try:
            with _noticed() as signals:
                command(*args, **kwargs)
        except (KeyboardInterrupt, ModelFault) as error:
            if isinstance(error, ModelFault) and not signals:
                raise
            written = _stated(out) != before
            what = f"the model in {out} is whole" if written else "nothing was written"
            typer.echo(f"stopped; {what}", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return run


@contextlib.contextmanager
def _noticed() -> Iterator[list[int]]:
    """The interrupts that came: pandas' parser makes a read error of the one it swallows."""
    seen: list[int] = []
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield seen  # somebody else's to handle, or ignored
        return

    def notice(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, notice)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _stated(out: Path) -> bytes | None:
    try:
        return (out / FILE).read_bytes()
    except OSError:  # no model there, or none that may be read
        return None
