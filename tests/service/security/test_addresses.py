"""Connections of one address, counted over all workers."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from served import SETTINGS, write_profiles
from servers import ServerProcess, wait_until
from service.addresses import ROWS, SLOTS, Addresses

MOST = 8


def test_all_workers_see_what_each_has_and_the_dead_have_nothing() -> None:
    addresses = Addresses(2)
    child = os.fork()
    if child == 0:  # what a worker does, in a process of its own
        for _ in range(3):
            addresses.enter(1, "10.0.0.1")
        addresses.leave(1, "10.0.0.1")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    addresses.enter(0, "10.0.0.1")
    assert [addresses.count(f"10.0.0.{i}") for i in (1, 2)] == [3, 0]
    addresses.forget(1)
    assert addresses.count("10.0.0.1") == 1


def test_others_make_an_address_no_larger() -> None:
    addresses = Addresses(1)
    for i in range(8192):
        addresses.enter(0, f"10.1.{i // 256}.{i % 256}")
    over = sum(addresses.count(f"10.2.{i // 256}.{i % 256}") for i in range(10_000))
    expected = 10_000 * (8192 / SLOTS) ** ROWS  # 2.4; hashes that hang together made it hundreds
    assert over < 8 * expected


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    write_profiles(tmp_path)
    bounds = f"[connections]\nmax_per_address = {MOST}\n"
    running = ServerProcess(tmp_path, SETTINGS + bounds, "--workers", "2").start()
    yield running
    running.stop()


class Crowd:
    """Connections of one address that stay open, and which worker has each."""

    def __init__(self, url: str):
        self._url = url
        self.inside: list[tuple[int, httpx.Client]] = []

    def come(self) -> httpx.Response:
        """One more, let in or not."""
        client = httpx.Client(verify=False)
        found = client.get(f"{self._url}/readyz")
        if found.status_code == 200:
            self.inside.append((found.json()["answered_by"], client))
        else:
            client.close()
        return found

    def comes_in(self) -> bool:
        """One more, if it is let in; not, if a worker dies meanwhile."""
        with contextlib.suppress(httpx.TransportError):
            return self.come().status_code == 200
        return False

    def leave(self, pid: int) -> int:
        """Those of one worker leave; how many."""
        those = [client for whose, client in self.inside if whose == pid]
        self.inside = [one for one in self.inside if one[0] != pid]
        for client in those:
            client.close()
        return len(those)


def test_an_address_has_so_many_with_all_workers_together(server: ServerProcess) -> None:
    crowd = Crowd(server.url)
    for _ in range(MOST):
        assert crowd.come().status_code == 200
    assert len({pid for pid, _ in crowd.inside}) == 2  # they are spread
    for _ in range(4):
        refused = crowd.come()
        assert refused.status_code == 503
        assert f"{MOST} connections of 127.0.0.1 are open" in refused.text
    dead = crowd.inside[0][0]
    os.kill(dead, signal.SIGKILL)
    room = crowd.leave(dead)
    for _ in range(room):
        wait_until(crowd.comes_in, 20, "a dead worker's connections are counted on")
    assert crowd.come().status_code == 503
    crowd.leave(crowd.inside[0][0])
    wait_until(crowd.comes_in, 10, "there is no room for who comes after those who left")
    for pid in {pid for pid, _ in crowd.inside}:
        crowd.leave(pid)
