from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import typer

from commanded import outcome
from running import RunningService, write_config
from service.commands.annotate import annotate
from service.commands.score import score


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("commands"))


@pytest.fixture(scope="session")
def service(config: Path) -> Iterator[RunningService]:
    running = RunningService(config).start()
    yield running
    running.stop()


@pytest.fixture
def run() -> Callable[..., tuple[int, str]]:
    """Exit code and everything printed, as ``soft-verifier`` would."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(score)
    app.command()(annotate)

    return partial(outcome, app)
