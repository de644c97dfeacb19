"""A benchmark of several parts: all of them, or one by name, each printed as it is found.

A part is given a folder with the toy's checkpoint, the seconds that a measurement lasts, where to
tell its figures, and a folder for its files; its docstring is the title above them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import servers
import toy

Report = Callable[[str, str], None]
Part = Callable[[Path, int, Report, Path], None]


def run(about: str, parts: Mapping[str, Part], programs: tuple[str, ...], width: int) -> None:
    """Read the command line, run the parts and print one line per figure.

    Args:
        about: the benchmark's docstring.
        parts: by name, in their order.
        programs: that must be there.
        width: of the column of names.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, help="length of each measurement")
    parser.add_argument("--only", choices=parts, help="one part alone")
    chosen = parser.parse_args()
    servers.require(*programs)

    def report(what: str, found: str) -> None:
        print(f"{what:<{width}} {found}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        folder = toy.write_model(work / "toy")
        for part, measure in parts.items():
            if chosen.only in (None, part):
                print(f"\n{measure.__doc__}", flush=True)
                measure(folder, chosen.seconds, report, work)
