"""What all these tests share: a server that nothing is done to, and a table of recoveries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos_traffic import Breakable, Recovery
from served import SETTINGS, write_profiles
from servers import ServerProcess

_RECOVERIES: list[tuple[str, float, str]] = []


@pytest.fixture
def recovery() -> Recovery:
    """Note how long something took to be well again: fault, seconds, what it says."""

    def note(fault: str, seconds: float, what: str) -> None:
        _RECOVERIES.append((fault, seconds, what))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _RECOVERIES:
        terminalreporter.section("recovery")
        for fault, seconds, what in _RECOVERIES:
            terminalreporter.write_line(f"{fault:44} {seconds:7.2f} s  {what}")


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Breakable]:
    """Servers of a module, with changes to the test server's settings."""
    started: list[ServerProcess] = []

    def start(more: str = "", *options: str, **changes: str) -> ServerProcess:
        folder: Path = tmp_path_factory.mktemp("broken")
        write_profiles(folder)
        text = SETTINGS
        for old, new in changes.items():
            assert f'{old} = "' in text
            text = text.replace(f'{old} = "20"', f'{old} = "{new}"')
        server = ServerProcess(folder, text + more, *options)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()
