"""This server beside what a user would pick instead: one model, one load generator, one run.

Peers: FastAPI, LitServe, mosec, BentoML, MLServer, Ray Serve, PyTriton, KServe's Python server and
bare grpc.aio. Each serves rbio's network over 20,000 genes in its idiomatic way
(``benchmarks/peers/``), naive and with its first layer factorised, in an environment of its own
(``build/peers/NAME``, built on first use). Needs wrk, h2load and redis-server (Debian: apt-get
install wrk nghttp2-client redis-server). What is finished is kept under ``build/peers/runs/RUN``,
so that the same command goes on where it was interrupted; RUN is the commit with seconds and
repeats unless ``--run`` names one. A peer that cannot be installed or started is in the table, with
the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import peers_faults
import peers_loads
import peers_own
import peers_report
import servers
from peers_contestants import OURS, OURS_GRPC, PEERS, TWO, Peer
from peers_started import BUILD, Unavailable, build, started, write_toy

MODELS = ("factorised", "naive")
EXAMPLES = """examples:
  python benchmarks/peers.py                          # all: some 20 minutes, once installed
  python benchmarks/peers.py --peers fastapi mosec --seconds 1 --repeats 1 --out /tmp/table.md
  python benchmarks/peers.py --run release --fresh
  python benchmarks/peers.py --parts speed --models factorised
"""


class Run:
    """What has been measured, kept as one JSON file a part.

    Args:
        folder: where.
        step: told what is measured, once for each of the steps that ``main`` counted.
    """

    def __init__(self, folder: Path, step: Callable[[str], None]):
        self.folder = folder
        self.step = step
        folder.mkdir(parents=True, exist_ok=True)

    def finished(self, name: str) -> dict[str, Any] | None:
        """What was found earlier; a failure is tried again."""
        file = self.folder / f"{name}.json"
        if not file.is_file():
            return None
        found: dict[str, Any] = json.loads(file.read_text())
        return None if "unavailable" in found else found

    def keep(self, name: str, found: dict[str, Any]) -> None:
        """Whole or not at all."""
        part = self.folder / f"{name}.json.part"
        part.write_text(json.dumps(found, indent=1))
        part.rename(self.folder / f"{name}.json")

    def do(self, name: str, steps: int, work: Callable[[], dict[str, Any]]) -> None:
        """Measure, unless it was; whatever keeps a peer from it is kept and told."""
        if self.finished(name) is not None:
            for _ in range(steps):
                self.step(f"{name}: kept")
            return
        load_average = os.getloadavg()[0]
        try:
            found = work()
        except Unavailable as error:
            found = {"unavailable": str(error)}
            print(f"\n!! {error}", file=sys.stderr)
        self.keep(name, found | {"load_average": load_average})


def speed(peer: Peer, model: str, chosen: argparse.Namespace, run: Run, arrays: Path) -> None:
    """One peer with one form of the model beside this server."""

    def work() -> dict[str, Any]:
        ours = OURS_GRPC if peer.grpc else OURS
        folder = run.folder
        with (
            started(ours, Path(sys.executable), arrays, model, folder) as mine,
            started(peer, build(peer, run.step), arrays, model, folder) as other,
        ):
            loads = peers_loads.beside(
                mine,
                other,
                peers_loads.loads_of(model),
                chosen.seconds,
                chosen.repeats,
                folder,
                run.step,
            )
        return {"loads": loads, "start_s": other.seconds}

    run.do(f"{peer.name}-{model}", steps("speed", model, chosen), work)


def own(chosen: argparse.Namespace, run: Run, arrays: Path) -> None:
    """This server alone."""
    run.do("own", peers_own.STEPS, lambda: peers_own.measure(chosen.seconds, run, arrays))


def plan(chosen: argparse.Namespace) -> list[tuple[str, Peer, str]]:
    """(part, peer, model) in the order of the run."""
    todo = []
    picked = [PEERS[name] for name in chosen.peers]
    if "speed" in chosen.parts:
        todo += [("speed", peer, model) for model in chosen.models for peer in picked]
        if PEERS["mosec"] in picked:  # two processes of its own
            todo += [("speed", TWO, "factorised")]
    if "own" in chosen.parts:
        todo += [("own", OURS, "factorised")]
    if "faults" in chosen.parts:
        todo += [("faults", peer, "factorised") for peer in (OURS, *picked) if not peer.grpc]
    return todo


def steps(part: str, model: str, chosen: argparse.Namespace) -> int:
    """Of one part, for the progress bar."""
    return {
        "speed": 2 * len(peers_loads.loads_of(model)) * int(chosen.repeats),
        "own": peers_own.STEPS,
        "faults": len(peers_faults.BEHAVIOURS),
    }[part]


def measure(chosen: argparse.Namespace, folder: Path) -> None:
    """All parts that are not finished."""
    todo = plan(chosen)
    arrays = write_toy(BUILD / "toy")
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        bar = progress.add_task(
            "start", total=sum(steps(part, model, chosen) for part, _, model in todo)
        )
        run = Run(folder, lambda what: progress.update(bar, description=what, advance=1))
        done = 0
        for part, peer, model in todo:
            if part == "speed":
                speed(peer, model, chosen, run, arrays)
            elif part == "own":
                own(chosen, run, arrays)
            else:
                peers_faults.measure(peer, run, arrays)
            done += steps(part, model, chosen)
            progress.update(bar, completed=done)


def run_name(seconds: int, repeats: int) -> str:
    """The commit with what decides how long was measured."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{found.stdout.strip() or 'tree'}-{seconds}s-{repeats}x"


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME",
                        help=f"of {', '.join(PEERS)}; all")  # fmt: skip
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS),
                        help="forms of the network; both")  # fmt: skip
    parser.add_argument("--parts", nargs="+", choices=("speed", "own", "faults"),
                        default=["speed", "own", "faults"],
                        help="beside peers; this server's own figures; behaviour; all")  # fmt: skip
    parser.add_argument("--seconds", type=_positive, default=1, help="of each measurement (1)")
    parser.add_argument("--repeats", type=_positive, default=3, help="of each (3)")
    parser.add_argument("--run", help="name of the run to begin or go on with")
    parser.add_argument("--fresh", action="store_true", help="forget what that run has measured")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"),
                        help="file for the tables (benchmarks/peers.md)")  # fmt: skip
    chosen = parser.parse_args(arguments)
    chosen.run = chosen.run or run_name(chosen.seconds, chosen.repeats)
    if Path(chosen.run).name != chosen.run:
        parser.error(f"--run {chosen.run!r} should be a name without slashes")
    return chosen


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 is expected")
    return int(text)


def main() -> None:
    """Measure what is missing, write and print the tables."""
    chosen = options()
    servers.require("wrk", "h2load", *(["redis-server"] if "own" in chosen.parts else []))
    folder = BUILD / "runs" / chosen.run
    if chosen.fresh and folder.is_dir():
        for file in folder.glob("*.json"):
            file.unlink()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are ended all the same
    try:
        measure(chosen, folder)
    except KeyboardInterrupt:
        raise SystemExit("\ninterrupted; the same command goes on from here") from None
    text = peers_report.write(folder, chosen)
    chosen.out.write_text(text)
    print(text)
    print(f"written to {chosen.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
