"""Every adapter and trainer's client over a bad network: no NaN, null, lost key, wrong number.

    python benchmarks/adapters_faults.py [--calls 100000] [--faults 0.05] [--kills 3]

Calls in the trainers' own shapes (a group where the trainer hands over a batch, else one sample) go
through a network that spoils a share of the answers (503, 502 with a page, half a body, a reset, no
JSON, a NaN, an answer after the deadline) to a server that is killed (-9) and started again. Among
the samples are invalid completions, genes that the model does not know, and a model that raises or
answers NaN. Each answer is made a tensor as the trainer does and held against the number that the
server gave before the faults began; ``tests/replay.py`` says what may stand in its place. The table
counts it; anything else ends the benchmark with exit code 1.

Axolotl and open-instruct's code verifier score 0 where their HTTP call fails, without another try:
these zeros are theirs, shown in a column of their own, and the reason to give them the adapter or a
network that holds.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import replay
from replay_samples import NEUTRAL, dying, start_server, truth_of
from servers import ServerProcess
from spoiling_network import SpoilingNetwork

DEADLINE_S: Final = 1.0
SLOW_S: Final = 1.5
KILL_EVERY_S: Final = 20.0
COLUMNS: Final = ("numbers", "None", "stood in", "raised", "gave up", "client's own 0")


class Bar:
    """How far it is, on standard error."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._lock = threading.Lock()
        self._started = self._shown = time.perf_counter()

    def add(self, calls: int) -> None:
        """So many have ended."""
        with self._lock:
            self._done += calls
            if time.perf_counter() - self._shown > 1.0:
                self.show()

    def show(self) -> None:
        """Draw it."""
        self._shown = time.perf_counter()
        filled = "#" * int(40 * min(1.0, self._done / self._total))
        said = f"{self._done:,} of {self._total:,} calls, {self._shown - self._started:.0f} s"
        sys.stderr.write(f"\r[{filled:<40}] {said}")
        sys.stderr.flush()


def configure(url: str) -> None:
    """The adapters, as their users do."""
    logging.getLogger("softverifier").setLevel(logging.ERROR)  # a warning for each lost answer
    os.environ |= {
        "SOFT_VERIFIER_URL": url,
        "SOFT_VERIFIER_PROFILE": "soft",
        "SOFT_VERIFIER_DEADLINE": str(DEADLINE_S),
        "SOFT_VERIFIER_NEUTRAL": str(NEUTRAL),
    }


def show(ran: replay.Replay, spoiled: dict[str, int], seconds: float) -> None:
    """The table."""
    print(f"{'':<28}{'calls':>9}" + "".join(f"{name:>15}" for name in COLUMNS))
    for name, tally in ran.tallies.items():
        figures = "".join(f"{tally.told[column]:>15,}" for column in COLUMNS)
        print(f"{name:<28}{tally.calls:>9,}{figures}")
    calls = sum(tally.calls for tally in ran.tallies.values())
    samples = sum(tally.told.total() for tally in ran.tallies.values())
    print(f"{calls:,} calls of {samples:,} samples in {seconds:,.0f} s")
    print("answers spoiled: " + ", ".join(f"{name} {n:,}" for name, n in sorted(spoiled.items())))
    print("NaN, null, text, missing keys, wrong numbers, zeros for silence: 0")


def measure(server: ServerProcess, calls: int, faults: float, kills: int) -> None:
    """Replay so many calls and print how they ended."""
    truth = truth_of(server.url)
    with SpoilingNetwork(server.http_port, SLOW_S) as network:
        configure(network.url)
        ran = replay.Replay(network.url, truth, calls)
        ran.calm()
        bar = Bar(calls)
        ran.progress = bar.add
        network.spoil(faults)
        started = time.perf_counter()
        with dying(server, kills, KILL_EVERY_S):
            ran.run()
        bar.show()
        sys.stderr.write("\n")
        show(ran, network.spoiled(), time.perf_counter() - started)


def main() -> None:
    """Replay, print how calls ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--faults", type=float, default=0.05, help="share of answers spoiled")
    parser.add_argument("--kills", type=int, default=3, help="of the server, one every 20 s")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        server = start_server(Path(name))
        try:
            measure(server, chosen.calls, chosen.faults, chosen.kills)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
