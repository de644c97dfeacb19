"""The server dies under TRL's runs: none of them ends, and no number of theirs is an outage's.

Each run stops before each step until the test has seen to the server, so that what dies when is no
matter of chance.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainer_packages
from servers import ServerProcess, wait_until
from trl_told import PROGRAM, Told, Truth, server_for_trl, table, told

STEPS = 8
DEAD = (3, 4)
"""Steps of the long outage; the trainer counts from 0."""


class Trainer:
    """TRL's process, its output, and the gate at which it waits."""

    def __init__(self, folder: Path, url: str, *runs: str) -> None:
        self._gate = socket.create_server(("127.0.0.1", 0))
        self._gate.settimeout(0.2)
        words = [folder, url, self._gate.getsockname()[1], *runs]
        self.process = trainer_packages.start("trl", PROGRAM, words)
        self._lines: list[str] = []
        # Read all the time: it would wait for ever on a full pipe.
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self._lines.extend(self.process.stdout)

    def at_step(self, step: int) -> socket.socket:
        """Waits until it waits there; answer on the connection and it goes on."""
        until = time.monotonic() + 120
        while time.monotonic() < until and self.process.poll() is None:
            try:
                waiting, _ = self._gate.accept()
            except TimeoutError:
                continue
            waiting.settimeout(10)
            assert waiting.recv(8) == b"%d\n" % step
            return waiting
        raise AssertionError(f"never came to step {step}: {self.output()[-6000:]}")

    def output(self) -> str:
        self.process.kill()
        self._reader.join()
        return "".join(self._lines)

    def ended(self) -> None:
        """Waits for its end, which must be a good one."""
        code = self.process.wait(120)
        assert code == 0, self.output()[-6000:]

    def close(self) -> None:
        self.output()
        self.process.communicate()
        self._gate.close()


def goes_on(waiting: socket.socket) -> None:
    with waiting:
        waiting.sendall(b".")


def asked(server: ServerProcess) -> bool:
    """Whether bytes wait in a socket of the stopped server."""
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, _, queues, *_ = row.split()
        port, unread = int(local.split(":")[1], 16), int(queues.split(":")[1], 16)
        if port == server.http_port and unread:
            return True
    return False


def short_outage(trainer: Trainer, server: ServerProcess) -> None:
    """Killed with a request in it, away for the first retry, then back."""
    for step in range(STEPS):
        waiting = trainer.at_step(step)
        if step != DEAD[0]:
            goes_on(waiting)
            continue
        os.kill(server.pid, signal.SIGSTOP)
        goes_on(waiting)
        wait_until(lambda: asked(server), 30, "no request came")
        server.kill()
        server.turns_away()
        server.start()


def long_outage(trainer: Trainer, server: ServerProcess) -> None:
    """Dead for two whole steps, each longer than the deadline of a call."""
    for step in range(STEPS):
        waiting = trainer.at_step(step)
        if step == DEAD[0]:
            server.kill()
        if step == DEAD[-1] + 1:
            server.start()
        goes_on(waiting)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = server_for_trl(tmp_path_factory.mktemp("trl-server")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def runs(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with what both runs left."""
    folder = tmp_path_factory.mktemp("trl-runs")
    trainer = Trainer(folder, server.url, "outage", "long_outage")
    try:
        short_outage(trainer, server)
        long_outage(trainer, server)
        trainer.ended()
        yield folder
    finally:
        trainer.close()


@pytest.fixture(scope="module")
def truth(runs: Path, server: ServerProcess) -> Iterator[Truth]:
    """Of the server that was started last, which no fault befalls."""
    asking = Truth(server.url)
    yield asking
    asking.close()


def test_a_server_that_comes_back_costs_nothing(runs: Path, truth: Truth) -> None:
    left = told(runs, "outage")
    numbers = [row["reward"] for row in left["received"]]
    assert left["steps"] == STEPS
    assert len(numbers) == STEPS * 6 * 16
    assert None not in numbers
    assert 0 not in numbers
    assert numbers == truth(left["received"])


def steps_of(left: Told, *, dead: bool) -> list[Told]:
    return [row for row in left["received"] if (row["step"] in DEAD) is dead]


def test_an_outage_beyond_the_deadline_leaves_samples_out(runs: Path, truth: Truth) -> None:
    left = told(runs, "long_outage")
    assert left["steps"] == STEPS
    lost, others = steps_of(left, dead=True), steps_of(left, dead=False)
    assert [row["reward"] for row in lost] == [None] * len(DEAD) * 6 * 16
    numbers = [row["reward"] for row in others]
    assert {row["step"] for row in others} == set(range(STEPS)) - set(DEAD)
    assert 0 not in numbers
    assert numbers == truth(others)


def test_what_is_left_out_moves_nothing(runs: Path) -> None:
    """Advantages of 0 for the lost ones; the log says how many were, and no made-up mean."""
    lines = [line for line in told(runs, "long_outage")["log"] if "sv_error" in line]
    for step, line in enumerate(lines):
        dead = step in DEAD
        assert line["sv_error"] == dead
        assert (line["reward"] is None) is dead
        assert ("sv_perturbation_de" in line) is not dead
        rows = table(runs, "long_outage", step + 1)
        assert {row["sv_status"] == "error" for row in rows} == {dead}
        assert any(row["advantage"] for row in rows) is not dead
